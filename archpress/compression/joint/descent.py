"""Gradient descent on embeddings (Algorithm 1, COMPRESS)."""

from collections.abc import Iterator
from typing import Literal, NamedTuple

import torch
from torch import Tensor

from archpress.compression.joint.objective import Objective, ObjectiveValue

StopReason = Literal["", "last step", "gradient vanished", "not finite"]


class Step(NamedTuple):
    """Where all starts stand after a number of steps.

    Attributes:
        number: Steps taken, from 0.
        embedding: y, ``[S, D]``.
        objective: L_c and predictions at y, each ``[S]``.
        stopped: Per start, why it goes no further; empty while it does.
    """

    number: int
    embedding: Tensor
    objective: ObjectiveValue
    stopped: tuple[StopReason, ...]


def descend(
    objective: Objective, starts: Tensor, steps: int, step_size: float, normalised: bool
) -> Iterator[Step]:
    """Yield the starts ``[S, D]`` and every step ``y <- y - eta dL_c/dy`` from them.

    Args:
        objective: L_c.
        starts: Embeddings to start from.
        steps: How many steps at most.
        step_size: eta; the length of a step where ``normalised``.
        normalised: Follow ``g / |g|`` in place of the gradient g.
    """
    y = starts.detach().clone()
    stopped: list[StopReason] = [""] * len(y)
    for number in range(steps + 1):
        y.requires_grad_(True)
        result = objective(y)
        (gradient,) = torch.autograd.grad(result.value.sum(), y)
        y = y.detach()
        detached = ObjectiveValue(*(value.detach() for value in result))
        norms = gradient.norm(dim=1)
        stopped = [
            reason or _reason(float(norm), number == steps)
            for reason, norm in zip(stopped, norms, strict=True)
        ]
        yield Step(number, y.clone(), detached, tuple(stopped))
        moving = torch.tensor([not reason for reason in stopped])
        if not moving.any():
            return
        move = gradient / norms[:, None].clamp_min(1e-12) if normalised else gradient
        y = torch.where(moving[:, None], y - step_size * move, y)


def _reason(norm: float, is_last: bool) -> StopReason:
    if not norm < float("inf"):
        return "not finite"
    if norm == 0:
        return "gradient vanished"
    return "last step" if is_last else ""


def mean_distance(embeddings: Tensor) -> float:
    """Return the mean distance between the embeddings ``[B, D]`` of labelled networks."""
    return float(torch.pdist(embeddings).mean()) if len(embeddings) > 1 else 1.0
