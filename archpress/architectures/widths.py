"""Which layers must keep one width because a skip adds their outputs, and all widths scaled."""

from collections.abc import Sequence
from dataclasses import replace

from archpress.architectures.architecture import Architecture
from archpress.architectures.layers import Convolution, Linear, SqueezeExcite

WIDENED = (Convolution, Linear)
FIXED = -1


def width_groups(network: Architecture) -> list[int]:
    """Return, per layer, the number of the group that sets its output width; -1 cannot change.

    Layers are in one group where a skip adds outputs of one shape; the network's input and its last
    layer with a width are fixed.
    """
    widened = [i for i, layer in enumerate(network.layers) if isinstance(layer, WIDENED)]
    last = widened[-1] if widened else FIXED
    parent = list(range(FIXED, len(network.layers)))  # by group + 1

    def root(group: int) -> int:
        while parent[group + 1] != group:
            group = parent[group + 1]
        return group

    writer = [FIXED]  # by output, the network's input first: the layer that set its width
    for index, layer in enumerate(network.layers):
        writer.append(index if isinstance(layer, WIDENED) else writer[-1])
        if index == last:
            parent[index + 1] = FIXED
        if layer.skip and not network.shortcuts[index]:
            one, two = root(writer[index + 1]), root(writer[index + 1 - layer.skip])
            parent[max(one, two) + 1] = min(one, two)
    return [root(group) for group in writer[1:]]


def scaled(network: Architecture, groups: Sequence[int], factors: Sequence[float]) -> Architecture:
    """Return the network with the widths of group ``g`` times ``factors[g]``, rounded down.

    No width falls below 1; those of the group -1 stay.
    """
    layers = []
    for layer, group in zip(network.layers, groups, strict=True):
        if group != FIXED and isinstance(layer, Convolution):
            layer = replace(layer, out_channels=_times(layer.out_channels, factors[group]))
        elif group != FIXED and isinstance(layer, Linear):
            layer = replace(layer, out_features=_times(layer.out_features, factors[group]))
        elif group != FIXED and isinstance(layer, SqueezeExcite):
            layer = replace(layer, squeeze=_times(layer.squeeze, factors[group]))
        layers.append(layer)
    return Architecture(network.input_shape, tuple(layers))


def _times(width: int, factor: float) -> int:
    return max(1, int(width * factor + 1e-9))
