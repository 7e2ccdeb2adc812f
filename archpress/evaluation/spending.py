"""What a sweep may spend, what it will spend, and what it has spent."""

import heapq
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field

from archpress.errors import SettingsError
from archpress.evaluation.cost_model import CostModel, training_flops
from archpress.evaluation.record import Evaluation, Job


@dataclass(frozen=True)
class Allowance:
    """What one call may spend on training; None is no limit.

    Attributes:
        seconds: Wall-clock time from the start of the sweep.
        flops: Floating-point operations, by :func:`training_flops`.
    """

    seconds: float | None = None
    flops: float | None = None

    def __post_init__(self) -> None:
        for name, value in (("seconds", self.seconds), ("flops", self.flops)):
            if value is not None and not value > 0:
                raise SettingsError(f"expected a budget of {name} above 0, received {value}")


NO_LIMIT = Allowance()


@dataclass(frozen=True)
class Estimate:
    """What jobs will cost, by a cost model.

    Attributes:
        runs: Training runs.
        epochs: Their epochs.
        flops: Their floating-point operations.
        worker_seconds: Predicted, added up over workers.
        seconds: Predicted wall-clock time, longest jobs first.
        workers: On so many workers.
        spread: Typical error of one job's prediction, as a factor.
    """

    runs: int
    epochs: int
    flops: float
    worker_seconds: float
    seconds: float
    workers: int
    spread: float

    @classmethod
    def of(cls, jobs: Sequence[Job], model: CostModel, images: int, workers: int) -> "Estimate":
        """Return the estimate for jobs that train on ``images`` images per epoch."""
        each = [model.seconds(job.architecture, job.recipe, images) for job in jobs]
        return cls(
            runs=len(jobs),
            epochs=sum(job.recipe.epochs for job in jobs),
            flops=sum(training_flops(job.architecture, job.recipe, images) for job in jobs),
            worker_seconds=sum(each),
            seconds=makespan(each, workers),
            workers=workers,
            spread=model.spread,
        )


def makespan(seconds: Iterable[float], workers: int) -> float:
    """Return when the last job ends if each free worker takes the longest job that waits."""
    ends = [0.0] * workers
    for duration in sorted(seconds, reverse=True):
        heapq.heapreplace(ends, ends[0] + duration)
    return max(ends)


@dataclass(frozen=True)
class Ledger:
    """What runs have cost, successful or not.

    Attributes:
        runs: How many, by status.
        epochs: Epochs begun.
        flops: Floating-point operations of the steps that were made, as far as records know them: a
            run whose worker died has none.
        worker_seconds: Their wall time, added up; of failures, both attempts.
    """

    runs: Counter[str] = field(default_factory=Counter)
    epochs: int = 0
    flops: float = 0.0
    worker_seconds: float = 0.0

    @classmethod
    def of(cls, evaluations: Iterable[Evaluation]) -> "Ledger":
        """Return the ledger of runs; one whose worker died counts no epochs, for none is known."""
        runs: Counter[str] = Counter()
        epochs, flops, seconds = 0, 0.0, 0.0
        for evaluation in evaluations:
            runs[evaluation.status] += 1
            epochs += evaluation.epochs_trained
            flops += _flops_made(evaluation)
            seconds += evaluation.seconds
        return cls(runs, epochs, flops, seconds)


def _flops_made(evaluation: Evaluation) -> float:
    if not evaluation.images or not evaluation.epochs_trained:
        return 0.0
    recipe = evaluation.recipe
    whole = training_flops(evaluation.architecture, recipe, evaluation.images)
    steps = recipe.epochs * max(1, evaluation.images // recipe.batch_size)
    share = (
        evaluation.steps / steps
        if evaluation.steps
        else (evaluation.epochs_trained / recipe.epochs)
    )
    return whole * min(1.0, share)
