"""How a network is trained: everything that can change a number, and nothing else."""

import hashlib
import json
import math
from typing import Literal, Self

from pydantic import BaseModel, ConfigDict, Field, model_validator

from archpress.errors import SettingsError, nearest


class Distillation(BaseModel):
    """What is learned from a teacher beside the labels.

    Attributes:
        teacher: Digest of the teacher (:class:`archpress.training.distillation.Teacher`).
        weight: Share of what the teacher says in the loss.
        temperature: Of both networks' softmax there.
        hint_epochs: Epochs in which the lower half first learns from the teacher's (FitNets).
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    teacher: str
    weight: float = Field(gt=0, le=1)
    temperature: float = Field(default=4.0, gt=0)
    hint_epochs: int = Field(default=0, ge=0)


class TrainingRecipe(BaseModel):
    """One training schedule with Adam.

    Attributes:
        name: For people; not part of the digest.
        epochs: Passes over the training images.
        batch_size: Images per step; an incomplete last batch is left out.
        learning_rate: The highest learning rate.
        schedule: ``step`` multiplies by 0.1 after each milestone; ``one_cycle`` rises linearly
            over the first fifth of the steps and falls to zero along a cosine.
        milestones: Epochs after which ``step`` decays.
        weight_decay: Decoupled weight decay.
        normalization: ``half`` subtracts 0.5 from pixels in [0, 1]; ``channel`` subtracts the mean
            and divides by the standard deviation of the training images.
        flip: Mirror horizontally with probability 0.5.
        crop_padding: Zero padding in pixels of the random crop; 0 for none.
        images: Training images used, a fixed subset for all networks; None for all.
        chance_steps: A network whose mean loss over the second half of so many first steps is not
            below 98 % of chance, ln K, is stopped there; 0 for never.
        distillation: What is learned from a teacher; None for labels alone.
        start: Digest of the weights that training begins with; empty for fresh ones.
        seeds: Independent initialisations m that are averaged (section 3.2); not in the digest.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    name: str
    epochs: int = Field(ge=1)
    batch_size: int = Field(ge=2)
    learning_rate: float = Field(gt=0)
    schedule: Literal["step", "one_cycle"] = "step"
    milestones: tuple[int, ...] = ()
    weight_decay: float = Field(default=0.0, ge=0)
    normalization: Literal["half", "channel"] = "half"
    flip: bool = False
    crop_padding: int = Field(default=0, ge=0)
    images: int | None = Field(default=None, ge=2)
    chance_steps: int = Field(default=0, ge=0)
    distillation: Distillation | None = None
    start: str = ""
    seeds: int = Field(default=1, ge=1)

    @model_validator(mode="after")
    def _losses(self) -> Self:
        if self.distillation and self.chance_steps:
            raise ValueError("chance_steps compares cross-entropies: not beside distillation")
        if self.distillation and self.distillation.hint_epochs and self.start:
            raise ValueError("hints are for fresh weights: not beside weights to start from")
        return self

    @property
    def digest(self) -> str:
        """16 hex digits over everything that can change the result for one seed."""
        values = self.model_dump(mode="json", exclude={"name", "seeds"})
        for younger in (
            "chance_steps",
            "distillation",
            "start",
        ):  # than archives, whose keys must stay
            if not values[younger]:
                del values[younger]
        return hashlib.sha256(json.dumps(values, sort_keys=True).encode()).hexdigest()[:16]

    def lasting(self, epochs: int) -> "TrainingRecipe":
        """Return the whole schedule in another number of epochs: milestones move with them."""
        milestones = tuple(round(m * epochs / self.epochs) for m in self.milestones)
        return self.model_copy(update={"epochs": epochs, "milestones": milestones})

    def learning_rate_at(self, step: int, steps_per_epoch: int) -> float:
        """Return the learning rate of ``step`` (from 0)."""
        if self.schedule == "step":
            passed = sum(step >= epoch * steps_per_epoch for epoch in self.milestones)
            return float(self.learning_rate * 0.1**passed)
        total = self.epochs * steps_per_epoch
        rise = max(1, total // 5)
        if step < rise:
            return self.learning_rate * (step + 1) / rise
        return self.learning_rate * 0.5 * (1 + math.cos(math.pi * (step - rise) / (total - rise)))


_CIFAR = TrainingRecipe(
    name="paper-cifar10", epochs=150, batch_size=128, learning_rate=0.001, milestones=(80, 120),
    flip=True, crop_padding=4, seeds=5,
)  # fmt: skip
_FASHION = TrainingRecipe(
    name="paper-fashion-mnist", epochs=50, batch_size=64, learning_rate=0.01, milestones=(30,),
    seeds=5,
)  # fmt: skip
_SHORT = TrainingRecipe(
    name="label-small", epochs=2, batch_size=128, learning_rate=0.004, schedule="one_cycle",
    normalization="channel", images=10_000,
)  # fmt: skip

DEFAULT_RECIPE = "label-short"
"""Labels on CPUs: why, is in docs/labels.md."""
LEAST_SEEN = 100_000
"""Images that the default recipe shows a network; of small data sets, in more epochs."""

RECIPES: dict[str, TrainingRecipe] = {
    recipe.name: recipe
    for recipe in (
        _FASHION,
        _CIFAR,
        _CIFAR.model_copy(update={"name": "paper-cifar100"}),
        _CIFAR.model_copy(update={"name": "paper-svhn", "flip": False, "crop_padding": 0}),
        # Section 5: 5 epochs, m = 5, by the recipe of the data (milestones never reached).
        _CIFAR.model_copy(
            update={"name": "label", "epochs": 5, "milestones": (), "flip": False,
                    "crop_padding": 0}
        ),
        _CIFAR.model_copy(update={"name": "label-augmented", "epochs": 5, "milestones": ()}),
        _FASHION.model_copy(update={"name": "label-fashion-mnist", "epochs": 5, "milestones": ()}),
        # No shortcut but a schedule that ends: what cheaper labels are measured against.
        _SHORT.model_copy(update={"name": "label-full", "epochs": 5, "images": None, "seeds": 5}),
        # Cheaper labels for CPUs: complete short schedules, one initialisation each.
        _SHORT.model_copy(update={"name": "label-short", "images": None, "chance_steps": 300}),
        _SHORT,
        _SHORT.model_copy(update={"name": "label-medium", "epochs": 3, "images": 20_000}),
        _SHORT.model_copy(update={"name": "label-digits", "epochs": 6, "images": None,
                                  "batch_size": 32}),
        _SHORT.model_copy(update={"name": "final-digits", "epochs": 20, "images": None,
                                  "batch_size": 32, "seeds": 3}),
        _SHORT.model_copy(update={"name": "final-short", "epochs": 8, "images": None,
                                  "seeds": 3}),
    )
}  # fmt: skip


def default_recipe(images: int) -> TrainingRecipe:
    """Return the default label recipe for a data set of so many training images."""
    recipe = find_recipe(DEFAULT_RECIPE)
    epochs = max(recipe.epochs, math.ceil(LEAST_SEEN / images))
    return recipe.model_copy(update={"epochs": epochs})


def recipe_for(name: str, images: int) -> TrainingRecipe:
    """Return what a name means for a data set of so many training images.

    Only the default recipe depends on them.

    Raises:
        SettingsError: There is no such preset.
    """
    return default_recipe(images) if name == DEFAULT_RECIPE else find_recipe(name)


def find_recipe(name: str) -> TrainingRecipe:
    """Return the preset of that name.

    Raises:
        SettingsError: There is none.
    """
    if name not in RECIPES:
        raise SettingsError(f"unknown recipe {name!r}{nearest(name, RECIPES)}")
    return RECIPES[name]
