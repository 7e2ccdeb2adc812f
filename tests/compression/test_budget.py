"""Budget: every bound by exact count; constraints as they are written; what is reachable."""

from dataclasses import replace
from pathlib import Path

import pytest

from archpress.architectures.architecture import Architecture
from archpress.architectures.building import build
from archpress.architectures.file_size import weights_file_bytes
from archpress.architectures.layers import Convolution, Linear, ReLU
from archpress.architectures.references import digits_cnn
from archpress.architectures.spaces import BlocksSpace, Limits, PaperSpace, neighbourhood
from archpress.compression.budget import Budget, narrowed, sample_within, value_of
from archpress.compression.constraints import ConstraintSettings, bounds_of, read_bound
from archpress.compression.preparation import make_budget
from archpress.compression.reachable import check_budget, least, small_networks
from archpress.compression.settings import load_settings
from archpress.errors import BudgetError, SettingsError
from archpress.files import write_tensors
from tests.compression.tasks import TimedByLayers, make_task, network_of
from tests.small_networks import generator

NETWORK = network_of(6)
EXACT = ("parameters", "macs", "activation_bytes", "file_bytes")


# ------------------------------------------------------------------ bounds


@pytest.mark.parametrize("metric", EXACT)
def test_what_is_beyond_a_bound_by_one_is_not_allowed(metric: str) -> None:
    value = value_of(NETWORK, metric)
    assert Budget(**{metric: value}).allows(NETWORK)  # type: ignore[arg-type]
    assert not Budget(**{metric: value - 1}).allows(NETWORK)  # type: ignore[arg-type]


def test_every_bound_of_a_mix_must_hold() -> None:
    values = {metric: value_of(NETWORK, metric) for metric in EXACT}
    assert Budget(**values).allows(NETWORK)  # type: ignore[arg-type]
    for metric in EXACT:
        tighter = {**values, metric: values[metric] - 1}
        assert not Budget(**tighter).allows(NETWORK)  # type: ignore[arg-type]


def test_the_file_is_the_exported_one(tmp_path: Path) -> None:
    path = write_tensors(tmp_path / "weights.safetensors", build(NETWORK, 0).state_dict())
    assert Budget(file_bytes=path.stat().st_size).allows(NETWORK)
    assert not Budget(file_bytes=path.stat().st_size - 1).allows(NETWORK)


def test_no_bound_allows_everything() -> None:
    assert Budget().bounds == {}
    assert Budget(None, 0.5).allows(NETWORK)


def test_latency_is_asked_only_where_it_is_bounded_and_everything_else_holds() -> None:
    asked = []

    def latency(network: Architecture) -> float:
        asked.append(network)
        return 2.0

    assert Budget(10**6).allows(NETWORK, latency)
    assert not Budget(1, latency_ms=5.0).allows(NETWORK, latency)
    assert asked == []
    assert Budget(latency_ms=2.0).allows(NETWORK, latency)
    assert not Budget(latency_ms=1.9).allows(NETWORK, latency)
    assert len(asked) == 2


# ------------------------------------------------------------------ as they are written


@pytest.mark.parametrize(
    ("written", "metric", "number"),
    [
        (35_000, "parameters", 35_000),
        ("35000", "parameters", 35_000),
        (0.05, "macs", 400),
        ("0.05", "macs", 400),
        ("5%", "macs", 400),
        ("0.5%", "macs", 40),
        ("33.33%", "file_bytes", 2_666),
        (1, "file_bytes", 1),
        (8000.0, "activation_bytes", 8_000),
        (2.5, "latency_ms", 2.5),
        ("2.5ms", "latency_ms", 2.5),
        (0.5, "latency_ms", 4_000.0),
        ("0.5ms", "latency_ms", 0.5),
        ("25%", "latency_ms", 2_000.0),
    ],
)
def test_a_bound_is_a_number_or_a_share(written: float | str, metric: str, number: float) -> None:
    assert read_bound(written, 8_000, metric) == pytest.approx(number)


@pytest.mark.parametrize("written", ["tiny", 0, -5, "-5%", "0%", 2.5, "nan", "inf", "", "%", "5ms"])
def test_what_is_neither_is_refused_by_name(written: float | str) -> None:
    with pytest.raises(SettingsError, match=r"constraints\.macs is .*, expected a count such as"):
        read_bound(written, 8_000, "macs")


def test_shares_are_of_the_input_networks_own_values() -> None:
    table = ConstraintSettings(parameters="50%", macs=0.25, activation_bytes="10%", file_bytes=0.75)
    cost = digits_cnn().cost
    assert bounds_of(table, digits_cnn()) == {
        "parameters": cost.parameters // 2,
        "macs": cost.macs // 4,
        "activation_bytes": cost.activation_bytes // 10,
        "file_bytes": int(0.75 * weights_file_bytes(digits_cnn())),
    }


@pytest.mark.parametrize(
    ("target", "constraint", "bound"),
    [("10%", None, 7_562), ("10%", "20%", 7_562), ("20%", "10%", 7_562), (0, "10%", 7_562)],
)
def test_target_and_constraint_of_parameters_are_one_bound(
    target: str | int, constraint: str | None, bound: int
) -> None:
    flags = {"search.target_parameters": target, "constraints.parameters": constraint}
    assert make_budget(load_settings("demo", flags=flags), digits_cnn()) == Budget(bound)


def test_a_constraint_alone_leaves_parameters_unbounded() -> None:
    settings = load_settings("demo", flags={"constraints": {"macs": 50_000}})
    assert make_budget(settings, digits_cnn()) == Budget(macs=50_000)


# ------------------------------------------------------------------ within a space


