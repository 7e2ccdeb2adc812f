"""Search spaces: distributions over architectures, drawn from a ``torch.Generator``."""

from abc import ABC, abstractmethod
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import ClassVar

import torch

from archpress.architectures.architecture import Architecture
from archpress.architectures.cost import Cost
from archpress.architectures.layers import (
    Convolution,
    Layer,
    Linear,
    MaxPool,
)
from archpress.errors import BudgetError

MAX_LAYERS = 64
MAX_KERNEL = 10
MAX_WIDTH = 4096
MAX_STRIDE = MAX_PADDING = 10


@dataclass(frozen=True)
class Limits:
    """What a sampled network may cost; beyond it a draw is rejected ("too large", appendix 9)."""

    min_parameters: int = 1
    max_parameters: int = 25_000_000
    max_macs: int = 1_000_000_000
    max_activation_bytes: int = 64_000_000

    def __post_init__(self) -> None:
        if not 1 <= self.min_parameters <= self.max_parameters:
            raise BudgetError(
                f"no network has {self.min_parameters:,} to {self.max_parameters:,} parameters, "
                f"expected 1 <= min_parameters <= max_parameters"
            )

    def violation(self, cost: Cost) -> str | None:
        """Return why ``cost`` is refused, or None."""
        if cost.parameters < self.min_parameters:
            return "too few parameters"
        if cost.parameters > self.max_parameters:
            return "too many parameters"
        if cost.macs > self.max_macs:
            return "too many MACs"
        if cost.activation_bytes > self.max_activation_bytes:
            return "too much activation memory"
        return None


class RejectedDrawError(Exception):
    """A draw that is no usable network; the message is the reason that is counted."""


@dataclass
class Sample:
    """Architectures drawn from a space, and what it took.

    Attributes:
        architectures: The accepted draws, in order.
        drawn: How many draws were made.
        rejected: Reason -> number of draws rejected for it.
        repaired: Rule -> number of accepted draws that it changed.
    """

    architectures: list[Architecture] = field(default_factory=list)
    drawn: int = 0
    rejected: Counter[str] = field(default_factory=Counter)
    repaired: Counter[str] = field(default_factory=Counter)


@dataclass(frozen=True)
class Space(ABC):
    """A distribution over architectures for one input shape and class count.

    Attributes:
        input_shape: ``(C, H, W)``.
        classes: Outputs of the last layer.
        limits: What a network may cost.
    """

    input_shape: tuple[int, int, int]
    classes: int
    limits: Limits = Limits()

    narrowest: ClassVar[int] = 1
    """The fewest channels that a convolution has here."""

    @abstractmethod
    def draw(self, generator: torch.Generator, repaired: Counter[str]) -> Architecture:
        """Return one draw, counting in ``repaired`` the rules that changed it.

        Raises:
            RejectedDrawError: The draw is no usable network.
        """

    def smallest(self) -> Architecture:
        """Return a network with as few parameters as one with a convolution can have here.

        The limits are left out of account.
        """
        layers: list[Layer] = [Convolution(self.narrowest, 1)]
        side = min(self.input_shape[1:])
        while side > MAX_KERNEL:
            layers.append(MaxPool(2, 2))
            side //= 2
        layers.append(MaxPool(side, side))
        return Architecture(self.input_shape, (*layers, Linear(self.classes)))

    def sample(
        self,
        count: int,
        generator: torch.Generator,
        patience: int = 20_000,
        distinct: bool = False,
        accept: Callable[[Architecture], bool] | None = None,
    ) -> Sample:
        """Draw until ``count`` architectures are accepted.

        Args:
            count: How many.
            generator: Decides all draws.
            patience: Rejections in a row that are too many.
            distinct: Whether a network that was drawn before is rejected.
            accept: What a network must meet besides the limits; None for nothing.

        Raises:
            BudgetError: ``patience`` draws in a row were rejected.
        """
        result = Sample()
        seen: set[Architecture] = set()
        since_accepted = 0
        while len(result.architectures) < count:
            result.drawn += 1
            repaired: Counter[str] = Counter()
            try:
                architecture = self._accepted(generator, repaired)
                if distinct and architecture in seen:
                    raise RejectedDrawError("drawn before")
                if accept and not accept(architecture):
                    raise RejectedDrawError("beyond the budget")
                seen.add(architecture)
                result.architectures.append(architecture)
                result.repaired += repaired
                since_accepted = 0
            except RejectedDrawError as error:
                result.rejected[str(error)] += 1
                since_accepted += 1
            if since_accepted >= patience:
                most, times = result.rejected.most_common(1)[0]
                raise BudgetError(
                    f"no network within the limits among {patience:,} draws; the most frequent "
                    f"reason was '{most}' ({times:,}): widen the limits of the space"
                )
        return result

    def _accepted(self, generator: torch.Generator, repaired: Counter[str]) -> Architecture:
        architecture = self.draw(generator, repaired)
        if violation := self.limits.violation(architecture.cost):
            raise RejectedDrawError(violation)
        return architecture
