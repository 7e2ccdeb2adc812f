"""The accuracy and parameter regressors f_a and f_p on the embedding (section 4.2)."""

from dataclasses import dataclass
from itertools import pairwise

import torch
from torch import Tensor, nn


class Regressor(nn.Module):
    """Three fully connected ReLU blocks, a linear output and its activation: ``[B, D]`` to ``[B]``.

    Args:
        size: D.
        hidden: Width of the blocks.
        output: ``Sigmoid`` for accuracy; ``ReLU`` (paper) or ``Identity`` (R2) for parameters.
    """

    def __init__(self, size: int, hidden: int, output: nn.Module) -> None:
        super().__init__()
        widths = (size, hidden, hidden, hidden)
        blocks: list[nn.Module] = []
        for inputs, outputs in pairwise(widths):
            blocks += [nn.Linear(inputs, outputs), nn.ReLU()]
        self.blocks = nn.Sequential(*blocks)
        self.last = nn.Linear(hidden, 1)
        self.output = output

    def forward(self, y: Tensor) -> Tensor:
        """Return the predictions ``[B]``."""
        prediction: Tensor = self.output(self.last(self.blocks(y))).squeeze(-1)
        return prediction

    def start_at(self, value: float) -> None:
        """Set the last bias, so that training starts at the mean target and a ReLU output alive."""
        with torch.no_grad():
            self.last.bias.fill_(value)


@dataclass(frozen=True)
class ParameterTarget:
    """The scale on which f_p predicts (decision R2).

    Attributes:
        logarithmic: Whether the target is ``log10 p`` (default) or ``p / sigma`` (paper).
        sigma: Standard deviation of the parameter counts that were learned from.
    """

    logarithmic: bool
    sigma: float

    def of(self, parameters: Tensor) -> Tensor:
        """Return the target of parameter counts, same shape, float32."""
        parameters = parameters.float()
        return parameters.clamp_min(1).log10() if self.logarithmic else parameters / self.sigma

    def parameters(self, target: Tensor) -> Tensor:
        """Return the parameter counts of targets: the inverse of :meth:`of`."""
        return 10**target if self.logarithmic else target * self.sigma
