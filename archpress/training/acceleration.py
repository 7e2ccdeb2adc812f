"""The same network, computed faster in training and scoring: one callable per block of the module.

Nothing here changes the function that is learned or the names of weights; float32 results differ by
rounding at most. The module saves and exports as before.
"""

from collections.abc import Callable, Sequence
from itertools import pairwise

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.nn.utils.fusion import fuse_conv_bn_eval

from archpress.architectures.building import Network
from archpress.training.normalisation import normalise_folded, pays
from archpress.training.precision import Precision, class_of, in_bfloat16

Operation = Callable[[Tensor], Tensor]

GEMM_PIXELS = 64
"""A 1x1 convolution of an image of so many pixels or fewer is a matrix product: its set-up is
cheaper than a convolution's, which wins on larger images."""

_OVERWRITABLE = (nn.Conv2d, nn.BatchNorm2d, nn.MaxPool2d)
"""Modules whose backward pass does not need their output."""

_FLATTENING = (nn.Flatten, nn.AdaptiveAvgPool2d)
"""Modules whose input's gradient does not lie as the input does."""


class Accelerated:
    """A network for training: ``[N, C, H, W]`` images in channels-last memory in, logits out.

    Args:
        network: Its weights are used where they lie.
        precision: Which classes of layers to compute in bfloat16.
        generator: Draws the dropout masks; on the network's device.
    """

    def __init__(
        self, network: Network, precision: Precision, generator: torch.Generator | None = None
    ) -> None:
        self._network = network
        self._bfloat16 = in_bfloat16(precision)
        self._generator = generator
        self._blocks = {
            name: self._chain(block)
            for name, block in network.named_children()
            if isinstance(block, nn.Sequential)
        }

    def __call__(self, images: Tensor) -> Tensor:
        """Return the logits."""
        dtype = torch.bfloat16 if self._bfloat16 else torch.float32
        with torch.autocast(images.device.type, dtype, enabled=bool(self._bfloat16)):
            return self._network.run(images, self._blocks)

    def _chain(self, block: nn.Sequential) -> Operation:
        modules = _pooled_first(block)
        for first, second in pairwise(modules):
            if self._absorbs(first, second):
                _absorb_bias(first, second)  # type: ignore[arg-type]
        return _in_turn(
            [
                self._operation(previous, module, following)
                for previous, module, following in zip(
                    [None, *modules], modules, [*modules[1:], None], strict=False
                )
            ]
        )

    def _operation(
        self, previous: nn.Module | None, module: nn.Module, following: nn.Module | None
    ) -> Operation:
        if isinstance(module, nn.Conv2d):
            return self._convolution(module, self._absorbs(module, following))
        if isinstance(module, nn.Linear) and self._bfloat16 and "linear" not in self._bfloat16:
            return self._in_float32(module)
        if isinstance(module, nn.ReLU) and isinstance(previous, _OVERWRITABLE):
            return F.relu_
        if isinstance(module, nn.Dropout) and self._generator is not None:
            return self._dropout(module)
        if isinstance(module, nn.BatchNorm2d) and self._bfloat16:
            return _batch_norm(module)
        if isinstance(module, _FLATTENING):
            return _with_gradient_laid_out(module)
        return module

    def _absorbs(self, first: nn.Module, second: nn.Module | None) -> bool:
        """Whether a bias goes; in float32 it stays, so that results are the plain module's."""
        norm = isinstance(second, nn.BatchNorm2d)
        return bool(self._bfloat16) and isinstance(first, nn.Conv2d) and norm

    def _convolution(self, module: nn.Conv2d, normalised: bool) -> Operation:
        kernel, stride = module.kernel_size[0], module.stride[0]
        gemm = (kernel, stride, module.groups, module.padding) == (1, 1, 1, (0, 0))
        bias = None if normalised else module.bias

        def plain(x: Tensor) -> Tensor:
            return F.conv2d(
                x, module.weight, bias, module.stride, module.padding, module.dilation,
                module.groups,
            )  # fmt: skip

        in_float32 = self._in_float32(plain)

        def convolution(x: Tensor) -> Tensor:
            side = max(x.shape[2:])
            kind = class_of(kernel, stride, module.in_channels, side, module.groups)
            # Strides beyond the image: oneDNN's bfloat16 weight gradients read what is not there.
            if kind not in self._bfloat16 or stride > min(x.shape[2:]):
                return in_float32(x)
            if gemm and x.shape[2] * x.shape[3] <= GEMM_PIXELS:
                weight = module.weight.view(module.out_channels, -1)
                return F.linear(x.permute(0, 2, 3, 1), weight, bias).permute(0, 3, 1, 2)
            return plain(x)

        return convolution if self._bfloat16 else plain

    @staticmethod
    def _in_float32(inner: Operation) -> Operation:
        def operation(x: Tensor) -> Tensor:
            with torch.autocast(x.device.type, enabled=False):
                return inner(x.float()).to(torch.bfloat16)

        return operation

    def _dropout(self, module: nn.Dropout) -> Operation:
        rate = module.p

        def dropout(x: Tensor) -> Tensor:
            if not module.training or rate in (0.0, 1.0):
                return F.dropout(x, rate, module.training)
            kept = torch.empty_like(x).bernoulli_(1 - rate, generator=self._generator)
            return x * kept.div_(1 - rate)

        return dropout


