"""The reference networks have the paper's sizes, and names lead to networks."""

import re

import pytest
import torch

from archpress.architectures.architecture import Architecture
from archpress.architectures.building import build
from archpress.architectures.layers import Convolution, MaxPool
from archpress.architectures.references import (
    REFERENCES,
    conv7,
    conv10,
    conv10_eighth,
    digits_cnn,
    plain,
    reference,
)
from archpress.errors import UnknownNetworkError


@pytest.mark.parametrize(
    ("network", "parameters"),
    [
        (conv7(), 708_458),
        (conv10(), 24_354_442),
        (conv10(classes=100), 24_423_652),
        (conv10_eighth(), 383_194),
        (conv10_eighth(classes=100), 391_924),
        (digits_cnn(), 75_626),
    ],
)
def test_a_reference_has_the_stated_parameters(network: Architecture, parameters: int) -> None:
    assert network.cost.parameters == parameters


@pytest.mark.parametrize("network", [conv7(), digits_cnn()])
def test_a_built_reference_has_them_too(network: Architecture) -> None:
    model = build(network, seed=0)
    assert sum(p.numel() for p in model.parameters()) == network.cost.parameters
    assert model(torch.zeros(2, *network.input_shape)).shape == (2, 10)


def test_conv7_is_laid_out_as_decision_r7_says() -> None:
    layers = conv7().layers
    widths = [layer.out_channels for layer in layers if isinstance(layer, Convolution)]
    assert widths == [32, 32, 64, 64, 128, 128, 256]
    assert "".join(layer.kind[0] for layer in layers) == "cbrcbrm" * 2 + "cbr" * 3 + "l"
    assert conv7().shapes[-2] == (256, 7, 7)


def test_conv10_is_laid_out_as_decision_r7_says() -> None:
    layers = conv10().layers
    widths = [layer.out_channels for layer in layers if isinstance(layer, Convolution)]
    assert widths == [64, 256, 256, 256, 512, 512, 768, 768, 768, 768]
    assert "".join(layer.kind[0] for layer in layers) == "cbrcbrm" * 5 + "l"
    assert conv10().shapes[-2] == (768, 1, 1)


def test_plain_counts_blocks_from_one() -> None:
    network = plain((1, 4, 4), 2, (3, 5), {1})
    assert [type(layer) for layer in network.layers].index(MaxPool) == 3
    assert network.shapes[-2] == (5, 2, 2)


@pytest.mark.parametrize("name", REFERENCES)
@pytest.mark.parametrize(("shape", "classes"), [((3, 32, 32), 100), ((1, 40, 33), 7)])
def test_a_name_gives_the_reference_at_the_shape_of_the_data(
    name: str, shape: tuple[int, int, int], classes: int
) -> None:
    network = reference(name, shape, classes)
    assert network == REFERENCES[name](shape, classes)
    assert (network.input_shape, network.classes) == (shape, classes)


def test_the_names_mean_different_networks() -> None:
    assert reference("conv7", (1, 28, 28), 10) == conv7()
    assert reference("conv10", (3, 32, 32), 10) == conv10()
    assert reference("digits-cnn", (1, 8, 8), 10) == digits_cnn()


@pytest.mark.parametrize(
    ("name", "hint"),
    [
        ("conv-7", "did you mean 'conv7'?"),
        ("digits_cnn", "did you mean 'digits-cnn'?"),
        ("CONV-10", "did you mean 'conv10'?"),
        ("xyz", "valid: conv10, conv10-eighth, conv7, digits-cnn"),
    ],
)
def test_an_unknown_name_is_refused_with_the_nearest(name: str, hint: str) -> None:
    message = re.escape(f"unknown network '{name}'; {hint}")
    with pytest.raises(UnknownNetworkError, match=message):
        reference(name, (1, 28, 28), 10)


def test_a_reference_that_the_images_are_too_small_for_is_refused() -> None:
    message = r"conv10 cannot take \(1, 8, 8\) images: layer 27 \(max_pool\) on input \(768, 1, 1\)"
    with pytest.raises(UnknownNetworkError, match=message):
        reference("conv10", (1, 8, 8), 10)
