"""What makes the steps of a training: forward, backward, update, batch after batch."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Protocol

import torch
from torch import Tensor, nn

from archpress.training.recipe import TrainingRecipe

LossOf = Callable[[Tensor], Tensor]
"""Numbers of training images ``[B]`` in, the loss ``[]`` of their batch out."""


@dataclass(frozen=True)
class Learning:
    """What one training's steps need.

    Attributes:
        network: What is trained, on its device.
        loss_of: Loss of a batch; draws augmentation and dropout from ``generator``.
        generator: All randomness of the steps, on the network's device.
        recipe: The schedule.
        steps_per_epoch: What the schedule counts by.
    """

    network: nn.Module
    loss_of: LossOf
    generator: torch.Generator
    recipe: TrainingRecipe
    steps_per_epoch: int

    def rate(self, step: int) -> float:
        """Return the learning rate of ``step`` (from 0)."""
        return self.recipe.learning_rate_at(step, self.steps_per_epoch)


class Steps(Protocol):
    """Makes the training steps of one network, in order.

    Attributes:
        set_up_seconds: Wall time that was spent on anything but steps.
    """

    set_up_seconds: float

    def run(self, batches: Tensor) -> Tensor:
        """Make a step per row of ``batches``, numbers of images ``[S, B]``; return losses ``[S]``.

        Does not wait for the device; the losses are only valid until the next call.
        """


class EagerSteps:
    """Steps that are launched kernel by kernel.

    Args:
        learning: What to train.
    """

    def __init__(self, learning: Learning) -> None:
        self.set_up_seconds = 0.0
        self._learning = learning
        self._optimizer = torch.optim.AdamW(
            learning.network.parameters(), lr=learning.recipe.learning_rate,
            weight_decay=learning.recipe.weight_decay, fused=True,
        )  # fmt: skip
        self._done = 0

    def run(self, batches: Tensor) -> Tensor:
        losses = torch.empty(len(batches), device=batches.device)
        for chosen, slot in zip(batches, losses, strict=True):
            slot.copy_(self._step(chosen))
        return losses

    def _step(self, chosen: Tensor) -> Tensor:
        self._optimizer.param_groups[0]["lr"] = self._learning.rate(self._done)
        loss = self._learning.loss_of(chosen)
        self._optimizer.zero_grad(set_to_none=True)
        loss.backward()
        self._optimizer.step()
        self._done += 1
        return loss.detach()


MakeSteps = Callable[[Learning], Steps]


def steps_for_device(learning: Learning) -> Steps:
    """Return captured steps on a GPU, where launches are what takes time, and eager ones elsewhere.

    A device has one kind, so that a label does not depend on who trains it.
    """
    if learning.generator.device.type != "cuda":
        return EagerSteps(learning)
    from archpress.training.graphed_steps import GraphedSteps

    return GraphedSteps(learning)


@contextmanager
def reproducible_cudnn() -> Iterator[None]:
    """Let cuDNN take deterministic algorithms, and none by timing them; restores the settings."""
    cudnn = torch.backends.cudnn
    before = cudnn.deterministic, cudnn.benchmark
    cudnn.deterministic, cudnn.benchmark = True, False
    try:
        yield
    finally:
        cudnn.deterministic, cudnn.benchmark = before
