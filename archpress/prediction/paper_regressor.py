"""The paper's accuracy regressor (section 4.2) on the vectors of a network: what to beat."""

from dataclasses import dataclass, field
from itertools import pairwise

import numpy as np
import torch
from torch import Tensor, nn

from archpress.prediction.description import Matrix
from archpress.prediction.fold_ensemble import FoldEnsemble
from archpress.prediction.predictor import Vector


def paper_regressor() -> FoldEnsemble:
    """Return five of the paper's regressors, each without a fifth of the labels."""
    return FoldEnsemble(PaperRegressor, count=5)


@dataclass
class PaperRegressor:
    """Three fully connected ReLU blocks and a sigmoid, by Adam on absolute error.

    Attributes:
        seed: Of the initial weights.
        hidden: Width of the blocks.
        steps: Of Adam, on all labels at once.
        learning_rate: Its constant.
    """

    seed: int
    hidden: int = 128
    steps: int = 300
    learning_rate: float = 1e-3
    centre: Vector = field(default_factory=lambda: np.zeros(0), init=False)
    deviation: Vector = field(default_factory=lambda: np.ones(0), init=False)
    network: nn.Sequential = field(default_factory=nn.Sequential, init=False)

    def fit(self, columns: Matrix, labels: Vector) -> "PaperRegressor":
        """Learn from columns ``[N, K]`` and accuracies ``[N]`` in [0, 1]."""
        self.centre, self.deviation = columns.mean(0), columns.std(0)
        self.network = self._initial(columns.shape[1])
        inputs, target = self._scaled(columns), torch.from_numpy(labels).float()
        optimiser = torch.optim.Adam(self.network.parameters(), self.learning_rate)
        for _ in range(self.steps):
            loss = (self.network(inputs).squeeze(1) - target).abs().mean()
            optimiser.zero_grad()
            loss.backward()
            optimiser.step()
        return self

    @torch.no_grad()
    def predict(self, columns: Matrix) -> Vector:
        """Return accuracies ``[B]`` of columns ``[B, K]``."""
        predicted: Vector = self.network(self._scaled(columns)).squeeze(1).double().numpy()
        return predicted

    def _initial(self, inputs: int) -> nn.Sequential:
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(self.seed)
            widths = (inputs, self.hidden, self.hidden, self.hidden)
            blocks = [nn.Sequential(nn.Linear(a, b), nn.ReLU()) for a, b in pairwise(widths)]
            return nn.Sequential(*blocks, nn.Linear(self.hidden, 1), nn.Sigmoid())

    def _scaled(self, columns: Matrix) -> Tensor:
        varies = self.deviation > 0
        scaled = (columns - self.centre) / np.where(varies, self.deviation, 1) * varies
        return torch.from_numpy(scaled).float()
