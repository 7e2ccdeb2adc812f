"""Whether a spread is honest: how often the truth lies within it."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike
from scipy.special import ndtri

from archpress.prediction.predictor import Prediction


@dataclass(frozen=True)
class Calibration:
    """Errors against the spread that was stated.

    Attributes:
        coverage: Share of labels within the central interval of each stated share.
        rms_standardised: Root mean square of error over spread; 1 where the spread is right.
        negative_log_likelihood: Of a label, in nats, normal errors assumed.
    """

    coverage: dict[float, float]
    rms_standardised: float
    negative_log_likelihood: float


def calibration(
    prediction: Prediction, labels: ArrayLike, shares: tuple[float, ...] = (0.5, 0.9)
) -> Calibration:
    """Return how the stated spread of ``B`` predictions fits their errors on labels ``[B]``."""
    errors = (np.asarray(labels, np.float64) - prediction.mean) / prediction.std
    within = {share: float(np.mean(np.abs(errors) < ndtri((1 + share) / 2))) for share in shares}
    likelihood = 0.5 * errors**2 + np.log(prediction.std) + 0.5 * np.log(2 * np.pi)
    return Calibration(within, float(np.sqrt(np.mean(errors**2))), float(likelihood.mean()))
