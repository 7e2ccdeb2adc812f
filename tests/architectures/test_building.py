"""Building: the module is what the architecture says, and randomness is an argument."""

import copy
import pickle

import pytest
import torch
from hypothesis import given, settings
from torch import nn

from archpress.architectures.architecture import Architecture
from archpress.architectures.building import build
from archpress.architectures.layers import (
    BatchNorm,
    Convolution,
    GlobalAveragePool,
    Layer,
    Linear,
    ReLU,
    Shape,
    Tanh,
)
from archpress.architectures.segments import layer_prefixes, shortcut_prefixes
from tests.small_networks import (
    ZOO,
    every_network,
    images_for,
    networks_with_skips,
    outputs_one_by_one,
    sampled_networks,
)

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


def assert_layers_and_skips_are_those_stated(network: Architecture) -> None:
    model, images = build(network, seed=0).eval(), images_for(network, count=2)
    with torch.no_grad():
        outputs = outputs_one_by_one(network, model, images)
        assert tuple(tuple(output.shape[1:]) for output in outputs) == network.shapes
        assert torch.equal(model(images), outputs[-1])
    assert sum(p.numel() for p in model.parameters()) == network.cost.parameters
    assert network.parameters == network.cost.parameters


@every_network
def test_every_layer_gives_the_stated_shape_and_adds_the_stated_skip(network: Architecture) -> None:
    assert_layers_and_skips_are_those_stated(network)


@settings(max_examples=25, deadline=None)
@given(sampled_networks())
def test_sampled_networks_build_and_run(network: Architecture) -> None:
    assert_layers_and_skips_are_those_stated(network)


@settings(max_examples=80, deadline=None)
@given(networks_with_skips())
def test_networks_with_skips_build_and_run(network: Architecture) -> None:
    assert_layers_and_skips_are_those_stated(network)
    assert_prefixes_find_all_weights(network)


def test_a_skip_adds_the_earlier_output_to_the_layers_own() -> None:
    images = images_for(ZOO["skip of one"])
    network = Architecture((2, 4, 4), (Tanh(skip=1), GlobalAveragePool()))
    expected = (images.tanh() + images).mean((2, 3))
    assert torch.allclose(build(network)(images), expected, atol=1e-6)
    twice = Architecture((2, 4, 4), (Tanh(), ReLU(skip=1), Tanh(skip=3), GlobalAveragePool()))
    first = images.tanh()
    expected = ((first.relu() + first).tanh() + images).mean((2, 3))
    assert torch.allclose(build(twice)(images), expected, atol=1e-6)


def test_a_projected_skip_adds_the_fitted_output() -> None:
    network = Architecture((2, 4, 4), (Convolution(3, 3, 2, 1, skip=1), GlobalAveragePool()))
    model, images = build(network, seed=0).eval(), images_for(network)
    own, fitting = model.get_submodule("block1"), model.get_submodule("shortcut1")
    assert [type(module) for module in fitting.children()] == [nn.Conv2d, nn.BatchNorm2d]
    with torch.no_grad():
        expected = (own(images) + fitting(images)).mean((2, 3))
        assert torch.allclose(model(images), expected, atol=1e-6)
        assert (fitting(images).abs().sum() > 0) and (own(images).abs().sum() > 0)


def weights_of(layer: Layer, shape: Shape) -> dict[str, torch.Size]:
    return {name: value.shape for name, value in layer.module(shape).state_dict().items()}


def assert_prefixes_find_all_weights(network: Architecture) -> None:
    found = {name: value.shape for name, value in build(network).state_dict().items()}
    expected: dict[str, torch.Size] = {}
    prefixes, fittings = layer_prefixes(network), shortcut_prefixes(network)
    for layer, shape, prefix in zip(network.layers, network.shapes, prefixes, strict=False):
        expected |= {prefix + name: size for name, size in weights_of(layer, shape).items()}
    assert set(fittings) == {index for index, made in network.shortcuts.items() if made}
    for index, names in fittings.items():
        shape = network.shapes[index + 1 - network.layers[index].skip]
        for layer, prefix in zip(network.shortcuts[index], names, strict=True):
            expected |= {prefix + name: size for name, size in weights_of(layer, shape).items()}
            shape = layer.output_shape(shape)
    assert len(prefixes) == len(network.layers)
    assert found == expected


@every_network
def test_the_prefixes_find_the_weights_of_every_layer_and_shortcut(network: Architecture) -> None:
    assert_prefixes_find_all_weights(network)


def test_a_network_is_cut_into_blocks_where_skips_begin_and_end() -> None:
    def names(network: Architecture) -> list[str]:
        return [name for name, _ in build(network).named_children()]

    assert names(ZOO["digits-cnn"]) == ["block1"]
    assert names(ZOO["identity skip"]) == ["block1", "block2", "block3"]
    assert names(ZOO["projected skip"]) == ["block1", "block2", "shortcut2", "block3"]
    assert [len(list(part.children())) for part in build(ZOO["identity skip"]).children()] == [
        2,
        2,
        3,
    ]


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
        (
            Architecture((1, 8, 8), (GlobalAveragePool(), Linear(9), Linear(10))),
            [nn.AdaptiveAvgPool2d, nn.Flatten, nn.Linear, nn.Linear],
        ),
    ],
)
def test_one_flatten_precedes_the_first_flat_output(
    network: Architecture, kinds: list[type[nn.Module]]
) -> None:
    assert [type(module) for module in build(network).get_submodule("block1").children()] == kinds


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


@every_network
def test_a_copy_and_a_pickle_of_a_model_give_its_outputs_and_share_nothing(
    network: Architecture,
) -> None:
    model, images = build(network, seed=3).eval(), images_for(network, count=2)
    with torch.no_grad():
        expected = model(images)
        copies = [copy.deepcopy(model), pickle.loads(pickle.dumps(model))]
        for other in copies:
            assert torch.equal(other(images), expected)
            assert same_weights(other, model)
            for parameter in other.parameters():
                parameter.add_(1)
        assert torch.equal(model(images), expected)
