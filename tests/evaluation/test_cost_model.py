"""The cost model: predicted seconds against known ones, operations against a count by hand."""

import math
import time
from dataclasses import replace

import numpy as np
import pytest
from numpy.typing import NDArray

from archpress.architectures.architecture import Architecture
from archpress.architectures.layers import BatchNorm, Convolution, Layer, Linear, ReLU
from archpress.evaluation.cost_model import REFERENCE, CostModel, probed, training_flops
from archpress.evaluation.record import Evaluation, Job
from tests.evaluation.synthetic import scored
from tests.evaluation.tiny import network, recipe

SLOW_MACHINE = CostModel(coefficients=(1.0, 9e-3, 0.05e-3, 0.2, 2.0))
MACS = 8 * 8 * 4 * 9 + 64 * 10  # of network(): a 3x3 convolution on 8x8, a Linear layer on 4x4x4


def some_job(rng: np.random.Generator) -> Job:
    block: tuple[Layer, ...] = (
        Convolution(int(rng.integers(2, 65)), 3, padding=1), BatchNorm(), ReLU(),
    )  # fmt: skip
    side = int(rng.choice([8, 16, 28]))
    blocks = int(rng.integers(1, 9))
    architecture = Architecture((3, side, side), (*(block * blocks), Linear(10)))
    by = recipe(
        epochs=int(rng.integers(1, 6)), batch_size=int(rng.choice([32, 64, 128])),
        images=int(rng.integers(1_000, 20_000)),
    )  # fmt: skip
    return Job(architecture, by, 0, "data")


def runs_on(
    machine: CostModel, count: int, noise: float = 0.2, seed: int = 0
) -> tuple[list[Evaluation], NDArray[np.float64]]:
    """Runs whose seconds are the machine's, within some noise; and the seconds without it."""
    rng = np.random.default_rng(seed)
    jobs = [some_job(rng) for _ in range(count)]
    true = np.array([seconds(machine, job) for job in jobs])
    noisy = true * np.exp(noise * rng.standard_normal(count))
    runs = [
        scored(job, 0.5, seconds=float(s), images=job.recipe.images)
        for job, s in zip(jobs, noisy, strict=True)
    ]
    return runs, true


def seconds(model: CostModel, job: Job | Evaluation) -> float:
    return model.seconds(job.architecture, job.recipe, job.recipe.images or 0)


def error(model: CostModel, runs: list[Evaluation], true: NDArray[np.float64]) -> float:
    """Root mean square of the logarithm of predicted over true seconds."""
    predicted = np.array([seconds(model, run) for run in runs])
    return float(np.sqrt(np.mean(np.log(predicted / true) ** 2)))


def test_a_refitted_model_predicts_other_jobs_within_the_noise_of_those_it_was_fitted_to() -> None:
    runs, _ = runs_on(SLOW_MACHINE, 200, seed=1)
    others, true = runs_on(SLOW_MACHINE, 100, seed=2)
    model = CostModel().refitted(runs)
    assert error(model, others, true) < 0.15 < 1 < error(CostModel(), others, true)
    assert model.fitted_to == 200
    assert math.log(model.spread) == pytest.approx(0.2, rel=0.2)


@pytest.mark.parametrize("pace", [0.25, 1, 10])
def test_eight_jobs_are_enough_to_know_the_pace_of_a_machine(pace: float) -> None:
    machine = CostModel(tuple(pace * c for c in REFERENCE))
    others, true = runs_on(machine, 100, seed=2)
    for seed in range(3, 6):
        model = CostModel().refitted(runs_on(machine, 8, seed=seed)[0])
        assert error(model, others, true) < 0.5


def test_exact_seconds_give_the_coefficients_back() -> None:
    runs, _ = runs_on(SLOW_MACHINE, 1_000, noise=0)
    model = CostModel().refitted(runs)
    for found, true in zip(model.coefficients, SLOW_MACHINE.coefficients, strict=True):
        assert found == pytest.approx(true, rel=0.05) or true == min(SLOW_MACHINE.coefficients)
    assert model.spread < 1.02


