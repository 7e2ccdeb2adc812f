"""Pruning: filters taken out of the trained input network bit by bit, with training in between.

Molchanov et al., "Pruning convolutional neural networks for resource efficient inference", 2016.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import torch
from safetensors.torch import load_file

from archpress.architectures.architecture import Architecture
from archpress.baselines.filter_pruning import Criterion, Pruned, gradients_of, prune
from archpress.compression.budget import value_of
from archpress.compression.finishing import tested, train_input, weights_of
from archpress.compression.result import CompressionResult
from archpress.compression.task import CompressionTask, Resources
from archpress.errors import ArchpressError, BudgetError
from archpress.evaluation.giving import Giving
from archpress.evaluation.record import Evaluation, Job, Label
from archpress.evaluation.runs import make_runs
from archpress.evaluation.sweep import weights_path
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
    the label recipe from the weights that are left. ``labels`` of the result counts these
    trainings.

    Raises:
        BudgetError: There is no budget, or filters alone cannot meet it.
        MissingExtraError: torch-pruning is not installed.
    """
    if not task.budget.bounds:
        raise BudgetError(f"{name} needs a budget, of parameters or anything else")
    own = train_input(task, resources)
    begin = Pruned(task.network, weights_of(task, own, resources))
    runs = [_Run(begin, task.seed + SEED_OFFSET + number) for number in range(RUNS)]
    epochs = 0
    for step in range(1, STEPS + 1):
        share = step / STEPS
        for run in runs:
            run.network = _smaller(run, criterion, share, task)
        trained = _trained(runs, task.label_recipe, task, resources)
        epochs += sum(evaluation.epochs_trained for evaluation in trained)
        resources.progress(name, step, STEPS)
    best = max(runs, key=lambda run: run.accuracy)
    label = _finally(best, task, resources)
    base, chosen = tested(task, own, label, resources)
    origin = f"{criterion} pruning in {STEPS} steps, the best of {RUNS} runs"
    return CompressionResult(name, base, chosen, origin, 0, epochs, resources.folder)


@dataclass
class _Run:
    """One of the runs, on its way.

    Attributes:
        network: What it has come to.
        seed: Decides which images the criterion sees, and how training goes.
        accuracy: On validation, after the last training.
    """

    network: Pruned
    seed: int
    accuracy: float = 0.0


def _smaller(run: _Run, criterion: Criterion, share: float, task: CompressionTask) -> Pruned:
    """Return the network pruned by so much of the way to the budget, in logarithms."""
    excess = {
        metric: max(1.0, value_of(task.network, metric, task.latency) / bound)
        for metric, bound in task.budget.bounds.items()
    }

    def allows(network: Architecture) -> bool:
        if share == 1:
            return task.affords(network)
        return all(
            value_of(network, metric, task.latency) <= bound * excess[metric] ** (1 - share)
            for metric, bound in task.budget.bounds.items()
        )

    if allows(run.network.architecture):
        return run.network
    generator = torch.Generator().manual_seed(run.seed)
    with one_thread():
        gradients = gradients_of(run.network, task.label_recipe, task.data, generator)
        return prune(run.network, criterion, allows, gradients)


def _trained(
    runs: Sequence[_Run], recipe: TrainingRecipe, task: CompressionTask, resources: Resources
) -> list[Evaluation]:
    """Train all runs from the weights that they have; return how that went."""
    jobs = [_job(run, recipe, task, resources.folder / "weights") for run in runs]
    given = {job.key: Given(start=run.network.weights) for job, run in zip(jobs, runs, strict=True)}
    executor = Giving(resources.executor, lambda job: given[job.key])
    unique = list({job.key: job for job in jobs}.values())
    known = make_runs(unique, resources.archive, executor).known
    found = []
    for job, run in zip(jobs, runs, strict=True):
        evaluation = known[job.key]
        assert evaluation is not None
        if evaluation.status != "ok":
            raise ArchpressError(f"a training after pruning failed: {evaluation.reason}")
        run.network = replace(run.network, weights=load_file(Path(job.weights_path)))
        run.accuracy = evaluation.validation_accuracy or 0.0
        found.append(evaluation)
    return found


def _job(run: _Run, recipe: TrainingRecipe, task: CompressionTask, folder: Path) -> Job:
    start = digest_of(run.network.weights)
    changes = {"name": f"{recipe.name}-pruned", "start": start, "chance_steps": 0}
    job = Job(
        run.network.architecture, recipe.model_copy(update=changes), run.seed, task.data.digest
    )
    return replace(job, weights_path=str(weights_path(folder, job.key)))


def _finally(run: _Run, task: CompressionTask, resources: Resources) -> Label:
    """Return the network trained on by the final recipe, from its weights, in several orders."""
    start = run.network.weights
    runs = [_Run(run.network, number) for number in range(task.final_recipe.seeds)]
    given = Given(start=start)
    jobs = [_job(each, task.final_recipe, task, resources.folder / "weights") for each in runs]
    executor = Giving(resources.executor, lambda job: given)
    known = make_runs(
        jobs, resources.archive, executor, on_progress=resources.reporter("final training")
    ).known
    return Label.of([found for job in jobs if (found := known[job.key]) is not None])
