"""The store of evaluations: append-only SQLite with a write-ahead log."""

import contextlib
import json
import sqlite3
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, replace
from itertools import islice
from pathlib import Path
from types import TracebackType
from typing import Any

from archpress.errors import ArchiveError
from archpress.evaluation import archive_database as files
from archpress.evaluation.archive_database import Row
from archpress.evaluation.archive_lines import write_json_lines
from archpress.evaluation.archive_lock import WriterLock
from archpress.evaluation.record import READABLE_VERSIONS, Evaluation

BATCH = 1000
"""Evaluations merged in one transaction."""


@dataclass(frozen=True)
class Merged:
    """What became of evaluations that were merged into an archive.

    Attributes:
        added: How many were new.
        same: How many were there with the same status and accuracy; time and place may differ.
        conflicts: Keys of those that were there with another; what was there is kept.
    """

    added: int = 0
    same: int = 0
    conflicts: tuple[str, ...] = ()


class Archive:
    """Evaluations by key; a key is written once and never changed.

    Every :meth:`add` is one transaction: after a kill at any moment a record is there whole or not
    at all. Any number of processes may read while the archive grows; who adds much takes
    :meth:`writing` first, which one at a time can hold.

    Args:
        path: The SQLite file; made where absent, with its folder.

    Raises:
        ArchiveError: The file is damaged, of another kind, of a newer version, or not writable; or
            the path is the name of an export, or of an archive in the package.
    """

    def __init__(self, path: Path) -> None:
        from archpress.evaluation.archive_lines import is_json_lines
        from archpress.evaluation.shipped import shipped_names

        if is_json_lines(Path(path)):
            raise ArchiveError(
                f"{path} has the name of an export, which is only read: name a file such as "
                f"archive.sqlite; archpress archive export writes exports"
            )
        if str(path) in shipped_names() and not Path(path).exists():
            raise ArchiveError(
                f"{path} comes with the package and is only read: name a file of your own; "
                f"archpress archive merge FILE {path} copies it into one"
            )
        self._use(Path(path), files.open_writable)
        self._lock: WriterLock | None = WriterLock(self.path)

    @classmethod
    def open_readonly(cls, path: Path) -> "Archive":
        """Return the archive at ``path``, which must be there, to read only.

        The place need not be writable. What other processes add is seen as soon as it is there.

        Raises:
            ArchiveError: The file is not there, damaged, of another kind or of a newer version.
        """
        archive = cls.__new__(cls)
        archive._use(Path(path), _open_checked)
        archive._lock = None
        return archive

    @classmethod
    def in_memory(cls) -> "Archive":
        """Return an empty archive that ends with the process."""
        archive = cls.__new__(cls)
        archive._use(Path(":memory:"), lambda path: files.open_in_memory())
        archive._lock = None
        return archive

    def _use(self, path: Path, connect: Callable[[Path], sqlite3.Connection]) -> None:
        self.path = path
        try:
            self._database = connect(path)
        except (sqlite3.Error, OSError) as error:
            raise ArchiveError(f"{path} is not a usable archive: {error}") from error

    def __enter__(self) -> "Archive":
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        value: BaseException | None,
        tb: TracebackType | None,
    ) -> None:
        self.close()

    def close(self) -> None:
        """Close the file; what was added is safe without it."""
        self._database.close()

    @contextlib.contextmanager
    def writing(self) -> Iterator[None]:
        """Keep other writers out during a block; what holds it already may take it again.

        The system drops the lock with the process, also when that is killed. Readers are not kept
        out. An archive in memory, or opened to read only, has no other writers to keep out.

        Raises:
            ArchiveError: Another process, or another Archive of this one, is writing.
        """
        with self._lock.held() if self._lock else contextlib.nullcontext():
            yield

    def add(self, evaluation: Evaluation) -> bool:
        """Store one evaluation; return False where its key is there already.

        Raises:
            ArchiveError: The record cannot be written (disk full, file gone).
        """
        row = _row(evaluation)
        with self._adding():
            return files.insert(self._database, row)

    def merge(self, evaluations: "Iterable[Evaluation] | Archive") -> Merged:
        """Add evaluations whose keys are new; return how many were, and which differ.

        Another archive's are taken over as they stand.

        Killed in between, a part of them is there, and merging again adds the rest.

        Raises:
            ArchiveError: Another process is writing, or a record cannot be read or written.
        """
        rows = (
            evaluations._readable_rows()
            if isinstance(evaluations, Archive)
            else map(_row, evaluations)
        )
        merged = Merged()
        with self.writing():
            while batch := list(islice(rows, BATCH)):
                with self._adding():
                    merged = self._merge(batch, merged)
        return merged

    def _merge(self, rows: list[Row], merged: Merged) -> Merged:
        known = [row for row in rows if not files.insert(self._database, row)]
        conflicts = [row[0] for row in known if self._outcome(row) != self._outcome_of(row[0])]
        return replace(
            merged,
            added=merged.added + len(rows) - len(known),
            same=merged.same + len(known) - len(conflicts),
            conflicts=(*merged.conflicts, *conflicts),
        )

    def _outcome_of(self, key: str) -> tuple[str, Any]:
        return next(map(self._outcome, self._rows("WHERE e.key = ?", key)))

    def _outcome(self, row: Row) -> tuple[str, Any]:
        """Return what must be equal wherever a job is done: status and accuracy."""
        return row[1], self._parsed(row).get("validation_accuracy")

    @contextlib.contextmanager
    def _adding(self) -> Iterator[None]:
        try:
            with files.transaction(self._database):
                yield
        except sqlite3.Error as error:
            raise ArchiveError(f"cannot write to {self.path}: {error}") from error

    def get(self, key: str) -> Evaluation | None:
        """Return the evaluation of a job's key, or None."""
        return next((self._read(row) for row in self._rows("WHERE e.key = ?", key)), None)

    def __len__(self) -> int:
        try:
            rows = self._database.execute("SELECT count(*) FROM evaluations")
            return int(rows.fetchone()[0])
        except sqlite3.Error as error:
            raise ArchiveError(f"{self.path} is damaged: {error}") from error

    def __iter__(self) -> Iterator[Evaluation]:
        """Iterate in order of key, so that equal archives read equal."""
        return map(self._read, self._rows("ORDER BY e.key"))

    def starting_with(self, prefix: str) -> Iterator[Evaluation]:
        """Return the evaluations whose keys start with ``prefix``: a network's, for its digest."""
        rows = self._rows("WHERE e.key >= ? AND e.key < ? ORDER BY e.key", prefix, prefix + "\x7f")
        return map(self._read, rows)

    def networks(self, prefix: str = "") -> list[str]:
        """Return the digests of networks that start with ``prefix``, in order."""
        query = "SELECT DISTINCT substr(key, 1, instr(key, '-') - 1) FROM evaluations"
        bounds = (prefix, prefix + "\x7f")
        try:
            rows = self._database.execute(f"{query} WHERE key >= ? AND key < ? ORDER BY 1", bounds)
            return [digest for (digest,) in rows]
        except sqlite3.Error as error:
            raise ArchiveError(f"{self.path} is damaged: {error}") from error

    def records(self) -> Iterator[dict[str, Any]]:
        """Return the records one by one as JSON values in order of key; builds no networks."""
        return map(self._parsed, self._rows("ORDER BY e.key"))

    def _readable_rows(self) -> Iterator[Row]:
        """Iterate over rows, sure that this version can read them and that keys are in place."""
        for row in self._rows("ORDER BY e.key"):
            if self._parsed(row).get("key") != row[0]:
                raise ArchiveError(f"{self.path} is damaged: the record of {row[0]} is of another")
            yield row

    def _rows(self, rest: str, *values: str) -> Iterator[Row]:
        """Iterate over rows that are as they were written."""
        try:
            for row, intact in files.select(self._database, rest, *values):
                if not intact:
                    raise ArchiveError(
                        f"{self.path} is damaged: the record of {row[0]} is not what was written"
                    )
                yield row
        except (sqlite3.Error, TypeError) as error:
            raise ArchiveError(f"{self.path} is damaged: {error}") from error

    def _parsed(self, row: Row) -> dict[str, Any]:
        record = self._json(row)
        if not isinstance(record, dict) or record.get("version") not in READABLE_VERSIONS:
            raise ArchiveError(
                f"{self.path}, record of {row[0]}: expected an evaluation of format version "
                f"{READABLE_VERSIONS[-1]} or older"
            )
        return record

    def _read(self, row: Row) -> Evaluation:
        try:
            return Evaluation.from_json(self._json(row))
        except ArchiveError as error:
            raise ArchiveError(f"{self.path}, record of {row[0]}: {error}") from error

    def _json(self, row: Row) -> Any:
        try:
            return json.loads(row[2])
        except json.JSONDecodeError as error:
            raise ArchiveError(f"{self.path} is damaged: record of {row[0]}: {error}") from error

    def export(self, path: Path) -> int:
        """Write all evaluations to ``path`` as JSON lines in order of key; return how many.

        Compressed where the name ends in ``.xz`` or ``.gz``; equal archives give equal bytes.
        """
        return write_json_lines(Path(path), (_text(evaluation) for evaluation in self))


def _open_checked(path: Path) -> sqlite3.Connection:
    database = files.open_readable(path)
    try:
        files.check_pages(database)
    except BaseException:
        database.close()
        raise
    return database


def _text(evaluation: Evaluation) -> str:
    return json.dumps(evaluation.to_json(), sort_keys=True)


def _row(evaluation: Evaluation) -> Row:
    return evaluation.key, evaluation.status, _text(evaluation)
