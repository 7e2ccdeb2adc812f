"""What searches of labels share: labels asked for, and regressors that choose among changes."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from archpress.architectures.architecture import Architecture
from archpress.baselines import labelled_search
from archpress.baselines.labelled_search import BATCH, Asked
from archpress.compression.task import Resources
from archpress.evaluation.archive import Archive
from archpress.evaluation.record import Job
from archpress.prediction.predictor import FEWEST_LABELS
from archpress.prediction.surrogate import Surrogate
from tests.compression.tasks import Scripted, make_task
from tests.small_networks import generator


class ByDepth(Scripted):
    """Networks of more layers are better."""

    def run(self, jobs: Sequence[Job], *told: Any) -> Any:
        for job in jobs:
            self.accuracies[job.architecture.digest] = worth(job.architecture)
        yield from super().run(jobs, *told)


def worth(network: Architecture) -> float:
    return 0.1 + 0.02 * min(len(network.layers), 30)


def asked(folder: Path, judging: bool, labels: int = 40) -> Asked:
    task = make_task(labels=labels)
    resources = Resources(Archive.in_memory(), ByDepth(task.data), folder)
    return Asked(task, resources, generator(0), judging)


def test_no_more_labels_are_asked_for_than_are_left(tmp_path: Path) -> None:
    search = asked(tmp_path, judging=False, labels=5)
    first = search.label(search.drawn(3))
    assert (len(first), search.left) == (3, 2)
    again = search.label([*search.drawn(2), *search.drawn(2)])
    assert (len(again), search.left) == (2, 0)
    assert search.drawn(4) == []


def test_regressors_choose_the_better_of_more_changes(tmp_path: Path) -> None:
    means = {}
    for judging in (False, True):
        search = asked(tmp_path, judging)
        labelled = search.label(search.drawn(24))
        start = max(labelled, key=search.worth).architecture
        changes = search.changed(start, BATCH)
        assert len(changes) == BATCH
        assert all(search.task.affords(change) for change in changes)
        assert not {*changes} & search.labels.keys()
        means[judging] = np.mean([worth(change) for change in changes])
    assert means[True] > means[False] + 0.01


def test_regressors_are_fitted_again_when_labels_have_come_and_not_before(
    tmp_path: Path, monkeypatch: Any
) -> None:
    fitted: list[int] = []
    fit = Surrogate.fit
    monkeypatch.setattr(
        labelled_search.Surrogate,
        "fit",
        lambda networks, *rest: fitted.append(len(networks)) or fit(networks, *rest),
    )
    search = asked(tmp_path, judging=True)
    (few, *_) = search.label(search.drawn(FEWEST_LABELS))
    search.changed(few.architecture, 1)
    assert fitted == [], "too few to learn from"
    search.label(search.drawn(6))
    for _ in range(3):
        search.changed(few.architecture, 1)
    search.label(search.drawn(2))
    search.changed(few.architecture, 1)
    assert fitted == [FEWEST_LABELS + 6, FEWEST_LABELS + 8]
