"""What all search spaces share: limits, patience, reproducible samples, and that all is counted."""

from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from typing import Any

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from archpress.architectures.architecture import Architecture
from archpress.architectures.building import build
from archpress.architectures.cost import Cost
from archpress.architectures.layers import Convolution, DepthwiseConvolution, Linear
from archpress.architectures.spaces import (
    BLOCKS,
    MAX_LAYERS,
    MAX_WIDTH,
    SPACES,
    BlocksSpace,
    Limits,
    NeighbourhoodSpace,
    PaperSpace,
    RejectedDrawError,
    Sample,
    Space,
)
from archpress.errors import BudgetError
from tests.small_networks import SHAPES, ZOO, generator

Shape = tuple[int, int, int]


def make_space(name: str, shape: Shape, classes: int, limits: Limits | None = None) -> Space:
    """A space by name; the neighbourhood is that of a residual network which fits everywhere."""
    limits = limits or Limits()
    if name != "neighbourhood":
        return SPACES[name](shape, classes, limits)
    residual = ZOO["inverted residuals"].layers[:-1]
    origin = Architecture(shape, (*residual, Linear(classes)))
    return NeighbourhoodSpace(shape, classes, limits, origin=origin)


every_space = pytest.mark.parametrize("name", SPACES)


def test_the_spaces_bear_their_names() -> None:
    assert {
        "paper": PaperSpace, "blocks": BlocksSpace, "neighbourhood": NeighbourhoodSpace,
    } == SPACES  # fmt: skip


# ------------------------------------------------------------------------ limits, patience


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        ({}, None),
        ({"parameters": 9}, "too few parameters"),
        ({"parameters": 101}, "too many parameters"),
        ({"macs": 201}, "too many MACs"),
        ({"activation_bytes": 301}, "too much activation memory"),
        ({"parameters": 10, "macs": 0, "activation_bytes": 0}, None),
        ({"receptive_field": 10**6}, None),
    ],
)
def test_limits_are_inclusive_and_name_what_is_exceeded(
    change: dict[str, int], reason: str | None
) -> None:
    limits = Limits(10, 100, 200, 300)
    assert limits.violation(replace(Cost(100, 200, 300, 1), **change)) == reason


@pytest.mark.parametrize(
    "make",
    [
        lambda: Limits(min_parameters=0),
        lambda: Limits(min_parameters=11, max_parameters=10),
        lambda: Limits(max_parameters=0),
    ],
)
def test_limits_that_no_network_can_meet_are_refused(make: Callable[[], Any]) -> None:
    with pytest.raises(BudgetError, match="expected 1 <= min_parameters <= max_parameters"):
        make()


@pytest.mark.parametrize(
    ("limits", "reason"),
    [
        (Limits(max_parameters=20), "too many parameters"),
        (Limits(max_macs=10), "too many MACs"),
        (Limits(max_parameters=50_000, max_activation_bytes=1_000), "too much activation memory"),
        (Limits(min_parameters=10**9, max_parameters=10**10), "too few parameters"),
    ],
)
def test_limits_out_of_the_spaces_reach_end_in_an_error_that_says_why(
    limits: Limits, reason: str
) -> None:
    message = rf"among 150 draws; the most frequent reason was '{reason}' \(150\)"
    with pytest.raises(BudgetError, match=message):
        BlocksSpace((1, 28, 28), 10, limits).sample(1, generator(0), patience=150)


@dataclass(frozen=True)
class Scripted(Space):
    """A space whose draws are written down: a width, or the reason of a rejection."""

    script: tuple[int | str, ...] = ()
    used: list[int] = field(default_factory=list, compare=False)

    def draw(self, generator: torch.Generator, repaired: Counter[str]) -> Architecture:
        self.used.append(1)
        drawn = self.script[(len(self.used) - 1) % len(self.script)]
        repaired["every draw"] += 1
        if isinstance(drawn, str):
            raise RejectedDrawError(drawn)
        return Architecture(self.input_shape, (Convolution(drawn, 1), Linear(self.classes)))


def test_a_sample_counts_draws_rejections_and_the_repairs_of_the_accepted() -> None:
    space = Scripted((1, 2, 2), 3, Limits(max_parameters=100), ("a", 2, "b", "a", 50, 3))
    result = space.sample(2, generator(0))
    assert [network.shapes[1][0] for network in result.architectures] == [2, 3]
    assert result.drawn == 6
    assert result.rejected == {"a": 2, "b": 1, "too many parameters": 1}
    assert result.repaired == {"every draw": 2}


def test_patience_is_for_rejections_in_a_row_and_the_error_names_the_most_frequent() -> None:
    space = Scripted((1, 2, 2), 3, script=("rare", "often", "often", 2))
    assert space.sample(5, generator(0), patience=4).drawn == 20
    with pytest.raises(BudgetError, match=r"among 3 draws; .* reason was 'often' \(2\)"):
        replace(space, used=[]).sample(1, generator(0), patience=3)


def test_a_repeated_draw_is_rejected_only_where_networks_must_be_distinct() -> None:
    space = Scripted((1, 2, 2), 3, script=(2, 2, 3, 2, 4))
    assert space.sample(5, generator(0)).drawn == 5
    distinct = replace(space, used=[]).sample(3, generator(0), distinct=True)
    assert [network.shapes[1][0] for network in distinct.architectures] == [2, 3, 4]
    assert distinct.rejected == {"drawn before": 2}


