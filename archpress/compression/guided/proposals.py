"""Networks proposed for a label: by descent, by small changes, at random; and a batch of them."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

import torch

from archpress.architectures.architecture import Architecture
from archpress.compression.drawing import Admit, Taken, changes_of
from archpress.compression.guided.descent import Descent, Judge
from archpress.compression.task import CompressionTask

Source = Literal["start", "gradient", "mutation", "random"]


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
    for start, origin in starts.items():
        for network in changes_of(start, task, admit, generator):
            made.setdefault(network, origin)
    values = judge(list(made))
    return [
        Proposal(network, "mutation", origin, float(value))
        for (network, origin), value in zip(made.items(), values, strict=True)
    ]


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
