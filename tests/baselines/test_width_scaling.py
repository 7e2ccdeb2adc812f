"""Uniform thinning: the widest network within the budget, by the same final training."""

from collections import Counter
from pathlib import Path
from typing import Any

import pytest

from archpress.architectures.architecture import Architecture
from archpress.architectures.layers import (
    BatchNorm,
    Convolution,
    DepthwiseConvolution,
    GlobalAveragePool,
    Layer,
    Linear,
    Projection,
    ReLU,
    ReLU6,
)
from archpress.architectures.references import conv7, digits_cnn
from archpress.baselines.width_scaling import compress, measured, scaled, thinned
from archpress.compression.budget import Budget
from archpress.compression.task import Resources
from archpress.errors import BudgetError
from archpress.evaluation.archive import Archive
from tests.compression.tasks import Scripted, TimedByMacs, make_task
from tests.small_networks import ZOO

WIDE = Architecture(
    (3, 12, 12), (Convolution(20, 3), ReLU(), Convolution(50, 3), Linear(30), ReLU(), Linear(7))
)
RESIDUAL = Architecture(
    (3, 12, 12),
    (
        *(Convolution(20, 3, 1, 1), ReLU(), Convolution(20, 3, 1, 1), BatchNorm(skip=2)),
        *(Convolution(40, 3, 2, 1, bias=False), BatchNorm(), Convolution(40, 1)),
        *(BatchNorm(skip=4, projection=Projection(bias=True)), DepthwiseConvolution(3), ReLU6()),
        *(GlobalAveragePool(), Linear(7)),
    ),
)
POOLED = Architecture(
    (3, 12, 12), (Convolution(30, 3), ReLU(), Convolution(9, 1), GlobalAveragePool())
)
NETWORKS = {
    "digits-cnn": digits_cnn(),
    "conv7": conv7(),
    "wide": WIDE,
    "kinds": ZOO["every kind"],
    "residual": RESIDUAL,
    "pooled": POOLED,
}


def widths(network: Architecture) -> list[int]:
    """Of all layers that have one, that of the classes left out."""
    found = []
    for layer in network.layers:
        if isinstance(layer, Convolution):
            found.append(layer.out_channels)
        if isinstance(layer, Linear):
            found.append(layer.out_features)
    return found[:-1]


def without_width(layer: Layer) -> dict[str, Any]:
    """The layer's kind, skip, attributes and other fields."""
    record = layer.to_json()
    return {key: record[key] for key in record if key not in ("out_channels", "out_features")}


def one_step_wider(network: Architecture, thin: Architecture) -> Architecture:
    """Thinned by the smallest factor that makes any layer wider than in ``thin``."""
    pairs = zip(widths(network), widths(thin), strict=True)
    factor = min((after + 1) / before for before, after in pairs)
    return scaled(network, factor + 1e-9)


@pytest.mark.parametrize("network", NETWORKS.values(), ids=NETWORKS)
@pytest.mark.parametrize("share", [0.9, 0.5, 0.25, 0.1, 0.06])
def test_the_thinned_network_is_the_widest_within_the_budget(
    network: Architecture, share: float
) -> None:
    budget = int(share * network.cost.parameters)
    thin = thinned(network, Budget(budget))
    assert thin.cost.parameters <= budget
    wider = one_step_wider(network, thin)
    assert widths(wider) != widths(thin)
    assert wider.cost.parameters > budget
    assert (thin.input_shape, thin.classes) == (network.input_shape, network.classes)
    unchanged = [without_width(layer) for layer in network.layers]
    assert [without_width(layer) for layer in thin.layers] == unchanged


def test_one_factor_scales_every_width_but_the_classes() -> None:
    assert widths(scaled(WIDE, 0.3)) == [int(20 * 0.3), int(50 * 0.3), int(30 * 0.3)] == [6, 15, 9]
    assert scaled(WIDE, 0.3).classes == 7
    assert widths(scaled(WIDE, 0.001)) == [1, 1, 1]
    assert scaled(WIDE, 1.0) == WIDE


