import numpy as np
import pytest
import torch

from archpress.errors import EmbeddingError
from archpress.prediction.calibration import calibration
from archpress.prediction.choice import Chosen, fit_best, rivals, smooth_rivals
from archpress.prediction.description import joined
from archpress.prediction.perceptrons import Perceptrons
from tests.prediction.problems import Values, smooth

NETWORKS, LABELS, TRUTH = smooth(260, 0.3)
ASKED = NETWORKS.rows(range(60, 260))


def labels_of_networks(values: Values) -> Values:
    """Return accuracies with a long tail, as they come from networks that hardly learn."""
    return np.asarray(1 / (1 + np.exp(-3 * values)))


@pytest.fixture(scope="module")
def best() -> Chosen:
    labels = labels_of_networks(LABELS[:60])
    return fit_best(NETWORKS.rows(range(60)), labels, torch.Generator().manual_seed(0))


def test_the_choice_ranks_and_its_spread_is_honest(best: Chosen) -> None:
    prediction = best.predict(ASKED)
    assert np.corrcoef(prediction.mean, labels_of_networks(TRUTH[60:]))[0, 1] > 0.9
    found = calibration(prediction, labels_of_networks(LABELS[60:]))
    assert 0.8 < found.coverage[0.9] <= 0.99
    assert 0.6 < found.rms_standardised < 1.5


def test_the_choice_says_who_won_and_by_what(best: Chosen) -> None:
    weights, scores = best.scores.weights, best.scores.scores
    assert list(weights) == list(scores) == list(rivals())
    assert sum(weights.values()) == pytest.approx(1)
    assert max(weights, key=weights.__getitem__) == "gaussian_process"  # the truth is smooth
    assert scores["gaussian_process"] == max(scores.values())


def test_trees_take_over_where_the_truth_is_theirs() -> None:
    """Steps along two of twelve columns that share one group: nothing that a kernel finds."""
    columns = np.random.default_rng(5).uniform(-1, 1, (80, 12))
    truth = 2.0 * (columns[:, 0] > 0.2) + 1.0 * (columns[:, 1] > 0)
    best = fit_best(joined({"all": columns}), truth, torch.Generator().manual_seed(0))
    assert best.scores.weights["gaussian_process"] < 0.2


def test_what_a_descent_uses_has_slopes_and_the_rest_says_it_has_none(best: Chosen) -> None:
    methods = smooth_rivals() | {"perceptrons": Perceptrons(steps=20)}
    labels = labels_of_networks(LABELS[:40])
    known = NETWORKS.rows(range(40))
    smooth_one = fit_best(known, labels, torch.Generator().manual_seed(0), methods)
    values = torch.from_numpy(ASKED.values[:1]).requires_grad_()
    mean, std = smooth_one.moments(values)
    assert (float(mean.detach()), float(std.detach())) == pytest.approx(
        tuple(float(part[0]) for part in smooth_one.predict(ASKED.rows([0])))
    )
    (slope,) = torch.autograd.grad(mean.sum(), values)
    step = 0.02 * slope / slope.norm()
    with torch.no_grad():
        ends = [float(smooth_one.moments(values + sign * step)[0]) for sign in (1, -1)]
    assert ends[0] - ends[1] == pytest.approx(0.04 * float(slope.norm()), rel=0.25)
    with pytest.raises(TypeError, match="no slopes"):
        best.moments(values)


def test_a_second_fidelity_is_made_use_of() -> None:
    generator = torch.Generator().manual_seed(0)
    early = TRUTH + 0.05 * np.random.default_rng(1).normal(size=260)
    told = {"idle": NETWORKS.group("idle")}
    methods = {"gaussian_process": rivals()["gaussian_process"]}
    found = []
    for parts in (told, told | {"early": early}):
        networks = joined(parts)
        fitted = fit_best(networks.rows(range(30)), TRUTH[:30], generator, methods)
        mean = fitted.predict(networks.rows(range(60, 260))).mean
        found.append(np.corrcoef(mean, TRUTH[60:])[0, 1])
    assert found[1] > 0.9 > 0.5 > found[0]


def test_five_labels_are_enough_and_four_are_not() -> None:
    generator = torch.Generator().manual_seed(0)
    few = fit_best(NETWORKS.rows(range(5)), LABELS[:5], generator).predict(ASKED)
    assert np.isfinite(few.mean).all() and (few.std > 0).all()
    with pytest.raises(EmbeddingError, match=r"4 labels are too few .* at least 5"):
        fit_best(NETWORKS.rows(range(4)), LABELS[:4], generator)
