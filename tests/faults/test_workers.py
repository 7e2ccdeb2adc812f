"""Workers that are killed, and jobs that raise, hang or take too much memory."""

import contextlib
import os
import random
import signal
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
import torch

from archpress.architectures.architecture import Architecture
from archpress.architectures.layers import Convolution, Linear, ReLU
from archpress.evaluation.archive import Archive
from archpress.evaluation.executors import InProcess, ProcessPool
from archpress.evaluation.job_limits import JobLimits
from archpress.evaluation.sweep import evaluate
from archpress.evaluation.worker import Worker
from tests.evaluation.tiny import digits, network, recipe, without_seconds
from tests.faults.sweeps import POPULATION, RUNS, contents, label, records, wait_until

START_UP_SECONDS = 3.0
IN_A_ROW = 3  # fewer than the pool gives up after


@pytest.fixture(scope="module", autouse=True)
def one_thread() -> Iterator[None]:
    """Sums of several threads differ in their last bits; workers have one thread."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


class Killer:
    """Kills the one worker of a pool at random moments, but no job twice.

    Attributes:
        moments: Of each kill, what the worker was doing.
    """

    def __init__(self, kills: int, seed: int) -> None:
        self.kills, self.chance = kills, random.Random(seed)
        self.moments: list[str] = []

    def pursue(self, pool: ProcessPool, archive: Path, ended: threading.Event) -> None:
        safe, in_a_row = 0, 0
        while len(self.moments) < self.kills and not ended.is_set():
            starting = in_a_row < IN_A_ROW and self.chance.random() < 0.5
            pause = self.chance.uniform(0, START_UP_SECONDS if starting else 0.3)
            if not starting:  # the job that was killed is done when one has come and gone
                wait_until(lambda safe=safe: records(archive) >= safe or ended.is_set())
            worker = self.next_worker(pool, starting, ended)
            if worker is None or ended.wait(pause):
                return
            in_a_row += 1
            if not starting or self.is_held_back(worker):
                self.kill(worker, pool)
            if not starting:
                safe, in_a_row = records(archive) + 2, 0

    def next_worker(
        self, pool: ProcessPool, starting: bool, ended: threading.Event
    ) -> Worker | None:
        found: list[Worker] = []

        def is_there() -> bool:
            found[:] = [each for each in tuple(pool._busy) if starting or each._ready]
            return bool(found) or ended.is_set()

        assert wait_until(is_there)
        return found[0] if found else None

    def is_held_back(self, worker: Worker) -> bool:
        """Whether the worker could be stopped before it took a job."""
        os.kill(worker._process.pid, signal.SIGSTOP)
        time.sleep(0.3)  # for what it may have said before
        if worker._ready:
            os.kill(worker._process.pid, signal.SIGCONT)
        return not worker._ready

    def kill(self, worker: Worker, pool: ProcessPool) -> None:
        os.kill(worker._process.pid, self.chance.choice([signal.SIGKILL] * 4 + [signal.SIGSEGV]))
        with contextlib.suppress(ProcessLookupError):
            os.kill(worker._process.pid, signal.SIGCONT)
        worker._process.wait()
        gone: Callable[[], bool] = lambda: worker not in pool._busy  # noqa: E731
        assert wait_until(gone)
        self.moments.append("working" if worker._ready else "starting")


def disturbed_sweep(archive: Path, killer: Killer) -> int:
    """Label while the killer is about; return how many runs were made."""
    ended = threading.Event()
    with ProcessPool(digits(), workers=1) as pool:
        pursuit = threading.Thread(target=killer.pursue, args=(pool, archive, ended))
        pursuit.start()
        try:
            return len(label(archive, pool).trained)
        finally:
            ended.set()
            pursuit.join()


@pytest.mark.parametrize(
    "kills", [3, pytest.param(30, marks=[pytest.mark.slow, pytest.mark.timeout(1800)])]
)
def test_workers_killed_at_random_moments_leave_no_trace(kills: int, tmp_path: Path) -> None:
    label(tmp_path / "undisturbed.sqlite", InProcess(digits()))
    expected = contents(tmp_path / "undisturbed.sqlite")
    assert [e.status for e in expected] == ["ok"] * RUNS
    killer, archives = Killer(kills, seed=kills), 0
    while len(killer.moments) < kills:
        archives += 1
        archive = tmp_path / f"{archives}.sqlite"
        assert disturbed_sweep(archive, killer) == RUNS
        assert contents(archive) == expected
    print(f"{killer.moments.count('working')} of {kills} kills in a job, {archives} sweeps")
    assert killer.moments.count("working") >= kills // 4
    assert killer.moments.count("starting") >= kills // 10 - 1


WRONG_SHAPE = network(shape=(3, 8, 8))
ENDLESS = Architecture((1, 8, 8), (*[Convolution(128, 5, padding=2)] * 30, Linear(10)))
"""Takes a minute."""
HUGE = Architecture((1, 8, 8), (Linear(10_000_000), ReLU(), Linear(10)))
LIMITS = JobLimits(seconds=3, memory_bytes=600_000_000)


def test_jobs_that_raise_hang_or_take_too_much_memory_leave_the_others_alone(
    tmp_path: Path,
) -> None:
    tiny = recipe(epochs=4, images=640)
    faulty = [WRONG_SHAPE, ENDLESS, HUGE]
    population = [*POPULATION[:4], *faulty, *POPULATION[4:8]]
    with Archive(tmp_path / "undisturbed.sqlite") as archive:
        evaluate(POPULATION[:8], tiny, archive, InProcess(digits()))
        expected = without_seconds(archive)
    with (
        Archive(tmp_path / "disturbed.sqlite") as archive,
        ProcessPool(digits(), workers=2, limits=LIMITS) as pool,
    ):
        sweep = evaluate(population, tiny, archive, pool)
        again = evaluate(population, tiny, archive, pool)
        found = without_seconds(archive)
    told = {e.architecture: e for e in found if e.architecture in faulty}
    assert [e for e in found if e.architecture not in faulty] == expected
    assert [told[each].status for each in faulty] == ["failed", "timed_out", "out_of_memory"]
    assert "to have 3 channels, but got 1 channels instead" in told[WRONG_SHAPE].reason
    assert told[ENDLESS].reason == "not done within the limit of 3 s per job"
    assert "within the limit of 600 MB per job" in told[HUGE].reason
    assert (len(sweep.trained), again.trained) == (len(population), ())
    assert [label.accuracy is None for label in sweep.labels] == [
        architecture in faulty for architecture in population
    ]
