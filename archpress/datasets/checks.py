"""Checks that images and labels are fit for classification; labels become 0 to classes - 1."""

import torch
from torch import Tensor

from archpress.datasets.splitting import Split
from archpress.errors import DataError


def checked_parts(
    train: tuple[Tensor, Tensor],
    test: tuple[Tensor, Tensor] | None,
    where: str,
    class_names: tuple[str, ...] = (),
) -> tuple[Split, Split | None, int]:
    """Check the content of a data set and bring it into the form of `Split`.

    Args:
        train: Images ``[N, C, H, W]`` or ``[N, H, W]`` and labels ``[N]``.
        test: The same, or ``None`` where it will be cut from `train`.
        where: What to call the data set in errors.
        class_names: What to call its classes in errors; by default their numbers.

    Returns:
        The training part, the test part if there is one, and the number of classes.

    Raises:
        DataError: If a part is unfit, has too few images of a class to be split, or the test part
            differs from the training part in shape, type or classes.
    """
    whole = _checked_part(*train, f"{where} (train)")
    known = whole.labels.unique()
    _check_classes(whole.labels, 2 if test else 3, where, class_names)
    whole = Split(whole.images, torch.searchsorted(known, whole.labels))
    tested = None if test is None else _checked_test(*test, whole, known, f"{where} (test)")
    return whole, tested, len(known)


def _require(condition: bool, where: str, expected: str, received: object, advice: str) -> None:
    if not condition:
        raise DataError(f"{where}: expected {expected}, received {received}; {advice}")


def _checked_part(images: Tensor, labels: Tensor, where: str) -> Split:
    dtype, shape = images.dtype, list(images.shape)
    numeric = dtype == torch.uint8 or images.is_floating_point()
    _require(numeric, where, "uint8 or floating images", dtype, "convert them")
    expected = "images [N, H, W] or [N, C, H, W]"
    _require(len(shape) in (3, 4), where, expected, f"the shape {shape}", "reshape them")
    _require(images.numel() > 0, where, "images", f"none (shape {shape})", "add some")
    if images.is_floating_point():
        images = images.float()
        bad = int((~images.isfinite()).flatten(1).any(1).sum())
        received = f"NaN or infinite pixels in {bad} images"
        _require(bad == 0, where, "finite pixels", received, "repair or remove those images")
    images = images.unsqueeze(1) if images.ndim == 3 else images
    return Split(images.contiguous(), _checked_labels(labels, len(images), where))


def _checked_labels(labels: Tensor, images: int, where: str) -> Tensor:
    dtype, shape = labels.dtype, list(labels.shape)
    integer = not (dtype.is_floating_point or dtype.is_complex)
    column = len(shape) > 0 and labels.numel() == shape[0]
    received = f"{dtype} of shape {shape}"
    advice = "convert the labels to class numbers"
    _require(integer and column, where, "one integer label per image", received, advice)
    received = f"{images} images and {shape[0]} labels"
    _require(shape[0] == images, where, "one label per image", received, "make them match")
    labels = labels.reshape(-1).long()
    least = int(labels.min())
    _require(least >= 0, where, "labels from 0 up", least, "renumber or remove negative labels")
    return labels


def _check_classes(labels: Tensor, parts: int, where: str, class_names: tuple[str, ...]) -> None:
    classes, counts = labels.unique(return_counts=True)
    advice = "add images of another class"
    _require(len(classes) > 1, where, "at least two classes", "one", advice)
    fewest, label = int(counts.min()), int(classes[counts.argmin()])
    class_name = f"'{class_names[label]}'" if class_names else str(label)
    expected = f"at least {parts} images of each class to split"
    received = f"{fewest} of class {class_name}"
    advice = "add images or remove the class"
    _require(fewest >= parts, where, expected, received, advice)


def _checked_test(images: Tensor, labels: Tensor, train: Split, known: Tensor, where: str) -> Split:
    test = _checked_part(images, labels, where)
    like, got = (f"{list(x.shape[1:])} of {x.dtype}" for x in (train.images, test.images))
    _require(like == got, where, f"images like those for training, {like}", got, "convert them")
    new = test.labels[~torch.isin(test.labels, known)].unique().tolist()
    advice = "add training images of them or remove them"
    _require(not new, where, "only classes with training images", f"classes {new}", advice)
    return Split(test.images, torch.searchsorted(known, test.labels))
