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
    DepthwiseConvolution,
    GlobalAveragePool,
    Layer,
    Linear,
    MaxPool,
    ReLU,
    Sigmoid,
    SqueezeExcite,
)
from archpress.compression.joint.repair import Repaired, repair
from archpress.embedding.tokens import POSITIONS, from_tokens, to_tokens
from archpress.errors import InvalidArchitectureError
from tests.small_networks import (
    SHAPES,
    every_network,
    generator,
    networks_with_skips,
    sampled_networks,
    without_attributes,
)

CLIPPED = "clipped a field to its range"
DROPPED = "dropped a spatial layer after the first flat output"
INPUT = "cut a skip to the network's input"
SKIP = "dropped a skip that does not fit"
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
    high = torch.tensor([17, 10, 4096, 10, 10, 9]) * (1 if reach == 1 else reach)
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


def assert_left_as_it_is(network: Architecture) -> None:
    tokens = to_tokens([network])[0]
    said = without_attributes(network)
    assert repair(tokens, network.input_shape, network.classes) == (said, ())


@settings(max_examples=120, deadline=None)
@given(sampled_networks() | networks_with_skips())
def test_what_is_valid_is_left_as_it_is(network: Architecture) -> None:
    assert_left_as_it_is(network)


@every_network
def test_every_kind_of_layer_and_skip_is_left_as_it_is(network: Architecture) -> None:
    assert_left_as_it_is(network)


@settings(max_examples=150, deadline=None)
@given(token_arrays(), st.sampled_from(SHAPES))
def test_no_rule_is_named_where_the_network_is_the_one_that_was_said(
    tokens: Tensor, shape: tuple[int, int, int]
) -> None:
    network, rules = repair(tokens, shape, 10)
    try:
        said = from_tokens(tokens, shape, 10)
    except InvalidArchitectureError:
        assert rules
    else:
        assert said == network or rules


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
    (((18, 0, 10, 0, 0, 0),), (SqueezeExcite(10), Linear(10)), (CLIPPED, APPENDED)),
    (((4000, 0, 3, 0, 0, 0), LINEAR), (SqueezeExcite(3), Linear(10)), (CLIPPED,)),
    (((17, 99, 3, -1, 99, 0), LINEAR), (SqueezeExcite(3), Linear(10)), ()),
    (((17, 0, 0, 0, 0, 0), LINEAR), (SqueezeExcite(1), Linear(10)), (CLIPPED,)),
    (((17, 0, 9999, 0, 0, 0), LINEAR), (SqueezeExcite(4096), Linear(10)), (CLIPPED,)),
    (((17, 0, 3, 0, 0, 1), LINEAR), (SqueezeExcite(3, skip=1), Linear(10)), ()),
    (
        ((10, 0, 0, 0, 0, 0), (17, 0, 3, 0, 0, 1), LINEAR),
        (GlobalAveragePool(), Linear(10)),
        (DROPPED,),
    ),
    (((9, 0, 0, 11, 1, 0), LINEAR), (DepthwiseConvolution(1, 10, 1), Linear(10)), (CLIPPED,)),
    (((9, 9, 0, 1, 0, 0), LINEAR), (DepthwiseConvolution(8), Linear(10)), (KERNEL,)),
    (((9, 3, 0, 1, 2, 0), LINEAR), (DepthwiseConvolution(3, 1, 2), Linear(10)), ()),
    (
        ((10, 0, 0, 0, 0, 0), (9, 3, 0, 1, 1, 0), (10, 0, 0, 0, 0, 0), LINEAR),
        (GlobalAveragePool(), Linear(10)),
        (DROPPED,),
    ),
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
    (((10, 0, 0, 0, 0, 0),), (GlobalAveragePool(), Linear(10)), (APPENDED,)),
    (
        ((1, 1, 10, 1, 0, 0), (10, 0, 0, 0, 0, 0)),
        (Convolution(10, 1), GlobalAveragePool()),
        (),
    ),
    ((), (Linear(10),), (APPENDED,)),
    (((4, 0, 0, 0, 0, 1), LINEAR), (ReLU(skip=1), Linear(10)), ()),
    (((1, 3, 4, 2, 1, 1), LINEAR), (Convolution(4, 3, 2, 1, skip=1), Linear(10)), ()),
    (((1, 3, 4, 1, 0, 1), LINEAR), (Convolution(4, 3), Linear(10)), (SKIP,)),
    (((8, 0, 10, 0, 0, 1),), (Linear(10),), (SKIP,)),
    (((4, 0, 0, 0, 0, 2), LINEAR), (ReLU(skip=1), Linear(10)), (INPUT,)),
    (((4, 0, 0, 0, 0, 65), LINEAR), (ReLU(skip=1), Linear(10)), (CLIPPED, INPUT)),
    (((4, 0, 0, 0, 0, -1), LINEAR), (ReLU(), Linear(10)), (CLIPPED,)),
    (((1, 3, 4, 1, 0, 2), LINEAR), (Convolution(4, 3), Linear(10)), (INPUT, SKIP)),
    (((8, 0, 9, 0, 0, 0), (8, 0, 10, 0, 0, 1)), (Linear(9), Linear(10)), (SKIP,)),
    (((8, 0, 10, 0, 0, 0), (8, 0, 10, 0, 0, 1)), (Linear(10), Linear(10, skip=1)), ()),
    (
        ((10, 0, 0, 0, 0, 0), (8, 0, 1, 0, 0, 1)),
        (GlobalAveragePool(), Linear(10)),
        (OUTPUTS,),
    ),
    # A skip over a layer that is dropped still brings the output that it named.
    (
        ((8, 0, 6, 0, 0, 0), (2, 2, 0, 2, 0, 0), (4, 0, 0, 0, 0, 2), LINEAR),
        (Linear(6), ReLU(skip=1), Linear(10)),
        (DROPPED,),
    ),
    # The output of a dropped layer is that of the layer before it.
    (
        ((8, 0, 6, 0, 0, 0), (2, 2, 0, 2, 0, 0), (4, 0, 0, 0, 0, 1), LINEAR),
        (Linear(6), ReLU(skip=1), Linear(10)),
        (DROPPED,),
    ),
    (
        ((8, 0, 6, 0, 0, 0), (2, 2, 0, 2, 0, 1), (4, 0, 0, 0, 0, 0), (5, 0, 0, 0, 0, 3), LINEAR),
        (Linear(6), ReLU(), Sigmoid(skip=2), Linear(10)),
        (DROPPED,),
    ),
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
    rows = ((4, 99, -5, 99, 99, 0), (2, 2, -7, 2, 0, 0), (8, 99, 10, -3, 99, 0))
    network, rules = repaired(*rows)
    assert network.layers == (ReLU(), MaxPool(2, 2), Linear(10))
    assert rules == ()


