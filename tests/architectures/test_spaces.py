"""The search spaces: what is drawn, what is mended, what is refused, and that all is counted."""

import math
import time
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
from archpress.architectures.layers import (
    AveragePool,
    BatchNorm,
    Convolution,
    Dropout,
    Linear,
    MaxPool,
    ReLU,
    layer_from_row,
)
from archpress.architectures.spaces import (
    MAX_LAYERS,
    MAX_WIDTH,
    SPACES,
    BlocksSpace,
    Limits,
    PaperSpace,
    RejectedDrawError,
    Sample,
    Space,
)
from archpress.errors import BudgetError, InvalidArchitectureError
from tests.small_networks import SHAPES, generator, images_for

CUT = "cut pool padding to half the kernel"
DROPPED = "dropped a spatial layer after the first linear"
NO_CONVOLUTION = "no convolution"
TOO_SMALL = "output too small to go on"
PAPER = PaperSpace((1, 28, 28), 10)
STRATA = Limits(min_parameters=5_000, max_parameters=1_000_000)

every_space = pytest.mark.parametrize("kind", SPACES.values(), ids=SPACES)


@dataclass(frozen=True)
class WrittenPaperSpace(PaperSpace):
    """The paper's space, whose next draws are written down: vectors ``[t, k, o, s, p]``."""

    written: tuple[list[list[int]], ...] = ()
    used: list[int] = field(default_factory=list, compare=False)

    def draw_rows(self, generator: torch.Generator) -> list[list[int]]:
        self.used.append(1)
        return self.written[(len(self.used) - 1) % len(self.written)]


def drawn_from(*rows: list[int]) -> tuple[Architecture, Counter[str]]:
    """What the paper's space makes of one literal draw, and the repairs that it counts."""
    repaired: Counter[str] = Counter()
    space = WrittenPaperSpace((1, 8, 8), 10, written=(list(rows),))
    return space.draw(generator(0), repaired), repaired


# ------------------------------------------------------------------ the paper's literal draw


@pytest.fixture(scope="module")
def literal_draws() -> list[list[list[int]]]:
    stream = generator(0)
    return [PAPER.draw_rows(stream) for _ in range(4_000)]


def test_lengths_are_uniform_from_2_to_50_the_last_layer_included(
    literal_draws: list[list[list[int]]],
) -> None:
    lengths = [1 + len(rows) for rows in literal_draws]
    assert (min(lengths), max(lengths)) == (2, 50)
    for low in range(2, 51, 7):
        share = sum(low <= length < low + 7 for length in lengths) / len(lengths)
        assert share == pytest.approx(1 / 7, abs=0.03)


@pytest.mark.parametrize(
    ("name", "column", "low", "high"),
    [("type", 0, 1, 8), ("kernel", 1, 1, 10), ("stride", 3, 1, 10), ("padding", 4, 1, 10)],
)
def test_small_fields_are_uniform_over_their_range(
    literal_draws: list[list[list[int]]], name: str, column: int, low: int, high: int
) -> None:
    counts = Counter(row[column] for rows in literal_draws for row in rows)
    assert sorted(counts) == list(range(low, high + 1)), name
    for count in counts.values():
        assert count / counts.total() == pytest.approx(1 / (high - low + 1), abs=0.01)


def test_widths_are_uniform_from_16_to_4096(literal_draws: list[list[list[int]]]) -> None:
    widths = torch.tensor([row[2] for rows in literal_draws for row in rows])
    assert (int(widths.min()), int(widths.max())) == (16, 4096)
    shares = torch.histc(widths.double(), bins=10, min=16, max=4096) / len(widths)
    assert shares.sub(0.1).abs().max() < 0.01


def test_the_literal_draw_builds_as_seldom_as_decision_r4_says() -> None:
    stream, built, draws = generator(1), 0, 6_000
    for _ in range(draws):
        rows = PAPER.draw_rows(stream)
        try:
            layers = [layer_from_row((t, k, o, s, p, 0)) for t, k, o, s, p in rows]
            Architecture((1, 28, 28), (*layers, Linear(10)))
            built += any(isinstance(layer, Convolution) for layer in layers)
        except InvalidArchitectureError:
            continue
    assert built / draws == pytest.approx(0.023, abs=0.005)


