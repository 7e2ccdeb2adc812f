"""Labels for a search; what is refused of given weights is in `test_trained`."""

from pathlib import Path

import pytest

from archpress.compression.labelling import check_given_weights, label_networks
from archpress.compression.task import Resources
from archpress.evaluation.archive import Archive
from tests.compression.tasks import LABEL, Scripted, make_task, network_of


def test_labels_come_in_the_order_asked_and_once_each() -> None:
    task = make_task(label_recipe=LABEL.model_copy(update={"seeds": 2}))
    accuracies = {network_of(width).digest: width / 10 for width in (2, 3)}
    executor = Scripted(task.data, {**accuracies, network_of(4).digest: None})
    told: list[tuple[str, int, int]] = []
    resources = Resources(
        Archive.in_memory(), executor, Path(), lambda *progress: told.append(progress)
    )
    networks = [network_of(width) for width in (3, 4, 2, 3)]
    labels = label_networks(networks, task, resources, "round 7")
    assert [label.architecture for label in labels] == networks
    assert labels[1].accuracy is None
    assert [labels[place].accuracy for place in (0, 2, 3)] == pytest.approx([0.305, 0.205, 0.305])
    assert len(executor.jobs) == 6
    assert {job.recipe for job in executor.jobs} == {task.label_recipe}
    assert {stage for stage, _, _ in told} == {"round 7"}
    assert told[-1][1] == told[-1][2]
    assert label_networks(networks, task, resources, "again") == labels
    assert len(executor.jobs) == 6


def test_nothing_is_trained_for_no_networks_or_without_given_weights() -> None:
    task = make_task()
    executor = Scripted(task.data)
    resources = Resources(Archive.in_memory(), executor, Path())
    assert label_networks([], task, resources, "labels") == []
    check_given_weights(task, resources)
    assert not executor.jobs
