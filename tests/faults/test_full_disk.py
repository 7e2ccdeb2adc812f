"""Labels on a full disk: one sentence, nothing lost, and going on when there is room."""

import os
import random
import shutil
import subprocess
import sys
from collections.abc import Iterator
from itertools import pairwise
from pathlib import Path

import pytest
import torch

from archpress.errors import ArchiveError
from archpress.evaluation.executors import Executor, InProcess, ProcessPool
from tests.evaluation.tiny import digits
from tests.faults.sweeps import POPULATION, RECIPE, contents, label

MEGABYTE = 1 << 20
SOME = POPULATION[:8]


@pytest.fixture(scope="module", autouse=True)
def one_thread() -> Iterator[None]:
    """Sums of several threads differ in their last bits; workers have one thread."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


@pytest.fixture
def disk(tmp_path: Path) -> Iterator[Path]:
    """A file system of one megabyte."""
    place = tmp_path / "disk"
    place.mkdir()
    mount = shutil.which("mount")
    if sys.platform != "linux" or mount is None:
        pytest.skip("there is no way to mount a small file system here")
    command = [mount, "-t", "tmpfs", "-o", f"size={MEGABYTE}", "tmpfs", str(place)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode:
        pytest.skip(f"a small file system cannot be mounted: {done.stderr.strip()}")
    try:
        yield place
    finally:
        subprocess.run(["umount", str(place)], check=True)


@pytest.fixture(scope="module")
def undisturbed(tmp_path_factory: pytest.TempPathFactory) -> Path:
    place = tmp_path_factory.mktemp("undisturbed")
    label(place / "archive.sqlite", InProcess(digits()), place / "weights", SOME)
    return place


def fill(disk: Path, left: int) -> Path:
    """Leave so many bytes free; returns what is to be removed for more."""
    free = os.statvfs(disk)
    ballast = disk / "ballast"
    ballast.write_bytes(b"\1" * max(0, free.f_bavail * free.f_bsize - left))
    return ballast


def weights(place: Path) -> dict[str, bytes]:
    return {file.name: file.read_bytes() for file in (place / "weights").iterdir()}


@pytest.fixture(params=[InProcess, ProcessPool])
def executor(request: pytest.FixtureRequest) -> Iterator[Executor]:
    with request.param(digits()) as opened:
        opened.workers = 1
        yield opened


def test_a_full_disk_loses_nothing(disk: Path, executor: Executor, undisturbed: Path) -> None:
    """Again and again there is a little more room, then enough."""
    chance, known = random.Random(1), []
    for _ in range(4):
        ballast = fill(disk, left=chance.randrange(60_000, 130_000))
        with pytest.raises((ArchiveError, OSError)) as caught:
            label(disk / "archive.sqlite", executor, disk / "weights", SOME)
        said = str(caught.value)
        assert "\n" not in said
        assert str(disk) in said
        ballast.unlink()
        known.append(contents(disk / "archive.sqlite"))
    assert all(set(map(repr, a)) <= set(map(repr, b)) for a, b in pairwise(known))
    sweep = label(disk / "archive.sqlite", executor, disk / "weights", SOME)
    assert len(sweep.trained) == len(SOME) * RECIPE.seeds - len(known[-1])
    assert known[-1]
    assert contents(disk / "archive.sqlite") == contents(undisturbed / "archive.sqlite")
    assert weights(disk) == weights(undisturbed)
