"""``archpress watch``: finished, stopped, failed and running runs; TensorBoard scalars."""

import errno
import fcntl
import json
import os
import pty
import shutil
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

import pytest

from archpress.compression.progress_file import PROGRESS, KeptProgress
from archpress.compression.run_folder import RunFolder, is_held, read_settings
from archpress.files import write_json
from archpress.reporting.live import clock
from archpress.reporting.run_view import RunView
from archpress.reporting.scalars import Scalars
from tests.tiny_runs import (
    ROOT,
    FinishedRun,
    archpress,
    archpress_process,
    finish_joint_run,
    refused,
)


@pytest.fixture
def copied(finished_run: FinishedRun, tmp_path: Path) -> Path:
    return Path(shutil.copytree(finished_run.folder, tmp_path / "run"))


def unfinished(folder: Path) -> Path:
    (folder / "result.json").unlink()
    return folder


@contextmanager
def held(folder: Path) -> Iterator[None]:
    """Hold a run folder as a run does."""
    with (folder / "run.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield


def test_a_finished_run(copied: Path) -> None:
    done = archpress("watch", copied)
    assert (done.exit_code, done.stderr) == (0, "")
    view = RunView.of(copied)
    assert done.stdout.startswith("finished ")
    with held(copied):
        assert "finished, a rival is at work" in archpress("watch", copied).stdout
    assert f"at most {view.budget:,} parameters" in done.stdout
    within = [label for label in view.front if label.parameters <= (view.budget or 0)]
    assert within
    for label in within:
        assert label.architecture.digest in done.stdout
        assert f"{100 * (label.accuracy or 0):.2f}" in done.stdout
    assert f"{len(view.runs)} trainings, " in done.stdout


def test_the_stages_are_those_that_the_run_told(copied: Path) -> None:
    stages = json.loads((copied / PROGRESS).read_text())
    assert {"labels", "contest", "final training"} <= set(stages)
    assert all(done == total for done, total, *_ in stages.values())
    said = archpress("watch", copied).stdout
    for name, (_, _, seconds, *_) in stages.items():
        row = next(line for line in said.splitlines() if line.startswith(name))
        assert "100 %" in row
        assert clock(seconds) in row


def test_a_stopped_a_failed_and_a_running_run(copied: Path) -> None:
    unfinished(copied)
    write_json(copied / PROGRESS, {"labels": [300, 900, 7_000.0, 200]})
    assert not is_held(copied)
    assert archpress("watch", copied).stdout.startswith("stopped ")
    with held(copied):
        assert is_held(copied)
        said = archpress("watch", copied).stdout
        assert said.startswith("running ")
        assert "33 %" in said
        assert "11:40:00" in said  # 600 units are left, and a hundred took 7,000 seconds
    assert "11:40:00" not in archpress("watch", copied).stdout
    write_json(copied / "failure.json", {"reason": "nothing could be trained"})
    said = archpress("watch", copied).stdout
    assert said.startswith("failed ")
    assert "nothing could be trained" in said


def test_it_stays_while_a_run_goes_on_and_leaves_when_it_ends(copied: Path) -> None:
    unfinished(copied)
    leader, follower = pty.openpty()
    with held(copied):
        process = subprocess.Popen(
            [sys.executable, "-m", "archpress", "watch", str(copied), "--every", "0.3"],
            stdout=follower, stderr=follower, cwd=ROOT,
            env={**os.environ, "TERM": "xterm", "COLUMNS": "120"},
        )  # fmt: skip
        os.close(follower)
        shown: list[bytes] = []
        reader = threading.Thread(target=read_all, args=(leader, shown))
        reader.start()
        wait_for(lambda: b"running" in b"".join(shown))
        write_json(copied / PROGRESS, {"labels": [1, 100, 360_061.0, 0]})
        wait_for(lambda: b"100:01:01" in b"".join(shown))
        assert process.poll() is None
    assert process.wait(timeout=30) == 0
    reader.join(timeout=10)
    os.close(leader)
    assert b"stopped" in b"".join(shown)


def read_all(source: int, into: list[bytes]) -> None:
    while True:
        try:
            read = os.read(source, 4096)
        except OSError:  # the other end is closed
            return
        if not read:
            return
        into.append(read)


def wait_for(happened: Callable[[], bool]) -> None:
    end = time.monotonic() + 60
    while not happened():
        assert time.monotonic() < end
        time.sleep(0.05)


def test_a_bound_that_is_no_target_counts_too(copied: Path) -> None:
    text = (copied / "run.toml").read_text()
    assert text.count("[constraints]\n") == 1
    bounded = text.replace("[constraints]\n", "[constraints]\nmacs = 40000\n")
    (copied / "run.toml").write_text(bounded)
    view = RunView.of(copied)
    assert view.limits is not None and view.limits.macs == 40_000
    shown = archpress("watch", copied).stdout
    for label in view.labels:
        if label.architecture.cost.macs > 40_000:
            assert label.architecture.digest not in shown


def test_ctrl_c_leaves_the_watching_and_says_nothing_of_the_run(copied: Path) -> None:
    with held(copied):
        process = archpress_process("watch", copied, "--tensorboard", copied / "events")
        wait_for(lambda: list((copied / "events").glob("events*")) != [])
        time.sleep(0.5)
        process.send_signal(signal.SIGINT)
        _, complaints = process.communicate(timeout=60)
    assert (process.returncode, complaints) == (0, "")


def test_a_look_does_not_keep_a_run_from_starting(tmp_path: Path, copied: Path) -> None:
    settings = read_settings(copied)
    stop = threading.Event()

    def look() -> None:
        while not stop.is_set():
            is_held(copied)

    looker = threading.Thread(target=look)
    looker.start()
    try:
        for _ in range(100):
            RunFolder(copied, settings, resume=True).close()
    finally:
        stop.set()
        looker.join()


def test_progress_that_cannot_be_written_stops_no_run(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(path: Path, record: object) -> Path:
        raise OSError(errno.ENOSPC, "No space left on device", str(path))

    monkeypatch.setattr("archpress.compression.progress_file.write_json", full)
    told: list[tuple[str, int, int]] = []
    KeptProgress(tmp_path, lambda *what: told.append(what))("labels", 1, 2)
    assert told == [("labels", 1, 2)]


def test_what_is_no_run_folder_is_refused(tmp_path: Path) -> None:
    assert "no run folder" in refused("watch", tmp_path)
    assert "no run folder" in refused("watch", tmp_path / "nowhere")


def test_progress_is_kept_when_stages_begin_and_end(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(time, "monotonic", lambda: 100.0)
    told: list[tuple[str, int, int]] = []
    kept = KeptProgress(tmp_path, lambda *what: told.append(what))
    kept("labels", 0, 2)
    assert json.loads((tmp_path / PROGRESS).read_text())["labels"][:2] == [0, 2]
    kept("labels", 1, 2)  # within the same second: not worth writing
    assert json.loads((tmp_path / PROGRESS).read_text())["labels"][:2] == [0, 2]
    kept("labels", 2, 2)
    kept("contest", 0, 1)
    stages = json.loads((tmp_path / PROGRESS).read_text())
    assert [(name, *row[:2]) for name, row in stages.items()] == [
        ("labels", 2, 2), ("contest", 0, 1)
    ]  # fmt: skip
    assert told == [("labels", 0, 2), ("labels", 1, 2), ("labels", 2, 2), ("contest", 0, 1)]


# ------------------------------------------------------------------ TensorBoard


def scalars_in(folder: Path) -> dict[str, list[tuple[int, float]]]:
    """Tag -> (step, value), as TensorBoard reads them."""
    accumulator = pytest.importorskip(
        "tensorboard.backend.event_processing.event_accumulator"
    ).EventAccumulator(str(folder))
    accumulator.Reload()
    return {
        tag: [(event.step, event.value) for event in accumulator.Scalars(tag)]
        for tag in accumulator.Tags()["scalars"]
    }


@pytest.mark.filterwarnings("ignore")  # of tensorboard's own imports
def test_scalars_of_labels_and_regressors(copied: Path, tmp_path: Path) -> None:
    pytest.importorskip("tensorboard")
    done = archpress("watch", copied, "--tensorboard", tmp_path / "events")
    assert done.exit_code == 0
    found, view = scalars_in(tmp_path / "events"), RunView.of(copied)
    accuracies = [value for _, value in found["label/accuracy"]]
    assert accuracies == pytest.approx([label.accuracy for label in view.labels])
    assert "holds something already" in refused(
        "watch", copied, "--tensorboard", tmp_path / "events"
    )
    within = [
        label.accuracy or 0.0 for label in view.labels if label.parameters <= (view.budget or 0)
    ]
    assert found["label/best"][-1] == (len(view.labels), pytest.approx(max(within)))
    assert any(tag.startswith("regressors/") for tag in found)


@pytest.mark.filterwarnings("ignore")
def test_every_label_is_written_once_however_often_it_is_looked(
    copied: Path, tmp_path: Path
) -> None:
    pytest.importorskip("tensorboard")
    view = RunView.of(copied)
    by_chance = sorted(view.runs, key=lambda run: run.key[::-1])
    with Scalars(tmp_path / "events") as scalars:
        for count in range(0, len(by_chance) + 1, 3):
            scalars.write(replace(view, runs=by_chance[:count]))
        scalars.write(view)
    found = scalars_in(tmp_path / "events")["label/accuracy"]
    assert [step for step, _ in found] == list(range(1, len(view.labels) + 1))
    expected = sorted(label.accuracy or 0.0 for label in view.labels)
    assert sorted(value for _, value in found) == pytest.approx(expected)


@pytest.mark.filterwarnings("ignore")
def test_scalars_of_the_joint_fit(finished_run: FinishedRun, tmp_path: Path) -> None:
    pytest.importorskip("tensorboard")
    joint = finish_joint_run(tmp_path, finished_run)
    archpress("watch", joint.folder, "--tensorboard", tmp_path / "events")
    found, view = scalars_in(tmp_path / "events"), RunView.of(joint.folder)
    assert found["fit/L"] == [(row["iteration"], pytest.approx(row["L"])) for row in view.fit]


def test_without_tensorboard_it_says_what_to_install(
    copied: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "tensorboard", None)
    said = refused("watch", copied, "--tensorboard", tmp_path / "events")
    assert 'pip install "archpress[tensorboard]"' in said
