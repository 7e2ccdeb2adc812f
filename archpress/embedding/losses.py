"""The joint training loss ``L = L_d + lambda_1 L_a + lambda_2 L_p`` (section 4.3)."""

from typing import NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor


class JointLoss(NamedTuple):
    """The loss and its terms, scalars."""

    total: Tensor
    decoder: Tensor
    accuracy: Tensor
    parameters: Tensor


def accuracy_loss(predicted: Tensor, target: Tensor) -> Tensor:
    """Return ``L_a = |a_hat - a|_1`` averaged over the ``[B]`` labelled networks.

    A target that is NaN is an architecture without a label; it does not count.
    """
    labelled = ~target.isnan()
    difference = (predicted - torch.where(labelled, target, predicted.detach())).abs()
    return difference.sum() / labelled.sum().clamp_min(1)


def parameter_loss(predicted: Tensor, target: Tensor) -> Tensor:
    """Return ``L_p``: the Huber loss with delta 1 on ``[B]`` scaled parameter counts."""
    return F.huber_loss(predicted, target, delta=1.0)


def joint_loss(
    decoder: Tensor, accuracy: Tensor, parameters: Tensor, lambda_1: float, lambda_2: float
) -> JointLoss:
    """Return ``L = L_d + lambda_1 L_a + lambda_2 L_p`` with its terms."""
    total = decoder + lambda_1 * accuracy + lambda_2 * parameters
    return JointLoss(total, decoder, accuracy, parameters)
