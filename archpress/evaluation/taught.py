"""Jobs with a teacher, on any executor."""

from collections.abc import Iterator, Sequence
from dataclasses import replace

from archpress.evaluation.executors import Executor, OnEpoch, ignore
from archpress.evaluation.record import Evaluation, Job
from archpress.training.distillation import Teacher


class Taught(Executor):
    """Hands a teacher to every job, and the jobs to another executor, whose owner closes it.

    Args:
        executor: Where jobs run.
        teacher: Whom the recipes of the jobs name.
    """

    def __init__(self, executor: Executor, teacher: Teacher) -> None:
        super().__init__(executor.data, executor.precision)
        self.workers, self.device = executor.workers, executor.device
        self._executor, self._teacher = executor, teacher

    def run(self, jobs: Sequence[Job], on_epoch: OnEpoch = ignore) -> Iterator[Evaluation]:
        taught = [replace(job, teacher=self._teacher) for job in jobs]
        return self._executor.run(taught, on_epoch)
