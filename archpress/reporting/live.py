"""A run while it goes on, drawn for the terminal from its folder alone."""

from pathlib import Path

from rich.console import Group, RenderableType
from rich.progress_bar import ProgressBar
from rich.table import Table
from rich.text import Text

from archpress.compression.selection import front_of
from archpress.evaluation.record import Label
from archpress.reporting.run_view import RunView

FRONT_ROWS = 12
COLOURS = {
    "running": "green", "finished": "green", "stopped": "yellow", "failed": "red", "empty": "dim"
}  # fmt: skip


def live_view(view: RunView) -> RenderableType:
    """Return state, stages, the front so far and what was spent."""
    parts: list[RenderableType] = [_head(view), _stages(view)]
    if view.front:
        parts.append(_front(view))
    return Group(*parts, _spent(view))


def _head(view: RunView) -> Text:
    network = Path(view.network.get("name", view.settings.network)).name
    at_work = ", a rival is at work" if view.held and view.result is not None else ""
    data = Path(view.settings.data.name).name
    head = Text.assemble((view.state + at_work, COLOURS[view.state]), f"  {network} on {data}")
    if view.budget is not None:
        head.append(f", at most {view.budget:,} parameters")
    if view.failure and view.state == "failed":
        head.append(f"\n{view.failure}")
    if view.result is not None:
        head.append(f"\nfinished: archpress report {view.folder}")
    return head


def _stages(view: RunView) -> Table:
    table = Table("stage", "", "done", "time", "left", show_edge=False, pad_edge=False)
    for name, (done, total, seconds, before, *_) in view.progress.items():
        going = view.held and before < done < total
        left = clock(seconds * (total - done) / (done - before)) if going else ""
        bar = ProgressBar(total or 1, done, width=24)
        share = f"{100 * done / max(total, 1):.0f} %"
        table.add_row(name.replace("_", " "), bar, share, clock(seconds), left)
    return table


def _front(view: RunView) -> Table:
    table = Table(
        "network", title="Front so far: the best of each size", show_edge=False, pad_edge=False,
        title_justify="left",
    )  # fmt: skip
    for column in ("parameters", "MACs", "accuracy, %"):
        table.add_column(column, justify="right")
    if view.limits is not None and view.limits.bounds:
        table.title = "Front within the budget so far: the best of each size"
    within = [label for label in view.labels if view.allows(label.architecture)]
    for label in front_of(within)[-FRONT_ROWS:]:
        table.add_row(*_cells(label))
    return table


def _cells(label: Label) -> tuple[str, ...]:
    cost = label.architecture.cost
    accuracy = f"{100 * (label.accuracy or 0.0):.2f}"
    return label.architecture.digest, f"{cost.parameters:,}", f"{cost.macs:,}", accuracy


def _spent(view: RunView) -> Text:
    runs = view.own_runs
    known = len(view.runs) - len(runs)
    failed = sum(run.status != "ok" for run in runs)
    epochs = sum(run.epochs_trained for run in runs)
    hours = sum(run.seconds for run in runs) / 3600
    return Text(
        f"{len(runs)} trainings, {failed} without an accuracy; {epochs:,} epochs, "
        f"{hours:.2f} processor hours" + f"; {known} trainings were known before" * (known > 0)
    )


def clock(seconds: float) -> str:
    """Return hours, minutes and seconds."""
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02}:{rest:02}"
