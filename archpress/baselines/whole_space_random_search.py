"""Random search over the whole space, as papers do it: the budget only says which labels count."""

from dataclasses import replace

from archpress.baselines.labelled_search import Asked, compressed, searched
from archpress.compression.budget import Budget, in_words
from archpress.compression.drawing import drawn_within
from archpress.compression.result import CompressionResult
from archpress.compression.searched import Searched
from archpress.compression.task import CompressionTask, Resources
from archpress.errors import BudgetError

SEED_OFFSET = 10_000_000


def search(task: CompressionTask, resources: Resources) -> Searched:
    """Return the best within the budget of ``task.labels`` random networks of the space.

    Sizes are stratified over the whole space; labels, contest and number of finalists are those of
    the task.

    Raises:
        BudgetError: None of the networks is within the budget; no label is made then.
    """
    return searched(task, resources, draw, SEED_OFFSET)


def draw(asked: Asked) -> None:
    """Ask for the labels of random networks, within the budget or not."""
    task = asked.task
    anywhere = replace(task, budget=Budget(weight=task.budget.weight))
    networks = drawn_within(anywhere, asked.left, asked.generator)
    if not any(map(task.affords, networks)):
        raise BudgetError(
            f"none of {len(networks)} networks drawn from the whole space is within "
            f"{in_words(task.budget.bounds)}: label more, or take random_search, which draws "
            "within the budget"
        )
    asked.label(networks)


def compress(task: CompressionTask, resources: Resources) -> CompressionResult:
    """Return the network that it ends in, trained finally as every method's."""
    found = search(task, resources)
    return compressed("whole_space_random_search", "random draw", found, task, resources)
