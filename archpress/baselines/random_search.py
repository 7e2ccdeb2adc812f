"""Random search inside the budget: label as many networks as the method may, keep the best."""

from archpress.baselines.labelled_search import Asked, compressed, searched
from archpress.compression.result import CompressionResult
from archpress.compression.searched import Searched
from archpress.compression.task import CompressionTask, Resources

SEED_OFFSET = 2_000_000


def search(task: CompressionTask, resources: Resources) -> Searched:
    """Return the best of ``task.labels`` random networks of the space within the budget.

    Sizes are stratified as the space stratifies them, over a decade below the budget at least;
    labels, contest and number of finalists are those of the task.
    """
    return searched(task, resources, draw, SEED_OFFSET)


def draw(asked: Asked) -> None:
    """Ask for the labels of random networks, of as many as there are within the budget."""
    asked.label(asked.drawn(asked.left))


def compress(task: CompressionTask, resources: Resources) -> CompressionResult:
    """Return the network that random search ends in, trained finally as every method's."""
    return compressed("random_search", "random draw", search(task, resources), task, resources)
