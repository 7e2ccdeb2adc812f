"""Decoded tokens made into a network by stated rules; each rule that changed something is named.

In order: fields out of range are clipped; spatial layers after the first Linear are dropped; pool
padding is cut to half the kernel; kernels are cut to their padded input; the classifier is
appended, or its outputs set to the number of classes. Fields that a layer lacks or derives are not
read.
"""

from collections.abc import Sequence
from typing import NamedTuple

from torch import Tensor

from archpress.architectures.architecture import Architecture
from archpress.architectures.layers import (
    KIND_BY_CODE,
    AveragePool,
    Convolution,
    Layer,
    Linear,
    MaxPool,
    Shape,
    layer_from_row,
)
from archpress.embedding.tokens import RANGES, used_rows

POOLS = (MaxPool.code, AveragePool.code)


class Repaired(NamedTuple):
    """A network and the rules that it took; none where it was valid as decoded."""

    architecture: Architecture
    rules: tuple[str, ...]


def repair(tokens: Tensor, input_shape: tuple[int, int, int], classes: int) -> Repaired:
    """Return the network nearest to decoded tokens ``[T, F]`` under the stated rules."""
    rules: dict[str, None] = {}
    shape: Shape = input_shape
    layers: list[Layer] = []
    for row in used_rows(tokens):
        kind = KIND_BY_CODE[_clipped(row[0], 1, RANGES[0], rules)]
        if kind.spatial and len(shape) == 1:
            rules["dropped a spatial layer after the first linear"] = None
            continue
        layer = layer_from_row(_fitted(kind, row, shape, rules))
        layers.append(layer)
        shape = layer.output_shape(shape)
    layers = _with_classifier(layers, classes, rules)
    return Repaired(Architecture(input_shape, tuple(layers)), tuple(rules))


def _fitted(
    kind: type[Layer], row: Sequence[int], shape: Shape, rules: dict[str, None]
) -> tuple[int, int, int, int, int, int]:
    """Return the row with the fields that its kind has brought into range."""
    _, k, o, s, p, _ = row
    if kind in (Convolution, Linear):
        o = _clipped(o, 1, RANGES[2], rules)
    if kind.spatial:
        k = _clipped(k, 1, RANGES[1], rules)
        s = _clipped(s, 1, RANGES[3], rules)
        p = _clipped(p, 0, RANGES[4], rules)
        if kind.code in POOLS and p > k // 2:
            p = k // 2
            rules["cut pool padding to half the kernel"] = None
        if k > min(shape[1:]) + 2 * p:
            k = min(shape[1:]) + 2 * p
            p = min(p, k // 2) if kind.code in POOLS else p
            k = min(k, min(shape[1:]) + 2 * p)
            rules["cut a kernel to its padded input"] = None
    return (kind.code, k, o, s, p, 0)


def _clipped(value: int, low: int, high: int, rules: dict[str, None]) -> int:
    if low <= value <= high:
        return value
    rules["clipped a field to its range"] = None
    return min(max(value, low), high)


def _with_classifier(layers: list[Layer], classes: int, rules: dict[str, None]) -> list[Layer]:
    if not layers or not isinstance(layers[-1], Linear):
        rules["appended the classifier"] = None
        return [*layers, Linear(classes)]
    if layers[-1] != Linear(classes):
        rules["set the outputs of the classifier"] = None
    return [*layers[:-1], Linear(classes)]
