"""Tokens: what a network becomes on the canvas of 64 rows, and back."""

import pytest
import torch
from hypothesis import given, settings
from torch import Tensor

from archpress.architectures.architecture import Architecture
from archpress.architectures.layers import (
    KIND_BY_CODE,
    AveragePool,
    Convolution,
    GlobalAveragePool,
    Layer,
    Linear,
    MaxPool,
    ReLU,
    SqueezeExcite,
)
from archpress.embedding.tokens import (
    FIELDS,
    POSITIONS,
    RANGES,
    field_masks,
    from_tokens,
    to_tokens,
    used_rows,
)
from archpress.errors import EmbeddingError, InvalidArchitectureError
from tests.small_networks import (
    ATTRIBUTES,
    ZOO,
    every_network,
    networks_with_skips,
    sampled_networks,
    without_attributes,
)


def network_of(*layers: Layer, side: int = 20) -> Architecture:
    return Architecture((3, side, side), (*layers, Linear(10)))


def tokens_of(*rows: tuple[int, ...]) -> Tensor:
    tokens = torch.zeros(POSITIONS, len(FIELDS), dtype=torch.long)
    for index, row in enumerate(rows):
        tokens[index] = torch.tensor(row)
    return tokens


@settings(max_examples=60, deadline=None)
@given(sampled_networks() | networks_with_skips())
def test_tokens_of_networks_are_read_back_exactly_but_for_attributes(network: Architecture) -> None:
    tokens = to_tokens([network])
    assert tokens.shape == (1, 64, 6)
    assert tokens.dtype == torch.int64
    again = from_tokens(tokens[0], network.input_shape, network.classes)
    assert again == without_attributes(network)
    assert len(used_rows(tokens[0])) == len(network.layers)
    assert not tokens[0, len(network.layers) :].any()


@every_network
def test_rows_are_the_vectors_of_the_layers(network: Architecture) -> None:
    if network == ZOO["much padding"]:  # padding 10 is the most there is a token for
        assert to_tokens([network])[0, 0].tolist() == [1, 5, 2, 3, 10, 0]
    assert used_rows(to_tokens([network])[0]) == [list(row) for row in network.rows()]


@pytest.mark.parametrize("network", ATTRIBUTES.values(), ids=ATTRIBUTES)
def test_tokens_do_not_say_attributes(network: Architecture) -> None:
    again = from_tokens(to_tokens([network])[0], network.input_shape, network.classes)
    assert again == without_attributes(network) != network


def test_a_batch_keeps_its_order_and_an_empty_one_its_shape() -> None:
    first, second = ZOO["digits-cnn"], ZOO["one pixel"]
    both = to_tokens([first, second])
    assert torch.equal(both[0], to_tokens([first])[0])
    assert torch.equal(both[1], to_tokens([second])[0])
    assert to_tokens([]).shape == (0, 64, 6)


def test_a_network_of_64_layers_is_the_longest() -> None:
    longest = network_of(*[ReLU()] * 62, ReLU(skip=63))
    assert from_tokens(to_tokens([longest])[0], (3, 20, 20), 10) == longest
    assert to_tokens([longest])[0, 62].tolist() == [4, 0, 3, 0, 0, 63]
    farthest = Architecture((3, 4, 4), (GlobalAveragePool(), *[ReLU()] * 62, Linear(3, skip=63)))
    assert from_tokens(to_tokens([farthest])[0], (3, 4, 4), 3) == farthest
    with pytest.raises(EmbeddingError, match="65 layers exceeds the 64 positions"):
        to_tokens([network_of(*[ReLU()] * 64)])


@pytest.mark.parametrize(
    ("field", "fits", "exceeds"),
    [
        ("kernel", Convolution(4, 10), Convolution(4, 11)),
        ("channels", Convolution(4096, 1), Convolution(4097, 1)),
        ("channels", Linear(4096), Linear(4097)),
        ("channels", SqueezeExcite(4096), SqueezeExcite(4097)),
        ("stride", MaxPool(2, 10), MaxPool(2, 11)),
        ("padding", Convolution(4, 1, 1, 10), Convolution(4, 1, 1, 11)),
    ],
)
def test_the_largest_value_of_a_field_fits_and_the_next_is_refused(
    field: str, fits: Layer, exceeds: Layer
) -> None:
    network = network_of(fits)
    assert from_tokens(to_tokens([network])[0], (3, 20, 20), 10) == network
    limit = RANGES[FIELDS.index(field)]
    with pytest.raises(EmbeddingError, match=f"{field} {limit + 1}, the embedding reaches {limit}"):
        to_tokens([ZOO["every kind"], network_of(exceeds)])


