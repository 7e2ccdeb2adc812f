"""Reader of CIFAR-10 and CIFAR-100, whose pickled batches are read without executing anything."""

import gzip
import io
import pickle
import tarfile
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from archpress.datasets.files import Arrays, RawData, read_npz, reading
from archpress.errors import DataError


@dataclass(frozen=True)
class CifarLayout:
    """Where an edition of CIFAR keeps its batches."""

    name: str
    folder: str
    archive: str
    train: tuple[str, ...]
    test: str
    label_key: str

    @property
    def members(self) -> tuple[str, ...]:
        """All batch files."""
        return (*self.train, self.test)


CIFAR10 = CifarLayout(
    "cifar10", "cifar-10-batches-py", "cifar-10-python.tar.gz",
    tuple(f"data_batch_{k}" for k in range(1, 6)), "test_batch", "labels",
)  # fmt: skip
CIFAR100 = CifarLayout(
    "cifar100", "cifar-100-python", "cifar-100-python.tar.gz", ("train",), "test", "fine_labels"
)
# numpy moved its reconstructors between versions, and so did the names inside pickles.
_RECONSTRUCTORS: dict[str, Any] = {
    "ndarray": np.ndarray,
    "dtype": np.dtype,
    "_reconstruct": np.zeros(1).__reduce__()[0],
    "_frombuffer": np.zeros(1).__reduce_ex__(5)[0],
}
_RECONSTRUCTOR_MODULES = {
    "numpy", "numpy.core.multiarray", "numpy._core.multiarray", "numpy.core.numeric",
    "numpy._core.numeric",
}  # fmt: skip


class _ArrayUnpickler(pickle.Unpickler):
    def find_class(self, module: str, name: str) -> Any:
        if module in _RECONSTRUCTOR_MODULES and name in _RECONSTRUCTORS:
            return _RECONSTRUCTORS[name]
        raise DataError(
            f"expected only arrays in a CIFAR batch, received a reference to {module}.{name}, "
            "which was not executed; get the archive from its authors' site"
        )


def read_cifar(folder: Path, layout: CifarLayout) -> RawData | None:
    """Read CIFAR from its unpacked folder, its ``.tar.gz`` or an ``.npz`` inside `folder`.

    Raises:
        DataError: If a batch is missing, damaged, or refers to anything but numpy arrays.
    """
    for candidate in (folder, folder / layout.folder):
        if any((candidate / member).is_file() for member in layout.members):
            return _cifar_batches(candidate, _folder_members(candidate, layout), layout)
    archive = folder / layout.archive
    if archive.is_file():
        return _cifar_batches(archive, _tar_members(archive, layout), layout)
    npz = folder / f"{layout.name}.npz"
    return read_npz(npz) if npz.is_file() else None


def _folder_members(folder: Path, layout: CifarLayout) -> dict[str, bytes]:
    paths = [folder / member for member in layout.members]
    with reading(folder, "readable CIFAR batches"):
        return {path.name: path.read_bytes() for path in paths if path.is_file()}


def _tar_members(archive: Path, layout: CifarLayout) -> dict[str, bytes]:
    members = {}
    with reading(archive, f"the archive {layout.archive}"), gzip.open(archive) as stream:
        with tarfile.open(fileobj=stream, mode="r:") as tar:
            for member in tar:
                content = tar.extractfile(member)
                name = Path(member.name).name
                if content is not None and name in layout.members:
                    members[name] = content.read()
        stream.read()  # to the end, where gzip compares the checksum
    return members


def _cifar_batches(where: Path, members: dict[str, bytes], layout: CifarLayout) -> RawData:
    for name in layout.members:
        if name not in members:
            raise DataError(f"expected the batch {name} in {where}, which lacks it; unpack it anew")
    batches = {
        name: _cifar_batch(where / name, content, layout.label_key)
        for name, content in members.items()
    }
    images = np.concatenate([batches[name][0] for name in layout.train])
    labels = np.concatenate([batches[name][1] for name in layout.train])
    return RawData((images, labels), batches[layout.test])


def _cifar_batch(path: Path, content: bytes, label_key: str) -> Arrays:
    with reading(path, "a pickled CIFAR batch"):
        batch = _ArrayUnpickler(io.BytesIO(content), encoding="latin1").load()
        named = {k.decode() if isinstance(k, bytes) else k: v for k, v in batch.items()}
        labels = np.array(named[label_key], np.int64)
        return named["data"].reshape(-1, 3, 32, 32), labels
