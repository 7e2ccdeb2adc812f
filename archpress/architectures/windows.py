"""Layer kinds that look at their input through a square window: convolutions and pools."""

import math
from abc import ABC
from dataclasses import dataclass, field
from typing import Any, ClassVar, Self

from archpress.architectures.layer import (
    Call,
    Layer,
    Row,
    Shape,
    require_positive,
    without_defaults,
)
from archpress.errors import InvalidArchitectureError


def window_output(shape: Shape, kernel: int, stride: int, padding: int) -> tuple[int, int]:
    """Return the sides after a window of ``kernel`` has gone over ``(C, H, W)`` by ``stride``.

    Raises:
        InvalidArchitectureError: The kernel is larger than the padded input.
    """
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
    """2-D convolution with a square kernel."""

    code: ClassVar[int] = 1
    kind: ClassVar[str] = "convolution"
    spatial: ClassVar[bool] = True

    out_channels: int
    kernel: int
    stride: int = 1
    padding: int = 0
    bias: bool = field(default=True, kw_only=True)

    def __post_init__(self) -> None:
        Layer.__post_init__(self)
        require_positive(
            self, out_channels=self.out_channels, kernel=self.kernel, stride=self.stride
        )
        if self.padding < 0:
            raise InvalidArchitectureError(f"convolution has padding {self.padding}")

    @property
    def window(self) -> tuple[int, int]:
        return (self.kernel, self.stride)

    def _output_shape(self, shape: Shape) -> Shape:
        return (self.out_channels, *window_output(shape, self.kernel, self.stride, self.padding))

    def parameters(self, shape: Shape) -> int:
        return self.out_channels * (shape[0] * self.kernel**2 + self.bias)

    def macs(self, shape: Shape) -> int:
        return math.prod(self._output_shape(shape)) * shape[0] * self.kernel**2

    def call(self, shape: Shape) -> Call:
        options = {"stride": self.stride, "padding": self.padding, "bias": self.bias}
        options = without_defaults(options, stride=1, padding=0, bias=True)
        return Call("Conv2d", (shape[0], self.out_channels, self.kernel), options)

    def row(self, shape: Shape) -> Row:
        return (self.code, self.kernel, self.out_channels, self.stride, self.padding, self.skip)

    @classmethod
    def from_row(cls, row: Row) -> Self:
        _, kernel, out_channels, stride, padding, skip = row
        return cls(out_channels, kernel, stride, padding, skip=skip)


@dataclass(frozen=True, slots=True)
class Window(Layer, ABC):
    """What the kinds share that keep their channels and have a square window."""

    spatial: ClassVar[bool] = True

    kernel: int
    stride: int = 1
    padding: int = 0

    def __post_init__(self) -> None:
        Layer.__post_init__(self)
        require_positive(self, kernel=self.kernel, stride=self.stride)
        if self.padding < 0:
            raise InvalidArchitectureError(f"{self.kind} has padding {self.padding}")

    @property
    def window(self) -> tuple[int, int]:
        return (self.kernel, self.stride)

    def _output_shape(self, shape: Shape) -> Shape:
        return (shape[0], *window_output(shape, self.kernel, self.stride, self.padding))

    def row(self, shape: Shape) -> Row:
        return (self.code, self.kernel, shape[0], self.stride, self.padding, self.skip)

    @classmethod
    def from_row(cls, row: Row) -> Self:
        _, kernel, _, stride, padding, skip = row
        return cls(kernel, stride, padding, skip=skip)


@dataclass(frozen=True, slots=True)
class DepthwiseConvolution(Window):
    """2-D convolution of every channel by itself, with a square kernel."""

    code: ClassVar[int] = 9
    kind: ClassVar[str] = "depthwise_convolution"

    bias: bool = field(default=True, kw_only=True)

    def parameters(self, shape: Shape) -> int:
        return shape[0] * (self.kernel**2 + self.bias)

    def macs(self, shape: Shape) -> int:
        return math.prod(self._output_shape(shape)) * self.kernel**2

    def call(self, shape: Shape) -> Call:
        options = {"stride": self.stride, "padding": self.padding, "bias": self.bias}
        options = without_defaults(options, stride=1, padding=0, bias=True)
        return Call("Conv2d", (shape[0], shape[0], self.kernel), options | {"groups": shape[0]})


@dataclass(frozen=True, slots=True)
class Pool(Window, ABC):
    """What max and average pooling share; padding is at most half the kernel, as in PyTorch."""

    module_name: ClassVar[str]

    def __post_init__(self) -> None:
        Window.__post_init__(self)
        if self.padding > self.kernel // 2:
            raise InvalidArchitectureError(
                f"{self.kind} has padding {self.padding}, expected 0 to {self.kernel // 2} "
                f"(half its kernel)"
            )

    def options(self) -> dict[str, Any]:
        """Return the keywords of the PyTorch module."""
        options = {"stride": self.stride, "padding": self.padding}
        return without_defaults(options, stride=self.kernel, padding=0)

    def call(self, shape: Shape) -> Call:
        return Call(self.module_name, (self.kernel,), self.options())


@dataclass(frozen=True, slots=True)
class MaxPool(Pool):
    """Max pooling over a square window."""

    code: ClassVar[int] = 2
    kind: ClassVar[str] = "max_pool"
    module_name: ClassVar[str] = "MaxPool2d"


@dataclass(frozen=True, slots=True)
class AveragePool(Pool):
    """Average pooling over a square window, padding counted in the mean unless told."""

    code: ClassVar[int] = 7
    kind: ClassVar[str] = "average_pool"
    module_name: ClassVar[str] = "AvgPool2d"

    count_padding: bool = field(default=True, kw_only=True)

    def __post_init__(self) -> None:
        Pool.__post_init__(self)
        if not self.padding:
            object.__setattr__(self, "count_padding", True)  # it says nothing then

    def options(self) -> dict[str, Any]:
        options = Pool.options(self)
        return options if self.count_padding else options | {"count_include_pad": False}


@dataclass(frozen=True, slots=True)
class GlobalAveragePool(Layer):
    """The mean of every channel over its map: ``(C, H, W)`` in, ``(C,)`` out."""

    code: ClassVar[int] = 10
    kind: ClassVar[str] = "global_average_pool"
    spatial: ClassVar[bool] = True

    def _output_shape(self, shape: Shape) -> Shape:
        return (shape[0],)

    def call(self, shape: Shape) -> Call:
        return Call("AdaptiveAvgPool2d", (1,))

    def calls(self, shape: Shape) -> tuple[Call, ...]:
        return (self.call(shape), Call("Flatten"))