def for_inference(network: Network) -> Operation:
    """Return the function of a network in evaluation mode, BatchNorm within the convolutions.

    Args:
        network: Its weights are copied where they change.

    Returns:
        ``[N, C, H, W]`` images in, logits out.
    """
    blocks = {
        name: _fused(block)
        for name, block in network.named_children()
        if isinstance(block, nn.Sequential)
    }
    return lambda images: network.run(images, blocks)


def _fused(block: nn.Sequential) -> Operation:
    modules: list[nn.Module] = []
    for module in _pooled_first(block):
        last = modules[-1] if modules else None
        if isinstance(module, nn.BatchNorm2d) and isinstance(last, nn.Conv2d):
            modules[-1] = fuse_conv_bn_eval(last, module)
        else:
            modules.append(module)
    return _in_turn(
        [
            F.relu_
            if isinstance(module, nn.ReLU) and isinstance(previous, _OVERWRITABLE)
            else module
            for previous, module in zip([None, *modules], modules, strict=False)
        ]
    )


def _in_turn(operations: Sequence[Operation]) -> Operation:
    def chain(x: Tensor) -> Tensor:
        for operation in operations:
            x = operation(x)
        return x

    return chain


def _batch_norm(module: nn.BatchNorm2d) -> Operation:
    plain = not (module.affine and module.track_running_stats and module.momentum is not None)

    def batch_norm(x: Tensor) -> Tensor:
        if plain or not module.training or not pays(x):
            return module(x)  # type: ignore[no-any-return]
        return normalise_folded(x, module)

    return batch_norm


def _with_gradient_laid_out(module: nn.Module) -> Operation:
    """Return the module with its input's gradient in channels-last memory.

    Where a gradient lies otherwise than the activations, what comes before, ReLU most of all,
    takes ten times as long.
    """

    def operation(x: Tensor) -> Tensor:
        if x.requires_grad and x.dim() == 4:
            x.register_hook(_channels_last)
        return module(x)  # type: ignore[no-any-return]

    return operation


def _channels_last(gradient: Tensor) -> Tensor:
    return gradient.contiguous(memory_format=torch.channels_last)


def _absorb_bias(convolution: nn.Conv2d, norm: nn.BatchNorm2d) -> None:
    """Take away a bias that BatchNorm subtracts again: the same function, in less time.

    It has no gradient but rounding errors, which Adam scales up, and in bfloat16 it would swallow
    a weak signal, whose variance BatchNorm then could not see.
    """
    if convolution.bias is not None and norm.running_mean is not None:
        with torch.no_grad():
            norm.running_mean -= convolution.bias
            convolution.bias.zero_()


def _pooled_first(block: nn.Sequential) -> list[nn.Module]:
    """Return the modules with max pooling before ReLU: equal results and gradients, less work."""
    modules = list(block)
    for place, (first, second) in enumerate(pairwise(modules)):
        if isinstance(first, nn.ReLU) and isinstance(second, nn.MaxPool2d):
            modules[place], modules[place + 1] = second, first
    return modules
