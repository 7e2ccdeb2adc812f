"""What the noise of labels leaves to be had: reliability of repeated seeds, and the ceiling."""

from dataclasses import dataclass
from itertools import combinations

import numpy as np
import torch
from numpy.typing import ArrayLike, NDArray

from archpress.errors import EmbeddingError
from archpress.prediction.ranks import spearman

REPEATS = 200


@dataclass(frozen=True)
class Ceiling:
    """The Spearman correlation with noisy labels that nobody can beat.

    Attributes:
        mean: What a regressor has on average that knows every network's true accuracy.
        std: Its standard deviation over draws of the labels' noise.
        reliability: Of the labels: the correlation of one set of labels with another such set.
    """

    mean: float
    std: float
    reliability: float


def reliability(values: ArrayLike) -> float:
    """Return how well the mean over all seeds would correlate with such a mean of fresh seeds.

    The mean Spearman correlation of halves, brought to full length by the Spearman-Brown formula;
    of halves that differ by a seed the geometric mean counts as their length.

    Args:
        values: One row per network, one column per seed, ``[B, S]``, ``S`` at least 2.

    Raises:
        EmbeddingError: Fewer than two seeds, or fewer than three networks.
    """
    table = _checked(values)
    seeds = table.shape[1]
    size = seeds // 2
    halves = [spearman(*_halves(table, part)) for part in combinations(range(seeds), size)]
    length = np.sqrt((seeds / size) * (seeds / (seeds - size)))
    half = float(np.mean(halves))
    return float(length * half / (1 + (length - 1) * half))


def ceiling(values: ArrayLike, seeds: int, generator: torch.Generator) -> Ceiling:
    """Return what can be had against labels that are means of ``seeds`` seeds.

    True accuracies are taken to be the observed means, drawn together by as much as noise has
    spread them; the noise of each network is drawn from its own deviations.

    Args:
        values: One row per network, one column per seed, ``[B, S]``, ``S`` at least 2.
        seeds: How many seeds a label is the mean of.
        generator: Draws the noise.

    Raises:
        EmbeddingError: Fewer than two seeds, or fewer than three networks.
    """
    table = _checked(values)
    truth, deviations = _truth(table), _deviations(table)
    draws = [truth + _noise(deviations, seeds, generator) for _ in range(2 * REPEATS)]
    with_truth = [spearman(truth, labels) for labels in draws]
    pairs = zip(draws[::2], draws[1::2], strict=True)
    again = float(np.mean([spearman(a, b) for a, b in pairs]))
    return Ceiling(float(np.mean(with_truth)), float(np.std(with_truth)), again)


def _checked(values: ArrayLike) -> NDArray[np.float64]:
    table = np.asarray(values, np.float64)
    if table.ndim != 2 or table.shape[0] < 3 or table.shape[1] < 2:
        raise EmbeddingError(
            f"noise shows in at least 3 networks with 2 seeds each, got values of {table.shape}"
        )
    return table


def _halves(table: NDArray[np.float64], part: tuple[int, ...]) -> list[NDArray[np.float64]]:
    first = np.isin(np.arange(table.shape[1]), part)
    return [table[:, first].mean(1), table[:, ~first].mean(1)]


def _deviations(table: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return deviations from each network's mean, as large as those from its true accuracy."""
    seeds = table.shape[1]
    deviations: NDArray[np.float64] = table - table.mean(1, keepdims=True)
    deviations *= np.sqrt(seeds / (seeds - 1))
    return deviations


def _truth(table: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return the means, drawn together so that their variance is that without noise."""
    means = table.mean(1)
    noise = float(table.var(1, ddof=1).mean()) / table.shape[1]
    # Never quite together: equal values have no ranks.
    kept = max(1 - noise / max(float(means.var(ddof=1)), 1e-18), 1e-6)
    truth: NDArray[np.float64] = means.mean() + np.sqrt(kept) * (means - means.mean())
    return truth


def _noise(
    deviations: NDArray[np.float64], seeds: int, generator: torch.Generator
) -> NDArray[np.float64]:
    """Return the mean of ``seeds`` of each network's own deviations, of either sign, ``[B]``."""
    networks, observed = deviations.shape
    places = torch.randint(observed, (networks, seeds), generator=generator).numpy()
    signs = 2 * torch.randint(2, (networks, seeds), generator=generator).numpy() - 1
    drawn = np.take_along_axis(deviations, places, 1) * signs
    mean: NDArray[np.float64] = drawn.mean(1)
    return mean
