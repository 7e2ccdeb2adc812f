"""Cost: against hand formulas, against the real network, and against PyTorch's own counter."""

import math

import pytest
import torch
from hypothesis import given, settings
from torch.utils.flop_counter import FlopCounterMode

from archpress.architectures.architecture import Architecture
from archpress.architectures.building import build
from archpress.architectures.cost import Cost, fold_cost
from archpress.architectures.layers import Convolution, Layer, Linear, MaxPool, ReLU
from archpress.architectures.references import conv7, conv10
from archpress.architectures.spaces import Limits
from archpress.errors import InvalidArchitectureError
from tests.small_networks import every_network, sampled_networks


def counted_cost(network: Architecture) -> Cost:
    """The cost that shows when the network runs, on the meta device: sizes without numbers."""
    peak = 0

    def measure(_: torch.nn.Module, inputs: tuple[torch.Tensor], output: torch.Tensor) -> None:
        nonlocal peak
        peak = max(peak, inputs[0].nbytes + output.nbytes)

    with torch.device("meta"):
        model = build(network).eval()
        image = torch.empty(1, *network.input_shape)
    for module in model:
        if not isinstance(module, torch.nn.Flatten):  # a view, which takes no memory
            module.register_forward_hook(measure)
    with FlopCounterMode(display=False) as counter:
        model(image)
    parameters = sum(parameter.numel() for parameter in model.parameters())
    return Cost(parameters, counter.get_total_flops() // 2, peak)


def test_a_small_network_costs_what_the_hand_says() -> None:
    layers: tuple[Layer, ...] = (Convolution(4, 3, padding=1), ReLU(), MaxPool(2, 2), Linear(10))
    parameters = (3 * 3 * 2 * 4 + 4) + (4 * 5 * 3 * 10 + 10)
    macs = (10 * 6) * (3 * 3 * 2 * 4) + 4 * 5 * 3 * 10
    # Values alive at once: 2x10x6 -> 4x10x6, the same -> the same, -> 4x5x3, -> 10.
    peak = max(120 + 240, 240 + 240, 240 + 60, 60 + 10)
    assert fold_cost(layers, (2, 10, 6)) == Cost(parameters, macs, peak * 4)
    assert Architecture((2, 10, 6), layers).cost == Cost(686, 4920, 1920)


@pytest.mark.parametrize(
    ("layers", "values"),
    [
        ((Linear(3),), 48 + 3),
        ((MaxPool(4, 4), Linear(100)), 3 + 100),
        ((Convolution(64, 1), MaxPool(4, 4), Linear(2)), 64 * 16 + 64),
        ((Convolution(2, 1), MaxPool(4, 4), Linear(2)), 48 + 2 * 16),
    ],
)
def test_the_peak_is_the_largest_sum_of_one_layers_input_and_output(
    layers: tuple[Layer, ...], values: int
) -> None:
    assert fold_cost(layers, (3, 4, 4)).activation_bytes == 4 * values


def test_the_biases_count_as_parameters_and_not_as_macs() -> None:
    assert fold_cost([Linear(10)], (1, 1, 1)) == Cost(20, 10, 44)


def test_a_fold_over_layers_that_do_not_fit_is_refused() -> None:
    with pytest.raises(InvalidArchitectureError, match="kernel 5 is larger"):
        fold_cost([Convolution(4, 5), Linear(10)], (1, 4, 4))


@every_network
def test_the_stated_cost_is_what_the_real_network_shows(network: Architecture) -> None:
    assert network.cost == counted_cost(network)


@settings(max_examples=40, deadline=None)
@given(sampled_networks(Limits()))
def test_the_stated_cost_of_sampled_networks_is_what_they_show(network: Architecture) -> None:
    assert network.cost == counted_cost(network)


@pytest.mark.parametrize("network", [conv7(), conv10(), conv10(classes=100)])
def test_the_stated_cost_of_the_references_is_what_they_show(network: Architecture) -> None:
    assert network.cost == counted_cost(network)


def test_the_macs_of_conv7_are_those_by_hand() -> None:
    by_side = {
        28: 9 * (1 * 32 + 32 * 32),
        14: 9 * (32 * 64 + 64 * 64),
        7: 9 * (64 * 128 + 128 * 128 + 128 * 256),
    }
    macs = sum(side**2 * weights for side, weights in by_side.items())
    assert conv7().cost.macs == macs + 7 * 7 * 256 * 10
    assert conv7().cost.activation_bytes == 4 * 2 * math.prod((32, 28, 28))