@pytest.mark.parametrize("skip", [2, 3, 64, 9999])
def test_a_skip_that_reaches_before_the_input_brings_the_input(skip: int) -> None:
    network, rules = repaired((3, 0, 0, 0, 0, 0), (4, 0, 0, 0, 0, skip), LINEAR)
    assert network.layers == (BatchNorm(), ReLU(skip=2), Linear(10))
    assert rules == {2: (), 9999: (CLIPPED, INPUT)}.get(skip, (INPUT,))


@pytest.mark.parametrize("skip", [0, -1, -9999])
def test_a_negative_skip_adds_nothing(skip: int) -> None:
    network, rules = repaired((3, 0, 0, 0, 0, 0), (4, 0, 0, 0, 0, skip), LINEAR)
    assert network.layers == (BatchNorm(), ReLU(), Linear(10))
    assert rules == ((CLIPPED,) if skip else ())


def test_kinds_beyond_those_allowed_become_the_last_allowed_one() -> None:
    tokens = tokens_of((17, 0, 10, 0, 0, 0), (9, 3, 10, 1, 1, 0))
    network, rules = repair(tokens, (1, 8, 8), 10, kinds=8)
    assert network.layers == (Linear(10), Linear(10))
    assert rules == (CLIPPED,)


def test_a_full_canvas_without_a_classifier_gets_it_as_65th_layer() -> None:
    network, rules = repaired(*[(4, 0, 0, 0, 0, 0)] * 64)
    assert len(network.layers) == 65
    assert rules == (APPENDED,)
