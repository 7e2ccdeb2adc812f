"""Jobs that are given a teacher or weights, on any executor."""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace

from archpress.evaluation.executors import Executor, OnEpoch, ignore
from archpress.evaluation.record import Evaluation, Job
from archpress.training.given import Given


class Giving(Executor):
    """Gives every job what its recipe names, and hands it to another executor.

    That one is its owner's to close.

    Args:
        executor: Where jobs run.
        given_to: What a job is given.
    """

    def __init__(self, executor: Executor, given_to: Callable[[Job], Given]) -> None:
        super().__init__(executor.data, executor.precision)
        self.workers, self.device = executor.workers, executor.device
        self._executor, self._given_to = executor, given_to

    def run(self, jobs: Sequence[Job], on_epoch: OnEpoch = ignore) -> Iterator[Evaluation]:
        given = [replace(job, given=self._given_to(job)) for job in jobs]
        return self._executor.run(given, on_epoch)
