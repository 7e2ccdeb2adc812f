"""Choice between networks: on validation accuracy, within the budget by exact count."""

from collections.abc import Iterable, Sequence

from archpress.architectures.architecture import Architecture
from archpress.compression.budget import in_words
from archpress.compression.task import CompressionTask
from archpress.errors import BudgetError, TrainingError
from archpress.evaluation.record import Label

ROUNDING = 1e-9


def worth(accuracy: float, network: Architecture, task: CompressionTask) -> float:
    """Return what selection maximises.

    Within a budget that is validation accuracy. Without one it is the negative objective of
    section 4.4 on measured values, ``-(|a - 1| + lambda p / p_input)``.
    """
    if task.budget.bounds:
        return accuracy
    share = network.cost.parameters / task.network.cost.parameters
    return accuracy - 1 - task.budget.weight * share


def merit(label: Label, task: CompressionTask) -> float:
    """Return what a label is worth; less than any where it has no accuracy."""
    return worth(-1.0 if label.accuracy is None else label.accuracy, label.architecture, task)


def best(labels: Iterable[Label], task: CompressionTask, count: int) -> list[Label]:
    """Return the ``count`` best distinct networks within the budget, best first.

    Networks without an accuracy are left out; ties go to fewer parameters, then to the digest.
    """
    distinct = {label.architecture.digest: label for label in labels}
    usable = [
        label
        for label in distinct.values()
        if label.accuracy is not None
        and label.architecture != task.network
        and task.affords(label.architecture)
    ]
    usable.sort(
        key=lambda label: (
            -merit(label, task), label.architecture.cost.parameters, label.architecture.digest
        )
    )  # fmt: skip
    return usable[:count]


def to_train_finally(
    labels: Iterable[Label], task: CompressionTask, reference: float | None
) -> list[Label]:
    """Return ``task.finalists`` labelled networks that get the final training, best first.

    Where latency is bounded each of them has been measured and is within the bound.

    Where the accuracy may drop by so much only, they are spread over the networks within the drop
    that no smaller one surpasses, from the smallest to the most accurate: short training may be
    unfair to either. Where those are too few, the most accurate others join.

    Args:
        labels: Labelled networks.
        task: Gives budget, drop and number of finalists.
        reference: The input network's accuracy by the same recipe; None where it has none.
    """
    labels = list(labels)
    chosen = _chosen_as_known(labels, task, reference)
    while task.latency is not None:
        for label in chosen:
            task.latency.measure(label.architecture)
        if all(task.affords(label.architecture) for label in chosen):
            break
        chosen = _chosen_as_known(labels, task, reference)
    return chosen


def _chosen_as_known(
    labels: Sequence[Label], task: CompressionTask, reference: float | None
) -> list[Label]:
    """Return what would be chosen by the latencies known now, measured and predicted."""
    ranked = best(labels, task, len(labels))
    if task.max_accuracy_drop is None or reference is None:
        return ranked[: task.finalists]
    front = front_of(within_drop(ranked, task, reference))
    chosen = _spread(front, task.finalists)
    others = [label for label in _by_accuracy(ranked) if label not in chosen]
    return [*chosen, *others][: task.finalists]


def choose(trained: Iterable[Label], task: CompressionTask, reference: float | None) -> Label:
    """Return the finalist that is the result.

    That is the best, or the smallest one within the accuracy drop where there is one.

    Args:
        trained: Labels by the final recipe.
        task: Gives budget and drop.
        reference: The input network's validation accuracy after the same training.

    Raises:
        BudgetError: No finalist is within the drop; names what stands against it.
        TrainingError: No finalist could be trained.
    """
    trained = list(trained)
    ranked = best(trained, task, len(trained))
    if not ranked:
        raise TrainingError("no finalist could be trained by the final recipe; see the archive")
    if task.max_accuracy_drop is None or reference is None:
        return ranked[0]
    within = within_drop(ranked, task, reference)
    if not within:
        raise BudgetError(_none_within(_by_accuracy(ranked)[0], task, reference))
    return min(within, key=_size)


def within_drop(labels: Iterable[Label], task: CompressionTask, reference: float) -> list[Label]:
    """Return the labels at most ``task.max_accuracy_drop`` below the reference."""
    least = reference - (task.max_accuracy_drop or 0.0) - ROUNDING
    return [label for label in labels if label.accuracy is not None and label.accuracy >= least]


def _none_within(nearest: Label, task: CompressionTask, reference: float) -> str:
    bounds = task.budget.bounds
    against = f" and within {in_words(bounds)}" if bounds else ""
    or_widen = "widen the bounds, " if bounds else ""
    return (
        f"no finalist is within {100 * (task.max_accuracy_drop or 0):.3g} points of the input "
        f"network's {100 * reference:.2f} % on validation{against}: the most accurate, of "
        f"{nearest.architecture.cost.parameters:,} parameters, has "
        f"{100 * (nearest.accuracy or 0):.2f} %; allow a larger drop, {or_widen}label more "
        f"networks or train more finalists"
    )


def front_of(labels: Iterable[Label]) -> list[Label]:
    """Return the labels that no network of the same size or smaller equals, smallest first."""
    front: list[Label] = []
    for label in sorted(labels, key=_size):
        if not front or (label.accuracy or 0.0) > (front[-1].accuracy or 0.0):
            front.append(label)
    return front


def _spread(front: Sequence[Label], count: int) -> list[Label]:
    """Return ``count`` of a front, evenly from the first to the last; all where they are fewer."""
    if len(front) <= count:
        return list(front)
    gaps = max(1, count - 1)
    return [front[round(place * (len(front) - 1) / gaps)] for place in range(count)]


def _by_accuracy(labels: Iterable[Label]) -> list[Label]:
    return sorted(labels, key=lambda label: (-(label.accuracy or 0.0), *_size(label)))


def _size(label: Label) -> tuple[int, float, str]:
    """Order by size; of equal ones the most accurate comes first, then the lower digest."""
    return label.parameters, -(label.accuracy or 0.0), label.architecture.digest
