"""Budgets: what a sweep may spend, what it will and what it has; counted a second time here."""

import math
import time
from collections import Counter
from collections.abc import Sequence
from dataclasses import replace
from itertools import permutations

import numpy as np
import pytest

from archpress.architectures.architecture import Architecture
from archpress.errors import SettingsError
from archpress.evaluation import runs as runs_module
from archpress.evaluation.archive import Archive
from archpress.evaluation.cost_model import CostModel, training_flops
from archpress.evaluation.executors import Executor, InProcess
from archpress.evaluation.record import Evaluation, Job
from archpress.evaluation.spending import Allowance, Estimate, Ledger, makespan
from archpress.evaluation.sweep import Sweep, estimate, evaluate
from tests.evaluation.synthetic import Clock, Synthetic, scored
from tests.evaluation.tiny import digits, job, network, recipe, without_seconds

BY = recipe(seeds=2, images=32)
NETWORKS = [network(width) for width in (9, 3, 7, 5)]
IMAGES = len(digits().train)


def flops(architecture: Architecture) -> float:
    return training_flops(architecture, BY, IMAGES)


# ------------------------------------------------------------------ makespan


def ends(durations: Sequence[float], workers: int) -> float:
    """Let time pass until all is done: whoever is free takes the next."""
    waiting, busy, now = list(durations), [0.0] * workers, 0.0
    while waiting or max(busy) > now:
        for worker in range(workers):
            if waiting and busy[worker] <= now:
                busy[worker] = now + waiting.pop(0)
        now = min((end for end in busy if end > now), default=now)
    return now


def test_makespan_is_what_a_simulation_of_the_longest_first_comes_to() -> None:
    rng = np.random.default_rng(0)
    for _ in range(200):
        jobs = rng.integers(1, 10, rng.integers(1, 9)).tolist()
        workers = int(rng.integers(1, 5))
        assert makespan(jobs, workers) == ends(sorted(jobs, reverse=True), workers)


def test_makespan_is_at_most_a_third_longer_than_the_best_order() -> None:
    rng = np.random.default_rng(1)
    for _ in range(30):
        jobs, workers = rng.integers(1, 10, 5).tolist(), int(rng.integers(2, 4))
        best = min(ends(order, workers) for order in permutations(jobs))
        assert best <= makespan(jobs, workers) <= (4 / 3 - 1 / (3 * workers)) * best


def test_nothing_takes_no_time() -> None:
    assert makespan([], 3) == 0


# ------------------------------------------------------------------ estimates


def test_an_estimate_adds_up_runs_epochs_operations_and_seconds() -> None:
    long = recipe(epochs=5, batch_size=50, images=None)
    jobs = [job(0, 4), job(1, 4), job(0, 30, by=long)]
    model = CostModel((1.0, 0.5, 0.0, 0.0, 0.0), spread=1.3)
    found = Estimate.of(jobs, model, images=1_000, workers=2)
    short, whole = 1 + 0.5 * 4, 1 + 0.5 * 100  # steps: 64 / 16, and 5 * 1000 / 50
    assert (found.runs, found.epochs, found.workers, found.spread) == (3, 7, 2, 1.3)
    assert found.worker_seconds == pytest.approx(2 * short + whole)
    assert found.seconds == pytest.approx(whole)
    macs = [j.architecture.cost.macs for j in jobs]
    assert found.flops == pytest.approx(6 * (64 * macs[0] + 64 * macs[1] + 5_000 * macs[2]))


def test_an_estimate_is_of_what_the_archive_does_not_have_and_trains_nothing() -> None:
    archive, executor = Archive.in_memory(), Synthetic(lambda job: scored(job, 0.5), workers=3)
    evaluate(NETWORKS[:1], BY, archive, executor)
    ran = len(executor.ran)
    found = estimate(NETWORKS, BY, archive, executor)
    assert (found.runs, found.epochs, found.workers) == (6, 6, 3)
    assert found.flops == pytest.approx(2 * sum(map(flops, NETWORKS[1:])))
    assert 0 < found.seconds <= found.worker_seconds < math.inf
    assert len(executor.ran) == ran
    nothing = estimate(NETWORKS[:1], BY, archive, executor)
    assert (nothing.runs, nothing.flops, nothing.seconds) == (0, 0, 0)


def test_runs_on_this_processor_are_what_an_estimate_goes_by() -> None:
    archive = Archive.in_memory()
    for seed in range(20):
        each = Job(network(4), BY, seed, "other data")
        archive.add(scored(each, 0.5, seconds=7.0, images=32))
    for seed in range(20, 40):
        each = Job(network(4), BY, seed, "other data")
        elsewhere = {"processor": "another"}
        archive.add(scored(each, 0.5, seconds=900.0, images=32, circumstances=elsewhere))
    found = estimate([network(4)], BY, archive, Synthetic(lambda job: scored(job, 0.5)))
    assert found.worker_seconds == pytest.approx(14, rel=0.1)
    assert found.spread < 1.1


