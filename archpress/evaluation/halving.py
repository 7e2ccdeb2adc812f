"""Successive halving: many networks by a cheap recipe, the better ones by dearer recipes."""

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from archpress.architectures.architecture import Architecture
from archpress.errors import SettingsError
from archpress.evaluation.archive import Archive
from archpress.evaluation.executors import Executor
from archpress.evaluation.record import Evaluation, Label
from archpress.evaluation.runs import OnProgress
from archpress.evaluation.spending import Ledger
from archpress.evaluation.sweep import evaluate
from archpress.training.recipe import TrainingRecipe

ROUNDING = 1e-9  # 0.07 * 100 is a little above 7
Ranking = Callable[[Sequence[Label]], list[Label]]
"""Orders labels that have an accuracy, the best first."""


@dataclass(frozen=True)
class Rung:
    """One fidelity.

    Attributes:
        recipe: How its networks were trained.
        labels: Of all networks that came so far, in the order given; values of different rungs are
            labels of different fidelities, never mixed.
    """

    recipe: TrainingRecipe
    labels: tuple[Label, ...]


@dataclass(frozen=True)
class Halving:
    """The rungs, cheapest first, and the runs that were made now."""

    rungs: tuple[Rung, ...]
    trained: tuple[Evaluation, ...]

    @property
    def ledger(self) -> Ledger:
        """What this call has spent."""
        return Ledger.of(self.trained)


def by_accuracy(labels: Sequence[Label]) -> list[Label]:
    """Return the labels by accuracy, equal ones by size."""
    return sorted(labels, key=lambda label: (-(label.accuracy or 0), label.parameters))


def by_front(labels: Sequence[Label]) -> list[Label]:
    """Return the labels front after front: first those that no smaller network surpasses.

    Within a front they come by size, thinned evenly if only some of a front are taken: small
    networks live as long as large ones.
    """
    rest = list(labels)
    ordered: list[Label] = []
    while rest:
        front: list[Label] = []
        best = -1.0
        for label in sorted(rest, key=lambda label: (label.parameters, -(label.accuracy or 0))):
            if (label.accuracy or 0) > best:
                front.append(label)
                best = label.accuracy or 0
        ordered += _spread(front)
        taken = {id(label) for label in front}
        rest = [label for label in rest if id(label) not in taken]
    return ordered


def _spread(front: Sequence[Label]) -> list[Label]:
    """Return a front, its best network first, so ordered that every head of it is spread."""
    if len(front) < 3:
        return list(reversed(front))
    order, chosen = [len(front) - 1, 0], {0, len(front) - 1}
    while len(order) < len(front):
        far = max(
            (i for i in range(len(front)) if i not in chosen),
            key=lambda i: min(abs(i - j) for j in chosen),
        )
        order.append(far)
        chosen.add(far)
    return [front[i] for i in order]


def _ranked(labels: Sequence[Label], ranking: Ranking) -> list[Label]:
    """Return labels with an accuracy, those that nothing was learned for last."""
    alive = [x for x in labels if any(run.status == "ok" for run in x.evaluations)]
    taken = {id(label) for label in alive}
    dead = [x for x in labels if x.accuracy is not None and id(x) not in taken]
    return [*ranking(alive), *ranking(dead)]


def successive_halving(
    architectures: Sequence[Architecture],
    recipes: Sequence[TrainingRecipe],
    archive: Archive,
    executor: Executor,
    *,
    keep: float = 1 / 3,
    ranking: Ranking = by_front,
    on_progress: OnProgress = lambda done, total: None,
) -> Halving:
    """Return labels by all recipes: of all networks by the first, of the best by the next ones.

    Args:
        architectures: What to label.
        recipes: The rungs, cheapest first; each a complete schedule of its own.
        archive: Where runs are looked up and stored.
        executor: Where runs are made.
        keep: Share of a rung's networks that goes on to the next; at least one does.
        ranking: Which are the best.
        on_progress: Told the units of work done and in all, anew for each rung.

    Raises:
        SettingsError: ``keep`` is not a share, or there is no recipe.
    """
    if not 0 < keep <= 1 or not recipes:
        raise SettingsError(
            f"expected recipes and a share to keep above 0 and at most 1, received {len(recipes)} "
            f"recipes and {keep}"
        )
    rungs: list[Rung] = []
    trained: list[Evaluation] = []
    networks = list(dict.fromkeys(architectures))
    with archive.writing():
        for recipe in recipes:
            sweep = evaluate(networks, recipe, archive, executor, on_progress=on_progress)
            trained += sweep.trained
            rungs.append(Rung(recipe, sweep.labels))
            count = max(1, math.ceil(keep * len(networks) - ROUNDING))
            kept = {label.architecture for label in _ranked(sweep.labels, ranking)[:count]}
            networks = [network for network in networks if network in kept]
            if not networks:
                break
    return Halving(tuple(rungs), tuple(trained))
