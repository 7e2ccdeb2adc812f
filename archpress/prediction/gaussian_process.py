"""A Gaussian process whose kernel adds up one comparison per group of columns, in float64.

Each group has a Matérn 5/2 kernel with a scale and a length of its own, and the columns in a group
weigh alike. So there are two numbers per group and the noise to fit, by the largest posterior
density under wide priors; a length per column is more than few labels can carry.
"""

import math
from collections.abc import Callable
from dataclasses import dataclass

import torch
from numpy.typing import ArrayLike
from torch import Tensor

from archpress.prediction.description import Description
from archpress.prediction.predictor import Prediction, checked
from archpress.prediction.scaling import Scaling

STEPS = 50
LEAST_NOISE = 1e-3
"""Variance that noise has at least, of labels scaled to variance 1; keeps the matrix definite."""

LIMIT = 6.0
"""Logarithms of fitted numbers stay within this."""


@dataclass(frozen=True)
class GaussianProcess:
    """The method. Fitted anew, it starts from its priors; nothing is random."""

    def fit(
        self, networks: Description, labels: ArrayLike, generator: torch.Generator | None = None
    ) -> "FittedProcess":
        """Learn from ``N`` networks and their labels ``[N]``; nothing is random.

        Raises:
            EmbeddingError: Labels that nothing can be learned from.
        """
        values = checked(networks, labels)
        scaling = Scaling.of(networks)
        centre, spread = float(values.mean()), max(float(values.std()), 1e-12)
        target = torch.from_numpy((values - centre) / spread)
        return _fitted(scaling, networks, target, (centre, spread))


@dataclass(frozen=True)
class Hyperparameters:
    """Logarithms of what the kernel is made of, a value per group ``[G]``.

    Attributes:
        scales: Variances.
        lengths: Length scales.
        noise: Variance of a label, scalar.
    """

    scales: Tensor
    lengths: Tensor
    noise: Tensor

    @classmethod
    def of(cls, free: Tensor) -> "Hyperparameters":
        """Return them of the ``2 G + 1`` numbers that are fitted."""
        bounded = LIMIT * torch.tanh(free / LIMIT)
        groups = len(free) // 2
        return cls(bounded[:groups], bounded[groups : 2 * groups], bounded[-1])

    @property
    def noise_variance(self) -> Tensor:
        """The variance of a label around what the kernel explains."""
        return self.noise.exp() + LEAST_NOISE


@dataclass(frozen=True)
class FittedProcess:
    """What the method has learned.

    Attributes:
        scaling: How columns are read.
        hyperparameters: The kernel's.
        known: The labelled networks' scaled columns, ``[N, K]``.
        factor: Cholesky factor of their covariance, ``[N, N]``.
        weights: What predictions weigh the labelled networks by, ``[N]``.
        held_out: Leave-one-out predictions, ``[N]``, with the hyperparameters of the whole fit.
        label_scale: Centre and spread of the labels.
    """

    scaling: Scaling
    hyperparameters: Hyperparameters
    known: Tensor
    factor: Tensor
    weights: Tensor
    label_scale: tuple[float, float]
    held_out: Prediction

    def moments(self, values: Tensor) -> tuple[Tensor, Tensor]:
        """Return mean and standard deviation of a label, ``[B]`` each, for columns ``[B, K]``.

        Differentiable with respect to the columns.
        """
        centre, spread = self.label_scale
        between = _kernel(
            _distances(self.scaling, self.scaling(values), self.known), self.hyperparameters
        )
        explained = torch.linalg.solve_triangular(self.factor, between.T, upper=False)
        prior = self.hyperparameters.scales.exp().sum() + self.hyperparameters.noise_variance
        variance = (prior - explained.square().sum(0)).clamp_min(LEAST_NOISE)
        return centre + spread * (between @ self.weights), spread * variance.sqrt()

    @torch.no_grad()
    def predict(self, networks: Description) -> Prediction:
        """Return the prediction for ``B`` networks."""
        mean, std = self.moments(torch.from_numpy(networks.values))
        return Prediction(mean.numpy(), std.numpy())


