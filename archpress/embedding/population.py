"""Architectures without labels, as many as wanted and never the same twice."""

from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import Future, ProcessPoolExecutor
from dataclasses import dataclass
from itertools import count
from multiprocessing import get_context

import torch
from torch import Tensor

from archpress.architectures.architecture import Architecture
from archpress.architectures.references import conv7, conv10, digits_cnn
from archpress.architectures.spaces import (
    BlocksSpace,
    Limits,
    NeighbourhoodSpace,
    PaperSpace,
    Space,
)
from archpress.embedding.grammar import Read, read
from archpress.embedding.vocabulary import NOTHING, TYPE, to_categories, why_inexpressible
from archpress.errors import BudgetError
from archpress.training.machine import one_thread

TASKS = (((1, 28, 28), 10), ((3, 32, 32), 10), ((3, 32, 32), 100), ((1, 8, 8), 10))
"""Input shapes and classes that networks are drawn for."""

LIMITS = Limits(500, 5_000_000, 500_000_000)
SHARES = {"blocks": 0.55, "neighbourhood": 0.4, "paper": 0.05}
"""How often pretraining draws from which space."""

ORIGINS = (conv7(), conv10(), digits_cnn())
REFERENCE_SHARE = 0.3
PATIENCE = 50
CHUNK = 512
AHEAD = 6


@dataclass(frozen=True)
class Drawn:
    """Networks and their tasks: categories ``[B, T, F]``, inputs ``[B, 3]``, classes ``[B]``."""

    categories: Tensor
    input_shapes: Tensor
    classes: Tensor

    @classmethod
    def of(cls, architectures: Sequence[Architecture]) -> "Drawn":
        """Return the tensors of architectures."""
        return cls(
            to_categories(architectures),
            torch.tensor([a.input_shape for a in architectures]),
            torch.tensor([a.classes for a in architectures]),
        )

    @classmethod
    def of_all(cls, parts: "Sequence[Drawn]") -> "Drawn":
        """Return the networks of all parts, one after the other."""
        return cls(
            torch.cat([part.categories for part in parts]),
            torch.cat([part.input_shapes for part in parts]),
            torch.cat([part.classes for part in parts]),
        )

    def __getitem__(self, part: slice | Tensor) -> "Drawn":
        return Drawn(self.categories[part], self.input_shapes[part], self.classes[part])

    def read(self) -> Read:
        """Return what can be learned from the networks."""
        return read(self.categories, self.input_shapes, self.classes)


def draw(name: str, generator: torch.Generator) -> Architecture:
    """Return one network of ``blocks``, ``paper`` or a ``neighbourhood``, for one of `TASKS`.

    Neighbourhoods are those of the reference networks, for their own task, and of networks of
    ``blocks``.
    """
    shape, classes = TASKS[int(torch.randint(len(TASKS), (), generator=generator))]
    while True:
        space: Space = BlocksSpace(shape, classes, LIMITS)
        if name == "paper":
            space = PaperSpace(shape, classes, LIMITS)
        elif name == "neighbourhood":
            origin = _origin(space, generator)
            space = NeighbourhoodSpace(origin.input_shape, origin.classes, LIMITS, origin=origin)
        try:
            (network,) = space.sample(1, generator, patience=PATIENCE).architectures
        except BudgetError:  # a neighbourhood may have nothing within the limits
            continue
        if not why_inexpressible(network):
            return network


def _origin(space: Space, generator: torch.Generator) -> Architecture:
    if float(torch.rand((), generator=generator)) < REFERENCE_SHARE:
        return ORIGINS[int(torch.randint(len(ORIGINS), (), generator=generator))]
    return space.sample(1, generator).architectures[0]


def drawn_from(shares: Mapping[str, float], size: int, generator: torch.Generator) -> Drawn:
    """Return ``size`` networks of spaces drawn by their shares."""
    names, weights = list(shares), torch.tensor(list(shares.values()))
    order = torch.multinomial(weights, size, replacement=True, generator=generator).tolist()
    return Drawn.of([draw(names[index], generator) for index in order])


@one_thread()
def chunk(number: int, size: int = CHUNK) -> Drawn:
    """Return the networks that pretraining sees as its chunk of that number, shortest first."""
    drawn = drawn_from(SHARES, size, torch.Generator().manual_seed(1_000_003 * number))
    return drawn[(drawn.categories[..., TYPE] != NOTHING).sum(1).argsort()]


def chunks(first: int, size: int = CHUNK) -> Iterator[Drawn]:
    """Yield chunk after chunk from number ``first``, drawn ahead by another process."""
    with ProcessPoolExecutor(1, mp_context=get_context("spawn")) as pool:
        waiting: list[Future[Drawn]] = []
        for number in count(first):
            waiting.append(pool.submit(chunk, number, size))
            if len(waiting) > AHEAD:
                yield waiting.pop(0).result()
