"""Section 5.3: how often the patterns that the paper observes occur in what is decoded."""

from collections.abc import Callable, Sequence
from itertools import pairwise
from typing import Any

from archpress.architectures.activations import Activation, Dropout, ReLU
from archpress.architectures.architecture import Architecture
from archpress.architectures.layers import BatchNorm, Convolution, Layer, Pool
from archpress.architectures.simplification import simplify
from archpress.embedding.tokens import why_inexpressible
from archpress.optional import require
from archpress.reproduction.bench import Bench, Outcome
from archpress.reproduction.drawing import BLUE, ORANGE, drawn
from archpress.reproduction.paper_run import PaperRun
from archpress.reproduction.rows import markdown

STARTS = 20
"""Descents: from the input network, and from the networks with the best labels."""


def follows(first: type[Layer], second: type[Layer]) -> Callable[[Architecture], bool]:
    """Return whether a layer of one kind follows one of another, anywhere in a network."""
    return lambda network: any(
        isinstance(one, first) and isinstance(other, second)
        for one, other in pairwise(network.layers)
    )


def _normalised_first(network: Architecture) -> bool:
    for layer in network.layers:
        if isinstance(layer, Convolution):
            return False
        if isinstance(layer, BatchNorm):
            return True
    return False


def _pools_one(network: Architecture) -> bool:
    return any(isinstance(n, Pool) and n.kernel == 1 for n in network.layers)


MOTIFS: dict[str, Callable[[Architecture], bool]] = {
    "ReLU after ReLU": follows(ReLU, ReLU),
    "an activation after an activation": follows(Activation, Activation),
    "BatchNorm after BatchNorm": follows(BatchNorm, BatchNorm),
    "BatchNorm before the first convolution": _normalised_first,
    "a 1 x 1 pool": _pools_one,
    "Dropout": lambda network: any(isinstance(layer, Dropout) for layer in network.layers),
    "any idle layer": lambda network: len(simplify(network).layers) < len(network.layers),
}


def run(bench: Bench) -> Outcome:
    """Return the share of decodings with each pattern, beside that of random networks."""
    require("matplotlib", "figures")
    paper = PaperRun.of(bench)
    labels = [label for label in paper.labels() if not why_inexpressible(label.architecture)]
    labels.sort(key=lambda label: -(label.accuracy or 0.0))
    starts = [paper.start, *(label.architecture for label in labels)]
    starts = list(dict.fromkeys(starts))[:STARTS]
    decoded: dict[Architecture, None] = {}
    valid: set[Architecture] = set()
    for start in starts:
        for network, rules in paper.walk(start).decoded[1:]:
            decoded.setdefault(network)
            if not rules:
                valid.add(network)
    groups = {"decodings": list(decoded), "random networks": paper.population()}
    shares = {name: shares_of(networks) for name, networks in groups.items()}
    rows = [[motif, *(f"{100 * shares[name][motif]:.1f} %" for name in groups)] for motif in MOTIFS]
    head = ["pattern", *(f"{name} ({len(each)})" for name, each in groups.items())]
    facts: dict[str, Any] = {
        "starts": len(starts), "distinct_decodings": len(decoded), "valid_decodings": len(valid),
        "shares": shares,
    }  # fmt: skip
    text = (
        markdown(head, rows)
        + f"\nNetworks with the pattern. {len(starts)} descents, {len(decoded)} distinct decodings"
        + f" made to build; {len(valid)} were valid as decoded.\n"
    )
    return Outcome(facts, text, {"motifs": drawn(lambda _, axes: _draw(axes[0], shares))})


def shares_of(networks: Sequence[Architecture]) -> dict[str, float]:
    """Return the share of networks with each pattern; 0 of none."""
    count = max(1, len(networks))
    return {motif: sum(map(has, networks)) / count for motif, has in MOTIFS.items()}


def _draw(axis: Any, shares: dict[str, dict[str, float]]) -> None:
    for number, (name, colour) in enumerate(zip(shares, (BLUE, ORANGE), strict=True)):
        places = [place + 0.4 * number for place in range(len(MOTIFS))]
        axis.barh(places, [100 * v for v in shares[name].values()], 0.4, color=colour, label=name)
    axis.set_yticks([place + 0.2 for place in range(len(MOTIFS))], list(MOTIFS))
    axis.invert_yaxis()
    axis.set(xlabel="networks with the pattern, %", xlim=(0, 100))
    axis.legend(frameon=False)
