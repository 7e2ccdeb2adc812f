"""Networks within the budget, drawn at random or made of others by small changes."""

from collections.abc import Callable

import torch

from archpress.architectures.architecture import Architecture
from archpress.architectures.simplification import simplify
from archpress.architectures.spaces import NeighbourhoodSpace
from archpress.compression.budget import narrowed, sample_within
from archpress.compression.task import CompressionTask
from archpress.errors import BudgetError

EDITS = 2
CHANGED = 12
"""How many changes of a network are drawn."""
PATIENCE = 300
CHUNK, BARREN = 160, 20
"""Networks drawn at once, and how often nothing new may come of it."""

Taken = Callable[[Architecture], bool]
Admit = Callable[[Architecture], Architecture | None]


def changes_of(
    network: Architecture,
    task: CompressionTask,
    admit: Admit,
    generator: torch.Generator,
    count: int = CHANGED,
) -> list[Architecture]:
    """Return what up to two edits and changed widths make of a network, in canonical form.

    Args:
        network: The network.
        task: Gives the space's limits and the budget.
        admit: Makes a changed network fit, or returns None.
        generator: Draws the changes.
        count: How many are drawn; fewer are returned where some are equal or not admitted.
    """
    space = NeighbourhoodSpace(
        task.network.input_shape, task.network.classes, narrowed(task.space, task.budget).limits,
        origin=network, edits=EDITS,
    )  # fmt: skip
    found: dict[Architecture, None] = {}
    for _ in range(count):
        try:
            (drawn,) = space.sample(1, generator, PATIENCE).architectures
        except BudgetError:
            break
        if (changed := admit(simplify(drawn))) is not None:
            found.setdefault(changed)
    return list(found)


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
