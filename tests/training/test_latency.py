"""Latency: the logic by a synthetic clock; the real measurement once, whatever it says."""

from collections.abc import Callable

import pytest
import torch

from archpress.architectures.references import digits_cnn
from archpress.errors import SettingsError
from archpress.training.latency import (
    ENOUGH_MS,
    FEWEST,
    MOST,
    WARM_UP,
    Conditions,
    measure,
    repeated,
)


def clock(*milliseconds: float, then: float) -> tuple[Callable[[], float], list[float]]:
    """What takes these milliseconds call by call, and all that it took so far."""
    told: list[float] = []

    def once() -> float:
        told.append(milliseconds[len(told)] if len(told) < len(milliseconds) else then)
        return told[-1]

    return once, told


def test_the_warm_up_does_not_count() -> None:
    once, told = clock(*[1000.0] * WARM_UP, then=1.0)
    timing = repeated(once)
    assert (timing.low, timing.median, timing.high) == (1.0, 1.0, 1.0)
    assert len(told) == timing.repeats + WARM_UP


def test_the_median_is_no_victim_of_interruptions_and_the_spread_shows_them() -> None:
    once, _ = clock(*[0.0] * WARM_UP, *[2.0, 2.0, 90.0] * 20, then=2.0)
    timing = repeated(once)
    assert timing.median == 2.0
    assert timing.high > 2.0 > 0.0
    assert timing.low == 2.0


@pytest.mark.parametrize(
    ("each", "repeats"), [(0.01, MOST), (2 * ENOUGH_MS, FEWEST), (5.0, ENOUGH_MS / 5)]
)
def test_slow_networks_are_repeated_less(each: float, repeats: int) -> None:
    assert repeated(clock(then=each)[0]).repeats == repeats


def test_a_network_is_measured_here_and_nothing_else_is_changed() -> None:
    threads, stream = torch.get_num_threads(), torch.get_rng_state()
    timing = measure(digits_cnn(), Conditions(batch_size=2, threads=1))
    assert 0 < timing.low <= timing.median <= timing.high
    assert timing.repeats >= FEWEST
    assert torch.get_num_threads() == threads
    assert torch.equal(torch.get_rng_state(), stream)


@pytest.mark.skipif(torch.cuda.is_available(), reason="there is a CUDA device")
def test_a_device_that_is_not_there_is_refused() -> None:
    with pytest.raises(SettingsError, match="there is no CUDA device: use cpu"):
        measure(digits_cnn(), Conditions("cuda"))


@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device")
def test_a_network_is_measured_on_a_gpu() -> None:
    timing = measure(digits_cnn(), Conditions("cuda", batch_size=16))
    assert 0 < timing.low <= timing.median <= timing.high


def test_conditions_are_told_in_words() -> None:
    assert str(Conditions()) == "cpu, 1 thread, batches of 1"
    assert str(Conditions(batch_size=8, threads=0)) == "cpu, all threads, batches of 8"
    assert str(Conditions("cuda", 64)) == "cuda, batches of 64"
