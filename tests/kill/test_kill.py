"""`evaluate` and `compress`, killed at random moments, end as if nothing had disturbed them."""

import json
import os
import random
import sqlite3
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from dataclasses import dataclass, field, replace
from itertools import count
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import pytest
import torch

from archpress.architectures.spaces import BlocksSpace, Limits
from archpress.datasets.dataset import load
from archpress.evaluation.archive import Archive
from archpress.evaluation.record import Evaluation

ROOT = Path(__file__).parents[2]
PATIENCE_SECONDS = 500
LABELLED = 11  # the sampled networks and the input network
STAGES = ["start-up", "labels", "fit", "search", "final training"]
GUIDED_STAGES = ["start-up", "labels", "search", "contest", "final training"]
SETTINGS = """
[data]
name = "{data}"
validation_fraction = 0.2
[space]
networks = 10
max_parameters = "40%"
max_macs = "20%"
[label]
recipe = "label-digits"
epochs = 1
images = 128
[embedding]
size = 8
channels = 8
hidden = 8
iterations = 60
batch_size = 8
unlabelled = 16
[search]
method = "{method}"
target_parameters = "20%"
steps = 6
starts = 2
candidates = 3
rounds = 2
fine_tune_iterations = 3
[guided]
start = 10
rounds = 2
batch = 4
starts = 2
steps = 2
contenders = 4
contender_epochs = 20
[final]
recipe = "final-digits"
epochs = 1
images = 128
seeds = 1
finalists = 2
[execution]
workers = 1
precision = "float32"
"""


@dataclass(frozen=True)
class Kill:
    """One kill to make: so many seconds after something has happened.

    Attributes:
        stage: Of `compress`: where its work must have begun, in this very attempt.
        records: Of `evaluate`: how many labels must have been added in this attempt.
        seconds: How long after that.
    """

    stage: str = "start-up"
    records: int = 0
    seconds: float = 0.0


@dataclass
class Disturbed:
    """What became of one command.

    Attributes:
        places: Archive or run folder of every repetition that came to its end.
        kills: For each kill, (stage that was killed, records in the archive).
    """

    places: list[Path] = field(default_factory=list)
    kills: list[tuple[str, int]] = field(default_factory=list)


def start(arguments: list[object], log: Path) -> subprocess.Popen[bytes]:
    with log.open("wb") as file:
        return subprocess.Popen(
            [sys.executable, "-m", "archpress", *map(str, arguments)],
            stdout=subprocess.DEVNULL, stderr=file, cwd=ROOT,
            env={**os.environ, "OMP_NUM_THREADS": "1"},
        )  # fmt: skip


def records(archive: Path) -> int:
    """Return how many evaluations an archive holds, without touching it."""
    if not archive.exists():
        return 0
    try:
        with closing(sqlite3.connect(f"file:{archive}?mode=ro", uri=True)) as database:
            return int(database.execute("SELECT count(*) FROM evaluations").fetchone()[0])
    except sqlite3.Error:  # in the making
        return 0


def stage_of(run: Path) -> str:
    """Return which stage a run folder is in, by what it holds."""
    if (run / "candidates.jsonl").exists():
        return "final training"
    if (run / "embedding.json").exists():
        return "search"
    known = records(run / "archive.sqlite")
    return "fit" if known >= LABELLED else "labels" if known else "start-up"


def has_begun(stage: str, run: Path, began: float, known: int) -> bool:
    """Return whether an attempt that began at that time has come to the work of a stage."""
    marks = {"fit": "fit.jsonl", "search": "embedding.json", "final training": "candidates.jsonl"}
    for each in STAGES[STAGES.index(stage) :]:
        mark = run / marks.get(each, "none")
        if mark.exists() and mark.stat().st_mtime > began:
            return True
    return stage == "start-up" or (
        stage in ("labels", "search") and records(run / "archive.sqlite") > known
    )


def attempt(
    arguments: list[object], log: Path, ready: Callable[[float], bool], seconds: float
) -> bool:
    """Start the command and kill it so long after `ready`; return False where it ended before."""
    began, deadline = time.time(), time.monotonic() + PATIENCE_SECONDS
    process = start(arguments, log)
    while process.poll() is None and not ready(began) and time.monotonic() < deadline:
        time.sleep(0.01)
    try:
        process.wait(timeout=seconds)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()
        return True
    assert process.returncode == 0, log.read_text()
    return False


def finish(arguments: list[object], log: Path) -> None:
    assert start(arguments, log).wait(PATIENCE_SECONDS) == 0, log.read_text()


