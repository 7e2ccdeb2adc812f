"""Regression problems with a known answer."""

import numpy as np
from numpy.typing import NDArray

from archpress.prediction.description import Description, joined

Values = NDArray[np.float64]


def smooth(count: int, noise: float, seed: int = 0) -> tuple[Description, Values, Values]:
    """Return networks, labels and truth; the truth depends on two columns of the first group."""
    random = np.random.default_rng(seed)
    told, idle = random.uniform(-1, 1, (count, 3)), random.normal(size=(count, 4))
    truth = np.sin(2 * told[:, 0]) + told[:, 1] ** 2
    return joined({"told": told, "idle": idle}), truth + noise * random.normal(size=count), truth
