"""Archives of others: read-only, still growing, of the first version, or as JSON lines."""

import gzip
import json
import lzma
import os
import shutil
import sqlite3
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from archpress.errors import ArchiveError
from archpress.evaluation.archive import Archive, Merged
from archpress.evaluation.archive_lines import is_json_lines, read_json_lines
from tests.evaluation.test_archive import evaluation, execute, filled

ROOT = Path(__file__).parents[2]
SLOW_WRITER = """
import sys, time
from pathlib import Path
from archpress.evaluation.archive import Archive
from tests.evaluation.test_archive import evaluation
with Archive(Path(sys.argv[1])) as archive, archive.writing():
    for seed in range(1, 80):
        archive.add(evaluation(seed))
        time.sleep(0.01)
"""
OLD = Path(__file__).parent / "old_formats"
OLD_STATUSES = ["diverged", "ok", "ok", "out_of_memory", "failed", "ok"]


def names(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


# ------------------------------------------------------------------ reading only


def test_an_archive_opened_to_read_cannot_be_changed(tmp_path: Path) -> None:
    path = filled(tmp_path / "archive.sqlite", 3)
    before = path.read_bytes()
    with Archive.open_readonly(path) as archive:
        assert list(archive) == sorted(map(evaluation, range(3)), key=lambda e: e.key)
        for change in (lambda: archive.add(evaluation(9)), lambda: archive.merge([evaluation(9)])):
            with pytest.raises(ArchiveError, match=r"cannot write to .*readonly database"):
                change()
        assert len(archive) == 3
    assert path.read_bytes() == before
    assert names(tmp_path) == ["archive.sqlite"]


@pytest.mark.parametrize("name", ["a?mode=memory", "50%20#1.sqlite", "file:x", ":memory:"])
def test_a_name_is_a_name_whatever_it_looks_like(
    name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    filled(Path(name), 2)
    assert names(tmp_path) == [name]
    with Archive.open_readonly(Path(name)) as archive:
        assert len(archive) == 2


def test_a_key_is_found_without_reading_the_others(tmp_path: Path) -> None:
    with Archive.open_readonly(filled(tmp_path / "archive.sqlite", 2)) as archive:
        asked: list[str] = []
        archive._database.set_trace_callback(asked.append)
        assert archive.get(evaluation(1).key) == evaluation(1)
        archive._database.set_trace_callback(None)
        for query in asked:
            plan = [row[3] for row in archive._database.execute(f"EXPLAIN QUERY PLAN {query}")]
            assert all(step.startswith("SEARCH") for step in plan if "sqlite_" not in step)
        assert len(asked) == 2


def test_what_is_to_be_read_must_be_there(tmp_path: Path) -> None:
    with pytest.raises(ArchiveError, match=r"there is no archive .*missing\.sqlite"):
        Archive.open_readonly(tmp_path / "missing.sqlite")
    assert not names(tmp_path)


@pytest.fixture
def sealed(tmp_path: Path) -> Iterator[Callable[[Path], Path]]:
    """A second name of a folder, under which nothing can be written, not even by root."""
    mounted: list[Path] = []

    def seal(folder: Path) -> Path:
        place = tmp_path / "sealed"
        place.mkdir()
        bind = ["mount", "--bind", str(folder), str(place)]
        if os.geteuid() != 0 or subprocess.run(bind, capture_output=True, check=False).returncode:
            pytest.skip("only root can mount a folder to read only")
        mounted.append(place)
        subprocess.run(["mount", "-o", "remount,ro,bind", str(place)], check=True)
        return place

    yield seal
    for place in mounted:
        subprocess.run(["umount", "-l", str(place)], check=True)


def test_an_archive_is_read_where_nothing_can_be_written(
    sealed: Callable[[Path], Path], tmp_path: Path
) -> None:
    path = filled(tmp_path / "open" / "archive.sqlite", 3)
    place = sealed(path.parent)
    with Archive.open_readonly(place / "archive.sqlite") as archive:
        assert len(list(archive)) == 3
    with pytest.raises(ArchiveError, match="is not a usable archive"):
        Archive(place / "other.sqlite")
    with Archive(path) as writer:
        writer.add(evaluation(3))
        with Archive.open_readonly(place / "archive.sqlite") as archive:
            assert archive.get(evaluation(3).key) == evaluation(3)
            writer.add(evaluation(4))
            assert len(archive) == 5


def test_evaluations_that_cannot_be_read_there_are_not_left_out_silently(
    sealed: Callable[[Path], Path], tmp_path: Path
) -> None:
    copies = tmp_path / "copies"
    copies.mkdir()
    with Archive(filled(tmp_path / "archive.sqlite", 3)) as writer:
        writer.add(evaluation(3))
        for name in ("archive.sqlite", "archive.sqlite-wal"):  # as a killed writer leaves them
            shutil.copy(tmp_path / name, copies)
    with pytest.raises(ArchiveError, match=r"copy it and archive\.sqlite-wal to a folder of yours"):
        Archive.open_readonly(sealed(copies) / "archive.sqlite")
    with Archive.open_readonly(copies / "archive.sqlite") as archive:
        assert len(archive) == 4


def test_readers_see_whole_records_while_another_process_writes(tmp_path: Path) -> None:
    path = filled(tmp_path / "archive.sqlite", 1)
    writer = subprocess.Popen([sys.executable, "-c", SLOW_WRITER, str(path)], cwd=ROOT)
    counts = [1]
    while counts[-1] < 80:
        with Archive.open_readonly(path) as archive:
            while len(archive) == counts[-1]:
                assert writer.poll() in (None, 0)
                time.sleep(0.005)
            before, seen, after = len(archive), list(archive), len(archive)
        assert counts[-1] < before <= len(seen) <= after
        assert all(found == evaluation(found.seed) for found in seen)
        assert len({found.seed for found in seen}) == len(seen)
        counts.append(after)
    assert writer.wait() == 0
    assert len(counts) > 4  # it did grow while it was read


# ------------------------------------------------------------------ damage that opening cannot see


def test_a_digit_changed_within_a_record_is_noticed_when_it_is_read(tmp_path: Path) -> None:
    path = filled(tmp_path / "archive.sqlite", 1)
    content = path.read_bytes()
    assert content.count(b'"validation_accuracy": 0.5') == 1
    changed = content.replace(b'"validation_accuracy": 0.5', b'"validation_accuracy": 0.7')
    path.write_bytes(changed)
    for opened in (Archive, Archive.open_readonly):
        with opened(path) as archive, Archive.in_memory() as other:
            for reading in (
                lambda archive=archive: archive.get(evaluation(0).key),
                lambda archive=archive: list(archive),
                lambda archive=archive: list(archive.records()),
                lambda archive=archive, other=other: other.merge(archive),
            ):
                with pytest.raises(ArchiveError, match=r"is damaged: the record of .* is not what"):
                    reading()


# ------------------------------------------------------------------ merging


def test_merging_tells_the_same_from_what_contradicts(tmp_path: Path) -> None:
    from dataclasses import replace

    ours = [evaluation(seed) for seed in range(4)]
    theirs = [
        replace(ours[0], seconds=99.0, circumstances={"machine": "riscv64"}),
        replace(ours[1], validation_accuracy=0.25),
        replace(ours[2], status="failed", validation_accuracy=None, reason="fell over"),
        evaluation(4),
    ]
    expected = Merged(1, 1, (ours[1].key, ours[2].key))
    for name in ("evaluations", "archive"):
        with Archive(tmp_path / f"{name}.sqlite") as archive, Archive.in_memory() as other:
            assert archive.merge(ours) == Merged(added=4)
            other.merge(theirs)
            merged = archive.merge(theirs if name == "evaluations" else other)
            assert merged == Merged(expected.added, expected.same, merged.conflicts)
            assert set(merged.conflicts) == set(expected.conflicts)
            assert {e.key: e for e in archive} == {e.key: e for e in (*ours, evaluation(4))}


def test_many_batches_are_merged_as_one(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("archpress.evaluation.archive.BATCH", 7)
    with Archive(tmp_path / "archive.sqlite") as archive:
        assert archive.merge(evaluation(seed) for seed in range(14)).added == 14
        merged = archive.merge(evaluation(seed % 20, 0.5 + seed % 2) for seed in range(40))
        odd = {evaluation(seed).key for seed in range(1, 14, 2)}
        assert (merged.added, merged.same, set(merged.conflicts)) == (6, 20, odd)
        assert len(merged.conflicts) == 14
        assert archive.merge(archive) == Merged(same=20)


def test_a_source_that_breaks_off_leaves_whole_batches(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("archpress.evaluation.archive.BATCH", 3)

    def broken() -> Iterator[object]:
        yield from map(evaluation, range(5))
        raise ArchiveError("line 6 is damaged")

    with Archive(tmp_path / "archive.sqlite") as archive:
        with pytest.raises(ArchiveError, match="line 6"):
            archive.merge(broken())  # type: ignore[arg-type]
        assert [e.seed for e in archive] == [0, 1, 2]
        assert archive.merge(map(evaluation, range(6))) == Merged(added=3, same=3)


def test_a_record_filed_under_the_key_of_another_is_not_taken_over(tmp_path: Path) -> None:
    path = filled(tmp_path / "archive.sqlite", 1)
    execute(path, "INSERT INTO evaluations SELECT 'z', status, record FROM evaluations")
    with Archive(path) as archive, Archive.in_memory() as other:
        with pytest.raises(ArchiveError, match="the record of z is of another"):
            other.merge(archive)
        assert len(other) == 0


# ------------------------------------------------------------------ the first version


@pytest.fixture
def old(tmp_path: Path) -> Path:
    return Path(shutil.copy(OLD / "archive_v1.sqlite", tmp_path / "old.sqlite"))


def test_an_archive_of_the_first_version_is_read_and_not_changed(old: Path) -> None:
    before = old.read_bytes()
    for opened in (Archive.open_readonly, Archive):
        with opened(old) as archive:
            runs = list(archive)
            assert [run.status for run in runs] == OLD_STATUSES
            assert [run.steps for run in runs] == [0] * 6
            assert runs == list(read_json_lines(OLD / "archive_v1.jsonl"))
            assert archive.get(runs[1].key) == runs[1]
            assert runs[1].validation_accuracy == 0.2097902097902098
    assert old.read_bytes() == before


def test_an_archive_of_the_first_version_grows_on(old: Path, tmp_path: Path) -> None:
    with Archive(old) as archive, Archive.open_readonly(old) as reader:
        assert archive.add(evaluation(0))
        assert archive.merge(read_json_lines(OLD / "archive_v1.jsonl")) == Merged(same=6)
        assert list(reader) == list(archive)
        assert len(reader) == archive.export(tmp_path / "export.jsonl") == 7
        with Archive(tmp_path / "new.sqlite") as copy, Archive.in_memory() as other:
            assert copy.merge(read_json_lines(tmp_path / "export.jsonl")) == Merged(added=7)
            assert other.merge(archive) == Merged(added=7)
            assert list(copy) == list(other) == list(archive)
            copy.export(tmp_path / "again.jsonl")
    assert (tmp_path / "again.jsonl").read_bytes() == (tmp_path / "export.jsonl").read_bytes()


def test_a_program_of_the_first_version_may_go_on_writing(old: Path) -> None:
    with Archive(old) as archive:
        archive.add(evaluation(0))
        text = json.dumps(evaluation(1).to_json(), sort_keys=True)
        with sqlite3.connect(old) as database:  # the statement of the first version
            database.execute(
                "INSERT OR IGNORE INTO evaluations VALUES (?, ?, ?)",
                (evaluation(1).key, "ok", text),
            )
        database.close()
        assert archive.get(evaluation(1).key) == evaluation(1)
        assert len(list(archive)) == 8


# ------------------------------------------------------------------ JSON lines


@pytest.mark.parametrize("name", ["a.jsonl", "a.jsonl.gz", "a.jsonl.xz"])
def test_an_export_of_any_kind_is_read_back_and_equal_for_equal_archives(
    name: str, tmp_path: Path
) -> None:
    content = []
    for folder, seeds in (("one", range(5)), ("other", reversed(range(5)))):
        with Archive(tmp_path / folder / "archive.sqlite") as archive:
            for seed in seeds:
                archive.add(evaluation(seed))
            assert archive.export(tmp_path / folder / name) == 5
            assert list(read_json_lines(tmp_path / folder / name)) == list(archive)
        content.append((tmp_path / folder / name).read_bytes())
    assert content[0] == content[1]
    assert is_json_lines(tmp_path / name)
    assert not is_json_lines(tmp_path / "archive.sqlite")


def test_compressed_exports_are_what_other_programs_read(tmp_path: Path) -> None:
    with Archive(filled(tmp_path / "archive.sqlite", 5)) as archive:
        for name in ("a.jsonl", "a.jsonl.gz", "a.jsonl.xz"):
            archive.export(tmp_path / name)
    text = (tmp_path / "a.jsonl").read_bytes()
    packed = {n: (tmp_path / n).read_bytes() for n in ("a.jsonl.gz", "a.jsonl.xz")}
    assert gzip.decompress(packed["a.jsonl.gz"]) == text
    assert lzma.decompress(packed["a.jsonl.xz"]) == text
    assert max(map(len, packed.values())) < len(text) / 3


@pytest.mark.parametrize("name", ["a.jsonl.gz", "a.jsonl.xz"])
@pytest.mark.parametrize("damage", [lambda c: c[: len(c) // 2], lambda c: b"no such thing", bytes])
def test_a_damaged_compressed_export_is_refused(
    name: str, damage: Callable[[bytes], bytes], tmp_path: Path
) -> None:
    with Archive(filled(tmp_path / "archive.sqlite", 5)) as archive:
        archive.export(tmp_path / name)
    content = (tmp_path / name).read_bytes()
    changed = damage(content)
    if changed == content:
        changed = content[:40] + bytes(20) + content[60:]
    (tmp_path / name).write_bytes(changed)
    with pytest.raises(ArchiveError, match=rf"{name} cannot be read: |{name}, line "):
        list(read_json_lines(tmp_path / name))
