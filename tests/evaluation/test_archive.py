"""The archive: append-only, safe between processes, and never at the cost of another's file."""

import json
import sqlite3
import subprocess
import sys
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from pathlib import Path
from threading import Barrier

import pytest

from archpress.errors import ArchiveError
from archpress.evaluation.archive import Archive, Merged
from archpress.evaluation.archive_lines import read_json_lines
from archpress.evaluation.record import Evaluation, Job
from tests.evaluation.tiny import TINY, network

WRITER = """
import sys
from pathlib import Path
from archpress.evaluation.archive import Archive
from tests.evaluation.test_archive import evaluation
path, first, last = Path(sys.argv[1]), int(sys.argv[2]), int(sys.argv[3])
with Archive(path) as archive:
    print(sum(archive.add(evaluation(seed)) for seed in range(first, last)))
"""


def evaluation(seed: int, accuracy: float = 0.5) -> Evaluation:
    job = Job(network(), TINY, seed, "d1")
    return Evaluation.of(job, "ok", validation_accuracy=accuracy, losses=(2.5, 1 / 3), images=64)


@pytest.fixture
def archive(tmp_path: Path) -> Iterator[Archive]:
    with Archive(tmp_path / "archive.sqlite") as opened:
        yield opened


def filled(path: Path, count: int) -> Path:
    with Archive(path) as archive:
        archive.merge(evaluation(seed) for seed in range(count))
    return path


def execute(path: Path, statement: str) -> None:
    with closing(sqlite3.connect(path)) as database, database:
        database.execute(statement)


def test_what_was_added_is_there_after_closing(tmp_path: Path) -> None:
    path = filled(tmp_path / "new" / "folder" / "archive.sqlite", 3)
    with Archive(path) as archive:
        assert len(archive) == 3
        assert archive.get(evaluation(1).key) == evaluation(1)
        assert archive.get("no such key") is None


def test_a_key_is_written_once_and_never_changed(archive: Archive) -> None:
    assert archive.add(evaluation(0, accuracy=0.5)) is True
    assert archive.add(evaluation(0, accuracy=0.9)) is False
    assert list(archive) == [evaluation(0, accuracy=0.5)]


@pytest.mark.parametrize(
    "statement", ["UPDATE evaluations SET status = 'ok'", "DELETE FROM evaluations"]
)
def test_records_cannot_be_changed_by_other_programs_either(
    archive: Archive, statement: str
) -> None:
    archive.add(evaluation(0))
    with pytest.raises(sqlite3.IntegrityError, match="append-only"):
        execute(archive.path, statement)
    assert list(archive) == [evaluation(0)]


def test_iteration_is_in_order_of_key_whatever_the_order_of_writing(archive: Archive) -> None:
    archive.merge(evaluation(seed) for seed in (7, 30, 2, 11, 0))
    keys = [found.key for found in archive]
    assert keys == sorted(evaluation(seed).key for seed in (0, 2, 7, 11, 30))


def test_export_and_import_give_the_same_archive(archive: Archive, tmp_path: Path) -> None:
    archive.merge(evaluation(seed) for seed in range(5))
    assert archive.export(tmp_path / "export.jsonl") == 5
    with Archive(tmp_path / "copy.sqlite") as copy:
        assert copy.merge(read_json_lines(tmp_path / "export.jsonl")) == Merged(added=5)
        assert list(copy) == list(archive)
        copy.export(tmp_path / "again.jsonl")
    assert (tmp_path / "again.jsonl").read_bytes() == (tmp_path / "export.jsonl").read_bytes()


def test_merging_adds_what_is_new_and_keeps_what_is_there(archive: Archive) -> None:
    archive.merge(evaluation(seed, accuracy=0.5) for seed in (0, 1))
    merged = archive.merge(evaluation(seed, accuracy=0.9) for seed in (1, 2, 3))
    assert merged == Merged(added=2, conflicts=(evaluation(1).key,))
    scores = {found.seed: found.validation_accuracy for found in archive}
    assert scores == {0: 0.5, 1: 0.5, 2: 0.9, 3: 0.9}


def text_file(path: Path) -> None:
    path.write_text("these are my notes\n" * 300)


