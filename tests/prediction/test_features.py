import math

import numpy as np
import pytest
import torch

from archpress.architectures.architecture import Architecture
from archpress.architectures.layers import (
    BatchNorm,
    Convolution,
    DepthwiseConvolution,
    Dropout,
    GlobalAveragePool,
    Layer,
    Linear,
    MaxPool,
    ReLU,
)
from archpress.architectures.spaces import SPACES
from archpress.prediction.features import NAMES, summary
from archpress.prediction.layer_table import LayerTable

BODY: tuple[Layer, ...] = (
    *(Convolution(16, 3, 1, 1), BatchNorm(), ReLU(), MaxPool(2, 2), Dropout(rate=0.25)),
    *(Convolution(64, 1), ReLU(), DepthwiseConvolution(5, 2, 2, skip=0), ReLU()),
)
NETWORK = Architecture((3, 32, 32), (*BODY, Linear(100), ReLU(), Linear(10)))
POOLED = Architecture((3, 32, 32), (*BODY, Convolution(10, 1), GlobalAveragePool()))


def of(network: Architecture) -> dict[str, float]:
    return dict(zip(NAMES, summary([network])[0].tolist(), strict=True))


def test_the_features_of_a_network_counted_by_hand() -> None:
    found = of(NETWORK)
    parameters = 16 * 28 + 32 + 64 * 17 + 64 * 26 + 100 * (64 * 64 + 1) + 10 * 101
    by_hand = {
        "log_parameters": math.log2(parameters),
        "log_bottleneck": 12,
        "linear_share": (100 * 4097 + 1010) / parameters,
        "global_pooling": 0,
        "log_final_side": 3,
        "log_final_features": 12,
        "log_head_inputs": math.log2(100),
        "hidden_linear": 1,
        "log_layers": math.log2(5),
        "spatial_convolutions": 1,
        "pointwise_convolutions": 1,
        "depthwise_convolutions": 1,
        "activations": 4,
        "norms": 1,
        "pools": 1,
        "mean_kernel": 3,
        "largest_kernel": 5,
        "dropouts": 1,
        "total_dropout": -math.log(0.75),
        "log_least_kept": math.log2(12),
        "first_log_width": 4,
        "last_log_width": 6,
        "slope_log_width": 2,
        "octaves_lost": 2,
        "depth_of_shrinking": (1 / 3 + 1) / 2,
        "layers_before_shrinking": 1,
        "overlapping_pools": 0,
        "log_receptive_field": math.log2(3 + 1 + 4 * 2),
        "spatial_at_high_resolution": 1,
        "spatial_at_low_resolution": 1,
    }
    assert {name: found[name] for name in by_hand} == pytest.approx(by_hand)


def test_what_makes_the_logits_is_no_part_of_the_body() -> None:
    linear, pooled = of(NETWORK), of(POOLED)
    same = [name for name in NAMES if "width" in name or "kernel" in name or "convol" in name]
    assert len(same) > 10
    assert {n: linear[n] for n in same} == pytest.approx({n: pooled[n] for n in same})
    assert (linear["global_pooling"], pooled["global_pooling"]) == (0, 1)
    assert pooled["log_head_inputs"] == 6


def test_networks_of_every_space_have_finite_features() -> None:
    for name in ("blocks", "paper"):
        space = SPACES[name]((3, 32, 32), 10)
        networks = space.sample(25, torch.Generator().manual_seed(1)).architectures
        values = summary([*networks, space.smallest()])
        assert values.shape == (26, len(NAMES))
        assert np.isfinite(values).all()


def test_the_receptive_field_and_the_sides_are_those_of_the_network() -> None:
    networks = SPACES["blocks"]((3, 32, 32), 10).sample(25, torch.Generator().manual_seed(2))
    for network in networks.architectures:
        table = LayerTable.of(network)
        assert table.field[-1] == network.cost.receptive_field
        last = table.side_in[table.first_flat]
        assert 2 ** table.octaves_lost.sum() == pytest.approx(32 / last)


def test_only_a_pool_and_a_flat_map_have_features_too() -> None:
    tiny = Architecture((1, 4, 4), (GlobalAveragePool(),))
    assert np.isfinite(summary([tiny])).all()
    assert summary([]).shape == (0, len(NAMES))
