"""The training loop on tensors: data resident, no synchronisation within an epoch."""

import math
from collections.abc import Callable
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from archpress.architectures.architecture import Architecture
from archpress.architectures.building import Network, build
from archpress.evaluation.acceleration import Accelerated
from archpress.evaluation.augmentation import augment, input_scaling, normalise
from archpress.evaluation.datasets import DataSet
from archpress.evaluation.precision import Precision
from archpress.evaluation.recipe import TrainingRecipe

SUBSET_SEED = 20_181
CHANCE_SHARE = 0.98


@dataclass(frozen=True)
class Trained:
    """A network after training.

    Attributes:
        model: The module, in evaluation mode; takes normalised ``[N, C, H, W]`` images.
        losses: Mean training cross-entropy of each epoch, in nats; of the last one as far as it
            went.
        steps: Steps that were made.
        diverged: Whether a loss was not finite; training stopped there.
        at_chance: Whether training stopped because nothing was learned in the recipe's
            ``chance_steps``.
    """

    model: nn.Module
    losses: list[float]
    steps: int
    diverged: bool
    at_chance: bool = False


class Part:
    """The training images of a recipe, resident on their device; batches are made there.

    Args:
        recipe: Says which images, how they are normalised and augmented.
        data: Its training part is read.
    """

    def __init__(self, recipe: TrainingRecipe, data: DataSet) -> None:
        images, labels = data.train.images, data.train.labels
        if recipe.images is not None and recipe.images < len(labels):
            generator = torch.Generator().manual_seed(SUBSET_SEED)
            chosen = torch.randperm(len(labels), generator=generator)[: recipe.images]
            chosen = chosen.to(labels.device)
            images, labels = images[chosen], labels[chosen]
        self._recipe = recipe
        self._images = images.permute(0, 2, 3, 1).contiguous()
        self._scaling = tuple(part.to(images.device) for part in input_scaling(recipe, data))
        self.labels = labels
        self.batch_size = min(recipe.batch_size, len(labels))
        self.steps = len(labels) // self.batch_size

    def order(self, generator: torch.Generator) -> Tensor:
        """Return the images of one epoch's batches, ``[steps, batch size]``, in random order."""
        order = torch.randperm(len(self.labels), generator=generator, device=self.labels.device)
        return order[: self.steps * self.batch_size].view(self.steps, self.batch_size)

    def batch(self, chosen: Tensor, generator: torch.Generator) -> Tensor:
        """Return images ``[N, C, H, W]`` float32, channels last, normalised and augmented."""
        images = normalise(self._images[chosen].permute(0, 3, 1, 2), *self._scaling)
        images = augment(images, self._recipe, generator)
        return images.contiguous(memory_format=torch.channels_last)


def train(
    architecture: Architecture,
    recipe: TrainingRecipe,
    data: DataSet,
    seed: int,
    precision: Precision = "float32",
    on_epoch: Callable[[int], None] = lambda epoch: None,
) -> Trained:
    """Train a freshly initialised network on ``data.train``.

    Args:
        architecture: What to build.
        recipe: The schedule.
        data: The data set; only its training part is read.
        seed: Decides weights, order, augmentation and dropout; the global generator is restored.
        precision: What to compute in bfloat16; weights and their updates stay in float32.
        on_epoch: Called after each epoch with its number, from 1.
    """
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        training = Training(architecture, recipe, data, seed, precision)
        for epoch in range(recipe.epochs):
            if not training.epoch():
                break
            on_epoch(epoch + 1)
        return training.end()


class Training:
    """One network on its way through a recipe.

    Args:
        architecture: What to build; its weights come from the global generator.
        recipe: The schedule.
        data: The data set.
        seed: Decides order, augmentation and dropout.
        precision: What to compute in bfloat16.
    """

    def __init__(
        self,
        architecture: Architecture,
        recipe: TrainingRecipe,
        data: DataSet,
        seed: int,
        precision: Precision,
    ) -> None:
        self._part = Part(recipe, data)
        device = self._part.labels.device
        self._recipe = recipe
        self._generator = torch.Generator(device).manual_seed(seed)
        self._network = _laid_out(build(architecture)).to(device).train()
        self._forward = Accelerated(self._network, precision, self._generator)
        self._optimizer = torch.optim.AdamW(
            self._network.parameters(), lr=recipe.learning_rate,
            weight_decay=recipe.weight_decay, fused=True,
        )  # fmt: skip
        self._chance = CHANCE_SHARE * math.log(architecture.classes)
        self._losses = torch.zeros(recipe.epochs, self._part.steps, device=device)
        self._steps = 0

    def epoch(self) -> bool:
        """Train one epoch; return whether it is worth going on."""
        losses = self._losses[self._steps // self._part.steps]
        for chosen, slot in zip(self._part.order(self._generator), losses, strict=True):
            slot.copy_(self._step(chosen))
            self._steps += 1
            if self._steps == self._recipe.chance_steps and self._is_at_chance():
                return False
        return bool(losses.sum().isfinite())

    def _step(self, chosen: Tensor) -> Tensor:
        rate = self._recipe.learning_rate_at(self._steps, self._part.steps)
        self._optimizer.param_groups[0]["lr"] = rate
        logits = self._forward(self._part.batch(chosen, self._generator))
        loss = F.cross_entropy(logits.float(), self._part.labels[chosen])
        self._optimizer.zero_grad(set_to_none=True)
        loss.backward()
        self._optimizer.step()
        return loss.detach()

    def _is_at_chance(self) -> bool:
        """Return whether nothing was learned in the second half of the steps so far."""
        losses = self._losses.flatten()[self._steps // 2 : self._steps]
        return not bool(losses.mean() < self._chance)

    def end(self) -> Trained:
        """Return the network as it is now."""
        whole, rest = divmod(self._steps, self._part.steps)
        losses = self._losses[:whole].mean(1).tolist()
        if rest:
            losses.append(float(self._losses[whole, :rest].mean()))
        diverged = not math.isfinite(sum(losses))
        at_chance = self._steps < self._losses.numel() and not diverged
        return Trained(self._network.eval(), losses, self._steps, diverged, at_chance)


def _laid_out(network: Network) -> Network:
    network.to(memory_format=torch.channels_last)  # type: ignore[call-overload]
    return network
