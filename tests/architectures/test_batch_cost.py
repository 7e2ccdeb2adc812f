"""The cost of many networks at once: equal, for every network, to the cost of each by itself."""

from collections.abc import Sequence

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from archpress.architectures.architecture import Architecture
from archpress.architectures.batch_cost import BatchCost, Integers, batch_cost, pack
from archpress.architectures.cost import FIELD_LIMIT
from archpress.architectures.layers import (
    BatchNorm,
    Convolution,
    DepthwiseConvolution,
    GlobalAveragePool,
    Layer,
    Linear,
    MaxPool,
    Projection,
    ReLU,
    SqueezeExcite,
    Tanh,
)
from archpress.architectures.references import conv10, digits_cnn
from archpress.architectures.spaces import BlocksSpace, PaperSpace, Space
from archpress.errors import InvalidArchitectureError
from tests.small_networks import (
    ZOO,
    every_network,
    generator,
    networks_with_skips,
    without_attributes,
)

FIELDS = ("parameters", "macs", "activation_bytes", "receptive_field")
InputShape = tuple[int, int, int]


def assert_costs_are(
    costs: BatchCost, networks: Sequence[Architecture], which: Integers | None = None
) -> None:
    """Compare the costs, at the places ``which`` of the batch, with those one by one."""
    for field in FIELDS:
        found = getattr(costs, field)
        assert found.dtype == np.int64
        expected = [getattr(network.cost, field) for network in networks]
        assert (found if which is None else found[which]).tolist() == expected, field


def assert_packed_costs_are_those_one_by_one(networks: Sequence[Architecture]) -> None:
    packed = pack(networks)
    costs = batch_cost(packed.rows, networks[0].input_shape, packed.surplus)
    assert costs.valid.dtype == np.bool_
    assert costs.valid.shape == (len(networks),)
    assert costs.valid.all()
    assert_costs_are(costs, networks)


@pytest.mark.parametrize(
    ("space", "count"),
    [
        (PaperSpace((3, 32, 32), 10), 400),
        (PaperSpace((2, 9, 40), 7), 400),
        (BlocksSpace((3, 32, 32), 10), 1_500),
        (BlocksSpace((1, 28, 21), 5, max_blocks=15), 1_500),
    ],
    ids=["paper", "paper not square", "blocks", "blocks not square"],
)
def test_the_costs_of_sampled_networks_are_those_one_by_one(space: Space, count: int) -> None:
    assert_packed_costs_are_those_one_by_one(space.sample(count, generator(0)).architectures)


@every_network
def test_the_cost_of_every_network_is_that_by_itself(network: Architecture) -> None:
    assert_packed_costs_are_those_one_by_one([network])


@settings(max_examples=250, deadline=None)
@given(networks_with_skips())
def test_the_cost_of_a_network_with_skips_is_that_by_itself(network: Architecture) -> None:
    assert_packed_costs_are_those_one_by_one([network])


def test_networks_of_different_depth_do_not_disturb_each_other() -> None:
    body = ZOO["nested skips"].layers
    depths = [*range(2, len(body) - 1)]
    networks = [Architecture((1, 8, 8), (*body[:depth], Linear(depth))) for depth in depths]
    deep = Architecture((1, 8, 8), (*[Tanh(skip=1)] * 62, BatchNorm(skip=63), Linear(3)))
    assert_packed_costs_are_those_one_by_one([deep, *networks, ZOO["digits-cnn"], deep])


def test_the_largest_networks_are_counted_without_overflow() -> None:
    widest = (*[Convolution(4096, 10, 1, 10)] * 62, MaxPool(10, 10), Linear(4096))
    assert_packed_costs_are_those_one_by_one([Architecture((3, 32, 32), widest)])
    assert Architecture((3, 32, 32), widest).cost.macs > 10**15


def test_the_receptive_field_is_counted_up_to_a_million() -> None:
    seeing = Architecture((3, 32, 32), (*[Convolution(2, 10, 10, 10)] * 63, Linear(2)))
    assert_packed_costs_are_those_one_by_one([seeing])
    assert seeing.cost.receptive_field == FIELD_LIMIT


# ------------------------------------------------------------------ packing


