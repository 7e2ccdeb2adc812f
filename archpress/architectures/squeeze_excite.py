"""Squeeze-and-excite: every channel times a gate that the means of all channels decide."""

from dataclasses import dataclass, field
from typing import Any, ClassVar, Self

from torch import Tensor, nn

from archpress.architectures.layer import (
    Call,
    Layer,
    Row,
    Shape,
    require_positive,
    without_defaults,
)
from archpress.errors import InvalidArchitectureError

ACTIVATIONS = ("ReLU", "SiLU")
GATES = ("Sigmoid", "Hardsigmoid")


class SqueezeExciteModule(nn.Module):
    """Scales the channels of [N, C, H, W] maps by a gate computed from their means."""

    def __init__(
        self,
        channels: int,
        squeeze: int,
        activation: str = "ReLU",
        gate: str = "Sigmoid",
        bias: bool = True,
    ) -> None:
        super().__init__()
        self.reduce = nn.Linear(channels, squeeze, bias=bias)
        self.activation: nn.Module = getattr(nn, activation)()
        self.expand = nn.Linear(squeeze, channels, bias=bias)
        self.gate: nn.Module = getattr(nn, gate)()

    def forward(self, x: Tensor) -> Tensor:
        """Return the scaled maps."""
        scale = self.expand(self.activation(self.reduce(x.mean((2, 3)))))
        scaled: Tensor = x * self.gate(scale)[:, :, None, None]
        return scaled


@dataclass(frozen=True, slots=True)
class SqueezeExcite(Layer):
    """Squeeze-and-excite (Hu 2018): global means, Linear, activation, Linear, gate, product.

    Its vector's ``o`` is the width between the two Linear layers; the channels stay.
    """

    code: ClassVar[int] = 17
    kind: ClassVar[str] = "squeeze_excite"
    spatial: ClassVar[bool] = True

    squeeze: int
    activation: str = field(default="ReLU", kw_only=True)
    gate: str = field(default="Sigmoid", kw_only=True)
    bias: bool = field(default=True, kw_only=True)

    def __post_init__(self) -> None:
        Layer.__post_init__(self)
        require_positive(self, squeeze=self.squeeze)
        for name, value, allowed in (
            ("activation", self.activation, ACTIVATIONS),
            ("gate", self.gate, GATES),
        ):
            if value not in allowed:
                raise InvalidArchitectureError(
                    f"squeeze_excite has {name} {value!r}, expected {' or '.join(allowed)}"
                )

    def parameters(self, shape: Shape) -> int:
        return 2 * shape[0] * self.squeeze + self.bias * (self.squeeze + shape[0])

    def macs(self, shape: Shape) -> int:
        return 2 * shape[0] * self.squeeze

    def call(self, shape: Shape) -> Call:
        options: dict[str, Any] = {
            "activation": self.activation, "gate": self.gate, "bias": self.bias,
        }  # fmt: skip
        options = without_defaults(options, activation="ReLU", gate="Sigmoid", bias=True)
        return Call("SqueezeExcite", (shape[0], self.squeeze), options, SqueezeExciteModule)

    def row(self, shape: Shape) -> Row:
        return (self.code, 0, self.squeeze, 0, 0, self.skip)

    @classmethod
    def from_row(cls, row: Row) -> Self:
        return cls(row[2], skip=row[5])
