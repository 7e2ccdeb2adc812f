"""Rows of tables: differences with intervals, and what a run has cost."""

from collections.abc import Mapping, Sequence
from statistics import fmean, stdev
from typing import Any

from scipy.stats import t as student


def difference(ours: Sequence[float], theirs: Sequence[float]) -> str:
    """Return the difference of means in points, with its 95 % interval (Welch).

    Seeds of different networks are not pairs, so that the interval is that of two samples.
    """
    points = 100 * (fmean(ours) - fmean(theirs))
    if min(len(ours), len(theirs)) < 2:
        return f"{points:+.2f}"
    parts = [(100 * stdev(each)) ** 2 / len(each) for each in (ours, theirs)]
    spread = sum(parts)
    if spread == 0:
        return f"{points:+.2f} ± 0.00"
    freedom = spread**2 / sum(
        part**2 / (len(each) - 1) for part, each in zip(parts, (ours, theirs), strict=True)
    )
    return f"{points:+.2f} ± {student.ppf(0.975, freedom) * spread**0.5:.2f}"


def own_seconds(result: Mapping[str, Any]) -> dict[str, float]:
    """Return the seconds of a run's own stages: those of rivals in its folder are left out."""
    stages = result.get("seconds", {})
    return {stage: value for stage, value in stages.items() if stage not in result["rivals"]}


def hours(result: Mapping[str, Any]) -> float:
    """Return the wall-clock hours of a run's own stages; 0 of one that failed."""
    return sum(own_seconds(result).values()) / 3_600 if "seconds" in result else 0.0


def markdown(head: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """Return a Markdown table."""
    lines = [head, ["---"] * len(head), *rows]
    return "".join(f"| {' | '.join(line)} |\n" for line in lines)
