"""One network as columns, a value per layer: what `features` counts and averages."""

import math
from dataclasses import dataclass
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from archpress.architectures.architecture import Architecture
from archpress.architectures.layers import (
    KIND_BY_CODE,
    Activation,
    Convolution,
    DepthwiseConvolution,
    Dropout,
    GlobalAveragePool,
    Linear,
    Pool,
)

Column = NDArray[np.float64]
Mask = NDArray[np.bool_]


def _codes(*kinds: type) -> list[int]:
    return [code for code, kind in KIND_BY_CODE.items() if issubclass(kind, kinds)]


CONVOLUTIONS = _codes(Convolution, DepthwiseConvolution)
POOLS = _codes(Pool)
ACTIVATIONS = sorted(set(_codes(Activation)) - {Dropout.code})


@dataclass(frozen=True)
class LayerTable:
    """The layers of one network, ``T`` values in each column.

    The *head* is the last layer with weights, which makes the logits; the *body* is every
    convolution before it. Sides are 0 where there are none.

    Attributes:
        network: Where the columns come from.
        kind: Type codes.
        kernel: Window side; 1 where there is no window.
        stride: Window stride.
        channels_in: Channels, or features where there are no sides.
        channels_out: The same after the layer.
        side_in: Height before the layer.
        side_out: Height after it.
        values_in: How many numbers the layer reads of one image.
        macs: Multiply-accumulates.
        parameters: Learned values.
        skip: How far back the output lies that is added; 0 for none.
    """

    network: Architecture
    kind: Column
    kernel: Column
    stride: Column
    channels_in: Column
    channels_out: Column
    side_in: Column
    side_out: Column
    values_in: Column
    macs: Column
    parameters: Column
    skip: Column

    @classmethod
    def of(cls, network: Architecture) -> "LayerTable":
        """Return the table of ``network``."""
        rows = []
        for place, layer in enumerate(network.layers):
            before, after = network.shapes[place : place + 2]
            sides = (_side(before), _side(after), math.prod(before))
            costs = (layer.macs(before), layer.parameters(before), layer.skip)
            rows.append((layer.code, *layer.window, before[0], after[0], *sides, *costs))
        return cls(network, *np.array(rows, np.float64).T)

    @property
    def input_side(self) -> int:
        """The height of one image."""
        return self.network.input_shape[1]

    @cached_property
    def head(self) -> int:
        """The position of the layer that makes the logits; the last one where none has weights."""
        weighted = np.flatnonzero(np.isin(self.kind, [*CONVOLUTIONS, Linear.code]))
        return int(weighted[-1]) if len(weighted) else len(self.kind) - 1

    @cached_property
    def first_flat(self) -> int:
        """The position of the layer that takes the sides away."""
        return int(np.flatnonzero(self.side_out == 0)[0])

    @cached_property
    def body(self) -> Mask:
        """The convolutions before the head, depthwise ones too."""
        body: Mask = np.isin(self.kind, CONVOLUTIONS) & self._before_head
        return body

    @cached_property
    def hidden(self) -> Mask:
        """The Linear layers before the head."""
        hidden: Mask = (self.kind == Linear.code) & self._before_head
        return hidden

    @cached_property
    def spatial(self) -> Mask:
        """The convolutions of the body that see more than one position."""
        spatial: Mask = self.body & (self.kernel > 1)
        return spatial

    @cached_property
    def pointwise(self) -> Mask:
        """The 1x1 convolutions of the body."""
        pointwise: Mask = self.body & (self.kernel == 1)
        return pointwise

    @cached_property
    def depthwise(self) -> Mask:
        """The depthwise convolutions."""
        depthwise: Mask = self.body & (self.kind == DepthwiseConvolution.code)
        return depthwise

    @cached_property
    def pools(self) -> Mask:
        """The pools with a window."""
        pools: Mask = np.isin(self.kind, POOLS)
        return pools

    @cached_property
    def dropouts(self) -> Mask:
        """The Dropout layers."""
        dropouts: Mask = self.kind == Dropout.code
        return dropouts

    @cached_property
    def rates(self) -> Column:
        """The rates of the Dropout layers, one value for each of them."""
        layers = self.network.layers
        return np.array([layer.rate for layer in layers if isinstance(layer, Dropout)], np.float64)

    @cached_property
    def pooled(self) -> bool:
        """Whether a global average pool takes the sides away."""
        return bool(self.kind[self.first_flat] == GlobalAveragePool.code)

    @cached_property
    def field(self) -> Column:
        """The receptive field after each layer, in pixels; it ends where the sides do."""
        spatial = self.side_out > 0
        jump = np.cumprod(np.concatenate([[1.0], self.stride[:-1]]))
        seen: Column = 1 + np.cumsum(np.where(spatial, (self.kernel - 1) * jump, 0.0))
        return seen

    @cached_property
    def octaves_lost(self) -> Column:
        """By how many halvings each layer shrinks the side, 0 where it takes the sides away."""
        ratio = np.maximum(self.side_in, 1) / np.maximum(self.side_out, 1)
        return np.where(self.side_out > 0, np.log2(ratio), 0.0)

    @cached_property
    def depth(self) -> Column:
        """The share of the body that stands up to each layer, in [0, 1]."""
        passed: Column = np.cumsum(self.body) / max(int(self.body.sum()), 1)
        return passed

    @property
    def _before_head(self) -> Mask:
        before: Mask = np.arange(len(self.kind)) != self.head
        return before


def _side(shape: tuple[int, ...]) -> int:
    return shape[1] if len(shape) == 3 else 0
