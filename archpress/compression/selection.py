"""Choice between networks: on validation accuracy, within the budget by exact count."""

from collections.abc import Iterable

from archpress.compression.task import CompressionTask
from archpress.evaluation.record import Label


def merit(label: Label, task: CompressionTask) -> float:
    """Return what selection maximises.

    Within a budget that is validation accuracy. Without one it is the negative objective of
    section 4.4 on measured values, ``-(|a - 1| + lambda p / p_input)``.
    """
    accuracy = -1.0 if label.accuracy is None else label.accuracy
    if task.budget.bounds:
        return accuracy
    share = label.architecture.cost.parameters / task.network.cost.parameters
    return accuracy - 1 - task.budget.weight * share


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
