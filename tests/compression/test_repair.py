"""Repair: whatever the decoder says becomes a network, and every rule that was needed is named."""

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from archpress.architectures.architecture import Architecture
from archpress.architectures.layers import (
    AveragePool,
    BatchNorm,
    Convolution,
    Layer,
    Linear,
    MaxPool,
    ReLU,
)
from archpress.compression.repair import Repaired, repair
from archpress.embedding.tokens import POSITIONS, to_tokens
from tests.small_networks import SHAPES, every_network, generator, sampled_networks

CLIPPED = "clipped a field to its range"
DROPPED = "dropped a spatial layer after the first linear"
POOL_PADDING = "cut pool padding to half the kernel"
KERNEL = "cut a kernel to its padded input"
APPENDED = "appended the classifier"
OUTPUTS = "set the outputs of the classifier"


def tokens_of(*rows: tuple[int, ...]) -> Tensor:
    tokens = torch.zeros(POSITIONS, 6, dtype=torch.long)
    for index, row in enumerate(rows):
        tokens[index] = torch.tensor(row)
    return tokens


def repaired(*rows: tuple[int, ...], shape: tuple[int, int, int] = (1, 8, 8)) -> Repaired:
    return repair(tokens_of(*rows), shape, 10)


@st.composite
def token_arrays(draw: st.DrawFn) -> Tensor:
    """Random rows, some far out of range; wild ones are as likely as plausible ones."""
    length, seed = draw(st.integers(0, POSITIONS)), draw(st.integers(0, 2**32))
    reach = draw(st.sampled_from([1, 2, 10_000]))
    low = torch.tensor([1, 1, 1, 1, 0, 0]) if reach == 1 else -reach * torch.ones(6).long()
    high = torch.tensor([8, 10, 4096, 10, 10, 64]) * (1 if reach == 1 else reach)
    stream = generator(seed)
    tokens = torch.zeros(POSITIONS, 6, dtype=torch.long)
    uniform = torch.rand(length, 6, generator=stream)
    tokens[:length] = (low + uniform * (high - low + 1)).long()
    keep_types = torch.rand(length, generator=stream) < 0.9  # else most would end at once
    tokens[:length, 0] = torch.where(keep_types, tokens[:length, 0].abs() + 1, tokens[:length, 0])
    return tokens


@settings(max_examples=150, deadline=None)
@given(token_arrays(), st.sampled_from(SHAPES), st.integers(1, 20))
def test_any_tokens_become_a_network_of_the_task(
    tokens: Tensor, shape: tuple[int, int, int], classes: int
) -> None:
    network, rules = repair(tokens, shape, classes)
    assert (network.input_shape, network.classes) == (shape, classes)
    assert len(set(rules)) == len(rules)
    if len(network.layers) <= POSITIONS:
        again = repair(to_tokens([network])[0], shape, classes)
        assert again == Repaired(network, ()), "a repaired network needs no repair"


@settings(max_examples=60, deadline=None)
@given(sampled_networks())
def test_what_is_valid_is_left_as_it_is(network: Architecture) -> None:
    tokens = to_tokens([network])[0]
    assert repair(tokens, network.input_shape, network.classes) == (network, ())


@every_network
def test_every_kind_of_layer_is_left_as_it_is(network: Architecture) -> None:
    tokens = to_tokens([network])[0]
    assert repair(tokens, network.input_shape, network.classes) == (network, ())


