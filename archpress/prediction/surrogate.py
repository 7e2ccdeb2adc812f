"""What labels say of networks without one: the regressors, and what of them has slopes."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from archpress.architectures.architecture import Architecture
from archpress.errors import EmbeddingError
from archpress.prediction.choice import Chosen, fit_best
from archpress.prediction.description import describe
from archpress.prediction.gaussian_process import GaussianProcess
from archpress.prediction.normal_scores import OnNormalScores, ScoredPredictor
from archpress.prediction.predictor import FEWEST_LABELS, Prediction

SMOOTH = "summary"
"""The group of columns that the descent follows; `embedding.readout` tells them from y."""


@dataclass(frozen=True)
class Surrogate:
    """Accuracy as far as labels tell it.

    Attributes:
        judge: Tells networks apart: the regressors that cross-validation weighs.
        slopes: A Gaussian process on the summary features, for the direction of a step alone.
        labels: How many labels there were.
    """

    judge: Chosen
    slopes: ScoredPredictor
    labels: int

    @classmethod
    def fit(
        cls, networks: Sequence[Architecture], accuracies: Sequence[float], seed: int
    ) -> "Surrogate":
        """Learn from labels.

        Raises:
            EmbeddingError: There are too few to learn from.
        """
        if len(networks) <= FEWEST_LABELS:
            raise EmbeddingError(
                f"{len(networks)} labels are too few to learn from, expected at least "
                f"{FEWEST_LABELS + 1}: raise guided.start, widen the space, or name an archive of "
                f"the same data and label recipe"
            )
        described = describe(networks)
        generator = torch.Generator().manual_seed(seed)
        judge = fit_best(described, accuracies, generator)
        slopes = OnNormalScores(GaussianProcess()).fit(
            described.only(SMOOTH), accuracies, generator
        )
        return cls(judge, slopes, len(networks))

    def lower_bounds(self, networks: Sequence[Architecture], caution: float) -> NDArray[np.float64]:
        """Return mean minus ``caution`` standard deviations of accuracy, ``[B]``."""
        mean, std = self._predicted(networks)
        lower: NDArray[np.float64] = mean - caution * std
        return lower

    def means(self, networks: Sequence[Architecture]) -> NDArray[np.float64]:
        """Return expected accuracies, ``[B]``."""
        mean: NDArray[np.float64] = self._predicted(networks).mean
        return mean

    def _predicted(self, networks: Sequence[Architecture]) -> Prediction:
        if not networks:
            return Prediction(np.zeros(0), np.zeros(0))
        return self.judge.predict(describe(networks))

    def to_json(self) -> dict[str, Any]:
        """Return how well the judge tells labels that it has not seen."""
        stack = self.judge.scores
        return {
            "labels": self.labels,
            "rank_correlation": dict(stack.scores),
            "weights": dict(stack.weights),
            "spread_scale": stack.spread_scale,
        }
