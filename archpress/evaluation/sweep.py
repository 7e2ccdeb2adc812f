"""Label a population: what the archive knows is not trained again."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from archpress.architectures.architecture import Architecture
from archpress.evaluation.archive import Archive
from archpress.evaluation.executors import Executor
from archpress.evaluation.record import Evaluation, Job, Label
from archpress.evaluation.runs import OnProgress, Spender, make_runs, missing
from archpress.evaluation.spending import NO_LIMIT, Allowance, Estimate, Ledger
from archpress.training.recipe import TrainingRecipe


@dataclass(frozen=True)
class Sweep:
    """Labels of a population.

    Attributes:
        labels: One per architecture given, in the same order; without accuracy where the budget
            did not reach.
        trained: The runs that this call made itself.
        left_out: Runs that the budget left undone.
    """

    labels: tuple[Label, ...]
    trained: tuple[Evaluation, ...]
    left_out: int = 0

    @property
    def ledger(self) -> Ledger:
        """What this call has spent."""
        return Ledger.of(self.trained)


def evaluate(
    architectures: Sequence[Architecture],
    recipe: TrainingRecipe,
    archive: Archive,
    executor: Executor,
    *,
    weights_folder: Path | None = None,
    budget: Allowance = NO_LIMIT,
    on_progress: OnProgress = lambda done, total: None,
) -> Sweep:
    """Return the labels of ``architectures``: expected accuracy over ``recipe.seeds`` runs.

    Every finished run is in the archive before the next result is awaited: killed at any moment
    and called again, nothing finished is repeated and nothing is lost.

    Args:
        architectures: What to label, the most wanted first; repeated ones are trained once.
        recipe: How to train, and how many initialisations.
        archive: Where runs are looked up and stored; kept from other writers meanwhile.
        executor: Where runs are made; it holds the data.
        weights_folder: Where to keep trained weights, as ``KEY.safetensors``; None for nowhere. A
            run whose weights are missing there is made again.
        budget: What this call may spend. Runs that the archive has cost nothing; of the others,
            those that come first in the order given are made, as many as the budget allows.
        on_progress: Told the units of work done and in all.

    Raises:
        ArchiveError: Another process writes to the archive, or it has runs of these networks in
            another arithmetic.
    """
    jobs = _jobs(architectures, recipe, executor, weights_folder)
    runs = make_runs(
        list(jobs.values()), archive, executor, budget=budget, on_progress=on_progress
    )  # fmt: skip
    labels = [_label(network, recipe, executor, runs.known) for network in architectures]
    return Sweep(tuple(labels), runs.trained, runs.left_out)


def _label(
    architecture: Architecture,
    recipe: TrainingRecipe,
    executor: Executor,
    known: Mapping[str, Evaluation | None],
) -> Label:
    keys = [_job(architecture, recipe, seed, executor).key for seed in range(recipe.seeds)]
    found = [evaluation for key in keys if (evaluation := known[key]) is not None]
    return Label.of(found) if found else Label(architecture, None, None, ())


def estimate(
    architectures: Sequence[Architecture],
    recipe: TrainingRecipe,
    archive: Archive,
    executor: Executor,
    budget: Allowance = NO_LIMIT,
) -> Estimate:
    """Return what :func:`evaluate` will spend on what the archive does not have.

    A budget of operations leaves out what :func:`evaluate` would; one of time does not.
    """
    jobs = _jobs(architectures, recipe, executor, None)
    wanted = missing(list(jobs.values()), archive)
    return Spender(wanted, archive, executor, budget).estimate()


def _jobs(
    architectures: Sequence[Architecture],
    recipe: TrainingRecipe,
    executor: Executor,
    weights_folder: Path | None,
) -> dict[str, Job]:
    """Return the runs by key: the first of every network, then the second ones, and so on."""
    jobs = {}
    for seed in range(recipe.seeds):
        for architecture in architectures:
            job = _job(architecture, recipe, seed, executor, weights_folder)
            jobs[job.key] = job
    return jobs


def _job(
    architecture: Architecture,
    recipe: TrainingRecipe,
    seed: int,
    executor: Executor,
    weights_folder: Path | None = None,
) -> Job:
    job = Job(architecture, recipe, seed, executor.data.digest)
    if weights_folder is None:
        return job
    return Job(
        architecture, recipe, seed, job.data_digest, str(weights_path(weights_folder, job.key))
    )


def weights_path(folder: Path, key: str) -> Path:
    """Return where the trained weights of the run with this key lie."""
    return folder / f"{key}.safetensors"
