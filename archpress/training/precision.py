"""Which layers this machine trains faster in bfloat16, and correctly."""

import statistics
import time
from dataclasses import dataclass
from typing import Literal

import torch
import torch.nn.functional as F
from torch import Tensor

from archpress.errors import SettingsError
from archpress.training.machine import one_thread

Precision = str
"""``float32``, ``bfloat16``, or ``bfloat16 except CLASS,CLASS``: a text, since records keep it."""
PrecisionChoice = Literal["auto", "float32", "bfloat16"]

TOLERANCE = 0.05
REPEATS = 7
MARGIN = 1.25
SMALL_SIDE = 3
FEW_CHANNELS = 4
_EXCEPT = "bfloat16 except "


@dataclass(frozen=True)
class LayerClass:
    """Layers that one measurement speaks for: a convolution of a typical shape, or a Linear layer.

    Kernels of one class share an implementation, and with it whether bfloat16 pays: oneDNN falls
    back to a loop many times slower for some depthwise convolutions in bfloat16.
    """

    channels: int
    out: int
    side: int
    kernel: int
    stride: int = 1
    depthwise: bool = False


CLASSES: dict[str, LayerClass] = {
    "stem": LayerClass(1, 16, 28, 3),
    "dense": LayerClass(32, 32, 14, 3),
    "pointwise": LayerClass(32, 64, 14, 1),
    "depthwise": LayerClass(32, 32, 14, 3, depthwise=True),
    "depthwise_small": LayerClass(64, 64, 2, 3, depthwise=True),
    "depthwise_large": LayerClass(32, 32, 7, 5, depthwise=True),
    "depthwise_strided": LayerClass(32, 32, 14, 3, 2, depthwise=True),
    "linear": LayerClass(512, 64, 1, 1),
}


def class_of(kernel: int, stride: int, channels: int, side: int, groups: int) -> str:
    """Return the class of a convolution on images of this side."""
    if groups > 1:
        if stride > 1:
            return "depthwise_strided"
        if kernel > 3:
            return "depthwise_large"
        return "depthwise_small" if side <= SMALL_SIDE else "depthwise"
    if channels <= FEW_CHANNELS:
        return "stem"
    return "pointwise" if kernel == 1 else "dense"


def in_bfloat16(precision: Precision) -> frozenset[str]:
    """Return the classes of layers that are computed in bfloat16.

    Raises:
        SettingsError: Not a precision.
    """
    excepted = precision.removeprefix(_EXCEPT).split(",") if precision.startswith(_EXCEPT) else []
    if precision == "float32":
        return frozenset()
    if (precision != "bfloat16" and not excepted) or not CLASSES.keys() >= set(excepted):
        raise SettingsError(f"precision is {precision!r}, expected auto, float32 or bfloat16")
    return frozenset(CLASSES) - set(excepted)


def family(precision: Precision) -> str:
    """Return ``float32`` or ``bfloat16``: accuracies of one family are comparable."""
    return precision.partition(" ")[0]


def choose_precision(choice: PrecisionChoice | Precision) -> Precision:
    """Return the precision to train in; ``auto`` probes this machine once (about a second).

    Of each class of layers, output and gradients in bfloat16 must agree with float32 within 5 % of
    their norm. bfloat16 is taken at all where dense convolutions are faster in it (medians of
    seven, forward plus backward), and then for every class but those that float32 does 1.25 times
    as fast: the margin keeps the choice the same from run to run.
    """
    if choice != "auto":
        in_bfloat16(choice)
        return choice
    with torch.random.fork_rng(devices=[]), one_thread():
        torch.manual_seed(0)
        gains = {name: _gain(layer) for name, layer in CLASSES.items()}
    if gains["dense"] <= 1:
        return "float32"
    slower = [name for name, gain in gains.items() if gain < 1 / MARGIN]
    return _EXCEPT + ",".join(slower) if slower else "bfloat16"


def _gain(layer: LayerClass) -> float:
    """Return how many times as fast bfloat16 is; 0 where it fails or is wrong."""
    images = torch.randn(64, layer.channels, layer.side, layer.side)
    images = images.to(memory_format=torch.channels_last)
    inputs = 1 if layer.depthwise else layer.channels
    fan = inputs * layer.kernel**2
    weights = torch.randn(layer.out, inputs, layer.kernel, layer.kernel) / fan**0.5
    ratios = []
    try:
        for _ in range(REPEATS):
            reference, slow = _timed(layer, images, weights, bfloat16=False)
            result, fast = _timed(layer, images, weights, bfloat16=True)
            ratios.append(slow / fast)
    except RuntimeError:
        return 0.0
    agrees = all(
        (a - b).norm() <= TOLERANCE * b.norm() for a, b in zip(result, reference, strict=True)
    )
    return statistics.median(ratios) if agrees else 0.0


def _timed(
    layer: LayerClass, images: Tensor, weights: Tensor, bfloat16: bool
) -> tuple[tuple[Tensor, ...], float]:
    """Return output and gradients of images and weights, and seconds for them."""
    dtype = torch.bfloat16 if bfloat16 else torch.float32
    x = images.to(dtype, copy=True).requires_grad_()
    leaf = weights.clone().requires_grad_()
    for _ in range(2):  # the first pass makes the kernels
        x.grad = leaf.grad = None
        start = time.thread_time()
        output = _forward(layer, x, leaf.to(dtype))
        output.backward(output.detach())
        seconds = time.thread_time() - start
    assert leaf.grad is not None and x.grad is not None
    return (output.detach().float(), x.grad.float(), leaf.grad), seconds


def _forward(layer: LayerClass, x: Tensor, weights: Tensor) -> Tensor:
    if layer.side == 1:
        return F.linear(x.flatten(1), weights.flatten(1))
    groups = layer.channels if layer.depthwise else 1
    return F.conv2d(x, weights, None, layer.stride, layer.kernel // 2, 1, groups)


def precision_on_gpu(choice: PrecisionChoice | Precision) -> Precision:
    """Return what to train in on a GPU: ``auto`` is float32 by rule, since timings may differ.

    Whether bfloat16 pays for networks this small is not yet measured.
    """
    return "float32" if choice == "auto" else choice
