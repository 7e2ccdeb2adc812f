"""The process that labels, killed, interrupted, or started while another one writes."""

import json
import os
import random
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
import torch

from archpress.architectures.spaces import BlocksSpace, Limits
from archpress.datasets.dataset import load
from archpress.evaluation.archive import Archive
from archpress.evaluation.executors import InProcess
from archpress.evaluation.sweep import evaluate
from tests.evaluation.tiny import digits, is_running, network, recipe
from tests.faults.sweeps import contents, records, wait_until

ROOT = Path(__file__).parents[2]
NETWORKS = 30
WORKER = "archpress.evaluation.worker"


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with networks and data; the digits as .npz are loaded sooner."""
    home = tmp_path_factory.mktemp("drivers")
    data = load("digits")
    parts = {
        f"{axis}_{name}": getattr(part, kind).numpy()
        for name, part in (("train", data.train), ("test", data.test))
        for axis, kind in (("x", "images"), ("y", "labels"))
    }
    np.savez(home / "digits.npz", **parts)
    space = BlocksSpace((1, 8, 8), 10, Limits(1_000, 20_000, 300_000))
    networks = space.sample(NETWORKS, torch.Generator().manual_seed(0)).architectures
    lines = (json.dumps(network.to_json()) + "\n" for network in networks)
    (home / "networks.jsonl").write_text("".join(lines))
    return home


class Driver:
    """`archpress evaluate` in a process of its own, and the workers of that."""

    def __init__(self, home: Path, archive: Path, workers: int) -> None:
        self.archive, self.began, self.known = archive, time.monotonic(), records(archive)
        arguments = [
            "evaluate", home / "networks.jsonl", "--data", home / "digits.npz",
            "--archive", archive, "--recipe", "label-small", "--precision", "float32",
            "--workers", workers,
        ]  # fmt: skip
        self.process = subprocess.Popen(
            [sys.executable, "-m", "archpress", *map(str, arguments)],
            stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, cwd=ROOT,
            env={**os.environ, "OMP_NUM_THREADS": "1", "NO_COLOR": "1"},
        )  # fmt: skip

    def first_record(self) -> bool:
        """Wait until something was added, or the driver has ended."""
        return wait_until(lambda: records(self.archive) > self.known or self.has_ended())

    def has_ended(self) -> bool:
        return self.process.poll() is not None

    def said(self) -> tuple[int, str, str]:
        out, err = self.process.communicate(timeout=200)
        return self.process.returncode, out, err

    def workers(self) -> list[int]:
        return [pid for pid, words in commands() if words[-2:] == [WORKER, str(self.process.pid)]]


def commands() -> Iterator[tuple[int, list[str]]]:
    for folder in Path("/proc").glob("[0-9]*"):
        try:
            yield int(folder.name), (folder / "cmdline").read_text().split("\0")[:-1]
        except OSError:
            continue


def finish(home: Path, archive: Path) -> None:
    """Label what is missing, all of that and nothing else."""
    driver = Driver(home, archive, workers=1)
    code, out, err = driver.said()
    assert code == 0, err
    assert f"{NETWORKS - driver.known} runs made now" in out


def attempt(home: Path, archive: Path, chance: random.Random, typical: float) -> bool:
    """Start a driver and kill it at a random moment; return False where it ended before."""
    driver = Driver(home, archive, workers=chance.choice([1, 2]))
    if chance.random() < 0.5:
        assert driver.first_record()
        pause = chance.uniform(0, 0.5)
    else:
        pause = chance.uniform(0, typical)
    try:
        driver.process.wait(timeout=pause)
    except subprocess.TimeoutExpired:
        workers = driver.workers()
        driver.process.kill()
        driver.said()
        assert wait_until(lambda: not any(map(is_running, workers)), seconds=10)
        return True
    code, _, err = driver.said()
    assert code == 0, err
    return False


@pytest.mark.parametrize(
    "kills", [3, pytest.param(30, marks=[pytest.mark.slow, pytest.mark.timeout(1800)])]
)
def test_drivers_killed_at_random_moments_leave_no_trace(
    kills: int, home: Path, tmp_path: Path
) -> None:
    archives = [tmp_path / "undisturbed.sqlite", tmp_path / "1.sqlite"]
    began = time.monotonic()
    finish(home, archives[0])
    typical = time.monotonic() - began
    expected = contents(archives[0])
    assert [e.status for e in expected] == ["ok"] * NETWORKS
    chance, known = random.Random(kills), []
    while len(known) < kills:
        if attempt(home, archives[-1], chance, typical):
            known.append(records(archives[-1]))
        else:
            archives.append(tmp_path / f"{len(archives)}.sqlite")
    finish(home, archives[-1])
    print(f"{kills} kills, at {known} records, {len(archives) - 1} archives")
    assert all(contents(archive) == expected for archive in archives)
    assert kills < 30 or sum(0 < number < NETWORKS for number in known) >= kills / 4


@pytest.mark.usefixtures("can_interrupt")
def test_an_interrupted_driver_ends_itself_and_its_workers_at_once(
    home: Path, tmp_path: Path
) -> None:
    archive = tmp_path / "archive.sqlite"
    driver = Driver(home, archive, workers=1)
    assert driver.first_record()
    workers = driver.workers()
    assert all(map(is_running, workers))
    assert len(workers) == 1
    driver.process.send_signal(signal.SIGINT)
    began = time.monotonic()
    code, _, err = driver.said()
    assert time.monotonic() - began < 5
    assert not any(map(is_running, workers))
    assert code == 130
    assert "interrupted; what was finished is saved" in err
    assert 0 < records(archive) < NETWORKS


def test_a_second_driver_is_refused_and_the_first_is_not_disturbed(
    home: Path, tmp_path: Path
) -> None:
    archive = tmp_path / "archive.sqlite"
    networks = [network(width) for width in range(3, 9)]
    refusals: list[tuple[int, str, str]] = []

    def start_another(done: int, total: int) -> None:
        if not refusals:
            refusals.append(Driver(home, archive, workers=1).said())

    with Archive(archive) as store:
        evaluate(networks, recipe(), store, InProcess(digits()), on_progress=start_another)
    with Archive(tmp_path / "alone.sqlite") as store:
        evaluate(networks, recipe(), store, InProcess(digits()))
    ((code, _, err),) = refusals
    assert code == 2
    assert f"another process (pid {os.getpid()} on " in " ".join(err.split())
    assert contents(archive) == contents(tmp_path / "alone.sqlite")
