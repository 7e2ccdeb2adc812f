"""Distillation: the thinned input network learns from the trained one (Hinton et al. 2015)."""

from dataclasses import replace

from archpress.baselines import width_scaling
from archpress.compression.finishing import teacher_of, tested, train_finally, train_input
from archpress.compression.result import CompressionResult
from archpress.compression.task import CompressionTask, Resources
from archpress.errors import BudgetError
from archpress.training.hints import guided_and_hint

WEIGHT = 0.7
"""Share of the teacher's outputs in the loss, where the task names none."""


def compress(task: CompressionTask, resources: Resources) -> CompressionResult:
    """Return the thinned input network within the budget, taught; it labels nothing.

    Raises:
        BudgetError: There is no budget, or width 1 everywhere exceeds it.
    """
    return taught(
        "distillation", "uniform thinning, taught by the input network", 0, task, resources
    )


def taught(
    name: str, origin: str, hint_epochs: int, task: CompressionTask, resources: Resources
) -> CompressionResult:
    """Return the thinned input network, taught by the trained one with or without hints.

    Epochs with hints, of all seeds, are the result's ``label_epochs``.

    Raises:
        BudgetError: There is no budget, or width 1 everywhere exceeds it.
    """
    if not task.budget.bounds:
        raise BudgetError(f"{name} needs a budget, of parameters or anything else")
    student = width_scaling.measured(task)
    if hint_epochs:
        guided_and_hint(student, task.network)  # refused before anything is trained
    own = train_input(task, resources)
    lessons = replace(task, distillation=task.distillation or WEIGHT, hint_epochs=hint_epochs)
    teacher = teacher_of(task, own, resources)
    (label,) = train_finally([student], lessons, resources, teacher)
    base, chosen = tested(task, own, label, resources)
    epochs = hint_epochs * task.final_recipe.seeds
    return CompressionResult(name, base, chosen, origin, 0, epochs, resources.folder)
