"""Folds of labels, and predictions of each label by what was fitted without it."""

from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import ArrayLike, NDArray

from archpress.prediction.description import Description
from archpress.prediction.predictor import (
    FEWEST_LABELS,
    Method,
    Prediction,
    Predictor,
    checked,
    differentiable,
)

FOLDS = 10


def folds(count: int, generator: torch.Generator, most: int = FOLDS) -> NDArray[np.int64]:
    """Return the fold of each of ``count`` labels, ``[count]``: at most ``most``, of equal size."""
    order = torch.randperm(count, generator=generator).numpy()
    return order % min(most, count)


@dataclass(frozen=True)
class CrossValidated:
    """A method whose `held_out` predictions are those of fits without the label.

    Attributes:
        method: What learns.
        count: Of folds, each of which is a fit.
    """

    method: Method
    count: int = 5

    def fit(
        self, networks: Description, labels: ArrayLike, generator: torch.Generator
    ) -> "CrossValidatedPredictor":
        """Learn from ``N`` networks and their labels ``[N]``, and once more without each fold.

        Raises:
            EmbeddingError: Labels that nothing can be learned from.
        """
        target = checked(networks, labels, FEWEST_LABELS + 1)
        fold = folds(len(target), generator, self.count)
        mean, std = np.zeros((2, len(target)))
        for out in (fold == number for number in np.unique(fold)):
            predictor = self.method.fit(networks.rows(~out), target[~out], generator)
            mean[out], std[out] = predictor.predict(networks.rows(out))
        whole = self.method.fit(networks, target, generator)
        return CrossValidatedPredictor(whole, Prediction(mean, std))


@dataclass(frozen=True)
class CrossValidatedPredictor:
    """What the method has learned from all labels, and how it did without some.

    Attributes:
        whole: Fitted to all labels.
        held_out: Predictions of those that had not seen the label, ``[N]``.
    """

    whole: Predictor
    held_out: Prediction

    def predict(self, networks: Description) -> Prediction:
        """Return the prediction for ``B`` networks."""
        return self.whole.predict(networks)

    def moments(self, values: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        """Return mean and standard deviation, ``[B]`` each, of columns ``[B, K]``, with slopes.

        Raises:
            TypeError: The method's predictors have no slopes (trees).
        """
        return differentiable(self.whole).moments(values)
