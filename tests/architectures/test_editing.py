"""A draft: what goes in comes out, and skips follow the layers that they come from."""

import pytest
import torch
from hypothesis import given, settings

from archpress.architectures.architecture import Architecture
from archpress.architectures.building import build
from archpress.architectures.editing import Draft, Item
from archpress.architectures.layers import (
    BatchNorm,
    Convolution,
    DepthwiseConvolution,
    Dropout,
    GlobalAveragePool,
    Layer,
    Linear,
    MaxPool,
    Projection,
    ReLU,
    Tanh,
)
from archpress.errors import InvalidArchitectureError
from tests.random_weights import assert_same, outputs, random_state
from tests.small_networks import ZOO, every_network, generator, images_for, networks_with_skips

SAME = Convolution(2, 1)
LAST = Linear(3)


def net(*layers: Layer) -> Architecture:
    """A network on 2 channels of 6x6 under a Linear layer of three classes."""
    return Architecture((2, 6, 6), (*layers, LAST))


def removed(network: Architecture, *places: int) -> Architecture:
    draft = Draft(network)
    for item in [draft.items[place] for place in places]:
        draft.remove(item)
    return draft.architecture()


def replaced(network: Architecture, place: int, *layers: Layer) -> Architecture:
    draft = Draft(network)
    draft.replace(draft.items[place], layers)
    return draft.architecture()


# -------------------------------------------------------------------------------- round trip


@every_network
def test_a_draft_gives_back_the_network_and_its_weights(network: Architecture) -> None:
    state = random_state(network)
    draft = Draft(network, state)
    assert draft.architecture() == network
    weights = draft.weights()
    assert list(weights) == list(state)
    assert all(torch.equal(weights[name], state[name]) for name in state)


@settings(max_examples=100, deadline=None)
@given(network=networks_with_skips())
def test_a_random_network_comes_back_too(network: Architecture) -> None:
    state = build(network, 0).state_dict()
    draft = Draft(network, state)
    assert draft.architecture() == network
    assert {name: id(tensor) for name, tensor in draft.weights().items()} == {
        name: id(tensor) for name, tensor in state.items()
    }


def test_a_draft_without_weights_has_none() -> None:
    assert Draft(ZOO["projected skip"]).weights() == {}


def test_weights_stand_with_their_layers() -> None:
    network = ZOO["projected skip"]
    state = random_state(network)
    draft = Draft(network, state)
    for item, layer in zip(draft.items, network.layers, strict=True):
        assert item.layer == layer
        weighted = isinstance(layer, Convolution | BatchNorm | Linear)
        assert bool(item.tensors) is weighted
    convolution, norm = draft.items[6].fitting
    assert convolution["weight"].shape == (6, 4, 1, 1)
    assert norm["running_mean"].shape == (6,)
    assert sum(len(item.fitting) for item in draft.items) == 2


def test_more_than_ten_layers_of_a_part_keep_their_weights_apart() -> None:
    """``block1.1.`` begins no name of ``block1.10.``."""
    layers: list[Layer] = [BatchNorm() for _ in range(12)]
    network = net(*layers)
    state = random_state(network)
    draft = Draft(network, state)
    for place in range(12):
        assert torch.equal(
            draft.items[place].tensors["bias"], state[f"block1.{place}.bias"]
        ), place  # fmt: skip
        assert len(draft.items[place].tensors) == 5


def test_sources_are_the_items_that_skips_come_from() -> None:
    draft = Draft(net(SAME, ReLU(), Tanh(skip=2), ReLU(skip=4)))
    assert [item.source for item in draft.items] == [
        None, None, draft.items[0], draft.input, None,
    ]  # fmt: skip
    sources = [item for item in [draft.input, *draft.items] if draft.is_source(item)]
    assert sources == [draft.input, draft.items[0]]


# ------------------------------------------------------------------------------------ remove


@pytest.mark.parametrize(
    ("network", "place", "left"),
    [
        (net(SAME, ReLU()), 1, net(SAME)),
        (net(SAME, ReLU()), 0, net(ReLU())),
        (net(SAME, ReLU(), SAME, Tanh(skip=3)), 1, net(SAME, SAME, Tanh(skip=2))),
        (net(SAME, ReLU(), SAME, Tanh(skip=2)), 0, net(ReLU(), SAME, Tanh(skip=2))),
        (net(SAME, ReLU(), SAME, Tanh(skip=2)), 1, net(SAME, SAME, Tanh(skip=2))),
        (net(SAME, ReLU(), SAME, Tanh(skip=2)), 2, net(SAME, ReLU(), Tanh(skip=1))),
        (net(SAME, ReLU(), SAME, Tanh(skip=2)), 3, net(SAME, ReLU(), SAME)),
        (net(SAME, SAME, Tanh(skip=2)), 0, net(SAME, Tanh(skip=2))),
        (net(SAME, SAME, Tanh(skip=3)), 0, net(SAME, Tanh(skip=2))),
        (net(SAME, Tanh(skip=1)), 0, net(Tanh(skip=1))),
        (net(SAME, ReLU(), Tanh(skip=1), ReLU(skip=2)), 1, net(SAME, Tanh(skip=1), ReLU(skip=2))),
    ],
    ids=[
        "a layer without skips", "the first layer", "a layer under a skip",
        "a layer before the source", "the source", "the last layer under a skip",
        "the layer that carries it", "a source after the input", "the first under a skip",
        "the source just before", "the source of two",
    ],
)  # fmt: skip
def test_removing_keeps_every_other_skip(
    network: Architecture, place: int, left: Architecture
) -> None:
    assert removed(network, place) == left