# ------------------------------------------------------------------ ledgers


def test_a_ledger_counts_runs_by_status_epochs_operations_and_seconds() -> None:
    by = recipe(epochs=4, batch_size=16, images=64, chance_steps=2)  # 16 steps
    one = replace(job(by=by), seed=0)
    whole = training_flops(one.architecture, by, 64)
    runs = [
        Evaluation.of(one, "ok", losses=(1.0,) * 4, images=64, steps=16, seconds=2.0),
        Evaluation.of(one, "at_chance", losses=(2.3,), images=64, steps=2, seconds=0.5),
        Evaluation.of(one, "diverged", losses=(1.0, math.inf), images=64, steps=8, seconds=1.0),
        Evaluation.of(one, "failed", reason="its worker died", seconds=3.0),
        Evaluation.of(one, "failed", reason="its worker died", seconds=0.0),
        Evaluation.of(one, "timed_out", reason="over 9 s", seconds=9.0),
    ]
    found = Ledger.of(runs)
    assert found.runs == Counter(failed=2, ok=1, at_chance=1, diverged=1, timed_out=1)
    assert (found.epochs, found.worker_seconds) == (7, 15.5)
    assert found.flops == pytest.approx(whole * (1 + 2 / 16 + 8 / 16))
    assert Ledger.of([]) == Ledger()


def test_records_of_before_steps_were_counted_count_by_epochs() -> None:
    by = recipe(epochs=4, batch_size=16, images=64)
    runs = [
        Evaluation.of(job(by=by), "ok", losses=(1.0,) * 4, images=64),
        Evaluation.of(job(by=by), "diverged", losses=(math.inf,), images=64),
    ]
    whole = training_flops(network(), by, 64)
    assert Ledger.of(runs).flops == pytest.approx(1.25 * whole)


def test_real_runs_are_accounted_for_as_they_were_estimated() -> None:
    by = recipe(seeds=2, epochs=2, images=40, batch_size=16)
    archive = Archive.in_memory()
    expected = estimate(NETWORKS, by, archive, InProcess(digits()))
    spent = evaluate(NETWORKS, by, archive, InProcess(digits())).ledger
    assert (spent.runs, spent.epochs) == (Counter(ok=8), expected.epochs)
    assert spent.flops == pytest.approx(expected.flops)
    assert spent.worker_seconds == sum(run.seconds for run in archive) > 0


# ------------------------------------------------------------------ budgets


@pytest.mark.parametrize("amount", [0, -1, math.nan])
@pytest.mark.parametrize("name", ["seconds", "flops"])
def test_a_budget_is_positive(name: str, amount: float) -> None:
    with pytest.raises(SettingsError, match=rf"budget of {name} above 0, received {amount}"):
        Allowance(**{name: amount})


def spend(
    budget: Allowance, archive: Archive | None = None, executor: Executor | None = None
) -> Sweep:
    archive = archive if archive is not None else Archive.in_memory()
    return evaluate(NETWORKS, BY, archive, executor or InProcess(digits()), budget=budget)


def order_wanted() -> list[tuple[Architecture, int]]:
    """All first runs before any second one, in the order given."""
    return [(each, seed) for seed in range(2) for each in NETWORKS]


@pytest.mark.parametrize("count", range(9))
def test_a_budget_of_operations_makes_the_longest_head_that_it_can_pay(count: int) -> None:
    costs = [flops(each) for each, _ in order_wanted()]
    executor = Synthetic(lambda job: scored(job, 0.5))
    found = spend(Allowance(flops=sum(costs[:count]) + 0.5), executor=executor)
    made = {(run.architecture, run.seed) for run in found.trained}
    assert made == set(order_wanted()[:count])
    assert (len(found.trained), found.left_out) == (count, 8 - count)
    assert found.ledger.flops <= sum(costs[:count]) + 0.5
    for place, label in enumerate(found.labels):
        runs = [seed for each, seed in order_wanted()[:count] if each == NETWORKS[place]]
        assert label.architecture == NETWORKS[place]
        assert [run.seed for run in label.evaluations] == runs
        assert (label.accuracy is None) == (not runs)


def test_a_cheap_run_does_not_pass_a_dear_one_that_the_budget_cannot_pay() -> None:
    found = spend(Allowance(flops=flops(NETWORKS[0]) - 1))
    assert flops(NETWORKS[1]) < flops(NETWORKS[0])
    assert (found.trained, found.left_out) == ((), 8)


