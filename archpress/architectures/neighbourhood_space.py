"""The search space around one network: what a few changes and thinner layers make of it."""

import math
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field

import torch

from archpress.architectures.architecture import Architecture
from archpress.architectures.editing import Draft
from archpress.architectures.edits import EDITS
from archpress.architectures.space import (
    MAX_KERNEL,
    MAX_LAYERS,
    MAX_PADDING,
    MAX_STRIDE,
    MAX_WIDTH,
    Limits,
    RejectedDrawError,
    Space,
)
from archpress.architectures.widths import scaled, width_groups
from archpress.errors import InvalidArchitectureError

LARGEST_WIDTH_CHANGE = 2.0


@dataclass(frozen=True)
class NeighbourhoodSpace(Space):
    """Networks reached from one by a few edits and by thinning.

    The number of edits is uniform from 0 to ``edits``; `edits.EDITS` lists them. Layers that a skip
    ties to one width stay tied; each such group is scaled by a factor of its own, up to 2 either
    way, and all by a common one toward a parameter count drawn log-uniformly within the limits.

    Attributes:
        origin: The network in the middle.
        edits: At most so many.
    """

    origin: Architecture = field(kw_only=True)
    edits: int = field(default=4, kw_only=True)

    def draw(self, generator: torch.Generator, repaired: Counter[str]) -> Architecture:
        draft = Draft(self.origin)
        names = list(EDITS)
        for _ in range(int(torch.randint(self.edits + 1, (), generator=generator))):
            name = names[int(torch.randint(len(names), (), generator=generator))]
            try:
                done = EDITS[name](draft, generator)
                edited = draft.architecture()
            except InvalidArchitectureError:
                raise RejectedDrawError(f"{name}: no network") from None
            if done:
                repaired[name] += 1
            draft = Draft(edited)
        drawn = self._thinned(draft.architecture(), generator)
        if not _within_reach(drawn):
            raise RejectedDrawError("beyond what can be searched")
        if drawn.classes != self.classes:
            raise RejectedDrawError("other classes")
        if drawn == self.origin:
            raise RejectedDrawError("the network itself")
        return drawn

    def smallest(self) -> Architecture:
        """Return the network in the middle, one channel wide; edits can make it smaller still."""
        groups = width_groups(self.origin)
        return scaled(self.origin, groups, [0.0] * len(groups))

    def _thinned(self, network: Architecture, generator: torch.Generator) -> Architecture:
        groups = width_groups(network)
        noise = torch.rand(len(network.layers), generator=generator) * 2 - 1
        own = [LARGEST_WIDTH_CHANGE**value for value in noise.tolist()]
        limit = min(self.limits.max_parameters, network.cost.parameters)
        low, high = math.log(min(self.limits.min_parameters, limit)), math.log(limit)
        target = math.exp(low + (high - low) * float(torch.rand((), generator=generator)))
        low, high = -8.0, 2.0
        for _ in range(12):
            middle = (low + high) / 2
            if _times(network, groups, own, middle).parameters > target:
                high = middle
            else:
                low = middle
        return _times(network, groups, own, low)


def _within_reach(network: Architecture) -> bool:
    """Return whether no field of any layer is beyond what a draw of any space may have."""
    most = (MAX_KERNEL, MAX_WIDTH, MAX_STRIDE, MAX_PADDING)
    highest = [max(column) for column in list(zip(*network.rows(), strict=True))[1:5]]
    fields = all(value <= limit for value, limit in zip(highest, most, strict=True))
    return fields and len(network.layers) <= MAX_LAYERS


def _times(
    network: Architecture, groups: Sequence[int], own: Sequence[float], log_common: float
) -> Architecture:
    common = math.exp(log_common)
    return scaled(network, groups, [factor * common for factor in own])


def neighbourhood(
    architecture: Architecture, limits: Limits | None = None, edits: int = 4
) -> NeighbourhoodSpace:
    """Return the space around a network.

    Args:
        architecture: The network.
        limits: What a drawn network may cost; by default 1 % of the network's parameters to all.
        edits: At most so many changes besides thinning.
    """
    size = architecture.cost.parameters
    limits = limits or Limits(min_parameters=max(1, size // 100), max_parameters=size)
    return NeighbourhoodSpace(
        architecture.input_shape, architecture.classes, limits, origin=architecture, edits=edits
    )
