"""One writer per archive: a lock that the operating system drops with the process, however it ends.

Readers need none; SQLite shows each of them a whole state of the archive.
"""

import contextlib
import json
import os
import platform
from collections.abc import Iterator
from pathlib import Path

from archpress.errors import ArchiveError

try:
    import fcntl
except ImportError:  # Windows: records stay whole, but nobody keeps a second driver out
    fcntl = None  # type: ignore[assignment]

_held: set[int] = set()


class WriterLock:
    """The right to add to an archive for a while; one holder, which may take it again.

    Two of these for one file exclude each other, in one process as in two.

    Args:
        archive: The archive's file; the lock is the file ``ARCHIVE.lock`` beside it, which names
            the holder's process and host while it is held.
    """

    def __init__(self, archive: Path) -> None:
        self._archive = archive
        self._path = Path(f"{archive.resolve()}.lock")
        self._descriptor = -1
        self._depth = 0

    @contextlib.contextmanager
    def held(self) -> Iterator[None]:
        """Hold the lock during a block.

        Raises:
            ArchiveError: Another holds it, at once; or it cannot be written.
        """
        if not self._depth:
            self._take()
        self._depth += 1
        try:
            yield
        finally:
            self._depth -= 1
            if not self._depth:
                self._release()

    def _take(self) -> None:
        if fcntl is None:
            return
        try:
            while not self._try():
                pass
        except OSError as error:
            raise ArchiveError(f"cannot lock {self._path}: {error.strerror}") from error

    def _try(self) -> bool:
        """Take the lock; return False where its file was removed in the meantime."""
        descriptor = os.open(self._path, os.O_RDWR | os.O_CREAT, 0o666)
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
            if not _is_at(descriptor, self._path):
                os.close(descriptor)
                return False
            holder = {"pid": os.getpid(), "host": platform.node()}
            os.ftruncate(descriptor, 0)
            os.pwrite(descriptor, json.dumps(holder).encode(), 0)
        except BaseException as error:
            said = os.pread(descriptor, 1000, 0)
            os.close(descriptor)
            if isinstance(error, BlockingIOError):
                raise self._busy(said) from None
            raise
        self._descriptor = descriptor
        _held.add(descriptor)
        return True

    def _release(self) -> None:
        if self._descriptor in _held:  # not in a process forked while the lock was held
            with contextlib.suppress(OSError):  # the folder may be gone
                self._path.unlink()  # while the lock is held, so that nobody else's is removed
            _held.discard(self._descriptor)
            os.close(self._descriptor)
        self._descriptor = -1

    def _busy(self, said: bytes) -> ArchiveError:
        try:
            holder = json.loads(said)
            pid, host = holder["pid"], holder["host"]
        except (LookupError, TypeError, ValueError):  # has the lock, but has not said so yet
            pid, host = "unknown", platform.node()
        who = f"another process (pid {pid} on {host}) is writing to it"
        if (pid, host) == (os.getpid(), platform.node()):
            who = f"another Archive of this process (pid {pid} on {host}) is writing to it"
        return ArchiveError(
            f"archive {self._archive}: {who}; wait until it has ended, or write to another archive "
            f"and merge the two later"
        )


def _is_at(descriptor: int, path: Path) -> bool:
    """Return whether the open file is still the one of that name."""
    try:
        return os.path.samestat(os.fstat(descriptor), path.stat())
    except FileNotFoundError:
        return False


def _leave_to_parent() -> None:
    """Drop a forked child's share, which would keep the lock when the parent is killed."""
    for descriptor in _held:
        with contextlib.suppress(OSError):
            os.close(descriptor)
    _held.clear()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_leave_to_parent)
