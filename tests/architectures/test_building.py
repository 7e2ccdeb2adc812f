"""Building: the module is what the architecture says, and randomness is an argument."""

import pytest
import torch
from hypothesis import given, settings
from torch import nn

from archpress.architectures.architecture import Architecture
from archpress.architectures.building import build
from archpress.architectures.layers import BatchNorm, Convolution, Linear, ReLU
from tests.small_networks import ZOO, every_network, images_for, sampled_networks

EVERY_KIND = ZOO["every kind"]


def same_weights(one: nn.Module, other: nn.Module) -> bool:
    pairs = zip(one.state_dict().values(), other.state_dict().values(), strict=True)
    return all(torch.equal(a, b) for a, b in pairs)


@every_network
def test_the_output_is_one_row_of_logits_per_image(network: Architecture) -> None:
    for model in (build(network, seed=0).train(), build(network, seed=0).eval()):
        output = model(images_for(network, count=3))
        assert output.shape == (3, network.classes)
        assert output.isfinite().all()


@every_network
def test_every_layer_gives_the_stated_shape(network: Architecture) -> None:
    outputs: list[tuple[int, ...]] = []
    model = build(network, seed=0).eval()
    for module in model:
        if not isinstance(module, nn.Flatten):
            module.register_forward_hook(lambda _, __, output: outputs.append(output.shape[1:]))
    model(images_for(network, count=2))
    assert tuple(map(tuple, outputs)) == network.shapes[1:]


@settings(max_examples=25, deadline=None)
@given(sampled_networks())
def test_sampled_networks_build_and_run(network: Architecture) -> None:
    model = build(network, seed=0).eval()
    assert sum(p.numel() for p in model.parameters()) == network.cost.parameters
    assert model(images_for(network, count=2)).shape == (2, network.classes)


@pytest.mark.parametrize(
    ("network", "kinds"),
    [
        (
            Architecture((1, 8, 8), (Convolution(4, 3), ReLU(), Linear(10))),
            [nn.Conv2d, nn.ReLU, nn.Flatten, nn.Linear],
        ),
        (
            Architecture((1, 8, 8), (Linear(9), BatchNorm(), ReLU(), Linear(10))),
            [nn.Flatten, nn.Linear, nn.BatchNorm1d, nn.ReLU, nn.Linear],
        ),
        (
            Architecture((1, 8, 8), (BatchNorm(), Linear(9), Linear(10))),
            [nn.BatchNorm2d, nn.Flatten, nn.Linear, nn.Linear],
        ),
    ],
)
def test_one_flatten_precedes_the_first_linear(
    network: Architecture, kinds: list[type[nn.Module]]
) -> None:
    assert [type(module) for module in build(network)] == kinds


def test_the_same_seed_gives_the_same_weights_whatever_was_drawn_before() -> None:
    first = build(EVERY_KIND, seed=5)
    torch.rand(3)
    assert same_weights(first, build(EVERY_KIND, seed=5))
    assert not same_weights(first, build(EVERY_KIND, seed=6))


def test_a_seed_gives_the_weights_that_pytorch_gives_after_it() -> None:
    torch.manual_seed(11)
    assert same_weights(build(EVERY_KIND), build(EVERY_KIND, seed=11))


def test_a_seed_leaves_the_global_generator_as_it_was() -> None:
    torch.manual_seed(1)
    before = torch.get_rng_state()
    build(EVERY_KIND, seed=7)
    assert torch.equal(torch.get_rng_state(), before)


def test_a_seed_leaves_the_generators_of_other_devices_alone(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    seeded: list[int] = []
    monkeypatch.setattr(torch.cuda, "manual_seed_all", seeded.append)
    build(EVERY_KIND, seed=7)
    assert not seeded


def test_without_a_seed_the_weights_come_from_the_global_generator() -> None:
    torch.manual_seed(1)
    first, second = build(EVERY_KIND), build(EVERY_KIND)
    assert not same_weights(first, second)
    torch.manual_seed(1)
    assert same_weights(first, build(EVERY_KIND))


def test_two_builds_share_no_weights() -> None:
    first, second = build(EVERY_KIND, seed=1), build(EVERY_KIND, seed=1)
    with torch.no_grad():
        next(first.parameters()).zero_()
    assert not same_weights(first, second)
