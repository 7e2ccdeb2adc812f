"""The paper's eight layer kinds: what each does to a shape, what it costs, its module, its vector.

A shape is ``(C, H, W)`` before the first Linear layer and ``(features,)`` after it. A vector is
the paper's ``[t, k, o, s, p]`` (section 4.1) with the skip connection as sixth field; fields that
a kind lacks are 0, and ``o`` of a kind that keeps its channels is its input channels.
"""

import math
from abc import ABC, abstractmethod
from dataclasses import dataclass, fields
from typing import Any, ClassVar

from torch import nn

from archpress.errors import InvalidArchitectureError

Shape = tuple[int, ...]
Row = tuple[int, int, int, int, int, int]

DROPOUT_RATE = 0.5


@dataclass(frozen=True, slots=True)
class Layer(ABC):
    """One layer without weights. Subclasses state shape, cost, module and source side by side."""

    code: ClassVar[int]
    kind: ClassVar[str]
    spatial: ClassVar[bool] = False
    """Whether the layer needs a ``(C, H, W)`` input."""

    def output_shape(self, shape: Shape) -> Shape:
        """Return the output shape for an input of ``shape``.

        Raises:
            InvalidArchitectureError: The layer cannot follow an output of this shape.
        """
        if self.spatial and len(shape) != 3:
            raise InvalidArchitectureError("it needs channels and two sides, not flat features")
        return self._output_shape(shape)

    def _output_shape(self, shape: Shape) -> Shape:
        return shape

    def parameters(self, shape: Shape) -> int:
        """Return the number of learned values for an input of ``shape``."""
        return 0

    def macs(self, shape: Shape) -> int:
        """Return multiply-accumulates of one image, bias not counted (decision R9)."""
        return 0

    @abstractmethod
    def source(self, shape: Shape) -> str:
        """Return the Python expression that makes the module, ``nn`` being ``torch.nn``."""

    @abstractmethod
    def module(self, shape: Shape) -> nn.Module:
        """Return a freshly initialised module for an input of ``shape``."""

    def row(self, shape: Shape) -> Row:
        """Return ``(t, k, o, s, p, skip)`` for an input of ``shape``."""
        return (self.code, 0, shape[0], 0, 0, 0)

    def to_json(self) -> dict[str, Any]:
        """Return the layer as ``{"kind": ..., field: ...}``."""
        return {"kind": self.kind, **{f.name: getattr(self, f.name) for f in fields(self)}}


def _require_positive(layer: Layer, **values: int) -> None:
    for name, value in values.items():
        if value < 1:
            raise InvalidArchitectureError(f"{layer.kind} has {name} {value}, expected at least 1")


def _window_output(shape: Shape, kernel: int, stride: int, padding: int) -> tuple[int, int]:
    _, height, width = shape
    if kernel > min(height, width) + 2 * padding:
        raise InvalidArchitectureError(
            f"kernel {kernel} is larger than the {height}x{width} input padded by {padding}"
        )
    return (
        (height + 2 * padding - kernel) // stride + 1,
        (width + 2 * padding - kernel) // stride + 1,
    )


@dataclass(frozen=True, slots=True)
class Convolution(Layer):
    """2-D convolution with a square kernel and a bias."""

    code: ClassVar[int] = 1
    kind: ClassVar[str] = "convolution"
    spatial: ClassVar[bool] = True

    out_channels: int
    kernel: int
    stride: int = 1
    padding: int = 0

    def __post_init__(self) -> None:
        _require_positive(
            self, out_channels=self.out_channels, kernel=self.kernel, stride=self.stride
        )
        if self.padding < 0:
            raise InvalidArchitectureError(f"convolution has padding {self.padding}")

    def _output_shape(self, shape: Shape) -> Shape:
        height, width = _window_output(shape, self.kernel, self.stride, self.padding)
        return (self.out_channels, height, width)

    def parameters(self, shape: Shape) -> int:
        return self.out_channels * (shape[0] * self.kernel**2 + 1)

    def macs(self, shape: Shape) -> int:
        return math.prod(self._output_shape(shape)) * shape[0] * self.kernel**2

    def source(self, shape: Shape) -> str:
        return (
            f"nn.Conv2d({shape[0]}, {self.out_channels}, {self.kernel}, "
            f"stride={self.stride}, padding={self.padding})"
        )

    def module(self, shape: Shape) -> nn.Module:
        return nn.Conv2d(shape[0], self.out_channels, self.kernel, self.stride, self.padding)

    def row(self, shape: Shape) -> Row:
        return (self.code, self.kernel, self.out_channels, self.stride, self.padding, 0)


@dataclass(frozen=True, slots=True)
class Pool(Layer, ABC):
    """What max and average pooling share; padding is at most half the kernel, as in PyTorch."""

    spatial: ClassVar[bool] = True
    module_class: ClassVar[type[nn.Module]]

    kernel: int
    stride: int
    padding: int = 0

    def __post_init__(self) -> None:
        _require_positive(self, kernel=self.kernel, stride=self.stride)
        if not 0 <= self.padding <= self.kernel // 2:
            raise InvalidArchitectureError(
                f"{self.kind} has padding {self.padding}, expected 0 to {self.kernel // 2} "
                f"(half its kernel)"
            )

    def _output_shape(self, shape: Shape) -> Shape:
        return (shape[0], *_window_output(shape, self.kernel, self.stride, self.padding))

    def source(self, shape: Shape) -> str:
        name = self.module_class.__name__
        return f"nn.{name}({self.kernel}, stride={self.stride}, padding={self.padding})"

    def module(self, shape: Shape) -> nn.Module:
        return self.module_class(self.kernel, self.stride, self.padding)

    def row(self, shape: Shape) -> Row:
        return (self.code, self.kernel, shape[0], self.stride, self.padding, 0)


