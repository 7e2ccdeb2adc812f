"""What may be labelled, and networks filled up to the budget."""

from dataclasses import replace

import pytest

from archpress.architectures.architecture import Architecture
from archpress.architectures.layers import (
    BatchNorm,
    Convolution,
    GlobalAveragePool,
    Linear,
    ReLU,
    SqueezeExcite,
)
from archpress.architectures.references import digits_cnn
from archpress.architectures.spaces import BlocksSpace, Limits
from archpress.architectures.widths import scaled, width_groups
from archpress.compression.admission import filled, refusal
from archpress.compression.budget import Budget, sample_within, value_of
from archpress.compression.task import CompressionTask
from tests.compression.tasks import TimedByLayers, make_task, network_of
from tests.small_networks import generator

BUDGETS = {
    "parameters": Budget(7_562),
    "macs": Budget(macs=150_000),
    "activation_bytes": Budget(activation_bytes=6_000),
    "file_bytes": Budget(file_bytes=30_000),
    "mixed": Budget(20_000, macs=300_000, activation_bytes=9_000, file_bytes=60_000),
}
NETWORKS = [
    digits_cnn(),
    *BlocksSpace((1, 8, 8), 10, Limits(300, 60_000)).sample(12, generator(5)).architectures,
    Architecture(
        (1, 8, 8),
        (
            Convolution(20, 3),
            BatchNorm(),
            SqueezeExcite(6),
            ReLU(),
            GlobalAveragePool(),
            Linear(10),
        ),
    ),
]
WITHOUT_CONVOLUTION = Architecture((1, 8, 8), (Linear(5), ReLU(), Linear(10)))


def times(network: Architecture, factor: float) -> Architecture:
    groups = width_groups(network)
    return scaled(network, groups, [factor] * len(groups))


def factor_of(network: Architecture, made: Architecture) -> float:
    """The largest factor, up to 4, that makes nothing larger of the one than the other is."""
    low, high = 1e-4, 4.0
    for _ in range(40):
        middle = (low * high) ** 0.5
        fits = times(network, middle).cost.parameters <= made.cost.parameters
        low, high = (middle, high) if fits else (low, middle)
    return low


@pytest.mark.parametrize("budget", BUDGETS.values(), ids=BUDGETS)
def test_filled_networks_are_within_every_bound(budget: Budget) -> None:
    task = make_task(budget)
    made = [filled(network, task) for network in NETWORKS]
    assert sum(network is not None for network in made) >= 12
    for network in filter(None, made):
        assert all(value_of(network, m) <= bound for m, bound in budget.bounds.items())
        assert refusal(network, task) == ""


@pytest.mark.parametrize("budget", BUDGETS.values(), ids=BUDGETS)
def test_and_a_slightly_wider_one_breaks_a_bound(budget: Budget) -> None:
    task = make_task(budget)
    for network in NETWORKS[:5]:
        made = filled(network, task)
        assert made is not None
        factor = factor_of(network, made)
        if factor < 3.99:
            assert times(network, factor) == made
            assert not task.affords(times(network, 1.002 * factor))


def test_all_widths_are_scaled_by_one_factor() -> None:
    network = digits_cnn()
    made = filled(network, make_task())
    assert made is not None
    assert made == times(network, factor_of(network, made))
    assert 0.95 * 7_562 < made.cost.parameters <= 7_562


def test_small_networks_grow_at_most_fourfold() -> None:
    made = filled(network_of(2), make_task(Budget(75_000)))
    assert made == network_of(8)


def test_the_limits_of_the_space_bound_it_too() -> None:
    wide = make_task(Budget(1_000_000))
    for limits in (
        Limits(1, 3_000, 10_000_000), Limits(1, 75_000, 60_000), Limits(1, 75_000, 10**7, 2_000)
    ):  # fmt: skip
        task = replace(wide, space=replace(wide.space, limits=limits))
        made = filled(digits_cnn(), task)
        assert made is not None
        assert limits.violation(made.cost) is None


def test_without_a_bound_nothing_grows() -> None:
    task = make_task(Budget())
    for network in NETWORKS[1:]:
        assert filled(network, task) == network
    large = network_of(400)
    made = filled(large, task)
    assert made == network_of(115)  # the largest within the limits


@pytest.mark.parametrize("budget", [Budget(50), Budget(macs=10), Budget(activation_bytes=100)])
def test_nothing_is_made_where_no_width_will_do(budget: Budget) -> None:
    assert filled(digits_cnn(), make_task(budget)) is None


def test_too_many_layers_are_too_many_at_any_width() -> None:
    deep = Architecture((1, 8, 8), (*[Convolution(2, 1)] * 64, Linear(10)))
    assert filled(deep, make_task()) is None


def test_no_network_without_a_convolution_is_made() -> None:
    assert filled(WITHOUT_CONVOLUTION, make_task(Budget(75_000))) is None


def test_a_bound_of_latency_counts_as_predicted() -> None:
    task = make_task(Budget(latency_ms=0.5), latency=TimedByLayers())
    assert filled(network_of(3), task) == network_of(12)
    assert filled(digits_cnn(), task) is None


def test_widths_that_a_skip_ties_stay_equal() -> None:
    network = Architecture(
        (1, 8, 8),
        (
            *(Convolution(12, 3, padding=1), ReLU(), Convolution(12, 3, padding=1)),
            *(BatchNorm(skip=2), ReLU(), GlobalAveragePool(), Linear(10)),
        ),
    )
    made = filled(network, make_task(Budget(700)))
    assert made is not None
    assert made.shapes[1] == made.shapes[4]
    assert not any(made.shortcuts.values())


def test_filling_again_changes_nothing() -> None:
    task = make_task()
    for network in NETWORKS[:6]:
        made = filled(network, task)
        assert made is not None
        again = filled(made, task)
        assert again is not None
        assert again.cost.parameters >= made.cost.parameters
        assert again == made or again.cost.parameters <= 7_562


def refusals() -> list[tuple[Architecture, CompressionTask, str]]:
    task = make_task()
    limited = replace(task, space=replace(task.space, limits=Limits(1, 3_000)))
    few_macs = replace(task, space=replace(task.space, limits=Limits(1, 9_000, 1_000)))
    little_memory = replace(task, space=replace(task.space, limits=Limits(1, 9_000, 10**7, 500)))
    deep = Architecture((1, 8, 8), (*[Convolution(1, 1)] * 64, Linear(10)))
    return [
        (network_of(11), task, ""),
        (digits_cnn(), task, "the input network itself"),
        (WITHOUT_CONVOLUTION, task, "no convolution"),
        (network_of(12), task, "beyond the budget"),
        (network_of(11), limited, "beyond the limits of the space"),
        (network_of(2), few_macs, "beyond the limits of the space"),
        (network_of(2), little_memory, "beyond the limits of the space"),
        (deep, task, "beyond the limits of the space"),
    ]


@pytest.mark.parametrize(("network", "task", "reason"), refusals())
def test_a_refusal_gives_the_reason(
    network: Architecture, task: CompressionTask, reason: str
) -> None:
    assert refusal(network, task) == reason


def test_what_is_drawn_within_the_budget_is_not_refused() -> None:
    task = make_task()
    drawn = sample_within(task.space, task.budget, 20, generator(0))
    assert {refusal(network, task) for network in drawn} == {""}
