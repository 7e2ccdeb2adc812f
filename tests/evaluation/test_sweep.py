"""Sweeps: labels of a population, with nothing done twice and nothing lost."""

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import pytest

from archpress.architectures.architecture import Architecture
from archpress.errors import ArchiveError
from archpress.evaluation import running
from archpress.evaluation.archive import Archive
from archpress.evaluation.executors import InProcess
from archpress.evaluation.record import Evaluation, Job, Status
from archpress.evaluation.sweep import Sweep, evaluate, weights_path
from archpress.training.training import train
from tests.evaluation.tiny import digits, network, recipe, without_seconds

BY = recipe(seeds=2, images=32)
NETWORKS = [network(3), network(4), network(5)]


@pytest.fixture
def archive(tmp_path: Path) -> Iterator[Archive]:
    with Archive(tmp_path / "archive.sqlite") as opened:
        yield opened


def sweep(
    archive: Archive, networks: Sequence[Architecture] = NETWORKS, **changes: object
) -> Sweep:
    by = BY.model_copy(update=changes)
    with InProcess(digits()) as executor:
        return evaluate(networks, by, archive, executor)


class Interrupted(InProcess):
    """Ends with an exception after a number of jobs, as a kill would."""

    def __init__(self, after: int) -> None:
        super().__init__(digits())
        self.after = after

    def run(self, jobs: Sequence[Job], *rest: Any) -> Iterator[Evaluation]:
        yield from super().run(jobs[: self.after], *rest)
        raise KeyboardInterrupt


class Watching(InProcess):
    """Notes how many runs an archive holds whenever it is asked for the next."""

    def __init__(self, archive: Archive) -> None:
        super().__init__(digits())
        self.archive = archive
        self.stored: list[int] = []

    def run(self, jobs: Sequence[Job], *rest: Any) -> Iterator[Evaluation]:
        for evaluation in super().run(jobs, *rest):
            yield evaluation
            self.stored.append(len(self.archive))


def test_labels_are_means_over_the_seeds_in_the_order_of_the_architectures(
    archive: Archive,
) -> None:
    result = sweep(archive)
    assert [label.architecture for label in result.labels] == NETWORKS
    for label in result.labels:
        runs = [e for e in archive if e.architecture == label.architecture]
        scores = [e.validation_accuracy for e in runs if e.validation_accuracy is not None]
        assert sorted(e.seed for e in runs) == [0, 1]
        assert label.accuracy == pytest.approx(sum(scores) / 2)
    assert len({e.losses for e in archive}) == 6


def test_repeated_architectures_are_trained_once(archive: Archive) -> None:
    result = sweep(archive, [NETWORKS[0], NETWORKS[1], NETWORKS[0]])
    assert len(result.trained) == len(archive) == 4
    assert result.labels[0] == result.labels[2] != result.labels[1]


def test_the_order_of_architectures_changes_no_label(archive: Archive, tmp_path: Path) -> None:
    sweep(archive, NETWORKS)
    with Archive(tmp_path / "other.sqlite") as other:
        sweep(other, NETWORKS[::-1])
        assert without_seconds(other) == without_seconds(archive)


def test_a_second_call_trains_nothing_and_gives_the_same_labels(archive: Archive) -> None:
    first, second = sweep(archive), sweep(archive)
    assert (len(first.trained), len(second.trained)) == (6, 0)
    assert second.labels == first.labels


def test_more_seeds_later_train_the_new_ones_only(archive: Archive) -> None:
    sweep(archive)
    result = sweep(archive, seeds=3)
    assert [run.seed for run in result.trained] == [2, 2, 2]
    assert [len(label.evaluations) for label in result.labels] == [3, 3, 3]


def test_another_recipe_is_another_sweep(archive: Archive) -> None:
    sweep(archive)
    assert len(sweep(archive, learning_rate=0.02).trained) == 6


@pytest.mark.parametrize("after", [0, 1, 4])
def test_what_was_finished_before_an_interruption_is_not_repeated(
    after: int, archive: Archive, tmp_path: Path
) -> None:
    with pytest.raises(KeyboardInterrupt):
        evaluate(NETWORKS, BY, archive, Interrupted(after))
    assert len(archive) == after
    assert len(sweep(archive).trained) == 6 - after
    with Archive(tmp_path / "undisturbed.sqlite") as undisturbed:
        sweep(undisturbed)
        assert without_seconds(archive) == without_seconds(undisturbed)


def lack_memory(network: Architecture, *rest: object) -> object:
    if network == NETWORKS[1]:
        raise RuntimeError("DefaultCPUAllocator: not enough memory: you tried to allocate")
    return train(network, *rest)  # type: ignore[arg-type]