def test_skips_depthwise_convolutions_and_the_head_follow_the_widths() -> None:
    thin = scaled(RESIDUAL, 0.5)
    assert widths(thin) == [10, 10, 20, 20]
    assert thin.shapes[-2:] == ((20,), (7,))
    assert {index: bool(made) for index, made in thin.shortcuts.items()} == {3: False, 7: True}
    assert scaled(POOLED, 0.1).classes == 9
    assert widths(scaled(POOLED, 0.1)) == [3]


def test_a_budget_met_exactly_is_met() -> None:
    target = scaled(digits_cnn(), 0.5)
    assert thinned(digits_cnn(), Budget(target.cost.parameters)) == target
    assert thinned(digits_cnn(), Budget(target.cost.parameters - 1)) != target


def test_a_budget_below_width_1_is_refused_with_its_size() -> None:
    narrowest = scaled(digits_cnn(), 0.0).cost.parameters
    assert thinned(digits_cnn(), Budget(narrowest)).cost.parameters == narrowest
    with pytest.raises(BudgetError, match=f"thinned to width 1 the network has {narrowest} par"):
        thinned(digits_cnn(), Budget(narrowest - 1))


@pytest.mark.parametrize(
    "budget",
    [Budget(macs=100_000), Budget(file_bytes=60_000), Budget(20_000, macs=10**9, file_bytes=10**9)],
)
def test_any_bound_decides_how_thin(budget: Budget) -> None:
    thin = thinned(digits_cnn(), budget)
    assert budget.allows(thin)
    assert not budget.allows(one_step_wider(digits_cnn(), thin))


def test_every_bound_that_width_1_exceeds_is_named() -> None:
    with pytest.raises(
        BudgetError, match=r"has [0-9,]+ parameters and [0-9,]+ MACs, more than the"
    ):
        thinned(digits_cnn(), Budget(3, macs=5))


def test_a_thinned_network_keeps_to_the_latency_as_measured() -> None:
    told = TimedByMacs()
    task = make_task(budget=Budget(latency_ms=0.5), latency=told)
    network = measured(task)
    assert told.measured[network.digest] <= 0.5
    assert network.cost.macs > 0.8 * 0.5e6 / 1.3
    assert thinned(task.network, task.budget, TimedByMacs()).cost.macs > network.cost.macs


def test_a_latency_out_of_reach_is_told_as_it_was_asked_for() -> None:
    """Width 1 is predicted to be within the bound, and measured a third above it."""
    least = scaled(digits_cnn(), 0.0).cost.macs / 1e6
    task = make_task(budget=Budget(latency_ms=1.01 * least), latency=TimedByMacs())
    told = rf"takes {1.3 * least:.3g} ms as measured, .* the budget of {1.01 * least:.3g} ms"
    with pytest.raises(BudgetError, match=told):
        measured(task)


def test_it_labels_nothing_and_trains_the_two_networks_by_the_final_recipe(tmp_path: Path) -> None:
    task = make_task()
    executor = Scripted(task.data)
    with Archive(tmp_path / "archive.sqlite") as archive:
        result = compress(task, Resources(archive, executor, tmp_path))
    assert (result.method, result.labels, result.label_epochs) == ("width_scaling", 0, 0)
    assert result.base.architecture == task.network
    assert result.architecture == thinned(task.network, task.budget)
    assert {job.recipe for job in executor.jobs} == {task.final_recipe}
    trained = Counter(job.architecture for job in executor.jobs)
    assert trained == {task.network: 2, result.architecture: 2}
    assert len(result.compressed.test_accuracy) == 2


def test_without_a_budget_it_refuses(tmp_path: Path) -> None:
    task = make_task(budget=Budget(None))
    with (
        Archive(tmp_path / "a.sqlite") as archive,
        pytest.raises(BudgetError, match="needs a budget"),
    ):
        compress(task, Resources(archive, Scripted(task.data), tmp_path))
