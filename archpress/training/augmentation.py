"""Normalisation, flips and crops on batches of image tensors, on their device."""

from collections.abc import Callable
from weakref import WeakKeyDictionary

import torch
import torch.nn.functional as F
from torch import Tensor

from archpress.datasets.dataset import DataSet
from archpress.training.recipe import TrainingRecipe


def input_scaling(recipe: TrainingRecipe, data: DataSet) -> tuple[Tensor, Tensor]:
    """Return mean and standard deviation, float32 ``[C]`` each, that the recipe normalises by.

    They apply to pixels in [0, 1] (uint8 divided by 255) or to floating-point images as they are.
    """
    if recipe.normalization == "half":
        channels, device = data.input_shape[0], data.train.images.device
        return torch.full((channels,), 0.5, device=device), torch.ones(channels, device=device)
    return _statistics(data)


_STATISTICS: "WeakKeyDictionary[DataSet, tuple[Tensor, Tensor]]" = WeakKeyDictionary()


def _statistics(data: DataSet) -> tuple[Tensor, Tensor]:
    if data not in _STATISTICS:
        mean, deviation = data.channel_statistics()
        _STATISTICS[data] = mean, deviation.clamp_min(1e-6)
    return _STATISTICS[data]


def normalise(images: Tensor, mean: Tensor, deviation: Tensor) -> Tensor:
    """Return ``[N, C, H, W]`` float32 images in channels-last memory, normalised per channel."""
    pixels = images.float().div_(255) if images.dtype == torch.uint8 else images.float()
    pixels = (pixels - mean.view(1, -1, 1, 1)) / deviation.view(1, -1, 1, 1)
    return pixels.contiguous(memory_format=torch.channels_last)


def rescaling(
    scaling: tuple[Tensor, Tensor], wanted: tuple[Tensor, Tensor], device: torch.device
) -> Callable[[Tensor], Tensor]:
    """Return what makes of images normalised by one scaling images normalised by another.

    Args:
        scaling: Mean and standard deviation ``[C]`` that images come with.
        wanted: Those that they are to have.
        device: Where the images are.
    """
    (mean, deviation), (other_mean, other_deviation) = (
        tuple(part.to(device).view(1, -1, 1, 1) for part in each) for each in (scaling, wanted)
    )
    return lambda images: (images * deviation + mean - other_mean) / other_deviation


def augment(images: Tensor, recipe: TrainingRecipe, generator: torch.Generator) -> Tensor:
    """Return the batch ``[N, C, H, W]`` randomly cropped and mirrored as the recipe says."""
    if recipe.crop_padding:
        images = _random_crop(images, recipe.crop_padding, generator)
    if recipe.flip:
        mirrored = torch.rand(len(images), device=images.device, generator=generator) < 0.5
        images = torch.where(mirrored.view(-1, 1, 1, 1), images.flip(3), images)
    return images


def _random_crop(images: Tensor, padding: int, generator: torch.Generator) -> Tensor:
    count, _, height, width = images.shape
    padded = F.pad(images, (padding,) * 4)
    top, left = torch.randint(
        0, 2 * padding + 1, (2, count, 1), device=images.device, generator=generator
    )
    rows = (top + torch.arange(height, device=images.device)).view(count, 1, height, 1)
    columns = (left + torch.arange(width, device=images.device)).view(count, 1, 1, width)
    batch = torch.arange(count, device=images.device).view(count, 1, 1, 1)
    channels = torch.arange(images.shape[1], device=images.device).view(1, -1, 1, 1)
    return padded[batch, channels, rows, columns]
