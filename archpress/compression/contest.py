"""From many labels to the few networks that are trained finally: a longer training of the best."""

from collections.abc import Iterable
from dataclasses import dataclass, field, replace

from archpress.compression.selection import to_train_finally
from archpress.compression.task import CompressionTask, Resources
from archpress.evaluation.record import Label
from archpress.evaluation.sweep import evaluate


@dataclass(frozen=True)
class Contest:
    """How a contest ended.

    Attributes:
        finalists: What is to be trained finally, best first.
        labels: By the longer training; none where no contest was held.
    """

    finalists: list[Label]
    labels: list[Label] = field(default_factory=list)


def held(
    labels: Iterable[Label], task: CompressionTask, resources: Resources, reference: float | None
) -> Contest:
    """Return how the contest of the best labelled networks ends.

    The best ``task.contenders`` are trained by ``task.contest_recipe``, and the best of those stay.
    Short labels tell good networks from poor ones, but hardly the best from the good.

    Args:
        labels: Labelled networks.
        task: Gives the recipes, and how many stay.
        resources: Where labels are looked up, made and kept.
        reference: The input network's label; None where it has none.
    """
    if task.contenders <= task.finalists:
        return Contest(to_train_finally(labels, task, reference))
    wide = replace(task, finalists=task.contenders)
    networks = [label.architecture for label in to_train_finally(labels, wide, reference)]
    by_drop = task.max_accuracy_drop is not None and reference is not None
    again = evaluate(
        [*networks, *[task.network] * by_drop], task.contest_recipe, resources.archive,
        resources.executor, on_progress=resources.reporter("contest"),
    ).labels  # fmt: skip
    own = again[-1].accuracy if by_drop else None
    return Contest(to_train_finally(again[: len(networks)], task, own), list(again))
