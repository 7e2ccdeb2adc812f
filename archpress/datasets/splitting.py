"""Parts of a data set, and how one is cut in two class by class."""

from dataclasses import dataclass
from typing import Any

import torch
from numpy.typing import NDArray
from torch import Tensor


@dataclass(frozen=True, eq=False)
class Split:
    """One part of a data set.

    Attributes:
        images: ``[N, C, H, W]``, uint8 (0 to 255) or float32 (any scale).
        labels: ``[N]``, int64, from 0 to classes - 1.
    """

    images: Tensor
    labels: Tensor

    def __len__(self) -> int:
        """Return the number of images."""
        return len(self.labels)

    def to(self, device: torch.device | str) -> "Split":
        """Return this part with its tensors on `device`."""
        return Split(self.images.to(device), self.labels.to(device))

    # Pickled tensors would travel to worker processes by way of torch's shared memory, which is
    # small in containers; numpy arrays travel through the pipe. They come back on the CPU.
    def __getstate__(self) -> dict[str, NDArray[Any]]:
        return {"images": self.images.cpu().numpy(), "labels": self.labels.cpu().numpy()}

    def __setstate__(self, state: dict[str, NDArray[Any]]) -> None:
        for name, array in state.items():
            object.__setattr__(self, name, torch.from_numpy(array))


def cut(whole: Split, fraction: float, seed: int) -> tuple[Split, Split]:
    """Cut off a share of each class, at least one image, and leave at least one; order is kept.

    Args:
        whole: At least two images of each class.
        fraction: The share to cut off.
        seed: Fixes which images are cut off.

    Returns:
        What is left, and what was cut off.
    """
    generator = torch.Generator().manual_seed(seed)
    chosen = torch.zeros(len(whole), dtype=torch.bool)
    for label in whole.labels.unique():
        members = (whole.labels == label).nonzero().flatten()
        count = min(max(1, round(fraction * len(members))), len(members) - 1)
        chosen[members[torch.randperm(len(members), generator=generator)[:count]]] = True
    kept, cut = (Split(whole.images[mask], whole.labels[mask]) for mask in (~chosen, chosen))
    return kept, cut