def test_a_failure_is_a_record_that_later_sweeps_keep(
    archive: Archive, monkeypatch: pytest.MonkeyPatch
) -> None:
    with monkeypatch.context() as patched:
        patched.setattr(running, "train", lack_memory)
        first = sweep(archive)
    again = sweep(archive)
    assert not again.trained
    for result in (first, again):
        assert [label.accuracy is None for label in result.labels] == [False, True, False]
        assert {e.status for e in result.labels[1].evaluations} == {"out_of_memory"}
    assert "not enough memory" in again.labels[1].evaluations[0].reason


def kept_weights(archive: Archive, folder: Path) -> Sweep:
    return evaluate(NETWORKS[:1], BY, archive, InProcess(digits()), weights_folder=folder)


def test_weights_are_kept_one_file_per_run_and_made_again_where_missing(
    archive: Archive, tmp_path: Path
) -> None:
    folder = tmp_path / "weights"
    first = kept_weights(archive, folder)
    files = {weights_path(folder, run.key): run for run in first.trained}
    assert set(folder.iterdir()) == set(files)
    assert not kept_weights(archive, folder).trained
    lost, run = next(iter(files.items()))
    before = lost.read_bytes()
    lost.unlink()
    assert without_seconds(kept_weights(archive, folder).trained) == without_seconds([run])
    assert lost.read_bytes() == before


def test_labels_without_weights_are_made_again_where_weights_are_wanted(
    archive: Archive, tmp_path: Path
) -> None:
    sweep(archive, NETWORKS[:1])
    result = kept_weights(archive, tmp_path / "weights")
    assert len(result.trained) == 2
    assert len(archive) == 2


def test_runs_that_left_no_weights_are_not_repeated_for_them(
    archive: Archive, tmp_path: Path
) -> None:
    absurd = recipe(learning_rate=1e38)
    first, second = (
        evaluate(NETWORKS[:1], absurd, archive, InProcess(digits()), weights_folder=tmp_path)
        for _ in range(2)
    )
    assert [run.status for run in first.trained] == ["diverged"]
    assert not second.trained


def test_progress_counts_epochs_up_to_the_whole_work(archive: Archive) -> None:
    told: list[tuple[int, int]] = []
    evaluate(
        NETWORKS, recipe(epochs=3), archive, InProcess(digits()),
        on_progress=lambda done, total: told.append((done, total)),
    )  # fmt: skip
    done = [each for each, _ in told]
    assert done == sorted(done)
    assert len(set(done)) == 9
    assert {total for _, total in told} == {done[-1]}


def test_progress_of_runs_that_diverge_comes_to_the_whole_work_too(archive: Archive) -> None:
    told: list[tuple[int, int]] = []
    evaluate(
        NETWORKS, recipe(epochs=3, learning_rate=1e38), archive, InProcess(digits()),
        on_progress=lambda done, total: told.append((done, total)),
    )  # fmt: skip
    assert {e.epochs_trained for e in archive} == {1}
    assert told[-1][0] == told[-1][1]


def test_every_run_is_stored_before_the_next_is_awaited(archive: Archive) -> None:
    executor = Watching(archive)
    evaluate(NETWORKS, BY, archive, executor)
    assert executor.stored == [1, 2, 3, 4, 5, 6]


def test_runs_of_another_arithmetic_are_not_continued(archive: Archive) -> None:
    sweep(archive, seeds=1)
    with (
        InProcess(digits(), "bfloat16") as other,
        pytest.raises(ArchiveError, match="has runs of these networks in float32, and new ones"),
    ):
        evaluate(NETWORKS, BY, archive, other)
    assert len(archive) == len(NETWORKS)


@pytest.mark.parametrize("status", ["diverged", "at_chance"])
def test_chance_in_another_arithmetic_is_no_label_either(status: Status, archive: Archive) -> None:
    archive.add(
        Evaluation.of(
            Job(NETWORKS[0], BY, 0, digits().digest), status,
            circumstances={"precision": "bfloat16", "engine": 2},
        )
    )  # fmt: skip
    with InProcess(digits()) as executor, pytest.raises(ArchiveError, match="in float32"):
        evaluate(NETWORKS, BY, archive, executor)


def test_bfloat16_of_the_first_engine_is_not_continued_and_float32_is(archive: Archive) -> None:
    job = Job(NETWORKS[0], BY, 0, digits().digest)
    for precision, arithmetic in (("float32", "float32"), ("bfloat16", "bfloat16 of engine 1")):
        old = Evaluation.of(
            job, "ok", validation_accuracy=0.5, circumstances={"precision": precision}
        )
        assert old.arithmetic == arithmetic
    archive.add(old)
    with InProcess(digits(), "bfloat16") as executor, pytest.raises(ArchiveError, match="engine 1"):
        evaluate(NETWORKS, BY, archive, executor)
