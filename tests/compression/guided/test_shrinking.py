"""The bound that brackets the smallest network within the drop."""

from dataclasses import replace

import pytest

from archpress.architectures.architecture import Architecture
from archpress.architectures.spaces import NeighbourhoodSpace
from archpress.compression.budget import Budget
from archpress.compression.guided.shrinking import FIRST_CUT, working_task
from archpress.compression.task import CompressionTask
from tests.compression.tasks import label_of, make_task, network_of

SMALLEST = make_task().space.smallest().cost.parameters


def dropping(budget: Budget | None = None, drop: float = 0.05) -> CompressionTask:
    return make_task(budget or Budget(), max_accuracy_drop=drop)


def bound(tried: list[int], found: dict[int, float], budget: Budget | None = None) -> int | None:
    """The bound after labels of networks of so many channels, the input's being 0.9."""
    labels = [label_of(network_of(width), accuracy) for width, accuracy in found.items()]
    return working_task(dropping(budget), labels, tried, 0.9).budget.parameters


def size(width: int) -> int:
    return network_of(width).cost.parameters


def test_a_task_without_a_drop_or_without_a_reference_stays_as_it_is() -> None:
    plain, labels = make_task(), [label_of(network_of(2), 0.9)]
    assert working_task(plain, labels, [], 0.9) is plain
    task = dropping()
    assert working_task(task, labels, [], None) is task


def test_until_one_is_within_the_drop_the_bound_is_that_of_space_and_budget() -> None:
    assert bound([], {}) == 75_626
    assert bound([], {3: 0.84, 5: 0.8}) == 75_626
    assert bound([75_626], {3: 0.84}, Budget(5_000)) == 5_000


def test_the_first_cut_is_below_the_smallest_within_the_drop() -> None:
    assert bound([75_626], {9: 0.9, 6: 0.85, 4: 0.8}) == round(FIRST_CUT * size(6))


def test_then_it_is_half_way_to_the_largest_bound_that_gave_none() -> None:
    tried = [75_626, 2_000, 3_000, 1_000]
    assert bound(tried, {6: 0.9, 4: 0.8}) == round((size(6) * 3_000) ** 0.5)


def test_a_bound_that_gave_one_is_no_longer_in_vain() -> None:
    tried = [75_626, 2_700]
    assert bound(tried, {6: 0.9, 4: 0.9}) == round(FIRST_CUT * size(4))


def test_the_bracket_closes_on_the_smallest_size_that_will_do() -> None:
    """Where all networks from some size on are within the drop, and the bound is always met."""
    least, tried, found = 2_300, [75_626], {60: 0.9}
    for _ in range(9):
        now = bound(tried, found)
        assert now is not None
        tried.append(now)
        width = max(width for width in range(1, 120) if size(width) <= now)
        found[width] = 0.9 if size(width) >= least else 0.1
    smallest = min(size(width) for width, accuracy in found.items() if accuracy > 0.5)
    assert smallest == min(size(width) for width in range(1, 60) if size(width) >= least)


def test_only_what_is_within_the_other_bounds_counts() -> None:
    macs = network_of(6).cost.macs
    assert bound([75_626], {9: 0.9, 7: 0.9}, Budget(macs=macs)) == 75_626
    assert bound([75_626], {9: 0.9, 6: 0.9}, Budget(macs=macs)) == round(FIRST_CUT * size(6))


def test_a_label_without_an_accuracy_is_not_within_the_drop() -> None:
    task = dropping()
    labels = [label_of(network_of(2), None), label_of(network_of(5), 0.9)]
    assert working_task(task, labels, [], 0.9).budget.parameters == round(FIRST_CUT * size(5))


def test_nothing_is_looked_for_below_the_smallest_network_of_the_space() -> None:
    smallest: Architecture = make_task().space.smallest()
    labels = [label_of(smallest, 0.9)]
    assert working_task(dropping(), labels, [], 0.9) is None


def test_other_bounds_stay() -> None:
    budget = working_task(dropping(Budget(macs=9_999)), [], [], 0.9).budget
    assert budget == Budget(75_626, macs=9_999)


@pytest.mark.parametrize("allowed", [1_000, 2_000])
def test_the_budget_is_never_exceeded(allowed: int) -> None:
    labels = {1: 0.8, 2: 0.9}
    found = bound([], labels, Budget(allowed))
    assert found is not None and found <= allowed


def test_nor_where_edits_reach_less_than_the_smallest_network_known() -> None:
    task = dropping(Budget(150))
    space = NeighbourhoodSpace((1, 8, 8), 10, task.space.limits, origin=task.network)
    assert space.smallest().cost.parameters > 150
    found = working_task(replace(task, space=space), [], [], 0.9).budget.parameters
    assert found is not None and found <= 150