def test_packed_rows_are_the_vectors_and_zeros_after_them() -> None:
    networks = [
        ZOO["identity skip"],
        digits_cnn((1, 8, 8), 3),
        Architecture((1, 8, 8), (Linear(2),)),
    ]
    rows, surplus = pack(networks)
    longest = max(len(network.layers) for network in networks)
    assert rows.shape == (3, longest, 6)
    assert surplus.shape == (3,)
    assert rows.dtype == surplus.dtype == np.int64
    for network, found in zip(networks, rows.tolist(), strict=True):
        used = len(network.layers)
        assert found[:used] == [list(row) for row in network.rows()]
        assert found[used:] == [[0] * 6] * (longest - used)
    assert not surplus.any()


def test_the_surplus_is_what_attributes_change_in_the_whole_network() -> None:
    bare = Projection(batch_norm=False)
    layers: list[tuple[Layer, int]] = [
        (Convolution(4, 3, 1, 1, bias=False), -4),
        (BatchNorm(affine=False), -8),
        (ReLU(skip=2, projection=bare), 0),  # the shapes agree: there is no projection
        (DepthwiseConvolution(1, bias=False, skip=4, projection=bare), -4 - 8),
        (Convolution(5, 1, skip=5, projection=Projection(bias=True)), 5),
        (Convolution(4, 1, bias=False, skip=6, projection=Projection(True, False)), -4 + 4 - 8),
        (SqueezeExcite(7, bias=False), -7 - 4),
        (SqueezeExcite(7, activation="SiLU", gate="Hardsigmoid"), 0),
        (ReLU(projection=bare), 0),
        (SqueezeExcite(3, bias=False, skip=9, projection=bare), -3 - 4),
        (BatchNorm(eps=0.1), 0),
        (Linear(3, bias=False), -3),
    ]
    network = Architecture((2, 6, 6), tuple(layer for layer, _ in layers))
    assert [place for place, made in network.shortcuts.items() if not made] == [2, 9]
    assert pack([network]).surplus.tolist() == [sum(surplus for _, surplus in layers)]
    for place in range(1, len(layers)):
        part = Architecture((2, 6, 6), (*network.layers[:place], Linear(3)))
        assert pack([part]).surplus.tolist() == [sum(surplus for _, surplus in layers[:place])]
    assert_packed_costs_are_those_one_by_one([network])


@every_network
def test_the_surplus_is_the_difference_to_the_defaults(network: Architecture) -> None:
    surplus = network.cost.parameters - without_attributes(network).cost.parameters
    plain = without_attributes(network)
    assert pack([network, plain]).surplus.tolist() == [surplus, 0]


def test_each_network_has_the_surplus_that_is_its_own() -> None:
    lean = Architecture((1, 8, 8), (Linear(5, bias=False), Linear(3, bias=False)))
    networks = [ZOO["digits-cnn"], lean, ZOO["nested skips"]]
    assert pack(networks).surplus.tolist() == [0, -8, 0]
    assert_packed_costs_are_those_one_by_one(networks)


@every_network
def test_without_the_surplus_the_cost_is_that_of_the_defaults(network: Architecture) -> None:
    costs = batch_cost(pack([network]).rows, network.input_shape)
    assert_costs_are(costs, [without_attributes(network)])


def test_vectors_of_five_integers_have_no_skips() -> None:
    networks = [digits_cnn((1, 28, 28), 10), Architecture((1, 28, 28), (Linear(3),))]
    rows = pack(networks).rows
    assert_costs_are(batch_cost(rows[..., :5], (1, 28, 28)), networks)
    skipping = ZOO["identity skip"]
    plain = Architecture.from_rows([row[:5] for row in skipping.rows()], skipping.input_shape)
    assert plain != skipping
    assert_costs_are(batch_cost(pack([skipping]).rows[..., :5], (1, 8, 8)), [plain])


def test_vectors_may_be_lists_of_any_integers() -> None:
    network = ZOO["identity skip"]
    lists = [[list(row) for row in network.rows()]]
    assert_costs_are(batch_cost(lists, (1, 8, 8)), [network])
    small = np.array(lists, np.int16)
    assert_costs_are(batch_cost(small, (1, 8, 8)), [network])


def test_the_vectors_given_are_left_as_they_are() -> None:
    rows = np.full((1, 20, 6), 3)
    rows[0, : len(ZOO["nested skips"].layers)] = ZOO["nested skips"].rows()
    rows[0, len(ZOO["nested skips"].layers)] = 0
    before = rows.copy()
    batch_cost(rows, (1, 8, 8))
    assert (rows == before).all()


