"""Activations that an ONNX file spells out in several nodes, recognised by their curve.

GELU with Erf, SiLU and Hardswish are written in many ways. Whatever is computed elementwise from
one value and numbers is a curve; it is drawn along and compared with the activations that exist.
"""

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

_FAR = torch.tensor([20.0, 50.0, 100.0, 1e3, 1e4, 1e6], dtype=torch.float64)
GRID = torch.cat([-_FAR, torch.linspace(-12, 12, 2401, dtype=torch.float64), _FAR])
_ABSOLUTE, _RELATIVE = 1e-5, 1e-6  # the numbers in a file are float32
_KEPT = 12  # curves per value; the longest spelling needs seven

_CURVES: dict[str, Callable[..., Tensor]] = {
    "Identity": lambda x: x,
    "Add": torch.add,
    "Sub": torch.sub,
    "Mul": torch.mul,
    "Div": torch.div,
    "Pow": torch.pow,
    "Neg": torch.neg,
    "Exp": torch.exp,
    "Reciprocal": torch.reciprocal,
    "Min": torch.minimum,
    "Max": torch.maximum,
    "Erf": torch.erf,
    "Tanh": torch.tanh,
    "Sigmoid": torch.sigmoid,
    "Relu": torch.relu,
    "Clip": lambda x, min=None, max=None: torch.clamp(x, min, max),
    "HardSigmoid": lambda x, alpha=0.2, beta=0.5: torch.clamp(alpha * x + beta, 0, 1),
}
_NUMBERS = {"Clip": ("min", "max"), "HardSigmoid": ("alpha", "beta")}
_ACTIVATIONS: dict[tuple[str, str], Tensor] = {
    ("identity", ""): GRID,
    ("relu", ""): F.relu(GRID),
    ("relu6", ""): F.relu6(GRID),
    ("sigmoid", ""): torch.sigmoid(GRID),
    ("silu", ""): F.silu(GRID),
    ("hardswish", ""): F.hardswish(GRID),
    ("hardsigmoid", ""): F.hardsigmoid(GRID),
    ("tanh", ""): torch.tanh(GRID),
    ("gelu", "none"): F.gelu(GRID),
    ("gelu", "tanh"): F.gelu(GRID, approximate="tanh"),
}


class Curves:
    """The curves of all values so far: as functions of every earlier value they depend on alone."""

    def __init__(self) -> None:
        self.of: dict[str, dict[str, Tensor]] = {}

    def draw(
        self,
        op: str,
        output: str,
        operands: Sequence[str | Tensor | None],
        attributes: Mapping[str, Any],
    ) -> tuple[str, dict[str, str], str] | None:
        """Add a node; return what it turns out to be, if it is an activation.

        Args:
            op: The node's type.
            output: The value that it gives.
            operands: In order, names of values that come from the input, constants, and None for
                what is left out.
            attributes: The node's attributes.

        Returns:
            The PyTorch function, its keywords, and the value that it is applied to.
        """
        values = [operand for operand in operands if isinstance(operand, str)]
        constants = [operand for operand in operands if isinstance(operand, Tensor)]
        if op not in _CURVES or not values or any(number.numel() != 1 for number in constants):
            return None
        options = {name: attributes[name] for name in _NUMBERS.get(op, ()) if name in attributes}
        mine = {
            base: _CURVES[op](*(self._drawn(operand, base) for operand in operands), **options)
            for base in self._shared(values)[:_KEPT]
        }
        self.of[output] = mine
        return next((found for base in mine if (found := _recognised(mine[base], base))), None)

    def _drawn(self, operand: str | Tensor | None, base: str) -> Tensor | None:
        if isinstance(operand, Tensor):
            return operand.double().reshape(())
        return None if operand is None else self._seen(operand)[base]

    def _seen(self, value: str) -> dict[str, Tensor]:
        """Return a value's curves by what they are a function of, the nearest first."""
        return {value: GRID} | self.of.get(value, {})

    def _shared(self, values: list[str]) -> list[str]:
        first, *others = (self._seen(value) for value in values)
        return [base for base in first if all(base in other for other in others)]


def _recognised(curve: Tensor, base: str) -> tuple[str, dict[str, str], str] | None:
    for (function, approximate), known in _ACTIVATIONS.items():
        if torch.allclose(curve, known, rtol=_RELATIVE, atol=_ABSOLUTE):
            return function, {"approximate": approximate} if approximate else {}, base
    return None
