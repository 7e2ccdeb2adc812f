"""An executor whose runs are made up: for decisions that follow from scores and times alone."""

from collections.abc import Callable, Iterator, Sequence
from typing import Any

from archpress.evaluation.executors import Executor, OnEpoch, ignore
from archpress.evaluation.record import Evaluation, Job
from archpress.training.machine import processor
from tests.evaluation.tiny import digits


def scored(job: Job, accuracy: float | None, **values: Any) -> Evaluation:
    """A run with this accuracy; without one, a failed run."""
    if accuracy is None:
        return Evaluation.of(job, "failed", reason="made up", **values)
    facts = {
        "losses": (1.0,) * job.recipe.epochs,
        "images": min(len(digits().train), job.recipe.images or len(digits().train)),
        "circumstances": {"processor": processor(), "precision": "float32"},
    }
    return Evaluation.of(job, "ok", validation_accuracy=accuracy, **(facts | values))


class Clock:
    """A clock that stands still unless it is moved; takes the place of the time module."""

    def __init__(self) -> None:
        self.now = 0.0

    def monotonic(self) -> float:
        return self.now


class Synthetic(Executor):
    """Says of each job what ``outcome`` says, and moves ``clock`` by its seconds, job by job.

    Attributes:
        calls: The jobs of every call.
    """

    def __init__(
        self, outcome: Callable[[Job], Evaluation], workers: int = 1, clock: Clock | None = None
    ) -> None:
        super().__init__(digits())
        self.outcome = outcome
        self.workers = workers
        self.clock = clock or Clock()
        self.calls: list[list[Job]] = []

    @property
    def ran(self) -> list[Job]:
        return [job for call in self.calls for job in call]

    def run(self, jobs: Sequence[Job], on_epoch: OnEpoch = ignore) -> Iterator[Evaluation]:
        self.calls.append(list(jobs))
        free = [self.clock.now] * self.workers
        ended: list[tuple[float, Evaluation]] = []
        for job in jobs:
            evaluation = self.outcome(job)
            free.sort()
            free[0] += evaluation.seconds
            ended.append((free[0], evaluation))
        for moment, evaluation in sorted(ended, key=lambda pair: pair[0]):
            self.clock.now = max(self.clock.now, moment)
            yield evaluation
