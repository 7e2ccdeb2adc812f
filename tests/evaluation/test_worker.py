"""Worker processes: what reaches them, what they answer, and that they end with their parent."""

import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest
import torch

from archpress.datasets.dataset import from_tensors
from archpress.errors import ArchpressError
from archpress.evaluation import worker
from archpress.evaluation.executors import ProcessPool
from archpress.evaluation.job_limits import JobLimits
from archpress.evaluation.record import Evaluation, Job, Status
from archpress.evaluation.worker import Worker, WorkerDiedError
from tests.evaluation.tiny import digits, is_running, job, linear, recipe

ROOT = Path(__file__).parents[2]
SWEEP = """
import threading, time
from archpress.architectures.architecture import Architecture
from archpress.architectures.layers import Convolution, Linear
from archpress.evaluation.executors import ProcessPool
from archpress.evaluation.record import Job
from tests.evaluation.tiny import digits, recipe
pool = ProcessPool(digits(), workers=2)
layers = (*[Convolution(256, 3, padding=1)] * 4, Linear(10))  # an epoch takes many seconds
slow = Architecture((1, 8, 8), layers), recipe(images=None)
jobs = [Job(*slow, seed, digits().digest) for seed in range(2)]
threading.Thread(target=lambda: list(pool.run(jobs)), daemon=True).start()
while sum(each._ready for each in tuple(pool._busy)) < 2:
    time.sleep(0.01)
print(*[each._process.pid for each in pool._busy], flush=True)
time.sleep(600)
"""


def test_the_test_part_never_reaches_a_worker(monkeypatch: pytest.MonkeyPatch) -> None:
    sent: list[bytes] = []

    class Recorded:
        def __init__(self, pipe: Any) -> None:
            self.pipe = pipe

        def write(self, blob: bytes) -> None:
            sent.append(blob)
            self.pipe.write(blob)

        def flush(self) -> None:
            self.pipe.flush()

    send = worker._send
    monkeypatch.setattr(worker, "_send", lambda pipe, message: send(Recorded(pipe), message))
    train, test = torch.full((40, 1, 2, 2), 7, dtype=torch.uint8), torch.full((40, 1, 2, 2), 201)
    labels = torch.arange(40) % 2
    data = from_tensors((train, labels), (test.to(torch.uint8), labels))
    process = Worker(data, "float32")
    answer = process.run(Job(linear((1, 2, 2), 2), recipe(batch_size=4), 0, data.digest))
    process.kill()
    assert answer.status == "ok"
    assert any(bytes([7] * 8) in blob for blob in sent)
    assert not any(bytes([201] * 8) in blob for blob in sent)


def test_a_fault_of_the_program_reaches_the_caller_and_leaves_the_worker_alive() -> None:
    process = Worker(digits(), "float32")
    with pytest.raises(RuntimeError, match="AttributeError in a worker"):
        process.run("no job")  # type: ignore[arg-type]
    assert is_running(process._process.pid)
    process.kill()
    assert not is_running(process._process.pid)


MEGABYTES = JobLimits(seconds=1.5, memory_bytes=12_000_000)


@pytest.mark.parametrize(
    ("code", "overdue", "status", "reason"),
    [
        (-signal.SIGKILL, False, "out_of_memory", "signal 9, most often for lack of memory"),
        (-signal.SIGKILL, True, "timed_out", "not done within the limit of 1.5 s per job"),
        (-signal.SIGSEGV, False, "failed", "the worker process ended by signal 11"),
        (1, False, "failed", "the worker process ended by exit status 1"),
        (
            worker.OUT_OF_MEMORY,
            False,
            "out_of_memory",
            "no memory left within the limit of 12 MB per job for the worker process",
        ),
    ],
)
def test_what_a_death_says_of_the_job(code: int, overdue: bool, status: str, reason: str) -> None:
    death = WorkerDiedError(code, MEGABYTES, overdue)
    assert (death.status, death.by_signal) == (status, code < 0)
    assert str(death).endswith(reason)


def test_a_worker_without_memory_for_anything_says_so_as_it_ends() -> None:
    process = Worker(digits(), "float32", MEGABYTES)
    process.start()
    with pytest.raises(WorkerDiedError, match="within the limit of 12 MB") as caught:
        process._exchange(b"more than that and than what its heap has free" * 6_000_000)
    assert caught.value.status == "out_of_memory"


@pytest.mark.parametrize(
    ("status", "reason", "expected"),
    [
        ("failed", "RuntimeError: could not create a primitive", "out_of_memory"),
        ("failed", "RuntimeError: std::bad_alloc", "out_of_memory"),
        ("out_of_memory", "RuntimeError: can't allocate memory", "out_of_memory"),
        ("failed", "RuntimeError: shapes do not fit", "failed"),
        ("ok", "", "ok"),
    ],
)
def test_a_limit_of_memory_is_named_where_it_was_the_reason(
    status: Status, reason: str, expected: Status
) -> None:
    found = worker._within(MEGABYTES, Evaluation.of(job(), status, reason=reason))
    limited = f"no memory left within the limit of 12 MB per job ({reason})"
    assert found.status == expected
    assert found.reason == (limited if expected == "out_of_memory" else reason)


@pytest.mark.parametrize(
    ("executable", "said"), [("/bin/false", "exit status 1"), ("/no/such", "No such file")]
)
def test_workers_that_cannot_start_are_an_error_for_a_person(
    executable: str, said: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sys, "executable", executable)
    with (
        ProcessPool(digits(), workers=2) as pool,
        pytest.raises(ArchpressError, match=f"worker processes do not start: .*{said}"),
    ):
        list(pool.run([job()]))


def test_workers_vanish_within_two_seconds_of_their_parents_kill() -> None:
    parent = subprocess.Popen(
        [sys.executable, "-c", SWEEP], stdout=subprocess.PIPE, cwd=ROOT, text=True
    )
    assert parent.stdout
    try:
        pids = [int(pid) for pid in parent.stdout.readline().split()]
        assert len(pids) == 2
        assert all(map(is_running, pids))
    finally:
        parent.kill()
        parent.communicate()
    deadline = time.monotonic() + 2
    while any(map(is_running, pids)) and time.monotonic() < deadline:
        time.sleep(0.02)
    assert not any(map(is_running, pids))


LEFT = """
from archpress.evaluation.executors import ProcessPool
from tests.evaluation.tiny import digits, job, recipe
pool = ProcessPool(digits(), workers=1)
outcomes = pool.run([job(), job(by=recipe(epochs=10**6))])
next(outcomes)
while not (workers := [*pool._busy, *pool._idle]):  # between two jobs it is in neither
    pass
print(workers[0]._process.pid)
"""


def test_a_script_that_leaves_a_run_open_ends_all_the_same() -> None:
    done = subprocess.run(
        [sys.executable, "-c", LEFT], cwd=ROOT, capture_output=True, text=True, timeout=60
    )
    assert (done.returncode, done.stderr) == (0, "")
    (pid,) = map(int, done.stdout.split())
    deadline = time.monotonic() + 2
    while is_running(pid) and time.monotonic() < deadline:
        time.sleep(0.02)
    assert not is_running(pid)
