"""The descent: downhill (decision R1), as far as told, with a reason wherever it stops."""

from itertools import pairwise

import pytest
import torch
from torch import Tensor, nn

from archpress.compression.joint.descent import Step, descend, mean_distance
from archpress.compression.joint.objective import Objective, ObjectiveValue
from tests.embedding.tiny import CONFIGURATIONS, random_embedding
from tests.small_networks import generator


def objective_on(name: str = "default", seed: int = 0) -> Objective:
    embedding = random_embedding(CONFIGURATIONS[name], seed, sigma=2_000.0)
    embedding.parameter_regressor.start_at(4.0)
    return Objective(embedding, 1.0, 5_000, 1.0)


def starts_of(seed: int, count: int = 3) -> Tensor:
    return torch.randn(count, 8, generator=generator(seed))


def zeroed(objective: Objective) -> Objective:
    """Regressors that say the same of every embedding."""
    for regressor in (
        objective.embedding.accuracy_regressor, objective.embedding.parameter_regressor
    ):  # fmt: skip
        nn.init.zeros_(regressor.last.weight)
    return objective


@pytest.mark.parametrize("name", CONFIGURATIONS)
@pytest.mark.parametrize("seed", range(6))
@pytest.mark.parametrize("normalised", [True, False])
def test_one_small_step_lowers_the_objective(name: str, seed: int, normalised: bool) -> None:
    objective = objective_on(name, seed)
    objective.embedding.double()
    steps = list(descend(objective, starts_of(seed).double(), 1, 1e-3, normalised))
    assert len(steps) == 2
    assert (steps[1].objective.value < steps[0].objective.value).all()


def test_a_step_is_the_gradient_times_eta() -> None:
    objective, y = objective_on(), starts_of(1)
    leaf = y.clone().requires_grad_()
    objective(leaf).value.sum().backward()
    assert leaf.grad is not None
    last = list(descend(objective, y, 1, 0.3, normalised=False))[-1]
    assert torch.allclose(last.embedding, y - 0.3 * leaf.grad, atol=1e-6)


def test_a_normalised_step_has_exactly_the_length_eta() -> None:
    steps = list(descend(objective_on(), starts_of(2), 5, 0.25, normalised=True))
    for before, after in pairwise(steps):
        lengths = (after.embedding - before.embedding).norm(dim=1)
        assert lengths.tolist() == pytest.approx([0.25] * 3, rel=1e-4)


def test_the_path_begins_at_the_starts_and_ends_with_the_last_step() -> None:
    y = starts_of(3)
    steps = list(descend(objective_on(), y, 4, 0.01, normalised=True))
    assert [step.number for step in steps] == [0, 1, 2, 3, 4]
    assert torch.equal(steps[0].embedding, y)
    assert [step.stopped for step in steps] == [("", "", "")] * 4 + [("last step",) * 3]


def test_every_step_is_kept_with_what_is_predicted_there() -> None:
    objective = objective_on()
    for step in list(descend(objective, starts_of(4), 3, 0.1, normalised=True)):
        assert not step.embedding.requires_grad
        expected = objective(step.embedding)
        for said, true in zip(step.objective, expected, strict=True):
            assert not said.requires_grad
            assert torch.allclose(said, true, atol=1e-6)


def test_starts_and_regressors_stay_as_they_were() -> None:
    objective, y = objective_on(), starts_of(5)
    kept, weights = y.clone(), objective.embedding.accuracy_regressor.last.weight.clone()
    list(descend(objective, y, 3, 0.1, normalised=False))
    assert torch.equal(y, kept)
    assert torch.equal(objective.embedding.accuracy_regressor.last.weight, weights)
    assert all(parameter.grad is None for parameter in objective.embedding.parameters())


@pytest.mark.parametrize("normalised", [True, False])
def test_a_vanished_gradient_ends_the_descent_at_once(normalised: bool) -> None:
    steps = list(descend(zeroed(objective_on()), starts_of(6), 9, 0.1, normalised))
    assert [step.stopped for step in steps] == [("gradient vanished",) * 3]


@pytest.mark.parametrize("normalised", [True, False])
def test_what_is_not_finite_stops_and_the_others_go_on(normalised: bool) -> None:
    y = starts_of(7)
    y[1, 0] = float("nan")
    y[2] = float("inf")
    steps = list(descend(objective_on(), y, 3, 0.1, normalised))
    alone = list(descend(objective_on(), y[:1], 3, 0.1, normalised))
    assert [step.stopped[0] for step in steps] == ["", "", "", "last step"]
    for step, single in zip(steps, alone, strict=True):
        assert step.stopped[1:] == ("not finite", "not finite")
        assert torch.allclose(step.embedding[0], single.embedding[0], atol=1e-6)
        assert torch.equal(step.embedding[1:].nan_to_num(5), y[1:].nan_to_num(5))


class Bowl(Objective):
    """L_c = |max(y, 0)|^2 / 2: flat where all entries are negative."""

    def __call__(self, y: Tensor) -> ObjectiveValue:
        return super().__call__(y)._replace(value=y.clamp_min(0).square().sum(1) / 2)


def test_each_start_has_its_own_reason() -> None:
    objective = Bowl(random_embedding(), 1.0, 0, 1.0)
    y = torch.stack([torch.full((8,), -1.0), torch.ones(8)])
    steps: list[Step] = list(descend(objective, y, 2, 0.5, normalised=False))
    assert [step.stopped for step in steps] == [
        ("gradient vanished", ""), ("gradient vanished", ""), ("gradient vanished", "last step")
    ]  # fmt: skip
    assert steps[-1].embedding.tolist() == [[-1.0] * 8, [0.25] * 8]


def test_the_unit_of_length_is_the_mean_distance_between_networks() -> None:
    corners = torch.tensor([[0.0, 0.0], [3.0, 0.0], [0.0, 4.0]])
    assert mean_distance(corners) == pytest.approx((3 + 4 + 5) / 3)
    assert mean_distance(corners[:1]) == 1.0
