"""Which networks a search may label, and any network made as large as it may be."""

from archpress.architectures.architecture import Architecture
from archpress.architectures.layers import Convolution
from archpress.architectures.spaces import MAX_WIDTH
from archpress.architectures.widths import FIXED, scaled, width_groups
from archpress.compression.task import CompressionTask, trainable

BISECTIONS = 14
LARGEST_GROWTH = 4.0
SMALLEST = 1e-3


def refusal(network: Architecture, task: CompressionTask) -> str:
    """Return why a network may not be labelled; empty where it may."""
    if network == task.network:
        return "the input network itself"
    if not any(isinstance(layer, Convolution) for layer in network.layers):
        return "no convolution"
    if not task.affords(network):
        return "beyond the budget"
    return "" if _practical(network, task) else "beyond the limits of the space"


def filled(network: Architecture, task: CompressionTask) -> Architecture | None:
    """Return the network, all widths times one factor, as large as budget and limits allow.

    Without a bound it may shrink to keep to the limits, and never grows. None where no factor will
    do.
    """
    groups = width_groups(network)
    rows = zip(network.rows(), groups, strict=True)
    widest = max((row[2] for row, group in rows if group != FIXED), default=1)
    most = min(LARGEST_GROWTH, MAX_WIDTH / max(widest, 1)) if task.budget.bounds else 1.0

    def times(factor: float) -> Architecture:
        return scaled(network, groups, [factor] * len(groups))

    def fits(candidate: Architecture) -> bool:
        return not refusal(candidate, task)

    if fits(largest := times(most)):
        return largest
    low, high = SMALLEST, most
    best: Architecture | None = None
    for _ in range(BISECTIONS):
        middle = (low * high) ** 0.5
        if fits(candidate := times(middle)):
            low, best = middle, candidate
        else:
            high = middle
    return best


def _practical(network: Architecture, task: CompressionTask) -> bool:
    limits = task.space.limits
    return network.cost.parameters <= limits.max_parameters and trainable(limits, network)