@dataclass(frozen=True, slots=True)
class MaxPool(Pool):
    """Max pooling over a square window."""

    code: ClassVar[int] = 2
    kind: ClassVar[str] = "max_pool"
    module_class: ClassVar[type[nn.Module]] = nn.MaxPool2d


@dataclass(frozen=True, slots=True)
class AveragePool(Pool):
    """Average pooling over a square window, padding counted in the mean."""

    code: ClassVar[int] = 7
    kind: ClassVar[str] = "average_pool"
    module_class: ClassVar[type[nn.Module]] = nn.AvgPool2d


@dataclass(frozen=True, slots=True)
class BatchNorm(Layer):
    """Batch normalisation, over channels or over flat features."""

    code: ClassVar[int] = 3
    kind: ClassVar[str] = "batch_norm"

    def parameters(self, shape: Shape) -> int:
        return 2 * shape[0]

    def source(self, shape: Shape) -> str:
        return f"nn.BatchNorm{2 if len(shape) == 3 else 1}d({shape[0]})"

    def module(self, shape: Shape) -> nn.Module:
        return nn.BatchNorm2d(shape[0]) if len(shape) == 3 else nn.BatchNorm1d(shape[0])


@dataclass(frozen=True, slots=True)
class ReLU(Layer):
    """Rectified linear unit."""

    code: ClassVar[int] = 4
    kind: ClassVar[str] = "relu"

    def source(self, shape: Shape) -> str:
        return "nn.ReLU()"

    def module(self, shape: Shape) -> nn.Module:
        return nn.ReLU()


@dataclass(frozen=True, slots=True)
class Sigmoid(Layer):
    """Logistic activation."""

    code: ClassVar[int] = 5
    kind: ClassVar[str] = "sigmoid"

    def source(self, shape: Shape) -> str:
        return "nn.Sigmoid()"

    def module(self, shape: Shape) -> nn.Module:
        return nn.Sigmoid()


@dataclass(frozen=True, slots=True)
class Dropout(Layer):
    """Dropout at rate 0.5; the paper's vector has no field for the rate."""

    code: ClassVar[int] = 6
    kind: ClassVar[str] = "dropout"

    def source(self, shape: Shape) -> str:
        return f"nn.Dropout({DROPOUT_RATE})"

    def module(self, shape: Shape) -> nn.Module:
        return nn.Dropout(DROPOUT_RATE)


@dataclass(frozen=True, slots=True)
class Linear(Layer):
    """Fully connected layer with a bias; flattens a spatial input first."""

    code: ClassVar[int] = 8
    kind: ClassVar[str] = "linear"

    out_features: int

    def __post_init__(self) -> None:
        _require_positive(self, out_features=self.out_features)

    def _output_shape(self, shape: Shape) -> Shape:
        return (self.out_features,)

    def parameters(self, shape: Shape) -> int:
        return self.out_features * (math.prod(shape) + 1)

    def macs(self, shape: Shape) -> int:
        return self.out_features * math.prod(shape)

    def source(self, shape: Shape) -> str:
        return f"nn.Linear({math.prod(shape)}, {self.out_features})"

    def module(self, shape: Shape) -> nn.Module:
        return nn.Linear(math.prod(shape), self.out_features)

    def row(self, shape: Shape) -> Row:
        return (self.code, 0, self.out_features, 0, 0, 0)


_KINDS: tuple[type[Layer], ...] = (
    Convolution, MaxPool, BatchNorm, ReLU, Sigmoid, Dropout, AveragePool, Linear,
)  # fmt: skip
KIND_BY_CODE: dict[int, type[Layer]] = {kind.code: kind for kind in _KINDS}
KIND_BY_NAME: dict[str, type[Layer]] = {kind.kind: kind for kind in _KINDS}


def layer_from_row(row: Row) -> Layer:
    """Return the layer of a ``(t, k, o, s, p, skip)`` vector; what its kind lacks is ignored.

    Raises:
        InvalidArchitectureError: Unknown type code, or a field out of its kind's range.
    """
    code, kernel, out, stride, padding, _ = row
    kind = KIND_BY_CODE.get(code)
    if kind is None:
        raise InvalidArchitectureError(f"layer type {code} is unknown, expected 1 to 8")
    if kind is Convolution:
        return Convolution(out, kernel, stride, padding)
    if kind is Linear:
        return Linear(out)
    return kind(kernel, stride, padding) if issubclass(kind, Pool) else kind()


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
    if any(type(value) is not int for value in values.values()):
        raise InvalidArchitectureError(f"{name} takes whole numbers, not {values}")
    try:
        return kind(**values)
    except TypeError as error:
        raise InvalidArchitectureError(f"{name} does not have these fields: {values}") from error
