"""The answer first: how much smaller, how accurate, and what to do with the files."""

from typing import Any

from archpress.architectures.diagrams import before_after, diagram
from archpress.architectures.file_size import weights_file_bytes
from archpress.reporting.page.markup import missing, paragraph, table
from archpress.reporting.page.networks import Networks
from archpress.reporting.page.warnings import warnings_of
from archpress.reporting.run_view import RunView
from archpress.reporting.tables import percent

STATES = {
    "failed": "The run ended without a result.",
    "running": "The run is going on: this is what it has come to so far.",
    "stopped": "The run was stopped: this is what it had come to. Continue it with --resume.",
    "empty": "The run has not begun: nothing is labelled yet.",
}


def build(view: RunView, networks: Networks) -> str:
    """Return before and after in figures, warnings, and where the files are."""
    warnings = "".join(paragraph(text, "warning") for text in warnings_of(view))
    if view.result is None:
        reason = paragraph(f"It said: {view.failure}", "warning") if view.state == "failed" else ""
        last = paragraph(f"Stages so far: {', '.join(view.seconds) or 'none'}.")
        return paragraph(STATES[view.state], "state") + reason + last + warnings
    base, compressed = view.result["base"], view.result["compressed"]
    ratio = base["parameters"] / compressed["parameters"]
    accuracies = percent(compressed["test_accuracy"]), percent(base["test_accuracy"])
    lead = (
        f"{ratio:.1f} times smaller: {base['parameters']:,} parameters became "
        f"{compressed['parameters']:,}, at {accuracies[0]} % test accuracy in place of "
        f"{accuracies[1]} %."
    )
    return paragraph(lead, "lead") + _figures(view) + warnings + _files(view, compressed)


def _figures(view: RunView) -> str:
    assert view.result is not None and view.input_network and view.compressed
    networks = {"base": view.input_network, "compressed": view.compressed}
    records = {name: view.result[name] for name in networks}
    rows = [
        ["parameters", *(f"{records[n]['parameters']:,}" for n in networks)],
        ["multiply-accumulates", *(f"{records[n]['macs']:,}" for n in networks)],
        ["weights file, KB", *(_kilobytes(weights_file_bytes(x)) for x in networks.values())],
        ["peak activations, KB", *(_kilobytes(x.cost.activation_bytes) for x in networks.values())],
    ]
    if view.timings:
        times = [view.timings[name]["median"] for name in networks]
        label = f"milliseconds ({view.timings['conditions']})"
        rows.append([label, *(f"{value:.2f}" for value in times)])
    seeds = len(records["compressed"]["test_accuracy"])
    rows.append(
        [
            f"test accuracy, % ({seeds} seeds)",
            *(percent(r["test_accuracy"]) for r in records.values()),
        ]
    )
    for row in rows[:-1]:
        before, after = (float(cell.replace(",", "")) for cell in row[1:])
        row.append(f"{before / after:.2f}x" if after else "")
    rows[-1].append(f"{100 * (_mean(records['compressed']) - _mean(records['base'])):+.2f} points")
    return table(["", "input network", "compressed", "smaller"], rows, "figures")


def _kilobytes(size: int) -> str:
    return f"{size / 1e3:,.0f}"


def _mean(record: dict[str, Any]) -> float:
    values = record["test_accuracy"]
    return float(sum(values) / len(values))


def _files(view: RunView, compressed: dict[str, Any]) -> str:
    origin = paragraph(f"It comes from: {compressed['origin']}.")
    if not (view.folder / "compressed" / "model.py").exists():
        return origin
    return origin + paragraph(
        "The compressed network lies in compressed/ of the run folder: model.py is plain PyTorch "
        "and weights.safetensors its trained weights; README.md there says how to load them and "
        "how pixels are scaled."
    )


def diagrams(view: RunView, networks: Networks) -> str:
    """Return both networks as diagrams on one scale."""
    if view.input_network is None:
        return missing("The input network is not known yet.")
    if view.compressed is None:
        return f"<div class='drawing'>{diagram(view.input_network, 'input network')}</div>"
    picture = before_after(view.input_network, view.compressed)
    return f"<div class='drawing'>{picture}</div>"
