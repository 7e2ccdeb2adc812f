"""Pruning by the L1 norm of filters (Li et al. 2017), otherwise as `pruning`."""

from archpress.baselines.pruning import pruned
from archpress.compression.result import CompressionResult
from archpress.compression.task import CompressionTask, Resources


def compress(task: CompressionTask, resources: Resources) -> CompressionResult:
    """Return the network that pruning by magnitude ends in; see :func:`.pruning.pruned`."""
    return pruned("magnitude_pruning", "magnitude", task, resources)
