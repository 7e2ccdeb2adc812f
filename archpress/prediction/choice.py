"""The regressor to use: rivals weighed by cross-validation, on the labels' normal scores."""

from collections.abc import Mapping
from dataclasses import dataclass

import torch
from numpy.typing import ArrayLike

from archpress.prediction.cross_validation import CrossValidated
from archpress.prediction.description import Description
from archpress.prediction.gaussian_process import GaussianProcess
from archpress.prediction.normal_scores import NormalScores, ScoredPredictor
from archpress.prediction.perceptrons import Perceptrons
from archpress.prediction.predictor import Method, checked
from archpress.prediction.stacking import FittedStack, Stack
from archpress.prediction.trees import extra_trees, gradient_boosting


def rivals() -> dict[str, Method]:
    """Return the methods that `fit_best` weighs, by name."""
    return {
        "gaussian_process": CrossValidated(GaussianProcess()),
        "extra_trees": extra_trees(),
        "gradient_boosting": gradient_boosting(),
    }


def smooth_rivals() -> dict[str, Method]:
    """Return those that have slopes, for a descent, by name."""
    return {"gaussian_process": CrossValidated(GaussianProcess()), "perceptrons": Perceptrons()}


@dataclass(frozen=True)
class Chosen(ScoredPredictor):
    """A regressor of accuracy, and how it came about.

    Attributes:
        scores: Predicts normal scores; its ``weights`` and ``scores`` say who won and by what.
    """

    scores: FittedStack


def fit_best(
    networks: Description,
    labels: ArrayLike,
    generator: torch.Generator,
    methods: Mapping[str, Method] | None = None,
) -> Chosen:
    """Learn accuracy from labels by whatever predicts those best that it has not seen.

    Args:
        networks: ``N`` networks, from `describe`.
        labels: Their accuracies, ``[N]``.
        generator: All randomness.
        methods: By name; `rivals` by default. Those of `smooth_rivals` alone have slopes.

    Raises:
        EmbeddingError: Labels that nothing can be learned from.
    """
    values = checked(networks, labels)
    scale = NormalScores.of(values)
    stack = Stack(rivals() if methods is None else methods)
    return Chosen(scale, stack.fit(networks, scale.scores_of(values), generator))