@every_network
def test_removing_what_does_nothing_leaves_the_function(network: Architecture) -> None:
    """Insert Dropout(0) behind every output, sources moved to it at random; take all out again."""
    stream = generator(3)
    draft = Draft(network, random_state(network))
    expected = draft.weights()
    for before in [draft.input, *draft.items[:-1]]:
        made = Item(Dropout(rate=0.0))
        for item in draft.items:
            if item.source is before and torch.rand((), generator=stream) < 0.5:
                item.source = made
        draft.items.insert(draft.items.index(before) + 1 if before in draft.items else 0, made)
    images = images_for(network)
    state = draft.weights()
    assert_same(
        outputs(network, expected, images), outputs(draft.architecture(), state, images), 1e-9
    )
    for item in list(draft.items):
        if item.layer == Dropout(rate=0.0):
            draft.remove(item)
    assert draft.architecture() == network
    weights = draft.weights()
    assert list(weights) == list(expected)
    assert all(torch.equal(weights[name], expected[name]) for name in expected)


def test_removing_a_block_with_its_skip_connects_what_is_around_it() -> None:
    network = net(SAME, ReLU(), SAME, BatchNorm(), SAME, BatchNorm(skip=4), Tanh(skip=1))
    assert removed(network, 2, 3, 4, 5) == net(SAME, ReLU(), Tanh(skip=1))


def test_a_removal_that_leaves_no_network_is_seen() -> None:
    network = Architecture((2, 6, 6), (MaxPool(2, 2), DepthwiseConvolution(3), Linear(2)))
    assert removed(network, 0).shapes[1] == (2, 4, 4)
    with pytest.raises(InvalidArchitectureError, match="last layer must be linear"):
        removed(network, 2)


def test_a_skip_that_no_longer_fits_gets_a_projection() -> None:
    wider = Convolution(5, 1)
    network = net(wider, ReLU(), Convolution(5, 1), Tanh(skip=2, projection=Projection(True)))
    assert not network.shortcuts[3]
    fitted = removed(network, 0, 1)
    assert fitted.layers[1] == Tanh(skip=2, projection=Projection(True))
    assert [layer.kind for layer in fitted.shortcuts[1]] == ["convolution", "batch_norm"]


def test_removing_drops_the_weights_of_the_layer_and_of_its_projection() -> None:
    network = ZOO["projected skip"]
    draft = Draft(network, random_state(network))
    draft.remove(draft.items[6])
    weights = draft.weights()
    assert weights.keys() == build(draft.architecture(), 0).state_dict().keys()
    assert not any(name.startswith("shortcut") for name in weights)


# ----------------------------------------------------------------------------------- replace


def test_a_replaced_source_is_the_last_of_the_new_layers() -> None:
    network = net(SAME, ReLU(), SAME, Tanh(skip=2))
    left = net(SAME, Dropout(), ReLU(), SAME, Tanh(skip=2))
    assert replaced(network, 1, Dropout(), ReLU()) == left


def test_what_was_added_to_a_layer_is_added_to_the_last_of_the_new_ones() -> None:
    network = net(SAME, ReLU(), Convolution(2, 3, padding=1, skip=2), Tanh(skip=1))
    new = (DepthwiseConvolution(3, padding=1), BatchNorm(), SAME)
    left = net(SAME, ReLU(), new[0], new[1], Convolution(2, 1, skip=4), Tanh(skip=1))
    assert replaced(network, 2, *new) == left


def test_replacing_under_a_skip_makes_it_longer() -> None:
    network = net(SAME, ReLU(), Tanh(skip=3))
    assert replaced(network, 1, ReLU(), Dropout()) == net(SAME, ReLU(), Dropout(), Tanh(skip=4))


def test_replacing_one_by_one_keeps_a_skip_of_one() -> None:
    network = net(SAME, Tanh(skip=1))
    assert replaced(network, 0, ReLU()) == net(ReLU(), Tanh(skip=1))


def test_replacing_leaves_the_weights_of_the_others() -> None:
    network = Architecture((2, 6, 6), (SAME, BatchNorm(), GlobalAveragePool(), LAST))
    state = random_state(network)
    draft = Draft(network, state)
    draft.replace(draft.items[1], [ReLU()])
    weights = draft.weights()
    assert {name: tuple(tensor.shape) for name, tensor in weights.items()} == {
        "block1.0.weight": (2, 2, 1, 1), "block1.0.bias": (2,),
        "block1.4.weight": (3, 2), "block1.4.bias": (3,),
    }  # fmt: skip
    assert torch.equal(weights["block1.4.weight"], state["block1.4.weight"])
