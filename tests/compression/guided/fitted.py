"""What is slow to fit, fitted once for all tests of the guided search."""

from functools import lru_cache

import numpy as np
from numpy.typing import NDArray

from archpress.architectures.architecture import Architecture
from archpress.compression.budget import sample_within
from archpress.embedding.pretrained import shipped
from archpress.embedding.readout import Readout, fit_readout
from archpress.prediction.description import describe
from archpress.prediction.gaussian_process import GaussianProcess
from archpress.prediction.normal_scores import OnNormalScores, ScoredPredictor
from tests.compression.tasks import make_task
from tests.small_networks import generator

ITERATIONS = 120


@lru_cache
def sampled() -> list[Architecture]:
    """Networks within the budget of `make_task`."""
    task = make_task()
    return sample_within(task.space, task.budget, 260, generator(3))


@lru_cache
def readout() -> Readout:
    return fit_readout(shipped(), sampled()[60:], 0, ITERATIONS)


def accuracies(networks: list[Architecture]) -> NDArray[np.float64]:
    """Accuracies that grow with size and with depth."""
    size = np.log2([network.cost.parameters for network in networks])
    depth = np.array([len(network.layers) for network in networks])
    return np.asarray(1 / (1 + np.exp(-(0.5 * size + 0.1 * depth - 5))))


@lru_cache
def slopes() -> ScoredPredictor:
    known = sampled()[:40]
    columns = describe(known).only("summary")
    return OnNormalScores(GaussianProcess()).fit(columns, accuracies(known), generator(0))
