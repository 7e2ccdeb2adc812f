"""Compound scaling: depth and widths of the input network by one coefficient (Tan and Le 2019)."""

from math import log

from archpress.architectures.architecture import Architecture
from archpress.architectures.depths import shortened
from archpress.baselines.width_scaling import compressed, scaled
from archpress.compression.result import CompressionResult
from archpress.compression.task import CompressionTask, Resources

EXPONENT = log(1.2) / log(1.1)
"""Depth falls as this power of the widths: EfficientNet's alpha and beta, its resolution left."""


def compress(task: CompressionTask, resources: Resources) -> CompressionResult:
    """Return the largest compound-scaled input network within the budget; it labels nothing.

    Raises:
        BudgetError: There is no budget, or one block a stage of width 1 exceeds it.
    """
    origin = "depth and widths scaled"
    return compressed("compound_scaling", origin, compound_scaled, task, resources)


def compound_scaled(network: Architecture, factor: float) -> Architecture:
    """Return the network with widths times ``factor`` and depth times ``factor ** EXPONENT``.

    Of each stage so many blocks are left, rounded up, as in EfficientNet.
    """
    return scaled(shortened(network, factor**EXPONENT), factor)
