"""CompressionResult: what every compression method gives back."""

from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from archpress.architectures.architecture import Architecture
from archpress.compression.finishing import Finished
from archpress.training.augmentation import normalise


@dataclass(frozen=True)
class CompressionResult:
    """The outcome of one method on one task.

    Attributes:
        method: ``archpress`` or the name of a rival.
        base: The input network after final training.
        compressed: The chosen network after the same training.
        origin: Where the chosen network came from, in words.
        labels: Networks that the method labelled.
        label_epochs: Training epochs spent on labels.
        folder: The run folder.
    """

    method: str
    base: Finished
    compressed: Finished
    origin: str
    labels: int
    label_epochs: int
    folder: Path

    @property
    def architecture(self) -> Architecture:
        """The compressed network."""
        return self.compressed.architecture

    @property
    def compression(self) -> float:
        """Parameters of the input network over parameters of the compressed one."""
        return self.base.architecture.cost.parameters / self.architecture.cost.parameters

    @cached_property
    def model(self) -> nn.Module:
        """The compressed network, trained, in evaluation mode; takes normalised images."""
        return self.compressed.model()

    def predict(self, images: Tensor) -> Tensor:
        """Return the compressed network's logits ``[N, K]`` of ``images``, which it normalises.

        Args:
            images: ``[N, C, H, W]``, uint8 or pixels in [0, 1], as a `DataSet` holds them.
        """
        with torch.inference_mode():
            logits: Tensor = self.model(normalise(images, *self.compressed.scaling))
        return logits

    def to_json(self) -> dict[str, Any]:
        """Return the record of ``results/<method>.json``."""
        return {
            **self.compressed.to_json(),
            "origin": self.origin,
            "labels": self.labels,
            "label_epochs": self.label_epochs,
        }
