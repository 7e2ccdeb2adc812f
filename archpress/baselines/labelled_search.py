"""What searches of labels share: asking for labels, a few at a time, within the task's number."""

from collections.abc import Callable, Iterable

import torch

from archpress.architectures.architecture import Architecture
from archpress.compression.admission import filled
from archpress.compression.contest import finalists
from archpress.compression.drawing import changes_of, drawn_within
from archpress.compression.finishing import finish
from archpress.compression.result import CompressionResult, spent_on_labels
from archpress.compression.searched import Searched
from archpress.compression.selection import merit
from archpress.compression.task import CompressionTask, Resources
from archpress.evaluation.record import Label
from archpress.evaluation.sweep import evaluate

BATCH = 8
"""Networks labelled at once: the same on every machine, so that the search is the same."""
TRIES = 5
"""How many times as many changes are drawn as are wanted, since some were labelled before."""


class Asked:
    """The labels that a search has asked for, in order; it has no others.

    Args:
        task: Gives recipe, budget and number of labels.
        resources: Where labels are looked up, made and kept.
        generator: Draws networks.
    """

    def __init__(
        self, task: CompressionTask, resources: Resources, generator: torch.Generator
    ) -> None:
        self.task, self.resources, self.generator = task, resources, generator
        self.labels: dict[Architecture, Label] = {}

    @property
    def left(self) -> int:
        """How many labels may still be asked for."""
        return self.task.labels - len(self.labels)

    def label(self, networks: Iterable[Architecture]) -> list[Label]:
        """Return the labels of distinct networks, of as many as are left."""
        wanted = list(networks)[: self.left]
        found = evaluate(
            wanted, self.task.label_recipe, self.resources.archive, self.resources.executor
        ).labels
        self.labels |= dict(zip(wanted, found, strict=True))
        self.resources.progress("labels", len(self.labels), self.task.labels)
        return list(found)

    def drawn(self, count: int) -> list[Architecture]:
        """Return random networks within the budget that have no label."""
        return drawn_within(
            self.task, min(count, self.left), self.generator, self.labels.__contains__
        )

    def changed(self, network: Architecture, count: int) -> list[Architecture]:
        """Return small changes of a network, fitted to the budget, that have no label."""

        def admit(candidate: Architecture) -> Architecture | None:
            fitted = filled(candidate, self.task)
            return None if fitted in self.labels else fitted

        return changes_of(network, self.task, admit, self.generator, TRIES * count)[:count]

    def worth(self, label: Label) -> float:
        """Return what selection maximises."""
        return merit(label, self.task)


Search = Callable[[Asked], None]


def searched(
    task: CompressionTask, resources: Resources, search: Search, seed_offset: int
) -> Searched:
    """Return what a search of labels hands on; the labels are all that it has asked for."""
    asked = Asked(task, resources, torch.Generator().manual_seed(task.seed + seed_offset))
    search(asked)
    digests = frozenset(network.digest for network in asked.labels)
    return Searched(finalists(asked.labels.values(), task, resources, None), digests)


def compressed(
    name: str, origin: str, found: Searched, task: CompressionTask, resources: Resources
) -> CompressionResult:
    """Return the result of a search, its finalists trained as every method's."""
    base, chosen = finish(task, found.finalists, resources)
    count, epochs = spent_on_labels(resources.archive, task, found.labelled)
    return CompressionResult(name, base, chosen, origin, count, epochs, resources.folder)
