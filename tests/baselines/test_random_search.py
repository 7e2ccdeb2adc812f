"""Random search: as many labels as the method may have, inside the same budget."""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from archpress.architectures.architecture import Architecture
from archpress.baselines import (
    NAMES,
    find_baseline,
    random_search,
    whole_space_random_search,
)
from archpress.compression.budget import Budget
from archpress.compression.result import CompressionResult
from archpress.compression.task import CompressionTask, Resources
from archpress.errors import BudgetError, SettingsError
from archpress.evaluation.archive import Archive
from archpress.evaluation.record import Evaluation, Job
from tests.compression.tasks import Scripted, make_task
from tests.small_networks import generator


def searched(
    task: CompressionTask, folder: Path, executor: Scripted | None = None
) -> tuple[CompressionResult, Scripted]:
    executor = executor or Scripted(task.data)
    with Archive(folder / "archive.sqlite") as archive:
        return random_search.compress(task, Resources(archive, executor, folder)), executor


def labelled_by(executor: Scripted, task: CompressionTask) -> list[Architecture]:
    return [job.architecture for job in executor.jobs if job.recipe == task.label_recipe]


def test_a_space_of_few_networks_within_the_budget_is_labelled_as_far_as_it_goes(
    tmp_path: Path,
) -> None:
    tight = make_task(labels=400, budget=1_000)
    tight = replace(tight, space=replace(tight.space, max_blocks=1))
    _, executor = searched(tight, tmp_path)
    networks = labelled_by(executor, tight)
    assert 0 < len(networks) == len(set(networks)) < 400


def test_it_labels_as_many_networks_as_the_method_may_all_within_the_budget(
    tmp_path: Path,
) -> None:
    task = make_task(labels=30)
    result, executor = searched(task, tmp_path)
    networks = labelled_by(executor, task)
    assert 27 <= len(networks) <= 30, "draws may repeat, labels do not"
    assert result.labels == result.label_epochs == len(networks) == len(set(networks))
    sizes = [network.cost.parameters for network in networks]
    assert max(sizes) <= 7_562
    assert len([size for size in sizes if size < 2_400]) > 8, "small ones as often as large ones"
    assert result.method == "random_search"


def test_the_best_label_is_trained_finally_and_chosen(tmp_path: Path) -> None:
    task = make_task(finalists=2)
    _, first = searched(task, tmp_path / "first")
    networks = labelled_by(first, task)
    second_best, winner = networks[3], networks[7]
    executor = Scripted(task.data, {winner.digest: 0.9, second_best.digest: 0.8})
    result, _ = searched(task, tmp_path / "second", executor)
    final = {job.architecture for job in executor.jobs if job.recipe == task.final_recipe}
    assert final == {task.network, winner, second_best}
    assert result.architecture == winner


def test_it_has_the_contest_of_the_search_and_what_that_costs_is_counted(tmp_path: Path) -> None:
    task = make_task(contenders=3, contender_epochs=4)
    result, executor = searched(task, tmp_path)
    contest = [job for job in executor.jobs if job.recipe == task.contest_recipe]
    networks = labelled_by(executor, task)
    assert len(contest) == len({job.architecture for job in contest}) == 3
    assert {job.architecture for job in contest} <= set(networks)
    assert result.labels == len(networks)
    assert result.label_epochs == len(networks) + 3 * 4


def test_the_best_of_the_contest_goes_before_the_best_label(tmp_path: Path) -> None:
    class ByEpochs(Scripted):
        """The longer the training, the worse the network that was best."""

        def run(self, jobs: Sequence[Job], *told: Any) -> Iterator[Evaluation]:
            long = any(job.recipe == task.contest_recipe for job in jobs)
            self.accuracies = {best.digest: 0.4 if long else 0.9, second.digest: 0.8}
            yield from super().run(jobs, *told)

    task = make_task(contenders=2)
    _, first = searched(task, tmp_path / "first")
    best, second = labelled_by(first, task)[:2]
    executor = ByEpochs(task.data)
    result, _ = searched(task, tmp_path / "second", executor)
    final = {job.architecture for job in executor.jobs if job.recipe == task.final_recipe}
    assert final == {task.network, second}
    assert result.architecture == second


