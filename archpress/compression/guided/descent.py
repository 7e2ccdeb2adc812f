"""Descent in the pretrained embedding: step, decode, fit to the budget, judge, go on.

A step is tried in several lengths along the gradient, up to the radius of a trust region; each
place is decoded, and what it decodes to is judged as a network, not as a place. A start moves to
the best of them if that is better than where it stands, and goes on from that network's own
embedding; else its radius is halved. So no step is taken on the word of the embedding alone.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from archpress.architectures.architecture import Architecture
from archpress.architectures.simplification import simplify
from archpress.compression.drawing import Admit
from archpress.embedding.autoencoder import Autoencoder
from archpress.embedding.readout import decode, encode

LENGTHS = (1 / 12, 1 / 6, 1 / 4, 1 / 3, 1 / 2, 2 / 3, 1.0)
"""Shares of the radius that a step is tried with."""

LEAST_RADIUS = 0.1
"""A start whose radius falls below this share of the first one has nowhere to go."""

Loss = Callable[[Tensor], Tensor]
Judge = Callable[[Sequence[Architecture]], NDArray[np.float64]]


@dataclass(frozen=True)
class Visit:
    """A network that a descent came upon.

    Attributes:
        network: As decoded, simplified and made to fit.
        start: Number of the start.
        step: Number of the step, from 1.
        length: Length of the step as a share of that of y.
        value: What the judge says of the network; higher is better.
    """

    network: Architecture
    start: int
    step: int
    length: float
    value: float


@dataclass
class Descent:
    """Where the starts stand, and all they came upon.

    Attributes:
        first: What the judge says of the starts.
        networks: Where each start stands.
        values: What the judge says of that.
        stopped: Why each start went no further.
        visits: Every distinct network on the way, in order.
    """

    first: NDArray[np.float64]
    networks: list[Architecture]
    values: NDArray[np.float64]
    stopped: list[str] = field(default_factory=list)
    visits: list[Visit] = field(default_factory=list)


def descend(
    model: Autoencoder,
    loss: Loss,
    starts: Sequence[Architecture],
    judge: Judge,
    admit: Admit,
    steps: int,
    reach: float,
) -> Descent:
    """Return the descents from all starts, side by side.

    Args:
        model: Encodes and decodes.
        loss: Embeddings ``[S, D]`` to what is to be lowered, ``[S]``, with slopes.
        starts: Networks of one task that the embedding can express.
        judge: Networks to what they are worth.
        admit: Makes a decoded network fit, or returns None.
        steps: Most steps.
        reach: First radius, as a share of the length of y.
    """
    values = judge(starts)
    found = Descent(values, list(starts), values.copy(), [""] * len(starts))
    radius = [reach] * len(starts)
    seen = set(starts)
    for step in range(1, steps + 1):
        moving = [index for index, reason in enumerate(found.stopped) if not reason]
        if not moving:
            break
        visits = _tried(model, loss, found, moving, radius, step)
        visits = _distinct(visits, admit, seen)
        values = judge([visit.network for visit in visits])
        visits = [
            Visit(v.network, v.start, v.step, v.length, float(value))
            for v, value in zip(visits, values, strict=True)
        ]
        found.visits += visits
        for index in moving:
            own = [visit for visit in visits if visit.start == index]
            best = max(own, key=lambda visit: visit.value, default=None)
            if best is not None and best.value > found.values[index]:
                found.networks[index], found.values[index] = best.network, best.value
                continue
            radius[index] /= 2
            if radius[index] < LEAST_RADIUS * reach:
                found.stopped[index] = "no better network within the least radius"
    found.stopped = [reason or "last step" for reason in found.stopped]
    return found


def _tried(
    model: Autoencoder,
    loss: Loss,
    found: Descent,
    moving: Sequence[int],
    radius: Sequence[float],
    step: int,
) -> list[Visit]:
    """Return what every length of a step along the gradient decodes to."""
    y = encode(model, [found.networks[index] for index in moving])
    direction = direction_of(loss, y)
    task = found.networks[0].input_shape, found.networks[0].classes
    sizes = [[share * radius[index] for share in LENGTHS] for index in moving]
    lengths = torch.tensor(sizes)
    places = y[:, None] + lengths[..., None] * y.norm(dim=1)[:, None, None] * direction[:, None]
    decoded = decode(model, places.flatten(0, 1), *task)
    tried = [(index, length) for index, row in zip(moving, sizes, strict=True) for length in row]
    return [
        Visit(network, index, step, length, 0.0)
        for network, (index, length) in zip(decoded, tried, strict=True)
    ]


def direction_of(loss: Loss, y: Tensor) -> Tensor:
    """Return unit vectors ``[S, D]`` down the slope, zero where y is: there is no network there."""
    y = y.detach().requires_grad_(True)
    (gradient,) = torch.autograd.grad(loss(y).sum(), y)
    gradient = gradient.nan_to_num(0.0) * (y != 0)
    unit: Tensor = -gradient / gradient.norm(dim=1, keepdim=True).clamp_min(1e-12)
    return unit


def _distinct(visits: Sequence[Visit], admit: Admit, seen: set[Architecture]) -> list[Visit]:
    """Return the visits whose network, made to fit, was not ``seen``; those are added to it."""
    new = []
    for visit in visits:
        network = admit(simplify(visit.network))
        if network is not None and network not in seen:
            seen.add(network)
            new.append(Visit(network, visit.start, visit.step, visit.length, visit.value))
    return new
