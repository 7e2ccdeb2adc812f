"""Rank correlation."""

import math

import numpy as np
import pytest

from archpress.prediction.ranks import spearman


def test_order_alone_counts_and_ties_share_their_ranks() -> None:
    assert spearman([1, 2, 3, 4], [0.1, 0.2, 0.9, 0.95]) == pytest.approx(1)
    assert spearman([1, 2, 3, 4], [4, 3, 2, 1]) == pytest.approx(-1)
    assert spearman([1, 1, 2], [1, 2, 3]) == pytest.approx(math.sqrt(3) / 2)


@pytest.mark.parametrize("lists", [([1, 1, 1], [1, 2, 3]), ([1, 2, 3], np.full(3, 0.1))])
def test_where_one_is_constant_there_is_none_and_no_warning(
    lists: tuple[list[int], list[int]],
) -> None:
    assert math.isnan(spearman(*lists))
