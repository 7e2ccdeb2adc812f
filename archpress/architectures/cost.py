"""What a network costs, folded over its layers without building anything (decision R9)."""

import math
from collections.abc import Iterable
from dataclasses import dataclass

from archpress.architectures.layers import Layer, Shape

FLOAT32_BYTES = 4


@dataclass(frozen=True, slots=True)
class Cost:
    """The exact cost of one network at batch size 1.

    Attributes:
        parameters: Every learned value, biases and BatchNorm's two included, statistics not.
        macs: Multiply-accumulates of convolutions and Linear layers, bias not counted.
        activation_bytes: The most that one layer's input and output take together, in float32.
    """

    parameters: int
    macs: int
    activation_bytes: int


def fold_cost(layers: Iterable[Layer], input_shape: Shape) -> Cost:
    """Return the cost of ``layers`` on an input of shape ``(C, H, W)``.

    Raises:
        InvalidArchitectureError: A layer does not fit the output before it.
    """
    parameters = macs = peak = 0
    shape = input_shape
    for layer in layers:
        output = layer.output_shape(shape)
        parameters += layer.parameters(shape)
        macs += layer.macs(shape)
        peak = max(peak, math.prod(shape) + math.prod(output))
        shape = output
    return Cost(parameters, macs, peak * FLOAT32_BYTES)
