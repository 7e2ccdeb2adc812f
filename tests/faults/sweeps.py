"""One small sweep, and what of its archive must not depend on what disturbed it."""

import sqlite3
import time
from collections.abc import Callable, Sequence
from contextlib import closing
from pathlib import Path

from archpress.architectures.architecture import Architecture
from archpress.evaluation.archive import Archive
from archpress.evaluation.executors import Executor
from archpress.evaluation.record import Evaluation
from archpress.evaluation.sweep import Sweep, evaluate
from tests.evaluation.tiny import network, recipe, without_seconds

POPULATION = [network(width) for width in range(3, 23)]
RECIPE = recipe(epochs=4, images=640, seeds=3)
RUNS = len(POPULATION) * RECIPE.seeds


def label(
    archive: Path,
    executor: Executor,
    weights_folder: Path | None = None,
    population: Sequence[Architecture] = POPULATION,
) -> Sweep:
    with Archive(archive) as store:
        return evaluate(population, RECIPE, store, executor, weights_folder=weights_folder)


def contents(archive: Path) -> list[Evaluation]:
    """All of an archive but the seconds."""
    with Archive(archive) as store:
        return without_seconds(store)


def records(archive: Path) -> int:
    """How many evaluations an archive holds, seen from outside at any moment."""
    if not archive.exists():
        return 0
    try:
        with closing(sqlite3.connect(f"file:{archive}?mode=ro", uri=True)) as database:
            return int(database.execute("SELECT count(*) FROM evaluations").fetchone()[0])
    except sqlite3.Error:  # in the making
        return 0


def wait_until(condition: Callable[[], bool], seconds: float = 100.0) -> bool:
    """Whether the condition came true in time."""
    deadline = time.monotonic() + seconds
    while not condition():
        if time.monotonic() > deadline:
            return False
        time.sleep(0.005)
    return True
