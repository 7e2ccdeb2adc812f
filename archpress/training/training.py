"""The training loop on tensors: data resident, no synchronisation within an epoch."""

import math
from collections.abc import Callable
from dataclasses import dataclass
from weakref import WeakKeyDictionary

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from archpress.architectures.architecture import Architecture
from archpress.architectures.building import Network, build
from archpress.datasets.dataset import DataSet
from archpress.training.acceleration import Accelerated
from archpress.training.augmentation import augment, input_scaling, normalise
from archpress.training.distillation import Lessons, distillation_loss
from archpress.training.given import NOTHING, Given
from archpress.training.hints import learn_hints
from archpress.training.precision import Precision
from archpress.training.recipe import Distillation, TrainingRecipe
from archpress.training.steps import Learning, LossOf, MakeSteps, steps_for_device

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

    Attributes:
        scaling: Mean and standard deviation ``[C]`` that images are normalised by.
        labels: Classes of the images, ``[N]``.
        batch_size: Images of a batch.
        steps: Batches of an epoch.
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
        mean, deviation = input_scaling(recipe, data)
        self.scaling = mean.to(images.device), deviation.to(images.device)
        self.labels = labels
        self.batch_size = min(recipe.batch_size, len(labels))
        self.steps = len(labels) // self.batch_size

    def order(self, generator: torch.Generator) -> Tensor:
        """Return the images of one epoch's batches, ``[steps, batch size]``, in random order."""
        order = torch.randperm(len(self.labels), generator=generator, device=self.labels.device)
        return order[: self.steps * self.batch_size].view(self.steps, self.batch_size)

    def batch(self, chosen: Tensor, generator: torch.Generator) -> Tensor:
        """Return images ``[N, C, H, W]`` float32, channels last, normalised and augmented."""
        images = normalise(self._images[chosen].permute(0, 3, 1, 2), *self.scaling)
        images = augment(images, self._recipe, generator)
        return images.contiguous(memory_format=torch.channels_last)


_PARTS: "WeakKeyDictionary[DataSet, tuple[TrainingRecipe, Part]]" = WeakKeyDictionary()


def part_of(recipe: TrainingRecipe, data: DataSet) -> Part:
    """Return the part of ``data`` that the recipe trains on; trainings of one recipe share it."""
    known = _PARTS.get(data)
    if known is None or known[0] != recipe:
        known = _PARTS[data] = (recipe, Part(recipe, data))
        if data.train.labels.is_cuda:  # other streams will read it
            torch.cuda.current_stream(data.train.labels.device).synchronize()
    return known[1]


def train(
    architecture: Architecture,
    recipe: TrainingRecipe,
    data: DataSet,
    seed: int,
    precision: Precision = "float32",
    on_epoch: Callable[[int], None] = lambda epoch: None,
    given: Given = NOTHING,
) -> Trained:
    """Train a freshly initialised network on ``data.train``.

    Args:
        architecture: What to build.
        recipe: The schedule.
        data: The data set; only its training part is read.
        seed: Decides weights, order, augmentation and dropout; the global generator is restored.
        precision: What to compute in bfloat16; weights and their updates stay in float32.
        on_epoch: Called after each epoch with its number, from 1.
        given: The teacher and the weights that the recipe names.

    Raises:
        ValueError: They are others.
    """
    training = begin(architecture, recipe, data, seed, precision, given=given)
    for epoch in range(recipe.epochs):
        if not training.epoch():
            break
        on_epoch(epoch + 1)
    return training.end()


def begin(
    architecture: Architecture,
    recipe: TrainingRecipe,
    data: DataSet,
    seed: int,
    precision: Precision = "float32",
    make_steps: MakeSteps = steps_for_device,
    given: Given = NOTHING,
) -> "Training":
    """Return the training that :func:`train` makes of these arguments, before its first step."""
    with torch.random.fork_rng(devices=[]):
        torch.default_generator.manual_seed(seed)  # torch.manual_seed would seed every GPU too
        return Training(architecture, recipe, data, seed, precision, make_steps, given)


