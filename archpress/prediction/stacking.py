"""Several methods weighed by what they predict of labels they have not seen, and a spread to match.

A method that is best alone takes over; two that err differently share (Wolpert 1992, Breiman 1996).
"""

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import ArrayLike
from scipy.optimize import nnls
from torch import Tensor

from archpress.prediction.description import Description, Matrix
from archpress.prediction.predictor import (
    Method,
    Prediction,
    Predictor,
    Vector,
    checked,
    differentiable,
)
from archpress.prediction.ranks import spearman

CAUTION = 4.0
"""So many labels' worth of evidence stands for equal weights, and for the spreads as they are."""


@dataclass(frozen=True)
class Stack:
    """The method.

    Attributes:
        members: Methods by name.
    """

    members: Mapping[str, Method]

    def fit(
        self, networks: Description, labels: ArrayLike, generator: torch.Generator
    ) -> "FittedStack":
        """Learn from ``N`` networks and their labels ``[N]``.

        Raises:
            EmbeddingError: Labels that nothing can be learned from.
        """
        target = checked(networks, labels)
        fitted = {n: m.fit(networks, target, generator) for n, m in self.members.items()}
        held_out = [predictor.held_out for predictor in fitted.values()]
        weights = simplex_weights(np.stack([p.mean for p in held_out], 1), target)
        mixed = _mixture(held_out, weights)
        scale = spread_scale(mixed, target)
        scores = {name: _score(fitted[name].held_out, target) for name in fitted}
        shares = dict(zip(fitted, weights.tolist(), strict=True))
        return FittedStack(fitted, shares, scores, scale, Prediction(mixed.mean, scale * mixed.std))


@dataclass(frozen=True)
class FittedStack:
    """What the method has learned.

    Attributes:
        members: Predictors by name.
        weights: Their shares of the prediction; they add up to 1.
        scores: Spearman correlation of their predictions with labels they had not seen.
        spread_scale: What the members' spread is multiplied by to match their errors.
        held_out: Predictions for the labelled networks without their labels, ``[N]``.
    """

    members: Mapping[str, Predictor]
    weights: Mapping[str, float]
    scores: Mapping[str, float]
    spread_scale: float
    held_out: Prediction

    def predict(self, networks: Description) -> Prediction:
        """Return the prediction for ``B`` networks."""
        parts = {n: self.members[n].predict(networks) for n, w in self.weights.items() if w > 0}
        used = np.array([self.weights[name] for name in parts])
        mixed = _mixture(list(parts.values()), used)
        return Prediction(mixed.mean, self.spread_scale * mixed.std)

    def moments(self, values: Tensor) -> tuple[Tensor, Tensor]:
        """Return mean and standard deviation, ``[B]`` each, of columns ``[B, K]``, with slopes.

        Raises:
            TypeError: A member has no slopes (trees).
        """
        moments = [differentiable(member).moments(values) for member in self.members.values()]
        means, spreads = (torch.stack(part) for part in zip(*moments, strict=True))
        weights = torch.tensor([*self.weights.values()], dtype=torch.float64)[:, None]
        mean = (weights * means).sum(0)
        variance = (weights * (spreads.square() + (means - mean).square())).sum(0)
        return mean, self.spread_scale * variance.sqrt()


def _mixture(parts: list[Prediction], weights: Vector) -> Prediction:
    """Return the moments of a mixture: variances within the parts and between them."""
    means, spreads = (np.stack([part[i] for part in parts]) for i in (0, 1))
    mean = weights @ means
    return Prediction(mean, np.sqrt(weights @ (spreads**2 + (means - mean) ** 2)))


def simplex_weights(predictions: Matrix, labels: Vector) -> Vector:
    """Return weights ``[M]``, none negative, sum 1, of least squared error.

    Args:
        predictions: ``[N, M]``, each made without the label.
        labels: ``[N]``.
    """
    members, variance = predictions.shape[1], max(float(labels.var()), 1e-18)
    equal = np.sqrt(CAUTION * variance) * np.eye(members)
    whole = 1e4 * np.sqrt(len(labels) * variance) * np.ones((1, members))
    columns = np.concatenate([predictions - labels[:, None], equal, whole])
    target = np.concatenate([np.zeros(len(labels)), equal.mean(1), whole[:, 0]])
    weights, _ = nnls(columns, target)
    shares: Vector = weights / weights.sum()
    return shares


def spread_scale(prediction: Prediction, labels: Vector) -> float:
    """Return what to multiply a spread by, so that errors are as large as it says."""
    squares = ((labels - prediction.mean) / np.maximum(prediction.std, 1e-12)) ** 2
    return float(np.sqrt((squares.sum() + CAUTION) / (len(labels) + CAUTION)))


def _score(held_out: Prediction, labels: Vector) -> float:
    if np.ptp(held_out.mean) == 0 or np.ptp(labels) == 0:
        return 0.0
    return spearman(held_out.mean, labels)
