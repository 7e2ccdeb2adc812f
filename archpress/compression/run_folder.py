"""The folder of one run: who may write in it, and how."""

import contextlib
import fcntl
import json
import os
import platform
import subprocess
import time
from collections.abc import Iterable, Iterator, Set
from contextlib import contextmanager
from pathlib import Path
from typing import IO, Any

import tomli_w

from archpress.compression.progress_file import PROGRESS
from archpress.compression.settings import RunSettings, parse_settings
from archpress.errors import RunFolderError
from archpress.files import read_json_lines, write_json, write_text
from archpress.training.machine import processor

FORMAT_VERSION = 1
LOCK_TRIES = 10
LEDGER, UNDER_WAY = "ledger.jsonl", "under-way.json"


class RunFolder:
    """One run's files. Every file is written whole or appended to line by line.

    Args:
        path: The folder; made where absent.
        settings: The run's settings, kept in ``run.toml``.
        resume: Whether a run of the same settings may be continued.

    Raises:
        RunFolderError: The folder holds another run or other files, is in use, or is not writable;
            it is left as it was.
    """

    def __init__(self, path: Path, settings: RunSettings, resume: bool = False) -> None:
        self.path = path
        self._check(settings, resume)
        try:
            path.mkdir(parents=True, exist_ok=True)
            self._lock = (path / "run.lock").open("w")
        except OSError as error:
            raise RunFolderError(f"run folder {path} cannot be written: {error}") from error
        try:
            _take(self._lock)
        except OSError as error:
            self._lock.close()
            busy = isinstance(error, BlockingIOError)
            reason = "another process is working in it" if busy else f"it cannot be locked: {error}"
            raise RunFolderError(f"run folder {path}: {reason}") from None
        try:
            self._check(settings, resume)  # again: another may have worked here before the lock
            if not (path / "run.toml").exists():
                self.write_text("run.toml", tomli_w.dumps(_without_none(settings)))
            self._count_killed()
        except (OSError, RunFolderError):
            self._lock.close()
            raise

    def _check(self, settings: RunSettings, resume: bool) -> None:
        if self.path.is_file():
            raise RunFolderError(f"{self.path} is a file, expected a folder")
        if not self.path.exists() or not any(
            entry.name != "run.lock" and entry.suffix != ".part" for entry in self.path.iterdir()
        ):
            return
        if not (self.path / "run.toml").exists():
            raise RunFolderError(f"{self.path} holds other files: name a new or an empty folder")
        require_same(self.path, settings)
        if not resume:
            raise RunFolderError(
                f"{self.path} holds this run already: add --resume to continue it, "
                f"or name another folder"
            )

    def close(self) -> None:
        """Let others work in the folder."""
        self._lock.close()

    def write_text(self, name: str, text: str) -> Path:
        """Write a file whole, with its folders; return its path."""
        return write_text(self.path / name, text)

    def write_json(self, name: str, record: Any) -> Path:
        """Write one JSON value; return the path."""
        return write_json(self.path / name, record)

    def write_json_lines(self, name: str, records: Iterable[Any]) -> Path:
        """Write JSON lines whole; return the path."""
        return self.write_text(name, "".join(json.dumps(record) + "\n" for record in records))

    @contextmanager
    def timed(self, stage: str) -> Iterator[None]:
        """Add the seconds of a stage to ``ledger.jsonl``, also when it is interrupted.

        Of a stage that is killed those count until it last told how far it was.
        """
        self.write_json(UNDER_WAY, {"stage": stage, "since": time.time()})
        start = time.perf_counter()
        try:
            yield
        finally:
            self._count(stage, time.perf_counter() - start)

    def _count(self, stage: str, seconds: float) -> None:
        (self.path / UNDER_WAY).unlink(missing_ok=True)
        with (self.path / LEDGER).open("a") as file:
            file.write(json.dumps({"stage": stage, "seconds": round(seconds, 4)}) + "\n")

    def _count_killed(self) -> None:
        """Count what a process was at that was killed."""
        if not (self.path / UNDER_WAY).exists():
            return
        record = read_record(self.path / UNDER_WAY, "stage", "since")
        told = read_record(self.path / PROGRESS) if (self.path / PROGRESS).exists() else {}
        last = max((stage[-1] for stage in told.values()), default=0.0)
        self._count(record["stage"], max(0.0, last - record["since"]))


def _take(lock: IO[str]) -> None:
    """Take a lock; patient for a moment, since who only looks (`is_held`) takes it for an instant.

    Raises:
        OSError: Another process has it, or it cannot be locked.
    """
    for _ in range(LOCK_TRIES - 1):
        with contextlib.suppress(BlockingIOError):
            return fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        time.sleep(0.05)
    fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)


