"""The paper's space: what is drawn, what is mended, what is refused, and that all is counted."""

from collections import Counter
from dataclasses import dataclass, field, replace

import pytest
import torch

from archpress.architectures.architecture import Architecture
from archpress.architectures.layers import (
    AveragePool,
    Convolution,
    Dropout,
    Linear,
    MaxPool,
    ReLU,
    layer_from_row,
)
from archpress.architectures.spaces import Limits, PaperSpace, RejectedDrawError
from archpress.errors import BudgetError, InvalidArchitectureError
from tests.small_networks import generator

CUT = "cut pool padding to half the kernel"
DROPPED = "dropped a spatial layer after the first linear"
NO_CONVOLUTION = "no convolution"
TOO_SMALL = "output too small to go on"
PAPER = PaperSpace((1, 28, 28), 10)


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


def test_patience_starts_anew_with_every_accepted_draw() -> None:
    bad = [[4, 1, 16, 1, 1]]
    space = WrittenPaperSpace((1, 8, 8), 10, written=(bad, bad, bad, [[1, 3, 16, 1, 1]]))
    result = space.sample(5, generator(0), patience=4)
    assert (result.drawn, result.rejected.total()) == (20, 15)
    with pytest.raises(BudgetError):
        replace(space, used=[]).sample(5, generator(0), patience=3)
