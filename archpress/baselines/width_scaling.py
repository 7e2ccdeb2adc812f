"""Uniform thinning: the input network with all widths scaled by one factor."""

from collections.abc import Callable

from archpress.architectures import widths
from archpress.architectures.architecture import Architecture
from archpress.baselines.measured_latency import as_measured
from archpress.compression.budget import Budget, Latency, in_words, value_of
from archpress.compression.finishing import finish
from archpress.compression.result import CompressionResult
from archpress.compression.task import CompressionTask, Resources
from archpress.errors import BudgetError
from archpress.evaluation.record import Label

Scaling = Callable[[Architecture, float], Architecture]
"""Makes a network smaller by a factor in [0, 1], of which 1 changes nothing."""

BISECTIONS = 40


def compress(task: CompressionTask, resources: Resources) -> CompressionResult:
    """Return the widest uniformly thinned input network within the budget; it labels nothing.

    Raises:
        BudgetError: There is no budget, or width 1 everywhere exceeds it.
    """
    return compressed("width_scaling", "uniform thinning", scaled, task, resources)


def compressed(
    name: str, origin: str, scaling: Scaling, task: CompressionTask, resources: Resources
) -> CompressionResult:
    """Return the largest network within the budget that a scaling makes, trained finally.

    Raises:
        BudgetError: There is no budget, or the smallest exceeds it.
    """
    if not task.budget.bounds:
        raise BudgetError(f"{name} needs a budget, of parameters or anything else")
    network = measured(task, scaling)
    base, compressed = finish(task, [Label(network, 0.0, None, ())], resources)
    return CompressionResult(name, base, compressed, origin, 0, 0, resources.folder)


def measured(task: CompressionTask, scaling: Scaling | None = None) -> Architecture:
    """Return the thinned network; where latency is bounded, one that keeps to it as measured.

    Args:
        task: Gives network and budget.
        scaling: In place of that of all widths.

    Raises:
        BudgetError: The smallest exceeds the budget.
    """
    scaling = scaling or scaled
    return as_measured(
        task, lambda budget: thinned(task.network, budget, task.latency, scaling), lambda made: made
    )


def scaled(network: Architecture, factor: float) -> Architecture:
    """Return the network with every width but the number of classes multiplied by ``factor``."""
    groups = widths.width_groups(network)
    return widths.scaled(network, groups, [factor] * len(groups))


def thinned(
    network: Architecture,
    budget: Budget,
    latency: Latency | None = None,
    scaling: Scaling = scaled,
) -> Architecture:
    """Return the network scaled by the largest factor at which it is within the budget.

    Raises:
        BudgetError: Even width 1 everywhere is not.
    """
    low, high = 0.0, 1.0
    for _ in range(BISECTIONS):
        middle = (low + high) / 2
        if budget.allows(scaling(network, middle), latency):
            low = middle
        else:
            high = middle
    result = scaling(network, low)
    if not budget.allows(result, latency):
        has = {metric: value_of(result, metric, latency) for metric in budget.bounds}
        raise BudgetError(
            f"thinned to width 1 the network has {in_words(has)}, "
            f"more than the budget of {in_words(budget.bounds)}"
        )
    return result
