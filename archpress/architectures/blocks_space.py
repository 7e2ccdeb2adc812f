"""The default search space: blocks such as people build networks of."""

import math
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import TypeVar

import torch

from archpress.architectures.architecture import Architecture
from archpress.architectures.layers import (
    AveragePool,
    BatchNorm,
    Convolution,
    DepthwiseConvolution,
    Dropout,
    GlobalAveragePool,
    Layer,
    Linear,
    MaxPool,
    ReLU,
)
from archpress.architectures.space import MAX_LAYERS, Space
from archpress.errors import SettingsError, nearest

Choice = TypeVar("Choice")

LAYERS_OF_BLOCK = {"plain": 4, "residual": 6, "separable": 6, "inverted": 8}
BLOCKS = tuple(LAYERS_OF_BLOCK)
LAYERS_OF_HEAD = 3


@dataclass
class Block:
    """One block before its layers are written.

    Attributes:
        kind: One of `BLOCKS`.
        kernel: Odd.
        stride: 1 or 2.
        pool: What follows, if anything does.
        width: Output channels before scaling; 0 means as many as come in.
        expansion: Hidden over input channels of an inverted residual.
    """

    kind: str
    kernel: int
    stride: int
    pool: type[MaxPool | AveragePool] | None
    width: float
    expansion: int

    def parameters(self, channels: int, out: int) -> int:
        """Return the count from ``channels`` to ``out``."""
        area = self.kernel**2
        if self.kind == "plain":
            return out * (channels * area + 3)
        if self.kind == "residual":
            fitted = channels != out or self.stride > 1
            return out * ((channels + out) * area + 6) + fitted * out * (channels + 2)
        if self.kind == "separable":
            return channels * (area + 3) + out * (channels + 3)
        hidden = channels * self.expansion
        return hidden * (channels + 3) + hidden * (area + 3) + out * (hidden + 3)

    def layers(self, channels: int, out: int) -> list[Layer]:
        """Return the layers from ``channels`` to ``out``."""
        k, s, p = self.kernel, self.stride, self.kernel // 2
        if self.kind == "plain":
            pool = [self.pool(2, 2)] if self.pool else []
            return [Convolution(out, k, s, p), BatchNorm(), ReLU(), *pool]
        if self.kind == "residual":
            first: list[Layer] = [Convolution(out, k, s, p), BatchNorm(), ReLU()]
            return [*first, Convolution(out, k, 1, p), BatchNorm(skip=5), ReLU()]
        depthwise = [DepthwiseConvolution(k, s, p), BatchNorm(), ReLU()]
        if self.kind == "separable":
            return [*depthwise, Convolution(out, 1), BatchNorm(), ReLU()]
        skip = 8 if channels == out and s == 1 else 0
        widening = [Convolution(channels * self.expansion, 1), BatchNorm(), ReLU()]
        return [*widening, *depthwise, Convolution(out, 1), BatchNorm(skip=skip)]


