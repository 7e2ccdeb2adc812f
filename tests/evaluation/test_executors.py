"""Executors: one contract for all, and what a pool does when its workers die."""

import os
import signal
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
import torch

from archpress.architectures.architecture import Architecture
from archpress.architectures.layers import Linear, ReLU
from archpress.errors import ArchpressError
from archpress.evaluation import executors
from archpress.evaluation.executors import Executor, InProcess, ProcessPool
from archpress.evaluation.job_limits import JobLimits
from archpress.evaluation.record import Evaluation, Job, circumstances
from archpress.evaluation.running import run_job
from archpress.evaluation.worker import Worker, WorkerDiedError
from archpress.training.machine import one_thread
from tests.evaluation.tiny import ABSURD, TINY, digits, is_running, job, recipe, without_seconds

JOBS = [job(0), job(1), job(0, width=6), job(0, by=ABSURD), job(0, by=recipe(flip=True))]
LONG = recipe(epochs=40, images=640)
"""Long enough to be killed in the middle."""
ENDLESS = recipe(epochs=10**6)


@pytest.fixture(scope="module")
def expected() -> list[Evaluation]:
    with one_thread():
        return without_seconds(run_job(each, digits(), "float32") for each in JOBS)


@pytest.fixture(
    scope="module",
    params=[lambda: InProcess(digits()), lambda: ProcessPool(digits(), workers=2)],
    ids=["InProcess", "ProcessPool"],
)
def executor(request: pytest.FixtureRequest) -> Iterator[Executor]:
    with request.param() as opened:
        yield opened


def test_every_job_gets_the_evaluation_of_its_key(
    executor: Executor, expected: list[Evaluation]
) -> None:
    assert [e.status for e in expected].count("diverged") == 1
    assert without_seconds(executor.run(JOBS)) == expected


def test_the_order_of_jobs_changes_nothing(executor: Executor, expected: list[Evaluation]) -> None:
    assert without_seconds(executor.run(JOBS[::-1])) == expected
    assert without_seconds(executor.run(JOBS[2:3])) == [e for e in expected if e.key == JOBS[2].key]


def test_every_epoch_is_told_in_the_callers_thread(executor: Executor) -> None:
    told: list[tuple[int, threading.Thread]] = []
    jobs = [job(1, by=recipe(epochs=3)), job(2, by=recipe(epochs=2))]
    list(executor.run(jobs, lambda each: told.append((each.seed, threading.current_thread()))))
    assert sorted(seed for seed, _ in told) == [1, 1, 1, 2, 2]
    assert {thread for _, thread in told} == {threading.current_thread()}


def test_no_jobs_give_no_evaluations(executor: Executor) -> None:
    assert list(executor.run([])) == []


def test_weights_that_cannot_be_written_reach_the_caller(
    executor: Executor, tmp_path: Path, expected: list[Evaluation]
) -> None:
    (tmp_path / "file").write_text("in the way")
    with pytest.raises(OSError, match="file"):
        list(executor.run([job(weights=str(tmp_path / "file" / "run.safetensors"))]))
    assert without_seconds(executor.run(JOBS[:1])) == [e for e in expected if e.key == JOBS[0].key]


def busy_pids(pool: ProcessPool) -> list[int]:
    return [worker._process.pid for worker in tuple(pool._busy)]


def kill_workers(
    pool: ProcessPool, times: int, killed: list[int], sent: int = signal.SIGKILL, job: bool = True
) -> None:
    """Kill the next `times` workers that are given a job, or that start, in the middle of it."""
    deadline = time.monotonic() + 100
    while len(killed) < times and time.monotonic() < deadline:
        for worker in tuple(pool._busy):
            pid = worker._process.pid
            if pid not in killed and worker._ready == job:
                time.sleep(0.05)
                os.kill(pid, sent)
                killed.append(pid)
        time.sleep(0.005)


@pytest.mark.parametrize("times", [1, 2])
def test_a_job_whose_worker_is_killed_is_tried_once_more_then_recorded(times: int) -> None:
    killed: list[int] = []
    with ProcessPool(digits(), workers=1) as pool:
        killer = threading.Thread(target=kill_workers, args=(pool, times, killed))
        killer.start()
        (outcome,) = pool.run([job(by=LONG)])
        killer.join()
    assert len(set(killed)) == times
    if times == 1:
        assert (outcome.status, outcome.epochs_trained) == ("ok", 40)
    else:
        assert (outcome.status, outcome.key) == ("out_of_memory", job(by=LONG).key)
        assert outcome.reason == (
            "the worker process ended by signal 9, most often for lack of memory"
        )


