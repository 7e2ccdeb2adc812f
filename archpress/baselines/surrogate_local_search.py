"""`local_search`, its changes chosen by regressors of the labels so far before any is labelled."""

from archpress.baselines.labelled_search import compressed, searched
from archpress.baselines.local_search import SEED_OFFSET, climb
from archpress.compression.result import CompressionResult
from archpress.compression.task import CompressionTask, Resources


def compress(task: CompressionTask, resources: Resources) -> CompressionResult:
    """Return the network that it ends in, trained finally as every method's."""
    found = searched(task, resources, climb, SEED_OFFSET, judging=True)
    origin = "local search, judged by regressors"
    return compressed("surrogate_local_search", origin, found, task, resources)
