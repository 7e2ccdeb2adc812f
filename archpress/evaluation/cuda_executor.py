"""Many trainings at once on one GPU, in this process, each in a stream of its own.

Why streams and a graph per training, not branches of one graph: trainings start and end at
different times and have different lengths, so a joint graph would be captured anew at every
start; graphs that run at the same time may not share a memory pool anyway; and a replay takes
one launch either way. **Not yet measured, nor run, on a GPU**; tested on CPUs, where the same
scheduling runs without streams.
"""

import time
from collections import deque
from collections.abc import Iterator, Sequence
from dataclasses import replace
from functools import partial

import torch
from torch import Tensor

from archpress.datasets.dataset import DataSet
from archpress.errors import SettingsError
from archpress.evaluation.cuda_tuning import most_at_once, quickest_graphing
from archpress.evaluation.executors import Executor, OnEpoch, ignore
from archpress.evaluation.record import Evaluation, Job, circumstances
from archpress.evaluation.running import device_name, evaluation_of, failure_of, is_out_of_memory
from archpress.training.given import NOTHING
from archpress.training.graphed_steps import (
    GraphedSteps,
    Graphing,
    on_stream,
)
from archpress.training.precision import Precision
from archpress.training.steps import reproducible_cudnn
from archpress.training.training import Training, begin

REPLAYS_PER_TURN = 4
"""Queued for one training before the next one has its turn: few, so that all queues fill alike."""


class CudaExecutor(Executor):
    """Keeps several trainings on their way on one GPU and yields them as they finish.

    Turns go round; each queues a few replays and waits for nothing. Numbers do not depend on what
    runs beside: a training has its own weights, generator, graphs, memory pool and stream. One
    that runs out of memory beside others is trained again with fewer beside it, and recorded as
    out of memory only when it was alone.

    Args:
        data: The data set; moved to the device here, once.
        precision: What to train in.
        device: A GPU. Other devices run the same turns, for tests: their numbers are those of
            graphed steps, which differ from `InProcess` by rounding.
        graphing: How to capture; None for what is quickest with the first job.
        at_once: Trainings on their way; None for what is quickest with the first job and fits.

    Raises:
        SettingsError: No such GPU, or ``at_once`` below 1.
    """

    def __init__(
        self,
        data: DataSet,
        precision: Precision = "float32",
        device: str = "cuda",
        graphing: Graphing | None = None,
        at_once: int | None = None,
    ) -> None:
        self._device = _checked(device)
        if at_once is not None and at_once < 1:
            raise SettingsError(f"expected at least one training at once, received {at_once}")
        super().__init__(data.to(self._device), precision)
        self.device = device_name(self._device)
        self.graphing = graphing
        self.at_once = at_once

    def run(self, jobs: Sequence[Job], on_epoch: OnEpoch = ignore) -> Iterator[Evaluation]:
        self._tune(jobs)
        self.workers = self.at_once or 1
        waiting = deque(jobs)
        flights: list[Flight] = []
        streams: list[torch.cuda.Stream | None] = []
        while waiting or flights:
            while waiting and len(flights) < (self.at_once or 1):
                stream = streams.pop() if streams else self._new_stream()
                flights.append(Flight(waiting.popleft(), self, stream))
            for flight in tuple(flights):
                evaluation = self._turn(flight, alone=len(flights) == 1)
                if flight.ended_epoch:
                    on_epoch(flight.job)
                if flight.is_over:
                    flights.remove(flight)
                    streams.append(flight.stream)
                if flight.is_over and evaluation is None:
                    waiting.appendleft(flight.job)
                    self.at_once = len(flights)
                if evaluation is not None:
                    yield evaluation
            if flights and all(flight.is_waiting for flight in flights):
                flights[0].wait()

    def _turn(self, flight: "Flight", alone: bool) -> Evaluation | None:
        """Return the evaluation, or None where the flight goes on or has to be made again."""
        try:
            return flight.turn()
        except (RuntimeError, MemoryError) as error:
            flight.drop()
            short = is_out_of_memory(error)
            if isinstance(error, torch.AcceleratorError) and not short:
                raise  # the device is in an unknown state: that says nothing about the network
            evaluation = None if short and not alone else flight.failure(error)
        if self._device.type == "cuda":
            torch.cuda.empty_cache()
        return evaluation

    def _tune(self, jobs: Sequence[Job]) -> None:
        if jobs and self.graphing is None:
            self.graphing = quickest_graphing(jobs[0], self.data, self.precision)
        if len(jobs) > 1 and self.graphing is not None and self.at_once is None:
            self.at_once = most_at_once(jobs[0], self.data, self.precision, self.graphing)

    def _new_stream(self) -> "torch.cuda.Stream | None":
        return torch.cuda.Stream(self._device) if self._device.type == "cuda" else None


