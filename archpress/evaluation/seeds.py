"""More initialisations where they decide something: between networks that are close or noisy."""

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.special import ndtr

from archpress.architectures.architecture import Architecture
from archpress.evaluation.archive import Archive
from archpress.evaluation.executors import Executor
from archpress.evaluation.record import Evaluation, Label
from archpress.evaluation.runs import OnProgress
from archpress.evaluation.spending import Ledger
from archpress.evaluation.sweep import evaluate
from archpress.training.recipe import TrainingRecipe

PRIOR_DEVIATION = 0.01
PRIOR_RUNS = 4
ROUND = 8


@dataclass(frozen=True)
class Sharpened:
    """Labels with unequal numbers of initialisations, and the runs made for them now."""

    labels: tuple[Label, ...]
    trained: tuple[Evaluation, ...]

    @property
    def ledger(self) -> Ledger:
        """What this call has spent."""
        return Ledger.of(self.trained)


def deviation(labels: Sequence[Label]) -> float:
    """Return the standard deviation of one run about its network's mean, pooled over networks.

    What is known before counts as four runs with a deviation of 0.01. Networks with a run that
    diverged, stayed at chance or failed say nothing about it.
    """
    squares, freedom = PRIOR_RUNS * PRIOR_DEVIATION**2, float(PRIOR_RUNS)
    for label in filter(_is_alive, labels):
        count = len(label.values)
        if label.standard_error is not None:
            squares += (count - 1) * count * label.standard_error**2
            freedom += count - 1
    return math.sqrt(squares / freedom)


def gains(labels: Sequence[Label], extra: NDArray[np.float64] | None = None) -> NDArray[np.float64]:
    """Return for each label how much accuracy one more run is expected to save.

    The knowledge gradient (Frazier, Powell and Dayanik, 2008) of every choice between two of them:
    what is lost where the worse one is taken, now and after the run. A run moves a mean of n
    runs by sigma / sqrt(n (n + 1)); equal ones gain most.

    Args:
        labels: Of at least one run each.
        extra: Runs per label that are on their way already.
    """
    counts = np.array([len(label.values) for label in labels], dtype=float)
    counts += 0.0 if extra is None else extra
    means = np.array([label.accuracy for label in labels], dtype=float)
    moves = (deviation(labels) / np.sqrt(counts * (counts + 1)))[:, None]
    distances = np.abs(means[:, None] - means[None, :]) / moves
    density = np.exp(-(distances**2) / 2) / math.sqrt(2 * math.pi)
    gained: NDArray[np.float64] = moves * (density - distances * ndtr(-distances))
    np.fill_diagonal(gained, 0.0)
    return np.asarray(gained.sum(1))


def sharpen(
    architectures: Sequence[Architecture],
    recipe: TrainingRecipe,
    archive: Archive,
    executor: Executor,
    runs: int,
    on_progress: OnProgress = lambda done, total: None,
) -> Sharpened:
    """Return labels of ``architectures``, ``runs`` initialisations added where they matter most.

    Each network has its ``recipe.seeds`` runs first. Then, eight at a time whatever the number of
    workers, each run goes to the network where it is expected to gain most; none to a network with
    a run that diverged, stayed at chance or failed.

    Args:
        architectures: What to label.
        recipe: How to train, and how many initialisations each network has at least.
        archive: Where runs are looked up and stored.
        executor: Where runs are made.
        runs: How many to add in all.
        on_progress: Told the units of work done and in all, anew for each round.
    """
    with archive.writing():
        networks = list(dict.fromkeys(architectures))
        sweep = evaluate(networks, recipe, archive, executor, on_progress=on_progress)
        labels = {label.architecture: label for label in sweep.labels}
        trained = list(sweep.trained)
        left = runs
        while left > 0 and (seeds := _allotted(list(labels.values()), min(ROUND, left))):
            left -= min(ROUND, left)
            for count in sorted(set(seeds.values())):
                again = [network for network, wanted in seeds.items() if wanted == count]
                more = recipe.model_copy(update={"seeds": count})
                sweep = evaluate(again, more, archive, executor, on_progress=on_progress)
                trained += sweep.trained
                labels |= {label.architecture: label for label in sweep.labels}
    return Sharpened(tuple(labels[network] for network in architectures), tuple(trained))


def _is_alive(label: Label) -> bool:
    """Return whether all runs gave an accuracy: ties at chance are no reason for more runs."""
    return bool(label.evaluations) and all(run.status == "ok" for run in label.evaluations)


def _allotted(labels: Sequence[Label], runs: int) -> dict[Architecture, int]:
    """Return how many runs in all each network that gets more of them is to have."""
    usable = [label for label in labels if _is_alive(label)]
    if len(usable) < 2:
        return {}
    extra = np.zeros(len(usable))
    for _ in range(runs):
        extra[np.argmax(gains(usable, extra))] += 1
    return {
        label.architecture: len(label.values) + int(more)
        for label, more in zip(usable, extra, strict=True)
        if more
    }
