"""Networks made to a bound of latency: measured, and made smaller until they keep to it."""

from collections.abc import Callable
from dataclasses import replace
from typing import TypeVar

from archpress.architectures.architecture import Architecture
from archpress.compression.budget import Budget, in_words
from archpress.compression.task import CompressionTask
from archpress.errors import BudgetError

TIGHTENINGS = 20
TIGHTENING = 0.95

Made = TypeVar("Made")


def as_measured(
    task: CompressionTask,
    make: Callable[[Budget], Made],
    network_of: Callable[[Made], Architecture],
) -> Made:
    """Return what ``make`` makes to the task's budget; its latency is the measured one.

    Args:
        task: Gives budget and latency.
        make: Makes something within a budget, as far as latency is predicted.
        network_of: The network of what was made.

    Raises:
        BudgetError: It keeps to no bound of latency that is asked for.
    """
    budget, latency = task.budget, task.latency
    made = make(budget)
    if latency is None or budget.latency_ms is None:
        return made
    for tightened in range(1, TIGHTENINGS + 2):
        taken = latency.measure(network_of(made))
        if task.affords(network_of(made)):
            return made
        try:
            made = make(replace(budget, latency_ms=TIGHTENING**tightened * budget.latency_ms))
        except BudgetError:  # of the tightened bound, which nobody asked for
            break
    raise BudgetError(
        f"the smallest network tried still takes {taken:.3g} ms as measured, "
        f"more than the budget of {in_words(task.budget.bounds)}"
    )
