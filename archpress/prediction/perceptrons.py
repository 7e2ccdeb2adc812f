"""Many small networks that regress at once: one batched product per layer trains them all.

Each leaves a fold of the labels out, as in `fold_ensemble`. Noise on the scaled columns is what
keeps them from learning few labels by heart.
"""

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import pairwise

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import ArrayLike
from torch import Tensor

from archpress.prediction.cross_validation import folds
from archpress.prediction.description import Description
from archpress.prediction.fold_ensemble import held_out_mean, noise_variance, spread
from archpress.prediction.predictor import Prediction, checked
from archpress.prediction.scaling import Scaling

Activation = Callable[[Tensor], Tensor]


@dataclass(frozen=True)
class Perceptrons:
    """The method: an ensemble of multilayer perceptrons, by default made for few labels.

    Attributes:
        per_fold: Members that leave the same fold out.
        hidden: Widths of the hidden layers.
        activation: Between layers.
        steps: Of Adam, on all labels at once.
        learning_rate: Its peak, in one cycle.
        jitter: Standard deviation of the noise on scaled columns, anew in every step.
    """

    per_fold: int = 2
    hidden: tuple[int, ...] = (32, 32)
    activation: Activation = F.silu
    steps: int = 150
    learning_rate: float = 1e-2
    jitter: float = 0.5

    def fit(
        self, networks: Description, labels: ArrayLike, generator: torch.Generator
    ) -> "FittedPerceptrons":
        """Learn from ``N`` networks and their labels ``[N]``.

        Raises:
            EmbeddingError: Labels that nothing can be learned from.
        """
        values = checked(networks, labels)
        fold = folds(len(values), generator)
        left_out = np.repeat(fold == np.unique(fold)[:, None], self.per_fold, axis=0)
        scaling = Scaling.of(networks)
        columns = scaling(torch.from_numpy(networks.values)).float()
        centre, deviation = float(values.mean()), max(float(values.std()), 1e-12)
        target = torch.from_numpy((values - centre) / deviation).float()
        sizes = (columns.shape[1], *self.hidden, 1)
        layers = _initial(len(left_out), sizes, generator)
        self._train(layers, columns, target, torch.from_numpy(~left_out).float(), generator)
        forward = Forward(scaling, layers, self.activation, (centre, deviation))
        members = forward(torch.from_numpy(networks.values)).numpy()
        noise = noise_variance(members, left_out, values)
        mean = held_out_mean(members, left_out)
        return FittedPerceptrons(forward, noise, Prediction(mean, spread(members, noise)))

    def _train(
        self,
        layers: "Layers",
        columns: Tensor,
        target: Tensor,
        seen: Tensor,
        generator: torch.Generator,
    ) -> None:
        """Fit every member to the labels that it may see, ``[M, N]``, in place."""
        parameters = [tensor.requires_grad_() for layer in layers for tensor in layer]
        optimiser = torch.optim.Adam(parameters, self.learning_rate)
        cycle = torch.optim.lr_scheduler.OneCycleLR(
            optimiser, self.learning_rate, total_steps=self.steps
        )
        share = seen / seen.sum(1, keepdim=True)
        for _ in range(self.steps):
            noise = torch.randn((len(seen), *columns.shape), generator=generator)
            outputs = _outputs(layers, columns + self.jitter * noise, self.activation)
            loss = (share * (outputs - target).square()).sum()
            optimiser.zero_grad()
            loss.backward()
            optimiser.step()
            cycle.step()
        for parameter in parameters:
            parameter.requires_grad_(False)


Layers = Sequence[tuple[Tensor, Tensor]]
"""Weights ``[M, in, out]`` and biases ``[M, 1, out]`` of ``M`` members, layer by layer."""


def _initial(members: int, sizes: Sequence[int], generator: torch.Generator) -> Layers:
    """Return He's initial weights; the last layer is small, so that members start at the mean."""
    layers: list[tuple[Tensor, Tensor]] = []
    for inputs, outputs in pairwise(sizes):
        weights = torch.randn(members, inputs, outputs, generator=generator)
        weights *= math.sqrt(2 / inputs) if len(layers) < len(sizes) - 2 else 0.1 / inputs**0.5
        layers.append((weights, torch.zeros(members, 1, outputs)))
    return layers


def _outputs(layers: Layers, columns: Tensor, activation: Activation) -> Tensor:
    """Return what members say, ``[M, B]``, of columns ``[M, B, K]``."""
    values = columns
    for place, (weights, bias) in enumerate(layers):
        values = torch.baddbmm(bias, activation(values) if place else values, weights)
    return values.squeeze(-1)


@dataclass(frozen=True)
class Forward:
    """The members' way from columns to labels.

    Attributes:
        scaling: How columns are read.
        layers: The members' weights.
        activation: Between layers.
        label_scale: Centre and spread of the labels.
    """

    scaling: Scaling
    layers: Layers
    activation: Activation
    label_scale: tuple[float, float]

    def __call__(self, values: Tensor) -> Tensor:
        """Return each member's label, float64 ``[M, B]``, for columns ``[B, K]``."""
        columns = self.scaling(values).float().expand(len(self.layers[0][0]), -1, -1)
        centre, deviation = self.label_scale
        return centre + deviation * _outputs(self.layers, columns, self.activation).double()


@dataclass(frozen=True)
class FittedPerceptrons:
    """What the method has learned.

    Attributes:
        forward: The members.
        noise: Variance of a label that the members' disagreement does not show.
        held_out: Predictions of those that had not seen the label, ``[N]``.
    """

    forward: Forward
    noise: float
    held_out: Prediction

    def moments(self, values: Tensor) -> tuple[Tensor, Tensor]:
        """Return mean and standard deviation, ``[B]`` each, of columns ``[B, K]``, with slopes."""
        members = self.forward(values)
        return members.mean(0), (members.var(0, correction=0) + self.noise).sqrt()

    @torch.no_grad()
    def predict(self, networks: Description) -> Prediction:
        """Return the prediction for ``B`` networks."""
        mean, std = self.moments(torch.from_numpy(networks.values))
        return Prediction(mean.numpy(), std.numpy())
