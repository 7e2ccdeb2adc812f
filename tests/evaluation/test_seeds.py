"""More initialisations: where they go, and why, counted a second time by simulation."""

import hashlib
import statistics

import numpy as np
import pytest

from archpress.architectures.architecture import Architecture
from archpress.evaluation.archive import Archive
from archpress.evaluation.executors import InProcess
from archpress.evaluation.record import Evaluation, Job, Label
from archpress.evaluation.seeds import deviation, gains, sharpen
from tests.evaluation.synthetic import Synthetic, scored
from tests.evaluation.tiny import digits, network, recipe, without_seconds

NOISE = 0.02


def runs(width: int, *accuracies: float | None) -> Label:
    by = recipe()
    return Label.of(
        [
            scored(Job(network(width), by, seed, "data"), accuracy)
            for seed, accuracy in enumerate(accuracies)
        ]
    )


def noise(job: Job) -> float:
    """Standard normal, decided by the job."""
    number = int.from_bytes(hashlib.sha256(job.key.encode()).digest()[:4], "big")
    return float(np.random.default_rng(number).standard_normal())


def noisy(means: dict[Architecture, float]) -> Synthetic:
    return Synthetic(lambda job: scored(job, means[job.architecture] + NOISE * noise(job)))


def counts(labels: tuple[Label, ...]) -> list[int]:
    return [len(label.evaluations) for label in labels]


# ------------------------------------------------------------------ deviation and gains


def test_the_deviation_is_pooled_over_networks_with_four_runs_of_one_per_cent_before() -> None:
    first, second = [0.5, 0.6, 0.7], [0.9, 0.92]
    labels = [runs(3, *first), runs(4, *second), runs(5, 0.4), runs(6, None)]
    squares = 2 * statistics.variance(first) + statistics.variance(second)
    assert deviation(labels) == pytest.approx(((4 * 0.01**2 + squares) / (4 + 3)) ** 0.5)
    assert deviation([runs(5, 0.4)]) == deviation([]) == pytest.approx(0.01)


def test_the_deviation_of_many_runs_is_theirs() -> None:
    rng = np.random.default_rng(0)
    labels = [
        runs(3 + i % 9, *(rng.uniform(0.3, 0.9) + 0.03 * rng.standard_normal(4)))
        for i in range(200)
    ]
    assert deviation(labels) == pytest.approx(0.03, rel=0.1)


def test_gains_are_the_accuracy_that_a_simulation_saves() -> None:
    labels = [runs(3, 0.50, 0.52), runs(4, 0.52), runs(5, 0.53, 0.54, 0.55), runs(6, 0.9)]
    rng, shape = np.random.default_rng(0), (200_000, 4)
    means = np.array([label.accuracy for label in labels])
    each, sigma = np.array([len(label.values) for label in labels]), deviation(labels)
    true = means + sigma / np.sqrt(each) * rng.standard_normal(shape)
    after = (each * means + true + sigma * rng.standard_normal(shape)) / (each + 1)

    def saved(one: int, other: int) -> float:
        """By choosing between two after one more run of the first, not before."""
        ahead = true[:, one] - true[:, other]
        chosen = np.where(after[:, one] > means[other], ahead, 0)
        return float(np.mean(chosen - (ahead if means[one] > means[other] else 0)))

    simulated = [sum(saved(i, j) for j in range(4) if j != i) for i in range(4)]
    assert gains(labels) == pytest.approx(simulated, abs=4e-5)
    assert gains(labels)[1] > 1e-4 > 1e-9 > gains(labels)[3]


# ------------------------------------------------------------------ where runs go


def test_runs_go_to_networks_that_are_close_and_not_to_one_far_away() -> None:
    networks = [network(width) for width in (3, 4, 5)]
    means = dict(zip(networks, (0.80, 0.81, 0.40), strict=True))
    found = sharpen(networks, recipe(seeds=2), Archive.in_memory(), noisy(means), 8)
    close, next_to_it, far = counts(found.labels)
    assert far == 2
    assert close + next_to_it == 4 + 8
    assert min(close, next_to_it) > 3


def test_runs_go_to_the_close_ones_of_many() -> None:
    networks = [network(width) for width in range(3, 33)]
    means = {each: 0.03 * i for i, each in enumerate(networks)}
    tight = range(12, 18)
    means |= {networks[i]: 0.45 + 0.002 * i for i in tight}
    found = sharpen(networks, recipe(seeds=2), Archive.in_memory(), noisy(means), 40)
    extra = np.array(counts(found.labels)) - 2
    assert extra.sum() == 40
    assert extra[list(tight)].sum() > 15  # 8, were they spread evenly


