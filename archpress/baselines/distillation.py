"""Distillation: the thinned input network learns from the trained one (Hinton et al. 2015)."""

from dataclasses import replace

from archpress.architectures.architecture import Architecture
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
    origin = "uniform thinning, taught by the input network"
    return taught("distillation", origin, thinned("distillation", task), task, resources)


def thinned(name: str, task: CompressionTask) -> Architecture:
    """Return the input network thinned to the budget, as a student.

    Raises:
        BudgetError: There is no budget, or width 1 everywhere exceeds it.
    """
    if not task.budget.bounds:
        raise BudgetError(f"{name} needs a budget, of parameters or anything else")
    return width_scaling.measured(task)


def taught(
    name: str,
    origin: str,
    student: Architecture,
    task: CompressionTask,
    resources: Resources,
    hint_epochs: int = 0,
) -> CompressionResult:
    """Return a student, taught by the trained input network with or without hints.

    Args:
        name: Of the method.
        origin: Where the student comes from, in words.
        student: The network to teach.
        task: Gives the teacher, the final recipe and the data.
        resources: Archive, executor and run folder.
        hint_epochs: Epochs with hints before the others; of all seeds, they are the result's
            ``label_epochs``.
    """
    if hint_epochs:
        guided_and_hint(student, task.network)  # refused before anything is trained
    own = train_input(task, resources)
    lessons = replace(task, distillation=task.distillation or WEIGHT, hint_epochs=hint_epochs)
    teacher = teacher_of(task, own, resources)
    (label,) = train_finally([student], lessons, resources, teacher)
    base, chosen = tested(task, own, label, resources)
    epochs = hint_epochs * task.final_recipe.seeds
    return CompressionResult(name, base, chosen, origin, 0, epochs, resources.folder)
