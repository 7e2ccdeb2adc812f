"""What a search knows before it begins, and what it learns."""

import json
from collections.abc import Iterator
from pathlib import Path

import pytest

from archpress.compression.budget import Budget
from archpress.compression.guided import knowledge
from archpress.compression.guided.knowledge import Knowledge, known_before
from archpress.compression.guided.proposals import Proposal
from archpress.compression.known import KNOWN, known_at_start
from archpress.compression.run_folder import RunFolder
from archpress.compression.settings import load_settings
from archpress.compression.task import CompressionTask, Resources
from archpress.datasets.dataset import DataSet, from_tensors
from archpress.evaluation.archive import Archive
from archpress.evaluation.record import Evaluation, Job, Label
from archpress.evaluation.sweep import evaluate
from archpress.training.recipe import TrainingRecipe
from tests.compression.tasks import LABEL, Scripted, label_of, make_task, network_of, tiny_data

OTHER_RECIPE = LABEL.model_copy(update={"epochs": 2})
TWO_SEEDS = LABEL.model_copy(update={"seeds": 2})


@pytest.fixture
def archive(tmp_path: Path) -> Iterator[Archive]:
    with Archive(tmp_path / "archive.sqlite") as archive:
        yield archive


@pytest.fixture
def folder(tmp_path: Path) -> RunFolder:
    folder = RunFolder(tmp_path / "run", load_settings("demo"))
    folder.close()
    return folder


def label(
    archive: Archive,
    *widths: int,
    recipe: TrainingRecipe = LABEL,
    data: DataSet | None = None,
    accuracy: float | None = 0.7,
) -> None:
    networks = [network_of(width) for width in widths]
    executor = Scripted(data or tiny_data(), {n.digest: accuracy for n in networks})
    evaluate(networks, recipe, archive, executor)


def labels_known(archive: Archive, folder: RunFolder, task: CompressionTask) -> dict[str, Label]:
    resources = Resources(archive, Scripted(task.data), folder.path)
    return known_before(task, resources, known_at_start(archive, folder))


def known(archive: Archive, folder: RunFolder, task: CompressionTask | None = None) -> set[int]:
    """Widths of the networks that a search knows."""
    task = task or make_task()
    found = labels_known(archive, folder, task)
    assert all(digest == found[digest].architecture.digest for digest in found)
    widths = {network_of(width).digest: width for width in range(1, 20)}
    return {widths[digest] for digest in found}


def test_an_empty_archive_knows_nothing(archive: Archive, folder: RunFolder) -> None:
    assert known(archive, folder) == set()
    assert json.loads((folder.path / KNOWN).read_text()) == []


def test_labels_by_another_recipe_or_of_other_data_are_not_known(
    archive: Archive, folder: RunFolder
) -> None:
    train, test = tiny_data().train, tiny_data().test
    other = from_tensors(
        (train.images.flip(0), train.labels), (test.images, test.labels), name="tiny"
    )
    assert other.digest != tiny_data().digest
    label(archive, 2, 3)
    label(archive, 4, recipe=OTHER_RECIPE)
    label(archive, 5, data=other)
    assert len(archive) == 4
    assert known(archive, folder) == {2, 3}


def test_a_network_larger_than_the_budget_is_known_too(archive: Archive, folder: RunFolder) -> None:
    label(archive, 3, 19)
    assert not make_task().affords(network_of(19))
    assert known(archive, folder) == {3, 19}


def test_the_input_network_is_not_known(archive: Archive, folder: RunFolder) -> None:
    label(archive, 2, 3)
    assert known(archive, folder, make_task(network=network_of(3))) == {2}


def test_what_is_known_is_fixed_when_the_search_begins(archive: Archive, folder: RunFolder) -> None:
    label(archive, 2, 3)
    assert known(archive, folder) == {2, 3}
    label(archive, 4, 5)
    assert known(archive, folder) == {2, 3}
    other = RunFolder(folder.path.parent / "later", load_settings("demo"))
    other.close()
    assert known(archive, other) == {2, 3, 4, 5}


