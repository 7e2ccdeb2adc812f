"""The cost of many networks at once: integer vectors ``[B, T, F]`` in, costs ``[B]`` out.

The same folds as `cost.fold_cost`, for all networks one position after the other, equal to them for
every network (``B`` architectures, ``T`` positions, ``F`` fields).
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
from numpy.typing import ArrayLike, NDArray

from archpress.architectures.architecture import Architecture
from archpress.architectures.cost import FIELD_LIMIT, FLOAT32_BYTES
from archpress.architectures.layers import (
    KIND_BY_CODE,
    BatchNorm,
    Convolution,
    DepthwiseConvolution,
    GlobalAveragePool,
    Linear,
    Pool,
    Row,
    SqueezeExcite,
)

Integers = NDArray[np.int64]
Flags = NDArray[np.bool_]

POOLS = [code for code, kind in KIND_BY_CODE.items() if issubclass(kind, Pool)]
WINDOWED = [Convolution.code, DepthwiseConvolution.code, *POOLS]
WIDENED = [Convolution.code, Linear.code]
OWN_WIDTH = [*WIDENED, SqueezeExcite.code]
"""The kinds whose ``o`` says something that their input does not."""
WEIGHTED = [Convolution.code, Linear.code, DepthwiseConvolution.code]
SPATIAL = [code for code, kind in KIND_BY_CODE.items() if kind.spatial]
FLATTENING = [Linear.code, GlobalAveragePool.code]


@dataclass(frozen=True)
class BatchCost:
    """The costs of ``B`` networks; `Cost` says what each means.

    Attributes:
        valid: Whether the vectors describe a network; the costs of the others mean nothing.
        parameters: int64 ``[B]``.
        macs: int64 ``[B]``.
        activation_bytes: int64 ``[B]``.
        receptive_field: int64 ``[B]``.
    """

    valid: Flags
    parameters: Integers
    macs: Integers
    activation_bytes: Integers
    receptive_field: Integers


class Packed(NamedTuple):
    """Networks as arrays.

    Attributes:
        rows: int64 ``[B, T, 6]``, zeros after the last layer.
        surplus: int64 ``[B]``: learned values that attributes (no bias, a projection without
            BatchNorm) add to what the vectors say; below 0 where they take away.
    """

    rows: Integers
    surplus: Integers


def pack(architectures: Sequence[Architecture]) -> Packed:
    """Return networks as arrays for `batch_cost`."""
    length = max((len(a.layers) for a in architectures), default=0)
    rows = np.zeros((len(architectures), length, 6), np.int64)
    surplus = np.zeros(len(architectures), np.int64)
    for index, architecture in enumerate(architectures):
        used = architecture.rows()
        rows[index, : len(used)] = used
        surplus[index] = _surplus(architecture, used)
    return Packed(rows, surplus)


def _surplus(architecture: Architecture, rows: Sequence[Row]) -> int:
    total = 0
    for layer, row, shape in zip(architecture.layers, rows, architecture.shapes, strict=False):
        if getattr(layer, "bias", True) and getattr(layer, "affine", True):
            continue  # no other attribute changes a count
        total += layer.parameters(shape) - type(layer).from_row(row).parameters(shape)
    for index, fitting in architecture.shortcuts.items():
        if fitting:
            projection = architecture.layers[index].projection
            channels = architecture.shapes[index + 1][0]
            total += channels * (projection.bias - 2 * (not projection.batch_norm))
    return total


def batch_cost(
    rows: ArrayLike, input_shape: tuple[int, int, int], surplus: ArrayLike | None = None
) -> BatchCost:
    """Return what each network costs.

    Args:
        rows: Integers ``[B, T, F]``, ``F`` five or six; a type 0 ends a network.
        input_shape: ``(C, H, W)`` of one image, the same for all.
        surplus: Learned values ``[B]`` that the layers' attributes change, from `pack`; by default
            every layer has its kind's defaults.
    """
    fields = np.ascontiguousarray(np.asarray(rows, np.int64).transpose(2, 1, 0))
    if len(fields) == 5:
        fields = np.concatenate([fields, np.zeros_like(fields[:1])])
    if not fields.shape[1]:
        return BatchCost(np.zeros(fields.shape[2], bool), *np.zeros((4, fields.shape[2]), np.int64))
    fold = _Fold(fields, input_shape)
    for place in range(fields.shape[1]):
        fold.step(place)
    if surplus is not None:
        fold.parameters += np.asarray(surplus, np.int64)
    return fold.result()


class _Fold:
    """The state of the fold after some positions; arrays are ``[B]``, histories ``[T + 1, B]``."""

    def __init__(self, fields: Integers, input_shape: tuple[int, int, int]) -> None:
        _, length, batch = fields.shape
        active = np.logical_and.accumulate(fields[0] != 0, axis=0)
        self.fields = np.where(active, fields, 0)
        kinds, kernel, _, stride, padding, skip = self.fields
        self.windowed, self.widened = np.isin(kinds, WINDOWED), np.isin(kinds, WIDENED)
        self.skipping = (skip > 0).any(1)
        self.valid = self._valid_fields(active)
        self.kernel = np.where(self.windowed, kernel, 1).clip(1)
        self.stride = np.where(self.windowed, stride, 1).clip(1)
        self.padding = np.where(self.windowed, padding, 0)
        self.spatial, self.weighted = np.isin(kinds, SPATIAL), np.isin(kinds, WEIGHTED)
        self.flattening = np.isin(kinds, FLATTENING)
        self.shapes = np.ones((length + 1, 3, batch), np.int64)
        self.shapes[0] = np.array(input_shape)[:, None]
        self.flat = np.zeros((length + 1, batch), bool)
        self.seen = np.ones((length + 1, batch), np.int64)
        self.sizes = np.full((length + 1, batch), int(np.prod(input_shape)), np.int64)
        self.awaited_until = self._awaited(skip)
        self.parameters, self.macs, self.held, self.peak = np.zeros((4, batch), np.int64)
        self.jump = np.ones(batch, np.int64)

    def _valid_fields(self, active: Flags) -> Flags:
        """Return which networks have every field in the range of its kind, and a classifier."""
        kinds, kernel, out, stride, padding, skip = self.fields
        places = np.arange(len(kinds))[:, None]
        pools = np.isin(kinds, POOLS)
        wrong = ~np.isin(kinds, [0, *KIND_BY_CODE])
        wrong |= self.windowed & ((kernel < 1) | (stride < 1) | (padding < 0))
        wrong |= pools & (padding > kernel // 2)
        wrong |= np.isin(kinds, OWN_WIDTH) & (out < 1)
        wrong |= (skip < 0) | (skip > places + 1)
        lengths = active.sum(0)
        last = kinds[np.maximum(lengths - 1, 0), np.arange(kinds.shape[1])]
        result: Flags = ~wrong.any(0) & np.isin(last, FLATTENING)
        return result

    def _awaited(self, skip: Integers) -> Integers:
        """Return for every output the last position whose skip adds it, -1 where none does."""
        until = np.full((len(skip) + 1, skip.shape[1]), -1, np.int64)
        for place in np.flatnonzero(self.skipping):
            which = np.flatnonzero((skip[place] > 0) & (skip[place] <= place + 1))
            until[place + 1 - skip[place, which], which] = place
        return until

    def step(self, place: int) -> None:
        """Fold position ``place`` in."""
        kinds, skip = self.fields[0, place], self.fields[5, place]
        (channels, height, width), flat = self.shapes[place], self.flat[place]
        kernel, stride = self.kernel[place], self.stride[place]
        linear = kinds == Linear.code
        self.valid &= ~(flat & self.spatial[place])
        new = self._output_shape(place, linear)
        area = kernel * kernel
        inputs = np.where(linear, channels * height * width, channels * area)
        inputs = np.where(kinds == DepthwiseConvolution.code, area, inputs)
        weighted = self.weighted[place]
        squeezed = (kinds == SqueezeExcite.code) * self.fields[2, place]
        self.parameters += weighted * new[0] * (inputs + 1) + (kinds == BatchNorm.code) * 2 * new[0]
        self.parameters += 2 * squeezed * channels + (squeezed > 0) * (squeezed + channels)
        self.macs += weighted * new[0] * new[1] * new[2] * inputs + 2 * squeezed * channels
        self.shapes[place + 1] = new
        self.flat[place + 1] = flat | self.flattening[place]
        self.sizes[place + 1] = new[0] * new[1] * new[2]
        seen = np.minimum(self.seen[place] + (kernel - 1) * self.jump, FIELD_LIMIT)
        self.jump = np.minimum(self.jump * stride, FIELD_LIMIT)
        self._hold(place)
        if self.skipping[place]:
            which = np.flatnonzero((skip > 0) & (skip <= place + 1))
            source = place + 1 - skip[which]
            self._add_skips(place, which, source)
        self.seen[place + 1] = np.where(self.flat[place + 1], self.seen[place], seen)

    def _output_shape(self, place: int, linear: Flags) -> Integers:
        """Return ``[3, B]``; flat outputs have sides of 1."""
        channels, *sides = self.shapes[place]
        kernel, stride, padding = self.kernel[place], self.stride[place], self.padding[place]
        new = np.empty((3, len(channels)), np.int64)
        new[0] = np.where(self.widened[place], self.fields[2, place].clip(1), channels)
        ends = self.flattening[place]
        for axis, side in enumerate(sides, 1):
            padded = side + 2 * padding - kernel
            self.valid &= padded >= 0
            new[axis] = np.where(ends, 1, padded.clip(0) // stride + 1)
        return new

    def _hold(self, place: int) -> None:
        """Count what is held while the layer at ``place`` runs."""
        awaited = self.awaited_until[place] >= place
        self.held += awaited * self.sizes[place]
        now = self.held + ~awaited * self.sizes[place] + self.sizes[place + 1]
        running = self.fields[0, place] != 0
        self.peak = np.where(running, np.maximum(self.peak, now), self.peak)

    def _add_skips(self, place: int, which: Integers, source: Integers) -> None:
        """Add the skips of networks ``which`` from their outputs ``source``, fitted if need be."""
        before, after = self.shapes[source, :, which].T, self.shapes[place + 1][:, which]
        flat = self.flat[source, which], self.flat[place + 1, which]
        fitted = (before != after).any(0) | (flat[0] != flat[1])
        stride = (-(-before[1:] // after[1:])).max(0)
        fits = (-(-before[1:] // stride) == after[1:]).all(0) & ~flat[0] & ~flat[1]
        self.valid[which] &= fits | ~fitted
        self.parameters[which] += fitted * after[0] * (before[0] + 2)
        self.macs[which] += fitted * after.prod(0) * before[0]
        now = self.held[which] + 2 * self.sizes[place + 1, which]
        self.peak[which] = np.where(fitted, np.maximum(self.peak[which], now), self.peak[which])
        over = self.awaited_until[source, which] == place
        self.held[which] -= over * self.sizes[source, which]

    def result(self) -> BatchCost:
        """Return the costs after the last position."""
        return BatchCost(
            self.valid, self.parameters, self.macs, self.peak * FLOAT32_BYTES, self.seen[-1]
        )
