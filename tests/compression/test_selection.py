"""Selection: on validation accuracy within the budget, or on the measured objective without one."""

import pytest

from archpress.architectures.architecture import Architecture
from archpress.architectures.layers import Convolution, Linear, Sigmoid
from archpress.compression.budget import Budget
from archpress.compression.selection import best, choose, merit, to_train_finally
from archpress.compression.task import CompressionTask
from archpress.errors import ArchpressError, BudgetError
from archpress.evaluation.record import Label
from tests.compression.tasks import TimedByLayers, label_of, make_task, network_of

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


# ------------------------------------------------------------------ smallest within a drop

WIDTHS = (1, 2, 3, 4, 5, 6)
SIZES = [network_of(width) for width in WIDTHS]


def dropping(drop: float, finalists: int = 1, **bounds: int) -> CompressionTask:
    return make_task(budget=Budget(**bounds), max_accuracy_drop=drop, finalists=finalists)


def labels_of(*accuracies: float) -> list[Label]:
    return [label_of(network_of(w), a) for w, a in zip(WIDTHS, accuracies, strict=False)]


def widths_of(labels: list[Label]) -> list[int]:
    return [WIDTHS[SIZES.index(label.architecture)] for label in labels]


@pytest.mark.parametrize(
    ("drop", "width"), [(0.0, 4), (0.01, 4), (0.02, 3), (0.05, 3), (0.1, 2), (0.3, 1)]
)
def test_the_smallest_network_within_the_drop_is_the_result(drop: float, width: int) -> None:
    trained = labels_of(0.6, 0.80, 0.88, 0.90, 0.95, 0.91)
    assert widths_of([choose(trained, dropping(drop), 0.9)]) == [width]


def test_without_a_drop_the_most_accurate_is_the_result() -> None:
    trained = labels_of(0.6, 0.80, 0.88, 0.90, 0.95, 0.91)
    assert widths_of([choose(trained, make_task(), 0.9)]) == [5]


def test_where_none_is_within_the_drop_the_nearest_is_named() -> None:
    trained = labels_of(0.6, 0.80, 0.88)
    nearest = network_of(3).cost.parameters
    with pytest.raises(BudgetError) as refusal:
        choose(trained, dropping(0.01), 0.9)
    said = str(refusal.value)
    assert "no finalist is within 1 points of the input network's 90.00 % on validation: " in said
    assert f"of {nearest:,} parameters, has 88.00 %" in said
    assert "widen" not in said


def test_a_drop_that_contradicts_other_bounds_names_them() -> None:
    macs = network_of(2).cost.macs
    trained = labels_of(0.6, 0.80, 0.9)
    with pytest.raises(BudgetError) as refusal:
        choose(trained, dropping(0.005, macs=macs), 0.9)
    assert f"on validation and within {macs:,} MACs: the most accurate" in str(refusal.value)
    assert "widen the bounds" in str(refusal.value)
    assert widths_of([choose(trained, dropping(0.1, macs=macs), 0.9)]) == [2]


def test_no_trained_finalist_at_all_is_no_matter_of_the_budget() -> None:
    with pytest.raises(ArchpressError, match="no finalist could be trained by the final recipe"):
        choose([label_of(SMALL, None)], dropping(0.1), 0.9)


@pytest.mark.parametrize(
    ("count", "widths"), [(1, [2]), (2, [2, 6]), (3, [2, 4, 6]), (4, [2, 4, 6, 5]), (9, [2, 4, 6])]
)
def test_finalists_are_spread_from_the_smallest_within_the_drop_to_the_most_accurate(
    count: int, widths: list[int]
) -> None:
    """Width 3 is larger than 2 and no better, 5 is larger than 4 and worse."""
    labels = labels_of(0.5, 0.86, 0.85, 0.88, 0.87, 0.95)
    chosen = to_train_finally(labels, dropping(0.05, count), 0.9)
    assert widths_of(chosen)[: len(widths)] == widths
    assert len(chosen) == min(count, 6)


def test_where_no_label_is_within_the_drop_the_most_accurate_are_trained() -> None:
    labels = labels_of(0.5, 0.7, 0.6)
    assert widths_of(to_train_finally(labels, dropping(0.05, 2), 0.9)) == [2, 3]


def test_without_a_drop_the_best_labels_are_trained_finally() -> None:
    labels = labels_of(0.5, 0.7, 0.6)
    task = make_task(finalists=2)
    assert to_train_finally(labels, task, 0.9) == best(labels, task, 2)


# ------------------------------------------------------------------ latency of finalists


def test_finalists_are_measured_and_those_over_the_bound_are_passed_over() -> None:
    told = TimedByLayers({SIZES[3].digest: 5.0, SIZES[4].digest: 5.0})
    task = make_task(budget=Budget(latency_ms=1.0), latency=told, finalists=2)
    labels = labels_of(0.1, 0.2, 0.7, 0.8, 0.9, 0.3)
    assert widths_of(to_train_finally(labels, task, None)) == [3, 6]
    assert set(told.measured) == {SIZES[i].digest for i in (2, 3, 4, 5)}, "no other was measured"
    assert widths_of(best(labels, task, 9)) == [3, 6, 2, 1]


def test_where_every_finalist_is_over_the_bound_there_is_none() -> None:
    told = TimedByLayers({network.digest: 5.0 for network in SIZES})
    task = make_task(budget=Budget(latency_ms=1.0), latency=told)
    assert to_train_finally(labels_of(0.1, 0.2, 0.3), task, None) == []


def test_the_smallest_within_a_drop_keeps_to_the_latency_as_measured() -> None:
    told = TimedByLayers({SIZES[1].digest: 5.0})
    task = make_task(budget=Budget(latency_ms=1.0), latency=told, max_accuracy_drop=0.1)
    labels = labels_of(0.1, 0.85, 0.86, 0.9)
    assert widths_of(to_train_finally(labels, task, 0.9)) == [3]
