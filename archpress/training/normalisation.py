"""Batch normalisation of few channels, faster: torch's kernels work along channels.

Images of fewer channels than a vector register has places leave most of it empty. Here several
pixels lie side by side, ``[N H W C]`` as ``[N H W / k, k C]``, for sums and for the scaling.
"""

from typing import Any

import torch
from torch import Tensor, nn

MOST_CHANNELS = 12
"""Above it torch's own kernels win."""

FEWEST_VALUES = 80_000
"""Below it, calls take more time than arithmetic."""

_ROW = 128


def pays(x: Tensor) -> bool:
    """Whether :func:`normalise_folded` is faster on these images ``[N, C, H, W]``."""
    few = 1 < x.shape[1] <= MOST_CHANNELS and x.numel() >= FEWEST_VALUES and _pixels(x) > 1
    return few and x.device.type == "cpu" and x.is_contiguous(memory_format=torch.channels_last)


def normalise_folded(x: Tensor, norm: nn.BatchNorm2d) -> Tensor:
    """Return what ``norm`` returns in training, and update its statistics.

    Args:
        x: ``[N, C, H, W]``, channels last; statistics are computed in float32.
        norm: Affine, with running statistics and a momentum.
    """
    y, mean, variance = _Folded.apply(x, norm.weight, norm.bias, norm.eps)  # type: ignore[no-untyped-call]
    count = x.numel() // x.shape[1]
    with torch.no_grad():
        norm.num_batches_tracked.add_(1)  # type: ignore[union-attr]
        norm.running_mean.lerp_(mean, norm.momentum)  # type: ignore[union-attr, arg-type]
        unbiased = variance.mul_(count / (count - 1))
        norm.running_var.lerp_(unbiased, norm.momentum)  # type: ignore[union-attr, arg-type]
    return y  # type: ignore[no-any-return]


class _Folded(torch.autograd.Function):
    @staticmethod
    def forward(
        ctx: Any, x: Tensor, weight: Tensor, bias: Tensor, eps: float
    ) -> tuple[Tensor, Tensor, Tensor]:
        pixels, count = _pixels(x), x.numel() // x.shape[1]
        rows = _fold(x, pixels)
        mean = _summed(rows, pixels) / count
        centred = rows - mean.repeat(pixels)
        variance = _summed(centred * centred, pixels) / count
        scale = (variance + eps).rsqrt()
        scaled = torch.addcmul(bias.repeat(pixels), centred, (weight * scale).repeat(pixels))
        ctx.save_for_backward(rows, mean, scale, weight)
        ctx.mark_non_differentiable(mean, variance)
        return _unfold(scaled, x), mean, variance

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor | None, ...]:
        rows, mean, scale, weight = ctx.saved_tensors
        gradient = gradients[0].contiguous(memory_format=torch.channels_last)
        pixels, count = rows.shape[1] // len(mean), rows.numel() // len(mean)
        upper = _fold(gradient, pixels).float()
        centred = rows - mean.repeat(pixels)
        for_bias = _summed(upper, pixels)
        for_weight = _summed(upper * centred, pixels) * scale
        gain = weight * scale
        lower = torch.addcmul((-gain * for_bias / count).repeat(pixels), upper, gain.repeat(pixels))
        lower.addcmul_(centred, (-gain * scale * for_weight / count).repeat(pixels))
        return _unfold(lower, gradient), for_weight, for_bias, None


def _pixels(x: Tensor) -> int:
    """Return k: a power of two, so that rows are at most so wide and all pixels are used."""
    count, pixels = x.numel() // x.shape[1], 1
    while 2 * pixels * x.shape[1] <= _ROW and count % (2 * pixels) == 0:
        pixels *= 2
    return pixels


def _fold(x: Tensor, pixels: int) -> Tensor:
    return x.permute(0, 2, 3, 1).view(-1, pixels * x.shape[1])


def _unfold(rows: Tensor, like: Tensor) -> Tensor:
    """Return the rows as an image of that shape and type; no view, so that ReLU may overwrite."""
    images = torch.empty_like(like)
    _fold(images, rows.shape[1] // like.shape[1]).copy_(rows)
    return images


def _summed(rows: Tensor, pixels: int) -> Tensor:
    """Return the sum over all pixels per channel, float32 ``[C]``."""
    return rows.sum(0, dtype=torch.float32).view(pixels, -1).sum(0)
