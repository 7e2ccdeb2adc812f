"""What a network costs, folded over its layers without building anything (decision R9)."""

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

from archpress.architectures.layers import Layer, Shape

FLOAT32_BYTES = 4
FIELD_LIMIT = 1_000_000


@dataclass(frozen=True, slots=True)
class Cost:
    """The exact cost of one network at batch size 1.

    Attributes:
        parameters: Every learned value, biases and BatchNorm's two included, statistics not.
        macs: Multiply-accumulates of convolutions and Linear layers, bias not counted.
        activation_bytes: The most that is held at once, in float32: a layer's input and output (or
            a layer's output and what is added to it) and every earlier output that a skip awaits.
        receptive_field: Input pixels per side that one position of the last map with sides sees;
            padding and the image's border are not cut off, means over the whole map are left out.
            Counted up to 1,000,000.
    """

    parameters: int
    macs: int
    activation_bytes: int
    receptive_field: int


def fold_cost(
    layers: Sequence[Layer],
    shapes: Sequence[Shape],
    shortcuts: Mapping[int, Sequence[Layer]],
) -> Cost:
    """Return the cost of ``T`` layers.

    Args:
        layers: The layers.
        shapes: Their input shapes and the last one's output shape, ``T + 1``.
        shortcuts: What fits the output that a skip adds, by the index of the layer it is added to.
    """
    parameters = macs = 0
    for layer, shape in _weighing(layers, shapes, shortcuts):
        parameters += layer.parameters(shape)
        macs += layer.macs(shape)
    return Cost(
        parameters, macs, _peak(layers, shapes, shortcuts) * FLOAT32_BYTES, _field(layers, shapes)
    )


def count_parameters(
    layers: Sequence[Layer],
    shapes: Sequence[Shape],
    shortcuts: Mapping[int, Sequence[Layer]],
) -> int:
    """Return ``fold_cost(...).parameters`` alone, in a third of the time."""
    return sum(layer.parameters(shape) for layer, shape in _weighing(layers, shapes, shortcuts))


def _weighing(
    layers: Sequence[Layer], shapes: Sequence[Shape], shortcuts: Mapping[int, Sequence[Layer]]
) -> Iterator[tuple[Layer, Shape]]:
    """Yield every layer with its input shape, and those that fit what is added."""
    for index, layer in enumerate(layers):
        yield layer, shapes[index]
        if layer.skip:
            shape = shapes[index + 1 - layer.skip]
            for fitting in shortcuts[index]:
                yield fitting, shape
                shape = fitting.output_shape(shape)


def _peak(
    layers: Sequence[Layer], shapes: Sequence[Shape], shortcuts: Mapping[int, Sequence[Layer]]
) -> int:
    """Return the most values held at once; output ``j`` is the input of layer ``j``."""
    sizes = [math.prod(shape) for shape in shapes]
    awaited_until = {
        index + 1 - layer.skip: index for index, layer in enumerate(layers) if layer.skip
    }
    peak = 0
    for index in range(len(layers)):
        held = {j for j, until in awaited_until.items() if j <= index <= until}
        peak = max(peak, sum(sizes[j] for j in held | {index, index + 1}))
        if shortcuts.get(index):
            peak = max(peak, sum(sizes[j] for j in held) + 2 * sizes[index + 1])
    return peak


def _field(layers: Sequence[Layer], shapes: Sequence[Shape]) -> int:
    """Return the receptive field; what a skip brings has seen no more than what it is added to."""
    field, jump = 1, 1
    for index, layer in enumerate(layers):
        if len(shapes[index + 1]) == 1:
            break
        kernel, stride = layer.window
        field = min(field + (kernel - 1) * jump, FIELD_LIMIT)
        jump = min(jump * stride, FIELD_LIMIT)
    return field
