"""How long a network's forward pass takes on this device: warm-up, repeats, median and spread."""

import statistics
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass

import torch
from torch import nn

from archpress.architectures.architecture import Architecture
from archpress.architectures.building import build
from archpress.architectures.segments import layer_prefixes
from archpress.errors import SettingsError

WARM_UP = 5
FEWEST = 10
MOST = 100
ENOUGH_MS = 150.0
"""Repeats end after so many milliseconds, the fewest done."""


@dataclass(frozen=True)
class Conditions:
    """Under which conditions latency is measured.

    Attributes:
        device: ``cpu`` or ``cuda``.
        batch_size: Images per forward pass.
        threads: Threads of the CPU; 0 for as many as PyTorch takes by itself.
    """

    device: str = "cpu"
    batch_size: int = 1
    threads: int = 1

    def __str__(self) -> str:
        """Return the conditions in words."""
        threads = f"{self.threads or 'all'} thread{'' if self.threads == 1 else 's'}"
        where = f"cpu, {threads}" if self.device == "cpu" else self.device
        return f"{where}, batches of {self.batch_size}"


@dataclass(frozen=True)
class Timing:
    """Milliseconds of a forward pass.

    Attributes:
        median: The latency.
        low: A quarter of the repeats took at most so long.
        high: A quarter took at least so long.
        repeats: How many were made.
    """

    median: float
    low: float
    high: float
    repeats: int


def measure(network: Architecture, conditions: Conditions) -> Timing:
    """Return what a forward pass of a network takes here, in float32, with fresh weights.

    What else the machine does counts: measure on a quiet one.

    Raises:
        SettingsError: There is no such device here.
    """
    if conditions.device == "cuda" and not torch.cuda.is_available():
        raise SettingsError("latency.device is 'cuda', but there is no CUDA device: use cpu")
    device = torch.device(conditions.device)
    model = build(network, 0).eval().to(device)
    images = torch.zeros(conditions.batch_size, *network.input_shape, device=device)
    timed = _timed_by_events if device.type == "cuda" else _timed_by_clock
    with torch.inference_mode(), _threads(conditions.threads):
        return repeated(lambda: timed(lambda: model(images)))


def layer_times(network: Architecture, conditions: Conditions) -> list[float]:
    """Return the median milliseconds of each layer in a forward pass on the CPU.

    Launches are all that the clock would see on a GPU: there the list is empty.
    """
    if conditions.device == "cuda":
        return []
    model = build(network, 0).eval()
    places = {
        model.get_submodule(prefix.removesuffix(".")): place
        for place, prefix in enumerate(layer_prefixes(network))
    }
    begun: dict[nn.Module, float] = {}
    times: list[list[float]] = [[] for _ in network.layers]

    def begin(module: nn.Module, given: object) -> None:
        begun[module] = time.perf_counter()

    def end(module: nn.Module, given: object, said: object) -> None:
        times[places[module]].append(1e3 * (time.perf_counter() - begun[module]))

    for module in places:
        module.register_forward_pre_hook(begin)
        module.register_forward_hook(end)
    images = torch.zeros(conditions.batch_size, *network.input_shape)
    with torch.inference_mode(), _threads(conditions.threads):
        repeated(lambda: _timed_by_clock(lambda: model(images)))
    return [statistics.median(each[WARM_UP:]) for each in times]


def repeated(time_once: Callable[[], float]) -> Timing:
    """Return the timing of something that tells its own milliseconds, the warm-up left out."""
    for _ in range(WARM_UP):
        time_once()
    times: list[float] = []
    while len(times) < FEWEST or (len(times) < MOST and sum(times) < ENOUGH_MS):
        times.append(time_once())
    low, median, high = statistics.quantiles(times, n=4, method="inclusive")
    return Timing(median, low, high, len(times))


def _timed_by_clock(call: Callable[[], object]) -> float:
    start = time.perf_counter()
    call()
    return 1e3 * (time.perf_counter() - start)


def _timed_by_events(call: Callable[[], object]) -> float:
    """Return milliseconds on the GPU, the launch of the kernels included."""
    start, end = (torch.cuda.Event(enable_timing=True) for _ in range(2))
    torch.cuda.synchronize()
    start.record()
    call()
    end.record()
    end.synchronize()
    return float(start.elapsed_time(end))


@contextmanager
def _threads(count: int) -> Iterator[None]:
    before = torch.get_num_threads()
    torch.set_num_threads(count or before)
    try:
        yield
    finally:
        torch.set_num_threads(before)
