"""How alike two rankings are."""

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray


def spearman(one: Sequence[float] | NDArray[Any], other: Sequence[float] | NDArray[Any]) -> float:
    """Return Spearman's rank correlation of two lists ``[N]``; not a number where one is constant.

    Ties have the mean of their ranks.
    """
    from scipy.stats import spearmanr  # takes seconds to load

    return float(spearmanr(np.asarray(one), np.asarray(other)).statistic)
