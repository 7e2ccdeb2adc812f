"""`evolution`, its changes chosen by regressors of the labels so far before any is labelled."""

from archpress.baselines.evolution import SEED_OFFSET, evolve
from archpress.baselines.labelled_search import compressed, searched
from archpress.compression.result import CompressionResult
from archpress.compression.task import CompressionTask, Resources


def compress(task: CompressionTask, resources: Resources) -> CompressionResult:
    """Return the network that it ends in, trained finally as every method's."""
    found = searched(task, resources, evolve, SEED_OFFSET, judging=True)
    origin = "regularised evolution, judged by regressors"
    return compressed("surrogate_evolution", origin, found, task, resources)
