"""Pruning: filters taken out of the trained input network bit by bit, with training in between.

Molchanov et al., "Pruning convolutional neural networks for resource efficient inference", 2016.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from statistics import fmean
from typing import Any

import torch
from safetensors.torch import load_file
from torch import Tensor

from archpress.baselines.filter_pruning import Criterion, Pruned, gradients_of, prune
from archpress.baselines.measured_latency import as_measured
from archpress.compression.budget import Budget, value_of
from archpress.compression.finishing import teacher_of, tested, train_input, weights_of
from archpress.compression.result import CompressionResult
from archpress.compression.task import CompressionTask, Resources
from archpress.errors import BudgetError, TrainingError
from archpress.evaluation.giving import Giving
from archpress.evaluation.record import Evaluation, Job, Label
from archpress.evaluation.runs import make_runs
from archpress.evaluation.sweep import weights_path
from archpress.optional import require
from archpress.training.given import Given
from archpress.training.machine import one_thread
from archpress.training.recipe import TrainingRecipe
from archpress.training.weights import digest_of

RUNS = 5
"""Section 5.3.1 (ICML): five runs, of which the best counts."""
STEPS = 12
"""From the input network to the budget, in equal shares of the way in logarithms."""
SEED_OFFSET = 6_000_000


def compress(task: CompressionTask, resources: Resources) -> CompressionResult:
    """Return the network that pruning by the Taylor criterion ends in."""
    return pruned("pruning", "taylor", task, resources)


def pruned(
    name: str, criterion: Criterion, task: CompressionTask, resources: Resources
) -> CompressionResult:
    """Return the best of five runs on validation, trained on by the final recipe.

    Each run begins with the trained input network; after each of `STEPS` prunings it is trained by
    the label recipe, on pixels as the final one has them, from the weights that are left. A run
    whose training fails is given up. ``label_epochs`` of the result counts these trainings.

    Raises:
        BudgetError: There is no budget, or filters alone cannot meet it.
        TrainingError: Every run was given up.
        MissingExtraError: torch-pruning is not installed.
    """
    require("torch_pruning", "bench")
    if not task.budget.bounds:
        raise BudgetError(f"{name} needs a budget, of parameters or anything else")
    own = train_input(task, resources)
    begin = Pruned(task.network, weights_of(task, own, resources))
    scaling = task.trained.scaling if task.trained else None
    runs = [_Run(begin, task.seed + SEED_OFFSET + n, scaling) for n in range(RUNS)]
    recipe = recipe_between(task)
    epochs = 0
    for step in range(1, STEPS + 1):
        share = step / STEPS
        runs = [replace(run, network=_smaller(run, criterion, share, recipe, task)) for run in runs]
        trained = _trained(runs, recipe, Given(), task, resources)
        epochs += sum(evaluation.epochs_trained for evaluation in trained)
        runs = _still_going(name, runs, trained, resources.folder)
        resources.progress(name, step, STEPS)
    best = max(runs, key=lambda run: run.accuracy)
    teacher = teacher_of(task, own, resources) if task.distillation else None
    final = task.taught_recipe(teacher.digest) if teacher else task.final_recipe
    orders = [replace(best, seed=number) for number in range(final.seeds)]
    label = Label.of(_trained(orders, final, Given(teacher), task, resources))
    base, chosen = tested(task, own, label, resources)
    mean = fmean(run.accuracy for run in runs)
    origin = (
        f"{criterion} pruning in {STEPS} steps, the best of {len(runs)} runs: "
        f"{100 * best.accuracy:.2f} % on validation before the final training, "
        f"{100 * mean:.2f} % their mean"
    )
    return CompressionResult(name, base, chosen, origin, 0, epochs, resources.folder)


def recipe_between(task: CompressionTask) -> TrainingRecipe:
    """Return how a network is trained between two prunings."""
    changes = {
        "name": f"{task.label_recipe.name}-pruned",
        "normalization": task.final_recipe.normalization,
        "chance_steps": 0,
    }
    return task.label_recipe.model_copy(update=changes)


@dataclass(frozen=True)
class _Run:
    """One of the runs, on its way.

    Attributes:
        network: What it has come to.
        seed: Decides which images the criterion sees, and how training goes.
        scaling: What its weights expect of pixels; None where that is the final recipe's.
        accuracy: On validation, after the last training.
    """

    network: Pruned
    seed: int
    scaling: tuple[Tensor, Tensor] | None = None
    accuracy: float = 0.0


def _smaller(
    run: _Run, criterion: Criterion, share: float, recipe: TrainingRecipe, task: CompressionTask
) -> Pruned:
    """Return the network pruned by so much of the way to the budget, in logarithms.

    At the end a bound of latency is kept as measured.
    """
    generator = torch.Generator().manual_seed(run.seed)
    with one_thread():
        slopes = gradients_of(run.network, recipe, task.data, generator, run.scaling)

        def make(budget: Budget) -> Pruned:
            if budget.allows(run.network.architecture, task.latency):
                return run.network
            return prune(
                run.network, criterion, lambda n: budget.allows(n, task.latency), slopes
            )  # fmt: skip

        if share < 1:
            return make(on_the_way(task, share))
        return as_measured(task, make, lambda made: made.architecture)


def on_the_way(task: CompressionTask, share: float) -> Budget:
    """Return the budget with every bound so much of the way from the input network's value."""
    bounds: dict[str, Any] = {}
    for metric, bound in task.budget.bounds.items():
        excess = max(1.0, value_of(task.network, metric, task.latency) / bound)
        bounds[metric] = type(bound)(bound * excess ** (1 - share))
    return replace(task.budget, **bounds)


def _trained(
    runs: Sequence[_Run],
    recipe: TrainingRecipe,
    given: Given,
    task: CompressionTask,
    resources: Resources,
) -> list[Evaluation]:
    """Return how trainings of all runs went, from the weights that each has."""
    jobs = [_job(run, recipe, task, resources.folder / "weights") for run in runs]
    starts = {
        job.key: replace(given, start=run.network.weights)
        for job, run in zip(jobs, runs, strict=True)
    }
    executor = Giving(resources.executor, lambda job: starts[job.key])
    known = make_runs(jobs, resources.archive, executor).known
    return [found for job in jobs if (found := known[job.key]) is not None]


def _job(run: _Run, recipe: TrainingRecipe, task: CompressionTask, folder: Path) -> Job:
    begun = recipe.model_copy(update={"start": digest_of(run.network.weights)})
    job = Job(run.network.architecture, begun, run.seed, task.data.digest)
    return replace(job, weights_path=str(weights_path(folder, job.key)))


def _still_going(
    name: str, runs: Sequence[_Run], trained: Sequence[Evaluation], folder: Path
) -> list[_Run]:
    """Return the runs whose training ended well, with the weights that they have now."""
    going = []
    for run, evaluation in zip(runs, trained, strict=True):
        if evaluation.status == "ok":
            weights = load_file(weights_path(folder / "weights", evaluation.key))
            network = replace(run.network, weights=weights)
            accuracy = evaluation.validation_accuracy or 0.0
            going.append(_Run(network, run.seed, None, accuracy))
    if not going:
        reasons = "; ".join(sorted({evaluation.reason for evaluation in trained}))
        raise TrainingError(f"{name}: every run failed: {reasons}")
    return going
