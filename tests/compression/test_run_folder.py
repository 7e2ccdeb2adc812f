"""The run folder: one run, one writer, and nothing of others touched."""

import json
import os
import re
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from archpress.compression.run_folder import (
    RunFolder,
    environment,
    read_json_lines,
    read_settings,
    seconds_by_stage,
)
from archpress.compression.settings import PROFILES, load_settings
from archpress.errors import RunFolderError, SettingsError

SETTINGS = load_settings("demo", flags={"search.steps": 7})


def contents(folder: Path) -> dict[str, bytes]:
    return {
        str(path.relative_to(folder)): path.read_bytes()
        for path in sorted(folder.rglob("*"))
        if path.is_file()
    }


def started(folder: Path) -> Path:
    RunFolder(folder, SETTINGS).close()
    return folder


# ------------------------------------------------------------------ opening


@pytest.mark.parametrize("profile", PROFILES)
def test_run_toml_holds_the_settings_as_they_were(profile: str, tmp_path: Path) -> None:
    settings = load_settings(profile, flags={"search.target_parameters": "12%", "label.epochs": 1})
    RunFolder(tmp_path / "deep" / "run", settings).close()
    assert read_settings(tmp_path / "deep" / "run") == settings


def test_an_empty_folder_is_taken(tmp_path: Path) -> None:
    RunFolder(tmp_path, SETTINGS).close()
    assert read_settings(tmp_path) == SETTINGS


def test_a_run_is_continued_only_when_asked_to(tmp_path: Path) -> None:
    started(tmp_path)
    before = contents(tmp_path)
    with pytest.raises(RunFolderError, match=f"{tmp_path} holds this run already: add --resume"):
        RunFolder(tmp_path, SETTINGS)
    RunFolder(tmp_path, SETTINGS, resume=True).close()
    assert contents(tmp_path) == before


@pytest.mark.parametrize(
    ("flags", "difference"),
    [
        ({"search.steps": 8}, "its search.steps is 7, not 8"),
        ({"seed": 1}, "its seed is 0, not 1"),
        ({"label.epochs": 2}, "its label.epochs is None, not 2"),
        ({"network": "conv7", "search.steps": 9}, "its network is 'digits-cnn', not 'conv7'"),
    ],
)
@pytest.mark.parametrize("resume", [True, False])
def test_another_run_is_refused_with_the_first_difference(
    flags: dict[str, object], difference: str, resume: bool, tmp_path: Path
) -> None:
    started(tmp_path)
    before = contents(tmp_path)
    other = load_settings("demo", flags={"search.steps": 7, **flags})
    with pytest.raises(RunFolderError, match=f"holds another run .{difference}.: name another"):
        RunFolder(tmp_path, other, resume=resume)
    assert contents(tmp_path) == before


def test_another_number_of_workers_is_the_same_run(tmp_path: Path) -> None:
    started(tmp_path)
    settings = load_settings("demo", flags={"search.steps": 7, "execution.workers": 3})
    RunFolder(tmp_path, settings, resume=True).close()
    assert read_settings(tmp_path) == SETTINGS


@pytest.mark.parametrize("resume", [True, False])
def test_a_folder_of_other_files_is_refused_untouched(resume: bool, tmp_path: Path) -> None:
    (tmp_path / "thesis.tex").write_text("precious")
    with pytest.raises(RunFolderError, match="holds other files: name a new or an empty folder"):
        RunFolder(tmp_path, SETTINGS, resume)
    assert contents(tmp_path) == {"thesis.tex": b"precious"}


def test_a_file_in_place_of_the_folder_is_refused_untouched(tmp_path: Path) -> None:
    file = tmp_path / "run"
    file.write_text("precious")
    with pytest.raises(RunFolderError, match="is a file, expected a folder"):
        RunFolder(file, SETTINGS)
    assert file.read_text() == "precious"