# ------------------------------------------------------------------------ repair, rejection


def mended(rows: list[list[int]]) -> list[list[int]]:
    """The two repairs, told once more: on the vectors themselves."""
    types = [row[0] for row in rows]
    first_linear = types.index(8) if 8 in types else len(rows)
    kept = [row for i, row in enumerate(rows) if i < first_linear or row[0] not in (1, 2, 7)]
    return [[t, k, o, s, min(p, k // 2) if t in (2, 7) else p] for t, k, o, s, p in kept]


def test_the_repairs_change_nothing_but_what_they_say() -> None:
    accepted = 0
    for seed in range(300):
        try:
            network = PAPER.draw(generator(seed), Counter())
        except RejectedDrawError:
            continue
        accepted += 1
        rows = mended(PAPER.draw_rows(generator(seed)))
        layers = tuple(layer_from_row((t, k, o, s, p, 0)) for t, k, o, s, p in rows)
        assert network == Architecture((1, 28, 28), (*layers, Linear(10)))
    assert accepted > 50


def test_pool_padding_is_cut_to_half_the_kernel_and_counted_once() -> None:
    network, repaired = drawn_from([1, 3, 16, 1, 9], [2, 3, 99, 1, 9], [7, 2, 99, 1, 2])
    assert network.layers[:-1] == (Convolution(16, 3, 1, 9), MaxPool(3, 1, 1), AveragePool(2, 1, 1))
    assert repaired == {CUT: 1}


def test_spatial_layers_after_the_first_linear_are_dropped_and_counted_once() -> None:
    after = [[1, 1, 16, 1, 1], [4, 1, 16, 1, 1], [2, 2, 16, 1, 1], [7, 2, 16, 1, 1]]
    network, repaired = drawn_from([1, 3, 16, 1, 1], [8, 5, 20, 5, 5], *after)
    assert network.layers == (Convolution(16, 3, 1, 1), Linear(20), ReLU(), Linear(10))
    assert repaired == {DROPPED: 1}


def test_a_dropped_pool_does_not_count_as_cut() -> None:
    _, repaired = drawn_from([1, 3, 16, 1, 1], [8, 1, 20, 1, 1], [2, 1, 16, 1, 9])
    assert repaired == {DROPPED: 1}


def test_a_draw_that_builds_as_it_is_counts_no_repair() -> None:
    network, repaired = drawn_from([1, 3, 16, 1, 1], [2, 2, 16, 2, 1], [6, 9, 99, 9, 9])
    assert network.layers == (Convolution(16, 3, 1, 1), MaxPool(2, 2, 1), Dropout(), Linear(10))
    assert not repaired


@pytest.mark.parametrize(
    ("rows", "reason"),
    [
        ([[4, 1, 16, 1, 1]], NO_CONVOLUTION),
        ([[2, 2, 16, 1, 1], [8, 1, 16, 1, 1]], NO_CONVOLUTION),
        ([[8, 1, 16, 1, 1], [1, 1, 16, 1, 1]], NO_CONVOLUTION),
        ([[1, 10, 16, 10, 1], [2, 4, 16, 1, 1]], TOO_SMALL),
        ([[2, 9, 16, 9, 4], [1, 4, 16, 1, 1]], TOO_SMALL),
    ],
)
def test_an_unusable_draw_is_rejected_with_its_reason(rows: list[list[int]], reason: str) -> None:
    with pytest.raises(RejectedDrawError, match=f"^{reason}$"):
        drawn_from(*rows)


def test_a_sample_counts_every_draw_and_the_repairs_of_the_accepted_ones() -> None:
    plain, cut = [[1, 3, 16, 1, 1]], [[1, 3, 16, 1, 1], [2, 2, 16, 1, 9]]
    no_convolution = [[4, 1, 16, 1, 1]]
    mended_in_vain = [[2, 8, 16, 8, 9], [1, 9, 16, 1, 1]]
    wide = [[1, 3, 4096, 1, 1]]
    written = (plain, no_convolution, mended_in_vain, cut, wide, no_convolution, cut)
    space = WrittenPaperSpace((1, 8, 8), 10, Limits(max_parameters=100_000), written)
    result = space.sample(3, generator(0))
    assert result.drawn == 7
    assert result.rejected == {NO_CONVOLUTION: 2, TOO_SMALL: 1, "too many parameters": 1}
    assert result.repaired == {CUT: 2}
    assert [len(network.layers) for network in result.architectures] == [2, 3, 3]


def test_the_papers_space_accepts_about_an_eighth_of_its_draws() -> None:
    result = PAPER.sample(200, generator(2))
    assert len(result.architectures) == 200
    assert result.drawn == 200 + result.rejected.total()
    usual = {NO_CONVOLUTION, TOO_SMALL, "too many parameters"}
    assert usual <= set(result.rejected) <= {*usual, "too many MACs"}
    assert 0.08 < 200 / result.drawn < 0.18
    assert all(100 < result.repaired[rule] < 200 for rule in (CUT, DROPPED))


# -------------------------------------------------------------------------- limits, patience


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        ({}, None),
        ({"parameters": 9}, "too few parameters"),
        ({"parameters": 101}, "too many parameters"),
        ({"macs": 201}, "too many MACs"),
        ({"activation_bytes": 301}, "too much activation memory"),
        ({"parameters": 10, "macs": 0, "activation_bytes": 0}, None),
    ],
)
def test_limits_are_inclusive_and_name_what_is_exceeded(
    change: dict[str, int], reason: str | None
) -> None:
    limits = Limits(10, 100, 200, 300)
    assert limits.violation(replace(Cost(100, 200, 300), **change)) == reason


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


def test_patience_starts_anew_with_every_accepted_draw() -> None:
    bad = [[4, 1, 16, 1, 1]]
    space = WrittenPaperSpace((1, 8, 8), 10, written=(bad, bad, bad, [[1, 3, 16, 1, 1]]))
    result = space.sample(5, generator(0), patience=4)
    assert (result.drawn, result.rejected.total()) == (20, 15)
    with pytest.raises(BudgetError):
        replace(space, used=[]).sample(5, generator(0), patience=3)


# ------------------------------------------------------------------------------- both spaces


@every_space
def test_the_same_seed_gives_the_same_sample(kind: type[Space]) -> None:
    space = kind((3, 32, 32), 10)
    first, again, other = (space.sample(20, generator(seed)) for seed in (1, 1, 2))
    assert first == again
    assert first.architectures != other.architectures
    assert space.sample(7, generator(1)).architectures == first.architectures[:7]


@every_space
def test_sampling_reads_no_randomness_but_its_generators(kind: type[Space]) -> None:
    stream, before = generator(1), torch.get_rng_state()
    space = kind((1, 8, 8), 10)
    first = space.sample(10, stream)
    assert torch.equal(torch.get_rng_state(), before)
    assert space.sample(10, stream).architectures != first.architectures


@every_space
def test_a_sample_of_none_draws_nothing(kind: type[Space]) -> None:
    assert kind((1, 8, 8), 10).sample(0, generator(0)) == Sample()


@every_space
@settings(max_examples=25, deadline=None)
@given(shape=st.sampled_from(SHAPES), classes=st.integers(1, 30), seed=st.integers(0, 2**32))
def test_every_sampled_network_fits_data_limits_and_canvas(
    kind: type[Space], shape: tuple[int, int, int], classes: int, seed: int
) -> None:
    limits = Limits(2_000, 2_000_000, 30_000_000, 4_000_000)
    for network in kind(shape, classes, limits).sample(4, generator(seed)).architectures:
        assert (network.input_shape, network.classes) == (shape, classes)
        assert limits.violation(network.cost) is None
        assert any(isinstance(layer, Convolution) for layer in network.layers)
        assert len(network.layers) <= MAX_LAYERS
        highest = [max(column) for column in zip(*network.rows(), strict=True)]
        assert all(a <= b for a, b in zip(highest, (8, 10, MAX_WIDTH, 10, 10, 0), strict=True))


# ------------------------------------------------------------------------------------ blocks


@pytest.mark.parametrize("shape", [(1, 28, 28), (1, 8, 8), (3, 32, 32), (3, 7, 12), (1, 1, 1)])
def test_sizes_are_roughly_log_uniform_within_the_limits(shape: tuple[int, int, int]) -> None:
    result = BlocksSpace(shape, 10, STRATA).sample(1_000, generator(4))
    span = math.log(STRATA.max_parameters / STRATA.min_parameters)
    strata = Counter(
        min(int(5 * math.log(network.cost.parameters / STRATA.min_parameters) / span), 4)
        for network in result.architectures
    )
    assert sorted(strata) == [0, 1, 2, 3, 4]
    assert all(0.13 < count / 1_000 < 0.29 for count in strata.values()), strata
    assert result.drawn == 1_000 + result.rejected.total() < 1_030
    assert not result.repaired


@pytest.fixture(scope="module")
def blocks() -> list[Architecture]:
    return BlocksSpace((3, 32, 32), 10, STRATA).sample(1_000, generator(5)).architectures


def convolutions(network: Architecture) -> list[Convolution]:
    return [layer for layer in network.layers if isinstance(layer, Convolution)]


def test_nearly_all_networks_are_distinct(blocks: list[Architecture]) -> None:
    assert len({network.digest for network in blocks}) > 900


def test_depths_are_roughly_uniform_from_1_to_10(blocks: list[Architecture]) -> None:
    depths = Counter(len(convolutions(network)) for network in blocks)
    assert sorted(depths) == list(range(1, 11))
    assert all(0.06 < count / len(blocks) < 0.14 for count in depths.values()), depths


def test_widths_use_the_whole_range_and_no_more(blocks: list[Architecture]) -> None:
    widths = [layer.out_channels for network in blocks for layer in convolutions(network)]
    assert (min(widths), max(widths)) == (4, 512)
    assert len(set(widths)) > 150
    narrow = BlocksSpace((3, 32, 32), 10, min_width=8, max_width=16, max_blocks=3)
    for network in narrow.sample(100, generator(0)).architectures:
        assert all(8 <= layer.out_channels <= 16 for layer in convolutions(network))
        assert len(convolutions(network)) <= 3


def test_a_wide_block_stays_wider_than_a_narrow_one_whatever_the_size() -> None:
    """One common factor scales the widths: the ranks that one seed draws do not change."""
    small, large = (
        BlocksSpace((1, 28, 28), 10, Limits(size, size + size // 3)) for size in (40_000, 400_000)
    )
    for seed in range(20):
        one, other = (
            convolutions(space.draw(generator(seed), Counter())) for space in (small, large)
        )
        assert len(one) == len(other)
        pairs = [(a.out_channels, b.out_channels) for a, b in zip(one, other, strict=True)]
        assert all(a <= b for a, b in pairs)
        assert all((p[0] - q[0]) * (p[1] - q[1]) >= 0 for p in pairs for q in pairs)


def test_a_network_is_blocks_then_a_head(blocks: list[Architecture]) -> None:
    for network in blocks:
        kinds = "".join(
            {"average_pool": "p", "max_pool": "p"}.get(x.kind, x.kind[0]) for x in network.layers
        )
        *body, head = kinds.split("cbr")[1:]
        assert set(body) <= {"", "p"}
        assert head in {"l", "pl", "dl", "pdl", "ppl", "ppdl"}
        assert all(
            c.kernel in (1, 3, 5) and c.padding == c.kernel // 2 for c in convolutions(network)
        )
        assert all(c.stride in (1, 2) for c in convolutions(network))


def test_every_choice_of_a_block_occurs(blocks: list[Architecture]) -> None:
    chosen = [layer for network in blocks for layer in convolutions(network)]
    kernels, strides = Counter(c.kernel for c in chosen), Counter(c.stride for c in chosen)
    assert kernels[3] / len(chosen) == pytest.approx(0.6, abs=0.05)
    assert kernels[1] / len(chosen) == pytest.approx(0.2, abs=0.05)
    assert 0.03 < strides[2] / len(chosen) < 0.15
    pools = Counter(
        layer for network in blocks for layer in network.layers if layer.kind.endswith("pool")
    )
    assert 2 * pools[AveragePool(2, 2)] < pools[MaxPool(2, 2)]
    dropped = sum(Dropout() in network.layers for network in blocks)
    assert dropped / len(blocks) == pytest.approx(0.2, abs=0.04)


def ends_in_global_pooling(network: Architecture) -> bool:
    return any(
        isinstance(layer, AveragePool) and layer.kernel == shape[1] == shape[2] > 1
        for layer, shape in zip(network.layers[-3:], network.shapes[-4:-1], strict=True)
    )


def test_half_of_the_networks_whose_side_allows_it_end_in_global_pooling() -> None:
    space = BlocksSpace((1, 9, 9), 10, STRATA, max_blocks=1)
    networks = space.sample(1_500, generator(6)).architectures
    assert {network.shapes[3][1] for network in networks} == {5, 9}
    share = sum(ends_in_global_pooling(network) for network in networks) / len(networks)
    assert share == pytest.approx(0.5, abs=0.04)
    for shape in ((1, 9, 6), (1, 64, 64)):
        networks = BlocksSpace(shape, 10, max_blocks=1).sample(100, generator(7)).architectures
        assert not any(ends_in_global_pooling(network) for network in networks)


@pytest.mark.parametrize("kind", [AveragePool, MaxPool])
def test_small_sides_are_not_halved(kind: type) -> None:
    networks = BlocksSpace((1, 3, 9), 10, STRATA).sample(100, generator(0)).architectures
    assert all(c.stride == 1 for network in networks for c in convolutions(network))
    assert not any(isinstance(layer, kind) for network in networks for layer in network.layers)


def test_a_side_is_halved_exactly_where_it_still_has_four_pixels() -> None:
    """From 7 a stride leaves 4, which is halved again, and a pool leaves 3, which is not."""
    halved = {
        shape[1]
        for network in BlocksSpace((1, 7, 7), 10, STRATA).sample(200, generator(0)).architectures
        for layer, shape in zip(network.layers, network.shapes, strict=False)
        if layer == MaxPool(2, 2) or (isinstance(layer, Convolution) and layer.stride == 2)
    }
    assert halved == {7, 4}


@pytest.mark.parametrize("shape", [(1, 8, 8), (3, 32, 32), (2, 7, 12)])
def test_sampled_blocks_build_and_run(shape: tuple[int, int, int]) -> None:
    limits = Limits(max_parameters=50_000, max_macs=5_000_000)
    for network in BlocksSpace(shape, 7, limits).sample(10, generator(8)).architectures:
        model = build(network, seed=0)
        assert model(images_for(network, count=2)).shape == (2, 7)
        assert sum(isinstance(module, torch.nn.BatchNorm2d) for module in model) == sum(
            isinstance(layer, BatchNorm) for layer in network.layers
        )


def test_sampling_blocks_is_fast(record_property: Callable[[str, object], None]) -> None:
    """A floor with much room, in processor time; ``pytest -s`` prints the measured rate."""
    rates = []
    for seed in range(3):
        start = time.process_time()
        result = BlocksSpace((3, 32, 32), 10, STRATA).sample(300, generator(seed))
        rates.append(len(result.architectures) / (time.process_time() - start))
    record_property("blocks_per_second", round(max(rates)))
    print(f"benchmark: {max(rates):,.0f} valid blocks architectures a second (best of 3)")
    assert max(rates) > 500


def test_a_distinct_sample_rejects_what_was_drawn_before_and_counts_it() -> None:
    tight = Limits(min_parameters=50, max_parameters=200)
    space = BlocksSpace((1, 8, 8), 10, tight, max_blocks=1, min_width=1)
    repeats = space.sample(40, torch.Generator().manual_seed(0)).architectures
    assert len(set(repeats)) < 40
    found = space.sample(20, torch.Generator().manual_seed(0), distinct=True)
    assert len(set(found.architectures)) == 20
    assert found.rejected["drawn before"] > 0
    assert found.architectures == list(dict.fromkeys(repeats))[:20]
