"""Training runs, each made once: what the archive knows is not made again."""

import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import islice
from pathlib import Path

from archpress.errors import ArchiveError
from archpress.evaluation.archive import Archive
from archpress.evaluation.cost_model import FEWEST_JOBS, CostModel, probed, training_flops
from archpress.evaluation.executors import Executor
from archpress.evaluation.record import LEARNED_NOTHING, Evaluation, Job
from archpress.evaluation.spending import NO_LIMIT, Allowance, Estimate, makespan
from archpress.training.machine import processor
from archpress.training.precision import family

OnProgress = Callable[[int, int], None]
"""Called with (units done, units in all)."""

UNITS_PER_SECOND = 1_000
REFITTED_TO = 500


@dataclass(frozen=True)
class Runs:
    """What became of runs.

    Attributes:
        known: Key -> evaluation; None where the budget did not reach.
        trained: The runs that this call made itself.
        left_out: Runs that the budget left undone.
    """

    known: Mapping[str, Evaluation | None]
    trained: tuple[Evaluation, ...]
    left_out: int


def make_runs(
    jobs: Sequence[Job],
    archive: Archive,
    executor: Executor,
    *,
    budget: Allowance = NO_LIMIT,
    on_progress: OnProgress = lambda done, total: None,
) -> Runs:
    """Return what became of jobs of different keys.

    Every finished run is in the archive before the next result is awaited: killed at any moment
    and called again, nothing finished is repeated and nothing is lost.

    Args:
        jobs: The runs, the most wanted first. One whose weights are missing is made again.
        archive: Where runs are looked up and stored; kept from other writers meanwhile.
        executor: Where runs are made; it holds the data.
        budget: What this call may spend.
        on_progress: Told the units of work done and in all.

    Raises:
        ArchiveError: Another process writes to the archive, or it has runs of these networks in
            another arithmetic.
    """
    with archive.writing():
        wanted = missing(jobs, archive)
        spender = Spender(wanted, archive, executor, budget)
        known = {job.key: archive.get(job.key) for job in jobs}
        _require_comparable(known, archive, executor)
        meter = Meter(spender.chosen, spender.model, len(executor.data.train), on_progress)
        trained: list[Evaluation] = []
        for wave in spender.waves(trained):
            for evaluation in executor.run(wave, meter.epoch):
                archive.add(evaluation)
                trained.append(evaluation)
                known[evaluation.key] = evaluation
                meter.finished(evaluation)
    return Runs(known, tuple(trained), len(wanted) - len(trained))


def missing(jobs: Sequence[Job], archive: Archive) -> list[Job]:
    """Return the jobs that the archive does not know, or whose weights are not where they should.

    Failures are known and stay so.
    """
    return [job for job in jobs if _is_missing(job, archive)]


def _is_missing(job: Job, archive: Archive) -> bool:
    found = archive.get(job.key)
    if found is None:
        return True
    return found.status == "ok" and bool(job.weights_path) and not Path(job.weights_path).exists()


def _require_comparable(
    known: Mapping[str, Evaluation | None], archive: Archive, executor: Executor
) -> None:
    ours = executor.arithmetic
    for evaluation in known.values():
        if evaluation is None or evaluation.status not in ("ok", *LEARNED_NOTHING):
            continue
        if evaluation.arithmetic not in ("", ours):
            raise ArchiveError(
                f"{archive.path} has runs of these networks in {evaluation.arithmetic}, and new "
                f"ones would be in {ours}: choose the same precision and device, or another archive"
            )


class Spender:
    """Decides which runs are made, and when, within a budget.

    Args:
        wanted: Runs to be made, the most wanted first.
        archive: What its runs took, on this kind of processor, is what new ones are taken to take.
        executor: Says how many run at once.
        budget: What may be spent.
    """

    def __init__(
        self, wanted: Sequence[Job], archive: Archive, executor: Executor, budget: Allowance
    ) -> None:
        self._start = time.monotonic()
        self._images = len(executor.data.train)
        self._workers = executor.workers
        self._budget = budget
        self._executor = executor
        here = (processor(), executor.device, family(executor.precision))
        runs = (e for e in archive if _place(e) == here)
        self.model = CostModel().refitted(islice(runs, REFITTED_TO) if wanted else ())
        self._is_probed = False
        self.chosen = self._affordable(wanted)

    def _affordable(self, wanted: Sequence[Job]) -> list[Job]:
        """Return the longest head of ``wanted`` whose operations are within the budget."""
        chosen, left = [], self._budget.flops or float("inf")
        for job in wanted:
            left -= training_flops(job.architecture, job.recipe, self._images)
            if left < 0:
                break
            chosen.append(job)
        return chosen

    def _probe(self) -> None:
        """Scale what is not fitted to this machine, once."""
        if not (self.model.fitted_to or self._is_probed) and self._executor.device == "cpu":
            self.model = probed(self._executor.precision)
        self._is_probed = True

    def estimate(self) -> Estimate:
        """Return what the chosen runs will cost, were there time for all of them."""
        if self.chosen:
            self._probe()
        return Estimate.of(self.chosen, self.model, self._images, self._workers)

    def waves(self, trained: Sequence[Evaluation]) -> Iterator[list[Job]]:
        """Yield the runs to start next, the longest first, until time or work is over.

        Without a limit of time there is one wave. With one, a wave takes at most a third of the
        time that is left, by a model refitted to what ``trained`` has come to hold.
        """
        rest = list(self.chosen)
        if rest and self._budget.seconds is not None:
            self._probe()
        while rest:
            wave = self._next(rest)
            rest = rest[len(wave) :]
            if not wave:
                return
            yield sorted(wave, key=self._seconds, reverse=True)
            self.model = self.model.refitted(trained)

    def _next(self, rest: list[Job]) -> list[Job]:
        if self._budget.seconds is None:
            return rest
        left = self._budget.seconds - (time.monotonic() - self._start)
        if not self.model.fitted_to:  # the pace is a guess: let a few runs tell it
            rest = rest[: max(self._workers, FEWEST_JOBS)]
        return self._within(rest, left / 3) or self._within(rest[: self._workers], left)

    def _within(self, jobs: Sequence[Job], seconds: float) -> list[Job]:
        """Return the longest head of ``jobs`` that is done in this time."""
        low, high = 0, len(jobs)
        while low < high:
            middle = (low + high + 1) // 2
            if makespan(map(self._seconds, jobs[:middle]), self._workers) <= seconds:
                low = middle
            else:
                high = middle - 1
        return list(jobs[:low])

    def _seconds(self, job: Job) -> float:
        return self.model.seconds(job.architecture, job.recipe, self._images)


def _place(evaluation: Evaluation) -> tuple[str | None, str, str]:
    facts = evaluation.circumstances
    return facts.get("processor"), facts.get("device", "cpu"), family(facts.get("precision", ""))


class Meter:
    """Counts the work done on jobs, epoch by epoch, in predicted milliseconds.

    Args:
        jobs: All jobs.
        model: Predicts what each takes.
        images: Training images of the data set.
        on_progress: Told (done, all) whenever something is done.
    """

    def __init__(
        self, jobs: Sequence[Job], model: CostModel, images: int, on_progress: OnProgress
    ) -> None:
        self._work = {
            job.key: round(UNITS_PER_SECOND * model.seconds(job.architecture, job.recipe, images))
            for job in jobs
        }
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
