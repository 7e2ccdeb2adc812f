"""Worker processes: what reaches them, what they answer, and that they end with their parent."""

import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest
import torch

from archpress.errors import ArchpressError
from archpress.evaluation import worker
from archpress.evaluation.datasets import from_tensors
from archpress.evaluation.record import Job
from archpress.evaluation.worker import Worker, WorkerDiedError
from tests.evaluation.tiny import digits, is_running, linear, recipe

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
while len(pool._busy) < 2:
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


def test_a_kill_is_taken_for_lack_of_memory() -> None:
    assert WorkerDiedError(-signal.SIGKILL).killed
    assert not WorkerDiedError(-signal.SIGSEGV).killed
    assert str(WorkerDiedError(-signal.SIGSEGV)) == "the worker process ended by signal 11"


def test_a_worker_that_cannot_start_is_an_error_for_a_person(
    monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(sys, "executable", "/bin/false")
    with pytest.raises(ArchpressError, match=r"worker processes do not start: .*exit status 1"):
        Worker(digits(), "float32")


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
