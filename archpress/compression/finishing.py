"""Final training of the input network and the finalists; the only reader of the test set."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from safetensors.torch import load_file
from torch import Tensor, nn

from archpress.architectures.architecture import Architecture
from archpress.architectures.building import build
from archpress.compression.selection import choose
from archpress.compression.task import CompressionTask, Resources, TrainedNetwork
from archpress.errors import BudgetError, TrainingError
from archpress.evaluation.giving import Giving
from archpress.evaluation.record import Evaluation, Label
from archpress.evaluation.running import load_weights, save_weights
from archpress.evaluation.sweep import evaluate, weights_path
from archpress.files import write_json
from archpress.training.augmentation import input_scaling
from archpress.training.distillation import Teacher
from archpress.training.given import Given
from archpress.training.scoring import accuracy


@dataclass(frozen=True)
class Finished:
    """A network after final training.

    Attributes:
        architecture: The network.
        validation_accuracy: One per seed, in [0, 1].
        test_accuracy: One per seed, in the same order.
        epochs: Epochs of the final training; 0 where the network came trained.
        weights: State dicts as safetensors, one per seed.
        scaling: Mean and standard deviation ``[C]`` that the network expects of pixels in [0, 1].
        failed_seeds: Seeds whose training did not end; the accuracies are of the others.
        teacher: Digest of the network that it learned from beside the labels; empty for none.
    """

    architecture: Architecture
    validation_accuracy: tuple[float, ...]
    test_accuracy: tuple[float, ...]
    epochs: int
    weights: tuple[Path, ...]
    scaling: tuple[Tensor, Tensor] = field(compare=False)
    failed_seeds: int = 0
    teacher: str = ""

    def to_json(self) -> dict[str, Any]:
        """Return the record kept in ``results/`` and ``result.json``."""
        cost = self.architecture.cost
        return {
            "parameters": cost.parameters,
            "macs": cost.macs,
            "test_accuracy": list(self.test_accuracy),
            "validation_accuracy": list(self.validation_accuracy),
            "final_epochs": self.epochs,
            "failed_seeds": self.failed_seeds,
            **({"teacher": self.teacher} if self.teacher else {}),
            "digest": self.architecture.digest,
            "architecture": self.architecture.to_json(),
        }

    def model(self) -> nn.Module:
        """Return the network with the weights of the seed that validates best, ready to use."""
        order = range(len(self.weights))
        chosen = max(order, key=self.validation_accuracy.__getitem__)
        return load_weights(build(self.architecture), self.weights[chosen]).eval()


def finish(
    task: CompressionTask, finalists: Sequence[Label], resources: Resources
) -> tuple[Finished, Finished]:
    """Train input network and finalists by the final recipe; return (input, chosen), tested.

    An input network that came with weights is tested as it is. The finalist with the best mean
    validation accuracy over seeds is chosen, or the smallest within the accuracy drop that the task
    allows (`selection.choose`); no other one is ever tested.

    Args:
        task: Gives network, final recipe, seeds and data.
        finalists: Candidates, best first.
        resources: Archive, executor and run folder.

    Raises:
        BudgetError: There is no finalist, or none within the accuracy drop.
    """
    if not finalists:
        raise BudgetError(
            "no candidate within the budget could be trained: raise the target, label more "
            "networks or widen the space"
        )
    if task.distillation or task.trained:
        return finish_after(task, train_input(task, resources), finalists, resources)
    networks = [label.architecture for label in finalists]
    *trained, own = train_finally([*networks, task.network], task, resources)
    return tested(task, own, choose(trained, task, own.accuracy), resources)


def finish_after(
    task: CompressionTask, own: Label | None, finalists: Sequence[Label], resources: Resources
) -> tuple[Finished, Finished]:
    """Do the same where the input network is trained already.

    Args:
        task: Gives network, final recipe, seeds and data.
        own: What :func:`train_input` returned.
        finalists: Candidates, best first.
        resources: Archive, executor and run folder.
    """
    teacher = teacher_of(task, own, resources) if task.distillation else None
    networks = [label.architecture for label in finalists]
    trained = train_finally(networks, task, resources, teacher)
    chosen = choose(trained, task, accuracy_of_input(task, own))
    return tested(task, own, chosen, resources)


def train_input(task: CompressionTask, resources: Resources) -> Label | None:
    """Return how the input network's final training ended; None where it came trained."""
    return None if task.trained else train_finally([task.network], task, resources)[0]


def tested(
    task: CompressionTask, own: Label | None, chosen: Label, resources: Resources
) -> tuple[Finished, Finished]:
    """Return (input network, chosen one), each scored on the test set.

    Args:
        task: Gives network and data.
        own: What :func:`train_input` returned.
        chosen: The one network that is the method's result.
        resources: Where weights are kept, and results.
    """
    if own is None:
        assert task.trained is not None
        base = read_test_of_given(task.trained, task, resources)
    else:
        base = read_test(own, task, resources)
    return base, read_test(chosen, task, resources)


