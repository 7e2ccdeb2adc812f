"""Local search on labels: the best small change of a network, until none is better; again.

Den Ottelander et al. (2020), "Local search is a remarkably strong baseline for neural architecture
search"; neighbours are labelled a few at a time, the best of them is taken.
"""

from archpress.baselines.labelled_search import BATCH, Asked, compressed, searched
from archpress.compression.result import CompressionResult
from archpress.compression.searched import Searched
from archpress.compression.task import CompressionTask, Resources

SEED_OFFSET = 3_000_000
PATIENCE = 3
"""Batches of neighbours without a better one before the search begins elsewhere."""


def search(task: CompressionTask, resources: Resources) -> Searched:
    """Return the best of ``task.labels`` networks that local searches come upon."""
    return searched(task, resources, climb, SEED_OFFSET)


def climb(asked: Asked) -> None:
    """Ask for labels: climb from the best of a random batch, and begin again where it ends."""
    while asked.left and (first := asked.label(asked.drawn(BATCH))):
        best, in_vain = max(first, key=asked.worth), 0
        while asked.left and in_vain < PATIENCE:
            neighbours = asked.label(asked.changed(best.architecture, BATCH))
            if not neighbours:
                break
            top = max(neighbours, key=asked.worth)
            better = asked.worth(top) > asked.worth(best)
            best, in_vain = (top, 0) if better else (best, in_vain + 1)


def compress(task: CompressionTask, resources: Resources) -> CompressionResult:
    """Return the network that local search ends in, trained finally as every method's."""
    found = search(task, resources)
    return compressed("local_search", "local search on labels", found, task, resources)
