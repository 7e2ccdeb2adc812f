"""Differences of accuracies over seeds, against intervals by hand."""

import pytest

from archpress.reporting.intervals import difference, half_interval, within_noise


@pytest.mark.parametrize(
    ("ours", "theirs", "expected"),
    [
        ([0.9], [0.1, 0.2], False),  # nothing is known
        ([0.9, 0.9], [0.9, 0.9], True),
        ([0.9, 0.9], [0.8, 0.8], False),
        ([0.90, 0.92], [0.91, 0.93], True),
        ([0.900, 0.901, 0.902], [0.800, 0.801, 0.802], False),
    ],
)
def test_noise_is_an_interval_that_holds_nothing(
    ours: list[float], theirs: list[float], expected: bool
) -> None:
    assert within_noise(ours, theirs) is expected


@pytest.mark.parametrize(
    ("ours", "theirs", "expected"),
    [
        ([0.9], [0.8, 0.7], "+15.00"),
        ([0.9, 0.9], [0.8, 0.8], "+10.00 ± 0.00"),
        ([0.90, 0.92], [0.91, 0.93], "-1.00 ± 6.08"),
    ],
)
def test_differences_are_in_points_with_half_an_interval(
    ours: list[float], theirs: list[float], expected: str
) -> None:
    """The last by hand: two samples of deviation sqrt(2), two degrees of freedom, t = 4.303."""
    assert difference(ours, theirs) == expected


def test_single_seeds_have_no_interval() -> None:
    assert half_interval([0.9], [0.8, 0.7]) is None
    assert half_interval([0.9, 0.9], [0.8, 0.8]) == 0.0
