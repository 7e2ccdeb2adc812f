"""Learning from a trained network's outputs beside the labels (Hinton, Vinyals and Dean 2015)."""

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING
from weakref import WeakKeyDictionary

import torch
import torch.nn.functional as F
from torch import Tensor

from archpress.architectures.architecture import Architecture
from archpress.architectures.building import Network, build
from archpress.datasets.dataset import DataSet
from archpress.training.acceleration import Operation, for_inference
from archpress.training.augmentation import rescaling
from archpress.training.recipe import Distillation, TrainingRecipe
from archpress.training.steps import reproducible_cudnn
from archpress.training.weights import digest_of

if TYPE_CHECKING:
    from archpress.training.training import Part

BATCH = 500


@dataclass(frozen=True, eq=False)
class Teacher:
    """A trained network that others learn from.

    Attributes:
        architecture: What it is.
        weights: A state dict of ``build(architecture)``.
        scaling: Mean and standard deviation ``[C]`` that it expects of pixels in [0, 1].
    """

    architecture: Architecture
    weights: Mapping[str, Tensor]
    scaling: tuple[Tensor, Tensor]

    @cached_property
    def digest(self) -> str:
        """16 hex digits over network, weights and scaling."""
        mean, deviation = self.scaling
        tensors = {**self.weights, "": mean, " ": deviation}
        return digest_of(tensors, self.architecture.digest)

    def network(self, device: torch.device) -> Network:
        """Return the network with its weights, in evaluation mode."""
        network = build(self.architecture)
        network.load_state_dict(self.weights)
        return network.to(device, memory_format=torch.channels_last).eval()  # type: ignore[call-overload,no-any-return]

    def rescaling(self, scaling: tuple[Tensor, Tensor], device: torch.device) -> Operation:
        """Return what makes of images that ``scaling`` normalised what the teacher expects."""
        return rescaling(scaling, self.scaling, device)

    def forward(self, scaling: tuple[Tensor, Tensor], device: torch.device) -> Operation:
        """Return what makes logits, in float32, of images that ``scaling`` normalised."""
        run, rescaled = for_inference(self.network(device)), self.rescaling(scaling, device)

        def forward(images: Tensor) -> Tensor:
            with torch.no_grad():
                return run(rescaled(images))

        return forward


class Lessons:
    """A teacher's logits for the batches of a training.

    Where images are never augmented all logits are computed once, and kept for the trainings of the
    same process that follow.

    Args:
        teacher: Whom to ask.
        recipe: Says how images are augmented.
        data: What the images are of.
        part: Makes the batches.
    """

    def __init__(
        self, teacher: Teacher, recipe: TrainingRecipe, data: DataSet, part: "Part"
    ) -> None:
        self._known: Tensor | None = None
        self._forward: Operation | None = None
        if recipe.flip or recipe.crop_padding:
            self._forward = teacher.forward(part.scaling, part.labels.device)
        else:
            self._known = _logits_of_all(teacher, recipe, data, part)

    def __call__(self, chosen: Tensor, images: Tensor) -> Tensor:
        """Return logits ``[B, K]`` for the numbers of images ``[B]``, and those as augmented."""
        if self._known is not None:
            return self._known[chosen]
        assert self._forward is not None
        return self._forward(images)


_LOGITS: "WeakKeyDictionary[DataSet, tuple[tuple[object, ...], Tensor]]" = WeakKeyDictionary()


def _logits_of_all(teacher: Teacher, recipe: TrainingRecipe, data: DataSet, part: "Part") -> Tensor:
    wanted = (teacher.digest, recipe.images, recipe.normalization)
    known = _LOGITS.get(data)
    if known is None or known[0] != wanted:
        forward = teacher.forward(part.scaling, part.labels.device)
        nothing_drawn = torch.Generator(part.labels.device)
        numbers = torch.arange(len(part.labels), device=part.labels.device)
        with reproducible_cudnn():
            logits = [forward(part.batch(chosen, nothing_drawn)) for chosen in numbers.split(BATCH)]
        known = _LOGITS[data] = (wanted, torch.cat(logits))
        if part.labels.is_cuda:  # other streams will read it
            torch.cuda.current_stream(part.labels.device).synchronize()
    return known[1]


def distillation_loss(logits: Tensor, taught: Tensor, labels: Tensor, by: Distillation) -> Tensor:
    """Return ``(1 - w) CE(labels) + w T^2 KL(softmax(taught / T) || softmax(logits / T))``.

    Args:
        logits: The student's, ``[B, K]``.
        taught: The teacher's, ``[B, K]``.
        labels: Class numbers ``[B]``.
        by: w and T.
    """
    heat = by.temperature
    soft = F.kl_div(
        F.log_softmax(logits / heat, 1), F.log_softmax(taught / heat, 1),
        reduction="batchmean", log_target=True,
    )  # fmt: skip
    return (1 - by.weight) * F.cross_entropy(logits, labels) + by.weight * heat**2 * soft
