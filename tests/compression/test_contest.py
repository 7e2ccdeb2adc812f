"""The contest: the best of short labels are trained longer, and the best of those stay."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from archpress.architectures.architecture import Architecture
from archpress.compression.budget import Budget
from archpress.compression.contest import Contest
from archpress.compression.contest import held as held_contest
from archpress.compression.selection import to_train_finally
from archpress.compression.task import CompressionTask, Resources
from archpress.evaluation.archive import Archive
from archpress.evaluation.record import Label
from tests.compression.tasks import Scripted, TimedByLayers, label_of, make_task, network_of

SHORT = {2: 0.70, 3: 0.80, 4: 0.75, 5: 0.90, 6: 0.85, 7: 0.60}
"""Accuracy after short training by width."""
LONG = {2: 0.99, 3: 0.97, 4: 0.91, 5: 0.92, 6: 0.95, 7: 0.98}


@pytest.fixture
def archive(tmp_path: Path) -> Iterator[Archive]:
    with Archive(tmp_path / "archive.sqlite") as archive:
        yield archive


def labels() -> list[Label]:
    return [label_of(network_of(width), accuracy) for width, accuracy in SHORT.items()]


def executor_of(task: CompressionTask, changed: dict[int, float | None] | None = None) -> Scripted:
    long = {network_of(width).digest: accuracy for width, accuracy in LONG.items()}
    long |= {network_of(w).digest: a for w, a in (changed or {}).items()}  # type: ignore[misc]
    return Scripted(task.data, {**long, task.network.digest: 1.0})


def widths(found: list[Label]) -> list[int]:
    by_network = {network_of(width): width for width in SHORT}
    return [by_network[label.architecture] for label in found]


def held(
    archive: Archive,
    task: CompressionTask,
    executor: Scripted,
    reference: float | None = None,
) -> list[Label]:
    return held_contest(labels(), task, Resources(archive, executor, Path()), reference).finalists


def test_the_best_of_the_longer_training_stay(archive: Archive) -> None:
    task = make_task(finalists=2, contenders=4)
    executor = executor_of(task)
    found = held(archive, task, executor)
    assert widths(found) == [3, 6]  # of 5, 6, 3 and 4; the others never were contenders
    assert [label.accuracy for label in found] == [0.97, 0.95]
    assert {job.architecture for job in executor.jobs} == {network_of(w) for w in (3, 4, 5, 6)}


def test_they_are_trained_by_a_complete_longer_schedule(archive: Archive) -> None:
    task = make_task(finalists=1, contenders=3, contender_epochs=4)
    executor = executor_of(task)
    held(archive, task, executor)
    assert [job.recipe.epochs for job in executor.jobs] == [4 * task.label_recipe.epochs] * 3
    (recipe,) = {job.recipe for job in executor.jobs}
    assert recipe == task.contest_recipe
    unchanged = {"name": recipe.name, "epochs": recipe.epochs}
    assert task.label_recipe.model_copy(update=unchanged) == recipe
    assert recipe.digest != task.label_recipe.digest


@pytest.mark.parametrize(("contenders", "finalists"), [(0, 2), (1, 2), (2, 2)])
def test_there_is_no_contest_for_as_many_places(
    archive: Archive, contenders: int, finalists: int
) -> None:
    task = make_task(finalists=finalists, contenders=contenders)
    executor = executor_of(task)
    found = held(archive, task, executor)
    assert found == to_train_finally(labels(), task, None)
    assert widths(found) == [5, 6]
    assert not executor.jobs


def test_a_contender_that_cannot_be_trained_longer_is_out(archive: Archive) -> None:
    task = make_task(finalists=3, contenders=4)
    assert widths(held(archive, task, executor_of(task, {3: None}))) == [6, 5, 4]


def test_fewer_networks_than_places_all_contend(archive: Archive) -> None:
    task = make_task(finalists=5, contenders=99)
    assert widths(held(archive, task, executor_of(task))) == [2, 7, 3, 6, 5]


def test_without_labels_there_are_no_finalists(archive: Archive) -> None:
    task = make_task(finalists=1, contenders=3)
    executor = executor_of(task)
    assert held_contest([], task, Resources(archive, executor, Path()), None) == Contest([])
    assert not executor.jobs


def test_only_what_is_within_the_budget_contends(archive: Archive) -> None:
    task = make_task(Budget(network_of(4).cost.parameters), finalists=1, contenders=3)
    executor = executor_of(task)
    assert widths(held(archive, task, executor)) == [2]
    assert {job.architecture for job in executor.jobs} == {network_of(w) for w in (2, 3, 4)}


def test_a_drop_is_from_the_input_network_trained_as_long(archive: Archive) -> None:
    """By short labels, 0.9 the input's, all but 7 are within the drop; by long ones 2, 3 and 7."""
    task = make_task(Budget(), finalists=2, contenders=5, max_accuracy_drop=0.04)
    executor = executor_of(task)
    found = held(archive, task, executor, reference=0.74)
    trained = {job.architecture for job in executor.jobs}
    assert task.network in trained
    assert {job.recipe for job in executor.jobs} == {task.contest_recipe}
    assert widths(found)[0] == 2  # the smallest within the drop of the input's 1.0
    assert {label.architecture for label in found} <= trained - {task.network}


def test_a_drop_without_a_label_of_the_input_network_trains_it_no_longer(
    archive: Archive,
) -> None:
    task = make_task(Budget(), finalists=1, contenders=3, max_accuracy_drop=0.04)
    executor = executor_of(task)
    held(archive, task, executor, reference=None)
    assert task.network not in {job.architecture for job in executor.jobs}


def test_what_was_trained_longer_is_not_trained_again(archive: Archive) -> None:
    task = make_task(finalists=2, contenders=4)
    first = held(archive, task, executor_of(task))
    executor = executor_of(task)
    assert held(archive, task, executor) == first
    assert not executor.jobs


def test_latency_is_measured_before_and_after(archive: Archive) -> None:
    """The most accurate is slower than predicted, and is no contender."""
    slow = network_of(5).digest
    task = make_task(
        Budget(latency_ms=0.5), finalists=1, contenders=2, latency=TimedByLayers({slow: 9.0})
    )
    executor = executor_of(task)
    assert widths(held(archive, task, executor)) == [3]
    trained: set[Architecture] = {job.architecture for job in executor.jobs}
    assert trained == {network_of(6), network_of(3)}