class Actors:
    """Makes workers without a process, which die as often as told; `meeting` of them must meet."""

    def __init__(self) -> None:
        self.started, self.deaths, self.early_deaths = 0, 0, 0
        self.meeting = threading.Barrier(1)
        self.playing: list[Actor] = []

    def __call__(self, *_: object) -> "Actor":
        self.started += 1
        self.playing.append(Actor(self))
        return self.playing[-1]


class Actor:
    def __init__(self, company: Actors) -> None:
        self.company, self.is_alive = company, True

    def start(self) -> None:
        if self.company.early_deaths:
            self.company.early_deaths -= 1
            self.is_alive = False
            raise WorkerDiedError(-signal.SIGSEGV)

    def run(self, given: Job, on_epoch: object = None) -> Evaluation:
        self.company.meeting.wait(timeout=30)
        assert self.is_alive
        if self.company.deaths:
            self.company.deaths -= 1
            self.is_alive = False
            raise WorkerDiedError(3)
        return Evaluation.of(given, "ok", validation_accuracy=0.5)

    def kill(self) -> None:
        self.is_alive = False

    send_kill = kill


@pytest.fixture
def actors(monkeypatch: pytest.MonkeyPatch) -> Actors:
    found = Actors()
    monkeypatch.setattr(executors, "Worker", found)
    return found


@pytest.mark.parametrize(("deaths", "statuses"), [(1, {"ok"}), (2, {"failed", "ok"})])
def test_a_death_costs_at_most_its_own_job(deaths: int, statuses: set[str], actors: Actors) -> None:
    actors.deaths = deaths
    with ProcessPool(digits(), workers=1) as pool:
        found = list(pool.run([job(seed) for seed in range(4)]))
    assert {e.seed for e in found} == {0, 1, 2, 3}
    assert {e.status for e in found} == statuses
    assert {e.reason for e in found if e.status == "failed"} <= {
        "the worker process ended by exit status 3"
    }
    assert actors.started == deaths + 1


@pytest.mark.parametrize(("workers", "jobs", "started"), [(3, 6, 3), (3, 2, 2), (1, 3, 1)])
def test_as_many_workers_as_wanted_and_needed_work_at_the_same_time(
    workers: int, jobs: int, started: int, actors: Actors
) -> None:
    actors.meeting = threading.Barrier(started)
    with ProcessPool(digits(), workers=workers) as pool:
        assert len(list(pool.run([job(seed) for seed in range(jobs)]))) == jobs
    assert actors.started == started


def test_workers_that_do_not_start_reach_the_caller(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: object) -> None:
        raise ArchpressError("worker processes do not start: for a reason")

    monkeypatch.setattr(executors, "Worker", refuse)
    with (
        ProcessPool(digits(), workers=2) as pool,
        pytest.raises(ArchpressError, match="do not start"),
    ):
        list(pool.run(JOBS))


def drain(outcomes: Iterator[Evaluation], told: list[Exception]) -> None:
    try:
        list(outcomes)
    except ArchpressError as error:
        told.append(error)


def test_leaving_early_ends_the_workers_at_once() -> None:
    with ProcessPool(digits(), workers=1) as pool:
        outcomes = pool.run([job(by=recipe(epochs=10**6)), job(by=recipe(epochs=10**7))])
        told: list[Exception] = []
        waiting = threading.Thread(target=drain, args=(outcomes, told))
        waiting.start()
        while not (pids := busy_pids(pool)):
            time.sleep(0.01)
        assert all(map(is_running, pids))
        start = time.monotonic()
    assert time.monotonic() - start < 2
    assert not any(map(is_running, pids))
    waiting.join()
    assert [str(error) for error in told] == [
        "the pool of workers was closed before its jobs were done"
    ]


def test_jobs_are_started_in_the_order_given(actors: Actors) -> None:
    with ProcessPool(digits(), workers=1) as pool:
        found = list(pool.run([job(by=recipe(epochs=epochs)) for epochs in (2, 9, 4)]))
    assert [e.recipe.epochs for e in found] == [2, 9, 4]
    assert actors.started == 1


