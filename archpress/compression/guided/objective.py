"""What a descent in the pretrained embedding lowers."""

import math
from collections.abc import Mapping
from dataclasses import dataclass

import torch
from torch import Tensor

from archpress.compression.budget import parameters_within
from archpress.compression.task import CompressionTask
from archpress.embedding.readout import Readout
from archpress.prediction.features import NAMES
from archpress.prediction.normal_scores import ScoredPredictor

EXCESS_WEIGHT = 0.05
"""Accuracy that a cost of twice its bound is taken to be worth."""

COLUMN = {name: NAMES.index(f"log_{name}") for name in ("parameters", "macs", "activation_bytes")}


@dataclass(frozen=True)
class GuidedObjective:
    """``L(y) = -(mean - kappa std)(R(y)) + w sum_m max(0, log2 c_m(y) - log2 b_m) + lambda p(y)``.

    R is the readout: features of the network at y, the costs c_m among them, so that cost is soft
    here; decoded networks are held to their exact costs. The last term counts only where nothing is
    bounded (section 4.4: lambda weighs the share of the input network's parameters).

    Attributes:
        readout: R.
        accuracy: Mean and standard deviation from the features.
        caution: kappa.
        bounds: Feature column -> log2 of the bound b_m.
        size_weight: lambda; 0 where anything is bounded.
        log_input_size: log2 of the input network's parameters.
    """

    readout: Readout
    accuracy: ScoredPredictor
    caution: float
    bounds: Mapping[int, float]
    size_weight: float
    log_input_size: float

    @classmethod
    def of(
        cls, task: CompressionTask, readout: Readout, accuracy: ScoredPredictor, caution: float
    ) -> "GuidedObjective":
        """Return the objective of a task."""
        weight = 0.0 if task.budget.bounds else task.budget.weight
        return cls(
            readout, accuracy, caution, _soft_bounds(task), weight,
            math.log2(task.network.cost.parameters),
        )  # fmt: skip

    def __call__(self, y: Tensor) -> Tensor:
        """Return L of embeddings ``[S, D]``, float64 ``[S]``."""
        features = self.readout(y).double()
        mean, std = self.accuracy.moments(features)
        columns = torch.tensor([*self.bounds], dtype=torch.long)
        bounds = torch.tensor([*self.bounds.values()], dtype=torch.float64)
        excess = (features[:, columns] - bounds).clamp_min(0).sum(1)
        size = torch.exp2(features[:, COLUMN["parameters"]] - self.log_input_size)
        return self.caution * std - mean + EXCESS_WEIGHT * excess + self.size_weight * size


def _soft_bounds(task: CompressionTask) -> dict[int, float]:
    """Return the bounds that features tell: of the budget, and of the space's limits."""
    limits, budget = task.space.limits, task.budget
    bounds = {
        "parameters": min(limits.max_parameters, parameters_within(budget) or math.inf),
        "macs": min(limits.max_macs, budget.macs or math.inf),
        "activation_bytes": min(limits.max_activation_bytes, budget.activation_bytes or math.inf),
    }
    return {COLUMN[name]: math.log2(bound) for name, bound in bounds.items()}
