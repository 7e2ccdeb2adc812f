import numpy as np
import pytest
import torch
from scipy.stats import spearmanr

from archpress.prediction.gaussian_process import GaussianProcess
from archpress.prediction.normal_scores import NormalScores, OnNormalScores
from tests.prediction.problems import smooth

RANDOM = np.random.default_rng(0)


def test_scores_are_normal_whatever_the_labels_are() -> None:
    labels = RANDOM.exponential(size=400)
    scores = NormalScores.of(labels).scores_of(labels)
    assert (np.argsort(scores) == np.argsort(labels)).all()
    assert (scores.mean(), scores.std()) == (pytest.approx(0, abs=0.01), pytest.approx(1, abs=0.02))


def test_equal_labels_have_the_score_of_their_mean_rank() -> None:
    scores = NormalScores.of([0.1, 0.5, 0.5, 0.5, 0.9]).scores_of([0.5, 0.1, 0.9])
    assert scores[0] == pytest.approx(0)
    assert scores[1] == pytest.approx(-scores[2])
    assert scores[2] == pytest.approx(float(torch.special.ndtri(torch.tensor(0.9))))


def test_the_way_back_ends_where_it_began_and_goes_on_in_a_line() -> None:
    labels = np.sort(RANDOM.uniform(size=30))
    scale = NormalScores.of(labels)
    there = scale.scores_of(labels)
    assert scale.labels_of(torch.from_numpy(there)).numpy() == pytest.approx(labels)
    beyond = scale.labels_of(torch.tensor([there[-1] + 1, there[-1] + 2, there[-1] + 3]).double())
    steps = beyond.diff()
    assert steps[0] == pytest.approx(float(steps[1]))
    assert 0 < steps[0] < labels[-1] - labels[0]


def test_moments_are_those_of_draws() -> None:
    scale = NormalScores.of(RANDOM.exponential(size=100))
    mean, std = scale.moments(torch.tensor([0.3]).double(), torch.tensor([0.7]).double())
    drawn = scale.labels_of(torch.from_numpy(RANDOM.normal(0.3, 0.7, 100_000)))
    assert float(mean) == pytest.approx(float(drawn.mean()), rel=0.02)
    assert float(std) == pytest.approx(float(drawn.std()), rel=0.05)


def test_labels_that_are_all_equal_stay_so() -> None:
    scale = NormalScores.of([0.7] * 5)
    mean, std = scale.moments(torch.zeros(2).double(), torch.ones(2).double())
    assert mean.tolist() == pytest.approx([0.7, 0.7])
    assert float(std.max()) < 1e-6


def test_slopes_go_through() -> None:
    scale = NormalScores.of(RANDOM.exponential(size=20))
    scores = torch.tensor([-0.4, 0.1, 1.2, 9.0]).double().requires_grad_()
    assert torch.autograd.gradcheck(scale.labels_of, (scores,), eps=1e-7)


def test_labels_may_be_distorted_without_a_change_of_ranks() -> None:
    """Any monotone change of labels leaves the order of predictions as it is, almost."""
    networks, labels, _ = smooth(60, 0.1)
    known, asked = networks.rows(range(40)), networks.rows(range(40, 60))
    generator = torch.Generator()
    method = OnNormalScores(GaussianProcess())
    plain = method.fit(known, labels[:40], generator).predict(asked)
    distorted = method.fit(known, np.exp(4 * labels[:40]), generator).predict(asked)
    assert spearmanr(plain.mean, distorted.mean).statistic > 0.98
    assert (plain.std > 0).all() and (distorted.std > 0).all()


def test_what_was_held_out_is_predicted_on_the_labels_scale() -> None:
    networks, labels, _ = smooth(40, 0.1)
    fitted = OnNormalScores(GaussianProcess()).fit(networks, 50 + labels, torch.Generator())
    assert np.abs(fitted.held_out.mean - 50 - labels).mean() < 0.5 * labels.std()