def test_workers_killed_while_they_start_cost_no_job(expected: list[Evaluation]) -> None:
    """More often than a job is tried."""
    killed: list[int] = []
    with ProcessPool(digits(), workers=1) as pool:
        killer = threading.Thread(
            target=kill_workers, args=(pool, 4, killed), kwargs={"job": False}
        )
        killer.start()
        found = without_seconds(pool.run(JOBS))
        killer.join()
    assert (len(set(killed)), found) == (4, expected)


@pytest.mark.parametrize(("deaths", "starts"), [(executors.STARTS - 1, True), (99, False)])
def test_a_worker_that_never_starts_is_an_error(deaths: int, starts: bool, actors: Actors) -> None:
    actors.early_deaths = deaths
    with ProcessPool(digits(), workers=1) as pool:
        if starts:
            assert [e.status for e in pool.run([job()])] == ["ok"]
        else:
            with pytest.raises(ArchpressError, match=r"do not start: .* signal 11"):
                list(pool.run([job()]))
    assert actors.started == executors.STARTS


def test_a_worker_that_died_while_idle_costs_no_job(actors: Actors) -> None:
    actors.deaths = 0
    with ProcessPool(digits(), workers=1) as pool:
        list(pool.run([job(9)]))
        actors.playing[0].kill()
        actors.deaths = 1  # and this one is not the second
        assert [e.status for e in pool.run([job()])] == ["ok"]
    assert actors.started == 3


def test_a_run_that_is_left_ends_its_workers_and_other_runs_know_nothing_of_it(
    expected: list[Evaluation],
) -> None:
    threads = threading.active_count()
    with ProcessPool(digits(), workers=1) as pool:
        left = pool.run([job(7), job(by=ENDLESS), job(8)])
        assert next(left).seed == 7
        assert without_seconds(pool.run(JOBS)) == expected
        pids = busy_pids(pool)
        assert len(pids) == 1
        left.close()
        assert not any(map(is_running, pids))
        assert threading.active_count() == threads
        assert without_seconds(pool.run(JOBS[::-1])) == expected


def wide(width: int) -> Job:
    layers = (Linear(width), ReLU(), Linear(10))
    return Job(Architecture((1, 8, 8), layers), TINY, 0, digits().digest)


LARGE, HUGE = wide(100_000), wide(1_000_000)
"""Some 400 MB, most of it to score all images at a time, and ten times as much."""


def test_jobs_beyond_a_limit_are_tried_twice_and_recorded(monkeypatch: pytest.MonkeyPatch) -> None:
    given: list[tuple[int, str]] = []

    class Noted(Worker):
        def run(self, job: Job, on_epoch: Callable[[], None] = lambda: None) -> Evaluation:
            given.append((self._process.pid, job.key))
            return super().run(job, on_epoch)

    monkeypatch.setattr(executors, "Worker", Noted)
    endless = job(by=ENDLESS)
    limits = JobLimits(seconds=2, memory_bytes=200_000_000)
    with ProcessPool(digits(), workers=1, limits=limits) as pool:
        late, large = pool.run([endless, HUGE])
    assert [key for _, key in given] == [endless.key] * 2 + [HUGE.key] * 2
    assert len({pid for pid, _ in given}) == 4
    assert (late.status, late.key) == ("timed_out", endless.key)
    assert late.reason == "not done within the limit of 2 s per job"
    assert (large.status, large.key) == ("out_of_memory", HUGE.key)
    start = "no memory left within the limit of 200 MB per job (RuntimeError: [enforce fail at"
    assert large.reason.startswith(start)
    assert late.circumstances == large.circumstances == circumstances("float32")


def test_limits_that_are_kept_change_nothing(expected: list[Evaluation]) -> None:
    """A big job leaves a grown heap behind, which the next ones fit in: no worker is replaced."""
    limits = JobLimits(seconds=100, memory_bytes=700_000_000)
    with ProcessPool(digits(), workers=1, limits=limits) as pool:
        found = list(pool.run([job(9)]))
        (before,) = pool._idle
        for _ in range(2):
            found += pool.run([LARGE])
            assert without_seconds(pool.run(JOBS)) == expected
        (after,) = pool._idle
    assert [e.status for e in found] == ["ok"] * 3
    assert before is after


def test_labels_of_this_process_do_not_depend_on_its_threads(expected: list[Evaluation]) -> None:
    before = torch.get_num_threads()
    torch.set_num_threads(3)
    try:
        found = without_seconds(InProcess(digits()).run(JOBS))
        assert torch.get_num_threads() == 3
    finally:
        torch.set_num_threads(before)
    assert found == expected
