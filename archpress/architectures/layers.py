"""The layer kinds: the paper's eight (section 4.1), then those of residual and mobile networks."""

import math
from dataclasses import dataclass, field
from typing import Any, ClassVar, Self

from archpress.architectures.activations import (
    GELU,
    Activation,
    Dropout,
    Hardswish,
    LeakyReLU,
    ReLU,
    ReLU6,
    Sigmoid,
    SiLU,
    Tanh,
)
from archpress.architectures.layer import (
    Call,
    Layer,
    Projection,
    Row,
    Shape,
    require_finite,
    require_positive,
    without_defaults,
)
from archpress.architectures.squeeze_excite import SqueezeExcite
from archpress.architectures.windows import (
    AveragePool,
    Convolution,
    DepthwiseConvolution,
    GlobalAveragePool,
    MaxPool,
    Pool,
)
from archpress.errors import InvalidArchitectureError

__all__ = [
    "GELU",
    "KIND_BY_CODE",
    "KIND_BY_NAME",
    "PAPER_KINDS",
    "Activation",
    "AveragePool",
    "BatchNorm",
    "Convolution",
    "DepthwiseConvolution",
    "Dropout",
    "GlobalAveragePool",
    "Hardswish",
    "Layer",
    "LeakyReLU",
    "Linear",
    "MaxPool",
    "Pool",
    "Projection",
    "ReLU",
    "ReLU6",
    "Row",
    "Shape",
    "SiLU",
    "Sigmoid",
    "SqueezeExcite",
    "Tanh",
    "layer_from_json",
    "layer_from_row",
    "shortcut_layers",
]  # fmt: skip


@dataclass(frozen=True, slots=True)
class BatchNorm(Layer):
    """Batch normalisation, over channels or over flat features."""

    code: ClassVar[int] = 3
    kind: ClassVar[str] = "batch_norm"

    eps: float = field(default=1e-5, kw_only=True)
    momentum: float = field(default=0.1, kw_only=True)
    affine: bool = field(default=True, kw_only=True)

    def __post_init__(self) -> None:
        Layer.__post_init__(self)
        require_finite(self, self.kind, "eps", above=0)
        require_finite(self, self.kind, "momentum", above=0)

    def parameters(self, shape: Shape) -> int:
        return 2 * shape[0] * self.affine

    def call(self, shape: Shape) -> Call:
        options = {"eps": self.eps, "momentum": self.momentum, "affine": self.affine}
        options = without_defaults(options, eps=1e-5, momentum=0.1, affine=True)
        return Call(f"BatchNorm{2 if len(shape) == 3 else 1}d", (shape[0],), options)


@dataclass(frozen=True, slots=True)
class Linear(Layer):
    """Fully connected layer; flattens a spatial input first."""

    code: ClassVar[int] = 8
    kind: ClassVar[str] = "linear"

    out_features: int
    bias: bool = field(default=True, kw_only=True)

    def __post_init__(self) -> None:
        Layer.__post_init__(self)
        require_positive(self, out_features=self.out_features)

    def _output_shape(self, shape: Shape) -> Shape:
        return (self.out_features,)

    def parameters(self, shape: Shape) -> int:
        return self.out_features * (math.prod(shape) + self.bias)

    def macs(self, shape: Shape) -> int:
        return self.out_features * math.prod(shape)

    def call(self, shape: Shape) -> Call:
        options = without_defaults({"bias": self.bias}, bias=True)
        return Call("Linear", (math.prod(shape), self.out_features), options)

    def calls(self, shape: Shape) -> tuple[Call, ...]:
        flatten = (Call("Flatten"),) if len(shape) == 3 else ()
        return (*flatten, self.call(shape))

    def row(self, shape: Shape) -> Row:
        return (self.code, 0, self.out_features, 0, 0, self.skip)

    @classmethod
    def from_row(cls, row: Row) -> Self:
        return cls(row[2], skip=row[5])


_KINDS: tuple[type[Layer], ...] = (
    Convolution, MaxPool, BatchNorm, ReLU, Sigmoid, Dropout, AveragePool, Linear,
    DepthwiseConvolution, GlobalAveragePool, SiLU, Hardswish, ReLU6, GELU, LeakyReLU, Tanh,
    SqueezeExcite,
)  # fmt: skip
KIND_BY_CODE: dict[int, type[Layer]] = {kind.code: kind for kind in _KINDS}
KIND_BY_NAME: dict[str, type[Layer]] = {kind.kind: kind for kind in _KINDS}
PAPER_KINDS = 8
"""The codes up to this one are the paper's."""


def layer_from_row(row: Row) -> Layer:
    """Return the layer of a ``(t, k, o, s, p, skip)`` vector; what its kind lacks is ignored.

    Raises:
        InvalidArchitectureError: Unknown type code, or a field out of its kind's range.
    """
    kind = KIND_BY_CODE.get(row[0])
    if kind is None:
        raise InvalidArchitectureError(
            f"layer type {row[0]} is unknown, expected 1 to {len(_KINDS)}"
        )
    return kind.from_row(row)


def layer_from_json(record: dict[str, Any]) -> Layer:
    """Return the layer of a :meth:`Layer.to_json` record.

    Raises:
        InvalidArchitectureError: Unknown kind, or fields that the kind does not have or allow.
    """
    values = dict(record)
    name = values.pop("kind", None)
    kind = KIND_BY_NAME.get(str(name))
    if kind is None:
        raise InvalidArchitectureError(f"layer kind {name!r} is unknown")
    return kind.from_json(values)


def shortcut_layers(layer: Layer, source: Shape, target: Shape) -> tuple[Layer, ...]:
    """Return what fits an output of shape ``source`` to the ``target`` that it is added to.

    Nothing where the shapes agree, else the layer's projection: a 1x1 convolution of the smallest
    stride that gives the target's sides, and BatchNorm.

    Raises:
        InvalidArchitectureError: No stride gives these sides, or there are no sides.
    """
    if source == target:
        return ()
    stride = _needed_stride(source[1:], target[1:]) if len(source) == len(target) == 3 else 0
    if not stride:
        raise InvalidArchitectureError(
            f"its skip of {layer.skip} brings {source}, which no 1x1 convolution makes {target}"
        )
    convolution = Convolution(target[0], 1, stride, bias=layer.projection.bias)
    if not layer.projection.batch_norm:
        return (convolution,)
    return (convolution, BatchNorm(eps=layer.projection.eps, momentum=layer.projection.momentum))


def _needed_stride(source: Shape, target: Shape) -> int:
    """Return the smallest stride from these sides to those, 0 where none is."""
    stride = max(-(-side // wanted) for side, wanted in zip(source, target, strict=True))
    return stride if tuple(-(-side // stride) for side in source) == target else 0
