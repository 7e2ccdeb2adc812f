"""Architecture -> ``torch.nn.Module``."""

import torch
from torch import nn

from archpress.architectures.architecture import Architecture
from archpress.architectures.layers import Linear


def build(architecture: Architecture, seed: int | None = None) -> nn.Sequential:
    """Return a freshly initialised network: ``[N, C, H, W]`` images in, ``[N, K]`` logits out.

    Args:
        architecture: What to build; an ``nn.Flatten`` precedes the first Linear layer.
        seed: Seed of the weights; the global generator is left as it was. None draws from it.
    """
    if seed is None:
        return _modules(architecture)
    with torch.random.fork_rng(devices=[]):
        torch.default_generator.manual_seed(seed)  # torch.manual_seed would seed every GPU too
        return _modules(architecture)


def _modules(architecture: Architecture) -> nn.Sequential:
    modules: list[nn.Module] = []
    for layer, shape in zip(architecture.layers, architecture.shapes, strict=False):
        if isinstance(layer, Linear) and len(shape) == 3:
            modules.append(nn.Flatten())
        modules.append(layer.module(shape))
    return nn.Sequential(*modules)
