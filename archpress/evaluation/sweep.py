"""Label a population: what the archive knows is not trained again."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from archpress.architectures.architecture import Architecture
from archpress.evaluation.archive import Archive
from archpress.evaluation.cost_model import expected_work
from archpress.evaluation.executors import Executor
from archpress.evaluation.recipe import TrainingRecipe
from archpress.evaluation.record import Evaluation, Job, Label

OnProgress = Callable[[int, int], None]
"""Called with (units done, units in all)."""


@dataclass(frozen=True)
class Sweep:
    """Labels of a population.

    Attributes:
        labels: One per architecture given, in the same order.
        trained: The runs that this call made itself.
    """

    labels: tuple[Label, ...]
    trained: tuple[Evaluation, ...]


def evaluate(
    architectures: Sequence[Architecture],
    recipe: TrainingRecipe,
    archive: Archive,
    executor: Executor,
    weights_folder: Path | None = None,
    on_progress: OnProgress = lambda done, total: None,
) -> Sweep:
    """Return the labels of ``architectures``: expected accuracy over ``recipe.seeds`` runs.

    Every finished run is in the archive before the next result is awaited: killed at any moment
    and called again, nothing finished is repeated and nothing is lost.

    Args:
        architectures: What to label; repeated ones are trained once.
        recipe: How to train, and how many initialisations.
        archive: Where runs are looked up and stored.
        executor: Where runs are made; it holds the data.
        weights_folder: Where to keep trained weights, as ``KEY.safetensors``; None for nowhere. A
            run whose weights are missing there is made again.
        on_progress: Told the units of work (multiply-accumulates) done and in all.
    """
    jobs = _jobs(architectures, recipe, executor, weights_folder)
    missing = [job for job in jobs.values() if _is_missing(job, archive)]
    known = {job.key: archive.get(job.key) for job in jobs.values()}
    missing.sort(key=expected_work, reverse=True)
    meter = Meter(missing, on_progress)
    trained = []
    for evaluation in executor.run(missing, meter.epoch):
        archive.add(evaluation)
        trained.append(evaluation)
        known[evaluation.key] = evaluation
        meter.finished(evaluation)
    labels = []
    for architecture in architectures:
        keys = [_job(architecture, recipe, seed, executor).key for seed in range(recipe.seeds)]
        labels.append(Label.of([found for key in keys if (found := known[key]) is not None]))
    return Sweep(tuple(labels), tuple(trained))


class Meter:
    """Counts the work done on jobs, epoch by epoch.

    Args:
        jobs: All jobs.
        on_progress: Told (done, all) whenever something is done.
    """

    def __init__(self, jobs: Sequence[Job], on_progress: OnProgress) -> None:
        self._work = {job.key: expected_work(job) for job in jobs}
        self._done = dict.fromkeys(self._work, 0)
        self._on_progress = on_progress

    def epoch(self, job: Job) -> None:
        """Count one epoch of ``job``; a job that is tried again never counts twice."""
        share = self._work[job.key] // job.recipe.epochs
        self._tell(job.key, min(self._done[job.key] + share, self._work[job.key]))

    def finished(self, evaluation: Evaluation) -> None:
        """Count the whole job, however many epochs it ran."""
        self._tell(evaluation.key, self._work[evaluation.key])

    def _tell(self, key: str, done: int) -> None:
        self._done[key] = done
        self._on_progress(sum(self._done.values()), sum(self._work.values()))


def _jobs(
    architectures: Sequence[Architecture],
    recipe: TrainingRecipe,
    executor: Executor,
    weights_folder: Path | None,
) -> dict[str, Job]:
    jobs = {}
    for architecture in architectures:
        for seed in range(recipe.seeds):
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


def _is_missing(job: Job, archive: Archive) -> bool:
    found = archive.get(job.key)
    if found is None:
        return True
    return found.status == "ok" and bool(job.weights_path) and not Path(job.weights_path).exists()
