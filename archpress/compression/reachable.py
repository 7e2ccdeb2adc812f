"""What can be reached in a search space by each metric, before anything is trained."""

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, replace

import torch

from archpress.architectures.architecture import Architecture
from archpress.architectures.spaces import RejectedDrawError, Space
from archpress.compression.budget import (
    LATENCY,
    METRICS,
    Latency,
    amount,
    in_words,
    value_of,
)
from archpress.compression.task import CompressionTask
from archpress.errors import BudgetError

DRAWS = 600
DECADES = 30
"""Draws go from the fewest parameters to so many times as many."""
MEASURED = 5


def small_networks(space: Space) -> list[Architecture]:
    """Return the smallest network of a space and some hundred other small ones, always the same.

    What is least among them is what was found; a search may find less.
    """
    smallest = space.smallest()
    size = smallest.cost.parameters
    limits = replace(space.limits, min_parameters=size, max_parameters=DECADES * size)
    near = replace(space, limits=limits)
    generator = torch.Generator().manual_seed(0)
    found = [smallest]
    for _ in range(DRAWS):
        try:
            found.append(near.draw(generator, Counter()))
        except RejectedDrawError:
            continue
    return found


def least(networks: Sequence[Architecture], metric: str, latency: Latency | None = None) -> float:
    """Return the least value of a metric among networks; the fastest ones are measured for it."""
    if metric == LATENCY and latency is not None:
        fastest = sorted(networks, key=latency)[:MEASURED]
        return min(latency.measure(network) for network in fastest)
    return min(value_of(network, metric, latency) for network in networks)


def check_budget(task: CompressionTask) -> None:
    """Refuse a budget that nothing, or the input network itself, meets.

    With a bound of the accuracy drop the others may be such as the input network meets.

    Raises:
        BudgetError: With the nearest amounts that were found, or the input network's.
    """
    budget = task.budget
    if not budget.bounds:
        return
    if task.max_accuracy_drop is None and task.affords(task.network):
        own = {m: value_of(task.network, m, task.latency) for m in budget.bounds}
        raise BudgetError(
            f"the target of {in_words(budget.bounds)} is no compression: the input network has "
            f"{in_words(own)}"
        )
    if task.affords(task.space.smallest()):
        return
    networks = small_networks(task.space)
    if task.latency is not None:
        least(networks, LATENCY, task.latency)  # so that a refusal rests on no prediction
    if not any(task.affords(network) for network in networks):
        raise BudgetError(_unreachable(task, networks))


def _unreachable(task: CompressionTask, networks: Sequence[Architecture]) -> str:
    budget, latency = task.budget, task.latency
    below = []
    for metric, bound in budget.bounds.items():
        smallest = least(networks, metric, latency)
        if smallest > bound:
            share = 100 * smallest / value_of(task.network, metric, latency)
            has = amount(metric, smallest).split()[0]
            below.append(
                f"the target of {amount(metric, bound)} is below the smallest reachable network, "
                f"which has {has} ({share:.2g} % of the input network's)"
            )
    if below:
        return f"{'; '.join(below)}; {len(networks)} small networks of the space were tried"
    near = min(networks, key=lambda network: budget.share_used(network, latency))
    values = {m: value_of(near, m, latency) for m in budget.bounds}
    return (
        f"each bound can be met, but none of {len(networks)} small networks of the space is within "
        f"{in_words(budget.bounds)} at once: the nearest has {in_words(values)}"
    )


@dataclass(frozen=True)
class Reach:
    """What can be reached by one metric.

    Attributes:
        metric: One of `METRICS`.
        own: The input network's value.
        least: The least that was found in the space.
    """

    metric: str
    own: float
    least: float

    def at(self, share: float) -> float:
        """Return the bound that a share of the input network's value is."""
        value = share * self.own
        return value if self.metric == LATENCY else int(value)


def reach(network: Architecture, space: Space, latency: Latency | None = None) -> list[Reach]:
    """Return what a search around ``network`` can reach by every metric; nothing is trained.

    Args:
        network: The input network.
        space: Where networks are sampled from.
        latency: Tells milliseconds; without it that metric is left out.
    """
    networks = small_networks(space)
    return [
        Reach(metric, value_of(network, metric, latency), least(networks, metric, latency))
        for metric in METRICS
        if metric != LATENCY or latency is not None
    ]
