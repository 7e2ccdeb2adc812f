"""Regressors that each leave labels out: their mean predicts, what they left out says how well.

So the spread is honest at no cost: no label judges a regressor that has seen it.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import ArrayLike, NDArray

from archpress.prediction.cross_validation import FOLDS, folds
from archpress.prediction.description import Description, Matrix
from archpress.prediction.predictor import Prediction, Vector, checked, seed_from

Regressor = Any
"""What scikit-learn calls a regressor: it has ``fit(X, y)`` and ``predict(X)``."""


def spread(members: Matrix, noise: float) -> Vector:
    """Return standard deviations ``[B]`` from members' predictions ``[M, B]`` and noise."""
    deviation: Vector = np.sqrt(members.var(0) + noise)
    return deviation


def noise_variance(members: Matrix, left_out: NDArray[np.bool_], labels: Vector) -> float:
    """Return what of the error on labels left out the members' disagreement does not explain.

    Args:
        members: Predictions ``[M, N]`` for the labelled networks.
        left_out: Which member has not seen which label, ``[M, N]``.
        labels: ``[N]``.
    """
    errors = (held_out_mean(members, left_out) - labels) ** 2
    explained = float(members.var(0).mean())
    return max(float(errors.mean()) - explained, 1e-3 * float(labels.var()), 1e-18)


def held_out_mean(members: Matrix, left_out: NDArray[np.bool_]) -> Vector:
    """Return the mean over those members that have not seen a label, ``[N]``."""
    mean: Vector = (members * left_out).sum(0) / left_out.sum(0)
    return mean


@dataclass(frozen=True)
class FoldEnsemble:
    """The method: the same regressor, fitted once per fold, each time without that fold.

    Attributes:
        make: Makes an unfitted regressor from a seed.
        count: Of folds.
    """

    make: Callable[[int], Regressor]
    count: int = FOLDS

    def fit(
        self, networks: Description, labels: ArrayLike, generator: torch.Generator
    ) -> "FittedFolds":
        """Learn from ``N`` networks and their labels ``[N]``.

        Raises:
            EmbeddingError: Labels that nothing can be learned from.
        """
        target, values = checked(networks, labels), networks.values
        fold = folds(len(target), generator, self.count)
        left_out = fold == np.unique(fold)[:, None]
        members = [
            self.make(seed_from(generator)).fit(values[~out], target[~out]) for out in left_out
        ]
        predictions = _predictions(members, values)
        noise = noise_variance(predictions, left_out, target)
        mean = held_out_mean(predictions, left_out)
        return FittedFolds(members, noise, Prediction(mean, spread(predictions, noise)))


@dataclass(frozen=True)
class FittedFolds:
    """What the method has learned.

    Attributes:
        members: A fitted regressor per fold.
        noise: Variance of a label that the members' disagreement does not show.
        held_out: Predictions of those that had not seen the label, ``[N]``.
    """

    members: Sequence[Regressor]
    noise: float
    held_out: Prediction

    def predict(self, networks: Description) -> Prediction:
        """Return the prediction for ``B`` networks."""
        predictions = _predictions(self.members, networks.values)
        return Prediction(predictions.mean(0), spread(predictions, self.noise))


def _predictions(members: Sequence[Regressor], values: Matrix) -> Matrix:
    return np.stack([np.asarray(member.predict(values), np.float64) for member in members])
