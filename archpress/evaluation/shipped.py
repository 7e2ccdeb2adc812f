"""Archives that come with the package, and opening any kind of archive to read."""

from importlib.resources import files
from pathlib import Path

from archpress.errors import ArchiveError
from archpress.evaluation.archive import Archive
from archpress.evaluation.archive_lines import is_json_lines, read_json_lines

SUFFIX = ".jsonl.xz"


def shipped_names() -> list[str]:
    """Return the names of the archives in the package."""
    folder = files("archpress") / "pretrained"
    if not folder.is_dir():
        return []
    return sorted(
        entry.name.removesuffix(SUFFIX) for entry in folder.iterdir() if entry.name.endswith(SUFFIX)
    )


def is_export(source: str | Path) -> bool:
    """Return whether a source is JSON lines: an export, or the name of one in the package."""
    path = Path(source)
    return is_json_lines(path) or (not path.exists() and str(source) in shipped_names())


def open_archive(source: str | Path) -> Archive:
    """Return the archive of a ``source``, to read.

    A SQLite file, an export, or the name of one in the package.

    Raises:
        ArchiveError: There is none, or it is damaged.
    """
    path = Path(source)
    if not path.exists() and str(source) in shipped_names():
        path = Path(str(files("archpress") / "pretrained" / f"{source}{SUFFIX}"))
    if not is_json_lines(path):
        if not path.exists():
            names = ", ".join(shipped_names()) or "none"
            raise ArchiveError(f"there is no archive {source} (in the package: {names})")
        return Archive.open_readonly(path)
    archive = Archive.in_memory()
    archive.merge(read_json_lines(path))
    archive.path = Path(source)  # what messages name
    return archive
