"""What every rival keeps to: the budget, the number of labels, the test set, its seed."""

from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from archpress.architectures.architecture import Architecture
from archpress.baselines import NAMES, find_baseline, pruning
from archpress.compression.budget import Budget
from archpress.compression.result import CompressionResult
from archpress.compression.task import CompressionTask, Resources
from archpress.evaluation.archive import Archive
from archpress.evaluation.record import Evaluation, Job
from tests.compression.tasks import Scripted, TimedByMacs, make_task, watched

CLIMBING = ("local_search", "evolution", "surrogate_local_search", "surrogate_evolution")
LABELLING = ("random_search", "whole_space_random_search", *CLIMBING)
SEEDED = (*LABELLING, "pruning", "magnitude_pruning", "reinforcement")
"""Methods whose result depends on the seed."""


class ByDepth(Scripted):
    """Networks of more layers are better, up to 30; what is looked at of the test set is noted."""

    def __init__(self, task: CompressionTask, reads: list[int]) -> None:
        super().__init__(task.data)
        self.test_reads, self.reads_before_the_end = reads, 0

    def run(self, jobs: Sequence[Job], *told: Any) -> Iterator[Evaluation]:
        self.reads_before_the_end += len(self.test_reads)
        self.accuracies |= {
            job.architecture.digest: 0.1 + 0.02 * min(len(job.architecture.layers), 30)
            for job in jobs
        }
        yield from super().run(jobs, *told)

    def labelled(self, task: CompressionTask) -> list[Architecture]:
        return [job.architecture for job in self.jobs if job.recipe == task.label_recipe]


def ran(name: str, folder: Path, **changes: Any) -> tuple[CompressionResult, ByDepth]:
    data, reads = watched(make_task().data)
    task = replace(make_task(), data=data, **changes)
    executor = ByDepth(task, reads)
    assert task.data.digest  # reads it whole, once
    reads.clear()
    with Archive(folder / "archive.sqlite") as archive:
        result = find_baseline(name)(task, Resources(archive, executor, folder))
    return result, executor


@pytest.fixture(autouse=True)
def _fewer_prunings(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(pruning, "STEPS", 2)
    monkeypatch.setattr(pruning, "RUNS", 2)


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize(
    "budget", [Budget(7_562), Budget(macs=100_000, activation_bytes=4_096)], ids=["one", "two"]
)
def test_the_budget_is_kept_by_exact_count(name: str, budget: Budget, tmp_path: Path) -> None:
    result, executor = ran(name, tmp_path, budget=budget)
    assert result.method == name
    assert budget.allows(result.architecture)
    if name != "whole_space_random_search":
        assert all(budget.allows(network) for network in executor.labelled(make_task()))


@pytest.mark.parametrize("name", NAMES)
def test_latency_is_kept_as_measured(name: str, tmp_path: Path) -> None:
    """Networks take a third longer than predicted until they are measured."""
    told = TimedByMacs()
    result, _ = ran(name, tmp_path, budget=Budget(latency_ms=0.3), latency=told)
    assert told.measured[result.architecture.digest] <= 0.3


@pytest.mark.parametrize("name", NAMES)
def test_the_test_set_is_read_at_the_end_alone(name: str, tmp_path: Path) -> None:
    _, executor = ran(name, tmp_path)
    assert executor.reads_before_the_end == 0
    assert executor.test_reads


@pytest.mark.parametrize("name", LABELLING)
@pytest.mark.parametrize("labels", [5, 30])
def test_labels_and_epochs_are_counted_and_no_more_than_allowed(
    name: str, labels: int, tmp_path: Path
) -> None:
    result, executor = ran(name, tmp_path, labels=labels)
    networks = executor.labelled(make_task())
    assert len(networks) == len(set(networks)) == labels
    assert result.labels == result.label_epochs == labels


@pytest.mark.parametrize("name", NAMES)
def test_the_same_seed_gives_the_same_result_and_another_seed_another(
    name: str, tmp_path: Path
) -> None:
    asked = []
    for folder, seed in (("a", 0), ("b", 0), ("c", 1)):
        result, executor = ran(name, tmp_path / folder, seed=seed, labels=20)
        asked.append([*executor.labelled(make_task()), result.architecture])
    assert asked[0] == asked[1]
    assert (asked[0] != asked[2]) is (name in SEEDED)


@pytest.mark.parametrize("name", NAMES)
def test_what_was_stopped_goes_on_without_training_again(name: str, tmp_path: Path) -> None:
    whole, first = ran(name, tmp_path)
    again, second = ran(name, tmp_path)
    assert first.jobs and not second.jobs
    assert again.to_json() == whole.to_json()


@pytest.mark.parametrize("name", CLIMBING)
def test_searches_of_labels_find_better_networks_than_random_draws(
    name: str, tmp_path: Path
) -> None:
    def mean_depth(method: str) -> float:
        _, executor = ran(method, tmp_path / method, labels=60)
        last = executor.labelled(make_task())[-20:]
        return sum(min(len(network.layers), 30) for network in last) / len(last)

    assert mean_depth(name) > mean_depth("random_search") + 3


@pytest.mark.parametrize("name", CLIMBING)
def test_a_space_of_few_networks_ends_the_search(name: str, tmp_path: Path) -> None:
    task = make_task()
    space = replace(task.space, blocks=("plain",), max_blocks=1)
    result, executor = ran(name, tmp_path, space=space, budget=Budget(700), labels=8)
    assert result.labels == len(executor.labelled(task)) <= 8