def test_networks_that_are_exactly_equal_are_as_close_as_can_be() -> None:
    networks = [network(width) for width in range(3, 23)]
    means = {each: 0.04 * i for i, each in enumerate(networks)}
    means[networks[11]] = means[networks[10]]
    executor = Synthetic(lambda job: scored(job, means[job.architecture]))
    found = sharpen(networks, recipe(), Archive.in_memory(), executor, 8)
    extra = np.array(counts(found.labels)) - 1
    assert extra[10] > 1 < extra[11]


@pytest.mark.parametrize("count", [0, 1, 7, 8, 9, 21])
def test_exactly_so_many_runs_are_added(count: int) -> None:
    networks = [network(width) for width in range(3, 13)]
    means = {each: 0.5 + 0.003 * i for i, each in enumerate(networks)}
    found = sharpen(networks, recipe(seeds=2), Archive.in_memory(), noisy(means), count)
    assert len(found.trained) == sum(counts(found.labels)) == 20 + count
    assert found.ledger.runs["ok"] == 20 + count
    for label in found.labels:
        assert [run.seed for run in label.evaluations] == list(range(len(label.evaluations)))


def test_networks_whose_runs_fail_get_no_more_and_lose_none_of_the_others_runs() -> None:
    networks = [network(width) for width in range(3, 7)]

    def outcome(job: Job) -> Evaluation:
        broken = job.architecture == networks[0] or (
            job.architecture == networks[1] and job.seed == 1
        )
        return scored(job, None if broken else 0.5 + 0.01 * noise(job))

    found = sharpen(networks, recipe(), Archive.in_memory(), Synthetic(outcome), 9)
    assert counts(found.labels)[0] == 1
    assert counts(found.labels)[1] <= 2
    assert sum(counts(found.labels)) == 4 + 9


def test_labels_are_of_the_networks_in_the_order_given_repeated_or_not() -> None:
    networks = [network(width) for width in (5, 3, 5)]
    found = sharpen(networks, recipe(), Archive.in_memory(), noisy(dict.fromkeys(networks, 0.5)), 4)
    assert [label.architecture for label in found.labels] == networks
    assert found.labels[0] == found.labels[2]
    assert len(found.trained) == 2 + 4


def test_the_number_of_workers_does_not_matter() -> None:
    networks = [network(width) for width in range(3, 23)]
    found = []
    for workers in (1, 3, 16):
        archive, executor = (
            Archive.in_memory(),
            noisy({each: 0.6 + 0.004 * i for i, each in enumerate(networks)}),
        )
        executor.workers = workers
        labels = sharpen(networks, recipe(), archive, executor, 30).labels
        found.append((labels, list(archive)))
    assert found[0] == found[1] == found[2]
    assert max(counts(found[0][0])) > min(counts(found[0][0]))


# ------------------------------------------------------------------ real runs


def test_a_second_call_trains_nothing_and_an_interrupted_one_only_what_is_missing() -> None:
    networks, by = [network(width) for width in range(3, 9)], recipe(images=32)
    archive, other = Archive.in_memory(), Archive.in_memory()
    with InProcess(digits()) as executor:
        first = sharpen(networks, by, archive, executor, 10)
        again = sharpen(networks, by, archive, executor, 10)
        other.merge([run for run in archive if run.seed < 2][:8])
        rest = sharpen(networks, by, other, executor, 10)
    assert (len(first.trained), again.trained) == (16, ())
    assert again.labels == first.labels
    assert len(rest.trained) == 16 - 8
    assert without_seconds(other) == without_seconds(archive)


def test_networks_that_learned_nothing_get_no_runs_though_they_are_tied() -> None:
    alive = {network(width): 0.8 + 0.01 * width for width in range(3, 8)}
    dead = [network(width) for width in range(8, 12)]

    def outcome(job: Job) -> Evaluation:
        if job.architecture in dead:
            return Evaluation.of(job, "at_chance", reason="made up", losses=(2.3,))
        return scored(job, alive[job.architecture] + NOISE * noise(job))

    found = sharpen([*dead, *alive], recipe(), Archive.in_memory(), Synthetic(outcome), 8)
    assert counts(found.labels)[:4] == [1] * 4
    assert sum(counts(found.labels)[4:]) == 5 + 8
    assert deviation(found.labels) == deviation(found.labels[4:])
