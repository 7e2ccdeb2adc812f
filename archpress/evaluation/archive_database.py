"""The SQLite file behind an archive: making it, opening it, and refusing what is none."""

import contextlib
import os
import sqlite3
import zlib
from collections.abc import Iterator
from pathlib import Path

from archpress.errors import ArchiveError

FORMAT_VERSION = 1
TIMEOUT_SECONDS = 60
_CHECKSUMS = """
CREATE TABLE IF NOT EXISTS checksums (key TEXT PRIMARY KEY, crc32 INTEGER NOT NULL) WITHOUT ROWID
"""
_SCHEMA = f"""
CREATE TABLE IF NOT EXISTS evaluations (
    key TEXT PRIMARY KEY, status TEXT NOT NULL, record TEXT NOT NULL
) WITHOUT ROWID;
CREATE TRIGGER IF NOT EXISTS append_only_update BEFORE UPDATE ON evaluations
BEGIN SELECT RAISE(ABORT, 'an archive is append-only'); END;
CREATE TRIGGER IF NOT EXISTS append_only_delete BEFORE DELETE ON evaluations
BEGIN SELECT RAISE(ABORT, 'an archive is append-only'); END;
{_CHECKSUMS};
PRAGMA user_version = {FORMAT_VERSION};
"""
_STATE = """
SELECT user_version, (SELECT count(*) FROM sqlite_master),
    (SELECT count(*) FROM sqlite_master WHERE name = 'evaluations') FROM pragma_user_version
"""
_READ = """
SELECT e.key, e.status, e.record, c.crc32 FROM evaluations e LEFT JOIN checksums c ON c.key = e.key
"""
_READ_UNCHECKED = "SELECT e.key, e.status, e.record, NULL FROM evaluations e "

Row = tuple[str, str, str]
"""Key, status and record (JSON) of one evaluation, as they are stored."""


def open_writable(path: Path) -> sqlite3.Connection:
    """Open an archive's file to read and add; made where absent, with its folder.

    Raises:
        ArchiveError: It is no archive, or of a newer version.
        OSError, sqlite3.Error: It is damaged, or cannot be written.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    database = _connect(path.absolute().as_uri())
    with _closed_on_failure(database):
        version, tables, _ = database.execute(_STATE).fetchone()
        if version == 0 and not tables:
            database.executescript(f"BEGIN IMMEDIATE; {_SCHEMA} COMMIT;")
        check_layout(database, path)
        check_pages(database)
        database.execute("PRAGMA busy_timeout = 0")
        with contextlib.suppress(sqlite3.OperationalError):  # in use: left to who opens it next
            database.execute("PRAGMA journal_mode = WAL")
        database.execute(f"PRAGMA busy_timeout = {1000 * TIMEOUT_SECONDS}")
        database.execute("PRAGMA synchronous = NORMAL")
    return database


def open_in_memory() -> sqlite3.Connection:
    """Return an empty archive that no file stands for."""
    database = _connect(":memory:")
    database.executescript(_SCHEMA)
    return database


def open_readable(path: Path) -> sqlite3.Connection:
    """Open an archive's file to read only, also one that another process is writing to.

    Raises:
        ArchiveError: It is not there, is no archive, or of a newer version.
        sqlite3.Error: It is damaged.
    """
    if not path.is_file():
        raise ArchiveError(f"there is no archive {path}")
    database = _connect_readable(path)
    with _closed_on_failure(database):
        check_layout(database, path)
    return database


def _connect_readable(path: Path) -> sqlite3.Connection:
    """Connect so that nothing can be changed, and so that nothing is left beside the file."""
    address = path.resolve().as_uri()
    if os.access(path, os.W_OK) and os.access(path.resolve().parent, os.W_OK):
        database = _connect(f"{address}?mode=rw")  # read-only connections leave -wal and -shm
        database.execute("PRAGMA query_only = ON")
        return database
    database = _connect(f"{address}?mode=ro")
    try:
        database.execute(_STATE).fetchone()
        return database
    except sqlite3.OperationalError:  # nothing beside the file, and nothing can be put there
        database.close()
    log = Path(f"{path.resolve()}-wal")
    if log.exists() and log.stat().st_size:
        raise ArchiveError(
            f"{path} was not closed, and its last evaluations cannot be read where nothing can be "
            f"written: copy it and {log.name} to a folder of yours"
        )
    return _connect(f"{address}?mode=ro&immutable=1")


def check_layout(database: sqlite3.Connection, path: Path) -> None:
    """Make sure that the tables are those of an archive.

    Raises:
        ArchiveError: They are not, or of a newer version.
        sqlite3.Error: The file is no database, or damaged.
    """
    version, _, ours = database.execute(_STATE).fetchone()
    if ours and version > FORMAT_VERSION:
        raise ArchiveError(
            f"{path} is an archive of format version {version}, expected {FORMAT_VERSION}: "
            f"install a newer archpress to read it"
        )
    if version != FORMAT_VERSION or not ours:
        raise ArchiveError(
            f"{path} is not an archive of format version {FORMAT_VERSION} "
            f"(it says {version}): use another file"
        )


def check_pages(database: sqlite3.Connection) -> None:
    """Visit every page that finds records: quick, and a page that is lost is noticed.

    The texts that the pages lead to are checked one by one when they are read.

    Raises:
        sqlite3.Error: The file is damaged.
    """
    database.execute("SELECT count(*) FROM evaluations").fetchone()


def insert(database: sqlite3.Connection, row: Row) -> bool:
    """Add a row within a transaction; return False where its key is there already."""
    if database.execute("INSERT OR IGNORE INTO evaluations VALUES (?, ?, ?)", row).rowcount != 1:
        return False
    database.execute(_CHECKSUMS)  # the first archives have none
    database.execute("INSERT OR REPLACE INTO checksums VALUES (?, ?)", (row[0], crc32(row)))
    return True


def select(database: sqlite3.Connection, rest: str, *values: str) -> Iterator[tuple[Row, bool]]:
    """Iterate over rows, each with whether it is what was once written.

    Args:
        database: An archive.
        rest: The query after its FROM; the table of evaluations is called ``e``.
        values: Of the query's question marks.
    """
    found = database.execute("SELECT 1 FROM sqlite_master WHERE name = 'checksums'").fetchone()
    for *row, checksum in database.execute((_READ if found else _READ_UNCHECKED) + rest, values):
        key, status, record = row
        yield (key, status, record), checksum in (None, crc32((key, status, record)))


def crc32(row: Row) -> int:
    """Return the checksum of a row, over all that it says."""
    return zlib.crc32("\0".join(row).encode())


@contextlib.contextmanager
def transaction(database: sqlite3.Connection) -> Iterator[None]:
    """Do all of a block or nothing of it."""
    database.execute("BEGIN IMMEDIATE")
    try:
        yield
        database.execute("COMMIT")
    except BaseException:
        if database.in_transaction:
            database.execute("ROLLBACK")
        raise


def _connect(address: str) -> sqlite3.Connection:
    return sqlite3.connect(address, timeout=TIMEOUT_SECONDS, isolation_level=None, uri=True)


@contextlib.contextmanager
def _closed_on_failure(database: sqlite3.Connection) -> Iterator[None]:
    try:
        yield
    except BaseException:
        database.close()
        raise