def half_an_archive(path: Path) -> None:
    content = filled(path, 200).read_bytes()
    path.write_bytes(content[: len(content) // 2])


def archive_with_a_lost_page(path: Path) -> None:
    content = bytearray(filled(path, 200).read_bytes())
    content[4096 * 3 : 4096 * 4] = bytes(4096)
    path.write_bytes(content)


def other_database(path: Path) -> None:
    execute(path, "CREATE TABLE notes (text TEXT)")


def other_database_of_version_1(path: Path) -> None:
    other_database(path)
    execute(path, "PRAGMA user_version = 1")


def newer_archive(path: Path) -> None:
    execute(filled(path, 2), "PRAGMA user_version = 2")


@pytest.mark.parametrize(
    ("make", "sentence"),
    [
        (text_file, "is not a usable archive: file is not a database"),
        (half_an_archive, "is damaged|is not a usable archive: .*malformed"),
        (archive_with_a_lost_page, "is damaged|is not a usable archive: .*malformed"),
        (other_database, r"is not an archive of format version 1 \(it says 0\): use another file"),
        (other_database_of_version_1, "is not an archive of format version 1"),
        (newer_archive, "is an archive of format version 2, expected 1: install a newer archpress"),
    ],
)
def test_a_file_that_is_no_archive_is_refused_and_left_as_it_was(
    make: Callable[[Path], None], sentence: str, tmp_path: Path
) -> None:
    path = tmp_path / "file"
    make(path)
    before = path.read_bytes()
    with pytest.raises(ArchiveError, match=sentence) as caught:
        Archive(path)
    assert str(path) in str(caught.value)
    assert "\n" not in str(caught.value)
    assert path.read_bytes() == before


@pytest.mark.parametrize("record", ["{", "[]", '{"version": 1, "key": "k"}', '{"version": 2}'])
def test_a_damaged_record_is_reported_when_it_is_read(archive: Archive, record: str) -> None:
    archive.add(evaluation(0))
    execute(archive.path, f"INSERT INTO evaluations VALUES ('z', 'ok', '{record}')")
    with pytest.raises(ArchiveError, match=r"is damaged|expected an evaluation|incomplete"):
        list(archive)
    with pytest.raises(ArchiveError):
        archive.get("z")
    assert archive.get(evaluation(0).key) == evaluation(0)


def cut(lines: list[str]) -> str:
    return lines[0] + lines[1][: len(lines[1]) // 2]


def of_another_version(lines: list[str]) -> str:
    return lines[0] + json.dumps({**json.loads(lines[1]), "version": 7}) + "\n"


def of_no_network(lines: list[str]) -> str:
    record = json.loads(lines[1])
    record["architecture"]["layers"].pop()
    return lines[0] + json.dumps(record) + "\n"


@pytest.mark.parametrize("damage", [cut, of_another_version, of_no_network])
def test_a_damaged_line_of_an_export_is_named(
    damage: Callable[[list[str]], str], archive: Archive, tmp_path: Path
) -> None:
    archive.merge(evaluation(seed) for seed in range(2))
    path = tmp_path / "export.jsonl"
    archive.export(path)
    path.write_text(damage(path.read_text().splitlines(keepends=True)))
    with pytest.raises(ArchiveError, match=r"export\.jsonl, line 2: "):
        list(read_json_lines(path))


@pytest.mark.parametrize("content", [None, b"\xff\xfe{}\n"], ids=["no file", "not text"])
def test_an_export_that_cannot_be_read_is_refused(content: bytes | None, tmp_path: Path) -> None:
    path = tmp_path / "export.jsonl"
    if content is not None:
        path.write_bytes(content)
    with pytest.raises(ArchiveError, match=r"export\.jsonl cannot be read: "):
        list(read_json_lines(path))


def test_an_archive_that_must_be_there_is_not_made(tmp_path: Path) -> None:
    with pytest.raises(ArchiveError, match=r"there is no archive .*missing\.sqlite"):
        Archive.open_readonly(tmp_path / "missing.sqlite")
    assert not list(tmp_path.iterdir())


def test_an_existing_archive_is_opened(tmp_path: Path) -> None:
    with Archive.open_readonly(filled(tmp_path / "archive.sqlite", 2)) as archive:
        assert len(archive) == 2


@pytest.mark.parametrize("place", ["notes.txt/archive.sqlite", ".", "/proc/archive.sqlite"])
def test_a_place_that_cannot_be_written_is_refused_in_one_sentence(
    place: str, tmp_path: Path
) -> None:
    (tmp_path / "notes.txt").write_text("notes")
    with pytest.raises(ArchiveError, match="is not a usable archive: "):
        Archive(tmp_path / place)


def test_a_full_disk_is_reported_and_costs_nothing_that_was_stored(archive: Archive) -> None:
    archive.add(evaluation(0))
    pages = archive._database.execute("PRAGMA page_count").fetchone()[0]
    archive._database.execute(f"PRAGMA max_page_count = {pages}")
    with pytest.raises(ArchiveError, match=r"cannot write to .*archive\.sqlite: .*full"):
        archive.merge(evaluation(seed) for seed in range(100))
    stored = list(archive)
    assert evaluation(0) in stored
    assert len(stored) == len(archive) < 100


def test_two_processes_write_one_new_archive_and_lose_nothing(tmp_path: Path) -> None:
    path = tmp_path / "archive.sqlite"
    writers = [
        subprocess.Popen(
            [sys.executable, "-c", WRITER, str(path), str(first), str(first + 120)],
            stdout=subprocess.PIPE, cwd=Path(__file__).parents[2],
        )
        for first in (0, 80)
    ]  # fmt: skip
    added = [int(writer.communicate(timeout=100)[0]) for writer in writers]
    assert sum(added) == 200
    with Archive(path) as archive:
        assert {found.seed for found in archive} == set(range(200))


def test_an_archive_may_be_made_by_many_at_the_same_moment(tmp_path: Path) -> None:
    starts = Barrier(4)

    def make_and_add(seed: int) -> None:
        for number in range(12):
            starts.wait(timeout=60)
            with Archive(tmp_path / f"{number}.sqlite") as archive:
                archive.add(evaluation(seed))

    with ThreadPoolExecutor(4) as threads:
        list(threads.map(make_and_add, range(4)))
    for number in range(12):
        with Archive(tmp_path / f"{number}.sqlite") as archive:
            assert len(archive) == 4


def test_opening_does_not_wait_for_another_who_has_the_archive_open(archive: Archive) -> None:
    archive._database.execute("BEGIN IMMEDIATE")
    with Archive(archive.path) as other:
        assert len(other) == 0
    archive._database.execute("COMMIT")
