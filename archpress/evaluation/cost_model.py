"""What training costs, before it is done: seconds, and floating-point operations."""

import math
import time
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace

import numpy as np
import torch
from numpy.typing import NDArray

from archpress.architectures.architecture import Architecture
from archpress.architectures.layers import BatchNorm, Convolution, Layer, Linear, ReLU
from archpress.evaluation.record import Evaluation
from archpress.training.machine import one_thread
from archpress.training.precision import Precision
from archpress.training.recipe import TrainingRecipe

PASSES = 3
"""A training step costs about three forward passes: its backward pass has two products for one."""
PRIOR_WEIGHT = 0.1
FEWEST_JOBS = 8
MOST_JOBS = 2_000
# Seconds per job; then per step: in itself, per layer, per 1e9 MACs, per 1e9 activation elements.
# One core of an AMD EPYC virtual machine, bfloat16, rounded from a fit to some 300 labels.
REFERENCE = (0.15, 1.5e-3, 0.2e-3, 0.02, 1.5)


@dataclass(frozen=True)
class CostModel:
    """Predicts the seconds of a job on one worker.

    Linear in five features: the job itself, its steps, its steps times layers, its multiply-
    accumulates, and the elements of its activations. Arithmetic alone predicts small networks
    badly, whose time goes into memory and into calls.

    Attributes:
        coefficients: Seconds per unit of each feature, all positive.
        spread: Typical error as a factor: two thirds of jobs are within it. 1.0 where unknown.
        fitted_to: Jobs that it was fitted to.
    """

    coefficients: tuple[float, ...] = REFERENCE
    spread: float = 2.0
    fitted_to: int = 0

    def seconds(self, architecture: Architecture, recipe: TrainingRecipe, images: int) -> float:
        """Return the predicted seconds of one run that trains on ``images`` images per epoch."""
        return float(_features(architecture, recipe, images) @ np.array(self.coefficients))

    def refitted(self, evaluations: Iterable[Evaluation]) -> "CostModel":
        """Return a model of finished jobs, with this one as what is known before them.

        Least squares of logarithms, of seconds and of coefficients against this model's, which
        so weighs as much as a few jobs. Fewer than eight jobs change nothing.
        """
        jobs = [e for e in evaluations if e.status == "ok" and e.seconds > 0 and e.images > 0]
        jobs = jobs[-MOST_JOBS:]
        if len(jobs) < FEWEST_JOBS:
            return self
        features = np.array([_features(e.architecture, e.recipe, e.images) for e in jobs])
        seconds = np.array([e.seconds for e in jobs])
        coefficients = _fit(features / seconds[:, None], np.array(self.coefficients))
        errors = np.log(features @ coefficients / seconds)
        spread = math.exp(float(np.sqrt(np.mean(errors**2))))
        return CostModel(tuple(coefficients.tolist()), spread, len(jobs))


def _features(
    architecture: Architecture, recipe: TrainingRecipe, images: int
) -> NDArray[np.float64]:
    used = min(images, recipe.images or images)
    batch = min(recipe.batch_size, used)
    steps = recipe.epochs * (used // batch)
    passed = steps * batch / 1e9
    elements = sum(math.prod(shape) for shape in architecture.shapes)
    layers = len(architecture.layers)
    macs = architecture.cost.macs
    return np.array([1.0, steps, steps * layers, passed * macs, passed * elements])


def _fit(relative: NDArray[np.float64], prior: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return coefficients c > 0 that minimise |log(relative c)|^2 + w |log(c / prior)|^2."""
    from scipy.optimize import least_squares

    scaled, weight = relative * prior, math.sqrt(PRIOR_WEIGHT)

    def residuals(change: NDArray[np.float64]) -> NDArray[np.float64]:
        return np.concatenate([np.log(scaled @ np.exp(change)), weight * change])

    def slopes(change: NDArray[np.float64]) -> NDArray[np.float64]:
        parts = scaled * np.exp(change)
        return np.vstack([parts / parts.sum(1, keepdims=True), weight * np.eye(len(prior))])

    found = least_squares(residuals, np.zeros(len(prior)), slopes, method="lm")
    fitted: NDArray[np.float64] = prior * np.exp(found.x)
    return fitted


def training_flops(architecture: Architecture, recipe: TrainingRecipe, images: int) -> float:
    """Return the floating-point operations of one run: two per MAC, three passes per image."""
    used = min(images, recipe.images or images)
    batch = min(recipe.batch_size, used)
    return 2.0 * PASSES * architecture.cost.macs * recipe.epochs * (used // batch) * batch


# ------------------------------------------------------------------ a probe of this machine

PROBE_STEPS = 3
PROBE_BATCH = 64


def probed(precision: Precision, model: CostModel | None = None) -> CostModel:
    """Return the model scaled to this machine by training three networks for a moment (0.3 s)."""
    model = model or CostModel()
    with one_thread():
        ratios = [_measured_over_predicted(n, precision, model) for n in _probe_networks()]
    factor = math.exp(sum(map(math.log, ratios)) / len(ratios))
    return replace(model, coefficients=tuple(c * factor for c in model.coefficients))


def _probe_networks() -> Sequence[Architecture]:
    def stack(width: int, blocks: int, side: int) -> Architecture:
        block: tuple[Layer, ...] = (Convolution(width, 3, padding=1), BatchNorm(), ReLU())
        return Architecture((3, side, side), (*(block * blocks), Linear(10)))

    return stack(8, 1, 8), stack(16, 4, 16), stack(48, 2, 16)


def _measured_over_predicted(
    network: Architecture, precision: Precision, model: CostModel
) -> float:
    from archpress.architectures.building import build
    from archpress.training.acceleration import Accelerated

    module = build(network, seed=0)
    forward = Accelerated(module, precision)
    images = torch.zeros(PROBE_BATCH, *network.input_shape)
    seconds = []
    for _ in range(PROBE_STEPS + 1):
        start = time.thread_time()
        forward(images.contiguous(memory_format=torch.channels_last)).float().sum().backward()
        seconds.append(time.thread_time() - start)
    recipe = TrainingRecipe(name="probe", epochs=1, batch_size=PROBE_BATCH, learning_rate=1.0)
    predicted = model.seconds(network, recipe, PROBE_BATCH) - model.coefficients[0]
    return sorted(seconds[1:])[PROBE_STEPS // 2] / predicted
