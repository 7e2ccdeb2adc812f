"""Tables of trained networks that others published, read as architectures with their accuracies."""

import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from archpress.architectures.architecture import Architecture
from archpress.architectures.layers import (
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

CIFAR10 = (3, 32, 32)
STAGES = [(64, 2), (64, 1), (128, 2), (128, 1), (128, 1), (256, 2), (256, 1), (256, 1)]
"""NAS-Bench-Macro: width and stride of the eight layers that a key has a digit for."""

INVERTED = {"1": (3, 3), "2": (5, 6)}
"""NAS-Bench-Macro: kernel and expansion by digit; 0 is the identity."""


@dataclass(frozen=True)
class Table:
    """Trained networks.

    Attributes:
        networks: ``B`` of them.
        accuracies: In [0, 1], ``[B, S]``: of seeds (NAS-Bench-Macro) or epochs (MetaQNN).
    """

    networks: Sequence[Architecture]
    accuracies: NDArray[np.float64]


def nas_bench_macro(folder: Path) -> Table:
    """Return the 6,561 networks of Su et al. (2021), with the test accuracy of three seeds."""
    rows = json.loads((folder / "nas-bench-macro_cifar10.json").read_text(encoding="utf-8"))
    networks = [macro_network(key) for key in rows]
    return Table(networks, np.array([row["test_acc"] for row in rows.values()]) / 100)


def metaqnn(folder: Path) -> Table:
    """Return the 1,000 networks of Baker et al. (2017), with validation accuracy by epoch."""
    rows = json.loads((folder / "metaqnn_cifar10.json").read_text(encoding="utf-8"))
    networks = [Architecture(CIFAR10, tuple(metaqnn_layers(row["layers"]))) for row in rows]
    return Table(networks, np.array([row["acc"] for row in rows]))


def macro_network(key: str) -> Architecture:
    """Return the network of a key of NAS-Bench-Macro such as ``02012100``."""
    layers: list[Layer] = [*_convolution(32, 3), ReLU()]
    widths = [32, *(width for width, _ in STAGES)]
    for digit, (width, out), (_, stride) in zip(key, pairwise(widths), STAGES, strict=True):
        if digit in INVERTED:
            layers += _inverted_residual(width, out, stride, *INVERTED[digit])
        elif stride == 2:
            layers += _convolution(out, 1, stride)
    head = (*_convolution(1280, 1), ReLU(), GlobalAveragePool(), Linear(10))
    return Architecture(CIFAR10, (*layers, *head))


def _convolution(out: int, kernel: int, stride: int = 1) -> tuple[Layer, ...]:
    return (Convolution(out, kernel, stride, kernel // 2, bias=False), BatchNorm())


def _inverted_residual(
    width: int, out: int, stride: int, kernel: int, expansion: int
) -> tuple[Layer, ...]:
    depthwise = DepthwiseConvolution(kernel, stride, kernel // 2, bias=False)
    skip = 8 if stride == 1 and width == out else 0
    return (
        *(*_convolution(expansion * width, 1), ReLU(), depthwise, BatchNorm(), ReLU()),
        *(Convolution(out, 1, bias=False), BatchNorm(skip=skip)),
    )


def metaqnn_layers(layers: Sequence[Sequence[Any]]) -> Iterator[Layer]:
    """Yield the layers of records such as ``["C", 64, 3, 1]``.

    All kernels are odd, so that half of them is SAME padding. A pool that is larger than what is
    left covers all of it; the softmax layer has weights only where no global average pool stands
    before it.
    """
    side, pooled = CIFAR10[1], False
    for kind, *values in layers:
        if kind == "C":
            out, kernel, _ = values
            yield from (Convolution(out, kernel, 1, kernel // 2), ReLU())
        elif kind == "P":
            kernel, stride = min(values[0], side), values[1]
            yield MaxPool(kernel, stride)
            side = (side - kernel) // stride + 1
        elif kind == "D":
            number, count = values
            yield Dropout(rate=number / (2 * count))
        elif kind == "FC":
            yield from (Linear(values[0]), ReLU())
        elif kind == "GAP":
            yield from (Convolution(values[0], 1), GlobalAveragePool())
            pooled = True
        elif not pooled:
            yield Linear(values[0])
