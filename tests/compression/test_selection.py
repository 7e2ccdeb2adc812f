"""Selection: on validation accuracy within the budget, or on the measured objective without one."""

import pytest

from archpress.architectures.architecture import Architecture
from archpress.architectures.layers import Convolution, Linear, Sigmoid
from archpress.compression.budget import Budget
from archpress.compression.selection import best, merit
from archpress.compression.task import CompressionTask
from tests.compression.tasks import label_of, make_task, network_of

SMALL, MIDDLE, LARGE, TOO_LARGE = (network_of(width) for width in (2, 6, 11, 12))


def without_budget(weight: float) -> CompressionTask:
    return make_task(budget=Budget(None, weight))


def test_within_a_budget_merit_is_the_accuracy() -> None:
    assert merit(label_of(SMALL, 0.7), make_task()) == 0.7


@pytest.mark.parametrize("weight", [0.0, 1.0, 0.25])
def test_without_a_budget_merit_is_the_negative_objective(weight: float) -> None:
    """-(|a - 1| + lambda p / p_input), section 4.4."""
    share = (652 * 11 + 10) / 75_626
    expected = -(0.3 + weight * share)
    assert merit(label_of(LARGE, 0.7), without_budget(weight)) == pytest.approx(expected)


def test_the_most_accurate_networks_come_first() -> None:
    labels = [label_of(SMALL, 0.5), label_of(MIDDLE, 0.9), label_of(LARGE, 0.7)]
    ranked = [label.architecture for label in best(labels, make_task(), 3)]
    assert ranked == [MIDDLE, LARGE, SMALL]
    assert [label.architecture for label in best(labels, make_task(), 1)] == [MIDDLE]
    assert best(labels, make_task(), 0) == []


def test_what_is_beyond_the_budget_by_one_parameter_is_left_out() -> None:
    labels = [label_of(SMALL, 0.5), label_of(TOO_LARGE, 0.9)]
    size = TOO_LARGE.cost.parameters
    assert [label.architecture for label in best(labels, make_task(size - 1), 2)] == [SMALL]
    assert [label.architecture for label in best(labels, make_task(size), 2)] == [TOO_LARGE, SMALL]


def test_without_a_budget_size_and_accuracy_are_traded() -> None:
    labels = [label_of(SMALL, 0.60), label_of(LARGE, 0.65)]
    assert best(labels, without_budget(1.0), 1)[0].architecture == SMALL
    assert best(labels, without_budget(0.1), 1)[0].architecture == LARGE


def test_ties_go_to_fewer_parameters_then_to_the_digest() -> None:
    labels = [label_of(LARGE, 0.5), label_of(SMALL, 0.5), label_of(MIDDLE, 0.5)]
    assert [label.architecture for label in best(labels, make_task(), 3)] == [SMALL, MIDDLE, LARGE]
    twins = [
        Architecture((1, 8, 8), (Convolution(4, 3), layer, Linear(10)))
        for layer in (Sigmoid(), MIDDLE.layers[2])
    ]
    assert twins[0].cost == twins[1].cost
    order = sorted(twin.digest for twin in twins)
    for pair in (twins, twins[::-1]):
        ranked = best([label_of(twin, 0.5) for twin in pair], make_task(), 2)
        assert [label.architecture.digest for label in ranked] == order


def test_failures_and_the_input_network_are_left_out() -> None:
    task = make_task(budget=Budget(None, 0.0))
    labels = [label_of(SMALL, None), label_of(task.network, 1.0), label_of(MIDDLE, 0.0)]
    assert [label.architecture for label in best(labels, task, 9)] == [MIDDLE]


def test_a_network_labelled_twice_counts_once() -> None:
    labels = [label_of(SMALL, 0.5), label_of(MIDDLE, 0.4), label_of(network_of(2), 0.5)]
    assert [label.architecture for label in best(labels, make_task(), 2)] == [SMALL, MIDDLE]


@pytest.mark.parametrize("metric", ["macs", "activation_bytes"])
def test_any_bound_leaves_out_what_exceeds_it_by_one(metric: str) -> None:
    labels = [label_of(SMALL, 0.5), label_of(MIDDLE, 0.9)]
    bound = getattr(MIDDLE.cost, metric)
    at, below = (make_task(budget=Budget(**{metric: b})) for b in (bound, bound - 1))
    assert [label.architecture for label in best(labels, at, 2)] == [MIDDLE, SMALL]
    assert [label.architecture for label in best(labels, below, 2)] == [SMALL]


def test_within_any_bound_merit_is_the_accuracy() -> None:
    assert merit(label_of(SMALL, 0.7), make_task(budget=Budget(macs=10**6))) == 0.7
