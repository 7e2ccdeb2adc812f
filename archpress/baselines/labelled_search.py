"""What searches of labels share: asking for labels, a few at a time, within the task's number."""

from collections.abc import Callable, Iterable

import numpy as np
import torch

from archpress.architectures.architecture import Architecture
from archpress.compression.admission import filled
from archpress.compression.contest import held
from archpress.compression.drawing import changes_of, drawn_within
from archpress.compression.finishing import finish
from archpress.compression.result import CompressionResult
from archpress.compression.searched import Searched
from archpress.compression.selection import merit
from archpress.compression.task import CompressionTask, Resources
from archpress.evaluation.record import Label
from archpress.evaluation.sweep import evaluate
from archpress.prediction.predictor import FEWEST_LABELS
from archpress.prediction.surrogate import Surrogate
from archpress.training.machine import one_thread

BATCH = 8
"""Networks labelled at once: the same on every machine, so that the search is the same."""
TRIES = 5
"""How many times as many changes are drawn as are wanted, since some were labelled before."""
JUDGED = 20
"""As many where regressors choose among them."""
PARTS = 100
"""In which the progress of a label is told."""
CAUTION = 0.5
"""Standard deviations below its mean that a prediction counts, as in the guided search."""


class Asked:
    """The labels that a search has asked for, in order; it has no others.

    Args:
        task: Gives recipe, budget and number of labels.
        resources: Where labels are looked up, made and kept.
        generator: Draws networks.
        judging: Whether regressors of the labels so far choose which changes are labelled.
    """

    def __init__(
        self,
        task: CompressionTask,
        resources: Resources,
        generator: torch.Generator,
        judging: bool = False,
    ) -> None:
        self.task, self.resources, self.generator = task, resources, generator
        self.labels: dict[Architecture, Label] = {}
        self._judging = judging
        self._surrogate: Surrogate | None = None

    @property
    def left(self) -> int:
        """How many labels may still be asked for."""
        return self.task.labels - len(self.labels)

    def label(self, networks: Iterable[Architecture]) -> list[Label]:
        """Return the labels of distinct networks, of as many as are left."""
        wanted = list(networks)[: self.left]
        before = len(self.labels)

        def tell(done: int, total: int) -> None:
            labelled = before + len(wanted) * done / max(total, 1)
            self.resources.progress("labels", round(PARTS * labelled), PARTS * self.task.labels)

        found = evaluate(
            wanted, self.task.label_recipe, self.resources.archive, self.resources.executor,
            on_progress=tell,
        ).labels  # fmt: skip
        self.labels |= dict(zip(wanted, found, strict=True))
        tell(1, 1)
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

        if (surrogate := self._judge()) is None:
            return changes_of(network, self.task, admit, self.generator, TRIES * count)[:count]
        made = changes_of(network, self.task, admit, self.generator, JUDGED * count)
        order = np.argsort(-surrogate.lower_bounds(made, CAUTION), kind="stable")
        return [made[place] for place in order[:count]]

    def _judge(self) -> Surrogate | None:
        """Return the regressors of all labels so far; None where they are too few, or not asked."""
        usable = [label for label in self.labels.values() if label.accuracy is not None]
        if not self._judging or len(usable) <= FEWEST_LABELS:
            return None
        if self._surrogate is None or self._surrogate.labels != len(usable):
            networks = [label.architecture for label in usable]
            accuracies = [label.accuracy or 0.0 for label in usable]
            with one_thread():
                self._surrogate = Surrogate.fit(networks, accuracies, self.task.seed)
        return self._surrogate

    def worth(self, label: Label) -> float:
        """Return what selection maximises."""
        return merit(label, self.task)


Search = Callable[[Asked], None]


def searched(
    task: CompressionTask,
    resources: Resources,
    search: Search,
    seed_offset: int,
    judging: bool = False,
) -> Searched:
    """Return what a search of labels hands on; the labels are all that it has asked for."""
    generator = torch.Generator().manual_seed(task.seed + seed_offset)
    asked = Asked(task, resources, generator, judging)
    search(asked)
    labels = list(asked.labels.values())
    return Searched(held(labels, task, resources, None), labels)


def compressed(
    name: str, origin: str, found: Searched, task: CompressionTask, resources: Resources
) -> CompressionResult:
    """Return the result of a search, its finalists trained as every method's."""
    base, chosen = finish(task, found.finalists, resources)
    return CompressionResult(name, base, chosen, origin, *found.spent(), resources.folder)
