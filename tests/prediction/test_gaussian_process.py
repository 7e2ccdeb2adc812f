from dataclasses import replace

import numpy as np
import pytest
import torch

from archpress.errors import EmbeddingError
from archpress.prediction.description import joined
from archpress.prediction.gaussian_process import FittedProcess, GaussianProcess, _kernel
from tests.prediction.problems import smooth


@pytest.fixture(scope="module")
def fitted() -> FittedProcess:
    networks, labels, _ = smooth(60, 0.1)
    return GaussianProcess().fit(networks, labels)


def test_a_smooth_function_is_learned_with_an_honest_spread(fitted: FittedProcess) -> None:
    networks, labels, truth = smooth(200, 0.1, seed=1)
    mean, std = fitted.predict(networks)
    assert np.corrcoef(mean, truth)[0, 1] > 0.97
    assert 0.7 < np.sqrt((((labels - mean) / std) ** 2).mean()) < 1.4
    far = joined({"told": np.full((1, 3), 9.0), "idle": np.zeros((1, 4))})
    assert fitted.predict(far).std[0] > 2 * std.mean()


def test_the_noise_and_the_idle_columns_are_found_out(fitted: FittedProcess) -> None:
    _, labels, _ = smooth(60, 0.1)
    noise = float(fitted.hyperparameters.noise_variance) ** 0.5 * labels.std()
    assert noise == pytest.approx(0.1, rel=0.5)
    told, idle = fitted.hyperparameters.scales.exp().tolist()
    assert told > 5 * idle


def test_predictions_are_those_of_the_textbook(fitted: FittedProcess) -> None:
    """Rasmussen and Williams, equations 2.25 and 2.26, by a plain inverse and a loop."""
    networks, labels, _ = smooth(60, 0.1)
    asked, _, _ = smooth(3, 0.1, seed=2)
    h = fitted.hyperparameters

    def covariance(a: torch.Tensor, b: torch.Tensor) -> float:
        x, y = fitted.scaling(a), fitted.scaling(b)
        parts = [(x - y)[:3].square().sum() / 6, (x - y)[3:].square().sum() / 8]
        roots = [(5 * d).sqrt() / length for d, length in zip(parts, h.lengths.exp(), strict=True)]
        matern = [(1 + r + r * r / 3) * torch.exp(-r) for r in roots]
        return float(sum(s * m for s, m in zip(h.scales.exp(), matern, strict=True)))

    known, new = torch.from_numpy(networks.values), torch.from_numpy(asked.values)
    gram = np.array([[covariance(a, b) for b in known] for a in known])
    gram += float(h.noise_variance) * np.eye(60)
    cross = np.array([[covariance(a, b) for b in known] for a in new])
    inverse = np.linalg.inv(gram)
    scaled = (labels - labels.mean()) / labels.std()
    mean, std = fitted.predict(asked)
    assert mean == pytest.approx(labels.mean() + labels.std() * cross @ inverse @ scaled, rel=1e-4)
    variance = gram[0, 0] - np.einsum("bn,nm,bm->b", cross, inverse, cross)
    assert std == pytest.approx(labels.std() * np.sqrt(variance), rel=1e-4)


def test_what_is_left_out_is_predicted_as_by_a_process_without_it(fitted: FittedProcess) -> None:
    _, labels, _ = smooth(60, 0.1)
    centre, spread = fitted.label_scale
    target = torch.from_numpy((labels - centre) / spread)
    gram = fitted.factor @ fitted.factor.T
    rest = torch.arange(60) != 7
    solved = torch.linalg.solve(gram[rest][:, rest], torch.stack([target[rest], gram[rest, 7]], 1))
    mean = centre + spread * float(gram[7, rest] @ solved[:, 0])
    std = spread * float(gram[7, 7] - gram[7, rest] @ solved[:, 1]) ** 0.5
    assert fitted.held_out.mean[7] == pytest.approx(mean)
    assert fitted.held_out.std[7] == pytest.approx(std)


def test_predictions_have_slopes(fitted: FittedProcess) -> None:
    asked, _, _ = smooth(2, 0.1, seed=3)
    values = torch.from_numpy(asked.values).requires_grad_()
    assert torch.autograd.gradcheck(fitted.moments, (values,), eps=1e-6, atol=1e-6)


def test_the_slope_at_a_labelled_network_is_finite(fitted: FittedProcess) -> None:
    networks, _, _ = smooth(60, 0.1)
    values = torch.from_numpy(networks.values).requires_grad_()
    fitted.moments(values)[0].sum().backward()
    assert values.grad is not None and torch.isfinite(values.grad).all()


def test_a_column_that_was_constant_says_nothing_later() -> None:
    networks, labels, _ = smooth(30, 0.1)
    constant = {"told": networks.group("told"), "constant": np.ones(30)}
    fitted = GaussianProcess().fit(joined(constant), labels)
    changed = joined({**constant, "constant": np.full(30, 99.0)})
    assert fitted.predict(changed).mean == pytest.approx(fitted.predict(joined(constant)).mean)


def test_equal_networks_and_equal_labels_break_nothing() -> None:
    networks, labels, _ = smooth(10, 0.1)
    twice = networks.rows([*range(10), *range(10)])
    assert np.isfinite(GaussianProcess().fit(twice, np.tile(labels, 2)).predict(twice).mean).all()
    flat = GaussianProcess().fit(networks, np.full(10, 0.3)).predict(networks)
    assert flat.mean == pytest.approx(np.full(10, 0.3))


@pytest.mark.parametrize(
    ("count", "value", "message"),
    [(3, 0.0, "too few"), (10, np.nan, "not finite"), (10, np.inf, "not finite")],
)
def test_labels_that_nothing_can_be_learned_from_are_refused(
    count: int, value: float, message: str
) -> None:
    networks, labels, _ = smooth(count, 0.1)
    labels[0] += value
    with pytest.raises(EmbeddingError, match=message):
        GaussianProcess().fit(networks, labels)
    with pytest.raises(EmbeddingError, match="shape"):
        GaussianProcess().fit(networks, labels[1:])


def test_the_kernel_falls_with_distance(fitted: FittedProcess) -> None:
    distances = torch.linspace(0, 9, 50, dtype=torch.float64).expand(2, 1, 50)
    values = _kernel(distances, replace(fitted.hyperparameters))[0]
    assert (values.diff() < 0).all()
    assert float(values[0]) == pytest.approx(float(fitted.hyperparameters.scales.exp().sum()))
