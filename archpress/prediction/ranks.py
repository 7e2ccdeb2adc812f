"""How alike two rankings are."""

import math
from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray


def spearman(one: Sequence[float] | NDArray[Any], other: Sequence[float] | NDArray[Any]) -> float:
    """Return Spearman's rank correlation of two lists ``[N]``; not a number where one is constant.

    Ties have the mean of their ranks.
    """
    from scipy.stats import spearmanr  # takes seconds to load

    ranked, against = np.asarray(one), np.asarray(other)
    if np.ptp(ranked) == 0 or np.ptp(against) == 0:
        return math.nan  # where scipy also warns
    return float(spearmanr(ranked, against).statistic)
