"""Where data sets come from: built-in names and the folders searched for them, and paths."""

import os
from collections.abc import Callable
from functools import partial
from importlib.util import find_spec
from pathlib import Path
from typing import NamedTuple

from archpress.datasets.cifar_files import CIFAR10, CIFAR100, read_cifar
from archpress.datasets.downloads import download_fashion_mnist
from archpress.datasets.files import (
    RawData,
    read_digits,
    read_idx_folder,
    read_npz,
    read_svhn,
)
from archpress.datasets.image_folders import read_image_folder
from archpress.errors import DataError, nearest

_FOLDER_READERS: dict[str, Callable[[Path], RawData | None]] = {
    "fashion-mnist": read_idx_folder,
    "cifar10": partial(read_cifar, layout=CIFAR10),
    "cifar100": partial(read_cifar, layout=CIFAR100),
    "svhn": read_svhn,
}
EXPECTED_FILES = {
    "fashion-mnist": "its four IDX files, such as train-images-idx3-ubyte.gz",
    "cifar10": "cifar-10-batches-py, cifar-10-python.tar.gz or cifar10.npz",
    "cifar100": "cifar-100-python, cifar-100-python.tar.gz or cifar100.npz",
    "svhn": "train_32x32.mat and test_32x32.mat",
}


CONTENTS = {
    "digits": "1,797 images, 1 x 8 x 8, 10 classes",
    "fashion-mnist": "70,000 images, 1 x 28 x 28, 10 classes",
    "cifar10": "60,000 images, 3 x 32 x 32, 10 classes",
    "cifar100": "60,000 images, 3 x 32 x 32, 100 classes",
    "svhn": "99,289 images, 3 x 32 x 32, 10 classes",
}
_MARKS = {
    "fashion-mnist": ("train-images-idx3-ubyte", "train-images-idx3-ubyte.gz"),
    "cifar10": ("data_batch_1", "cifar-10-batches-py", "cifar-10-python.tar.gz", "cifar10.npz"),
    "cifar100": ("train", "cifar-100-python", "cifar-100-python.tar.gz", "cifar100.npz"),
    "svhn": ("train_32x32.mat",),
}
"""What a folder of a built-in data set holds, any of them: enough to find it without reading."""


class Source(NamedTuple):
    """What was read, and from where.

    Attributes:
        name: What to call the data set in reports.
        where: What to call it in errors.
        raw: Its unchecked content.
    """

    name: str
    where: str
    raw: RawData


def names() -> tuple[str, ...]:
    """Return the names of the built-in data sets."""
    return ("digits", *_FOLDER_READERS)


def read_source(source: str | Path, folder: Path | None = None) -> Source:
    """Read a built-in data set by its name, or the one at a path, without checking its content.

    Args:
        source: A name out of `names` or a path.
        folder: Where the files of a built-in data set lie; by default `searched_folders`.

    Raises:
        DataError: If there is no such data set, or its files are damaged.
    """
    if not isinstance(source, str | Path):
        raise no_source(source)
    if str(source) in names():
        name = str(source)
        return Source(name, f"data set '{name}'", _read_built_in(name, folder))
    path = _existing_path(source)
    name, raw = _read_path(path)
    return Source(name, str(path), raw)


def absolute(source: str | Path) -> str:
    """Return a built-in name as it is, and a path made absolute, to be found from anywhere."""
    is_path = str(source) not in names() and Path(source).exists()
    return str(Path(source).resolve()) if is_path else str(source)


def cache_folder(name: str) -> Path:
    """Return the folder below the user's home that keeps a built-in data set."""
    return Path.home() / ".cache" / "archpress" / name


def searched_folders(name: str, folder: Path | None) -> list[Path]:
    """Return the folders where a built-in data set may lie, the first choice first.

    Args:
        name: The data set.
        folder: The only folder to search, if given.
    """
    if folder is not None:
        return [Path(folder).expanduser()]
    root = os.environ.get("ARCHPRESS_DATA")
    packaged = [Path("/usr/share/datasets/fashion-mnist")] if name == "fashion-mnist" else []
    return [*([Path(root).expanduser() / name] if root else []), *packaged, cache_folder(name)]


def no_source(data: object) -> DataError:
    """Return what to say of data that are neither a name, nor a path, nor a `DataSet`."""
    return DataError(
        f"data are given as a name, a path or a DataSet, received {type(data).__name__}; "
        "write arrays into an .npz, or make a DataSet (archpress.datasets.dataset.from_tensors)"
    )


def where_found(name: str) -> Path | None:
    """Return the folder where a built-in data set seems to lie; None where there is none.

    Nothing is read, so that damage is not noticed. ``digits`` lies inside scikit-learn.
    """
    if name == "digits":
        module = find_spec("sklearn")
        return Path(module.origin).parent if module and module.origin else None
    marks = _MARKS[name]
    return next(
        (f for f in searched_folders(name, None) if any((f / mark).exists() for mark in marks)),
        None,
    )


def _read_built_in(name: str, folder: Path | None) -> RawData:
    if name == "digits":
        return read_digits()
    searched = searched_folders(name, folder)
    raw = next(filter(None, map(_FOLDER_READERS[name], searched)), None)
    if raw is None and name == "fashion-mnist" and folder is None:
        download_fashion_mnist(cache_folder(name))
        raw = read_idx_folder(cache_folder(name))
    if raw is None:
        raise DataError(
            f"data set '{name}' was not found in {', '.join(map(str, searched))}; put "
            f"{EXPECTED_FILES[name]} there, or into another folder and name that"
        )
    return raw


def _existing_path(source: str | Path) -> Path:
    path = Path(source).expanduser()
    if path.exists():
        return path
    if isinstance(source, str) and "/" not in source and not path.suffix:
        raise DataError(
            f"unknown data set '{source}'{nearest(source, names())}; nor is there a file or folder "
            "of that name here"
        )
    raise DataError(
        f"expected a folder or an .npz file at {path}, which does not exist; check the path"
    )


def _read_path(path: Path) -> tuple[str, RawData]:
    if path.is_file():
        if path.suffix != ".npz":
            raise DataError(
                f"load: expected a folder or an .npz file, received {path}; "
                "convert it with numpy.savez"
            )
        return path.stem, read_npz(path)
    for name, reader in _FOLDER_READERS.items():
        raw = reader(path)
        if raw is not None:
            # MNIST and its other descendants have the same file names.
            return (path.resolve().name if name == "fashion-mnist" else name), raw
    return path.resolve().name, read_image_folder(path)