class Training:
    """One network on its way through a recipe.

    Args:
        architecture: What to build; its weights come from the global generator.
        recipe: The schedule.
        data: The data set.
        seed: Decides order, augmentation and dropout.
        precision: What to compute in bfloat16.
        make_steps: What makes the steps.
        given: The teacher and the weights that the recipe names.

    Attributes:
        steps: Steps made so far, or queued on the device.
    """

    def __init__(
        self,
        architecture: Architecture,
        recipe: TrainingRecipe,
        data: DataSet,
        seed: int,
        precision: Precision,
        make_steps: MakeSteps = steps_for_device,
        given: Given = NOTHING,
    ) -> None:
        given.check(recipe)
        self._part = part_of(recipe, data)
        device = self._part.labels.device
        self._recipe = recipe
        self._generator = torch.Generator(device).manual_seed(seed)
        self._network = _laid_out(build(architecture)).to(device).train()
        teacher = given.teacher
        if given.start is not None:
            self._network.load_state_dict(given.start)
        elif teacher and recipe.distillation and recipe.distillation.hint_epochs:
            learn_hints(
                self._network, architecture, teacher, recipe, self._part, self._generator
            )  # fmt: skip
        forward = Accelerated(self._network, precision, self._generator)
        lessons = Lessons(teacher, recipe, data, self._part) if teacher else None
        loss_of = _loss_of(self._part, forward, self._generator, recipe.distillation, lessons)
        self._runner = make_steps(
            Learning(self._network, loss_of, self._generator, recipe, self._part.steps)
        )
        self._chance = CHANCE_SHARE * math.log(architecture.classes)
        self._losses = torch.zeros(recipe.epochs, self._part.steps, device=device)
        early = recipe.chance_steps < self._losses.numel()
        self._chance_steps = recipe.chance_steps if early else 0
        self.steps = 0

    @property
    def ends_epoch(self) -> bool:
        """Whether the last step was the last of an epoch."""
        return self.steps % self._part.steps == 0

    @property
    def is_complete(self) -> bool:
        """Whether all steps of the recipe were made."""
        return self.steps == self._losses.numel()

    @property
    def losses(self) -> Tensor:
        """The losses of the steps so far, ``[steps]``, on the device."""
        return self._losses.view(-1)[: self.steps]

    @property
    def set_up_seconds(self) -> float:
        """Wall time that the steps' maker spent on anything but steps."""
        return self._runner.set_up_seconds

    def epoch(self) -> bool:
        """Train one epoch; return whether it is worth going on."""
        while True:
            self.advance()
            if not bool(self.verdict()):
                return False
            if self.ends_epoch:
                return True

    def advance(self, most: int | None = None) -> bool:
        """Make the steps up to the next check, at most so many; return whether the check is due.

        Then :meth:`verdict` says whether to go on. Nothing waits for the device.
        """
        place = self.steps % self._part.steps
        if place == 0:
            self._order = self._part.order(self._generator)
        left = self._steps_to_check(place)
        count = left if most is None else min(left, most)
        losses = self._runner.run(self._order[place : place + count])
        self._losses.view(-1)[self.steps : self.steps + count] = losses
        self.steps += count
        return count == left

    def _steps_to_check(self, place: int) -> int:
        to_end, to_chance = self._part.steps - place, self._chance_steps - self.steps
        return min(to_end, to_chance) if to_chance > 0 else to_end

    def verdict(self) -> Tensor:
        """Return whether to go on after a check, a bool ``[]`` on the device: nothing waits."""
        worth = torch.ones((), dtype=torch.bool, device=self._losses.device)
        if self.steps == self._chance_steps:
            # Something was learned in the second half of the steps so far.
            worth = self._losses.view(-1)[self.steps // 2 : self.steps].mean() < self._chance
        if self.ends_epoch:
            worth = worth & self._losses[self.steps // self._part.steps - 1].sum().isfinite()
        return worth

    def end(self) -> Trained:
        """Return the network as it is now."""
        whole, rest = divmod(self.steps, self._part.steps)
        losses = self._losses[:whole].mean(1).tolist()
        if rest:
            losses.append(float(self._losses[whole, :rest].mean()))
        diverged = not math.isfinite(sum(losses))
        at_chance = self.steps < self._losses.numel() and not diverged
        return Trained(self._network.eval(), losses, self.steps, diverged, at_chance)


def _loss_of(
    part: Part,
    forward: Accelerated,
    generator: torch.Generator,
    distillation: Distillation | None,
    lessons: Lessons | None,
) -> LossOf:
    def loss_of(chosen: Tensor) -> Tensor:
        images = part.batch(chosen, generator)
        logits, labels = forward(images).float(), part.labels[chosen]
        if distillation is None or lessons is None:
            return F.cross_entropy(logits, labels)
        return distillation_loss(logits, lessons(chosen, images), labels, distillation)

    return loss_of


def _laid_out(network: Network) -> Network:
    network.to(memory_format=torch.channels_last)  # type: ignore[call-overload]
    return network
