"""Reference networks by name, at the input shape and class count of the data."""

from collections.abc import Callable, Collection, Sequence

from archpress.architectures.architecture import Architecture
from archpress.architectures.layers import BatchNorm, Convolution, Layer, Linear, MaxPool, ReLU
from archpress.errors import InvalidArchitectureError, UnknownNetworkError, nearest

InputShape = tuple[int, int, int]


def plain(
    input_shape: InputShape, classes: int, widths: Sequence[int], pool_after: Collection[int]
) -> Architecture:
    """Return blocks of 3x3 convolution, BatchNorm and ReLU, then Linear (paper, section 5.3).

    Args:
        input_shape: ``(C, H, W)``.
        classes: Outputs of the last layer.
        widths: Channels of each block.
        pool_after: The blocks, counted from 1, that a 2x2 max pooling follows.
    """
    layers: list[Layer] = []
    for number, width in enumerate(widths, 1):
        layers += [Convolution(width, 3, padding=1), BatchNorm(), ReLU()]
        if number in pool_after:
            layers.append(MaxPool(2, 2))
    return Architecture(input_shape, (*layers, Linear(classes)))


def conv7(input_shape: InputShape = (1, 28, 28), classes: int = 10) -> Architecture:
    """CONV-7 of the paper as decision R7 reads it: 708,458 parameters on 28x28x1."""
    return plain(input_shape, classes, (32, 32, 64, 64, 128, 128, 256), {2, 4})


def conv10(input_shape: InputShape = (3, 32, 32), classes: int = 10) -> Architecture:
    """CONV-10 as decision R7 reads it: 24,354,442 parameters on 32x32x3 with 10 classes."""
    widths = (64, 256, 256, 256, 512, 512, 768, 768, 768, 768)
    return plain(input_shape, classes, widths, {2, 4, 6, 8, 10})


def conv10_eighth(input_shape: InputShape = (3, 32, 32), classes: int = 10) -> Architecture:
    """CONV-10 with every width divided by 8, for two cores: 383,194 parameters on 32x32x3."""
    widths = (8, 32, 32, 32, 64, 64, 96, 96, 96, 96)
    return plain(input_shape, classes, widths, {2, 4, 6, 8, 10})


def digits_cnn(input_shape: InputShape = (1, 8, 8), classes: int = 10) -> Architecture:
    """A small network of the same make for the ``digits`` data: 75,626 parameters."""
    return plain(input_shape, classes, (32, 32, 64, 64), {2})


REFERENCES: dict[str, Callable[[InputShape, int], Architecture]] = {
    "conv7": conv7,
    "conv10": conv10,
    "conv10-eighth": conv10_eighth,
    "digits-cnn": digits_cnn,
}


def reference(name: str, input_shape: InputShape, classes: int) -> Architecture:
    """Return a reference network by name.

    Raises:
        UnknownNetworkError: No such reference, or it does not fit the images.
    """
    if name not in REFERENCES:
        raise UnknownNetworkError(f"unknown network {name!r}{nearest(name.lower(), REFERENCES)}")
    try:
        return REFERENCES[name](input_shape, classes)
    except InvalidArchitectureError as error:
        reason = f"{name} cannot take {input_shape} images: {error}"
        raise UnknownNetworkError(reason) from error
