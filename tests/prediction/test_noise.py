import numpy as np
import pytest
import torch
from scipy.stats import spearmanr

from archpress.errors import EmbeddingError
from archpress.prediction.calibration import calibration
from archpress.prediction.noise import ceiling, reliability
from archpress.prediction.predictor import Prediction

RANDOM = np.random.default_rng(0)
TRUTH = RANDOM.normal(size=2_000)
NOISE = 0.6
SEEDS = TRUTH[:, None] + NOISE * RANDOM.normal(size=(2_000, 3))


def rank_correlation(pearson: float) -> float:
    """Return Spearman's correlation of normal variables with this correlation."""
    return 6 / np.pi * float(np.arcsin(pearson / 2))


@pytest.mark.parametrize("seeds", [1, 3])
def test_the_ceiling_is_what_the_truth_itself_would_reach(seeds: int) -> None:
    found = ceiling(SEEDS, seeds, torch.Generator().manual_seed(0))
    kept = 1 / (1 + NOISE**2 / seeds)
    assert found.mean == pytest.approx(rank_correlation(kept**0.5), abs=0.01)
    assert found.reliability == pytest.approx(rank_correlation(kept), abs=0.015)
    labels = SEEDS[:, :seeds].mean(1)
    assert found.mean == pytest.approx(float(spearmanr(TRUTH, labels).statistic), abs=0.015)
    assert 0 < found.std < 0.02


def test_reliability_is_the_correlation_with_fresh_seeds() -> None:
    fresh = TRUTH[:, None] + NOISE * RANDOM.normal(size=(2_000, 3))
    again = float(spearmanr(SEEDS.mean(1), fresh.mean(1)).statistic)
    assert reliability(SEEDS) == pytest.approx(again, abs=0.02)
    assert reliability(SEEDS[:, :2]) < reliability(SEEDS)


def test_without_noise_everything_can_be_had() -> None:
    same = np.repeat(TRUTH[:50, None], 4, 1)
    assert reliability(same) == pytest.approx(1)
    assert ceiling(same, 1, torch.Generator()).mean == pytest.approx(1)


def test_pure_noise_has_no_ceiling_to_speak_of() -> None:
    found = ceiling(RANDOM.normal(size=(500, 4)), 4, torch.Generator().manual_seed(0))
    assert found.reliability < 0.3


@pytest.mark.parametrize("shape", [(5, 1), (2, 3), (5,)])
def test_one_seed_shows_no_noise(shape: tuple[int, ...]) -> None:
    with pytest.raises(EmbeddingError, match="2 seeds each"):
        reliability(np.zeros(shape))


def test_calibration_of_a_right_and_a_narrow_spread() -> None:
    labels = RANDOM.normal(size=4_000)
    right = calibration(Prediction(np.zeros(4_000), np.ones(4_000)), labels, (0.5, 0.9))
    assert right.coverage == pytest.approx({0.5: 0.5, 0.9: 0.9}, abs=0.02)
    assert right.rms_standardised == pytest.approx(1, abs=0.03)
    assert right.negative_log_likelihood == pytest.approx(0.5 * np.log(2 * np.pi * np.e), abs=0.03)
    narrow = calibration(Prediction(np.zeros(4_000), np.full(4_000, 0.5)), labels)
    assert narrow.coverage[0.9] < 0.65
    assert narrow.negative_log_likelihood > right.negative_log_likelihood
