"""One writer at a time: refused at once, told who has it, and free again after a kill."""

import contextlib
import os
import platform
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from archpress.errors import ArchiveError
from archpress.evaluation.archive import Archive
from archpress.evaluation.archive_lines import read_json_lines
from tests.evaluation.test_archive import evaluation, filled
from tests.evaluation.tiny import is_running

ROOT = Path(__file__).parents[2]
HOLDER = """
import sys, time
from pathlib import Path
from archpress.evaluation.archive import Archive
with Archive(Path(sys.argv[1])) as archive, archive.writing():
    print("held", flush=True)
    time.sleep(100)
"""
FORKING = """
import os, sys, time
from pathlib import Path
from archpress.evaluation.archive import Archive
with Archive(Path(sys.argv[1])) as archive, archive.writing():
    child = os.fork()
    if child:
        print(child, flush=True)
    time.sleep(100)
"""


@contextmanager
def holder(path: Path, script: str = HOLDER) -> Iterator[subprocess.Popen[str]]:
    process = subprocess.Popen(
        [sys.executable, "-c", script, str(path)], stdout=subprocess.PIPE, text=True, cwd=ROOT
    )
    try:
        yield process
    finally:
        process.kill()
        process.communicate()


def next_line(process: subprocess.Popen[str]) -> str:
    assert process.stdout
    return process.stdout.readline().strip()


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return filled(tmp_path / "archive.sqlite", 3)


def lock_of(path: Path) -> Path:
    return path.with_name(f"{path.name}.lock")


def test_a_second_process_is_refused_at_once_and_freed_by_a_kill(path: Path) -> None:
    with holder(path) as process, Archive(path) as archive:
        assert next_line(process) == "held"
        start = time.monotonic()
        with pytest.raises(ArchiveError) as caught, archive.writing():
            raise AssertionError("two writers")
        assert time.monotonic() - start < 5
        said = str(caught.value)
        assert f"archive {path}: another process (pid {process.pid} on {platform.node()})" in said
        assert "wait until it has ended, or write to another archive" in said
        with pytest.raises(ArchiveError, match="is writing to it"):
            archive.merge([evaluation(9)])
        assert len(list(archive)) == len(archive) == 3  # who reads is not kept out
        assert archive.get(evaluation(1).key) == evaluation(1)

        process.send_signal(signal.SIGKILL)
        process.wait()
        assert lock_of(path).exists()
        with archive.writing():
            assert archive.add(evaluation(3))
    assert not lock_of(path).exists()


@pytest.mark.skipif(not hasattr(os, "fork"), reason="there is no fork")
def test_a_forked_child_does_not_keep_the_lock_of_a_killed_parent(path: Path) -> None:
    with holder(path, FORKING) as process, Archive(path) as archive:
        child = int(next_line(process))
        try:
            with pytest.raises(ArchiveError, match=f"pid {process.pid} "), archive.writing():
                raise AssertionError("two writers")
            process.kill()
            process.wait()
            assert is_running(child)
            with archive.writing():
                assert archive.add(evaluation(3))
        finally:
            os.kill(child, signal.SIGKILL)


def test_one_archive_may_take_it_again_and_keeps_it_to_the_end(path: Path) -> None:
    with Archive(path) as archive, Archive(path) as other:
        with archive.writing():
            with archive.writing():
                assert archive.merge([evaluation(3)]).added == 1
            with pytest.raises(ArchiveError), other.writing():
                raise AssertionError("let go too early")
        with other.writing():
            assert other.add(evaluation(4))


def test_two_archives_of_one_process_exclude_each_other_under_any_name(path: Path) -> None:
    link = path.with_name("link.sqlite")
    link.symlink_to(path)
    with Archive(path) as archive, Archive(link) as other, archive.writing():
        words = rf"another Archive of this process \(pid {os.getpid()} on "
        with pytest.raises(ArchiveError, match=words), other.writing():
            raise AssertionError("two writers")
        assert other.get(evaluation(0).key) == evaluation(0)


def test_the_lock_is_let_go_when_a_block_fails(path: Path) -> None:
    with Archive(path) as archive, Archive(path) as other:
        with pytest.raises(KeyError), archive.writing():
            raise KeyError
        with other.writing():
            assert lock_of(path).exists()
    assert sorted(p.name for p in path.parent.iterdir()) == ["archive.sqlite"]


def test_a_holder_who_has_not_named_itself_yet_is_told_of_too(path: Path) -> None:
    fcntl = pytest.importorskip("fcntl")
    with lock_of(path).open("w") as file, Archive(path) as archive:
        fcntl.flock(file, fcntl.LOCK_EX)
        with pytest.raises(ArchiveError, match="pid unknown"), archive.writing():
            raise AssertionError("two writers")


def test_a_lock_file_that_was_replaced_is_not_taken_for_the_one_there(
    path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    fcntl = pytest.importorskip("fcntl")
    flock: Callable[[int, int], None] = fcntl.flock
    removed: list[int] = []

    def remove_before_the_first(descriptor: int, operation: int) -> None:
        if not removed:  # what happens when the holder ends between our opening and locking
            lock_of(path).unlink()
            removed.append(descriptor)
        flock(descriptor, operation)

    monkeypatch.setattr(fcntl, "flock", remove_before_the_first)
    with Archive(path) as archive, Archive(path) as other, archive.writing():
        assert removed
        with pytest.raises(ArchiveError, match="is writing to it"), other.writing():
            raise AssertionError("two writers")


def test_a_place_where_no_lock_can_be_made_is_refused(path: Path) -> None:
    lock_of(path).mkdir()
    with Archive(path) as archive:
        with pytest.raises(ArchiveError, match=r"cannot lock .*\.lock: Is a directory"):
            archive.merge([evaluation(9)])
        assert len(archive) == 3


def test_without_locks_in_the_system_an_archive_can_still_be_written(
    path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("archpress.evaluation.archive_lock.fcntl", None)
    with Archive(path) as archive, archive.writing():
        assert archive.merge([evaluation(3)]).added == 1
    assert not lock_of(path).exists()


def test_an_archive_in_memory_has_no_one_to_keep_out(path: Path) -> None:
    with Archive.in_memory() as archive, Archive.in_memory() as other:
        with archive.writing(), other.writing(), Archive(path) as source:
            assert archive.merge(source).added == 3
        archive.export(path.with_name("export.jsonl"))
        assert other.merge(read_json_lines(path.with_name("export.jsonl"))).added == 3
        assert list(other) == list(archive)
        assert archive.get(evaluation(2).key) == evaluation(2)
    assert not Path(":memory:").exists()


@pytest.mark.skipif(not hasattr(os, "fork"), reason="there is no fork")
def test_a_forked_child_that_leaves_the_block_takes_nothing_from_its_parent(path: Path) -> None:
    with Archive(path) as archive, Archive(path) as other:
        held = archive.writing()
        with held:
            child = os.fork()
            if not child:
                with contextlib.suppress(BaseException):
                    held.__exit__(None, None, None)
                    os._exit(0)
                os._exit(1)
            assert os.waitpid(child, 0)[1] == 0
            assert lock_of(path).exists()
            with pytest.raises(ArchiveError), other.writing():
                raise AssertionError("the child let the lock go")
            assert archive.add(evaluation(3))
