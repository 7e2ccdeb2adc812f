"""The objective by hand, and its gradient through readout, features and Gaussian process."""

import math
from copy import deepcopy
from dataclasses import replace
from itertools import pairwise

import pytest
import torch
from torch import Tensor

from archpress.architectures.spaces import BlocksSpace, Limits
from archpress.compression.budget import Budget
from archpress.compression.guided.descent import direction_of
from archpress.compression.guided.objective import COLUMN, EXCESS_WEIGHT, GuidedObjective
from archpress.compression.task import CompressionTask
from archpress.embedding.pretrained import shipped
from archpress.embedding.readout import Readout, encode
from tests.compression.guided.fitted import readout, sampled, slopes
from tests.compression.tasks import make_task
from tests.small_networks import generator

SMALL = BlocksSpace((1, 8, 8), 10, Limits(10, 900, 20_000, 1_500), max_blocks=4)
"""Limits that most networks of the tests exceed."""

TASKS = {
    "within": make_task(Budget(75_000, macs=10_000_000)),
    "exceeded": make_task(Budget(100, macs=2_000, activation_bytes=900, file_bytes=700)),
    "exceeds the limits": make_task(Budget(), space=SMALL),
    "unbounded": make_task(Budget(weight=0.7)),
    "half exceeded": make_task(Budget(1_800)),
}


def objective_of(task: CompressionTask, caution: float = 0.5) -> GuidedObjective:
    """The objective in float64."""
    fitted = readout()
    double = Readout(
        deepcopy(fitted.network).double(), fitted.centre.double(), fitted.spread.double(),
        fitted.error.double(),
    )  # fmt: skip
    return GuidedObjective.of(task, double, slopes(), caution)


def places(count: int = 5, seed: int = 0) -> Tensor:
    """Embeddings of networks, and places beside them."""
    y = encode(shipped(), sampled()[:count]).double()
    shaken = y + 0.2 * torch.randn(y.shape, generator=generator(seed), dtype=torch.float64)
    return torch.cat([y, shaken])


@pytest.mark.parametrize("task", TASKS.values(), ids=TASKS)
def test_the_gradient_of_the_whole_matches_central_differences(task: CompressionTask) -> None:
    objective, y = objective_of(task), places()
    y.requires_grad_()
    (gradient,) = torch.autograd.grad(objective(y).sum(), y)
    random = torch.randn(y.shape, generator=generator(1), dtype=torch.float64)
    along = torch.nn.functional.normalize(gradient, dim=1)
    for way in (along, torch.nn.functional.normalize(random, dim=1)):
        step = 1e-5 * way
        with torch.no_grad():
            difference = (objective(y + step) - objective(y - step)) / 2e-5
        scale = gradient.norm(dim=1)
        assert (scale > 1e-6).all()
        assert ((difference - (gradient * way).sum(1)).abs() / scale).max() < 1e-5


@pytest.mark.parametrize("name", ["exceeded", "unbounded"])
def test_so_does_every_entry_of_it(name: str) -> None:
    objective = objective_of(TASKS[name])
    y = places(1)[:1, :48].clone().requires_grad_()
    rest = places(1)[:1, 48:]
    assert torch.autograd.gradcheck(lambda y: objective(torch.cat([y, rest], 1)), y, rtol=1e-5)


@pytest.mark.parametrize("task", TASKS.values(), ids=TASKS)
def test_one_small_step_down_the_slope_lowers_it(task: CompressionTask) -> None:
    objective, y = objective_of(task), places(8, 4)
    direction = direction_of(objective, y)
    assert direction.norm(dim=1).tolist() == pytest.approx([1.0] * 16)
    assert (objective(y + 1e-3 * direction) < objective(y)).all()


@pytest.mark.parametrize("caution", [0.0, 0.5, 2.0])
def test_it_is_a_lower_bound_and_what_exceeds_the_bounds(caution: float) -> None:
    task, y = TASKS["exceeded"], places()
    objective = objective_of(task, caution)
    features = objective.readout(y)
    mean, std = slopes().moments(features)
    excess = torch.zeros(len(y), dtype=torch.float64)
    for name, bound in (("parameters", 100), ("macs", 2_000), ("activation_bytes", 900)):
        excess += (features[:, COLUMN[name]] - math.log2(bound)).clamp_min(0)
    assert (excess > 1).all()
    expected = caution * std - mean + EXCESS_WEIGHT * excess
    torch.testing.assert_close(objective(y), expected)


def test_without_a_bound_size_counts_as_in_section_4_4() -> None:
    task, y = TASKS["unbounded"], places()
    objective = objective_of(task, 0.0)
    features = objective.readout(y)
    share = torch.exp2(features[:, COLUMN["parameters"]]) / task.network.cost.parameters
    torch.testing.assert_close(objective(y), 0.7 * share - slopes().moments(features)[0])


def test_size_weighs_nothing_where_anything_is_bounded() -> None:
    assert objective_of(make_task(Budget(macs=5_000, weight=3.0))).size_weight == 0.0
    assert objective_of(make_task(Budget(weight=3.0))).size_weight == 3.0


LIMITS = make_task().space.limits


@pytest.mark.parametrize(
    ("budget", "parameters", "macs", "activation_bytes"),
    [
        (Budget(), 75_626, 10_000_000, LIMITS.max_activation_bytes),
        (Budget(5_000), 5_000, 10_000_000, LIMITS.max_activation_bytes),
        (Budget(500_000, macs=10**12, activation_bytes=10**12), 75_626, 10_000_000, 64_000_000),
        (Budget(macs=40_000), 75_626, 40_000, LIMITS.max_activation_bytes),
        (Budget(activation_bytes=3_000), 75_626, 10_000_000, 3_000),
        (Budget(file_bytes=8_000), 2_000, 10_000_000, LIMITS.max_activation_bytes),
        (Budget(1_500, file_bytes=8_000), 1_500, 10_000_000, LIMITS.max_activation_bytes),
    ],
)
def test_soft_bounds_are_those_of_the_budget_and_of_the_space(
    budget: Budget, parameters: float, macs: float, activation_bytes: float
) -> None:
    bounds = objective_of(make_task(budget)).bounds
    expected = {"parameters": parameters, "macs": macs, "activation_bytes": activation_bytes}
    assert {name: 2 ** bounds[COLUMN[name]] for name in expected} == pytest.approx(expected)
    assert len(bounds) == 3


def test_more_beyond_a_bound_is_worse() -> None:
    y = places()
    bounds = (800, 400, 200, 100)
    values = [objective_of(make_task(Budget(bound)))(y) for bound in bounds]
    for looser, tighter in pairwise(values):
        assert (tighter >= looser).all()
    doubled = values[-1] - values[-2]
    torch.testing.assert_close(doubled, torch.full_like(doubled, EXCESS_WEIGHT))


def test_embeddings_in_float32_are_valued_in_float64() -> None:
    objective = replace(objective_of(TASKS["within"]), readout=readout())
    assert objective(places().float()).dtype == torch.float64
