"""Successive halving: which networks go on, and what every rung says."""

from collections.abc import Callable, Sequence
from itertools import combinations

import numpy as np
import pytest

from archpress.architectures.architecture import Architecture
from archpress.architectures.layers import Convolution
from archpress.errors import SettingsError
from archpress.evaluation.archive import Archive
from archpress.evaluation.executors import InProcess
from archpress.evaluation.halving import (
    Halving,
    Ranking,
    by_accuracy,
    by_front,
    successive_halving,
)
from archpress.evaluation.record import Evaluation, Job, Label
from tests.evaluation.synthetic import Synthetic, scored
from tests.evaluation.tiny import digits, network, recipe, without_seconds

CHEAP, DEAR, DEAREST = (recipe(epochs=epochs, images=32) for epochs in (1, 2, 3))
WIDTHS = range(2, 14)
NETWORKS = [network(width) for width in WIDTHS]


def label(width: int, accuracy: float) -> Label:
    return Label(network(width), accuracy, None, ())


def width_of(architecture: Architecture) -> int:
    first = architecture.layers[0]
    assert isinstance(first, Convolution)
    return first.out_channels


def widths(labels: Sequence[Label]) -> list[int]:
    return [width_of(each.architecture) for each in labels]


def halve(
    score: Callable[[Job], float | None],
    keep: float = 1 / 3,
    ranking: Ranking = by_front,
    archive: Archive | None = None,
    networks: Sequence[Architecture] = NETWORKS,
) -> Halving:
    return successive_halving(
        networks, [CHEAP, DEAR, DEAREST], archive or Archive.in_memory(),
        Synthetic(lambda job: scored(job, score(job))), keep=keep, ranking=ranking,
    )  # fmt: skip


def by_width(accuracies: dict[int, float | None]) -> Callable[[Job], float | None]:
    return lambda job: accuracies[width_of(job.architecture)]


# ------------------------------------------------------------------ rankings


def surpasses(one: Label, other: Label) -> bool:
    """At least as small and as accurate, and better in one of the two."""
    mine = (-one.parameters, one.accuracy or 0)
    others = (-other.parameters, other.accuracy or 0)
    return mine != others and all(a >= b for a, b in zip(mine, others, strict=True))


def test_fronts_come_in_the_order_of_a_brute_force_sort() -> None:
    rng = np.random.default_rng(0)
    for _ in range(50):
        chosen = rng.choice(40, rng.integers(1, 12), replace=False) + 1
        labels = [label(int(w), float(rng.integers(0, 8)) / 8) for w in chosen]
        ranked, rest = by_front(labels), list(labels)
        assert sorted(map(id, ranked)) == sorted(map(id, labels))
        while rest:
            front = [x for x in rest if not any(surpasses(other, x) for other in rest)]
            head, ranked = ranked[: len(front)], ranked[len(front) :]
            assert {id(x) for x in head} == {id(x) for x in front}
            rest = [x for x in rest if x not in front]


def test_every_head_of_a_front_is_spread_over_it() -> None:
    for length in range(2, 14):
        front = [label(width, width / 20) for width in range(1, length + 1)]
        places = [width - 1 for width in widths(by_front(front))]
        assert {0, length - 1} == set(places[:2])
        for count in range(2, length):
            head, left_out = places[:count], places[count:]
            nearest = min(abs(a - b) for a, b in combinations(head, 2))
            assert nearest >= max(min(abs(a - b) for a in head) for b in left_out)


def test_the_first_of_a_front_is_its_most_accurate_network() -> None:
    assert widths(by_front([label(2, 0.1), label(5, 0.8), label(9, 0.9)]))[0] == 9
    assert widths(by_front([label(2, 0.1), label(5, 0.8)]))[0] == 5


def test_of_equals_the_first_given_comes_first_and_none_is_lost() -> None:
    twins = [label(4, 0.5), label(4, 0.5), label(4, 0.5)]
    for ranking in (by_accuracy, by_front):
        assert [id(x) for x in ranking(twins)] == [id(x) for x in twins]


def test_by_accuracy_the_smaller_of_equally_accurate_ones_comes_first() -> None:
    labels = [label(9, 0.7), label(3, 0.7), label(5, 0.9), label(2, 0.0)]
    assert widths(by_accuracy(labels)) == [5, 3, 9, 2]


def test_an_accuracy_of_zero_is_an_accuracy() -> None:
    labels = [label(9, 0.0), label(3, 0.0), label(5, 0.1)]
    assert set(widths(by_front(labels))[:2]) == {3, 5}
    assert widths(by_front(labels))[2] == 9


def test_nothing_ranked_is_nothing() -> None:
    assert by_front([]) == by_accuracy([]) == []


# ------------------------------------------------------------------ who goes on


def test_by_accuracy_the_best_go_on() -> None:
    rng = np.random.default_rng(0)
    accuracies: dict[int, float | None] = {w: float(rng.permutation(99)[w]) / 99 for w in WIDTHS}
    found = halve(by_width(accuracies), ranking=by_accuracy)
    best = sorted(WIDTHS, key=lambda w: -(accuracies[w] or 0))
    assert [sorted(widths(rung.labels)) for rung in found.rungs] == [
        sorted(best[:count]) for count in (12, 4, 2)
    ]