def test_the_space_takes_over_what_its_limits_can_say() -> None:
    space = BlocksSpace((1, 8, 8), 10, Limits(1_000, 50_000, 90_000, 9_000))
    assert narrowed(space, Budget(5_000)).limits == Limits(500, 5_000, 90_000, 9_000)
    assert narrowed(space, Budget(macs=10_000)).limits == Limits(1_000, 50_000, 10_000, 9_000)
    assert narrowed(space, Budget(macs=10**6)).limits == space.limits
    assert narrowed(space, Budget(activation_bytes=800)).limits == Limits(
        1_000, 50_000, 90_000, 800
    )


def test_draws_within_parameters_are_those_of_the_space_so_limited() -> None:
    space = BlocksSpace((1, 8, 8), 10, Limits(1_000, 50_000))
    limited = replace(space, limits=Limits(500, 5_000))
    drawn = limited.sample(15, generator(0), distinct=True).architectures
    assert sample_within(space, Budget(5_000), 15, generator(0)) == drawn


def test_where_only_tiny_networks_are_within_sizes_go_down_to_them() -> None:
    """No network of 3,000 parameters has a file of 1,500 bytes."""
    space = BlocksSpace((1, 8, 8), 10, Limits(3_000, 50_000))
    budget = Budget(file_bytes=1_500)
    networks = sample_within(space, budget, 5, generator(0))
    assert len(set(networks)) == 5
    assert all(budget.allows(network) for network in networks)


# ------------------------------------------------------------------ what is reachable


@pytest.mark.parametrize("metric", EXACT)
def test_few_draws_of_a_space_are_below_the_least_that_was_found(metric: str) -> None:
    space = BlocksSpace((1, 8, 8), 10, Limits(1, 5_000))
    found = least(small_networks(space), metric)
    drawn = space.sample(150, generator(5)).architectures
    assert found <= sorted(value_of(network, metric) for network in drawn)[3]


@pytest.mark.parametrize(
    "space",
    [PaperSpace((1, 8, 8), 10), neighbourhood(digits_cnn()), BlocksSpace((3, 32, 32), 100)],
    ids=["paper", "neighbourhood", "blocks"],
)
def test_every_space_has_small_networks_always_the_same(space: BlocksSpace) -> None:
    networks = small_networks(space)
    assert networks[0] == space.smallest()
    assert len(networks) > 50
    assert networks == small_networks(space)


def test_budgets_that_can_be_met_are_let_through() -> None:
    for budget in (
        Budget(),
        Budget(66),
        Budget(macs=5_000, activation_bytes=2_000, file_bytes=2_000),
        Budget(75_000, macs=10**9),  # the input network exceeds one of them
    ):
        check_budget(make_task(budget=budget))


@pytest.mark.parametrize("metric", EXACT)
def test_a_bound_below_all_that_was_found_is_refused_with_the_least(metric: str) -> None:
    smallest = least(small_networks(make_task().space), metric)
    check_budget(make_task(budget=Budget(**{metric: smallest})))
    words = f"below the smallest reachable network, which has {int(smallest):,} "
    with pytest.raises(BudgetError, match=words):
        check_budget(make_task(budget=Budget(**{metric: smallest - 1})))


def test_every_bound_out_of_reach_is_named_and_no_other() -> None:
    with pytest.raises(BudgetError) as refusal:
        check_budget(make_task(budget=Budget(5_000, macs=10, file_bytes=10)))
    assert "10 MACs is below" in str(refusal.value)
    assert "10 bytes of weights file is below" in str(refusal.value)
    assert "parameters is below" not in str(refusal.value)


def test_bounds_that_exclude_each_other_are_refused_with_the_nearest_network() -> None:
    """Of five rows a pool leaves two, but only after all five; a stride leaves three at once."""
    space = BlocksSpace((1, 5, 5), 10, Limits(200, 75_626), global_pool=False)
    network = Architecture((1, 5, 5), (Convolution(50, 3), ReLU(), Linear(10)))
    task = make_task(network=network, space=space)
    networks = small_networks(space)
    size, held = (int(least(networks, m)) for m in ("parameters", "activation_bytes"))
    for single in (Budget(size), Budget(activation_bytes=held)):
        check_budget(replace(task, budget=single))
    with pytest.raises(BudgetError) as refusal:
        check_budget(replace(task, budget=Budget(size, activation_bytes=held)))
    said = str(refusal.value)
    assert said.startswith(f"each bound can be met, but none of {len(networks)} small networks")
    costs = [(network.cost.parameters, network.cost.activation_bytes) for network in networks]
    nearest = min(costs, key=lambda cost: max(cost[0] / size, cost[1] / held))
    assert f"has {nearest[0]:,} parameters and {nearest[1]:,} bytes of activations" in said


def test_a_latency_out_of_reach_is_refused_by_measured_ones() -> None:
    """The prediction promises 0.4 ms of some networks, and all take 0.9."""
    networks = small_networks(make_task().space)
    told = TimedByLayers({network.digest: 0.9 for network in networks})
    check_budget(make_task(budget=Budget(latency_ms=0.5), latency=told))
    task = make_task(budget=Budget(latency_ms=0.39), latency=told)
    with pytest.raises(BudgetError, match=r"target of 0\.39 ms of latency is below .* has 0\.9 "):
        check_budget(task)
    assert len(told.measured) >= 6, "the input network, and five that should be fastest"


def test_beside_a_bound_of_the_accuracy_drop_the_input_network_may_meet_the_others() -> None:
    check_budget(make_task(Budget(macs=digits_cnn().cost.macs), max_accuracy_drop=0.01))


def test_bounds_that_the_input_network_meets_are_no_compression() -> None:
    budget = Budget(macs=digits_cnn().cost.macs, file_bytes=10**9)
    with pytest.raises(BudgetError, match=r"is no compression: the input network has .* MACs and"):
        check_budget(make_task(budget=budget))
