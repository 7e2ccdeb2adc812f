"""Columns brought to one scale."""

from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from archpress.prediction.description import Description, Group


@dataclass(frozen=True)
class Scaling:
    """An affine map of every column.

    Attributes:
        centre: float64 ``[K]``.
        factor: float64 ``[K]``; 0 for a column that was constant, of which nothing is known.
        groups: Which columns belong together.
    """

    centre: Tensor
    factor: Tensor
    groups: tuple[Group, ...]

    @classmethod
    def of(cls, networks: Description) -> "Scaling":
        """Return what gives every column mean 0 and standard deviation 1 over ``networks``."""
        centre, deviation = networks.values.mean(0), networks.values.std(0)
        varies = deviation > 1e-9 * (1 + np.abs(centre))
        factor = np.where(varies, 1 / np.where(varies, deviation, 1), 0.0)
        return cls(torch.from_numpy(centre), torch.from_numpy(factor), networks.groups)

    def __call__(self, values: Tensor) -> Tensor:
        """Return columns ``[B, K]`` on the common scale; differentiable."""
        return (values - self.centre) * self.factor
