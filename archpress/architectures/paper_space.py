"""The search space of appendix 9."""

from collections import Counter
from dataclasses import dataclass
from typing import ClassVar

import torch

from archpress.architectures.architecture import Architecture
from archpress.architectures.layers import (
    KIND_BY_CODE,
    PAPER_KINDS,
    Convolution,
    Layer,
    Linear,
    Pool,
    layer_from_row,
)
from archpress.architectures.space import MAX_KERNEL, MAX_WIDTH, RejectedDrawError, Space
from archpress.errors import InvalidArchitectureError


@dataclass(frozen=True)
class PaperSpace(Space):
    """Appendix 9 drawn literally, made to build by two repairs and rejection (decision R4).

    Length ``l ~ U(2, 50)``; per layer ``t ~ U(1, 8)``, ``k ~ U(1, 10)``, ``o ~ U(16, 4096)``,
    ``s ~ U(1, 10)``, ``p ~ U(1, 10)``; the last layer is Linear with one output per class.
    Repairs: pool padding is cut to half the kernel; convolutions and pools after the first Linear
    are dropped. Rejected: no convolution, output too small to go on, beyond the limits.
    """

    narrowest: ClassVar[int] = 16

    def draw(self, generator: torch.Generator, repaired: Counter[str]) -> Architecture:
        layers, rules = self._repair(self.draw_rows(generator))
        if not any(isinstance(layer, Convolution) for layer in layers):
            raise RejectedDrawError("no convolution")
        repaired.update(rules)
        try:
            return Architecture(self.input_shape, (*layers, Linear(self.classes)))
        except InvalidArchitectureError:
            raise RejectedDrawError("output too small to go on") from None

    def draw_rows(self, generator: torch.Generator) -> list[list[int]]:
        """Return ``l - 1`` vectors ``[t, k, o, s, p]``, the literal draw before any repair."""
        length = int(torch.randint(2, 51, (), generator=generator))
        low = torch.tensor([1, 1, self.narrowest, 1, 1])
        high = torch.tensor([PAPER_KINDS, MAX_KERNEL, MAX_WIDTH, 10, 10])
        uniform = torch.rand(length - 1, 5, generator=generator, dtype=torch.float64)
        rows: list[list[int]] = (low + (uniform * (high - low + 1)).long()).tolist()
        return rows

    def _repair(self, rows: list[list[int]]) -> tuple[list[Layer], set[str]]:
        layers: list[Layer] = []
        rules: set[str] = set()
        flat = False
        for t, k, o, s, p in rows:
            kind = KIND_BY_CODE[t]
            if flat and kind.spatial:
                rules.add("dropped a spatial layer after the first linear")
                continue
            if issubclass(kind, Pool) and p > k // 2:
                rules.add("cut pool padding to half the kernel")
                p = k // 2
            layers.append(layer_from_row((t, k, o, s, p, 0)))
            flat = flat or kind is Linear
        return layers, rules
