"""Where jobs run: in this process, or on a pool of worker processes of one thread each."""

import os
import queue
import sys
import threading
import time
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from types import TracebackType

from archpress.datasets.dataset import DataSet
from archpress.errors import ArchpressError
from archpress.evaluation.job_limits import NO_LIMITS, JobLimits
from archpress.evaluation.record import Evaluation, Job, arithmetic_of, circumstances
from archpress.evaluation.running import run_job
from archpress.evaluation.worker import Worker, WorkerDiedError
from archpress.training.machine import one_thread
from archpress.training.precision import Precision

OnEpoch = Callable[[Job], None]
Outcomes = queue.SimpleQueue[Evaluation | Exception | Job]
"""What a thread of the pool tells the caller; a job means that an epoch of it has ended."""

STARTS = 5  # of a worker, in a row


def ignore(job: Job) -> None:
    """Take no note of an epoch."""


class Executor(ABC):
    """Runs jobs on one data set. A context manager; leaving it frees what it holds.

    Attributes:
        data: The data set; executors train and score on its training and validation parts only.
        precision: What to train in.
        workers: How many jobs run at a time.
        device: What they run on, as their circumstances name it; ``cuda`` for GPUs of a cluster.
    """

    workers: int = 1
    device: str = "cpu"

    def __init__(self, data: DataSet, precision: Precision = "float32") -> None:
        self.data = data
        self.precision = precision

    @property
    def arithmetic(self) -> str:
        """What makes the accuracies of its runs comparable, as `Evaluation.arithmetic`."""
        return arithmetic_of(self.precision, self.device)

    @abstractmethod
    def run(self, jobs: Sequence[Job], on_epoch: OnEpoch = ignore) -> Iterator[Evaluation]:
        """Yield one evaluation per job, in order of completion.

        Args:
            jobs: What to train; started in this order.
            on_epoch: Called in the caller's thread with the job whose epoch has ended; the epochs
                of a job that is tried again are told again.
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
    """One job after the other, in the calling process, which no limit per job could outlive.

    On one thread, as in a worker: sums differ with the number of threads.
    """

    def run(self, jobs: Sequence[Job], on_epoch: OnEpoch = ignore) -> Iterator[Evaluation]:
        for job in jobs:
            with one_thread():
                evaluation = run_job(job, self.data, self.precision, _telling(on_epoch, job))
            yield evaluation


def _telling(on_epoch: OnEpoch, job: Job) -> Callable[[int], None]:
    return lambda epoch: on_epoch(job)


class _StoppedError(Exception):
    """The run that a thread works for has ended."""


class _Run:
    """One call of `ProcessPool.run`: its jobs, what became of them, and whether to go on."""

    def __init__(self, jobs: Sequence[Job]) -> None:
        self.waiting: queue.SimpleQueue[Job] = queue.SimpleQueue()
        for job in jobs:
            self.waiting.put(job)
        self.done: Outcomes = queue.SimpleQueue()
        self.stopped = False

    def next_evaluation(self, on_epoch: OnEpoch) -> Evaluation:
        while True:
            outcome = self.done.get()
            if isinstance(outcome, Evaluation):
                return outcome
            if isinstance(outcome, Exception):
                raise outcome
            on_epoch(outcome)


class ProcessPool(Executor):
    """Worker processes of one thread each, started with the first jobs and kept until `close`.

    A worker that dies takes only its job with it. A job whose worker died, that ran out of memory
    or that took too long is tried once more on a fresh worker, then recorded with the reason (and
    no epochs, where nothing but the worker knew of them). A worker that is killed before it takes
    jobs is replaced. Workers end by themselves when this process does, however it ends.

    Args:
        data: The data set; its test part never reaches a worker.
        precision: What to train in.
        workers: Number of processes; None for one per available core.
        limits: What each job may use.
    """

    def __init__(
        self,
        data: DataSet,
        precision: Precision = "float32",
        workers: int | None = None,
        limits: JobLimits = NO_LIMITS,
    ) -> None:
        super().__init__(data, precision)
        self.workers = workers or available_cores()
        self.limits = limits
        self._lock = threading.Lock()
        self._idle: list[Worker] = []
        self._busy: dict[Worker, _Run] = {}
        self._runs: set[_Run] = set()

    def run(self, jobs: Sequence[Job], on_epoch: OnEpoch = ignore) -> Iterator[Evaluation]:
        """Yield one evaluation per job; a run that is left before its end ends its workers.

        Raises:
            ArchpressError: Worker processes do not start, or the pool was closed meanwhile.
            OSError: Trained weights cannot be written.
            RuntimeError: A fault of the program in a worker.
        """
        run = _Run(jobs)
        threads = [
            threading.Thread(target=self._attend, args=(run,), daemon=True)
            for _ in range(min(self.workers, len(jobs)))
        ]
        try:
            self._runs.add(run)
            for thread in threads:
                thread.start()
            for _ in jobs:
                yield run.next_evaluation(on_epoch)
        finally:
            if not sys.is_finalizing():  # threads stand still then, and workers end with us
                self._stop(run)
                for thread in filter(threading.Thread.is_alive, threads):
                    thread.join()

    def _attend(self, run: _Run) -> None:
        """Take jobs until none waits; runs in a thread of its own."""
        outcome: Evaluation | Exception
        while True:
            try:
                outcome = self._evaluation(run.waiting.get_nowait(), run)
            except (queue.Empty, _StoppedError):
                return
            except Exception as error:  # a fault of ours must reach the caller, not die unseen
                outcome = error
            if not run.stopped:  # else the worker died of that, not of its job
                run.done.put(outcome)

    def _evaluation(self, job: Job, run: _Run) -> Evaluation:
        start = time.monotonic()
        evaluation, final = self._attempt(job, run)
        if not final:
            evaluation, final = self._attempt(job, run)
        # A failure cost what both attempts took; a success is what it took itself.
        return evaluation if final else replace(evaluation, seconds=time.monotonic() - start)

    def _attempt(self, job: Job, run: _Run) -> tuple[Evaluation, bool]:
        """Return the evaluation, and whether a fresh worker could not do better."""
        worker = self._take(run)
        try:
            evaluation = worker.run(job, lambda: run.done.put(job))
            if evaluation.status != "out_of_memory":
                return evaluation, True
            worker.kill()  # what its heap kept of earlier jobs may have been in the way
            return evaluation, False
        except WorkerDiedError as death:
            facts = circumstances(self.precision)
            return Evaluation.of(job, death.status, reason=str(death), circumstances=facts), False
        finally:
            self._give_back(worker)

    def _take(self, run: _Run) -> Worker:
        """Return a worker that waits for a job, an idle one or a fresh one.

        Raises:
            ArchpressError: None starts; killed while it starts, a worker says nothing of a job.
        """
        death: WorkerDiedError | None = None
        for _ in range(STARTS):
            worker = self._idle_or_new(run)
            try:
                worker.start()
                return worker
            except WorkerDiedError as error:
                death = error
            self._give_back(worker)
            if not death.by_signal:
                break
        if run.stopped:
            raise _StoppedError
        raise ArchpressError(f"worker processes do not start: {death}")

    def _idle_or_new(self, run: _Run) -> Worker:
        with self._lock:  # so that whoever stops the run sees the worker
            if run.stopped:
                raise _StoppedError
            while self._idle:
                worker = self._idle.pop()
                if worker.is_alive:
                    break
                worker.kill()
            else:
                worker = Worker(self.data, self.precision, self.limits)
            self._busy[worker] = run
        return worker

    def _give_back(self, worker: Worker) -> None:
        with self._lock:
            run = self._busy.pop(worker)
            if worker.is_alive and not run.stopped:
                self._idle.append(worker)
                return
        worker.kill()

    def _stop(self, run: _Run) -> None:
        with self._lock:
            run.stopped = True
            self._runs.discard(run)
            workers = [worker for worker, its_run in self._busy.items() if its_run is run]
        _kill(workers)

    def close(self) -> None:
        """End all workers at once; whoever still waits for evaluations gets an error."""
        for run in tuple(self._runs):
            self._stop(run)
            run.done.put(ArchpressError("the pool of workers was closed before its jobs were done"))
        with self._lock:
            workers, self._idle = self._idle, []
        _kill(workers)


def _kill(workers: list[Worker]) -> None:
    for worker in workers:
        worker.send_kill()
    for worker in workers:
        worker.kill()


def available_cores() -> int:
    """Return the number of cores this process may use."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1
