"""CompressionTask: what every compression method is given."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

from torch import Tensor

from archpress.architectures.architecture import Architecture
from archpress.architectures.spaces import MAX_LAYERS, Limits, Space
from archpress.compression.budget import Budget, Latency
from archpress.datasets.dataset import DataSet
from archpress.evaluation.archive import Archive
from archpress.evaluation.executors import Executor
from archpress.training.recipe import Distillation, TrainingRecipe
from archpress.training.weights import digest_of

Progress = Callable[[str, int, int], None]
"""Called with (stage, units done, units in all)."""


def silent(stage: str, done: int, total: int) -> None:
    """Report progress to nobody."""


@dataclass(frozen=True)
class Resources:
    """What a method works with.

    Attributes:
        archive: Knows every network trained so far.
        executor: Trains networks; holds the data.
        folder: The run folder.
        progress: Told how far each stage is.
    """

    archive: Archive
    executor: Executor
    folder: Path
    progress: Progress = silent

    def reporter(self, stage: str) -> Callable[[int, int], None]:
        """Return a callable of (done, total) for one stage."""
        return lambda done, total: self.progress(stage, done, total)


@dataclass(frozen=True)
class TrainedNetwork:
    """Weights that the input network came with; it is evaluated with them, not trained again.

    Attributes:
        weights: A state dict of ``build(network)``.
        validation_accuracy: In [0, 1].
        scaling: Mean and standard deviation per channel that the weights expect of pixels.
    """

    weights: Mapping[str, Tensor]
    validation_accuracy: float
    scaling: tuple[Tensor, Tensor]

    @cached_property
    def digest(self) -> str:
        """16 hex digits that tell these weights from others."""
        return digest_of(self.weights)


@dataclass(frozen=True)
class CompressionTask:
    """One network to compress on one data set; shared by our method and its rivals.

    Attributes:
        network: The input network.
        data: Data set; methods see its training and validation parts, only finishing the test.
        space: Where networks are sampled from.
        budget: What the result may cost.
        label_recipe: How a network is labelled.
        labels: How many networks a method may label.
        final_recipe: How base and result are trained.
        finalists: How many candidates get the final training before one is chosen on validation.
        seed: Decides all randomness of a method.
        trained: The input network's own weights; None where it is to be trained.
        notes: What was found about the input network, in words.
        max_accuracy_drop: Where set, the smallest network is wanted whose validation accuracy is at
            most so far below the input network's.
        latency: Tells milliseconds of a network, where the budget bounds them.
        contenders: How many of the best labelled networks are trained again, longer, before the
            finalists are chosen among them; 0 for none.
        contender_epochs: How much longer.
        distillation: Share of the input network's outputs in what finalists learn; 0 for none.
        temperature: Of the softmax there.
        hint_epochs: Epochs in which a taught network's lower half first learns from the teacher's.
    """

    network: Architecture
    data: DataSet
    space: Space
    budget: Budget
    label_recipe: TrainingRecipe
    labels: int
    final_recipe: TrainingRecipe
    finalists: int
    seed: int
    trained: TrainedNetwork | None = None
    notes: tuple[str, ...] = ()
    max_accuracy_drop: float | None = None
    latency: Latency | None = None
    contenders: int = 0
    contender_epochs: int = 3
    distillation: float = 0.0
    temperature: float = 4.0
    hint_epochs: int = 0

    @property
    def contest_recipe(self) -> TrainingRecipe:
        """How contenders are trained: the label recipe, longer, as a complete schedule."""
        longer = self.label_recipe.lasting(self.contender_epochs * self.label_recipe.epochs)
        return longer.model_copy(update={"name": f"{self.label_recipe.name}-contest"})

    def taught_recipe(self, teacher: str, recipe: TrainingRecipe | None = None) -> TrainingRecipe:
        """Return the final recipe, or another, with the lessons of the teacher of that digest.

        Losses of lessons say nothing of chance: no network is stopped there.
        """
        recipe = recipe or self.final_recipe
        lessons = Distillation(
            teacher=teacher,
            weight=self.distillation,
            temperature=self.temperature,
            hint_epochs=self.hint_epochs,
        )
        changes = {"name": f"{recipe.name}-taught", "distillation": lessons, "chance_steps": 0}
        return TrainingRecipe.model_validate({**recipe.model_dump(), **changes})

    def affords(self, network: Architecture) -> bool:
        """Return whether a network is within the budget; its latency is the predicted one."""
        return self.budget.allows(network, self.latency)


def trainable(limits: Limits, network: Architecture) -> bool:
    """Return whether a decoded network is as practical to train as a sampled one."""
    return (
        network.cost.macs <= limits.max_macs
        and network.cost.activation_bytes <= limits.max_activation_bytes
        and len(network.layers) <= MAX_LAYERS
    )
