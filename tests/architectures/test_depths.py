"""Depth: which layers make a block and a stage, and networks with fewer blocks."""

from math import ceil

import pytest
import torch

from archpress.architectures.architecture import Architecture
from archpress.architectures.building import build
from archpress.architectures.depths import shortened, stages
from archpress.architectures.editing import Draft
from archpress.architectures.layers import (
    BatchNorm,
    Convolution,
    DepthwiseConvolution,
    GlobalAveragePool,
    Linear,
    MaxPool,
    ReLU,
)
from archpress.architectures.references import conv7, conv10
from archpress.architectures.spaces import BlocksSpace
from tests.small_networks import ZOO

POST = (Convolution(8, 3, 1, 1), BatchNorm(), ReLU(), Convolution(8, 3, 1, 1), BatchNorm(skip=5))
PRE = (BatchNorm(), ReLU(), Convolution(8, 3, 1, 1), ReLU(), Convolution(8, 3, 1, 1, skip=5))
STEM = (Convolution(8, 3, 1, 1), BatchNorm(), ReLU())
HEAD = (GlobalAveragePool(), Linear(4))


def network(*layers: object) -> Architecture:
    return Architecture((3, 12, 12), (*layers, *HEAD))  # type: ignore[arg-type]


def lengths(found: Architecture) -> list[list[int]]:
    """The number of layers of each block, by stage."""
    return [[len(block) for block in stage] for stage in stages(Draft(found))]


def counts(found: Architecture) -> list[int]:
    return [len(stage) for stage in stages(Draft(found))]


@pytest.mark.parametrize(
    ("found", "expected"),
    [
        (conv7(), [[3, 3], [3, 3], [3, 3, 3]]),
        (conv10(), [[3, 3]] * 5),
        (network(*STEM, *POST, ReLU(), *POST, ReLU()), [[3, 6, 6]]),
        (network(*STEM, *PRE, *PRE), [[3, 5, 5]]),
        (network(*STEM, MaxPool(2, 2), *STEM, *STEM), [[3], [3, 3]]),
        (network(*STEM, Convolution(8, 3, 2, 1), *STEM), [[3], [1, 3]]),
        (network(*STEM, DepthwiseConvolution(3, 1, 1), ReLU(), Convolution(9, 1)), [[3, 3]]),
    ],
)
def test_blocks_are_what_skips_go_around_or_a_convolution_and_what_belongs_to_it(
    found: Architecture, expected: list[list[int]]
) -> None:
    assert lengths(found) == expected


@pytest.mark.parametrize("share", [0.0, 0.3, 0.5, 0.7, 1.0])
@pytest.mark.parametrize("given", [conv7(), conv10(), network(*STEM, *PRE, *PRE, *PRE)])
def test_so_many_blocks_of_each_stage_are_left_rounded_up(
    given: Architecture, share: float
) -> None:
    wanted = [max(1, ceil(share * blocks)) for blocks in counts(given)]
    assert counts(shortened(given, share)) == wanted


def test_the_first_blocks_stay_and_pools_with_them() -> None:
    layers = [conv7().layers[place] for place in (0, 1, 2, 6, 7, 8, 9, 13, 14, 15, 16, 23)]
    assert list(shortened(conv7(), 0.1).layers) == layers


def test_a_convolution_that_gives_the_classes_stays() -> None:
    given = Architecture((3, 12, 12), (*STEM, *STEM, Convolution(4, 1), GlobalAveragePool()))
    short = shortened(given, 0.1)
    assert short.classes == 4
    assert counts(short) == [2]


@pytest.mark.parametrize("given", ZOO.values(), ids=ZOO)
def test_any_network_stays_a_network_of_its_classes(given: Architecture) -> None:
    short = shortened(given, 0.4)
    assert (short.input_shape, short.classes) == (given.input_shape, given.classes)
    assert len(short.layers) <= len(given.layers)
    assert shortened(given, 1.0) == given
    images = torch.zeros(2, *given.input_shape)
    assert build(short).eval()(images).shape == (2, given.classes)


def test_random_networks_lose_all_blocks_but_the_first_of_each_stage() -> None:
    drawn = BlocksSpace((3, 32, 32), 10).sample(60, torch.Generator().manual_seed(3)).architectures
    shorter = [shortened(each, 0.01) for each in drawn]
    assert all(set(counts(each)) == {1} for each in shorter)
    assert sum(one != two for one, two in zip(drawn, shorter, strict=True)) > 30