def test_a_folder_that_cannot_be_made_is_refused(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("precious")
    with pytest.raises(RunFolderError, match="cannot be written"):
        RunFolder(tmp_path / "file" / "run", SETTINGS)


# ------------------------------------------------------------------ the lock


@contextmanager
def held_by_another_process(lock: Path) -> Iterator[subprocess.Popen[str]]:
    code = (
        "import fcntl, sys; file = open(sys.argv[1], 'w'); "
        "fcntl.flock(file, fcntl.LOCK_EX); print('held', flush=True); sys.stdin.read()"
    )
    command = [sys.executable, "-c", code, str(lock)]
    with subprocess.Popen(
        command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == "held\n"
        try:
            yield process
        finally:
            process.kill()


def test_a_folder_that_another_process_works_in_is_refused(tmp_path: Path) -> None:
    started(tmp_path)
    before = contents(tmp_path)
    with held_by_another_process(tmp_path / "run.lock") as process:
        with pytest.raises(RunFolderError, match=f"{tmp_path}: another process is working in it"):
            RunFolder(tmp_path, SETTINGS, resume=True)
        assert contents(tmp_path) == before
        process.kill()
        process.wait()
        RunFolder(tmp_path, SETTINGS, resume=True).close()


def test_a_closed_folder_is_free_again(tmp_path: Path) -> None:
    first = RunFolder(tmp_path, SETTINGS)
    with pytest.raises(RunFolderError, match="another process is working"):
        RunFolder(tmp_path, SETTINGS, resume=True)
    first.close()
    RunFolder(tmp_path, SETTINGS, resume=True).close()


# ------------------------------------------------------------------ reading settings


def test_a_folder_without_a_run_is_said_to_be_none(tmp_path: Path) -> None:
    with pytest.raises(RunFolderError, match=f"{tmp_path} is no run folder"):
        read_settings(tmp_path)


@pytest.mark.parametrize("content", [b"seed = ", b"\xff\xfe"], ids=["torn", "binary"])
def test_a_damaged_run_toml_is_named(content: bytes, tmp_path: Path) -> None:
    (tmp_path / "run.toml").write_bytes(content)
    with pytest.raises(RunFolderError, match=r"run\.toml is damaged"):
        read_settings(tmp_path)


def test_a_run_toml_with_unknown_keys_is_refused(tmp_path: Path) -> None:
    (tmp_path / "run.toml").write_text('network = "conv7"\nsead = 3\n')
    with pytest.raises(SettingsError, match=r"run\.toml: unknown key 'sead'; did you mean 'seed'"):
        read_settings(tmp_path)


# ------------------------------------------------------------------ writing


@pytest.fixture
def folder(tmp_path: Path) -> Iterator[RunFolder]:
    folder = RunFolder(tmp_path, SETTINGS)
    yield folder
    folder.close()


def test_files_are_written_whole_with_their_folders(folder: RunFolder) -> None:
    assert folder.write_text("a/b.txt", "text").read_text() == "text"
    assert json.loads(folder.write_json("c.json", {"x": [1]}).read_text()) == {"x": [1]}
    path = folder.write_json_lines("d.jsonl", [{"x": 1}, {"x": 2}])
    assert read_json_lines(path) == [{"x": 1}, {"x": 2}]
    assert not list(folder.path.rglob("*.part"))


def test_a_torn_last_line_is_left_out(tmp_path: Path) -> None:
    path = tmp_path / "lines.jsonl"
    path.write_text('{"x": 1}\n{"x": 2}\n{"x":')
    assert read_json_lines(path) == [{"x": 1}, {"x": 2}]
    assert read_json_lines(tmp_path / "none.jsonl") == []


def test_seconds_of_resumed_and_interrupted_stages_add_up(folder: RunFolder) -> None:
    lines = [("label", 1.5), ("fit", 2.0), ("label", 0.25)]
    folder.write_json_lines(
        "ledger.jsonl", [{"stage": stage, "seconds": seconds} for stage, seconds in lines]
    )
    assert seconds_by_stage(folder.path) == {"label": 1.75, "fit": 2.0}
    with pytest.raises(KeyboardInterrupt), folder.timed("search"):
        raise KeyboardInterrupt
    assert list(seconds_by_stage(folder.path)) == ["label", "fit", "search"]


def test_the_environment_says_what_the_numbers_depend_on() -> None:
    import torch

    record = environment("float32", "data", "network")
    assert (record["precision"], record["data_digest"]) == ("float32", "data")
    assert record["network_digest"] == "network"
    assert (record["torch"], record["cores"]) == (torch.__version__, os.cpu_count())
    assert json.loads(json.dumps(record)) == record


def test_a_stage_that_is_killed_counts_until_it_last_told_how_far_it_was(tmp_path: Path) -> None:
    folder = RunFolder(tmp_path, SETTINGS)
    (tmp_path / "under-way.json").write_text('{"stage": "label", "since": 1000.0}')
    stages = {"labels": [3, 9, 80.0, 0, 1_090.0], "probe": [1, 1, 2.0, 0, 1_002.0]}
    (tmp_path / "progress.json").write_text(json.dumps(stages))
    folder.close()
    with_more = RunFolder(tmp_path, SETTINGS, resume=True)
    assert seconds_by_stage(tmp_path) == {"label": 90.0}
    assert not (tmp_path / "under-way.json").exists()
    with with_more.timed("label"):
        assert json.loads((tmp_path / "under-way.json").read_text())["stage"] == "label"
    with_more.close()
    assert 90.0 <= seconds_by_stage(tmp_path)["label"] < 100.0
    assert not (tmp_path / "under-way.json").exists()


def test_a_stage_that_was_killed_before_it_told_anything_counts_nothing(tmp_path: Path) -> None:
    RunFolder(tmp_path, SETTINGS).close()
    (tmp_path / "under-way.json").write_text('{"stage": "label", "since": 1000.0}')
    RunFolder(tmp_path, SETTINGS, resume=True).close()
    assert seconds_by_stage(tmp_path) == {"label": 0.0}


def test_settings_of_earlier_versions_are_read_as_now(tmp_path: Path) -> None:
    started(tmp_path)
    text = (tmp_path / "run.toml").read_text()
    older = re.sub("max_activation_bytes = .*", "max_activation_megabytes = 0.5", text)
    assert older != text
    (tmp_path / "run.toml").write_text(older)
    assert read_settings(tmp_path).space.max_activation_bytes == 500_000


def test_where_data_lie_may_change_and_what_they_are_may_not(tmp_path: Path) -> None:
    started(tmp_path)
    moved = SETTINGS.data.model_copy(update={"folder": "/elsewhere"})
    RunFolder(tmp_path, SETTINGS.model_copy(update={"data": moved}), resume=True).close()
    paths = [SETTINGS.data.model_copy(update={"name": name}) for name in ("a/x.npz", "/b/x.npz")]
    one, same = (SETTINGS.model_copy(update={"data": data}) for data in paths)
    RunFolder(tmp_path / "own", one).close()
    RunFolder(tmp_path / "own", same, resume=True).close()
    other = SETTINGS.data.model_copy(update={"name": "svhn"})
    with pytest.raises(RunFolderError, match=r"its data\.name is 'digits', not 'svhn'"):
        RunFolder(tmp_path, SETTINGS.model_copy(update={"data": other}), resume=True)