def test_by_front_small_networks_that_are_accurate_for_their_size_go_on() -> None:
    accuracies: dict[int, float | None] = dict.fromkeys(WIDTHS, 0.2)
    accuracies |= {2: 0.3, 5: 0.6, 8: 0.8, 13: 0.95}
    accuracies |= {12: 0.79, 11: 0.78, 10: 0.77}  # better than 2 and 5, but larger than 8
    found = halve(by_width(accuracies))
    assert widths(found.rungs[1].labels) == [2, 5, 8, 13]
    by_score = halve(by_width(accuracies), ranking=by_accuracy)
    assert widths(by_score.rungs[1].labels) == [8, 11, 12, 13]


@pytest.mark.parametrize(
    "keep, count, expected",
    [(1, 5, 5), (0.5, 5, 3), (1 / 3, 6, 2), (1 / 3, 7, 3), (0.07, 100, 7), (0.55, 20, 11),
     (0.28, 25, 7), (1e-12, 5, 1)],
)  # fmt: skip
def test_the_share_that_is_kept_is_rounded_up(keep: float, count: int, expected: int) -> None:
    networks = [network(1 + i) for i in range(count)]
    executor = Synthetic(lambda job: scored(job, 0.5))
    found = successive_halving(
        networks, [CHEAP, DEAR], Archive.in_memory(), executor, keep=keep, ranking=by_accuracy
    )
    assert [len(rung.labels) for rung in found.rungs] == [count, expected]


def test_a_rung_has_its_own_values_in_the_order_given() -> None:
    found = halve(lambda job: job.recipe.epochs / 10, keep=0.5, ranking=by_accuracy)
    assert [rung.recipe for rung in found.rungs] == [CHEAP, DEAR, DEAREST]
    for rung, accuracy in zip(found.rungs, (0.1, 0.2, 0.3), strict=True):
        assert {each.accuracy for each in rung.labels} == {accuracy}
        assert {run.recipe for each in rung.labels for run in each.evaluations} == {rung.recipe}
        assert widths(rung.labels) == sorted(widths(rung.labels))
    assert found.ledger.epochs == 12 * 1 + 6 * 2 + 3 * 3


def test_who_goes_on_to_a_third_rung_is_decided_by_the_second() -> None:
    def score(job: Job) -> float:
        width = width_of(job.architecture)
        return width / 20 if job.recipe == CHEAP else 1 - width / 20

    found = halve(score, keep=0.5, ranking=by_accuracy)
    assert [widths(rung.labels) for rung in found.rungs][1:] == [[8, 9, 10, 11, 12, 13], [8, 9, 10]]


def test_networks_that_fail_drop_out_and_leave_their_place_to_others() -> None:
    accuracies: dict[int, float | None] = {w: None if w % 2 else w / 20 for w in WIDTHS}
    found = halve(by_width(accuracies), ranking=by_accuracy)
    assert [widths(rung.labels) for rung in found.rungs[1:]] == [[6, 8, 10, 12], [10, 12]]
    few = halve(by_width(accuracies), keep=1, ranking=by_accuracy)
    assert [len(rung.labels) for rung in few.rungs] == [12, 6, 6]


def test_where_all_fail_there_is_no_further_rung() -> None:
    found = halve(lambda job: None)
    assert [rung.recipe for rung in found.rungs] == [CHEAP]
    assert all(each.accuracy is None for each in found.rungs[0].labels)


def test_repeated_networks_count_once() -> None:
    found = halve(lambda job: 0.5, networks=NETWORKS * 2)
    assert widths(found.rungs[0].labels) == list(WIDTHS)
    assert len(found.rungs[1].labels) == 4


@pytest.mark.parametrize("keep", [0, -0.5, 1.5])
def test_a_share_is_above_0_and_at_most_1(keep: float) -> None:
    with pytest.raises(SettingsError, match=f"received 3 recipes and {keep}"):
        halve(lambda job: 0.5, keep=keep)


def test_there_is_a_first_rung() -> None:
    with pytest.raises(SettingsError, match="received 0 recipes"):
        successive_halving(NETWORKS, [], Archive.in_memory(), Synthetic(lambda j: scored(j, 1)))


# ------------------------------------------------------------------ real runs


def test_a_second_call_trains_nothing_and_an_interrupted_one_only_what_is_missing() -> None:
    archive, other = Archive.in_memory(), Archive.in_memory()
    recipes = [CHEAP, DEAR]
    with InProcess(digits()) as executor:
        first = successive_halving(NETWORKS, recipes, archive, executor, keep=0.25)
        again = successive_halving(NETWORKS, recipes, archive, executor, keep=0.25)
        other.merge(list(archive)[:7])
        rest = successive_halving(NETWORKS, recipes, other, executor, keep=0.25)
    assert [len(rung.labels) for rung in first.rungs] == [12, 3]
    assert (len(first.trained), again.trained) == (15, ())
    assert again.rungs == first.rungs
    assert again.ledger.runs.total() == 0
    assert len(rest.trained) == 15 - 7
    assert without_seconds(other) == without_seconds(archive)


def test_a_network_at_chance_goes_on_last_however_small_it_is() -> None:
    def outcome(job: Job) -> Evaluation:
        if width_of(job.architecture) < 5:
            return Evaluation.of(job, "at_chance", reason="made up", losses=(2.3,))
        return scored(job, 0.5 + 0.01 * width_of(job.architecture))

    found = successive_halving(
        NETWORKS, [CHEAP, DEAR], Archive.in_memory(), Synthetic(outcome), keep=0.75
    )
    assert widths(found.rungs[1].labels) == list(WIDTHS)[3:]