def accuracy_of_input(task: CompressionTask, own: Label | None) -> float | None:
    """Return the input network's on validation; None where its training failed."""
    return task.trained.validation_accuracy if task.trained else own.accuracy if own else None


def train_finally(
    networks: Sequence[Architecture],
    task: CompressionTask,
    resources: Resources,
    teacher: Teacher | None = None,
) -> list[Label]:
    """Return the labels of networks by the final recipe; their weights are kept.

    Args:
        networks: What to train.
        task: Gives recipe and seeds.
        resources: Archive, executor and run folder.
        teacher: From whom they learn beside the labels; None for nobody.
    """
    recipe = task.taught_recipe(teacher.digest) if teacher else task.final_recipe
    executor = resources.executor
    if teacher:
        given = Given(teacher)
        executor = Giving(executor, lambda job: given)
    return list(
        evaluate(
            networks, recipe, resources.archive, executor,
            weights_folder=resources.folder / "weights",
            on_progress=resources.reporter("final training"),
        ).labels
    )  # fmt: skip


def teacher_of(task: CompressionTask, own: Label | None, resources: Resources) -> Teacher:
    """Return the input network as a teacher, with the weights of :func:`weights_of`."""
    weights = weights_of(task, own, resources)
    scaling = task.trained.scaling if task.trained else input_scaling(task.final_recipe, task.data)
    return Teacher(task.network, weights, scaling)


def weights_of(
    task: CompressionTask, own: Label | None, resources: Resources
) -> Mapping[str, Tensor]:
    """Return the input network's weights, those that validate best or that it came with.

    Args:
        task: Gives network and data.
        own: What :func:`train_input` returned.
        resources: Where weights are kept.

    Raises:
        TrainingError: No seed was trained to the end.
    """
    if own is None:
        assert task.trained is not None
        return task.trained.weights
    best = max(_finished_runs(own), key=lambda run: run.validation_accuracy or 0.0)
    return load_file(weights_path(resources.folder / "weights", best.key))


def _finished_runs(label: Label) -> list[Evaluation]:
    runs = [run for run in label.evaluations if run.status == "ok"]
    if not runs:
        reasons = "; ".join(sorted({run.reason for run in label.evaluations}))
        raise TrainingError(f"the final training of a network failed for every seed: {reasons}")
    return runs


def read_test(label: Label, task: CompressionTask, resources: Resources) -> Finished:
    """Score the trained seeds of one network on the test set, once: the result is kept.

    Raises:
        TrainingError: No seed was trained to the end.
    """
    runs = _finished_runs(label)
    weights = {run.key: weights_path(resources.folder / "weights", run.key) for run in runs}
    scaling = input_scaling(task.final_recipe, task.data)
    return Finished(
        label.architecture,
        tuple(run.validation_accuracy or 0.0 for run in runs),
        _tested(label.architecture, weights, scaling, task, resources),
        task.final_recipe.epochs,
        tuple(weights.values()),
        scaling,
        len(label.evaluations) - len(runs),
        lessons.teacher if (lessons := runs[0].recipe.distillation) else "",
    )


def read_test_of_given(
    given: TrainedNetwork, task: CompressionTask, resources: Resources
) -> Finished:
    """Score the input network with its own weights on the test set, once: the result is kept."""
    model = build(task.network)
    model.load_state_dict(given.weights)
    key = f"given-{given.digest}"
    weights = resources.folder / "weights" / f"{key}.safetensors"
    weights.parent.mkdir(exist_ok=True)
    save_weights(model, weights)
    scores = _tested(task.network, {key: weights}, given.scaling, task, resources)
    validation = (given.validation_accuracy,)
    return Finished(task.network, validation, scores, 0, (weights,), given.scaling)


def _tested(
    network: Architecture,
    weights: Mapping[str, Path],
    scaling: tuple[Tensor, Tensor],
    task: CompressionTask,
    resources: Resources,
) -> tuple[float, ...]:
    """Return the test accuracy with each of these weights, by key; none is scored twice.

    Nothing else reads the test set.
    """
    file = resources.folder / "results" / f"test-{network.digest}.json"
    scores: dict[str, float] = json.loads(file.read_text()) if file.exists() else {}
    for number, (key, path) in enumerate(weights.items(), 1):
        if key not in scores:
            model = load_weights(build(network), path)
            scores[key] = accuracy(model, task.data.test, scaling)
            write_json(file, scores)
        resources.progress("test set", number, len(weights))
    return tuple(scores[key] for key in weights)
