"""Readers of data set files: each turns a known format into plain numpy arrays.

Images come back as ``[N, H, W]`` or ``[N, C, H, W]``; `archpress.datasets.checks`
checks their content. A reader of a folder returns ``None`` where the folder does not hold its
format, and raises `DataError` where it does but a file is damaged.
"""

import gzip
import math
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from archpress.errors import DataError

Array = NDArray[Any]
Arrays = tuple[Array, Array]


class RawData(NamedTuple):
    """Unchecked images and labels of a training part and, if the files have one, a test part."""

    train: Arrays
    test: Arrays | None = None
    class_names: tuple[str, ...] = ()


@contextmanager
def reading(path: Path, kind: str) -> Iterator[None]:
    """Turn whatever reading a damaged file raises into a `DataError`.

    Args:
        path: The file.
        kind: What was expected there, such as ``"an image"``.
    """
    # Damaged files make the decoders raise nearly anything, hence the broad except.
    try:
        yield
    except DataError:
        raise
    except Exception as error:
        raise DataError(
            f"expected {kind} at {path}, but it is damaged, truncated or unreadable "
            f"({type(error).__name__}); replace it by a fresh copy"
        ) from error


# --- IDX -----------------------------------------------------------------------------------------

IDX_STEMS = (
    "train-images-idx3-ubyte",
    "train-labels-idx1-ubyte",
    "t10k-images-idx3-ubyte",
    "t10k-labels-idx1-ubyte",
)
_IDX_UNSIGNED_BYTE = 8


def read_idx(path: Path) -> NDArray[np.uint8]:
    """Read one IDX file of unsigned bytes, plain or gzip-compressed.

    Raises:
        DataError: If the file is damaged, truncated or of another element type.
    """
    kind = "an IDX file of unsigned bytes"
    with reading(path, kind):
        content = path.read_bytes()
        if content[:2] == b"\x1f\x8b":
            content = gzip.decompress(content)
        if content[:3] != bytes([0, 0, _IDX_UNSIGNED_BYTE]):
            raise ValueError("wrong magic number")
        start = 4 + 4 * content[3]
        shape = tuple(np.frombuffer(content[4:start], ">u4", content[3]).tolist())
        if len(content) - start != math.prod(shape):
            raise ValueError("wrong length")
        return np.frombuffer(content, np.uint8, offset=start).reshape(shape)


def read_idx_folder(folder: Path) -> RawData | None:
    """Read the four IDX files of Fashion-MNIST (or of MNIST), each plain or ``.gz``."""
    found = [
        next((p for p in (folder / stem, folder / f"{stem}.gz") if p.is_file()), None)
        for stem in IDX_STEMS
    ]
    arrays = [read_idx(path) for path in found if path is not None]
    if len(arrays) < len(found):
        return None
    return RawData((arrays[0], arrays[1]), (arrays[2], arrays[3]))


# --- SVHN, .npz and digits -----------------------------------------------------------------------


def read_svhn(folder: Path) -> RawData | None:
    """Read ``train_32x32.mat`` and ``test_32x32.mat``; the label 10 stands for the digit 0."""
    paths = [folder / "train_32x32.mat", folder / "test_32x32.mat"]
    if not all(path.is_file() for path in paths):
        return None
    return RawData(_read_svhn_part(paths[0]), _read_svhn_part(paths[1]))


def _read_svhn_part(path: Path) -> Arrays:
    import scipy.io  # takes a while

    with reading(path, "an SVHN .mat file with X and y"):
        content = scipy.io.loadmat(path, variable_names=["X", "y"])
        labels = content["y"].reshape(-1).astype(np.int64)
        return content["X"].transpose(3, 2, 0, 1), np.where(labels == 10, 0, labels)


def read_npz(path: Path) -> RawData:
    """Read ``x_train``, ``y_train`` and, if there, ``x_test``, ``y_test``.

    Images are ``[N, H, W]``, ``[N, H, W, C]`` (where the last axis is 1, 3 or 4) or
    ``[N, C, H, W]``.

    Raises:
        DataError: If the file is damaged, holds pickled objects or lacks an array.
    """
    # numpy leaves a file that it opened itself open where the content is damaged.
    with reading(path, "an .npz file of plain arrays"), path.open("rb") as stream:
        file = np.load(stream, allow_pickle=False)
        arrays = {name: file[name] for name in file.files}
    parts = ["train", "test"] if {"x_test", "y_test"} & set(arrays) else ["train"]
    for name in [f"{axis}_{part}" for part in parts for axis in "xy"]:
        if name not in arrays:
            raise DataError(
                f"expected an array {name} in {path}, received "
                f"{', '.join(sorted(arrays)) or 'no array'}; add it with numpy.savez"
            )
    pairs = [(_channels_first(arrays[f"x_{part}"]), arrays[f"y_{part}"]) for part in parts]
    return RawData(pairs[0], pairs[1] if len(pairs) == 2 else None)


def _channels_first(images: Array) -> Array:
    last = images.ndim == 4 and images.shape[-1] in (1, 3, 4)
    return images.transpose(0, 3, 1, 2) if last else images


def read_digits() -> RawData:
    """Read the 1,797 8x8 digits of scikit-learn as unsigned bytes."""
    from sklearn.datasets import load_digits  # takes a while

    digits = load_digits()
    return RawData((np.rint(digits.images * (255 / 16)).astype(np.uint8), digits.target))