def _distances(scaling: Scaling, a: Tensor, b: Tensor) -> Tensor:
    """Return squared distances per group, ``[G, B, N]``, of scaled columns; 1 is typical."""
    parts = []
    for _, start, stop in scaling.groups:
        x, y = a[:, start:stop], b[:, start:stop]
        squares = x.square().sum(1)[:, None] + y.square().sum(1) - 2 * x @ y.T
        varying = int((scaling.factor[start:stop] > 0).sum())
        parts.append(squares.clamp_min(0) / (2 * max(varying, 1)))
    return torch.stack(parts)


def _kernel(distances: Tensor, hyperparameters: Hyperparameters) -> Tensor:
    """Return the sum of Matérn 5/2 kernels ``[B, N]`` of squared distances ``[G, B, N]``."""
    lengths = hyperparameters.lengths.exp()[:, None, None]
    # The root of 0 has no slope; the small number keeps gradients finite.
    root = (5 * distances + 1e-12).sqrt() / lengths
    parts = (1 + root + root.square() / 3) * torch.exp(-root)
    return torch.einsum("g,gbn->bn", hyperparameters.scales.exp(), parts)


def _fitted(
    scaling: Scaling, networks: Description, target: Tensor, label_scale: tuple[float, float]
) -> FittedProcess:
    known = scaling(torch.from_numpy(networks.values))
    distances = _distances(scaling, known, known)
    free = _most_probable(distances, target)
    hyperparameters = Hyperparameters.of(free)
    factor, weights = _solved(distances, target, hyperparameters)
    held_out = _left_out(target, factor, weights, label_scale)
    return FittedProcess(scaling, hyperparameters, known, factor, weights, label_scale, held_out)


def _left_out(
    target: Tensor, factor: Tensor, weights: Tensor, label_scale: tuple[float, float]
) -> Prediction:
    """Return the prediction for each network from all others (Rasmussen and Williams, 5.4.2)."""
    centre, spread = label_scale
    variance = 1 / torch.cholesky_inverse(factor).diagonal()
    mean = centre + spread * (target - weights * variance)
    return Prediction(mean.numpy(), (spread * variance.sqrt()).numpy())


def _solved(
    distances: Tensor, target: Tensor, hyperparameters: Hyperparameters
) -> tuple[Tensor, Tensor]:
    """Return the Cholesky factor of the labels' covariance and its inverse times the labels."""
    noise = hyperparameters.noise_variance * torch.eye(len(target), dtype=torch.float64)
    factor = torch.linalg.cholesky(_kernel(distances, hyperparameters) + noise)
    return factor, torch.cholesky_solve(target[:, None], factor)[:, 0]


def _most_probable(distances: Tensor, target: Tensor) -> Tensor:
    """Return the ``2 G + 1`` free numbers of largest posterior density."""
    groups = len(distances)
    centres = torch.tensor([-math.log(groups)] * groups + [0.35] * groups + [-2.0]).double()
    widths = torch.tensor([2.0] * groups + [1.0] * groups + [1.5]).double()
    free = centres.clone()
    free[-1] = -1.2
    free.requires_grad_()

    def loss() -> Tensor:
        factor, weights = _solved(distances, target, Hyperparameters.of(free))
        misfit = 0.5 * target @ weights + factor.diagonal().log().sum()
        return misfit + 0.5 * ((free - centres) / widths).square().sum()

    _minimise(loss, free)
    return free.detach()


def _minimise(loss: Callable[[], Tensor], free: Tensor) -> None:
    optimiser = torch.optim.LBFGS(
        [free], max_iter=STEPS, tolerance_change=1e-5, line_search_fn="strong_wolfe"
    )

    def closure() -> float:
        optimiser.zero_grad()
        value = loss()
        value.backward()
        return float(value.detach())

    optimiser.step(closure)
