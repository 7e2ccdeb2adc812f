"""Random search inside the budget: label as many networks as the method may, keep the best."""

import torch

from archpress.baselines.labelled_search import compressed
from archpress.compression.budget import sample_within
from archpress.compression.contest import finalists
from archpress.compression.result import CompressionResult
from archpress.compression.searched import Searched
from archpress.compression.task import CompressionTask, Resources
from archpress.evaluation.sweep import evaluate

SEED_OFFSET = 2_000_000


def search(task: CompressionTask, resources: Resources) -> Searched:
    """Return the best of ``task.labels`` random networks of the space within the budget.

    Sizes are stratified as the space stratifies them, over a decade below the budget at least;
    labels, contest and number of finalists are those of the task.
    """
    generator = torch.Generator().manual_seed(task.seed + SEED_OFFSET)
    networks = sample_within(task.space, task.budget, task.labels, generator, task.latency)
    labels = evaluate(
        networks, task.label_recipe, resources.archive, resources.executor,
        on_progress=resources.reporter("random labels"),
    ).labels  # fmt: skip
    digests = frozenset(network.digest for network in networks)
    return Searched(finalists(labels, task, resources, None), digests)


def compress(task: CompressionTask, resources: Resources) -> CompressionResult:
    """Return the network that random search ends in, trained finally as every method's."""
    return compressed("random_search", "random draw", search(task, resources), task, resources)
