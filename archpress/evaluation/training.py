"""The training loop on tensors: data resident, no synchronisation within an epoch."""

from collections.abc import Callable
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from archpress.architectures.architecture import Architecture
from archpress.architectures.building import build
from archpress.evaluation.augmentation import augment, input_scaling, normalise
from archpress.evaluation.datasets import DataSet, Split
from archpress.evaluation.precision import Precision
from archpress.evaluation.recipe import TrainingRecipe

SUBSET_SEED = 20_181


@dataclass(frozen=True)
class Trained:
    """A network after training.

    Attributes:
        model: The module, in evaluation mode; takes normalised ``[N, C, H, W]`` images.
        losses: Mean training cross-entropy of each epoch, in nats.
        diverged: Whether a loss was not finite; training stopped there.
    """

    model: nn.Module
    losses: list[float]
    diverged: bool


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
        precision: ``bfloat16`` trains under autocast with float32 weights.
        on_epoch: Called after each epoch with its number, from 1.
    """
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        model = build(architecture).to(memory_format=torch.channels_last).train()  # type: ignore[call-overload]
        images, labels = _training_part(recipe, data)
        losses: list[float] = []
        optimizer = _optimizer(model, recipe, images.device)
        for epoch in range(recipe.epochs):
            losses.append(_epoch(model, optimizer, recipe, (images, labels), epoch, precision))
            on_epoch(epoch + 1)
            if losses[-1] != losses[-1] or losses[-1] == float("inf"):
                break
        diverged = len(losses) < recipe.epochs or not losses[-1] < float("inf")
        return Trained(model.eval(), losses, diverged)


def _training_part(recipe: TrainingRecipe, data: DataSet) -> tuple[Tensor, Tensor]:
    """Return normalised images and labels of the recipe's fixed subset."""
    part: Split = data.train
    images, labels = part.images, part.labels
    if recipe.images is not None and recipe.images < len(part):
        generator = torch.Generator().manual_seed(SUBSET_SEED)
        chosen = torch.randperm(len(part), generator=generator)[: recipe.images]
        images, labels = images[chosen], labels[chosen]
    mean, deviation = input_scaling(recipe, data)
    return normalise(images, mean.to(images.device), deviation.to(images.device)), labels


def _optimizer(
    model: nn.Module, recipe: TrainingRecipe, device: torch.device
) -> torch.optim.Optimizer:
    model.to(device)
    return torch.optim.AdamW(
        model.parameters(), lr=recipe.learning_rate, weight_decay=recipe.weight_decay, fused=True
    )


def _epoch(
    model: nn.Module,
    optimizer: torch.optim.Optimizer,
    recipe: TrainingRecipe,
    part: tuple[Tensor, Tensor],
    epoch: int,
    precision: Precision,
) -> float:
    """Train one epoch in random order; return its mean loss."""
    images, labels = part
    batch_size = min(recipe.batch_size, len(labels))
    steps = len(labels) // batch_size
    order = torch.randperm(len(labels), device=labels.device)
    total = torch.zeros((), device=labels.device)
    for step in range(steps):
        chosen = order[step * batch_size : (step + 1) * batch_size]
        batch = augment(images[chosen], recipe).contiguous(memory_format=torch.channels_last)
        optimizer.param_groups[0]["lr"] = recipe.learning_rate_at(epoch * steps + step, steps)
        with torch.autocast(images.device.type, torch.bfloat16, enabled=precision == "bfloat16"):
            logits = model(batch)
        loss = F.cross_entropy(logits.float(), labels[chosen])
        optimizer.zero_grad(set_to_none=True)
        loss.backward()
        optimizer.step()
        total += loss.detach()
    return float(total) / steps
