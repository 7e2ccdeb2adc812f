"""Plain tables of a run folder, for the terminal."""

import json
import statistics
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from rich.table import Table
from rich.text import Text

from archpress.architectures.architecture import Architecture
from archpress.architectures.summary import COLUMNS, rows_of
from archpress.errors import RunFolderError
from archpress.reporting.profiling import bounds_note


def read_result(folder: Path) -> dict[str, Any]:
    """Return ``result.json`` of a finished run.

    Raises:
        RunFolderError: The run is not finished, or the file is damaged.
    """
    path = folder / "result.json"
    if not (folder / "run.toml").exists():
        raise RunFolderError(f"{folder} is no run folder: it has no run.toml")
    if not path.exists():
        raise RunFolderError(f"the run in {folder} is not finished: continue it with --resume")
    try:
        record: dict[str, Any] = json.loads(path.read_text())
        result_table(record)
        ledger_table(record)
        bounds_note(record)
        str(record["compressed"]["origin"])
    except (ArithmeticError, AttributeError, LookupError, TypeError, ValueError) as error:
        raise RunFolderError(
            f"{path} is damaged ({type(error).__name__}: {error}): delete it and continue the run "
            f"with --resume, which writes it again"
        ) from error
    return record


def result_table(record: dict[str, Any]) -> Table:
    """Return input network, compressed network and rivals, a row each."""
    table = Table(title="Before and after")
    table.add_column("network")
    for name in ("parameters", "MACs", "compression", "test accuracy, % (mean ± s.d.)", "seeds"):
        table.add_column(name, justify="right")
    rows = [("input", record["base"]), ("compressed", record["compressed"])]
    rows += sorted(record["rivals"].items())
    for name, row in rows:
        table.add_row(
            name.replace("_", " ") + ", taught by the input" * ("teacher" in row),
            f"{row['parameters']:,}",
            f"{row['macs']:,}",
            f"{record['base']['parameters'] / row['parameters']:.2f}x",
            percent(row["test_accuracy"]),
            _seeds(row),
        )
    return table


def _seeds(row: dict[str, Any]) -> str:
    finished, failed = len(row["test_accuracy"]), row.get("failed_seeds", 0)
    return f"{finished} of {finished + failed}" if failed else str(finished)


def percent(accuracies: Sequence[float]) -> str:
    """Return mean and standard deviation over seeds in per cent."""
    mean = 100 * statistics.fmean(accuracies)
    if len(accuracies) < 2:
        return f"{mean:.2f}"
    return f"{mean:.2f} ± {100 * statistics.stdev(accuracies):.2f}"


def ledger_table(record: dict[str, Any]) -> Table:
    """Return seconds by stage and what the labels cost."""
    table = Table(title=f"{record['labels']} labels, {record['label_epochs']:,} label epochs")
    table.add_column("stage")
    table.add_column("seconds", justify="right")
    for stage, seconds in record["seconds"].items():
        table.add_row(stage.replace("_", " "), f"{seconds:,.1f}")
    table.add_row("all", f"{sum(record['seconds'].values()):,.1f}", style="bold")
    return table


def files_table(folder: Path) -> Table:
    """Return what lies where, for files that are there."""
    table = Table(title=Text(f"Files in {folder}"))
    table.add_column("file")
    table.add_column("what it is")
    for name, what in (
        ("compressed/model.py", "the compressed network as PyTorch source"),
        ("compressed/weights.safetensors", "its trained weights"),
        ("compressed/model.onnx", "both, for other runtimes"),
        ("compressed/architecture.json", "its layers, for archpress"),
        ("compressed/README.md", "how to load them"),
        ("report.html", "the report: open it in a browser, or mail it"),
        ("result.json", "all figures of this table"),
        ("archive.sqlite", "every network trained, for later runs"),
    ):
        if (folder / name).exists():
            table.add_row(name, what)
    return table


def network_notes(folder: Path) -> list[str]:
    """Return what the run found out about its input network, and what it took over, in words."""
    path = folder / "network.json"
    if not path.exists():
        return []
    try:
        record = json.loads(path.read_text())
        notes = [f"input network: {note}" for note in record["notes"]]
        return [*notes, *([record["known"]] if record.get("known") else [])]
    except (LookupError, TypeError, ValueError) as error:
        raise RunFolderError(f"{path} is damaged ({type(error).__name__}: {error})") from error


def network_table(network: Architecture, name: str) -> Table:
    """Return the layers of a network, projections too, with output shape, cost and share."""
    cost = network.cost
    table = Table(
        title=Text(
            f"{name}: {cost.parameters:,} parameters, {cost.macs:,} MACs, "
            f"{cost.activation_bytes / 1024:,.0f} KiB peak activations"
        ),
        show_edge=False,  # so that most layers fit a terminal of 80 columns
        pad_edge=False,
    )
    index, layer, *figures = COLUMNS
    table.add_column(index, justify="right", no_wrap=True)
    table.add_column(layer)
    for column in figures:
        table.add_column(column, justify="right", no_wrap=True)
    for row in rows_of(network):
        table.add_row(*row.cells)
    return table