@pytest.mark.parametrize("length", [0, 64])
def test_an_empty_batch_has_empty_costs(length: int) -> None:
    assert pack([]).rows.shape == (0, 0, 6)
    costs = batch_cost(np.zeros((0, length, 6)), (1, 8, 8), np.zeros(0))
    for field in ("valid", *FIELDS):
        assert getattr(costs, field).shape == (0,)


def test_rows_after_the_end_are_not_read() -> None:
    network = ZOO["nested skips"]
    used = len(network.layers)
    wild = np.random.default_rng(0).integers(-50, 50, (30, used + 12, 6))
    wild[:, :used] = network.rows()
    wild[:, used, 0] = 0
    costs = batch_cost(wild, network.input_shape)
    assert costs.valid.all()
    assert_costs_are(costs, [network] * 30)


# ------------------------------------------------------------------ any rows at all


def random_rows(seed: int, batch: int = 60, length: int = 9) -> Integers:
    """Rows ``[B, T, 6]`` that are a network about as often as not.

    Half of the batch are plausible rows; of the other half every field is wild now and then.
    """
    rng = np.random.default_rng(seed)
    kinds = np.array([1, 1, 1, 2, 3, 3, 4, 5, 6, 7, 8, 9, 9, 10, 11, 12, 13, 14, 15, 16, 17])
    shape = (batch, length)
    kernel = rng.choice([1, 2, 3, 3], shape)
    rows = np.stack(
        [
            rng.choice(kinds, shape, p=np.where(np.isin(kinds, [8, 10]), 0.01, 0.98 / 19)),
            kernel,
            rng.choice([1, 3, 3, 3, 3, 4, 5], shape),
            rng.choice([1, 1, 1, 1, 1, 2, 3], shape),
            np.where(rng.random(shape) < 0.8, kernel // 2, 0),
            np.where(rng.random(shape) < 0.3, rng.integers(1, np.arange(length) + 2, shape), 0),
        ],
        -1,
    )
    ends = rng.integers(0, length, batch)
    rows[np.arange(batch), ends, 0] = rng.choice([8, 10], batch, p=[0.7, 0.3])
    rows[np.arange(batch), ends, 5] *= rng.random(batch) < 0.3
    rows[np.arange(batch), np.minimum(ends + 1, length - 1), 0] *= ends + 1 >= length
    wild = rng.random(rows.shape) < 0.02
    wild[: batch // 2] = False
    return np.where(wild, rng.integers(-3, 20, rows.shape), rows)


def networks_of(rows: Integers, input_shape: InputShape) -> list[Architecture | None]:
    """The network of each rows up to the first of type 0, or None where they are refused."""
    networks: list[Architecture | None] = []
    for lines in rows.tolist():
        used = lines[: [*(line[0] for line in lines), 0].index(0)]
        try:
            networks.append(Architecture.from_rows(used, input_shape))
        except InvalidArchitectureError:
            networks.append(None)
    return networks


def assert_rows_cost_what_their_networks_do(rows: Integers, input_shape: InputShape) -> int:
    """Return how many were networks."""
    networks = networks_of(rows, input_shape)
    costs = batch_cost(rows, input_shape)
    assert costs.valid.tolist() == [network is not None for network in networks]
    assert_costs_are(costs, [n for n in networks if n is not None], np.flatnonzero(costs.valid))
    return int(costs.valid.sum())


@settings(max_examples=60, deadline=None)
@given(st.integers(0, 2**32), st.tuples(st.integers(1, 5), st.integers(1, 9), st.integers(1, 9)))
def test_any_rows_are_valid_exactly_where_they_are_a_network_and_cost_what_it_does(
    seed: int, input_shape: InputShape
) -> None:
    assert_rows_cost_what_their_networks_do(random_rows(seed), input_shape)


def test_a_good_part_of_random_rows_are_networks_and_many_of_these_have_skips() -> None:
    """Else the test above would say little."""
    rows = random_rows(0, batch=2_000)
    valid = assert_rows_cost_what_their_networks_do(rows, (3, 8, 8))
    assert 500 < valid < 1_500
    networks = [network for network in networks_of(rows, (3, 8, 8)) if network]
    fitted = [network for network in networks if any(network.shortcuts.values())]
    identity = [network for network in networks if () in network.shortcuts.values()]
    assert len(fitted) > 200
    assert len(identity) > 400


row_values = st.tuples(
    st.integers(-1, 18), st.integers(-1, 5), st.integers(-1, 6), st.integers(-1, 4),
    st.integers(-1, 4), st.integers(-1, 7),
)  # fmt: skip


@settings(max_examples=300, deadline=None)
@given(
    st.lists(row_values, min_size=1, max_size=6),
    st.sampled_from([(8, 0, 3, 0, 0, 0), (10, 0, 0, 0, 0, 0)]),
    st.booleans(),
)
def test_single_networks_of_any_rows_agree_too(
    rows: list[tuple[int, ...]], last: tuple[int, ...], ends: bool
) -> None:
    array = np.array([[*rows, last] if ends else rows])
    assert_rows_cost_what_their_networks_do(array, (2, 4, 5))


GOOD = (8, 0, 3, 0, 0, 0)


@pytest.mark.parametrize(
    "rows",
    [
        [(0, 0, 0, 0, 0, 0), GOOD],
        [(4, 0, 0, 0, 0, 0)],
        [(18, 0, 1, 0, 0, 0), GOOD],
        [(17, 0, 0, 0, 0, 0), GOOD],
        [(17, 0, -2, 0, 0, 0), GOOD],
        [GOOD, (17, 0, 2, 0, 0, 0), GOOD],
        [(17, 0, 2, 0, 0, 0)],
        [(-1, 0, 0, 0, 0, 0), GOOD],
        [(1, 0, 4, 1, 0, 0), GOOD],
        [(1, 3, 0, 1, 0, 0), GOOD],
        [(1, 3, 4, 0, 0, 0), GOOD],
        [(1, 3, 4, 1, -1, 0), GOOD],
        [(1, 9, 4, 1, 0, 0), GOOD],
        [(1, 7, 4, 1, 0, 0), GOOD],  # fits the one side of 6x9 and not the other
        [(2, 3, 0, 1, 2, 0), GOOD],
        [(7, 1, 0, 1, 1, 0), GOOD],
        [(9, 3, 0, 1, -1, 0), GOOD],
        [(8, 0, 0, 0, 0, 0)],
        [GOOD, (1, 1, 3, 1, 0, 0), GOOD],
        [(10, 0, 0, 0, 0, 0), (10, 0, 0, 0, 0, 0)],
        [(4, 0, 0, 0, 0, -1), GOOD],
        [(4, 0, 0, 0, 0, 2), GOOD],
        [(1, 3, 4, 1, 0, 1), GOOD],
        [(1, 3, 4, 1, 0, 0), (8, 0, 3, 0, 0, 1)],
        [(10, 0, 0, 0, 0, 0), (8, 0, 3, 0, 0, 1)],
        [(2, 6, 0, 9, 0, 0), (10, 0, 0, 0, 0, 1)],
    ],
)
def test_what_is_no_network_is_invalid_and_leaves_its_neighbours_valid(
    rows: list[tuple[int, ...]],
) -> None:
    with pytest.raises(InvalidArchitectureError):
        used = rows[: [*(row[0] for row in rows), 0].index(0)]
        Architecture.from_rows(used, (2, 6, 9))
    neighbour = Architecture((2, 6, 9), (Convolution(3, 3), ReLU(skip=1), Linear(3)))
    batch = np.zeros((3, 3, 6), np.int64)
    batch[[0, 2]] = neighbour.rows()
    batch[1, : len(rows)] = rows
    costs = batch_cost(batch, (2, 6, 9))
    assert costs.valid.tolist() == [True, False, True]
    assert_costs_are(costs, [neighbour] * 2, np.array([0, 2]))


def test_a_network_without_layers_is_invalid() -> None:
    assert not batch_cost(np.zeros((2, 64, 6), np.int64), (1, 8, 8)).valid.any()


@pytest.mark.parametrize("fields", [5, 6])
def test_without_positions_every_network_is_invalid(fields: int) -> None:
    costs = batch_cost(np.zeros((3, 0, fields), np.int64), (1, 8, 8))
    assert costs.valid.tolist() == [False] * 3
    assert costs.valid.dtype == np.bool_
    for field in FIELDS:
        assert getattr(costs, field).shape == (3,)
        assert getattr(costs, field).dtype == np.int64


def test_the_cost_of_a_reference_is_that_of_its_vectors() -> None:
    assert_packed_costs_are_those_one_by_one([conv10(), conv10(classes=100)])
    head = Architecture((3, 32, 32), (Convolution(6, 3), GlobalAveragePool()))
    assert_packed_costs_are_those_one_by_one([head, conv10(input_shape=(3, 32, 32))])
