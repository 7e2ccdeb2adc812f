"""Reader of folders that hold one folder of image files for each class."""

from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from archpress.datasets.files import RawData, reading
from archpress.errors import DataError
from archpress.optional import require

_IMAGE_SUFFIXES = {
    ".png",
    ".jpg",
    ".jpeg",
    ".bmp",
    ".gif",
    ".tif",
    ".tiff",
    ".webp",
    ".ppm",
    ".pgm",
}
_GREY_MODES = {"1", "L", "LA"}
_DEEP_MODES = {"I", "F", "I;16", "I;16B", "I;16L", "I;16N"}


def read_image_folder(folder: Path) -> RawData:
    """Read ``train/<class>/*`` and perhaps ``test/<class>/*``, or ``<class>/*``, with Pillow.

    Images are grey where all are, else RGB; class numbers follow the sorted folder names.

    Raises:
        DataError: If there is no image, or one is damaged, of another size than the first, or of
            more than 8 bits per channel.
        MissingExtraError: Pillow is not installed.
    """
    split = bool(_subfolders(folder / "train"))
    train = _labelled_files(folder / "train" if split else folder)
    test = _labelled_files(folder / "test") if split and (folder / "test").is_dir() else []
    class_names = tuple(sorted({name for _, name in train}))
    for path, name in test:
        if name not in class_names:
            raise DataError(
                f"expected in {folder / 'test'} only the classes of {folder / 'train'}, received "
                f"'{name}' ({path.name}); add training images of it or remove it"
            )
    images = _read_images([path for path, _ in train + test])
    labels = np.array([class_names.index(name) for _, name in train + test], np.int64)
    n = len(train)
    tested = (images[n:], labels[n:]) if test else None
    return RawData((images[:n], labels[:n]), tested, class_names)


def _subfolders(folder: Path) -> list[Path]:
    if not folder.is_dir():
        return []
    return sorted(p for p in folder.iterdir() if p.is_dir() and not p.name.startswith("."))


def _labelled_files(folder: Path) -> list[tuple[Path, str]]:
    found = []
    for class_folder in _subfolders(folder):
        paths = [p for p in class_folder.iterdir() if p.suffix.lower() in _IMAGE_SUFFIXES]
        if not paths:
            raise DataError(
                f"expected images of one class in {class_folder}, received none; add some or "
                "remove the folder"
            )
        found += [(path, class_folder.name) for path in sorted(paths)]
    if not found:
        raise DataError(
            f"expected a folder of images for each class in {folder}, received none; put images "
            f"at {folder}/<class>/*.png"
        )
    return found


def _read_images(paths: list[Path]) -> NDArray[np.uint8]:
    arrays = [_read_image(path) for path in paths]
    for path, array in zip(paths, arrays, strict=True):
        if array.shape[:2] != arrays[0].shape[:2]:
            sizes = [f"{a.shape[1]}x{a.shape[0]}" for a in (arrays[0], array)]
            raise DataError(
                f"expected images of one size, received {sizes[0]} in {paths[0]} and {sizes[1]} "
                f"in {path}; resize them to one size"
            )
    depth = max(array.shape[2] for array in arrays)
    stacked = np.stack([np.broadcast_to(array, (*array.shape[:2], depth)) for array in arrays])
    return stacked.transpose(0, 3, 1, 2)


def _read_image(path: Path) -> NDArray[np.uint8]:
    image_module = require("PIL.Image", "vision")
    with reading(path, "an image"), image_module.open(path) as image:
        if image.mode in _DEEP_MODES:
            raise DataError(
                f"expected 8 bits per channel in {path}, received mode {image.mode}; "
                "convert it, or pass an .npz file of floats"
            )
        pixels = np.asarray(image.convert("L" if image.mode in _GREY_MODES else "RGB"), np.uint8)
    return pixels[:, :, None] if pixels.ndim == 2 else pixels
