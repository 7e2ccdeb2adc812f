import numpy as np
import torch

from archpress.architectures.architecture import Architecture
from archpress.architectures.layers import (
    Convolution,
    DepthwiseConvolution,
    Dropout,
    Linear,
    MaxPool,
    ReLU,
)
from archpress.architectures.spaces import SPACES
from archpress.prediction.features import NAMES, summary
from archpress.prediction.sequence import LEVELS, POSITIONS, profile, sequence

SHAPE = (3, 32, 32)


def network(*body: object) -> Architecture:
    return Architecture(SHAPE, (*body, Linear(10)))  # type: ignore[arg-type]


def test_a_profile_says_what_happens_at_which_resolution() -> None:
    layers = (Convolution(32, 3, 1, 1), ReLU(), MaxPool(2, 2), Dropout(rate=0.5))
    found = profile([network(*layers, Convolution(128, 1), DepthwiseConvolution(5, 2, 2))])
    levels = found.reshape(LEVELS, 10)
    macs = np.log2(1 + np.array([32 * 27 * 1024, 128 * 32 * 256, 25 * 128 * 64]))
    parameters = np.log2(1 + np.array([32 * 28, 128 * 33, 128 * 26]))
    assert levels[0].tolist() == [1, 0, 0, 2, 5, 5, macs[0], parameters[0], 2, 0]
    assert levels[1].tolist() == [0, 1, 0, 0, 7, 7, macs[1], parameters[1], 0, 0.5]
    assert levels[2].tolist() == [1, 0, 1, 4, 0, 0, macs[2], parameters[2], 0, 0]
    assert not levels[3:].any()


def test_counts_over_all_resolutions_are_those_of_the_summary() -> None:
    networks = SPACES["blocks"](SHAPE, 10).sample(20, torch.Generator().manual_seed(3))
    levels = profile(networks.architectures).reshape(20, LEVELS, 10).sum(1)
    whole = dict(zip(NAMES, summary(networks.architectures).T, strict=True))
    assert (levels[:, 1] == whole["pointwise_convolutions"]).all()
    assert (levels[:, 2] == whole["depthwise_convolutions"]).all()
    assert (whole["depthwise_convolutions"] > 0).any()


def test_a_sequence_has_the_layers_from_either_end() -> None:
    body = (Convolution(32, 3, 1, 1), ReLU(), MaxPool(2, 2), Convolution(256, 1), Linear(50))
    first, last = sequence([network(*body)]).reshape(2, POSITIONS, 9)
    assert (first[:4] == last[:4][::-1]).all()
    assert not first[4:].any() and not last[4:].any()
    assert first[0].tolist() == [-2, np.log2(3) - 7, 0, 0, 0, 1, 0, 0, 0]
    assert first[2].tolist() == [1, -2, -2, 1, 1, 1, 0, 0, 0]
    assert first[:4, 6:].tolist() == [[0, 0, 0], [1, 0, 0], [0, 0, 0], [0, 1, 0]]


def test_a_long_network_is_cut_in_the_middle() -> None:
    body = [Convolution(2**place, 1) for place in range(1, 12)] * 3
    first, last = sequence([network(*body)]).reshape(2, POSITIONS, 9)
    assert first[:, 0].tolist() == [*range(-6, 5), -6]
    assert last[:, 0].tolist() == [*range(4, -7, -1), 4]
