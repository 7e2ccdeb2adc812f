"""Which job goes to which worker: in the given order, one job ahead, none kept from an idle worker.

Bookkeeping alone, without clock, processes or network: the Ray executor acts on these decisions,
and so does the simulation in ``benchmarks/scheduling.py``.
"""

import heapq
from collections.abc import Hashable, Iterator, Sequence
from typing import Generic, TypeVar

J = TypeVar("J", bound=Hashable)
W = TypeVar("W", bound=Hashable)

ATTEMPTS = 2
"""How many workers a job may take with it before it is given up."""


class Dispatcher(Generic[J, W]):
    """Hands out jobs, and takes them back.

    A worker without a job comes first. A second job is queued behind the one that a worker has at
    work, so that it never waits for an answer, but only while more jobs wait than there are
    workers: the last jobs go to whoever is idle first. Where a worker is idle and none waits, the
    longest of the queued jobs is to be taken back from its worker.

    Args:
        jobs: Distinct; the longest first, and handed out in this order.
        in_flight: Jobs that a worker may hold, the one at work among them.

    Attributes:
        left: How many jobs are neither finished nor given up.
    """

    def __init__(self, jobs: Sequence[J], in_flight: int = 2) -> None:
        self._rank = {job: rank for rank, job in enumerate(jobs)}
        assert len(self._rank) == len(jobs), "two jobs are equal"
        self._jobs = tuple(jobs)
        self._waiting = list(range(len(jobs)))  # a heap
        self._held: dict[W, list[J]] = {}
        # Workers by the number of jobs they hold, in order of arrival: no search among hundreds.
        self._holding: list[dict[W, None]] = [{} for _ in range(in_flight + 1)]
        self._wanted_back: set[J] = set()
        self._deaths: dict[J, int] = {}
        self.left = len(jobs)

    def join(self, worker: W) -> None:
        """Count on a worker that is ready."""
        self._held[worker] = []
        self._holding[0][worker] = None

    def assignments(self) -> Iterator[tuple[W, J]]:
        """Yield what is to be sent to whom now; it counts as sent."""
        for count, workers in enumerate(self._holding[:-1]):
            while workers and len(self._waiting) > (len(self._held) if count else 0):
                worker, job = next(iter(workers)), self._jobs[heapq.heappop(self._waiting)]
                self._set(worker, [*self._held[worker], job])
                yield worker, job

    def reclaims(self) -> Iterator[tuple[W, J]]:
        """Yield queued jobs that idle workers could begin, each of them once.

        They still count as sent: tell ``returned`` when a worker gave its job back, ``begun`` when
        it had begun already.
        """
        idle = 0 if self._waiting else len(self._holding[0]) - len(self._wanted_back)
        if idle <= 0:
            return
        queued = [(w, job) for w in self._queueing() for job in self._held[w][1:]]
        free = [each for each in queued if each[1] not in self._wanted_back]
        for worker, job in sorted(free, key=lambda each: self._rank[each[1]])[:idle]:
            self._wanted_back.add(job)
            yield worker, job

    def begun(self, job: J) -> None:
        """Note that a job that was wanted back is at work already."""
        self._wanted_back.discard(job)

    def _queueing(self) -> Iterator[W]:
        for workers in self._holding[2:]:
            yield from workers

    def finished(self, worker: W, job: J) -> None:
        """Note that a job is done."""
        self._let_go(worker, job)
        self.left -= 1

    def returned(self, worker: W, job: J) -> None:
        """Note that a job was not done, through no fault of its own: it waits again."""
        self._let_go(worker, job)
        heapq.heappush(self._waiting, self._rank[job])

    def lost(self, worker: W, culprit: J | None) -> bool:
        """Note that a worker is gone; all its jobs wait again.

        Args:
            worker: Who is gone.
            culprit: The job that was at work; None where something else ended the worker.

        Returns:
            Whether the culprit is given up: it has ended as many workers as it may.
        """
        jobs = self._held[worker]
        for job in tuple(jobs):
            self.returned(worker, job)
        del self._holding[0][worker], self._held[worker]
        if culprit is None:
            return False
        self._deaths[culprit] = self._deaths.get(culprit, 0) + 1
        if self._deaths[culprit] < ATTEMPTS:
            return False
        self._waiting.remove(self._rank[culprit])
        heapq.heapify(self._waiting)
        self.left -= 1
        return True

    def _let_go(self, worker: W, job: J) -> None:
        self._wanted_back.discard(job)
        self._set(worker, [held for held in self._held[worker] if held != job])

    def _set(self, worker: W, jobs: list[J]) -> None:
        del self._holding[len(self._held[worker])][worker]
        self._held[worker] = jobs
        self._holding[len(jobs)][worker] = None
