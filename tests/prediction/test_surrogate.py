"""What labels say of networks without one."""

import json

import numpy as np
import pytest

from archpress.errors import EmbeddingError
from archpress.prediction.description import describe
from archpress.prediction.surrogate import Surrogate
from tests.compression.guided.fitted import accuracies, sampled

KNOWN, ASKED = sampled()[:24], sampled()[24:60]


@pytest.fixture(scope="module")
def surrogate() -> Surrogate:
    return Surrogate.fit(KNOWN, accuracies(KNOWN).tolist(), 0)


def test_networks_without_a_label_are_ranked(surrogate: Surrogate) -> None:
    expected = surrogate.lower_bounds(ASKED, 0.0)
    assert np.corrcoef(expected, accuracies(ASKED))[0, 1] > 0.7


def test_a_lower_bound_is_the_mean_less_so_many_deviations(surrogate: Surrogate) -> None:
    mean, std = surrogate.judge.predict(describe(ASKED))
    assert (std > 0).all()
    for caution in (0.0, 0.5, 2.0):
        expected = mean - caution * std
        assert surrogate.lower_bounds(ASKED, caution) == pytest.approx(expected)


def test_no_networks_have_no_bounds(surrogate: Surrogate) -> None:
    assert surrogate.lower_bounds([], 0.5).shape == (0,)


def test_what_has_slopes_reads_the_summary_alone(surrogate: Surrogate) -> None:
    mean, _ = surrogate.slopes.predict(describe(ASKED).only("summary"))
    assert np.corrcoef(mean, accuracies(ASKED))[0, 1] > 0.7


def test_the_record_says_how_well_unseen_labels_are_told(surrogate: Surrogate) -> None:
    record = json.loads(json.dumps(surrogate.to_json()))
    assert record["labels"] == 24
    assert list(record["rank_correlation"]) == list(record["weights"])
    assert sum(record["weights"].values()) == pytest.approx(1)
    assert max(record["rank_correlation"].values()) > 0.5
    assert record["spread_scale"] > 0


def test_equal_labels_tell_nothing_and_break_nothing() -> None:
    surrogate = Surrogate.fit(KNOWN[:8], [0.5] * 8, 0)
    assert surrogate.lower_bounds(ASKED, 0.5) == pytest.approx(0.5, abs=1e-6)
    assert set(surrogate.to_json()["rank_correlation"].values()) == {0.0}


def test_too_few_labels_are_refused() -> None:
    with pytest.raises(EmbeddingError, match="too few to learn from"):
        Surrogate.fit(KNOWN[:3], [0.1, 0.2, 0.3], 0)
