"""Accuracy of a trained module on a part of a data set."""

import torch
from torch import Tensor, nn

from archpress.architectures.building import Network
from archpress.datasets.dataset import Split
from archpress.training.acceleration import for_inference
from archpress.training.augmentation import normalise

BATCH = 500


@torch.no_grad()
def accuracy(model: nn.Module, part: Split, scaling: tuple[Tensor, Tensor]) -> float:
    """Return the share of correct predictions, in [0, 1], computed in float32.

    Args:
        model: Takes normalised images ``[N, C, H, W]``, gives logits ``[N, K]``.
        part: Images and labels.
        scaling: Mean and standard deviation ``[C]`` of the training recipe.
    """
    was_training = model.training
    model.eval()
    forward = for_inference(model) if isinstance(model, Network) else model
    correct = torch.zeros((), dtype=torch.long, device=part.labels.device)
    for start in range(0, len(part), BATCH):
        images = normalise(part.images[start : start + BATCH], *scaling)
        correct += (forward(images).argmax(1) == part.labels[start : start + BATCH]).sum()
    model.train(was_training)
    return int(correct) / len(part)
