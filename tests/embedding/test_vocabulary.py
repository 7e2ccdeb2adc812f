"""Networks to words and back: one reading each, nothing lost but fine widths and attributes."""

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from archpress.architectures.architecture import Architecture
from archpress.architectures.layers import (
    BatchNorm,
    Convolution,
    GlobalAveragePool,
    Linear,
    ReLU,
)
from archpress.architectures.spaces import BlocksSpace, Limits, PaperSpace
from archpress.embedding.population import draw
from archpress.embedding.vocabulary import (
    END,
    END_POOL,
    FIELDS,
    NOTHING,
    POSITIONS,
    TYPE,
    from_categories,
    split_width,
    to_categories,
    why_inexpressible,
    width_of,
)
from archpress.errors import EmbeddingError
from tests.small_networks import generator, networks_with_skips


def said(network: Architecture) -> Architecture:
    (categories,) = to_categories([network])
    return from_categories(categories, network.input_shape, network.classes)


def bare(network: Architecture) -> list[tuple[int, ...]]:
    """Rows without widths: what must come back exactly."""
    return [(t, k, s, p, skip) for t, k, _, s, p, skip in network.rows()]


def words(network: Architecture) -> list[int]:
    kinds = to_categories([network])[0, :, TYPE].tolist()
    return [kind for kind in kinds if kind != NOTHING]


@pytest.mark.parametrize("space", ["blocks", "paper", "neighbourhood"])
def test_networks_of_every_space_come_back(space: str) -> None:
    random = generator(3)
    for _ in range(60):
        network = draw(space, random)
        found = said(network)
        assert bare(found) == bare(network)
        for ours, theirs in zip(found.shapes, network.shapes, strict=True):
            assert ours[1:] == theirs[1:]
            assert abs(ours[0] / theirs[0] - 1) <= 0.02


@given(network=networks_with_skips())
@settings(max_examples=60, deadline=None)
def test_whatever_the_skips(network: Architecture) -> None:
    if network.layers[-1].skip:
        with pytest.raises(EmbeddingError, match="classifier"):
            to_categories([network])
    elif not why_inexpressible(network):
        assert bare(said(network)) == bare(network)


def test_a_block_is_a_word() -> None:
    block = (Convolution(4, 3, 1, 1), BatchNorm(), ReLU())
    residual = (Convolution(4, 3, 1, 1), BatchNorm(skip=5), ReLU())
    network = Architecture((1, 8, 8), (*block, *block, *residual, Linear(3)))
    assert words(network) == [Convolution.code] * 3 + [END]
    assert said(network) == network


def test_a_word_ends_where_its_output_is_needed_again() -> None:
    layers = (Convolution(4, 3, 1, 1), BatchNorm(), Convolution(4, 3, 1, 1, skip=2), Linear(3))
    network = Architecture((1, 8, 8), layers)
    assert words(network) == [Convolution.code, BatchNorm.code, Convolution.code, END]
    assert said(network) == network


def test_both_ends() -> None:
    pooled = Architecture((1, 8, 8), (Convolution(3, 3), GlobalAveragePool()))
    assert words(pooled) == [Convolution.code, END_POOL]
    assert said(pooled) == pooled
    hidden = Architecture((1, 8, 8), (Linear(16), ReLU(), Linear(3)))
    assert said(hidden) == hidden


@given(st.integers(1, 4096))
def test_widths_are_exact_where_small_and_within_a_hundredth_above(width: int) -> None:
    found = int(width_of(*split_width(torch.tensor(width))))
    assert found == width if width <= 50 else abs(found / width - 1) <= 0.02


def test_long_networks_are_refused_with_a_reason() -> None:
    network = Architecture((1, 8, 8), (*(Convolution(2, 1) for _ in range(64)), Linear(3)))
    with pytest.raises(EmbeddingError, match="65 words exceeds the 64 positions"):
        to_categories([network])
    assert "kernel 11" in why_inexpressible(
        Architecture((1, 28, 28), (Convolution(2, 11), Linear(3)))
    )


def test_samples_are_expressible() -> None:
    for space in (BlocksSpace((1, 28, 28), 10), PaperSpace((1, 28, 28), 10, Limits())):
        for network in space.sample(20, generator(1)).architectures:
            assert not why_inexpressible(network)
    assert to_categories([]).shape == (0, POSITIONS, len(FIELDS))
