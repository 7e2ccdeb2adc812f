"""Published networks written as architectures: their counts are those of the published tables.

The tables lie beside the checkout, in ``../shared/data/tables``; without them nothing is tested.
"""

import json
from functools import cache
from itertools import product
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from archpress.architectures.architecture import Architecture
from archpress.architectures.batch_cost import batch_cost, pack
from archpress.architectures.building import build
from archpress.architectures.layers import MaxPool
from benchmarks.published_tables import CIFAR10, macro_network, metaqnn_layers

TABLES = Path(__file__).parents[3] / "shared" / "data" / "tables"

pytestmark = pytest.mark.skipif(not TABLES.is_dir(), reason="the tables are not at hand")


@cache
def table(name: str) -> Any:
    return json.loads((TABLES / f"{name}_cifar10.json").read_text())


# ------------------------------------------------------------------ NAS-Bench-Macro


@pytest.fixture(scope="module")
def macro_networks() -> dict[str, Architecture]:
    return {key: macro_network(key) for key in table("nas-bench-macro")}


def test_the_table_has_every_key_and_some_are_the_same_network(
    macro_networks: dict[str, Architecture],
) -> None:
    """In a stage it does not matter which of the layers after the first is the identity."""
    assert set(macro_networks) == {"".join(digits) for digits in product("012", repeat=8)}
    two_after_the_first = 1 + 2 + 4
    distinct = {network.digest for network in macro_networks.values()}
    assert len(distinct) == (3 * 3) * (3 * two_after_the_first) ** 2


def test_every_network_of_nas_bench_macro_has_the_published_parameters(
    macro_networks: dict[str, Architecture],
) -> None:
    published = {key: row["params"] for key, row in table("nas-bench-macro").items()}
    assert {key: net.cost.parameters for key, net in macro_networks.items()} == published
    packed = pack(list(macro_networks.values()))
    costs = batch_cost(packed.rows, CIFAR10, packed.surplus)
    assert costs.valid.all()
    assert costs.parameters.tolist() == list(published.values())
    for field in ("macs", "activation_bytes", "receptive_field"):
        one_by_one = [getattr(network.cost, field) for network in macro_networks.values()]
        assert getattr(costs, field).tolist() == one_by_one, field


def test_the_published_operations_are_the_macs(macro_networks: dict[str, Architecture]) -> None:
    published = {key: row["flops"] for key, row in table("nas-bench-macro").items()}
    assert {key: net.cost.macs for key, net in macro_networks.items()} == published


def test_a_built_network_of_nas_bench_macro_runs_and_has_these_parameters(
    macro_networks: dict[str, Architecture],
) -> None:
    model = build(macro_networks["22222222"], seed=0).eval()
    published = table("nas-bench-macro")["22222222"]["params"]
    assert sum(parameter.numel() for parameter in model.parameters()) == published
    with torch.no_grad():
        assert model(torch.zeros(1, *CIFAR10)).shape == (1, 10)


# ------------------------------------------------------------------ MetaQNN


@pytest.fixture(scope="module")
def metaqnn_networks() -> list[Architecture]:
    rows = table("metaqnn")
    return [Architecture(CIFAR10, tuple(metaqnn_layers(row["layers"]))) for row in rows]


def test_every_metaqnn_network_has_the_parameters_and_macs_of_the_table(
    metaqnn_networks: list[Architecture],
) -> None:
    rows = table("metaqnn")
    assert len(rows) == 1_000
    found = [(network.cost.parameters, network.cost.macs) for network in metaqnn_networks]
    assert found == [(row["params_true"], row["macs"]) for row in rows]


def test_the_costs_of_the_metaqnn_networks_at_once_are_those_one_by_one(
    metaqnn_networks: list[Architecture],
) -> None:
    packed = pack(metaqnn_networks)
    costs = batch_cost(packed.rows, CIFAR10, packed.surplus)
    assert costs.valid.all()
    assert not np.any(packed.surplus)
    for field in ("parameters", "macs", "activation_bytes", "receptive_field"):
        one_by_one = [getattr(network.cost, field) for network in metaqnn_networks]
        assert getattr(costs, field).tolist() == one_by_one, field


def test_the_side_that_the_table_states_for_pools_is_that_of_their_layers() -> None:
    for side, kernel, stride in product(range(1, 33), (2, 3, 5), (2, 3)):
        stated = max(1, -(-(side - kernel + 1) // stride))
        pool = MaxPool(min(kernel, side), stride)
        assert pool.output_shape((1, side, side)) == (1, stated, stated)
