"""Architecture -> ``torch.nn.Module``."""

from collections.abc import Callable, Mapping

import torch
from torch import Tensor, nn

from archpress.architectures.architecture import Architecture
from archpress.architectures.segments import INPUT, Segment, segments, waiting


class Network(nn.Module):
    """The module of an architecture: ``[N, C, H, W]`` images in, ``[N, K]`` logits out."""

    def __init__(self, architecture: Architecture) -> None:
        super().__init__()
        self._segments: list[Segment] = segments(architecture)
        self._waiting = waiting(self._segments)
        for part in self._segments:
            modules = [call.module() for calls in part.calls for call in calls]
            self.add_module(part.block, nn.Sequential(*modules))
            if part.shortcut:
                fitting = [call.module() for call in part.shortcut]
                self.add_module(part.fitting, nn.Sequential(*fitting))

    def forward(self, x: Tensor) -> Tensor:
        """Return the logits."""
        return self.run(x, self._modules)  # type: ignore[arg-type]

    def run(self, x: Tensor, parts: Mapping[str, Callable[[Tensor], Tensor]]) -> Tensor:
        """Return the logits with ``parts``, by name, in place of this module's children."""
        saved = {INPUT: x} if INPUT in self._waiting else {}
        for part in self._segments:
            y = parts[part.block](x)
            if part.source is not None:
                skipped = saved.get(part.source, x)
                y = y + (parts[part.fitting](skipped) if part.shortcut else skipped)
            if part.number in self._waiting:
                saved[part.number] = y
            x = y
        return x


def build(architecture: Architecture, seed: int | None = None) -> Network:
    """Return a freshly initialised network: ``[N, C, H, W]`` images in, ``[N, K]`` logits out.

    Args:
        architecture: What to build.
        seed: Seed of the weights; the global generator is left as it was. None draws from it.
    """
    if seed is None:
        return Network(architecture)
    with torch.random.fork_rng(devices=[]):
        torch.default_generator.manual_seed(seed)  # torch.manual_seed would seed every GPU too
        return Network(architecture)
