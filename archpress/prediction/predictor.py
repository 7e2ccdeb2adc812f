"""What every regressor here is: a method that fits, and a predictor with a spread."""

from typing import NamedTuple, Protocol, runtime_checkable

import numpy as np
import torch
from numpy.typing import ArrayLike, NDArray
from torch import Tensor

from archpress.errors import EmbeddingError
from archpress.prediction.description import Description

Vector = NDArray[np.float64]
FEWEST_LABELS = 4


class Prediction(NamedTuple):
    """What is expected of networks, and how far off one label may be.

    Attributes:
        mean: float64 ``[B]``.
        std: float64 ``[B]``, standard deviation of a label, its own noise included.
    """

    mean: Vector
    std: Vector


class Predictor(Protocol):
    """What a method has learned from labels."""

    @property
    def held_out(self) -> Prediction:
        """The prediction for each network of the fit, ``[N]``, made without that one's label."""
        ...

    def predict(self, networks: Description) -> Prediction:
        """Return the prediction for ``B`` networks, described as those of the fit were."""
        ...


@runtime_checkable
class Differentiable(Predictor, Protocol):
    """A predictor that says in which direction networks get better."""

    def moments(self, values: Tensor) -> tuple[Tensor, Tensor]:
        """Return mean and standard deviation, ``[B]`` each, of columns ``[B, K]``, with slopes."""
        ...


class Method(Protocol):
    """A way to learn from labels."""

    def fit(
        self, networks: Description, labels: ArrayLike, generator: torch.Generator
    ) -> Predictor:
        """Learn from ``N`` networks and their labels ``[N]``; ``generator`` is all randomness."""
        ...


def differentiable(predictor: Predictor) -> Differentiable:
    """Return the same predictor.

    Raises:
        TypeError: It has no slopes (trees).
    """
    if not isinstance(predictor, Differentiable):
        raise TypeError(f"{type(predictor).__name__} has no slopes to follow")
    return predictor


def checked(networks: Description, labels: ArrayLike, fewest: int = FEWEST_LABELS) -> Vector:
    """Return labels as float64 ``[N]``.

    Raises:
        EmbeddingError: Too few, another number than networks, or not finite.
    """
    values = np.asarray(labels, np.float64)
    if values.shape != (len(networks),):
        raise EmbeddingError(f"got labels of shape {values.shape} for {len(networks)} networks")
    if len(values) < fewest:
        raise EmbeddingError(
            f"{len(values)} labels are too few to learn from, expected at least {fewest}"
        )
    if not np.isfinite(values).all() or not np.isfinite(networks.values).all():
        raise EmbeddingError("a label or feature is not finite; leave that network out of the fit")
    return values


def seed_from(generator: torch.Generator) -> int:
    """Return a seed for a library that takes one."""
    return int(torch.randint(2**31 - 1, (), generator=generator))