def test_what_the_archive_has_lost_is_known_no_more(
    archive: Archive, folder: RunFolder, tmp_path: Path
) -> None:
    label(archive, 2, 3)
    known(archive, folder)
    with Archive(tmp_path / "other.sqlite") as fresh:
        label(fresh, 3, 4)
        assert known(fresh, folder) == {3}


def test_a_label_is_the_mean_of_all_its_runs(archive: Archive, folder: RunFolder) -> None:
    label(archive, 2, recipe=TWO_SEEDS)
    task = make_task(label_recipe=TWO_SEEDS)
    found = labels_known(archive, folder, task)
    (only,) = found.values()
    assert only.accuracy == pytest.approx(0.705)  # 0.70 and 0.71
    assert [run.seed for run in only.evaluations] == [0, 1]


def test_labels_in_another_precision_are_not_known(archive: Archive, folder: RunFolder) -> None:
    job = Job(network_of(2), LABEL, 0, tiny_data().digest)
    facts = {"precision": "bfloat16", "engine": "2"}
    archive.add(Evaluation.of(job, "ok", validation_accuracy=0.7, circumstances=facts))
    assert known(archive, folder) == set()


def test_a_failed_run_is_known_and_nothing_to_learn_from(
    archive: Archive, folder: RunFolder
) -> None:
    label(archive, 2)
    label(archive, 3, accuracy=None)
    task = make_task()
    knowledge = Knowledge(labels_known(archive, folder, task))
    assert [x.architecture for x in knowledge.usable] == [network_of(2)]
    assert knowledge.has(network_of(3))
    assert not knowledge.has(network_of(4))


def test_what_is_learned_is_added_and_keeps_its_first_origin() -> None:
    knowledge = Knowledge({network_of(2).digest: label_of(network_of(2), 0.5)})
    first, second = Proposal(network_of(3), "start"), Proposal(network_of(3), "random")
    knowledge.add([first], [label_of(network_of(3), None)])
    assert knowledge.has(network_of(3))
    assert [x.architecture for x in knowledge.usable] == [network_of(2)]
    knowledge.add([second], [label_of(network_of(3), 0.0)])
    assert {x.architecture for x in knowledge.usable} == {network_of(2), network_of(3)}
    assert knowledge.proposed == {network_of(3).digest: first}


def test_the_order_of_labels_does_not_depend_on_how_they_came() -> None:
    labels = {network_of(width).digest: label_of(network_of(width), 0.5) for width in (5, 2, 9)}
    backwards = dict(reversed(labels.items()))
    assert Knowledge(labels).usable == Knowledge(backwards).usable


# ------------------------------------------------------------------ what is learned from


def learned(task: CompressionTask, *own: int) -> list[int]:
    """Widths of what is learned from, of an archive of widths 1 to 12 and the search's own."""
    widths = {network_of(width).digest: width for width in (*range(1, 13), *own)}
    found = Knowledge({d: label_of(network_of(w), w / 100) for d, w in widths.items()})
    mine = [network_of(width) for width in own]
    found.add([Proposal(network, "random") for network in mine], [label_of(n, 0.5) for n in mine])
    order = [label.architecture.digest for label in found.learned(task)]
    assert order == sorted(order), "the order of all that is usable"
    return sorted(widths[digest] for digest in order)


def test_all_labels_are_learned_from_unless_they_are_very_many() -> None:
    assert learned(make_task(), 15) == [*range(1, 13), 15]


def test_of_very_many_labels_those_nearest_to_the_budget_are_learned_from(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """The budget is that of width 6; 15 and 16 are the search's own."""
    monkeypatch.setattr(knowledge, "MOST_KNOWN", 4)
    assert learned(make_task(network_of(6).cost.parameters), 15, 16) == [5, 6, 7, 8, 15, 16]
    macs = network_of(3).cost.macs
    assert learned(make_task(Budget(10**6, macs=macs))) == [2, 3, 4, 5]


@pytest.mark.parametrize(
    "task",
    [make_task(Budget()), make_task(Budget(macs=10**9), max_accuracy_drop=0.01)],
    ids=["nothing bounded", "by drop"],
)
def test_where_no_size_is_asked_for_all_sizes_are_learned_from(
    task: CompressionTask, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(knowledge, "MOST_KNOWN", 4)
    assert learned(task) == [1, 4, 7, 10]
