"""Data, networks, recipes and jobs small enough that training one takes a moment."""

from collections.abc import Iterable
from dataclasses import replace
from functools import cache
from pathlib import Path

import torch

from archpress.architectures.architecture import Architecture
from archpress.architectures.layers import BatchNorm, Convolution, Linear, MaxPool, ReLU
from archpress.datasets.dataset import DataSet, from_tensors, load
from archpress.evaluation.record import Evaluation, Job
from archpress.training.recipe import TrainingRecipe

TINY = TrainingRecipe(
    name="tiny", epochs=1, batch_size=16, learning_rate=0.01, normalization="channel", images=64
)
ABSURD = TINY.model_copy(update={"name": "absurd", "learning_rate": 1e38})


def recipe(**changes: object) -> TrainingRecipe:
    return TrainingRecipe.model_validate({**TINY.model_dump(), **changes})


@cache
def digits() -> DataSet:
    return load("digits")


def network(width: int = 4, shape: tuple[int, int, int] = (1, 8, 8)) -> Architecture:
    block = (Convolution(width, 3, padding=1), BatchNorm(), ReLU(), MaxPool(2, 2))
    return Architecture(shape, (*block, Linear(10)))


def linear(shape: tuple[int, int, int], classes: int) -> Architecture:
    return Architecture(shape, (Linear(classes),))


def job(seed: int = 0, width: int = 4, by: TrainingRecipe = TINY, weights: str = "") -> Job:
    return Job(network(width), by, seed, digits().digest, weights)


def numbered_images(count: int, classes: int = 2) -> DataSet:
    """Float images 1 x 2 x 2 of which every pixel is the image's number."""
    numbers = torch.arange(count, dtype=torch.float32)
    images = numbers.view(-1, 1, 1, 1).expand(-1, 1, 2, 2)
    pair = (images, torch.arange(count) % classes)
    return from_tensors(pair, (images[:4] + 0.25, torch.arange(4) % classes))


def without_seconds(evaluations: Iterable[Evaluation]) -> list[Evaluation]:
    """Evaluations in order of key, as two executors must agree on them."""
    return sorted((replace(e, seconds=0.0) for e in evaluations), key=lambda e: e.key)


def is_running(pid: int) -> bool:
    """Whether a process lives; one that only waits to be reaped does not."""
    try:
        state = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]
    except (FileNotFoundError, ProcessLookupError):
        return False
    return state not in "ZX"
