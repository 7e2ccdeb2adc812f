"""How to use one GPU, found by a few steps; decides speed only, never a number.

**Not yet measured, nor run, on a GPU.**
"""

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import partial

import torch

from archpress.datasets.dataset import DataSet
from archpress.evaluation.record import Job
from archpress.training.given import NOTHING
from archpress.training.graphed_steps import GraphedSteps, Graphing, on_stream
from archpress.training.precision import Precision
from archpress.training.steps import EagerSteps
from archpress.training.training import Trained, Training, begin, part_of

STEPS_PER_REPLAY = (1, 4, 16)
MOST_AT_ONCE = 32
"""Streams that PyTorch keeps per device; more trainings would share some."""
TRIAL_STEPS = 64
ROUND_STEPS = 16
"""So few that the shortest recipes have enough for every number of trainings."""
GAIN = 1.1
MEMORY_SHARE = 0.8


@dataclass(frozen=True)
class TrainingTime:
    """What a training takes.

    Attributes:
        set_up_seconds: Until the first steps were made: building, warm-up, capture.
        step_seconds: Each further step.
    """

    set_up_seconds: float
    step_seconds: float

    def total(self, steps: int) -> float:
        """Return the seconds of so many steps."""
        return self.set_up_seconds + steps * self.step_seconds


def quickest_graphing(job: Job, data: DataSet, precision: Precision) -> Graphing:
    """Return how to capture so that ``job``, as long as it is, ends first.

    Longer captures pay for long trainings only. What cannot be captured at all is not.
    """
    found: list[tuple[float, Graphing]] = []
    for count in STEPS_PER_REPLAY:
        graphing = Graphing(count)
        try:
            timing = _timed(
                partial(_begin, without_hints(job), data, precision, graphing), count, data
            )
        except RuntimeError:
            continue
        steps = job.recipe.epochs * _steps_per_epoch(job, data)
        found.append((timing.total(steps), graphing))
    return min(found, key=lambda pair: pair[0])[1] if found else Graphing(1, capture=False)


def most_at_once(job: Job, data: DataSet, precision: Precision, graphing: Graphing) -> int:
    """Return how many trainings like ``job`` to have on their way: 1, 2, 4, ... while it pays.

    Twice as many have to make at least 1.1 times as many steps per second, and to fit into
    80 % of the memory that was free.
    """
    device = data.train.labels.device
    begin_one = partial(_begin, without_hints(job), data, precision, graphing)
    most, trials = graphing.steps_per_replay, list[_Trial]()
    best, best_rate, fits, free = 1, 0.0, MOST_AT_ONCE, _free_memory(device)
    for count in (2**power for power in range(MOST_AT_ONCE.bit_length())):
        if count > fits:
            break
        try:
            trials += [_Trial(begin_one, most, device) for _ in range(count - len(trials))]
            rate = _steps_per_second(trials, most, device)
        except torch.OutOfMemoryError:
            break
        if count > 1 and rate <= GAIN * best_rate:
            break
        best, best_rate = count, rate
        if count == 1 and free:
            fits = _that_fit(free, free - _free_memory(device))
    return best


def timed_training(
    job: Job,
    data: DataSet,
    device: str,
    graphing: Graphing | None,
    precision: Precision = "float32",
) -> tuple[Trained, TrainingTime]:
    """Train one job on a device; return what was learned, and what it took.

    Args:
        job: What to train.
        data: Moved to the device before the clock starts.
        device: Where to train.
        graphing: How to capture; None for steps launched kernel by kernel.
        precision: What to train in.
    """
    there = data.to(device)
    _synchronise(there.train.labels.device)
    start = time.perf_counter()
    training = _begin(job, there, precision, graphing)
    for _ in range(job.recipe.epochs):
        if not training.epoch():
            break
    trained = training.end()
    seconds = time.perf_counter() - start - training.set_up_seconds
    return trained, TrainingTime(training.set_up_seconds, seconds / trained.steps)


def without_hints(job: Job) -> Job:
    """Return a job whose steps are timed: a stage of hints before them would be repeated."""
    lessons = job.recipe.distillation
    if lessons is None or not lessons.hint_epochs:
        return job
    plain = lessons.model_copy(update={"hint_epochs": 0})
    return replace(job, recipe=job.recipe.model_copy(update={"distillation": plain}))


def _begin(job: Job, data: DataSet, precision: Precision, graphing: Graphing | None) -> Training:
    make_steps = EagerSteps if graphing is None else partial(GraphedSteps, graphing=graphing)
    return begin(
        job.architecture,
        job.recipe,
        data,
        job.random_seed,
        precision,
        make_steps,
        job.given or NOTHING,
    )


def _timed(begin_one: Callable[[], Training], first: int, data: DataSet) -> TrainingTime:
    """Return what set-up with the first steps takes, and each of the next ones."""
    device = data.train.labels.device
    start = time.perf_counter()
    training = begin_one()
    training.advance(first)
    _synchronise(device)
    set_up = time.perf_counter() - start
    before = training.steps
    while training.steps < before + TRIAL_STEPS and not training.is_complete:
        training.advance(TRIAL_STEPS)
    _synchronise(device)
    made = training.steps - before
    seconds = time.perf_counter() - start - set_up
    return TrainingTime(set_up, seconds / made if made else set_up / before)


class _Trial:
    """A training in a stream of its own, past its set-up and its first steps."""

    def __init__(self, begin_one: Callable[[], Training], most: int, device: torch.device) -> None:
        self._stream = torch.cuda.Stream(device) if device.type == "cuda" else None
        with on_stream(self._stream):
            self._training = begin_one()
            self._training.advance(most)

    def turn(self, most: int) -> int:
        """Queue up to so many steps; return how many."""
        before = self._training.steps
        if not self._training.is_complete:
            with on_stream(self._stream):
                self._training.advance(most)
        return self._training.steps - before


def _steps_per_second(trials: Sequence[_Trial], most: int, device: torch.device) -> float:
    """Return the steps per second of all together."""
    _synchronise(device)
    start = time.perf_counter()
    made = 0
    for _ in range(max(1, ROUND_STEPS // most)):
        made += sum(trial.turn(most) for trial in trials)
    _synchronise(device)
    return made / (time.perf_counter() - start)


def _that_fit(free: int, used: int) -> int:
    """Return how many trainings fit, one of which took ``used`` of ``free`` bytes."""
    return max(1, int(MEMORY_SHARE * free) // max(1, used))


def _free_memory(device: torch.device) -> int:
    """Return the bytes that are free on a GPU; 0 where that is not known."""
    if device.type != "cuda":
        return 0
    torch.cuda.empty_cache()
    return int(torch.cuda.mem_get_info(device)[0])


def _steps_per_epoch(job: Job, data: DataSet) -> int:
    return part_of(job.recipe, data).steps


def _synchronise(device: torch.device) -> None:
    if device.type == "cuda":
        torch.cuda.synchronize(device)
