"""Layer kinds that act on every value by itself."""

from abc import ABC
from dataclasses import dataclass, field
from typing import ClassVar

from archpress.architectures.layer import Call, Layer, Shape, require_finite
from archpress.errors import InvalidArchitectureError


@dataclass(frozen=True, slots=True)
class Activation(Layer, ABC):
    """An elementwise function without weights.

    Attributes:
        idempotent: Whether applying it twice is applying it once.
        nonnegative: Whether it gives no value below 0.
    """

    module_name: ClassVar[str]
    idempotent: ClassVar[bool] = False
    nonnegative: ClassVar[bool] = False

    def call(self, shape: Shape) -> Call:
        return Call(self.module_name)


@dataclass(frozen=True, slots=True)
class ReLU(Activation):
    """Rectified linear unit."""

    code: ClassVar[int] = 4
    kind: ClassVar[str] = "relu"
    module_name: ClassVar[str] = "ReLU"
    idempotent: ClassVar[bool] = True
    nonnegative: ClassVar[bool] = True


@dataclass(frozen=True, slots=True)
class Sigmoid(Activation):
    """Logistic activation."""

    code: ClassVar[int] = 5
    kind: ClassVar[str] = "sigmoid"
    module_name: ClassVar[str] = "Sigmoid"
    nonnegative: ClassVar[bool] = True


@dataclass(frozen=True, slots=True)
class SiLU(Activation):
    """Sigmoid linear unit, ``x sigmoid(x)``; also called Swish."""

    code: ClassVar[int] = 11
    kind: ClassVar[str] = "silu"
    module_name: ClassVar[str] = "SiLU"


@dataclass(frozen=True, slots=True)
class Hardswish(Activation):
    """The piecewise SiLU of MobileNetV3."""

    code: ClassVar[int] = 12
    kind: ClassVar[str] = "hardswish"
    module_name: ClassVar[str] = "Hardswish"


@dataclass(frozen=True, slots=True)
class ReLU6(Activation):
    """ReLU cut off at 6."""

    code: ClassVar[int] = 13
    kind: ClassVar[str] = "relu6"
    module_name: ClassVar[str] = "ReLU6"
    idempotent: ClassVar[bool] = True
    nonnegative: ClassVar[bool] = True


@dataclass(frozen=True, slots=True)
class GELU(Activation):
    """Gaussian error linear unit, exact or by the approximation that PyTorch calls ``tanh``."""

    code: ClassVar[int] = 14
    kind: ClassVar[str] = "gelu"
    module_name: ClassVar[str] = "GELU"

    approximate: str = field(default="none", kw_only=True)

    def __post_init__(self) -> None:
        Layer.__post_init__(self)
        if self.approximate not in ("none", "tanh"):
            raise InvalidArchitectureError(
                f"gelu has approximate {self.approximate!r}, expected none or tanh"
            )

    def call(self, shape: Shape) -> Call:
        exact = self.approximate == "none"
        return Call(self.module_name, (), {} if exact else {"approximate": self.approximate})


@dataclass(frozen=True, slots=True)
class LeakyReLU(Activation):
    """ReLU with a slope below 0."""

    code: ClassVar[int] = 15
    kind: ClassVar[str] = "leaky_relu"
    module_name: ClassVar[str] = "LeakyReLU"

    negative_slope: float = field(default=0.01, kw_only=True)

    def __post_init__(self) -> None:
        Layer.__post_init__(self)
        require_finite(self, self.kind, "negative_slope")

    def call(self, shape: Shape) -> Call:
        return Call(self.module_name, (self.negative_slope,))


@dataclass(frozen=True, slots=True)
class Tanh(Activation):
    """Hyperbolic tangent."""

    code: ClassVar[int] = 16
    kind: ClassVar[str] = "tanh"
    module_name: ClassVar[str] = "Tanh"


@dataclass(frozen=True, slots=True)
class Dropout(Layer):
    """Dropout; a vector has no field for the rate and means 0.5."""

    code: ClassVar[int] = 6
    kind: ClassVar[str] = "dropout"

    rate: float = field(default=0.5, kw_only=True)

    def __post_init__(self) -> None:
        Layer.__post_init__(self)
        require_finite(self, self.kind, "rate")
        if not 0 <= self.rate < 1:
            raise InvalidArchitectureError(f"dropout has rate {self.rate}, expected 0 to below 1")

    def call(self, shape: Shape) -> Call:
        return Call("Dropout", (self.rate,))
