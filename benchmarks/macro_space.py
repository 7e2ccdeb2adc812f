"""NAS-Bench-Macro as a space to search in, and a network to be found in it by few labels."""

import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import cache, cached_property
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from published_tables import INVERTED, nas_bench_macro
from torch import Tensor

from archpress.architectures.architecture import Architecture
from archpress.embedding.pretrained import shipped
from archpress.embedding.readout import Readout, encode, fit_readout
from archpress.prediction.description import Description, describe

TABLE = "nas-bench-macro_cifar10.json"
DIGITS = ("0", *INVERTED)
Places = NDArray[np.int64]
Values = NDArray[np.float64]


@dataclass(frozen=True, eq=False)
class Space:
    """The distinct networks of the table, with all that is known of them without a label.

    Attributes:
        keys: Of each network, the first that means it; ``B`` of them.
        place: Any key -> number of its network.
        networks: The networks.
        accuracies: By seed, ``[B, 3]``.
        described: As regressors read them.
        embeddings: ``[B, D]``.
        readout: Features from embeddings, fitted to all of them.
    """

    keys: Sequence[str]
    place: Mapping[str, int]
    networks: Sequence[Architecture]
    accuracies: Values
    described: Description
    embeddings: Tensor
    readout: Readout

    @classmethod
    def read(cls, folder: Path) -> "Space":
        """Return the table in a folder."""
        table = nas_bench_macro(folder)
        keys = list(json.loads((folder / TABLE).read_text(encoding="utf-8")))
        first: dict[Architecture, int] = {}
        for row, network in enumerate(table.networks):
            first.setdefault(network, row)
        number = {network: place for place, network in enumerate(first)}
        place = {k: number[n] for k, n in zip(keys, table.networks, strict=True)}
        rows, networks = [*first.values()], list(first)
        return cls(
            [keys[row] for row in rows], place, networks, table.accuracies[rows],
            describe(networks), encode(shipped(), networks), fit_readout(shipped(), networks),
        )  # fmt: skip

    @cached_property
    def number(self) -> Mapping[Architecture, int]:
        """Network -> its number."""
        return {network: place for place, network in enumerate(self.networks)}

    @cached_property
    def truth(self) -> Values:
        """The mean over seeds, ``[B]``."""
        mean: Values = self.accuracies.mean(1)
        return mean

    @cached_property
    def parameters(self) -> Places:
        """Counts of parameters, ``[B]``."""
        return np.array([network.cost.parameters for network in self.networks])

    def neighbours(self, place: int) -> list[int]:
        """Return the networks of keys that differ in one digit."""
        key = self.keys[place]
        found = (key[:i] + digit + key[i + 1 :] for i in range(len(key)) for digit in DIGITS)
        return [self.place[other] for other in found if self.place.get(other, place) != place]


@dataclass(frozen=True, eq=False)
class Problem:
    """The best network within a budget is wanted, by few labels.

    Attributes:
        space: The table.
        labels: How many may be asked.
        ratio: See `RATIOS`.
        repeat: Decides the seed that labels are of, and all that is random.
    """

    space: Space
    labels: int
    ratio: float
    repeat: int

    @cached_property
    def bound(self) -> int:
        """Parameters a network may have."""
        return int(self.space.parameters.max() / self.ratio)

    @cached_property
    def within(self) -> Places:
        """The networks within the budget."""
        return np.flatnonzero(self.space.parameters <= self.bound)

    @cached_property
    def order(self) -> list[int]:
        """The networks within the budget in random order."""
        return [int(x) for x in np.random.default_rng(self.repeat).permutation(self.within)]

    @cached_property
    def signal(self) -> Values:
        """What labels say, ``[B]``."""
        return self.space.accuracies[:, self.repeat % self.space.accuracies.shape[1]]

    def random(self, number: int) -> np.random.Generator:
        """Return the generator of a round."""
        return np.random.default_rng([self.repeat, number])

    def admitting(self, known: Sequence[int]) -> Callable[[Architecture], Architecture]:
        """Return what maps networks to members; those ``known`` have a label."""
        inside, space = np.setdiff1d(self.within, known), self.space
        allowed, places = set(inside.tolist()), space.embeddings[inside]

        @cache
        def admit(network: Architecture) -> Architecture:
            number = space.number.get(network)
            if number in allowed:
                return network
            y = encode(shipped(), [network]) if number is None else space.embeddings[[number]]
            nearest = int(torch.cdist(y, places).argmin())
            return space.networks[int(inside[nearest])]

        return admit
