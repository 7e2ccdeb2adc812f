from dataclasses import dataclass

import numpy as np
import pytest
import torch
from numpy.typing import ArrayLike

from archpress.prediction.description import Description, joined
from archpress.prediction.predictor import Prediction
from archpress.prediction.stacking import FittedStack, Stack, simplex_weights, spread_scale

RANDOM = np.random.default_rng(0)
TRUTH = RANDOM.normal(size=400)
NOISE = RANDOM.normal(size=(400, 2))


@dataclass(frozen=True)
class Reader:
    """Predicts a column, and says how far off it is; as method and as predictor."""

    column: int
    std: float
    networks: Description | None = None

    @property
    def held_out(self) -> Prediction:
        assert self.networks is not None
        return self.predict(self.networks)

    def fit(self, networks: Description, labels: ArrayLike, generator: torch.Generator) -> "Reader":
        return Reader(self.column, self.std, networks)

    def predict(self, networks: Description) -> Prediction:
        return Prediction(networks.values[:, self.column], np.full(len(networks), self.std))


def stack_of(*stds: float, spreads: tuple[float, float] = (1.0, 1.0)) -> FittedStack:
    """Return a stack of two readers whose errors have these standard deviations, on 200 labels."""
    networks = joined({"all": TRUTH[:, None] + NOISE * stds}).rows(range(200))
    members = {"a": Reader(0, spreads[0]), "b": Reader(1, spreads[1])}
    return Stack(members).fit(networks, TRUTH[:200], torch.Generator())


def test_rivals_share_by_their_errors() -> None:
    """Of independent errors, the best weights go by one over the variance."""
    assert stack_of(0.5, 0.5).weights["a"] == pytest.approx(0.5, abs=0.1)
    assert stack_of(0.3, 0.6).weights["a"] == pytest.approx(0.8, abs=0.1)


def test_a_rival_that_is_much_better_takes_over() -> None:
    stack = stack_of(0.05, 2.0)
    assert stack.weights["a"] > 0.98
    assert stack.scores["a"] > 0.99 > 0.7 > stack.scores["b"]


def test_two_together_err_less_and_the_spread_says_so() -> None:
    stack = stack_of(0.5, 0.5, spreads=(0.1, 0.1))
    asked = joined({"all": TRUTH[:, None] + 0.5 * NOISE}).rows(range(200, 400))
    mean, std = stack.predict(asked)
    errors = TRUTH[200:] - mean
    assert errors.std() < 0.8 * (TRUTH[200:] - asked.values[:, 0]).std()
    assert np.sqrt(((errors / std) ** 2).mean()) == pytest.approx(1, abs=0.15)
    assert stack.spread_scale > 1


def test_where_members_disagree_the_spread_is_wide() -> None:
    stack = stack_of(0.5, 0.5, spreads=(0.3, 0.3))
    std = stack.predict(joined({"all": [[0.0, 0.0], [-2.0, 2.0]]})).std
    assert std[1] > 3 * std[0]


def test_weights_are_shares_and_the_best_of_all_shares() -> None:
    predictions = TRUTH[:, None] + RANDOM.normal(size=(400, 3)) * [0.4, 0.8, 3.0]
    weights = simplex_weights(predictions, TRUTH)
    assert weights.min() >= 0
    assert weights.sum() == pytest.approx(1)
    least = ((predictions @ weights - TRUTH) ** 2).sum() + 4 * (weights**2).sum()
    for _ in range(200):
        other = RANDOM.dirichlet(np.ones(3))
        assert ((predictions @ other - TRUTH) ** 2).sum() + 4 * (other**2).sum() > least - 1


def test_without_evidence_weights_are_equal() -> None:
    assert simplex_weights(np.zeros((4, 3)), np.zeros(4)) == pytest.approx(np.full(3, 1 / 3))


def test_a_right_spread_stays_and_a_wrong_one_is_scaled() -> None:
    errors = RANDOM.normal(size=2_000)
    zeros = np.zeros(2_000)
    assert spread_scale(Prediction(zeros, np.ones(2_000)), errors) == pytest.approx(1, abs=0.05)
    assert spread_scale(Prediction(zeros, np.full(2_000, 4.0)), errors) == pytest.approx(
        0.25, abs=0.02
    )


def test_a_member_without_slopes_is_named() -> None:
    with pytest.raises(TypeError, match="Reader has no slopes"):
        stack_of(0.5, 0.5).moments(torch.zeros(1, 2, dtype=torch.float64))
