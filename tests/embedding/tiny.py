"""Embeddings, settings and examples that are small enough to fit in a second."""

import torch

from archpress.architectures.architecture import Architecture
from archpress.architectures.spaces import BlocksSpace, Limits
from archpress.embedding.fitting import Example
from archpress.embedding.model import Embedding
from archpress.embedding.regressors import ParameterTarget
from archpress.embedding.settings import PAPER, EmbeddingSettings
from tests.small_networks import generator

SIZES = {"size": 8, "channels": 8, "hidden": 16, "batch_size": 16}
TINY = EmbeddingSettings(**SIZES, iterations=20, unlabelled=0)
TINY_PAPER = PAPER.model_copy(update={**SIZES, "iterations": 20})
CONFIGURATIONS = {"default": TINY, "paper": TINY_PAPER}
SPACE = BlocksSpace((1, 8, 8), 10, Limits(max_parameters=100_000), max_blocks=4)


def blocks(count: int, seed: int = 0) -> list[Architecture]:
    return SPACE.sample(count, generator(seed)).architectures


def labelled(count: int, seed: int = 0) -> list[Example]:
    """Examples whose accuracy rises with their size, between 0.1 and 0.9."""
    networks = blocks(count, seed)
    order = sorted(range(count), key=lambda index: networks[index].cost.parameters)
    accuracy = {index: 0.1 + 0.8 * rank / max(count - 1, 1) for rank, index in enumerate(order)}
    return [Example(network, accuracy[index]) for index, network in enumerate(networks)]


def random_embedding(
    settings: EmbeddingSettings = TINY, seed: int = 0, sigma: float = 1_000.0
) -> Embedding:
    """An embedding that has learned nothing, in evaluation mode."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        target = ParameterTarget(settings.parameter_target == "log10", sigma)
        return Embedding(settings, target).eval()
