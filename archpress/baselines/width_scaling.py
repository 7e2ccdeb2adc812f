"""Uniform thinning: the input network with all widths scaled by one factor."""

from dataclasses import replace

from archpress.architectures import widths
from archpress.architectures.architecture import Architecture
from archpress.compression.budget import LATENCY, Budget, Latency, in_words, value_of
from archpress.compression.finishing import finish
from archpress.compression.result import CompressionResult
from archpress.compression.task import CompressionTask, Resources
from archpress.errors import BudgetError
from archpress.evaluation.record import Label

BISECTIONS = 40
TIGHTENINGS = 20
TIGHTENING = 0.95


def compress(task: CompressionTask, resources: Resources) -> CompressionResult:
    """Return the widest uniformly thinned input network within the budget; it labels nothing.

    Raises:
        BudgetError: There is no budget, or width 1 everywhere exceeds it.
    """
    if not task.budget.bounds:
        raise BudgetError("width scaling needs a budget, of parameters or anything else")
    network = measured(task)
    base, compressed = finish(task, [Label(network, 0.0, None, ())], resources)
    return CompressionResult(
        "width_scaling", base, compressed, "uniform thinning", 0, 0, resources.folder
    )


def measured(task: CompressionTask) -> Architecture:
    """Return the thinned network; where latency is bounded, one that keeps to it as measured.

    Raises:
        BudgetError: Width 1 everywhere exceeds the budget.
    """
    budget, latency = task.budget, task.latency
    network = thinned(task.network, budget, latency)
    for _ in range(TIGHTENINGS):
        if latency is None or budget.latency_ms is None:
            break
        latency.measure(network)
        if task.affords(network):
            break
        budget = replace(budget, latency_ms=TIGHTENING * budget.latency_ms)
        network = thinned(task.network, budget, latency)
    if not task.affords(network):
        taken = value_of(network, LATENCY, latency)
        raise BudgetError(
            f"thinned {TIGHTENINGS} times the network still takes {taken:.3g} ms as measured, more "
            f"than the budget of {in_words(task.budget.bounds)}"
        )
    return network


def thinned(network: Architecture, budget: Budget, latency: Latency | None = None) -> Architecture:
    """Return the network scaled by the largest factor at which it is within the budget.

    Raises:
        BudgetError: Even width 1 everywhere is not.
    """
    low, high = 0.0, 1.0
    for _ in range(BISECTIONS):
        middle = (low + high) / 2
        if budget.allows(scaled(network, middle), latency):
            low = middle
        else:
            high = middle
    result = scaled(network, low)
    if not budget.allows(result, latency):
        has = {metric: value_of(result, metric, latency) for metric in budget.bounds}
        raise BudgetError(
            f"thinned to width 1 the network has {in_words(has)}, "
            f"more than the budget of {in_words(budget.bounds)}"
        )
    return result


def scaled(network: Architecture, factor: float) -> Architecture:
    """Return the network with every width but the number of classes multiplied by ``factor``."""
    groups = widths.width_groups(network)
    return widths.scaled(network, groups, [factor] * len(groups))
