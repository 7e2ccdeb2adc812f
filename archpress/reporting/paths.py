"""The first descent of a run, predicted beside measured, as a plain table."""

from pathlib import Path
from typing import Any

from rich.table import Table

from archpress.errors import RunFolderError
from archpress.files import read_json_lines


def path_table(folder: Path, steps: int = 20) -> Table:
    """Return predicted against measured along the first descent from the input network.

    Sizes are exact at every step; an accuracy stands where the network was labelled.

    Raises:
        RunFolderError: The run has not come to its descent yet.
    """
    rows = read_json_lines(folder / "descent.jsonl")
    first = min((row["round"] for row in rows), default=0)
    path = [r for r in rows if r["round"] == first and _from_input(r) and r["step"] <= steps]
    if not path:
        finished = (folder / "result.json").exists()
        raise RunFolderError(
            f"the run in {folder} has no descent from its input network"
            f"{'' if finished else ' yet: continue it with --resume'}"
        )
    measured = _measured(folder)
    guided = "value" in rows[0]
    return _guided(path, measured) if guided else _joint(path, measured)


def _from_input(row: dict[str, Any]) -> bool:
    from_input: bool = row.get("from_input", row["start"] == 0)
    return from_input


def _measured(folder: Path) -> dict[str, float]:
    """Return digest -> accuracy of what was labelled along the way."""
    labelled = [
        row for name in ("candidates", "path") for row in read_json_lines(folder / f"{name}.jsonl")
    ]
    return {row["architecture"]: row["accuracy"] for row in labelled if row["accuracy"] is not None}


def _table(title: str, *columns: str) -> Table:
    table = Table(title=title)
    for column in columns:
        table.add_column(column, justify="right")
    return table


def _guided(path: list[dict[str, Any]], measured: dict[str, float]) -> Table:
    """Return the best network that each step came upon."""
    table = _table(
        "From the input network, thinned to the budget: the best of each step",
        "step", "its length", "worth at least, predicted", "measured", "parameters", "MACs",
    )  # fmt: skip
    for step in sorted({row["step"] for row in path}):
        row = max((row for row in path if row["step"] == step), key=lambda row: row["value"])
        table.add_row(
            str(step),
            f"{row['length']:.2f}",
            f"{100 * row['value']:.1f}",
            _percent(measured.get(row["architecture"])),
            f"{row['parameters']:,}",
            f"{row['macs']:,}",
        )
    return table


def _joint(path: list[dict[str, Any]], measured: dict[str, float]) -> Table:
    table = _table(
        "From the input network: predicted and measured",
        "step", "L_c", "accuracy, predicted", "measured", "parameters, predicted", "exact",
    )  # fmt: skip
    table.add_column("as decoded")
    for row in path:
        table.add_row(
            str(row["step"]),
            f"{row['objective']:.3f}",
            f"{100 * row['predicted_accuracy']:.1f}",
            _percent(measured.get(row["architecture"])),
            f"{row['predicted_parameters']:,.0f}",
            f"{row['parameters']:,}",
            "; ".join(row["repairs"]) or "valid",
        )
    return table


def _percent(accuracy: float | None) -> str:
    return "" if accuracy is None else f"{100 * accuracy:.1f}"