@pytest.mark.parametrize(
    ("rows", "complaint"),
    [
        ([(8, 0, 9, 0, 0, 0)], "9 outputs for 10 classes"),
        ([], "last layer must be linear or a global average pool, not nothing"),
        ([(4, 0, 0, 0, 0, 0)], "last layer must be linear or a global average pool, not relu"),
        ([(0, 0, 0, 0, 0, 0), (8, 0, 10, 0, 0, 0)], "last layer must be linear .*, not nothing"),
        ([(10, 0, 10, 0, 0, 0)], "1 outputs for 10 classes"),
        ([(18, 0, 0, 0, 0, 0), (8, 0, 10, 0, 0, 0)], "layer type 18 is unknown"),
        ([(17, 0, 0, 0, 0, 0), (8, 0, 10, 0, 0, 0)], "squeeze_excite has squeeze 0"),
        ([(10, 0, 0, 0, 0, 0), (17, 0, 4, 0, 0, 0), (8, 0, 10, 0, 0, 0)], "not flat features"),
        ([(9, 0, 0, 1, 0, 0), (8, 0, 10, 0, 0, 0)], "depthwise_convolution has kernel 0"),
        ([(4, 0, 0, 0, 0, 2), (8, 0, 10, 0, 0, 0)], "skip of 2 reaches before"),
        ([(1, 3, 4, 1, 0, 1), (8, 0, 10, 0, 0, 0)], "skip of 1 brings"),
        ([(4, 0, 0, 0, 0, -1), (8, 0, 10, 0, 0, 0)], "relu has skip -1"),
        ([(1, 0, 4, 1, 0, 0), (8, 0, 10, 0, 0, 0)], "kernel 0"),
        ([(1, 9, 4, 1, 0, 0), (8, 0, 10, 0, 0, 0)], "kernel 9 is larger than the 8x8 input"),
        ([(2, 2, 0, 1, 2, 0), (8, 0, 10, 0, 0, 0)], "padding 2"),
        ([(8, 0, 10, 0, 0, 0), (1, 1, 4, 1, 0, 0)], "not convolution"),
        ([(8, 0, 9, 0, 0, 0), (1, 1, 4, 1, 0, 0), (8, 0, 10, 0, 0, 0)], "not flat features"),
    ],
)
def test_tokens_that_say_no_network_are_refused_as_they_are(
    rows: list[tuple[int, ...]], complaint: str
) -> None:
    with pytest.raises(InvalidArchitectureError, match=complaint):
        from_tokens(tokens_of(*rows), (1, 8, 8), 10)


@pytest.mark.parametrize("ending", [0, -1, -7])
def test_a_network_ends_at_the_first_row_without_a_type(ending: int) -> None:
    tokens = tokens_of((8, 0, 10, 0, 0, 0), (ending, 3, 3, 3, 3, 3), (1, 99, 0, 0, 0, 0))
    assert from_tokens(tokens, (1, 8, 8), 10).layers == (Linear(10),)


def test_fields_that_a_layer_lacks_or_derives_are_not_read() -> None:
    network = Architecture(
        (1, 8, 8), (MaxPool(2, 2), SqueezeExcite(5), ReLU(), AveragePool(2, 1), Linear(10))
    )
    tokens = to_tokens([network])[0]
    strange = torch.where(field_masks(tokens), tokens, torch.full_like(tokens, 77))
    strange[len(network.layers) :, 0] = 0
    assert not torch.equal(strange, tokens)
    assert from_tokens(strange, (1, 8, 8), 10) == network


def test_each_kind_has_the_fields_that_are_its_own() -> None:
    """By type code 0 to 17: type, kernel, channels, stride, padding, skip."""
    kinds = torch.zeros(18, 6, dtype=torch.long)
    kinds[:, 0] = torch.arange(18)
    window, nothing, width = "110111", "100001", "101001"
    paper = ["000000", "111111", window, nothing, nothing, nothing, nothing, window, width]
    later = [window, *[nothing] * 7, width]
    found = ["".join(str(int(has)) for has in row) for row in field_masks(kinds)]
    assert found == paper + later
    assert len(found) == len(KIND_BY_CODE) + 1
