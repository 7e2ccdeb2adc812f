"""What a run takes over from another's archive, and what it knew when it began."""

import json
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from archpress.compression.known import ADOPTED, KNOWN, adopt, costless, known_at_start
from archpress.compression.run_folder import RunFolder
from archpress.compression.settings import load_settings
from archpress.compression.task import Resources
from archpress.errors import RunFolderError
from archpress.evaluation.archive import Archive
from archpress.evaluation.record import Evaluation, Job, Status
from tests.compression.tasks import FINAL, LABEL, Scripted, make_task, network_of

TASK = make_task()
HERE = TASK.data.digest
FLOAT32 = {"precision": "float32", "engine": "2"}


def run(
    width: int,
    status: Status = "ok",
    data: str = HERE,
    recipe: object = LABEL,
    circumstances: dict[str, str] = FLOAT32,
) -> Evaluation:
    job = Job(network_of(width), recipe, 0, data)  # type: ignore[arg-type]
    accuracy = 0.5 if status == "ok" else None
    return Evaluation.of(
        job, status, validation_accuracy=accuracy, circumstances=circumstances, losses=(1.0,)
    )


@pytest.fixture
def resources(tmp_path: Path) -> Iterator[Resources]:
    (tmp_path / "run").mkdir()
    with Archive(tmp_path / "run" / "archive.sqlite") as archive:
        yield Resources(archive, Scripted(TASK.data), tmp_path / "run")


def other(folder: Path, *runs: Evaluation) -> Path:
    """Another run's archive, with a file of weights for each of these runs."""
    (folder / "other" / "weights").mkdir(parents=True)
    with Archive(folder / "other" / "archive.sqlite") as archive:
        archive.merge(runs)
    for each in runs:
        (folder / "other" / "weights" / f"{each.key}.safetensors").write_text(each.key)
    return folder / "other" / "archive.sqlite"


def taken(resources: Resources) -> set[str]:
    return {each.key for each in resources.archive}


def weights(resources: Resources) -> set[str]:
    return {file.stem for file in (resources.folder / "weights").iterdir()}


def test_runs_and_their_weights_are_taken_over(resources: Resources, tmp_path: Path) -> None:
    runs = [run(1), run(2, "diverged"), run(3, "at_chance"), run(1, recipe=FINAL)]
    file = other(tmp_path, *runs)
    said = adopt(file, TASK, resources)
    assert taken(resources) == weights(resources) == {each.key for each in runs}
    assert said.startswith(f"4 of 4 runs taken over from {file}, those on this data and split")
    assert said.endswith("in float32; 3 of them are labels by this run's recipe")


@pytest.mark.parametrize(
    "unfit",
    [
        run(2, data="other data"),
        run(2, circumstances={"precision": "bfloat16", "engine": "2"}),
        run(2, circumstances={**FLOAT32, "device": "NVIDIA H200"}),
        run(2, circumstances={}),
        run(2, "failed"),
        run(2, "out_of_memory"),
        run(2, "timed_out"),
    ],
)
def test_what_this_run_would_not_make_so_is_left_behind(
    unfit: Evaluation, resources: Resources, tmp_path: Path
) -> None:
    fit = run(1)
    said = adopt(other(tmp_path, fit, unfit), TASK, resources)
    assert taken(resources) == weights(resources) == {fit.key}
    assert said.startswith("1 of 2 runs taken over")


def test_other_files_beside_the_archive_stay_there(resources: Resources, tmp_path: Path) -> None:
    file = other(tmp_path, run(1))
    (file.parent / "weights" / "mine.safetensors").write_text("a checkpoint of the user's")
    adopt(file, TASK, resources)
    assert weights(resources) == {run(1).key}


def test_weights_that_are_there_are_kept(resources: Resources, tmp_path: Path) -> None:
    (resources.folder / "weights").mkdir()
    own = resources.folder / "weights" / f"{run(1).key}.safetensors"
    own.write_text("own")
    adopt(other(tmp_path, run(1)), TASK, resources)
    assert own.read_text() == "own"


def test_what_is_taken_over_later_costs_nothing_and_is_not_known_from_the_beginning(
    resources: Resources, tmp_path: Path
) -> None:
    folder = RunFolder(tmp_path / "new", load_settings("demo"))
    folder.close()
    resources = replace(resources, folder=folder.path)
    assert known_at_start(resources.archive, folder) == costless(folder.path) == set()
    resources.archive.add(run(1))
    adopt(other(tmp_path, run(1), run(2), run(3, "failed")), TASK, resources)
    assert costless(folder.path) == {run(2).key}, "the first was made here"
    adopt(other(tmp_path / "third", run(4)), TASK, resources)
    assert costless(folder.path) == {run(2).key, run(4).key}
    assert known_at_start(resources.archive, folder) == set()


def test_a_damaged_list_of_what_was_taken_over_is_refused(
    resources: Resources, tmp_path: Path
) -> None:
    adopt(other(tmp_path, run(1)), TASK, resources)
    (resources.folder / ADOPTED).write_text("{}")
    with pytest.raises(RunFolderError, match=r"adopted\.json is damaged: expected a JSON list"):
        costless(resources.folder)


def test_what_a_run_knew_is_fixed_when_it_begins(resources: Resources, tmp_path: Path) -> None:
    folder = RunFolder(tmp_path / "new", load_settings("demo"))
    folder.close()
    resources.archive.add(run(1))
    assert known_at_start(resources.archive, folder) == {run(1).key}
    resources.archive.add(run(2))
    assert known_at_start(resources.archive, folder) == {run(1).key}


def test_a_run_begun_by_a_version_that_kept_no_list_knew_nothing(
    resources: Resources, tmp_path: Path
) -> None:
    folder = RunFolder(tmp_path / "new", load_settings("demo"))
    with folder.timed("label"):
        resources.archive.add(run(1))
    folder.close()
    assert known_at_start(resources.archive, folder) == frozenset()


@pytest.mark.parametrize("text", ["", "{}", "[1]", "no"])
def test_a_damaged_list_is_refused(text: str, resources: Resources, tmp_path: Path) -> None:
    folder = RunFolder(tmp_path / "new", load_settings("demo"))
    folder.close()
    (folder.path / KNOWN).write_text(text)
    with pytest.raises(RunFolderError, match=r"known\.json is damaged: expected a JSON list"):
        known_at_start(resources.archive, folder)
    (folder.path / KNOWN).write_text(json.dumps([run(1).key]))
    assert known_at_start(resources.archive, folder) == {run(1).key}
