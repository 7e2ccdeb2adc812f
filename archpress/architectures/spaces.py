"""Search spaces: distributions over architectures, drawn from a ``torch.Generator``."""

import math
from abc import ABC, abstractmethod
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field, replace

import torch

from archpress.architectures.architecture import Architecture
from archpress.architectures.cost import Cost
from archpress.architectures.layers import (
    KIND_BY_CODE,
    AveragePool,
    BatchNorm,
    Convolution,
    Dropout,
    Layer,
    Linear,
    MaxPool,
    Pool,
    ReLU,
    Shape,
    layer_from_row,
)
from archpress.errors import BudgetError, InvalidArchitectureError

MAX_LAYERS = 64
MAX_KERNEL = 10
MAX_WIDTH = 4096


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

    @abstractmethod
    def draw(self, generator: torch.Generator, repaired: Counter[str]) -> Architecture:
        """Return one draw, counting in ``repaired`` the rules that changed it.

        Raises:
            RejectedDrawError: The draw is no usable network.
        """

    def smallest(self) -> Architecture:
        """Return a network with as few parameters as one with a convolution can have here."""
        layers: list[Layer] = [Convolution(1, 1)]
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
    ) -> Sample:
        """Draw until ``count`` architectures are accepted.

        Args:
            count: How many.
            generator: Decides all draws.
            patience: Rejections in a row that are too many.
            distinct: Whether a network that was drawn before is rejected.

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


@dataclass(frozen=True)
class PaperSpace(Space):
    """Appendix 9 drawn literally, made to build by two repairs and rejection (decision R4).

    Length ``l ~ U(2, 50)``; per layer ``t ~ U(1, 8)``, ``k ~ U(1, 10)``, ``o ~ U(16, 4096)``,
    ``s ~ U(1, 10)``, ``p ~ U(1, 10)``; the last layer is Linear with one output per class.
    Repairs: pool padding is cut to half the kernel; convolutions and pools after the first Linear
    are dropped. Rejected: no convolution, output too small to go on, beyond the limits.
    """

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
        low = torch.tensor([1, 1, 16, 1, 1])
        high = torch.tensor([8, MAX_KERNEL, MAX_WIDTH, 10, 10])
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


@dataclass(frozen=True)
class BlocksSpace(Space):
    """Blocks of convolution, BatchNorm and ReLU, with pools and strides of 2.

    Depth is uniform from 1 to ``max_blocks``; widths are log-uniform, then scaled by one common
    factor toward a parameter count drawn log-uniformly within the limits, so that every size is
    equally frequent. Half of the networks end in global average pooling where the side allows it.
    """

    max_blocks: int = 10
    min_width: int = 4
    max_width: int = 512

    def draw(self, generator: torch.Generator, repaired: Counter[str]) -> Architecture:
        uniforms = iter(torch.rand(4 * self.max_blocks + 8, generator=generator).tolist())
        layers, widths = self._blocks(uniforms)
        layers += self._head(self._output_shape(layers), uniforms)
        low, high = math.log(self.limits.min_parameters), math.log(self.limits.max_parameters)
        target = math.exp(low + (high - low) * next(uniforms))
        scaled = iter(self._scaled(layers, widths, target))
        layers = [
            replace(layer, out_channels=next(scaled)) if isinstance(layer, Convolution) else layer
            for layer in layers
        ]
        return Architecture(self.input_shape, (*layers, Linear(self.classes)))

    def _blocks(self, uniforms: Iterator[float]) -> tuple[list[Layer], list[float]]:
        """Return the layers, every convolution of width 1 still, and the unscaled widths."""
        side = min(self.input_shape[1:])
        span = math.log(self.max_width / self.min_width)
        layers: list[Layer] = []
        widths = []
        for _ in range(1 + int(next(uniforms) * self.max_blocks)):
            kernel = (1, 3, 3, 3, 5)[int(next(uniforms) * 5)]
            how, mean = next(uniforms), next(uniforms)
            strides, pools = side >= 4 and how < 0.15, side >= 4 and 0.15 <= how < 0.4
            layers += [Convolution(1, kernel, 1 + strides, kernel // 2), BatchNorm(), ReLU()]
            if pools:
                layers.append(AveragePool(2, 2) if mean < 0.25 else MaxPool(2, 2))
            side = -(-side // 2) if strides else side // 2 if pools else side
            widths.append(self.min_width * math.exp(span * next(uniforms)))
        return layers, widths

    def _head(self, shape: Shape, uniforms: Iterator[float]) -> list[Layer]:
        _, height, width = shape
        head: list[Layer] = []
        if next(uniforms) < 0.5 and height == width and 1 < height <= MAX_KERNEL:
            head.append(AveragePool(height, height))
        if next(uniforms) < 0.2:
            head.append(Dropout())
        return head

    def _output_shape(self, layers: list[Layer]) -> Shape:
        shape: Shape = self.input_shape
        for layer in layers:
            shape = layer.output_shape(shape)
        return shape

    def _scaled(self, layers: list[Layer], widths: list[float], target: float) -> list[int]:
        """Return the widths times the factor that brings the parameters closest below target."""
        kernels = [layer.kernel for layer in layers if isinstance(layer, Convolution)]
        features = math.prod(self._output_shape(layers))
        low, high = math.log(1e-2), math.log(1e3)
        for _ in range(12):
            middle = (low + high) / 2
            if self._parameters(self._clamped(widths, middle), kernels, features) > target:
                high = middle
            else:
                low = middle
        return self._clamped(widths, low)

    def _clamped(self, widths: list[float], log_factor: float) -> list[int]:
        factor = math.exp(log_factor)
        return [min(max(round(w * factor), self.min_width), self.max_width) for w in widths]

    def _parameters(self, widths: list[int], kernels: list[int], features: int) -> int:
        """Return the count for ``features`` per channel before the last layer."""
        total, channels = 0, self.input_shape[0]
        for width, kernel in zip(widths, kernels, strict=True):
            total += width * (channels * kernel**2 + 3)
            channels = width
        return total + self.classes * (channels * features + 1)


SPACES: dict[str, type[Space]] = {"paper": PaperSpace, "blocks": BlocksSpace}
