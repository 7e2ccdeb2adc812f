"""Predicted and measured latency: by devices whose law is known."""

import math
from pathlib import Path

import pytest

from archpress.architectures.architecture import Architecture
from archpress.architectures.references import digits_cnn
from archpress.architectures.spaces import BlocksSpace, Limits
from archpress.compression.latency import DeviceLatency, fit, fitted_latency, read_latency
from archpress.errors import RunFolderError
from archpress.training.latency import Conditions, Timing
from tests.compression.tasks import network_of
from tests.small_networks import generator

SPACE = BlocksSpace((1, 8, 8), 10, Limits(500, 75_000))


def milliseconds(network: Architecture) -> float:
    """A device that takes 0.02 ms for a layer, a nanosecond for a MAC, 0.1 ms for the call."""
    return 0.1 + 0.02 * len(network.layers) + network.cost.macs / 1e6


class Device:
    """Measures by `milliseconds` and notes what it was asked for."""

    def __init__(self) -> None:
        self.asked: list[str] = []

    def __call__(self, network: Architecture) -> Timing:
        self.asked.append(network.digest)
        median = milliseconds(network)
        return Timing(median, 0.9 * median, 1.2 * median, 10)


@pytest.fixture
def device() -> Device:
    return Device()


@pytest.fixture
def told(device: Device) -> DeviceLatency:
    return fitted_latency(digits_cnn(), SPACE, 30, Conditions(), device)


def test_a_device_that_is_linear_is_predicted_on_networks_it_was_not_fitted_to(
    told: DeviceLatency,
) -> None:
    others = SPACE.sample(20, generator(7)).architectures
    for network in others:
        assert told.model.predict(network) == pytest.approx(milliseconds(network), rel=0.05)
    assert told.model.spread < 1.05


def test_the_spread_says_how_far_predictions_err() -> None:
    networks = SPACE.sample(60, generator(1)).architectures
    noisy = [milliseconds(n) * (1.5 if i % 2 else 1 / 1.5) for i, n in enumerate(networks)]
    model = fit(networks, noisy)
    assert 1.4 < model.spread < 1.8
    assert min(model.coefficients) >= 0.0


def test_the_input_network_and_as_many_others_are_measured_small_ones_among_them(
    told: DeviceLatency, device: Device
) -> None:
    assert device.asked[0] == digits_cnn().digest
    assert SPACE.smallest().digest in device.asked
    assert told.model.fitted_to == 31


def test_what_was_measured_goes_before_what_is_predicted(
    told: DeviceLatency, device: Device
) -> None:
    network = network_of(7)
    before, calls = told(network), len(device.asked)
    assert (before, len(device.asked)) == (told.model.predict(network), calls)
    assert told.measure(network) == milliseconds(network) == told(network)
    assert told.measure(network) == told(network)
    assert len(device.asked) == calls + 1, "it is measured once"


def test_what_is_kept_is_read_again_with_every_later_measurement(
    told: DeviceLatency, device: Device, tmp_path: Path
) -> None:
    told.keep_in(tmp_path / "latency.json")
    told.measure(network_of(7))
    again = read_latency(tmp_path / "latency.json", device)
    assert (again.model, again.conditions) == (told.model, told.conditions)
    assert again.timings == told.timings
    assert network_of(7).digest in again.timings


@pytest.mark.parametrize("text", ["", "[]", "{}", '{"predictor": {"spread": 1}}'])
def test_a_damaged_file_is_named(text: str, device: Device, tmp_path: Path) -> None:
    (tmp_path / "latency.json").write_text(text)
    with pytest.raises(RunFolderError, match=r"latency\.json is damaged .* measured anew"):
        read_latency(tmp_path / "latency.json", device)


def test_it_is_described_with_its_spread_and_conditions(told: DeviceLatency) -> None:
    own = milliseconds(digits_cnn())
    said = told.described(digits_cnn())
    assert f"takes {own:.3g} ms ({0.9 * own:.3g} to {1.2 * own:.3g}, 10 repeats; cpu, 1" in said
    assert "from 31 measured" in said
    assert math.isfinite(told.model.spread)
