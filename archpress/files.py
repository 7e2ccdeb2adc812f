"""Files written whole or not at all: under a temporary name beside their own, then renamed."""

import errno
import json
import os
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from torch import Tensor


def write_text(path: Path, text: str) -> Path:
    """Write a text file, with its folders; return its path. A device is written to as it is.

    Raises:
        OSError: The disk is full or the place not writable; names the file.
    """
    return write_bytes(path, text.encode())


def write_bytes(path: Path, content: bytes) -> Path:
    """Write a file, with its folders; return its path. A device is written to as it is.

    Raises:
        OSError: The disk is full or the place not writable; names the file.
    """
    if path.is_dir():
        raise IsADirectoryError(errno.EISDIR, os.strerror(errno.EISDIR), str(path))
    path.parent.mkdir(parents=True, exist_ok=True)
    special = path.exists() and not path.is_file()
    temporary = path if special else _temporary(path)
    try:
        temporary.write_bytes(content)
        if not special:
            temporary.replace(path)
    except OSError as error:
        raise OSError(error.errno, error.strerror, str(path)) from error
    finally:
        if not special:
            temporary.unlink(missing_ok=True)
    return path


def write_json(path: Path, record: Any) -> Path:
    """Write one JSON value, indented; return the path."""
    return write_text(path, json.dumps(record, indent=2) + "\n")


def write_tensors(
    path: Path, tensors: Mapping[str, "Tensor"], metadata: dict[str, str] | None = None
) -> Path:
    """Write tensors as safetensors, with the file's folders; return the path.

    Raises:
        OSError: The disk is full or the place not writable.
    """
    from safetensors import SafetensorError
    from safetensors.torch import save_file

    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = _temporary(path)
    whole = {name: value.detach().cpu().contiguous() for name, value in tensors.items()}
    try:
        save_file(whole, temporary, metadata)
        temporary.replace(path)
    except SafetensorError as error:
        raise OSError(errno.ENOSPC, f"cannot write tensors ({error})", str(path)) from error
    finally:
        temporary.unlink(missing_ok=True)
    return path


def read_json_lines(path: Path) -> list[Any]:
    """Return the values of a JSON lines file, none where it is absent, without torn lines."""
    if not path.exists():
        return []
    values = []
    for line in path.read_text(errors="replace").splitlines():
        try:
            values.append(json.loads(line))
        except json.JSONDecodeError:
            continue
    return values


def _temporary(path: Path) -> Path:
    return path.with_name(f".{path.name}.{os.getpid()}.part")
