"""Image classification data sets, checked and split into train, validation and test parts."""

import hashlib
from dataclasses import dataclass, replace
from pathlib import Path
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor

from archpress.datasets.checks import checked_parts
from archpress.datasets.files import Array, Arrays
from archpress.datasets.sources import names, read_source
from archpress.datasets.splitting import Split, cut
from archpress.errors import DataError, SettingsError

__all__ = ["TEST_FRACTION", "DataSet", "Split", "from_tensors", "load", "names"]

TEST_FRACTION = 0.2
_TEST_SEED = 0  # fixed, so that another `seed` never moves a test image into training


@dataclass(frozen=True, eq=False)
class DataSet:
    """A data set for classification; pickles without torch's shared memory.

    Attributes:
        name: What to call it in reports.
        train: For the weights.
        validation: Cut from the training images, for every choice between networks.
        test: To be read once, at the end.
        classes: Number of classes.
        digest: 16 hexadecimal digits that identify images, labels and split, whatever the name.
    """

    name: str
    train: Split
    validation: Split
    test: Split
    classes: int
    digest: str

    @property
    def input_shape(self) -> tuple[int, int, int]:
        """Channels, height and width of every image."""
        channels, height, width = self.train.images.shape[1:]
        return channels, height, width

    def to(self, device: torch.device | str) -> "DataSet":
        """Return this data set with all tensors on `device`."""
        train, validation, test = (p.to(device) for p in (self.train, self.validation, self.test))
        return replace(self, train=train, validation=validation, test=test)

    def without_test(self) -> "DataSet":
        """Return this data set, name and digest included, with an empty test part.

        This is what executors are given, so that nothing before the final step can read the
        test set; the empty tensors share no memory with it.
        """
        shape = self.test.images.shape[1:]
        empty = Split(self.test.images.new_empty((0, *shape)), self.test.labels.new_empty(0))
        return replace(self, test=empty)

    def channel_statistics(self) -> tuple[Tensor, Tensor]:
        """Return mean and standard deviation of each channel over the training images.

        Returns:
            Two float32 tensors ``[C]``: on the scale 0 to 1 for uint8 images, on their own scale
            for float images. The deviation of a constant channel is 0.
        """
        images = self.train.images
        scale = 255 if images.dtype == torch.uint8 else 1
        # Chunks: the whole in float64 would take eight times the memory of uint8 images.
        mean = _mean_over_chunks(images, torch.zeros(images.shape[1]), 1)
        variance = _mean_over_chunks(images, mean, 2)
        mean, deviation = mean / scale, variance.sqrt() / scale
        return mean.float().to(images.device), deviation.float().to(images.device)


def load(
    source: str | Path,
    *,
    folder: Path | None = None,
    validation_fraction: float = 0.1,
    seed: int = 0,
) -> DataSet:
    """Return a data set, its content checked, in three parts.

    Args:
        source: A name out of `names`, or the path of an ``.npz`` file (``x_train``, ``y_train``
            and perhaps ``x_test``, ``y_test``), of a folder of images (``train/<class>/*`` and
            perhaps ``test/<class>/*``, or ``<class>/*``) or of a folder with a standard archive.
        folder: Where the files of a built-in data set lie; by default
            ``$ARCHPRESS_DATA/<name>``, then ``~/.cache/archpress/<name>`` (before it, where Debian
            puts Fashion-MNIST).
        validation_fraction: Share of each class's training images kept for validation.
        seed: Fixes which training images are kept for validation. A test part that has to be
            cut off (20 % of each class) is the same for every seed.

    Raises:
        DataError: If the data set is missing, damaged or unfit for classification.
        SettingsError: If `validation_fraction` is not between 0 and 1.
    """
    name, where, raw = read_source(source, folder)
    train = _tensors(raw.train, f"{where} (train)")
    test = None if raw.test is None else _tensors(raw.test, f"{where} (test)")
    origin = _Origin(name, where, raw.class_names)
    return _build(origin, train, test, validation_fraction, seed)


def from_tensors(
    train: tuple[Tensor, Tensor],
    test: tuple[Tensor, Tensor] | None = None,
    *,
    name: str = "tensors",
    validation_fraction: float = 0.1,
    seed: int = 0,
) -> DataSet:
    """Make a data set of copies of images ``[N, C, H, W]`` or ``[N, H, W]`` and labels ``[N]``.

    Args:
        train: Images (uint8 or floating) and integer labels.
        test: The same; where absent, 20 % of each class are cut from `train`.
        name: What to call it in reports.
        validation_fraction: As in `load`.
        seed: As in `load`.

    Raises:
        DataError: If the content is unfit for classification.
        SettingsError: If `validation_fraction` is not between 0 and 1.
    """
    origin = _Origin(name, f"data set '{name}'")
    copied_test = None if test is None else _copies(test)
    return _build(origin, _copies(train), copied_test, validation_fraction, seed)


class _Origin(NamedTuple):
    name: str
    where: str
    class_names: tuple[str, ...] = ()


def _tensors(arrays: Arrays, where: str) -> tuple[Tensor, Tensor]:
    images, labels = arrays
    try:
        return _tensor(images), _tensor(labels)
    except (TypeError, ValueError) as error:
        raise DataError(
            f"{where}: expected numeric arrays in native byte order, received images of "
            f"{images.dtype} and labels of {labels.dtype}; convert them with astype"
        ) from error


def _tensor(array: Array) -> Tensor:
    return torch.from_numpy(np.require(array, requirements=["C", "W"]))


def _copies(pair: tuple[Tensor, Tensor]) -> tuple[Tensor, Tensor]:
    images, labels = (tensor.detach().to("cpu", copy=True) for tensor in pair)
    return images, labels


def _build(
    origin: _Origin,
    train: tuple[Tensor, Tensor],
    test: tuple[Tensor, Tensor] | None,
    fraction: float,
    seed: int,
) -> DataSet:
    if not 0 < fraction < 1:
        raise SettingsError(f"expected a validation fraction between 0 and 1, received {fraction}")
    rest, tested, classes = checked_parts(train, test, origin.where, origin.class_names)
    if tested is None:
        rest, tested = cut(rest, TEST_FRACTION, _TEST_SEED)
    trained, validation = cut(rest, fraction, seed)
    digest = _digest(trained, validation, tested)
    return DataSet(origin.name, trained, validation, tested, classes, digest)


def _digest(*parts: Split) -> str:
    sha = hashlib.sha256()
    for tensor in (tensor for part in parts for tensor in (part.images, part.labels)):
        sha.update(f"{tensor.dtype}{list(tensor.shape)}".encode())
        sha.update(tensor.flatten().numpy().data)
    return sha.hexdigest()[:16]


def _mean_over_chunks(images: Tensor, centre: Tensor, power: int) -> Tensor:
    total = torch.zeros(images.shape[1], dtype=torch.float64)
    for chunk in images.split(4096):
        shifted = chunk.to("cpu", torch.float64) - centre.view(-1, 1, 1)
        total += shifted.pow(power).sum(dim=(0, 2, 3))
    return total / (images.numel() // images.shape[1])
