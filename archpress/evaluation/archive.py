"""The store of evaluations: append-only SQLite with a write-ahead log."""

import contextlib
import json
import sqlite3
from collections.abc import Iterable, Iterator
from pathlib import Path
from types import TracebackType

from archpress.errors import ArchiveError
from archpress.evaluation.record import Evaluation
from archpress.files import write_text

FORMAT_VERSION = 1
TIMEOUT_SECONDS = 60
_SCHEMA = f"""
CREATE TABLE IF NOT EXISTS evaluations (
    key TEXT PRIMARY KEY, status TEXT NOT NULL, record TEXT NOT NULL
) WITHOUT ROWID;
CREATE TRIGGER IF NOT EXISTS append_only_update BEFORE UPDATE ON evaluations
BEGIN SELECT RAISE(ABORT, 'an archive is append-only'); END;
CREATE TRIGGER IF NOT EXISTS append_only_delete BEFORE DELETE ON evaluations
BEGIN SELECT RAISE(ABORT, 'an archive is append-only'); END;
PRAGMA user_version = {FORMAT_VERSION};
"""
_STATE = """
SELECT user_version, (SELECT count(*) FROM sqlite_master),
    (SELECT count(*) FROM sqlite_master WHERE name = 'evaluations') FROM pragma_user_version
"""


class Archive:
    """Evaluations by key; a key is written once and never changed.

    Every :meth:`add` is one transaction: after a kill at any moment a record is there whole or not
    at all. Several processes may read and write one archive.

    Args:
        path: The SQLite file; made where absent, with its folder.

    Raises:
        ArchiveError: The file is damaged, of another kind, of a newer version, or not writable.
    """

    def __init__(self, path: Path) -> None:
        self.path = Path(path)
        try:
            self.path.parent.mkdir(parents=True, exist_ok=True)
            self._database = sqlite3.connect(
                self.path, timeout=TIMEOUT_SECONDS, isolation_level=None
            )
        except (sqlite3.Error, OSError) as error:
            raise ArchiveError(f"{path} is not a usable archive: {error}") from error
        try:
            self._open()
        except BaseException as error:
            self._database.close()
            if isinstance(error, sqlite3.Error):
                raise ArchiveError(f"{path} is not a usable archive: {error}") from error
            raise

    def _open(self) -> None:
        """Check the file, and make the archive where it is empty; a file refused stays as it was.

        Other processes may be doing the same at this moment.
        """
        version, tables, ours = self._database.execute(_STATE).fetchone()
        if version == 0 and not tables:
            self._database.executescript(f"BEGIN IMMEDIATE; {_SCHEMA} COMMIT;")
        elif version != FORMAT_VERSION or not ours:
            raise ArchiveError(
                f"{self.path} is not an archive of format version {FORMAT_VERSION} "
                f"(it says {version}): use another file"
            )
        check = self._database.execute("PRAGMA quick_check").fetchone()[0]
        if check != "ok":
            raise ArchiveError(f"{self.path} is damaged: {' '.join(check.split())}")
        self._database.execute("PRAGMA busy_timeout = 0")
        with contextlib.suppress(sqlite3.OperationalError):  # in use: left to whoever opens it next
            self._database.execute("PRAGMA journal_mode = WAL")
        self._database.execute(f"PRAGMA busy_timeout = {1000 * TIMEOUT_SECONDS}")
        self._database.execute("PRAGMA synchronous = NORMAL")

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

    def add(self, evaluation: Evaluation) -> bool:
        """Store one evaluation; return False where its key is there already.

        Raises:
            ArchiveError: The record cannot be written (disk full, file gone).
        """
        text = json.dumps(evaluation.to_json(), sort_keys=True)
        try:
            cursor = self._database.execute(
                "INSERT OR IGNORE INTO evaluations VALUES (?, ?, ?)",
                (evaluation.key, evaluation.status, text),
            )
        except sqlite3.Error as error:
            raise ArchiveError(f"cannot write to {self.path}: {error}") from error
        return cursor.rowcount == 1

    def get(self, key: str) -> Evaluation | None:
        """Return the evaluation of a job's key, or None."""
        rows = self._select("SELECT record FROM evaluations WHERE key = ?", (key,))
        return next(rows, None)

    def __len__(self) -> int:
        try:
            rows = self._database.execute("SELECT count(*) FROM evaluations")
            return int(rows.fetchone()[0])
        except sqlite3.Error as error:
            raise ArchiveError(f"{self.path} is damaged: {error}") from error

    def __iter__(self) -> Iterator[Evaluation]:
        """Iterate in order of key, so that equal archives read equal."""
        return self._select("SELECT record FROM evaluations ORDER BY key", ())

    def _select(self, query: str, arguments: tuple[str, ...]) -> Iterator[Evaluation]:
        try:
            for (text,) in self._database.execute(query, arguments):
                yield Evaluation.from_json(json.loads(text))
        except (sqlite3.Error, json.JSONDecodeError) as error:
            raise ArchiveError(f"{self.path} is damaged: {error}") from error

    def export(self, path: Path) -> int:
        """Write all evaluations as JSON lines in order of key; return how many."""
        lines = [json.dumps(evaluation.to_json(), sort_keys=True) + "\n" for evaluation in self]
        write_text(path, "".join(lines))
        return len(lines)

    def merge(self, evaluations: Iterable[Evaluation]) -> int:
        """Add evaluations whose keys are new; return how many were."""
        return sum(self.add(evaluation) for evaluation in evaluations)


def open_existing(path: Path) -> Archive:
    """Open an archive that must be there.

    Raises:
        ArchiveError: It is not there, or damaged.
    """
    if not Path(path).is_file():
        raise ArchiveError(f"there is no archive {path}")
    return Archive(path)


def read_json_lines(path: Path) -> Iterator[Evaluation]:
    """Iterate over an export.

    Raises:
        ArchiveError: A line is damaged; names its number.
    """
    try:
        with Path(path).open() as file:
            for number, line in enumerate(file, 1):
                try:
                    yield Evaluation.from_json(json.loads(line))
                except (json.JSONDecodeError, ArchiveError) as error:
                    raise ArchiveError(f"{path}, line {number}: {error}") from error
    except (OSError, UnicodeDecodeError) as error:
        raise ArchiveError(f"{path} cannot be read: {error}") from error
