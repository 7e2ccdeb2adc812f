"""What a reader should know before believing the figures, in plain words."""

from collections.abc import Iterator
from statistics import fmean
from typing import Any

from archpress.reporting.intervals import within_noise
from archpress.reporting.run_view import RunView

FASTER = 0.95
"""Milliseconds that count as fewer, as a share of the input network's."""


def warnings_of(view: RunView) -> list[str]:
    """Return the warnings that a run deserves."""
    found = list(_of_labels(view))
    if view.result is not None:
        found += [*_of_result(view, view.result), *_of_rivals(view.result), *_of_speed(view)]
    return found


def _of_result(view: RunView, result: dict[str, Any]) -> Iterator[str]:
    base, compressed = result["base"], result["compressed"]
    budget = view.budget
    if budget is not None and compressed["parameters"] > budget:
        yield (
            f"The budget is missed: {compressed['parameters']:,} parameters, where at most "
            f"{budget:,} were asked for."
        )
    failed = compressed.get("failed_seeds", 0) + base.get("failed_seeds", 0)
    if failed:
        yield f"{failed} of the final trainings failed; the accuracies are of the others."
    if within_noise(compressed["test_accuracy"], base["test_accuracy"]):
        yield "The difference to the input network is within the noise of the seeds."
    if len(compressed["test_accuracy"]) < 2:
        yield "One seed alone: nothing is known of the spread."
    if "teacher" in compressed:
        yield (
            "The compressed network learned from the input network's outputs: its accuracy owes to "
            "that as well as to its architecture."
        )


def _of_rivals(result: dict[str, Any]) -> Iterator[str]:
    ours = result["compressed"]["test_accuracy"]
    for name, rival in sorted(result["rivals"].items()):
        theirs, title = rival["test_accuracy"], name.replace("_", " ")
        if fmean(theirs) > fmean(ours):
            close = within_noise(ours, theirs)
            yield (
                f"{title} is more accurate by {100 * (fmean(theirs) - fmean(ours)):.2f} points"
                f"{', which is within noise' if close else ''}."
            )
        elif within_noise(ours, theirs):
            yield f"The difference to {title} is within the noise of the seeds."


def _of_speed(view: RunView) -> Iterator[str]:
    if not view.timings or view.result is None:
        return
    before, after = view.timings["base"]["median"], view.timings["compressed"]["median"]
    fewer = view.result["compressed"]["macs"] < view.result["base"]["macs"]
    if fewer and after > FASTER * before:
        yield (
            f"Fewer multiply-accumulates, but not faster here: {after:.2f} ms in place of "
            f"{before:.2f} ms ({view.timings['conditions']}). Ask for latency_ms as a bound."
        )


def _of_labels(view: RunView) -> Iterator[str]:
    failed = sum(run.status not in ("ok", "diverged", "at_chance") for run in view.own_runs)
    if failed:
        yield f"{failed} of {len(view.own_runs)} trainings failed; the ledger says of what."