@dataclass(frozen=True)
class BlocksSpace(Space):
    """Blocks of several kinds, with pools and strides of 2, under a Linear classifier.

    Plain blocks are convolution, BatchNorm and ReLU; residual ones two convolutions and a skip (He
    2016), separable ones a depthwise and a 1x1 convolution (MobileNet), inverted ones a depthwise
    convolution between two 1x1 ones, with a skip where nothing changes shape (MobileNetV2). Half of
    the networks have blocks of one kind, the others of all kinds; the first block is plain wherever
    plain ones are allowed. Depth is uniform from 1 to ``max_blocks``; widths are log-uniform, then
    scaled by one common factor toward a parameter count drawn log-uniformly within the limits, so
    that every size is equally frequent. Half of the networks end in global average pooling.

    Attributes:
        blocks: The kinds of blocks to draw from.
        global_pool: Whether networks may end in global average pooling.
    """

    max_blocks: int = 10
    min_width: int = 4
    max_width: int = 512
    blocks: tuple[str, ...] = BLOCKS
    global_pool: bool = True

    def __post_init__(self) -> None:
        for kind in self.blocks:
            if kind not in BLOCKS:
                raise SettingsError(f"unknown kind of block {kind!r}{nearest(kind, BLOCKS)}")
        if not self.blocks:
            raise SettingsError(f"no kind of block is allowed, expected some of {BLOCKS}")

    def draw(self, generator: torch.Generator, repaired: Counter[str]) -> Architecture:
        uniforms = iter(torch.rand(7 * self.max_blocks + 8, generator=generator).tolist())
        blocks, sides = self._draw_blocks(uniforms)
        head: list[Layer] = []
        if self.global_pool and next(uniforms) < 0.5 and sides != (1, 1):
            head.append(GlobalAveragePool())
            sides = (1, 1)
        if next(uniforms) < 0.2:
            head.append(Dropout())
        low, high = math.log(self.limits.min_parameters), math.log(self.limits.max_parameters)
        target = math.exp(low + (high - low) * next(uniforms))
        widths = self._scaled(blocks, math.prod(sides), target)
        layers: list[Layer] = []
        channels = self.input_shape[0]
        for block, width in zip(blocks, widths, strict=True):
            layers += block.layers(channels, width)
            channels = width
        return Architecture(self.input_shape, (*layers, *head, Linear(self.classes)))

    def smallest(self) -> Architecture:
        """Return a network with as few parameters as one drawn here can have.

        Global average pooling leaves the fewest; without it, shrinking blocks may pay.
        """
        found = []
        for kind in self.blocks:
            deepest = 1 if self.global_pool else self.max_blocks
            for count in range(1, deepest + 1):
                kinds = [kind] * count
                if "plain" in self.blocks:
                    kinds[0] = "plain"
                if sum(LAYERS_OF_BLOCK[k] for k in kinds) <= MAX_LAYERS - LAYERS_OF_HEAD:
                    found.append(self._narrowest_of(kinds))
        return min(found, key=lambda network: network.cost.parameters)

    def _narrowest_of(self, kinds: Sequence[str]) -> Architecture:
        """Return blocks of these kinds as narrow as they can be, each shrinking its input."""
        layers: list[Layer] = []
        (channels, *sides), width = self.input_shape, self.min_width
        for kind in kinds:
            shrinks, plain = min(sides) >= 4, kind == "plain"
            pool = MaxPool if shrinks and plain else None
            stride = 2 if shrinks and not plain else 1
            block = Block(kind, 1 if plain else 3, stride, pool, width, 2)
            layers += block.layers(channels, width)
            channels = width
            sides = [side // 2 if pool else -(-side // stride) for side in sides]
        head = [GlobalAveragePool()] if self.global_pool and sides != [1, 1] else []
        return Architecture(self.input_shape, (*layers, *head, Linear(self.classes)))

    def _draw_blocks(self, uniforms: Iterator[float]) -> tuple[list[Block], tuple[int, int]]:
        """Return blocks of unscaled width, and the sides of the last one's output."""
        height, width = self.input_shape[1:]
        count = 1 + int(next(uniforms) * self.max_blocks)
        of_one_kind = next(uniforms) < 0.5
        only = _one_of(self.blocks, next(uniforms))
        blocks: list[Block] = []
        room = MAX_LAYERS - LAYERS_OF_HEAD
        for index in range(count):
            any_kind = _one_of(self.blocks, next(uniforms))
            kind = only if of_one_kind else any_kind
            if index == 0 and "plain" in self.blocks:
                kind = "plain"
            room -= LAYERS_OF_BLOCK[kind]
            if room < 0 and blocks:
                break
            block = self._draw_block(kind, min(height, width) >= 4, uniforms)
            blocks.append(block)
            height, width = -(-height // block.stride), -(-width // block.stride)
            if block.pool:
                height, width = height // 2, width // 2
        return blocks, (height, width)

    def _draw_block(self, kind: str, shrinkable: bool, uniforms: Iterator[float]) -> Block:
        kernels = (1, 3, 3, 3, 5) if kind == "plain" else (3, 3, 5)
        kernel = _one_of(kernels, next(uniforms))
        how, mean, same = next(uniforms), next(uniforms), next(uniforms)
        pool: type[MaxPool | AveragePool] = AveragePool if mean < 0.25 else MaxPool
        strided = shrinkable and how < (0.15 if kind == "plain" else 0.4)
        pooled = shrinkable and not strided and kind == "plain" and how < 0.4
        span = math.log(self.max_width / self.min_width)
        width = self.min_width * math.exp(span * next(uniforms))
        kept = kind in ("residual", "inverted") and not strided and same < 0.6
        expansion = _one_of((2, 3, 4, 6), mean)
        return Block(
            kind, kernel, 1 + strided, pool if pooled else None, 0 if kept else width, expansion
        )

    def _scaled(self, blocks: Sequence[Block], area: int, target: float) -> list[int]:
        """Return the widths times the factor that brings the parameters closest below target."""
        low, high = math.log(1e-2), math.log(1e3)
        for _ in range(12):
            middle = (low + high) / 2
            if self._parameters(blocks, self._clamped(blocks, middle), area) > target:
                high = middle
            else:
                low = middle
        return self._clamped(blocks, low)

    def _clamped(self, blocks: Sequence[Block], log_factor: float) -> list[int]:
        factor = math.exp(log_factor)
        widths: list[int] = []
        for block in blocks:
            if block.width or not widths:
                width = round((block.width or self.min_width) * factor)
                widths.append(min(max(width, self.min_width), self.max_width))
            else:
                widths.append(widths[-1])
        return widths

    def _parameters(self, blocks: Sequence[Block], widths: Sequence[int], area: int) -> int:
        """Return the count for ``area`` positions per channel before the last layer."""
        total, channels = 0, self.input_shape[0]
        for block, width in zip(blocks, widths, strict=True):
            total += block.parameters(channels, width)
            channels = width
        return total + self.classes * (channels * area + 1)


def _one_of(choices: Sequence[Choice], uniform: float) -> Choice:
    return choices[int(uniform * len(choices))]