LINEAR = (8, 0, 10, 0, 0, 0)
EXAMPLES: list[tuple[tuple[tuple[int, ...], ...], tuple[Layer, ...], tuple[str, ...]]] = [
    (((1, 3, 9999, 1, 1, 0), LINEAR), (Convolution(4096, 3, 1, 1), Linear(10)), (CLIPPED,)),
    (((1, 3, 0, 1, 1, 0), LINEAR), (Convolution(1, 3, 1, 1), Linear(10)), (CLIPPED,)),
    (((1, 0, 4, 1, 0, 0), LINEAR), (Convolution(4, 1, 1, 0), Linear(10)), (CLIPPED,)),
    (((1, 3, 4, 0, 1, 0), LINEAR), (Convolution(4, 3, 1, 1), Linear(10)), (CLIPPED,)),
    (((1, 3, 4, 99, 1, 0), LINEAR), (Convolution(4, 3, 10, 1), Linear(10)), (CLIPPED,)),
    (((1, 3, 4, 1, -2, 0), LINEAR), (Convolution(4, 3, 1, 0), Linear(10)), (CLIPPED,)),
    (((1, 3, 4, 1, 11, 0), LINEAR), (Convolution(4, 3, 1, 10), Linear(10)), (CLIPPED,)),
    (((8, 0, 0, 0, 0, 0), LINEAR), (Linear(1), Linear(10)), (CLIPPED,)),
    (((9, 0, 10, 0, 0, 0),), (Linear(10),), (CLIPPED,)),
    (((4000, 0, 10, 0, 0, 0),), (Linear(10),), (CLIPPED,)),
    (
        ((8, 0, 6, 0, 0, 0), (1, 3, 4, 1, 1, 0), (2, 2, 0, 2, 0, 0), (4, 0, 0, 0, 0, 0), LINEAR),
        (Linear(6), ReLU(), Linear(10)),
        (DROPPED,),
    ),
    (((2, 3, 0, 1, 2, 0), LINEAR), (MaxPool(3, 1, 1), Linear(10)), (POOL_PADDING,)),
    (((7, 1, 0, 1, 9, 0), LINEAR), (AveragePool(1, 1, 0), Linear(10)), (POOL_PADDING,)),
    (((1, 9, 4, 1, 0, 0), LINEAR), (Convolution(4, 8, 1, 0), Linear(10)), (KERNEL,)),
    (((2, 9, 0, 1, 0, 0), LINEAR), (MaxPool(8, 1, 0), Linear(10)), (KERNEL,)),
    (((1, 3, 4, 1, 1, 0),), (Convolution(4, 3, 1, 1), Linear(10)), (APPENDED,)),
    (((8, 0, 6, 0, 0, 0), (4, 0, 0, 0, 0, 0)), (Linear(6), ReLU(), Linear(10)), (APPENDED,)),
    ((), (Linear(10),), (APPENDED,)),
    (((8, 0, 12, 0, 0, 0),), (Linear(10),), (OUTPUTS,)),
    (
        ((2, 99, 0, 1, 9, 0), (8, 0, 5, 0, 0, 0)),
        (MaxPool(10, 1, 5), Linear(10)),
        (CLIPPED, POOL_PADDING, OUTPUTS),
    ),
]


@pytest.mark.parametrize(("rows", "layers", "rules"), EXAMPLES)
def test_each_rule_does_what_it_says_and_is_named(
    rows: tuple[tuple[int, ...], ...], layers: tuple[Layer, ...], rules: tuple[str, ...]
) -> None:
    network, named = repaired(*rows)
    assert network.layers == layers
    assert named == rules
    assert repair(to_tokens([network])[0], (1, 8, 8), 10) == (network, ())


def test_a_kernel_is_cut_to_the_smaller_side_that_earlier_layers_leave() -> None:
    rows = ((2, 2, 0, 2, 0, 0), (1, 9, 4, 1, 1, 0), LINEAR)
    network, rules = repaired(*rows, shape=(2, 7, 12))
    assert network.layers == (MaxPool(2, 2), Convolution(4, 3 + 2, 1, 1), Linear(10))
    assert rules == (KERNEL,)


@pytest.mark.parametrize("ending", [0, -1, -500])
def test_a_network_ends_at_the_first_row_without_a_type(ending: int) -> None:
    row = (ending, 3, 4, 1, 1, 0)
    network, rules = repaired((3, 0, 0, 0, 0, 0), LINEAR, row, (1, 3, 4, 1, 1, 0))
    assert network.layers == (BatchNorm(), Linear(10))
    assert rules == ()


def test_fields_that_a_layer_lacks_or_derives_are_not_read() -> None:
    rows = ((4, 99, -5, 99, 99, 99), (2, 2, -7, 2, 0, 99), (8, 99, 10, -3, 99, 99))
    network, rules = repaired(*rows)
    assert network.layers == (ReLU(), MaxPool(2, 2), Linear(10))
    assert rules == ()


def test_a_full_canvas_without_a_classifier_gets_it_as_65th_layer() -> None:
    network, rules = repaired(*[(4, 0, 0, 0, 0, 0)] * 64)
    assert len(network.layers) == 65
    assert rules == (APPENDED,)