@dataclass(frozen=True)
class Evaluating:
    """The command `evaluate` on the networks of a folder."""

    home: Path

    def arguments(self, archive: Path) -> list[object]:
        return [
            "evaluate", self.home / "architectures.jsonl", "--data", self.home / "digits.npz",
            "--archive", archive, "--recipe", "label-small", "--precision", "float32",
            "--workers", 1,
        ]  # fmt: skip

    def plan(self, chance: random.Random, undisturbed: Path) -> Iterator[Kill]:
        for _ in range(2):
            yield Kill(seconds=chance.uniform(0.1, 2.5))
        for _ in range(4):
            yield Kill(records=chance.randint(1, 2), seconds=chance.uniform(0, 0.1))

    def ready(self, kill: Kill, archive: Path) -> Callable[[float], bool]:
        known = records(archive)
        return lambda began: records(archive) >= known + kill.records

    def where(self, archive: Path) -> tuple[str, int]:
        known = records(archive)
        return "labels" if known else "start-up", known

    def outcome(self, archive: Path) -> dict[str, Any]:
        return {"archive": evaluations(archive)}


@dataclass(frozen=True)
class Compressing:
    """The command `compress` with the settings of a folder, by the joint search."""

    home: Path
    method: ClassVar[str] = "joint"
    stages: ClassVar[list[str]] = STAGES
    texts: ClassVar[tuple[str, ...]] = (
        "architectures.jsonl", "candidates.jsonl", "descent.jsonl", "fit.jsonl"
    )  # fmt: skip
    binaries: ClassVar[tuple[str, ...]] = (
        "embedding.safetensors", "compressed/weights.safetensors"
    )  # fmt: skip

    def arguments(self, run: Path) -> list[object]:
        settings = self.home / f"{self.method}.toml"
        return [
            "compress", "digits-cnn", "--profile", "demo", "--settings", settings, "--out", run,
            "--resume",
        ]  # fmt: skip

    def plan(self, chance: random.Random, undisturbed: Path) -> Iterator[Kill]:
        took = seconds_by_stage(undisturbed)
        yield Kill(seconds=chance.uniform(0.1, 2.5))
        yield Kill("labels", seconds=chance.uniform(0, 0.1))
        for _ in range(2):
            yield Kill("fit", seconds=chance.uniform(0, 0.3))
        yield Kill("search", seconds=chance.uniform(0, 0.1))
        yield Kill("final training", seconds=chance.uniform(0, took["final training"]))

    def ready(self, kill: Kill, run: Path) -> Callable[[float], bool]:
        known = records(run / "archive.sqlite")
        return lambda began: has_begun(kill.stage, run, began, known)

    def where(self, run: Path) -> tuple[str, int]:
        return stage_of(run), records(run / "archive.sqlite")

    def outcome(self, run: Path) -> dict[str, Any]:
        result = json.loads((run / "result.json").read_text())
        return {
            "archive": evaluations(run / "archive.sqlite"),
            **{name: result[name] for name in ("base", "compressed", "labels", "label_epochs")},
            **{name: (run / name).read_text() for name in self.texts},
            **{name: (run / name).read_bytes() for name in self.binaries},
        }


@dataclass(frozen=True)
class Guiding(Compressing):
    """The same by the guided search: the records in the archive tell how far it is."""

    method: ClassVar[str] = "guided"
    stages: ClassVar[list[str]] = GUIDED_STAGES
    texts: ClassVar[tuple[str, ...]] = (
        "known.json", "begun.json", "proposals.jsonl", "regressors.jsonl", "descent.jsonl",
        "candidates.jsonl",
    )  # fmt: skip
    binaries: ClassVar[tuple[str, ...]] = ("compressed/weights.safetensors",)

    def plan(self, chance: random.Random, undisturbed: Path) -> Iterator[Kill]:
        took = seconds_by_stage(undisturbed)
        yield Kill(seconds=chance.uniform(0.1, 2.5))
        for _ in range(2):
            yield Kill("labels", seconds=chance.uniform(0, 0.05))
        yield Kill("search", seconds=chance.uniform(0, took["search"]))
        yield Kill("search", records=1, seconds=chance.uniform(0, 0.1))
        yield Kill("contest", seconds=chance.uniform(0, 0.1))
        for _ in range(2):
            yield Kill("final training", seconds=chance.uniform(0, took["final training"]))

    def ready(self, kill: Kill, run: Path) -> Callable[[float], bool]:
        known, mark = records(run / "archive.sqlite"), run / "candidates.jsonl"

        def ready(began: float) -> bool:
            found = records(run / "archive.sqlite")
            if kill.stage == "search" and not kill.records:
                return mark.exists() and mark.stat().st_mtime > began
            wanted = kill.stage == "start-up" or found > known
            return wanted and found >= self.begins[kill.stage]

        return ready

    def where(self, run: Path) -> tuple[str, int]:
        known = records(run / "archive.sqlite")
        return [stage for stage, least in self.begins.items() if known >= least][-1], known

    @property
    def begins(self) -> dict[str, int]:
        """How many records there are when a stage begins, as an undisturbed run tells."""
        undisturbed = self.home / f"{type(self).__name__}-0"
        rounds = [
            json.loads(line)["round"]
            for line in (undisturbed / "proposals.jsonl").read_text().splitlines()
        ]
        counts = [1, rounds.count(0), len(rounds), records(undisturbed / "archive.sqlite") - 3]
        return {"start-up": 0, **dict(zip(GUIDED_STAGES[1:], counts, strict=True))}


