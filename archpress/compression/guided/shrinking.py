"""How large the next networks may be where the smallest within an accuracy drop is wanted."""

from collections.abc import Sequence
from dataclasses import replace

from archpress.compression.selection import within_drop
from archpress.compression.task import CompressionTask
from archpress.evaluation.record import Label

FIRST_CUT = 0.6


def working_task(
    task: CompressionTask, labels: Sequence[Label], tried: Sequence[int], reference: float | None
) -> CompressionTask | None:
    """Return the task with a bound of parameters that brackets the smallest size within the drop.

    Below the smallest network within the drop found so far; half way, in logarithms, to the largest
    bound that gave none. Until there is one, the bound is what the task and its space allow. None
    where nothing smaller is left to look for. A task without a drop stays as it is.

    Args:
        task: What to compress.
        labels: All labels so far.
        tried: The bounds of the rounds so far.
        reference: The input network's label.
    """
    if task.max_accuracy_drop is None or reference is None:
        return task
    affordable = [label for label in labels if task.affords(label.architecture)]
    within = within_drop(affordable, task, reference)
    most = task.space.limits.max_parameters
    bound = most = min(most, task.budget.parameters or most)
    if within:
        smallest = min(label.parameters for label in within)
        in_vain = [size for size in tried if size < smallest]
        bound = round((smallest * max(in_vain)) ** 0.5) if in_vain else round(FIRST_CUT * smallest)
        bound = min(most, max(bound, task.space.smallest().cost.parameters))
        if bound >= smallest:
            return None
    return replace(task, budget=replace(task.budget, parameters=bound))