def is_held(path: Path) -> bool:
    """Return whether a process of this machine is working in a run folder right now."""
    try:
        with (path / "run.lock").open() as lock:
            fcntl.flock(lock, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except BlockingIOError:
        return True
    except OSError:
        return False
    return False


def seconds_by_stage(folder: Path) -> dict[str, float]:
    """Return the wall seconds of each stage, resumed parts added up."""
    seconds: dict[str, float] = {}
    for line in read_json_lines(folder / LEDGER):
        seconds[line["stage"]] = round(seconds.get(line["stage"], 0.0) + line["seconds"], 4)
    return seconds


def read_record(path: Path, *names: str) -> dict[str, Any]:
    """Return the JSON object of a file that the run wrote.

    Raises:
        RunFolderError: The file is missing, damaged or lacks one of the ``names``.
    """
    try:
        record = json.loads(path.read_text())
    except (OSError, ValueError) as error:
        raise RunFolderError(f"{path} is damaged: {error}; delete it or put a copy back") from error
    if not isinstance(record, dict) or not record.keys() >= set(names):
        raise RunFolderError(
            f"{path} is damaged: expected a JSON object{' with ' if names else ''}"
            f"{', '.join(names)}; delete it or put a copy back"
        )
    return record


def read_records(path: Path, names: Set[str], remedy: str) -> list[dict[str, Any]]:
    """Return the JSON objects of a JSON lines file that the run wrote; none where it is absent.

    Args:
        path: The file.
        names: Keys that every line must have.
        remedy: What to do about a damaged file, in words.

    Raises:
        RunFolderError: A line is no such object.
    """
    records = []
    text = path.read_text(errors="replace") if path.exists() else ""
    for number, line in enumerate(text.splitlines(), 1):
        try:
            record = json.loads(line)
        except ValueError:
            record = None
        if not isinstance(record, dict) or not record.keys() >= names:
            raise RunFolderError(
                f"{path} is damaged: line {number} is no JSON object with "
                f"{', '.join(sorted(names))}; {remedy}"
            )
        records.append(record)
    return records


def read_settings(folder: Path) -> RunSettings:
    """Return the settings of a run folder.

    Raises:
        RunFolderError: It is no run folder.
        SettingsError: Its ``run.toml`` is damaged.
    """
    import tomllib

    path = folder / "run.toml"
    try:
        values = tomllib.loads(path.read_text())
    except (FileNotFoundError, NotADirectoryError):
        raise RunFolderError(f"{folder} is no run folder: it has no run.toml") from None
    except (OSError, UnicodeDecodeError, tomllib.TOMLDecodeError) as error:
        raise RunFolderError(f"{path} is damaged: {error}") from error
    return parse_settings(_as_now(values), str(path))


def _as_now(values: dict[str, Any]) -> dict[str, Any]:
    """Return settings that an earlier version wrote as they are written now."""
    values, space = dict(values), values.get("space", {})
    if "guided" not in values and isinstance(values.get("search", {}), dict):
        # there was but one way to search
        values["search"] = {"method": "joint", **values.get("search", {})}
    if isinstance(space, dict) and "max_activation_megabytes" in space:
        megabytes = space["max_activation_megabytes"]
        rest = {name: value for name, value in space.items() if name != "max_activation_megabytes"}
        values["space"] = {**rest, "max_activation_bytes": int(1e6 * megabytes)}
    return values


def environment(precision: str, data_digest: str, network_digest: str) -> dict[str, Any]:
    """Return what the run's numbers depend on besides its settings."""
    import torch

    from archpress import __version__

    return {
        "format_version": FORMAT_VERSION,
        "archpress": __version__,
        "commit": _commit(),
        "torch": torch.__version__,
        "python": platform.python_version(),
        "system": platform.platform(),
        "processor": processor(),
        "cores": os.cpu_count(),
        "precision": precision,
        "data_digest": data_digest,
        "network_digest": network_digest,
    }


def _without_none(settings: RunSettings) -> dict[str, Any]:
    return settings.model_dump(mode="json", exclude_none=True)


def require_same(folder: Path, settings: RunSettings) -> None:
    """Refuse a run folder that holds a run of other settings.

    Raises:
        RunFolderError: It does; says which setting differs.
    """
    difference = _difference(read_settings(folder), settings)
    if difference:
        raise RunFolderError(f"{folder} holds another run ({difference}): name another folder")


def _difference(there: RunSettings, here: RunSettings) -> str:
    """Return the first setting that differs, in words; empty where none does."""
    ours = _flat(here.comparable())
    for name, value in _flat(there.comparable()).items():
        if ours.get(name) != value:
            return f"its {name} is {value!r}, not {ours.get(name)!r}"
    return ""


def _flat(values: dict[str, Any], prefix: str = "") -> dict[str, Any]:
    flat: dict[str, Any] = {}
    for name, value in values.items():
        if isinstance(value, dict):
            flat |= _flat(value, f"{prefix}{name}.")
        else:
            flat[prefix + name] = value
    return flat


def _commit() -> str:
    """Return the commit of the source tree, empty where archpress is installed without one."""
    try:
        done = subprocess.run(
            ["git", "-C", str(Path(__file__).parent), "rev-parse", "HEAD"],
            capture_output=True, text=True, timeout=5, check=False,
        )  # fmt: skip
    except (OSError, subprocess.TimeoutExpired):
        return ""
    return done.stdout.strip()
