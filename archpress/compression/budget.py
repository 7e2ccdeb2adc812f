"""Budget: what the result may cost, in any mix of metrics."""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Protocol

import torch

from archpress.architectures.architecture import Architecture
from archpress.architectures.file_size import weights_file_bytes
from archpress.architectures.spaces import Space
from archpress.errors import BudgetError


class Latency(Protocol):
    """Tells the milliseconds of a network's forward pass."""

    def __call__(self, network: Architecture) -> float:
        """Return them as measured, or as predicted where they were not."""
        ...

    def measure(self, network: Architecture) -> float:
        """Return them as measured, from then on also by a call."""
        ...


LATENCY = "latency_ms"
METRICS: Mapping[str, str] = {
    "parameters": "parameters",
    "macs": "MACs",
    "activation_bytes": "bytes of activations",
    "file_bytes": "bytes of weights file",
    LATENCY: "ms of latency",
}
"""What can be bounded, and how it is called in a sentence."""

PATIENCE = 1_000
BYTES = 4
"""Of a parameter in float32."""


def value_of(network: Architecture, metric: str, latency: Latency | None = None) -> float:
    """Return what a network costs by one of `METRICS`; exact, but for the latency."""
    if metric == LATENCY:
        assert latency is not None, "a bound of latency needs something that tells it"
        return latency(network)
    if metric == "file_bytes":
        return weights_file_bytes(network)
    value: int = getattr(network.cost, metric)
    return value


@dataclass(frozen=True)
class Budget:
    """Upper bounds of what the result may cost; None is no bound.

    Attributes:
        parameters: Learned values, by exact count.
        weight: lambda, what a network as large as the input costs in accuracy where there is no
            bound at all.
        macs: Multiply-accumulates of one image.
        activation_bytes: Peak activation memory of one image, float32.
        file_bytes: Size of the exported ``weights.safetensors``, float32.
        latency_ms: Milliseconds of a forward pass.
    """

    parameters: int | None = None
    weight: float = 1.0
    macs: int | None = None
    activation_bytes: int | None = None
    file_bytes: int | None = None
    latency_ms: float | None = None

    @property
    def bounds(self) -> dict[str, float]:
        """The bounds that there are, by metric."""
        values = {metric: getattr(self, metric) for metric in METRICS}
        return {metric: value for metric, value in values.items() if value is not None}

    def allows(self, network: Architecture, latency: Latency | None = None) -> bool:
        """Return whether a network is within every bound.

        Args:
            network: The network.
            latency: Tells its latency; asked last, and only where that is bounded.
        """
        return all(
            value_of(network, metric, latency) <= bound for metric, bound in self.bounds.items()
        )

    def share_used(self, network: Architecture, latency: Latency | None = None) -> float:
        """Return the largest share of a bound that a network uses; above 1 beyond it, 0 for none.

        Args:
            network: The network.
            latency: Tells its latency.
        """
        shares = [
            value_of(network, metric, latency) / max(bound, 1e-9)
            for metric, bound in self.bounds.items()
        ]
        return max(shares, default=0.0)


def in_words(bounds: Mapping[str, float]) -> str:
    """Return amounts by metric as ``5,000 MACs and 100 parameters``."""
    parts = [amount(metric, value) for metric, value in bounds.items()]
    return " and ".join(parts)


def amount(metric: str, value: float) -> str:
    """Return one amount with its unit."""
    number = f"{value:.3g}" if metric == LATENCY else f"{int(value):,}"
    return f"{number} {METRICS[metric]}"


def parameters_within(budget: Budget) -> int | None:
    """Return how many parameters the bounds leave room for; a file holds little else."""
    bounds = [budget.parameters, budget.file_bytes and budget.file_bytes // BYTES]
    return min((bound for bound in bounds if bound is not None), default=None)


def narrowed(space: Space, budget: Budget) -> Space:
    """Return the space with the bounds as its limits.

    Sizes reach over a decade below the bound of parameters at least.
    """
    limits, size = space.limits, parameters_within(budget)
    if size is not None:
        size = min(size, limits.max_parameters)
        least = min(limits.min_parameters, max(1, size // 10))
        limits = replace(limits, min_parameters=least, max_parameters=size)
    if budget.macs is not None:
        limits = replace(limits, max_macs=min(limits.max_macs, budget.macs))
    if budget.activation_bytes is not None:
        most = min(limits.max_activation_bytes, budget.activation_bytes)
        limits = replace(limits, max_activation_bytes=most)
    return replace(space, limits=limits)


def sample_within(
    space: Space,
    budget: Budget,
    count: int,
    generator: torch.Generator,
    latency: Latency | None = None,
) -> list[Architecture]:
    """Return distinct random networks of the space within a budget.

    Where bounds other than that of parameters leave next to nothing of the space's sizes, sizes go
    down to the smallest.

    Raises:
        BudgetError: Hardly a draw is within the budget.
    """
    within = narrowed(space, budget)
    if not budget.bounds.keys() - {"parameters"}:
        return within.sample(count, generator, distinct=True).architectures

    def accept(network: Architecture) -> bool:
        return budget.allows(network, latency)

    try:
        return within.sample(count, generator, PATIENCE, True, accept).architectures
    except BudgetError:
        smallest = space.smallest().cost.parameters
        least = min(within.limits.min_parameters, smallest)
        within = replace(within, limits=replace(within.limits, min_parameters=least))
        return within.sample(count, generator, distinct=True, accept=accept).architectures
