"""Decoded tokens made into a network by stated rules; each rule that changed something is named.

In order: fields out of range are clipped; spatial layers after the first flat output are dropped;
pool padding is cut to half the kernel; kernels are cut to their padded input; skips that nothing
fits are dropped; the classifier is appended, or its outputs set to the number of classes. Fields
that a layer lacks or derives are not read.
"""

from collections.abc import Sequence
from dataclasses import replace
from typing import NamedTuple

from torch import Tensor

from archpress.architectures.architecture import Architecture
from archpress.architectures.batch_cost import OWN_WIDTH, WINDOWED
from archpress.architectures.layers import (
    KIND_BY_CODE,
    GlobalAveragePool,
    Layer,
    Linear,
    Pool,
    Row,
    Shape,
    layer_from_row,
    shortcut_layers,
)
from archpress.embedding.tokens import RANGES, used_rows
from archpress.errors import InvalidArchitectureError


class Repaired(NamedTuple):
    """A network and the rules that it took; none where it was valid as decoded."""

    architecture: Architecture
    rules: tuple[str, ...]


def repair(
    tokens: Tensor, input_shape: tuple[int, int, int], classes: int, kinds: int = RANGES[0]
) -> Repaired:
    """Return the network nearest to decoded tokens ``[T, F]`` under the stated rules.

    Args:
        tokens: What was decoded.
        input_shape: ``(C, H, W)``.
        classes: Outputs of the last layer.
        kinds: Codes up to this one may occur.
    """
    rules: dict[str, None] = {}
    shapes: list[Shape] = [input_shape]
    layers: list[Layer] = []
    kept_before = [0]  # by decoded position: how many layers before it were kept
    for row in used_rows(tokens):
        kind = KIND_BY_CODE[_clipped(row[0], 1, kinds, rules)]
        if kind.spatial and len(shapes[-1]) == 1:
            rules["dropped a spatial layer after the first flat output"] = None
        else:
            layer = layer_from_row(_fitted(kind, row, shapes[-1], rules))
            output = layer.output_shape(shapes[-1])
            skip = _clipped(row[5], 0, RANGES[5], rules)
            if skip > len(kept_before):
                rules["cut a skip to the network's input"] = None
            source = kept_before[max(0, len(kept_before) - skip)] if skip else None
            layers.append(_with_skip(layer, source, (shapes, output), rules))
            shapes.append(output)
        kept_before.append(len(layers))
    layers = _with_classifier(layers, shapes[-1], classes, rules)
    return Repaired(Architecture(input_shape, tuple(layers)), tuple(rules))


def _with_skip(
    layer: Layer, source: int | None, shapes: tuple[list[Shape], Shape], rules: dict[str, None]
) -> Layer:
    """Return the layer with output ``source`` added, if that fits the output it is added to."""
    earlier, output = shapes
    if source is None:
        return layer
    try:
        shortcut_layers(layer, earlier[source], output)
    except InvalidArchitectureError:
        rules["dropped a skip that does not fit"] = None
        return layer
    return replace(layer, skip=len(earlier) - source)


def _fitted(kind: type[Layer], row: Sequence[int], shape: Shape, rules: dict[str, None]) -> Row:
    """Return the row with the fields that its kind has brought into range, and no skip."""
    _, k, o, s, p, _ = row
    if kind.code in OWN_WIDTH:
        o = _clipped(o, 1, RANGES[2], rules)
    if kind.code in WINDOWED:
        k = _clipped(k, 1, RANGES[1], rules)
        s = _clipped(s, 1, RANGES[3], rules)
        p = _clipped(p, 0, RANGES[4], rules)
        pool = issubclass(kind, Pool)
        if pool and p > k // 2:
            p = k // 2
            rules["cut pool padding to half the kernel"] = None
        if k > min(shape[1:]) + 2 * p:
            k = min(shape[1:]) + 2 * p
            p = min(p, k // 2) if pool else p
            k = min(k, min(shape[1:]) + 2 * p)
            rules["cut a kernel to its padded input"] = None
    return (kind.code, k, o, s, p, 0)


def _clipped(value: int, low: int, high: int, rules: dict[str, None]) -> int:
    if low <= value <= high:
        return value
    rules["clipped a field to its range"] = None
    return min(max(value, low), high)


def _with_classifier(
    layers: list[Layer], shape: Shape, classes: int, rules: dict[str, None]
) -> list[Layer]:
    if layers and isinstance(layers[-1], GlobalAveragePool) and shape == (classes,):
        return layers
    if not layers or not isinstance(layers[-1], Linear):
        rules["appended the classifier"] = None
        return [*layers, Linear(classes)]
    if shape != (classes,):
        rules["set the outputs of the classifier"] = None
        return [*layers[:-1], Linear(classes)]
    return layers
