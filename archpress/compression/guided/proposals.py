"""Networks proposed for a label: by descent, by small changes, at random; and a batch of them."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

import torch

from archpress.architectures.architecture import Architecture
from archpress.architectures.simplification import simplify
from archpress.architectures.spaces import NeighbourhoodSpace
from archpress.compression.budget import narrowed, sample_within
from archpress.compression.guided.descent import Admit, Descent, Judge
from archpress.compression.task import CompressionTask
from archpress.errors import BudgetError

Source = Literal["start", "gradient", "mutation", "random"]
EDITS = 2
CHANGED = 12
"""How many changes of a network are drawn."""
PATIENCE = 300
CHUNK, BARREN = 160, 20
"""Networks drawn at once, and how often nothing new may come of it."""

Taken = Callable[[Architecture], bool]


@dataclass(frozen=True)
class Proposal:
    """A network for a label, and where it came from.

    Attributes:
        network: The network, in canonical form.
        source: What proposed it.
        origin: Digest of the network it was made from, labelled or the input network; empty where
            it was drawn.
        value: What the judge says of it: a lower bound on what it is worth.
        step: Steps of the descent taken to it; 0 where it is the origin, fitted to the budget.
    """

    network: Architecture
    source: Source
    origin: str = ""
    value: float = 0.0
    step: int = 0

    def to_json(self) -> dict[str, Any]:
        """Return the proposal as JSON values, the network's digest and cost with it."""
        cost = self.network.cost
        return {
            "source": self.source,
            "origin": self.origin,
            "value": self.value,
            "step": self.step,
            "architecture": self.network.digest,
            "parameters": cost.parameters,
            "macs": cost.macs,
            "network": self.network.to_json(),
        }

    @classmethod
    def from_json(cls, record: dict[str, Any]) -> "Proposal":
        """Return the proposal of :meth:`to_json`."""
        names = ("source", "origin", "value", "step")
        network = Architecture.from_json(record["network"])
        return cls(network, **{name: record[name] for name in names})

    @property
    def in_words(self) -> str:
        """Where the network came from, for people."""
        thinned = "the input network, thinned to the budget"
        return {
            "start": thinned if self.origin else "the stratified start",
            "gradient": f"descent from network {self.origin}, step {self.step}",
            "mutation": f"small changes of network {self.origin}",
            "random": "random draw within the budget",
        }[self.source]


def by_descent(descent: Descent, starts: Mapping[Architecture, str]) -> list[Proposal]:
    """Return the starts of a descent and all that it came upon.

    Args:
        descent: The descent.
        starts: Where it began -> digest of the network that was fitted to the budget for it.
    """
    origins = list(starts.values())
    fitted = zip(starts.items(), descent.first, strict=True)
    return [
        *(Proposal(network, "gradient", origin, float(v)) for (network, origin), v in fitted),
        *(
            Proposal(visit.network, "gradient", origins[visit.start], visit.value, visit.step)
            for visit in descent.visits
        ),
    ]


def by_mutation(
    starts: Mapping[Architecture, str],
    task: CompressionTask,
    judge: Judge,
    admit: Admit,
    generator: torch.Generator,
) -> list[Proposal]:
    """Return what up to two edits and changed widths make of networks, fitted to the budget.

    Origins are as for `by_descent`.
    """
    made: dict[Architecture, str] = {}
    limits = narrowed(task.space, task.budget).limits
    for start, origin in starts.items():
        space = NeighbourhoodSpace(
            task.network.input_shape, task.network.classes, limits,
            origin=start, edits=EDITS,
        )  # fmt: skip
        for drawn in _drawn(space, generator):
            network = admit(simplify(drawn))
            if network is not None:
                made.setdefault(network, origin)
    values = judge(list(made))
    return [
        Proposal(network, "mutation", origin, float(value))
        for (network, origin), value in zip(made.items(), values, strict=True)
    ]


def _drawn(space: NeighbourhoodSpace, generator: torch.Generator) -> Iterator[Architecture]:
    for _ in range(CHANGED):
        try:
            yield from space.sample(1, generator, PATIENCE).architectures
        except BudgetError:
            return


def drawn_within(
    task: CompressionTask,
    count: int,
    generator: torch.Generator,
    taken: Taken = lambda network: False,
) -> list[Architecture]:
    """Return up to ``count`` distinct random networks within the budget, in canonical form.

    Sizes are as the space stratifies them; fewer where the space gives no more that are not
    ``taken``.
    """
    found: dict[Architecture, None] = {}
    barren, chunk = 0, max(1, min(count, CHUNK))
    while len(found) < count and barren < BARREN and chunk:
        wanted = min(chunk, count - len(found))
        try:
            drawn = sample_within(task.space, task.budget, wanted, generator, task.latency)
        except BudgetError:
            chunk //= 4
            continue
        before = len(found)
        found |= dict.fromkeys(n for n in map(simplify, drawn) if not taken(n))
        barren = barren + 1 if len(found) == before else 0
    return list(found)


def choose(proposals: Sequence[Proposal], count: int, taken: Taken) -> list[Proposal]:
    """Return the ``count`` most valued proposals that are not ``taken``.

    No two differ in widths alone while others are left: such labels say nearly the same.
    """
    ranked = sorted(proposals, key=lambda p: (-p.value, p.network.digest))
    ranked = [proposal for proposal in ranked if not taken(proposal.network)]
    first: dict[tuple[object, ...], Proposal] = {}
    for proposal in ranked:
        first.setdefault(_without_widths(proposal.network), proposal)
    chosen = list(first.values())
    kept = set(chosen)
    return [*chosen, *(proposal for proposal in ranked if proposal not in kept)][:count]


def _without_widths(network: Architecture) -> tuple[object, ...]:
    return tuple((*row[:2], *row[3:]) for row in network.rows())
