"""Small tasks, labels and executors for the tests of compression and its rivals."""

from collections.abc import Iterator, Sequence
from dataclasses import replace
from functools import lru_cache
from pathlib import Path
from typing import Any

import torch

from archpress.architectures.architecture import Architecture
from archpress.architectures.building import build
from archpress.architectures.layers import BatchNorm, Convolution, Linear, ReLU
from archpress.architectures.references import digits_cnn
from archpress.architectures.spaces import BlocksSpace, Limits
from archpress.compression.budget import Budget
from archpress.compression.task import CompressionTask
from archpress.datasets.dataset import DataSet, Split, from_tensors
from archpress.evaluation.executors import Executor
from archpress.evaluation.record import Evaluation, Job, Label
from archpress.evaluation.running import save_weights
from archpress.training.recipe import find_recipe
from tests.small_networks import generator

LABEL = find_recipe("label-digits").model_copy(update={"epochs": 1, "seeds": 1})
FINAL = find_recipe("final-digits").model_copy(update={"epochs": 2, "seeds": 2})


@lru_cache
def tiny_data() -> DataSet:
    """Random images of 8x8 in ten classes: 60 to train, 20 to validate, 40 to test."""
    images = torch.randint(0, 256, (120, 1, 8, 8), dtype=torch.uint8, generator=generator(0))
    labels = torch.arange(120) % 10
    train, test = (images[:80], labels[:80]), (images[80:], labels[80:])
    return from_tensors(train, test, name="tiny", validation_fraction=0.25)


def make_task(budget: int | Budget = 7_562, **changes: Any) -> CompressionTask:
    """digits-cnn (75,626 parameters) on `tiny_data`, to be a tenth of its size."""
    task = CompressionTask(
        network=digits_cnn(),
        data=tiny_data(),
        space=BlocksSpace((1, 8, 8), 10, Limits(700, 75_626, 10_000_000), max_blocks=4),
        budget=budget if isinstance(budget, Budget) else Budget(budget),
        label_recipe=LABEL,
        labels=12,
        final_recipe=FINAL,
        finalists=1,
        seed=0,
    )
    return replace(task, **changes)


def network_of(width: int) -> Architecture:
    """A network of one convolution; of 652 * width + 10 parameters."""
    return Architecture((1, 8, 8), (Convolution(width, 3, 1, 1), BatchNorm(), ReLU(), Linear(10)))


def label_of(network: Architecture, accuracy: float | None) -> Label:
    return Label(network, accuracy, None, ())


class WatchedSplit(Split):
    """A part of a data set that notes whenever its images are looked at."""

    def __getattribute__(self, name: str) -> Any:
        if name == "images":
            super().__getattribute__("reads").append(1)
        return super().__getattribute__(name)


class TimedByLayers:
    """A device on which a layer takes 0.1 ms, or what is written down by digest.

    Args:
        truth: Digest -> milliseconds that a measurement gives.
    """

    def __init__(self, truth: dict[str, float] | None = None) -> None:
        self.truth = truth or {}
        self.measured: dict[str, float] = {}

    def __call__(self, network: Architecture) -> float:
        return self.measured.get(network.digest, len(network.layers) / 10)

    def measure(self, network: Architecture) -> float:
        self.measured[network.digest] = self.truth.get(network.digest, len(network.layers) / 10)
        return self.measured[network.digest]


class TimedByMacs(TimedByLayers):
    """Predicts a nanosecond for a MAC, where measurements give more."""

    def __call__(self, network: Architecture) -> float:
        return self.measured.get(network.digest, network.cost.macs / 1e6)

    def measure(self, network: Architecture) -> float:
        self.measured[network.digest] = 1.3 * network.cost.macs / 1e6
        return self.measured[network.digest]


def watched(data: DataSet) -> tuple[DataSet, list[int]]:
    """The data set with a watched test part, and the reads of it so far."""
    part, reads = WatchedSplit(data.test.images, data.test.labels), []
    object.__setattr__(part, "reads", reads)
    return replace(data, test=part), reads


class Scripted(Executor):
    """Trains nothing: accuracies by digest are written down, weights are fresh ones.

    Args:
        data: The data set.
        accuracies: Digest -> validation accuracy; None for a failure. 0.5 for all others.
    """

    def __init__(self, data: DataSet, accuracies: dict[str, float | None] | None = None) -> None:
        super().__init__(data.without_test())
        self.accuracies = accuracies or {}
        self.jobs: list[Job] = []

    def run(self, jobs: Sequence[Job], *told: Any) -> Iterator[Evaluation]:
        for job in jobs:
            self.jobs.append(job)
            accuracy = self.accuracies.get(job.architecture.digest, 0.5)
            if accuracy is None:
                yield Evaluation.of(job, "failed", reason="it is written so")
                continue
            if job.weights_path:
                model = build(job.architecture, seed=job.random_seed)
                save_weights(model, Path(job.weights_path))
            # later seeds validate a little better, so that one of them is the best
            yield Evaluation.of(
                job, "ok", validation_accuracy=accuracy + 0.01 * job.seed,
                losses=(1.0,) * job.recipe.epochs,
            )  # fmt: skip


BOUNDED = {
    "parameters": make_task(5_000),
    "several": make_task(Budget(7_000, macs=80_000, activation_bytes=5_000)),
    "file": make_task(Budget(file_bytes=25_000)),
    "latency": make_task(Budget(5_000, latency_ms=1.1), latency=TimedByLayers()),
}
"""Tasks with bounds of every sort."""
