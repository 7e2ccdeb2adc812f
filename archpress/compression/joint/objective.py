"""The compression objective L_c on embeddings (section 4.4)."""

from dataclasses import dataclass
from typing import NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor

from archpress.embedding.model import Embedding


class ObjectiveValue(NamedTuple):
    """L_c and the predictions behind it, each ``[S]``."""

    value: Tensor
    accuracy: Tensor
    parameters: Tensor


@dataclass(frozen=True)
class Objective:
    """``L_c(y) = |f_a(y) - a_0| + lambda L_p(f_p(y), p_0)``, to be descended (decision R1).

    Attributes:
        embedding: Gives f_a and f_p.
        accuracy: a_0 in [0, 1].
        parameters: p_0 as a count; 0 is the paper's default.
        weight: lambda.
    """

    embedding: Embedding
    accuracy: float
    parameters: int
    weight: float

    def __call__(self, y: Tensor) -> ObjectiveValue:
        """Return L_c, a_hat and p_hat (scale of the parameter target) of embeddings ``[S, D]``."""
        accuracy = self.embedding.accuracy_regressor(y)
        parameters = self.embedding.parameter_regressor(y)
        return ObjectiveValue(self.combine(accuracy, parameters), accuracy, parameters)

    def combine(self, accuracy: Tensor, parameters: Tensor) -> Tensor:
        """Return L_c of accuracies ``[S]`` and scaled parameter counts ``[S]``."""
        wanted = self.embedding.parameter_target.of(torch.tensor(self.parameters)).to(parameters)
        size = F.huber_loss(parameters, wanted.expand_as(parameters), delta=1.0, reduction="none")
        return (accuracy - self.accuracy).abs() + self.weight * size
