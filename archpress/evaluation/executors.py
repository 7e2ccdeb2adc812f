"""Where jobs run: in this process, or on a pool of worker processes of one thread each."""

import os
import queue
import threading
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator, Sequence
from types import TracebackType

from archpress.evaluation.datasets import DataSet
from archpress.evaluation.precision import Precision
from archpress.evaluation.record import Evaluation, Job, Status
from archpress.evaluation.running import run_job
from archpress.evaluation.worker import Worker, WorkerDiedError

OnEpoch = Callable[[Job], None]
Outcomes = queue.SimpleQueue[Evaluation | Exception | Job]
"""What a thread of the pool tells the caller; a job means that an epoch of it has ended."""


def ignore(job: Job) -> None:
    """Take no note of an epoch."""


class Executor(ABC):
    """Runs jobs on one data set. A context manager; leaving it frees what it holds.

    Attributes:
        data: The data set; executors train and score on its training and validation parts only.
        precision: What to train in.
    """

    def __init__(self, data: DataSet, precision: Precision = "float32") -> None:
        self.data = data
        self.precision = precision

    @abstractmethod
    def run(self, jobs: Sequence[Job], on_epoch: OnEpoch = ignore) -> Iterator[Evaluation]:
        """Yield one evaluation per job, in order of completion.

        Args:
            jobs: What to train; started in this order.
            on_epoch: Called in the caller's thread with the job whose epoch has ended.
        """

    def close(self) -> None:  # noqa: B027 - most hold nothing
        """Free what the executor holds."""

    def __enter__(self) -> "Executor":
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        value: BaseException | None,
        tb: TracebackType | None,
    ) -> None:
        self.close()


class InProcess(Executor):
    """One job after the other, in the calling process."""

    def run(self, jobs: Sequence[Job], on_epoch: OnEpoch = ignore) -> Iterator[Evaluation]:
        for job in jobs:
            yield run_job(job, self.data, self.precision, _telling(on_epoch, job))


def _telling(on_epoch: OnEpoch, job: Job) -> Callable[[int], None]:
    return lambda epoch: on_epoch(job)


class ProcessPool(Executor):
    """Worker processes of one thread each, started with the first jobs and kept until `close`.

    A worker that dies takes only its job with it; the job is tried once more on a fresh worker,
    then recorded with the reason. Workers end by themselves when this process does, however it
    ends.

    Args:
        data: The data set; its test part never reaches a worker.
        precision: What to train in.
        workers: Number of processes; None for one per available core.
    """

    def __init__(
        self, data: DataSet, precision: Precision = "float32", workers: int | None = None
    ) -> None:
        super().__init__(data, precision)
        self.workers = workers or available_cores()
        self._idle: list[Worker] = []
        self._busy: set[Worker] = set()
        self._lock = threading.Lock()
        self._closed = False

    def run(self, jobs: Sequence[Job], on_epoch: OnEpoch = ignore) -> Iterator[Evaluation]:
        waiting: queue.SimpleQueue[Job] = queue.SimpleQueue()
        for job in jobs:
            waiting.put(job)
        done: Outcomes = queue.SimpleQueue()
        self._closed = False
        for _ in range(min(self.workers, len(jobs))):
            threading.Thread(target=self._attend, args=(waiting, done), daemon=True).start()
        finished = 0
        try:
            while finished < len(jobs):
                outcome = done.get()
                if isinstance(outcome, Exception):
                    raise outcome
                if isinstance(outcome, Job):
                    on_epoch(outcome)
                    continue
                finished += 1
                yield outcome
        finally:
            if finished < len(jobs):
                self.close()

    def _attend(self, waiting: "queue.SimpleQueue[Job]", done: "Outcomes") -> None:
        """Take jobs until none waits; runs in a thread of its own."""
        while not self._closed:
            try:
                job = waiting.get_nowait()
                outcome: Evaluation | Exception = self._run_one(job, done)
            except queue.Empty:
                return
            except Exception as error:  # a fault of ours must reach the caller, not die unseen
                outcome = error
            if not self._closed:
                done.put(outcome)

    def _run_one(self, job: Job, done: "Outcomes") -> Evaluation:
        death: WorkerDiedError | None = None
        for _ in range(2):
            worker = self._take()
            try:
                evaluation = worker.run(job, lambda: done.put(job))
            except WorkerDiedError as error:
                death = error
                with self._lock:
                    self._busy.discard(worker)
                if self._closed:
                    break
            else:
                with self._lock:
                    self._busy.discard(worker)
                    self._idle.append(worker)
                return evaluation
        status: Status = "out_of_memory" if death and death.killed else "failed"
        return Evaluation.of(job, status, reason=str(death))

    def _take(self) -> Worker:
        with self._lock:
            worker = self._idle.pop() if self._idle else None
        worker = worker or Worker(self.data, self.precision)  # seconds, so not under the lock
        with self._lock:
            self._busy.add(worker)
        if self._closed:
            worker.kill()
        return worker

    def close(self) -> None:
        self._closed = True
        with self._lock:
            workers = [*self._idle, *self._busy]
            self._idle, self._busy = [], set()
        for worker in workers:
            worker.kill()


def available_cores() -> int:
    """Return the number of cores this process may use."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1
