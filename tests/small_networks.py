"""Small architectures that many tests share: every layer kind, odd shapes, both search spaces."""

import pytest
import torch
from hypothesis import strategies as st

from archpress.architectures.architecture import Architecture
from archpress.architectures.layers import (
    AveragePool,
    BatchNorm,
    Convolution,
    Dropout,
    Linear,
    MaxPool,
    ReLU,
    Sigmoid,
)
from archpress.architectures.references import digits_cnn
from archpress.architectures.spaces import BlocksSpace, Limits, PaperSpace, Space

SMALL = Limits(max_parameters=1_000_000, max_macs=20_000_000)
SHAPES = ((1, 8, 8), (1, 28, 28), (3, 32, 32), (2, 7, 12), (1, 5, 3))

ZOO = {
    "linear only": Architecture((1, 2, 3), (Linear(2),)),
    "every kind": Architecture(
        (3, 12, 12),
        (
            *(Convolution(8, 3, padding=1), BatchNorm(), ReLU(), MaxPool(2, 2)),
            *(Convolution(4, 3, 2, 1), Sigmoid(), AveragePool(3, 1, 1), Dropout()),
            *(Linear(16), BatchNorm(), ReLU(), Linear(10)),
        ),
    ),
    "not square": Architecture((2, 7, 12), (Convolution(6, 3, 2, 1), AveragePool(2, 2), Linear(3))),
    "one pixel": Architecture((4, 1, 1), (Convolution(5, 1), ReLU(), Linear(4))),
    "much padding": Architecture(
        (1, 3, 3), (Convolution(2, 5, 3, 10), MaxPool(4, 1, 2), Linear(2))
    ),
    "linear first": Architecture(
        (1, 4, 4), (Linear(8), BatchNorm(), Sigmoid(), Dropout(), Linear(2))
    ),
    "norm first": Architecture((3, 6, 6), (BatchNorm(), Dropout(), Convolution(4, 3), Linear(5))),
    "digits-cnn": digits_cnn(),
}

every_network = pytest.mark.parametrize("network", ZOO.values(), ids=ZOO)


def generator(seed: int) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def images_for(network: Architecture, count: int = 3, seed: int = 0) -> torch.Tensor:
    return torch.randn(count, *network.input_shape, generator=generator(seed))


def sampled_networks(limits: Limits = SMALL) -> st.SearchStrategy[Architecture]:
    """Networks drawn from both search spaces, at several input shapes and class counts."""

    def sampled(
        kind: type[Space], shape: tuple[int, int, int], classes: int, seed: int
    ) -> Architecture:
        return kind(shape, classes, limits).sample(1, generator(seed)).architectures[0]

    kinds = st.sampled_from([PaperSpace, BlocksSpace])
    return st.builds(
        sampled, kinds, st.sampled_from(SHAPES), st.integers(1, 20), st.integers(0, 2**32)
    )
