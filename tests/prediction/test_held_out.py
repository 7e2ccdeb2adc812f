"""What a method says of a label it has not seen does not depend on that label."""

from functools import partial

import numpy as np
import pytest
import torch

from archpress.prediction.cross_validation import CrossValidated, folds
from archpress.prediction.fold_ensemble import FoldEnsemble, held_out_mean, noise_variance
from archpress.prediction.gaussian_process import GaussianProcess
from archpress.prediction.paper_regressor import PaperRegressor
from archpress.prediction.perceptrons import Perceptrons
from archpress.prediction.predictor import Method, Prediction
from archpress.prediction.trees import extra_trees, gradient_boosting, random_forest
from tests.prediction.problems import smooth

METHODS: dict[str, Method] = {
    "gaussian_process": CrossValidated(GaussianProcess(), count=3),
    "extra_trees": extra_trees(),
    "random_forest": random_forest(),
    "gradient_boosting": gradient_boosting(),
    "perceptrons": Perceptrons(steps=40),
    "paper_regressor": FoldEnsemble(
        partial(PaperRegressor, hidden=32, steps=100, learning_rate=0.01), count=3
    ),
}
every_method = pytest.mark.parametrize("name", METHODS)
COUNT = 30


def fitted(name: str, labels: np.ndarray) -> Prediction:
    networks, _, _ = smooth(COUNT, 0.1)
    return METHODS[name].fit(networks, labels, torch.Generator().manual_seed(0)).held_out


@every_method
def test_two_labels_of_a_fold_may_change_places_unseen(name: str) -> None:
    """Changing places keeps mean and variance, by which some methods scale the labels."""
    _, labels, _ = smooth(COUNT, 0.1)
    method = METHODS[name]
    most = getattr(method, "count", 10)
    fold = folds(COUNT, torch.Generator().manual_seed(0), most)
    together = np.flatnonzero(fold == fold[0])
    one, other = together[[labels[together].argmin(), labels[together].argmax()]]
    swapped = labels.copy()
    swapped[[one, other]] = labels[[other, one]]
    assert labels[other] - labels[one] > 0.2
    before, after = fitted(name, labels).mean, fitted(name, swapped).mean
    assert after[fold == fold[0]] == pytest.approx(before[fold == fold[0]], abs=1e-5)
    assert np.abs(after - before)[fold != fold[0]].max() > 1e-3


@every_method
def test_a_method_learns_and_its_spread_is_honest(name: str) -> None:
    networks, labels, truth = smooth(120, 0.1)
    known, asked = networks.rows(range(80)), networks.rows(range(80, 120))
    scaled = 0.5 + 0.2 * labels  # accuracies, as the paper's regressor needs
    generator = torch.Generator().manual_seed(1)
    predictor = METHODS[name].fit(known, scaled[:80], generator)
    mean, std = predictor.predict(asked)
    assert np.corrcoef(mean, truth[80:])[0, 1] > 0.85
    assert 0.6 < np.sqrt((((scaled[80:] - mean) / std) ** 2).mean()) < 1.7
    held_out = predictor.held_out
    assert 0.6 < np.sqrt((((scaled[:80] - held_out.mean) / held_out.std) ** 2).mean()) < 1.7


@every_method
def test_the_generator_decides(name: str) -> None:
    _, labels, _ = smooth(COUNT, 0.1)
    assert (fitted(name, labels).mean == fitted(name, labels).mean).all()


def test_folds_are_of_equal_size_and_at_most_as_many_as_labels() -> None:
    generator = torch.Generator().manual_seed(3)
    assert np.bincount(folds(23, generator, 5)).tolist() == [5, 5, 5, 4, 4]
    assert sorted(folds(4, generator)) == [0, 1, 2, 3]
    assert (folds(23, generator) != folds(23, generator)).any()


def test_noise_is_what_disagreement_does_not_explain() -> None:
    members = np.array([[1.0, 2.0], [3.0, 2.0]])
    left_out = np.array([[True, False], [False, True]])
    assert held_out_mean(members, left_out).tolist() == [1, 2]
    assert noise_variance(members, left_out, np.array([4.0, 2.0])) == pytest.approx(4.5 - 0.5)
    assert noise_variance(members, left_out, np.array([1.0, 2.0])) == pytest.approx(0.25e-3)


def test_perceptrons_have_slopes() -> None:
    networks, labels, _ = smooth(COUNT, 0.1)
    predictor = Perceptrons(steps=20).fit(networks, labels, torch.Generator().manual_seed(0))
    values = torch.from_numpy(networks.values[:1]).requires_grad_()
    (slope,) = torch.autograd.grad(predictor.moments(values)[0].sum(), values)
    step = 0.02 * slope / slope.norm()
    with torch.no_grad():
        ends = [float(predictor.moments(values + sign * step)[0]) for sign in (1, -1)]
    assert ends[0] - ends[1] == pytest.approx(0.04 * float(slope.norm()), rel=0.05)
