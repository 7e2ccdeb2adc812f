"""FitNets (Romero et al. 2015): distillation after a stage in which the lower half takes hints."""

from math import ceil

from archpress.baselines.distillation import taught, thinned
from archpress.compression.result import CompressionResult
from archpress.compression.task import CompressionTask, Resources

HINT_SHARE = 0.25
"""Epochs with hints, as a share of those of the final training that follow."""


def compress(task: CompressionTask, resources: Resources) -> CompressionResult:
    """Return the thinned input network within the budget, taught with hints; it labels nothing.

    Raises:
        BudgetError: There is no budget, or width 1 everywhere exceeds it.
    """
    epochs = ceil(HINT_SHARE * task.final_recipe.epochs)
    origin = "uniform thinning, taught with hints by the input network"
    return taught("fitnets", origin, thinned("fitnets", task), task, resources, epochs)