def test_a_distinct_sample_is_the_first_of_each_network_of_the_plain_one() -> None:
    tight = Limits(min_parameters=50, max_parameters=200)
    space = BlocksSpace((1, 8, 8), 10, tight, max_blocks=1, min_width=1)
    repeats = space.sample(40, generator(0)).architectures
    assert len(set(repeats)) < 40
    found = space.sample(20, generator(0), distinct=True)
    assert len(set(found.architectures)) == 20
    assert found.rejected["drawn before"] > 0
    assert found.architectures == list(dict.fromkeys(repeats))[:20]


@every_space
@pytest.mark.parametrize("shape", SHAPES)
def test_the_smallest_network_builds_and_has_the_classes(name: str, shape: Shape) -> None:
    network = make_space(name, shape, 10).smallest()
    assert network.classes == 10
    assert build(network, 0).eval()(torch.zeros(2, *shape)).shape == (2, 10)


@pytest.mark.parametrize("global_pool", [True, False])
@pytest.mark.parametrize("blocks", [BLOCKS, ("separable",), ("inverted",), ("residual",)])
def test_no_draw_of_blocks_is_smaller_than_the_smallest(
    blocks: tuple[str, ...], global_pool: bool
) -> None:
    space = BlocksSpace((1, 9, 8), 10, Limits(1, 1500), blocks=blocks, global_pool=global_pool)
    smallest = space.smallest().cost.parameters
    sizes = [n.cost.parameters for n in space.sample(300, generator(0)).architectures]
    assert smallest <= min(sizes) <= 2 * smallest


def test_the_smallest_network_of_blocks_has_the_least_width_and_can_be_drawn() -> None:
    """Four channels of a 1 x 1 convolution with BatchNorm, their means, the classifier."""
    space = BlocksSpace((1, 8, 8), 10, Limits(1, 100))
    smallest = space.smallest()
    assert smallest.cost.parameters == 4 * (1 + 1 + 2) + 10 * (4 + 1)
    sizes = [network.cost.parameters for network in space.sample(100, generator(0)).architectures]
    assert smallest.cost.parameters == min(sizes)
    wider = replace(space, min_width=9).smallest()
    assert wider.cost.parameters == 9 * 4 + 10 * 10


def test_the_smallest_network_of_the_paper_has_sixteen_channels() -> None:
    assert PaperSpace((1, 8, 8), 10).smallest().cost.parameters == 16 * 2 + 10 * 17


def test_the_smallest_neighbour_without_an_edit_is_one_channel_wide() -> None:
    space = make_space("neighbourhood", (3, 8, 8), 10, Limits(1, 2000))
    smallest = space.smallest()
    assert {shape[0] for shape in smallest.shapes[1:-1]} == {1}
    assert len(smallest.layers) == len(space.origin.layers)  # type: ignore[attr-defined]


def test_what_a_caller_does_not_accept_is_rejected_as_beyond_the_budget() -> None:
    space = BlocksSpace((1, 8, 8), 10, Limits(100, 5_000))
    found = space.sample(20, generator(0), accept=lambda network: network.cost.macs < 50_000)
    assert max(network.cost.macs for network in found.architectures) < 50_000
    plain = space.sample(found.drawn, generator(0)).architectures
    assert [n for n in plain if n.cost.macs < 50_000][:20] == found.architectures
    assert found.rejected["beyond the budget"] > 0


# ------------------------------------------------------------------------------ every space


@every_space
def test_the_same_seed_gives_the_same_sample(name: str) -> None:
    space = make_space(name, (3, 32, 32), 10)
    first, again, other = (space.sample(20, generator(seed)) for seed in (1, 1, 2))
    assert first == again
    assert first.architectures != other.architectures
    assert space.sample(7, generator(1)).architectures == first.architectures[:7]


@every_space
def test_sampling_reads_no_randomness_but_its_generators(name: str) -> None:
    stream, before = generator(1), torch.get_rng_state()
    space = make_space(name, (1, 8, 8), 10)
    first = space.sample(10, stream)
    assert torch.equal(torch.get_rng_state(), before)
    assert space.sample(10, stream).architectures != first.architectures


@every_space
def test_a_sample_of_none_draws_nothing(name: str) -> None:
    assert make_space(name, (1, 8, 8), 10).sample(0, generator(0)) == Sample()


@every_space
@settings(max_examples=25, deadline=None)
@given(shape=st.sampled_from(SHAPES), classes=st.integers(1, 30), seed=st.integers(0, 2**32))
def test_every_sampled_network_fits_data_limits_and_canvas(
    name: str, shape: Shape, classes: int, seed: int
) -> None:
    limits = Limits(200, 2_000_000, 30_000_000, 4_000_000)
    space = make_space(name, shape, classes, limits)
    for network in space.sample(4, generator(seed)).architectures:
        assert (network.input_shape, network.classes) == (shape, classes)
        assert limits.violation(network.cost) is None
        kinds = Convolution | DepthwiseConvolution
        assert any(isinstance(layer, kinds) for layer in network.layers)
        assert len(network.layers) <= MAX_LAYERS
        highest = [max(column) for column in zip(*network.rows(), strict=True)]
        bounds = (8, 10, MAX_WIDTH, 10, 10, 0) if name == "paper" else (16, 10, MAX_WIDTH, 4, 10, 8)
        if name != "neighbourhood":  # separated convolutions make skips longer
            assert all(a <= b for a, b in zip(highest, bounds, strict=True))