def test_the_seed_decides_what_is_drawn(tmp_path: Path) -> None:
    drawn = [
        labelled_by(searched(make_task(seed=seed), tmp_path / name)[1], make_task())
        for name, seed in (("a", 0), ("b", 0), ("c", 1))
    ]
    assert drawn[0] == drawn[1] != drawn[2]
    space = make_task().space
    limited = replace(space, limits=replace(space.limits, max_parameters=7_562))
    population = limited.sample(12, generator(0)).architectures
    shared = set(drawn[0]) & set(population)
    assert len(shared) <= 3, "its draws are not those of the method, but for tiny ones by chance"


def test_a_budget_below_the_smallest_sample_widens_the_space_downward(tmp_path: Path) -> None:
    task = make_task(budget=650)
    assert task.space.limits.min_parameters > 650
    result, executor = searched(task, tmp_path)
    assert all(n.cost.parameters <= 650 for n in labelled_by(executor, task))
    assert result.architecture.cost.parameters <= 650


def test_every_bound_holds_for_every_network_that_is_labelled(tmp_path: Path) -> None:
    budget = Budget(macs=100_000, activation_bytes=4_096, file_bytes=20_000)
    task = make_task(budget=budget)
    result, executor = searched(task, tmp_path)
    networks = labelled_by(executor, task)
    assert len(networks) == task.labels
    assert all(budget.allows(network) for network in networks)
    assert budget.allows(result.architecture)
    assert max(network.cost.parameters for network in networks) > 1_000


def test_without_a_budget_the_space_is_the_limit(tmp_path: Path) -> None:
    task = make_task(budget=Budget(None), labels=30)
    _, executor = searched(task, tmp_path)
    sizes = [network.cost.parameters for network in labelled_by(executor, task)]
    assert 20_000 < max(sizes) <= 75_626


def over_the_whole_space(task: CompressionTask, folder: Path) -> tuple[Any, Scripted]:
    executor = Scripted(task.data)
    with Archive(folder / "archive.sqlite") as archive:
        resources = Resources(archive, executor, folder)
        return whole_space_random_search.compress(task, resources), executor


def test_over_the_whole_space_labels_are_made_beyond_the_budget_too(tmp_path: Path) -> None:
    task = make_task(labels=30)
    result, executor = over_the_whole_space(task, tmp_path)
    sizes = [network.cost.parameters for network in labelled_by(executor, task)]
    assert len(sizes) == result.labels == 30
    assert sum(size > 7_562 for size in sizes) >= 10
    assert max(sizes) > 40_000
    final = {job.architecture for job in executor.jobs if job.recipe == task.final_recipe}
    assert final == {task.network, result.architecture}
    assert result.architecture.cost.parameters <= 7_562


def test_over_the_whole_space_nothing_is_labelled_where_nothing_would_count(
    tmp_path: Path,
) -> None:
    task = make_task(budget=400, labels=5)
    executor = Scripted(task.data)
    with Archive.in_memory() as archive, pytest.raises(BudgetError, match="none of 5 networks"):
        whole_space_random_search.compress(task, Resources(archive, executor, tmp_path))
    assert not executor.jobs


@pytest.mark.parametrize("name", NAMES)
def test_every_rival_is_found_by_name(name: str) -> None:
    method: Callable[..., CompressionResult] = find_baseline(name)
    assert method.__module__ == f"archpress.baselines.{name}"
    assert method.__name__ == "compress"


def test_an_unknown_rival_names_the_nearest() -> None:
    with pytest.raises(SettingsError, match="unknown baseline 'randomsearch'; did you mean 'rand"):
        find_baseline("randomsearch")