def test_no_coefficient_becomes_negative() -> None:
    rng = np.random.default_rng(0)
    runs = [
        replace(run, seconds=float(rng.uniform(0.01, 9))) for run in runs_on(CostModel(), 50)[0]
    ]
    model = CostModel().refitted(runs)
    assert min(model.coefficients) >= 0
    assert math.isfinite(model.spread)


@pytest.mark.parametrize("only", [0, 3])
def test_a_coefficient_that_became_nothing_can_come_back(only: int) -> None:
    machine = CostModel(tuple(float(place == only) for place in range(5)))
    bent = CostModel().refitted(runs_on(machine, 1_000, noise=0)[0])
    assert bent.coefficients[1] < 0.1 * REFERENCE[1]
    again = bent.refitted(runs_on(SLOW_MACHINE, 500, noise=0)[0])
    others, true = runs_on(SLOW_MACHINE, 100, seed=2)
    assert error(again, others, true) < 0.2


def test_fewer_than_eight_jobs_and_failed_ones_change_nothing() -> None:
    runs, _ = runs_on(SLOW_MACHINE, 20)
    failed = [replace(run, status="timed_out", seconds=1e6) for run in runs[8:]]
    unknown = [replace(run, seconds=0.0) for run in runs[8:]]
    assert CostModel().refitted([]) == CostModel()
    assert CostModel().refitted(runs[:7] + failed + unknown) == CostModel()
    assert CostModel().refitted(runs[:8] + failed + unknown) == CostModel().refitted(runs[:8])
    assert CostModel().refitted(runs[:8]).fitted_to == 8


def test_records_that_do_not_say_how_many_images_they_saw_are_left_out() -> None:
    runs, _ = runs_on(SLOW_MACHINE, 20)
    unknown = [replace(run, images=0) for run in runs[8:]]
    assert CostModel().refitted(runs[:8] + unknown) == CostModel().refitted(runs[:8])


def test_seconds_by_hand() -> None:
    model = CostModel((1.0, 10.0, 100.0, 1e9, 1e10))
    by = recipe(epochs=2, batch_size=16, images=100)
    elements = 64 + 3 * 256 + 64 + 10  # the image; three layers of four maps; the pool; the logits
    expected = 1 + 12 * 10 + 12 * 5 * 100 + 192 * MACS + 10 * 192 * elements
    assert model.seconds(network(), by, 1_000) == pytest.approx(expected)


def test_a_probe_scales_all_coefficients_by_one_factor_in_a_moment() -> None:
    start = time.thread_time()
    model = probed("float32")
    assert time.thread_time() - start < 3
    factors = [c / r for c, r in zip(model.coefficients, REFERENCE, strict=True)]
    assert factors == pytest.approx([factors[0]] * 5)
    assert 0 < factors[0] < math.inf
    assert model.fitted_to == 0


def test_a_probe_finds_a_model_that_is_wrong_by_a_factor() -> None:
    wrong = CostModel(tuple(50 * c for c in REFERENCE))
    factors = [probed("float32", model).coefficients[1] for model in (CostModel(), wrong)]
    assert 1 / 4 < factors[0] / factors[1] < 4  # what both come to is this machine's pace


@pytest.mark.parametrize(
    "changes, images, passed",
    [
        ({"epochs": 3, "batch_size": 16, "images": None}, 1_000, 3 * 992),
        ({"epochs": 3, "batch_size": 16, "images": 100}, 1_000, 3 * 96),
        ({"epochs": 3, "batch_size": 16, "images": 100}, 70, 3 * 64),
        ({"epochs": 2, "batch_size": 64, "images": None}, 10, 2 * 10),
    ],
)
def test_operations_are_six_per_mac_of_every_image_that_is_passed(
    changes: dict[str, int | None], images: int, passed: int
) -> None:
    assert training_flops(network(), recipe(**changes), images) == 2 * 3 * MACS * passed