def test_what_the_archive_has_costs_nothing_and_a_second_call_goes_on() -> None:
    archive, undisturbed = Archive.in_memory(), Archive.in_memory()
    costs = [flops(each) for each, _ in order_wanted()]
    first = spend(Allowance(flops=sum(costs[:3])), archive)
    second = spend(Allowance(flops=sum(costs[3:6])), archive)
    last = spend(Allowance(), archive)
    assert [len(call.trained) for call in (first, second, last)] == [3, 3, 2]
    assert [call.left_out for call in (first, second, last)] == [5, 2, 0]
    whole = spend(Allowance(), undisturbed)
    assert without_seconds(archive) == without_seconds(undisturbed)
    assert [label.accuracy for label in last.labels] == [label.accuracy for label in whole.labels]


def test_an_estimate_keeps_to_the_budget_of_operations() -> None:
    executor = Synthetic(lambda job: scored(job, 0.5))
    budget = Allowance(flops=flops(NETWORKS[0]) + flops(NETWORKS[1]))
    found = estimate(NETWORKS, BY, Archive.in_memory(), executor, budget)
    assert (found.runs, executor.ran) == (2, [])
    assert found.flops == budget.flops
    assert len(spend(budget, executor=executor).trained) == 2


def test_without_a_limit_of_time_the_longest_run_starts_first() -> None:
    executor = Synthetic(lambda job: scored(job, 0.5), workers=2)
    spend(Allowance(), executor=executor)
    assert len(executor.calls) == 1
    macs = [job.architecture.cost.macs for job in executor.ran]
    assert macs == sorted(macs, reverse=True)


# ------------------------------------------------------------------ limits of time

MANY = [network(width) for width in range(2, 62)]


def known_pace(seconds: float) -> Archive:
    """An archive of runs of this processor, each of which took so long."""
    archive = Archive.in_memory()
    for width in range(2, 42):
        each = Job(network(width), BY, 0, "other data")
        archive.add(scored(each, 0.5, seconds=seconds, images=32))
    return archive


@pytest.mark.parametrize("workers", [1, 4])
@pytest.mark.parametrize("budget", [0.9, 5.0, 60.0, 1e4])
@pytest.mark.parametrize("pace", [0.5, 1.0, 2.0])
def test_a_sweep_uses_its_time_and_does_not_exceed_it_by_more_than_a_run(
    pace: float, budget: float, workers: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    clock = Clock()
    monkeypatch.setattr(runs_module, "time", clock)
    executor = Synthetic(lambda job: scored(job, 0.5, seconds=pace), workers, clock)
    found = evaluate(MANY, BY, known_pace(1.0), executor, budget=Allowance(seconds=budget))
    needed = makespan([pace] * 2 * len(MANY), workers)
    assert clock.now <= budget + pace
    assert clock.now >= min(needed, budget - 2 * pace) or budget < pace
    assert len(found.trained) + found.left_out == 2 * len(MANY)
    wanted = [(each, seed) for seed in range(2) for each in MANY]
    made = {(run.architecture, run.seed) for run in found.trained}
    assert made == set(wanted[: len(made)])
    assert all(
        [job.architecture.cost.macs for job in wave]
        == sorted((job.architecture.cost.macs for job in wave), reverse=True)
        for wave in executor.calls
    )


def test_a_sweep_with_a_limit_of_time_goes_in_waves_whose_times_it_learns_from(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    clock = Clock()
    monkeypatch.setattr(runs_module, "time", clock)
    executor = Synthetic(lambda job: scored(job, 0.5, seconds=0.1), 2, clock)
    evaluate(MANY, BY, known_pace(1.0), executor, budget=Allowance(seconds=4.0))
    sizes = [len(wave) for wave in executor.calls]
    assert len(sizes) > 3
    assert sum(sizes[:-1]) < 80 <= sum(sizes) + 4  # at a tenth of a second each, on two workers


@pytest.mark.parametrize("slower", [4, 20])
def test_where_no_run_is_known_yet_a_few_tell_the_pace_before_many_are_started(
    slower: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    clock, model = Clock(), CostModel()
    monkeypatch.setattr(runs_module, "time", clock)
    monkeypatch.setattr(runs_module, "probed", lambda precision: model)
    true = model.seconds(MANY[0], BY, IMAGES) * slower
    executor = Synthetic(lambda job: scored(job, 0.5, seconds=true), 1, clock)
    evaluate(MANY, BY, Archive.in_memory(), executor, budget=Allowance(seconds=15 * true))
    assert clock.now <= 16 * true


def test_real_runs_end_within_their_time() -> None:
    archive = Archive.in_memory()
    spend(Allowance(), archive)  # so that the pace is known
    start = time.monotonic()
    by = BY.model_copy(update={"epochs": 6, "images": None})
    found = evaluate(MANY, by, archive, InProcess(digits()), budget=Allowance(seconds=5))
    elapsed = time.monotonic() - start
    assert found.trained and found.left_out
    longest = max(run.seconds for run in found.trained)
    assert elapsed < 5 + 2 * longest + 0.5
    labelled = [label.accuracy is not None for label in found.labels]
    assert labelled == sorted(labelled, reverse=True)
