"""Evaluations as JSON lines, compressed where the file's name says so."""

import gzip
import io
import json
import lzma
import zlib
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import TextIO

from archpress.errors import ArchiveError
from archpress.evaluation.record import Evaluation
from archpress.files import write_bytes

SUFFIXES = (".jsonl", ".jsonl.gz", ".jsonl.xz")


def is_json_lines(path: Path) -> bool:
    """Return whether a file's name is one of JSON lines, rather than of an archive."""
    return path.name.endswith(SUFFIXES)


def write_json_lines(path: Path, lines: Iterable[str]) -> int:
    """Write lines whole or not at all; equal lines give equal bytes. Return how many.

    Raises:
        OSError: The disk is full or the place not writable; names the file.
    """
    texts = list(lines)
    write_bytes(path, _packed(path, "".join(f"{text}\n" for text in texts).encode()))
    return len(texts)


def _packed(path: Path, content: bytes) -> bytes:
    if path.suffix == ".xz":
        return lzma.compress(content)
    if path.suffix == ".gz":
        packed = io.BytesIO()
        with gzip.GzipFile("", "wb", fileobj=packed, mtime=0) as file:  # no name, no time
            file.write(content)
        return packed.getvalue()
    return content


def read_json_lines(path: Path) -> Iterator[Evaluation]:
    """Iterate over an export.

    Raises:
        ArchiveError: A line is damaged; names its number.
    """
    try:
        with _opened(Path(path)) as file:
            for number, line in enumerate(file, 1):
                try:
                    yield Evaluation.from_json(json.loads(line))
                except (json.JSONDecodeError, ArchiveError) as error:
                    raise ArchiveError(f"{path}, line {number}: {error}") from error
    except (OSError, UnicodeDecodeError, EOFError, zlib.error, lzma.LZMAError) as error:
        raise ArchiveError(f"{path} cannot be read: {error}") from error


def _opened(path: Path) -> TextIO:
    if path.suffix == ".xz":
        return lzma.open(path, "rt", encoding="utf-8")
    if path.suffix == ".gz":
        return gzip.open(path, "rt", encoding="utf-8")
    return path.open(encoding="utf-8")