class Flight:
    """One job on its way.

    Args:
        job: What to train.
        executor: Its data, precision and graphing are read.
        stream: Where to queue the work; None where the device has no streams.

    Attributes:
        is_over: Whether it has ended, by an evaluation or an error.
        ended_epoch: Whether the last turn saw the end of an epoch worth going on from.
    """

    def __init__(
        self, job: Job, executor: CudaExecutor, stream: "torch.cuda.Stream | None"
    ) -> None:
        self.job, self.stream = job, stream
        self.is_over = self.ended_epoch = False
        self._data, self._precision = executor.data, executor.precision
        self._graphing = executor.graphing or Graphing()
        self._start = time.perf_counter()
        self._building_seconds = 0.0
        self._training: Training | None = None
        self._verdict: Verdict | None = None

    @property
    def is_waiting(self) -> bool:
        """Whether nothing can be queued before the device has told a verdict."""
        return self._verdict is not None and not self._verdict.is_known()

    def wait(self) -> None:
        """Wait until the verdict is known."""
        if self._verdict is not None:
            self._verdict.wait()

    def turn(self) -> Evaluation | None:
        """Begin, queue some steps, or follow a verdict; return the evaluation at the end."""
        self.ended_epoch = False
        with on_stream(self.stream), reproducible_cudnn():
            if self._training is None:
                self._training = self._begun()
            elif self._verdict is None:
                most = self._graphing.steps_per_replay * REPLAYS_PER_TURN
                if self._training.advance(most):
                    self._verdict = Verdict(self._training.verdict())
            elif self._verdict.is_known():
                return self._follow(self._training, self._verdict)
        return None

    def _begun(self) -> Training:
        start, job = time.perf_counter(), self.job
        training = begin(
            job.architecture, job.recipe, self._data, job.random_seed, self._precision,
            partial(GraphedSteps, graphing=self._graphing), job.given or NOTHING,
        )  # fmt: skip
        self._building_seconds = time.perf_counter() - start
        return training

    def _follow(self, training: Training, verdict: "Verdict") -> Evaluation | None:
        self._verdict = None
        self.ended_epoch = verdict.value and training.ends_epoch
        if verdict.value and not training.is_complete:
            return None
        evaluation = self._evaluation(training)
        self.drop()
        return evaluation

    def _evaluation(self, training: Training) -> Evaluation:
        made = evaluation_of(self.job, training.end(), self._data)
        return self._complete(made, self._building_seconds + training.set_up_seconds)

    def failure(self, error: Exception) -> Evaluation:
        """Return the record of a job that ended with ``error``."""
        return self._complete(failure_of(self.job, error), 0.0)

    def _complete(self, made: Evaluation, set_up_seconds: float) -> Evaluation:
        seconds = time.perf_counter() - self._start
        return replace(made, seconds=seconds, circumstances=self._circumstances(set_up_seconds))

    def _circumstances(self, set_up_seconds: float) -> dict[str, str]:
        device = self._data.train.labels.device
        facts = circumstances(self._precision, device_name(device))
        return facts | {"set_up_seconds": f"{set_up_seconds:.3f}"}

    def drop(self) -> None:
        """Let go of all memory."""
        self.is_over, self._training, self._verdict = True, None, None


class Verdict:
    """A bool on its way from the device.

    Args:
        value: Bool ``[]``, as queued in the current stream.
    """

    def __init__(self, value: Tensor) -> None:
        self._event: torch.cuda.Event | None = None
        self._value = value
        if value.is_cuda:
            self._value = torch.empty((), dtype=torch.bool, pin_memory=True)
            self._value.copy_(value, non_blocking=True)
            self._event = torch.cuda.Event()
            self._event.record()

    def is_known(self) -> bool:
        """Whether the device has told it."""
        return self._event is None or self._event.query()

    def wait(self) -> None:
        """Wait until it is known."""
        if self._event is not None:
            self._event.synchronize()

    @property
    def value(self) -> bool:
        """The bool, once it is known."""
        return bool(self._value)


def _checked(device: str) -> torch.device:
    if device.split(":")[0] != "cuda":
        return torch.device(device)
    if not torch.cuda.is_available():
        raise SettingsError(
            f"expected a GPU as {device!r}, received none that PyTorch {torch.__version__} can "
            "use; train on the CPU, or install PyTorch for CUDA"
        )
    return torch.device(device)
