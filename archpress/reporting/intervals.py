"""Differences between accuracies over seeds, and how sure they are."""

from collections.abc import Sequence
from math import sqrt
from statistics import fmean, stdev

from scipy.special import stdtrit


def half_interval(ours: Sequence[float], theirs: Sequence[float]) -> float | None:
    """Return half a 95 % interval of the difference of two means (Welch); None of single seeds.

    Seeds of different networks are no pairs, so that the interval is that of two samples.
    """
    if min(len(ours), len(theirs)) < 2:
        return None
    parts = [stdev(each) ** 2 / len(each) for each in (ours, theirs)]
    spread = sum(parts)
    if spread == 0:
        return 0.0
    pairs = zip(parts, (ours, theirs), strict=True)
    freedom = spread**2 / sum(part**2 / (len(each) - 1) for part, each in pairs)
    return float(stdtrit(freedom, 0.975)) * sqrt(spread)


def within_noise(ours: Sequence[float], theirs: Sequence[float]) -> bool:
    """Return whether the interval of the difference holds 0; not known of single seeds."""
    half = half_interval(ours, theirs)
    return half is not None and abs(fmean(ours) - fmean(theirs)) <= half


def difference(ours: Sequence[float], theirs: Sequence[float]) -> str:
    """Return the difference of means in points, with half its interval where there is one."""
    points, half = 100 * (fmean(ours) - fmean(theirs)), half_interval(ours, theirs)
    return f"{points:+.2f}" if half is None else f"{points:+.2f} ± {100 * half:.2f}"
