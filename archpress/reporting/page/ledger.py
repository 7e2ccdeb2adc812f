"""What a run took: trainings, epochs, seconds and failures."""

from collections import Counter, defaultdict

from archpress.evaluation.record import Evaluation
from archpress.reporting.page.markup import details, missing, paragraph, table
from archpress.reporting.page.networks import Networks
from archpress.reporting.run_view import RunView

SHOWN = 50
"""Failures that are listed."""


def build(view: RunView, networks: Networks) -> str:
    """Return seconds by stage, trainings by recipe, and failures with their reasons."""
    if not view.seconds and not view.runs:
        return missing("Nothing was spent yet.")
    stages = [[name.replace("_", " "), f"{value:,.1f}"] for name, value in view.seconds.items()]
    stages.append(["all", f"{sum(view.seconds.values()):,.1f}"])
    parts = [table(["stage", "seconds"], stages), _trainings(view.own_runs)]
    known = len(view.runs) - len(view.own_runs)
    if known:
        parts.append(paragraph(f"{known} trainings more were known before, from an archive."))
    failed = [run for run in view.own_runs if run.status != "ok"]
    if failed:
        rows = [[run.architecture.digest, run.status, run.reason] for run in failed[:SHOWN]]
        inside = table(["network", "status", "reason"], rows)
        parts.append(details(f"{len(failed)} trainings without an accuracy", inside))
    return "".join(parts)


def _trainings(runs: list[Evaluation]) -> str:
    groups: dict[tuple[str, str], list[Evaluation]] = defaultdict(list)
    for run in runs:
        groups[run.recipe.name, run.recipe.digest].append(run)
    rows = []
    for (name, _), each in groups.items():
        statuses = Counter(run.status for run in each)
        rows.append(
            [
                name, str(len({run.architecture.digest for run in each})), str(len(each)),
                f"{sum(run.epochs_trained for run in each):,}",
                f"{sum(run.seconds for run in each) / 3600:.2f}",
                ", ".join(f"{status} {count}" for status, count in statuses.most_common()),
            ]
        )  # fmt: skip
    head = ["recipe", "networks", "trainings", "epochs", "processor hours", "outcome"]
    return table(head, rows)