Command = Evaluating | Compressing


def evaluations(path: Path) -> list[Evaluation]:
    with Archive(path) as archive:
        return [replace(evaluation, seconds=0.0) for evaluation in archive]


def seconds_by_stage(run: Path) -> dict[str, float]:
    lines = map(json.loads, (run / "ledger.jsonl").read_text().splitlines())
    return {line["stage"]: line["seconds"] for line in lines}


def disturb(command: Command, places: Iterator[Path], kills: list[Kill], log: Path) -> Disturbed:
    """Repeat the command, killed as planned, until it ends; anew where it ends too early."""
    result, place = Disturbed(), next(places)
    for kill in kills:
        seconds = kill.seconds
        while not attempt(command.arguments(place), log, command.ready(kill, place), seconds):
            result.places.append(place)
            place, seconds = next(places), seconds / 2
        result.kills.append(command.where(place))
    finish(command.arguments(place), log)
    result.places.append(place)
    return result


def undisturbed_and_disturbed(command: Command, seed: int) -> tuple[Path, Disturbed]:
    name = type(command).__name__
    places = (command.home / f"{name}-{number}" for number in count())
    log = command.home / f"{name}.log"
    undisturbed = next(places)
    finish(command.arguments(undisturbed), log)
    kills = list(command.plan(random.Random(seed), undisturbed))
    return undisturbed, disturb(command, places, kills, log)


@pytest.fixture
def home(tmp_path: Path) -> Path:
    """A folder with data, networks and settings; the digits as .npz are loaded sooner."""
    data = load("digits")
    parts = {
        f"{axis}_{name}": getattr(part, kind).numpy()
        for name, part in (("train", data.train), ("test", data.test))
        for axis, kind in (("x", "images"), ("y", "labels"))
    }
    np.savez(tmp_path / "digits.npz", **parts)
    space = BlocksSpace((1, 8, 8), 10, Limits(1_000, 20_000, 300_000))
    networks = space.sample(30, torch.Generator().manual_seed(0)).architectures
    lines = (json.dumps(network.to_json()) + "\n" for network in networks)
    (tmp_path / "architectures.jsonl").write_text("".join(lines))
    for method in ("joint", "guided"):
        text = SETTINGS.format(data=tmp_path / "digits.npz", method=method)
        (tmp_path / f"{method}.toml").write_text(text)
    return tmp_path


@pytest.mark.timeout(900)
def test_whatever_the_moments_of_the_kills_the_end_is_the_same(home: Path) -> None:
    began = time.monotonic()
    commands: list[Command] = [Guiding(home), Compressing(home), Evaluating(home)]
    with ThreadPoolExecutor(2) as threads:
        outcomes = list(threads.map(undisturbed_and_disturbed, commands, (3, 2, 1)))
    for command, (undisturbed, disturbed) in zip(commands, outcomes, strict=True):
        expected = command.outcome(undisturbed)
        print(type(command).__name__, disturbed.kills)
        for place in disturbed.places:
            found = command.outcome(place)
            assert found.keys() == expected.keys()
            assert [name for name in found if found[name] != expected[name]] == []
    kills = [kill for _, disturbed in outcomes for kill in disturbed.kills]
    print(f"{len(kills)} kills in {time.monotonic() - began:.0f} s")
    assert len(kills) >= 20
    assert sum(known > 0 for _, known in kills) >= 10
    for stages, (_, disturbed) in zip((GUIDED_STAGES, STAGES), outcomes, strict=False):
        assert set(stages[1:]) <= {stage for stage, _ in disturbed.kills}
