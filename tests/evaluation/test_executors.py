"""Executors: one contract for all, and what a pool does when its workers die."""

import os
import signal
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
import torch

from archpress.errors import ArchpressError
from archpress.evaluation import executors
from archpress.evaluation.executors import Executor, InProcess, ProcessPool, expected_work
from archpress.evaluation.record import Evaluation, Job
from archpress.evaluation.running import run_job
from archpress.evaluation.worker import WorkerDiedError
from tests.evaluation.tiny import ABSURD, digits, is_running, job, recipe, without_seconds

JOBS = [job(0), job(1), job(0, width=6), job(0, by=ABSURD), job(0, by=recipe(flip=True))]
LONG = recipe(epochs=40, images=640)
"""Long enough to be killed in the middle."""


@pytest.fixture(scope="module", autouse=True)
def one_thread() -> Iterator[None]:
    """Sums of several threads differ in their last bits; workers have one thread."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


@pytest.fixture(scope="module")
def expected() -> list[Evaluation]:
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


def kill_workers(pool: ProcessPool, times: int, killed: list[int]) -> None:
    """Kill the next `times` workers that are given a job, each in the middle of it."""
    deadline = time.monotonic() + 100
    while len(killed) < times and time.monotonic() < deadline:
        for pid in busy_pids(pool):
            if pid not in killed:
                time.sleep(0.05)
                os.kill(pid, signal.SIGKILL)
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
        (after,) = pool.run([job()])
    assert len(set(killed)) == times
    assert after.status == "ok"
    if times == 1:
        assert (outcome.status, outcome.epochs_trained) == ("ok", 40)
    else:
        assert (outcome.status, outcome.key) == ("out_of_memory", job(by=LONG).key)
        assert outcome.reason == (
            "the worker process ended by signal 9, most often for lack of memory"
        )


class Actors:
    """Workers without a process: the first `deaths` jobs end them; `meeting` of them must meet."""

    def __init__(self) -> None:
        self.started, self.deaths, self.meeting = 0, 0, threading.Barrier(1)

    def __call__(self, *_: object) -> "Actors":
        self.started += 1
        return self

    def run(self, given: Job, on_epoch: object = None) -> Evaluation:
        self.meeting.wait(timeout=30)
        if self.deaths:
            self.deaths -= 1
            raise WorkerDiedError(3)
        return Evaluation.of(given, "ok", validation_accuracy=0.5)

    def kill(self) -> None:
        """Do nothing: there is no process."""


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


def test_leaving_early_ends_the_workers_at_once() -> None:
    with ProcessPool(digits(), workers=1) as pool:
        outcomes = pool.run([job(by=recipe(epochs=10**6)), job(by=recipe(epochs=10**7))])
        waiting = threading.Thread(target=next, args=(outcomes, None), daemon=True)
        waiting.start()
        while not (pids := busy_pids(pool)):
            time.sleep(0.01)
        assert all(map(is_running, pids))
        start = time.monotonic()
    assert time.monotonic() - start < 2
    assert not any(map(is_running, pids))


def test_expected_work_grows_with_network_and_epochs_only() -> None:
    assert expected_work(job(by=recipe(epochs=6))) == 2 * expected_work(job(by=recipe(epochs=3)))
    assert expected_work(job(width=64)) > expected_work(job(width=4))
    assert expected_work(job(seed=9)) == expected_work(job(seed=0))


@pytest.mark.usefixtures("actors")
def test_the_longest_jobs_are_started_first() -> None:
    with ProcessPool(digits(), workers=1) as pool:
        found = list(pool.run([job(by=recipe(epochs=epochs)) for epochs in (2, 9, 4)]))
    assert [e.recipe.epochs for e in found] == [9, 4, 2]
