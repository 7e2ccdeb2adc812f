"""The first stage of FitNets: the lower half of a student learns to say what the teacher's does.

Romero et al., "FitNets: Hints for thin deep nets", 2015, section 2.2.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from archpress.architectures.activations import Activation
from archpress.architectures.architecture import Architecture
from archpress.architectures.building import Network
from archpress.architectures.layers import BatchNorm, Convolution
from archpress.architectures.segments import layer_prefixes
from archpress.errors import UnsupportedNetworkError
from archpress.training.distillation import Teacher
from archpress.training.recipe import TrainingRecipe
from archpress.training.steps import EagerSteps, Learning

if TYPE_CHECKING:
    from archpress.training.training import Part


def learn_hints(
    student: Network,
    architecture: Architecture,
    teacher: Teacher,
    recipe: TrainingRecipe,
    part: "Part",
    generator: torch.Generator,
) -> list[float]:
    """Train the student up to its guided layer, in place; return the loss of each epoch.

    A convolution of its own, which is then thrown away, makes the guided layer's output comparable
    with the teacher's hint; the loss is half the mean square of their difference.

    Args:
        student: What is trained, on its device.
        architecture: Of the student.
        teacher: Whose middle layer gives the hints.
        recipe: Its schedule is run through in ``distillation.hint_epochs``.
        part: Makes the batches.
        generator: Draws order and augmentation.
    """
    assert recipe.distillation is not None
    device = part.labels.device
    guided, hint = guided_and_hint(architecture, teacher.architecture)
    regressor = _regressor(architecture.shapes[guided + 1], teacher.architecture.shapes[hint + 1])
    regressor.to(device)
    hers, rescaled = teacher.network(device), teacher.rescaling(part.scaling, device)

    def loss_of(chosen: Tensor) -> Tensor:
        images = part.batch(chosen, generator)
        with _output(student, architecture, guided) as own:
            student(images)
        with torch.no_grad(), _output(hers, teacher.architecture, hint) as wanted:
            hers(rescaled(images))
        return F.mse_loss(regressor(own[0]), wanted[0]) / 2

    epochs = recipe.distillation.hint_epochs
    schedule = recipe.lasting(epochs)
    both = nn.ModuleList([student, regressor])
    steps = EagerSteps(Learning(both, loss_of, generator, schedule, part.steps))
    return [float(steps.run(part.order(generator)).mean()) for _ in range(epochs)]


def guided_and_hint(student: Architecture, teacher: Architecture) -> tuple[int, int]:
    """Return the layer that is guided, and the one that gives the hint.

    The hint is the middle convolution with what normalises and activates it; guided is the
    student's middle one, or the last before it whose maps are no smaller than the hint's.

    Raises:
        UnsupportedNetworkError: There is no such pair.
    """
    hints, own = units(teacher), units(student)
    if hints and own:
        hint = hints[(len(hints) - 1) // 2]
        sides = teacher.shapes[hint + 1][1:]
        for guided in own[(len(own) - 1) // 2 :: -1]:
            pairs = zip(student.shapes[guided + 1][1:], sides, strict=True)
            if all(side >= least for side, least in pairs):
                return guided, hint
    raise UnsupportedNetworkError(
        "hints need a convolution in both networks, and the student's maps no smaller than the "
        "teacher's in the middle"
    )


def units(network: Architecture) -> list[int]:
    """Return where each convolution ends, its normalisation and activation included."""
    ends = []
    for place, layer in enumerate(network.layers):
        if isinstance(layer, Convolution):
            ends.append(place)
        elif ends and ends[-1] == place - 1 and isinstance(layer, BatchNorm | Activation):
            ends[-1] = place
    return ends


def _regressor(own: tuple[int, ...], wanted: tuple[int, ...]) -> nn.Conv2d:
    height, width = (max(1, a - b + 1) for a, b in zip(own[1:], wanted[1:], strict=True))
    return nn.Conv2d(own[0], wanted[0], (height, width))


@contextmanager
def _output(network: Network, architecture: Architecture, layer: int) -> Iterator[list[Tensor]]:
    """Keep what a layer says in a list while the context lasts."""
    kept: list[Tensor] = []
    module = network.get_submodule(layer_prefixes(architecture)[layer].removesuffix("."))
    handle = module.register_forward_hook(lambda module, given, said: kept.append(said))
    try:
        yield kept
    finally:
        handle.remove()
