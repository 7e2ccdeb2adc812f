"""Labels on a scale where they are normal: their ranks decide, not how far the worst lie below.

Accuracies have a long tail of networks that hardly learn and crowd just under the best. A least
squares fit of them spends itself on the tail; normal scores weigh every rank alike.
"""

from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import ArrayLike
from torch import Tensor

from archpress.prediction.description import Description
from archpress.prediction.predictor import (
    Method,
    Prediction,
    Predictor,
    Vector,
    checked,
    differentiable,
)

NODES = 15
"""Points of the Gauss-Hermite quadrature that brings a spread back to the labels' scale."""


@dataclass(frozen=True)
class NormalScores:
    """A monotone map between labels and standard normal scores, linear between what was seen.

    Attributes:
        labels: The distinct labels in order, and one before and after them, float64 ``[U + 2]``.
        scores: Their scores, float64 ``[U + 2]``.
    """

    labels: Tensor
    scores: Tensor

    @classmethod
    def of(cls, labels: ArrayLike) -> "NormalScores":
        """Return the map of labels ``[N]``: a label's score is the normal quantile of its rank."""
        values, counts = np.unique(np.asarray(labels, np.float64), return_counts=True)
        below = np.cumsum(counts) - counts
        ranks = torch.from_numpy((below + 0.5 * counts) / counts.sum())
        scores = torch.special.ndtri(ranks)
        return cls(*_extended(torch.from_numpy(values), scores))

    def scores_of(self, labels: ArrayLike) -> Vector:
        """Return the scores of labels, same shape; beyond those seen, in a straight line."""
        values = torch.from_numpy(np.asarray(labels, np.float64))
        found: Vector = _interpolated(values, self.labels, self.scores).numpy()
        return found

    def labels_of(self, scores: Tensor) -> Tensor:
        """Return the labels of scores, same shape; differentiable."""
        return _interpolated(scores, self.scores, self.labels)

    def moments(self, mean: Tensor, std: Tensor) -> tuple[Tensor, Tensor]:
        """Return mean and standard deviation of labels whose scores are normal; ``[B]`` each."""
        points, weights = np.polynomial.hermite_e.hermegauss(NODES)
        share = torch.from_numpy(weights / weights.sum())
        labels = self.labels_of(mean[..., None] + std[..., None] * torch.from_numpy(points))
        expected = labels @ share
        variance = (labels - expected[..., None]).square() @ share
        return expected, variance.clamp_min(1e-24).sqrt()


def _extended(labels: Tensor, scores: Tensor) -> tuple[Tensor, Tensor]:
    """Return both with a point at each end, a score of 1 further out.

    They lie on the line through the outer quarter of the points; where all labels are equal, it is
    flat.
    """
    inner = min(max(2, len(labels) // 4), len(labels) - 1)
    low = _beyond(labels[0], labels[inner], scores[inner] - scores[0])
    high = _beyond(labels[-1], labels[-1 - inner], scores[-1] - scores[-1 - inner])
    one = torch.ones(1, dtype=torch.float64)
    return (
        torch.cat([low, labels, high]),
        torch.cat([scores[:1] - one, scores, scores[-1:] + one]),
    )


def _beyond(end: Tensor, inner: Tensor, run: Tensor) -> Tensor:
    """Return the label a score of 1 beyond ``end``, ``[1]``."""
    return (end + (end - inner) / run.clamp_min(1e-9))[None]


def _interpolated(x: Tensor, knots: Tensor, values: Tensor) -> Tensor:
    """Return the piecewise linear function through ``(knots, values)`` at ``x``, ends extended."""
    right = torch.searchsorted(knots, x.detach().contiguous()).clamp(1, len(knots) - 1)
    run = (knots[right] - knots[right - 1]).clamp_min(1e-12)
    slope = (values[right] - values[right - 1]) / run
    return values[right - 1] + slope * (x - knots[right - 1])


@dataclass(frozen=True)
class OnNormalScores:
    """A method that learns normal scores instead of labels, and predicts labels.

    Attributes:
        method: What learns.
    """

    method: Method

    def fit(
        self, networks: Description, labels: ArrayLike, generator: torch.Generator
    ) -> "ScoredPredictor":
        """Learn from ``N`` networks and their labels ``[N]``.

        Raises:
            EmbeddingError: Labels that nothing can be learned from.
        """
        values = checked(networks, labels)
        scale = NormalScores.of(values)
        return ScoredPredictor(scale, self.method.fit(networks, scale.scores_of(values), generator))


@dataclass(frozen=True)
class ScoredPredictor:
    """A predictor of normal scores, and the way back to labels.

    Attributes:
        scale: The way back.
        scores: Predicts scores.
    """

    scale: NormalScores
    scores: Predictor

    @property
    def held_out(self) -> Prediction:
        """The prediction for each network of the fit, ``[N]``, made without that one's label."""
        return self._on_labels(self.scores.held_out)

    def predict(self, networks: Description) -> Prediction:
        """Return the prediction for ``B`` networks."""
        return self._on_labels(self.scores.predict(networks))

    def moments(self, values: Tensor) -> tuple[Tensor, Tensor]:
        """Return mean and standard deviation, ``[B]`` each, of columns ``[B, K]``, with slopes.

        Raises:
            TypeError: What predicts the scores has no slopes (trees).
        """
        return self.scale.moments(*differentiable(self.scores).moments(values))

    def _on_labels(self, scores: Prediction) -> Prediction:
        mean, std = self.scale.moments(*(torch.from_numpy(part) for part in scores))
        return Prediction(mean.numpy(), std.numpy())
