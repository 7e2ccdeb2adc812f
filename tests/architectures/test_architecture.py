"""Architecture: valid by construction, a value, and the same after every round trip."""

import copy
import dataclasses
import json
import pickle
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings

from archpress.architectures.architecture import Architecture
from archpress.architectures.layers import (
    AveragePool,
    BatchNorm,
    Convolution,
    Dropout,
    GlobalAveragePool,
    Layer,
    LeakyReLU,
    Linear,
    MaxPool,
    Projection,
    ReLU,
    SqueezeExcite,
)
from archpress.architectures.spaces import Limits
from archpress.errors import InvalidArchitectureError
from tests.small_networks import (
    ATTRIBUTES,
    PLAIN,
    SKIPS,
    ZOO,
    every_network,
    networks_with_skips,
    sampled_networks,
    without_attributes,
)

SMALL = Architecture((1, 8, 8), (Convolution(4, 3, padding=1), ReLU(), MaxPool(2, 2), Linear(10)))
SMALL_JSON = {
    "format": "archpress.architecture",
    "version": 1,
    "input_shape": [1, 8, 8],
    "layers": [
        {"kind": "convolution", "out_channels": 4, "kernel": 3, "stride": 1, "padding": 1},
        {"kind": "relu"},
        {"kind": "max_pool", "kernel": 2, "stride": 2, "padding": 0},
        {"kind": "linear", "out_features": 10},
    ],
}
SMALL_ROWS = [
    (1, 3, 4, 1, 1, 0),
    (4, 0, 4, 0, 0, 0),
    (2, 2, 4, 2, 0, 0),
    (8, 0, 10, 0, 0, 0),
]


def altered(**changes: Any) -> dict[str, Any]:
    """The JSON of the small network with some entries changed; a value of ... removes one."""
    record = {**copy.deepcopy(SMALL_JSON), **changes}
    return {key: value for key, value in record.items() if value is not ...}


def with_relu(relu: ReLU) -> Architecture:
    """The small network with another second layer."""
    return Architecture((1, 8, 8), (SMALL.layers[0], relu, *SMALL.layers[2:]))


def test_an_architecture_is_immutable() -> None:
    with pytest.raises(dataclasses.FrozenInstanceError):
        SMALL.layers = ()  # type: ignore[misc]
    with pytest.raises(dataclasses.FrozenInstanceError):
        SMALL.input_shape = (3, 8, 8)  # type: ignore[misc]


def test_the_list_it_was_made_of_can_change_without_changing_it() -> None:
    layers: list[Layer] = [Convolution(4, 3), Linear(10)]
    made = Architecture([1, 8, 8], layers)  # type: ignore[arg-type]
    layers.insert(1, ReLU())
    assert made == Architecture((1, 8, 8), (Convolution(4, 3), Linear(10)))
    assert hash(made) == hash(Architecture((1, 8, 8), (Convolution(4, 3), Linear(10))))


def test_architectures_are_equal_by_content() -> None:
    same = Architecture.from_json(SMALL_JSON)
    assert same is not SMALL
    assert same == SMALL
    assert hash(same) == hash(SMALL)
    assert {same: "found"}[SMALL] == "found"
    assert Architecture((1, 8, 9), SMALL.layers) != SMALL
    assert Architecture((1, 8, 8), (*SMALL.layers[:-1], Linear(11))) != SMALL


def test_having_read_cost_and_digest_changes_neither_equality_nor_copies() -> None:
    fresh, used = Architecture.from_json(SMALL_JSON), Architecture.from_json(SMALL_JSON)
    assert used.cost.parameters > 0
    assert used.digest
    assert fresh == used
    assert hash(fresh) == hash(used)
    assert pickle.loads(pickle.dumps(used)) == fresh


def test_the_digest_never_changes() -> None:
    """Archives are keyed by it: a new digest of an old network would lose its labels."""
    assert SMALL.digest == "b0615236c23702e2"
    assert ZOO["every kind"].digest == "7f3804c2f1aa39ca"
    assert ZOO["nested skips"].digest == "0f02cc415049822a"
    assert ZOO["every attribute"].digest == "b1665c05e9a8fd50"


@pytest.mark.parametrize(
    ("one", "other"),
    [
        (Dropout(rate=0), Dropout(rate=0.0)),
        (LeakyReLU(negative_slope=1), LeakyReLU(negative_slope=1.0)),
        (BatchNorm(eps=1), BatchNorm(eps=1.0)),
        (ReLU(skip=1, projection=Projection(eps=1)), ReLU(skip=1, projection=Projection(eps=1.0))),
    ],
)
def test_equal_networks_have_one_digest(one: Layer, other: Layer) -> None:
    networks = [Architecture((1, 4, 4), (layer, Linear(3))) for layer in (one, other)]
    assert networks[0] == networks[1]
    assert networks[0].digest == networks[1].digest


def test_the_digest_tells_every_difference() -> None:
    variants = [
        *ZOO.values(),
        SMALL,
        Architecture((3, 8, 8), SMALL.layers),
        Architecture((1, 8, 9), SMALL.layers),
        Architecture((1, 9, 8), SMALL.layers),
        Architecture((1, 8, 8), (*SMALL.layers[:-1], Linear(11))),
        Architecture((1, 8, 8), (Convolution(4, 3), *SMALL.layers[1:])),
        Architecture((1, 8, 8), (*SMALL.layers[:2], AveragePool(2, 2), Linear(10))),
        Architecture((1, 8, 8), (SMALL.layers[0], SMALL.layers[2], ReLU(), Linear(10))),
        *map(with_relu, (ReLU(skip=1), ReLU(skip=2), ReLU(skip=2, projection=Projection(True)))),
        with_relu(ReLU(skip=2, projection=Projection(eps=1e-4))),
        Architecture((1, 8, 8), (*SMALL.layers[:-1], Linear(10, bias=False))),
        Architecture((1, 8, 8), (*SMALL.layers[:-1], GlobalAveragePool())),
    ]
    assert len({variant.digest for variant in variants}) == len(set(variants)) == len(variants)


def test_shapes_hold_every_input_and_the_last_output() -> None:
    assert SMALL.shapes == ((1, 8, 8), (4, 8, 8), (4, 8, 8), (4, 4, 4), (10,))
    assert SMALL.classes == 10
    pooled = ZOO["global pool last"]
    assert pooled.shapes == ((3, 7, 5), (6, 3, 2), (6, 3, 2), (6,))
    assert pooled.classes == 6


def test_shortcuts_are_what_fits_each_skip() -> None:
    assert SMALL.shortcuts == {}
    halving = (Convolution(4, 1, 2, bias=False), BatchNorm())
    assert ZOO["nested skips"].shortcuts == {3: (), 5: halving, 6: halving}
    assert ZOO["skip with bias"].shortcuts == {
        1: (Convolution(4, 1, 2, bias=True), BatchNorm()),
        2: (Convolution(3, 1, bias=True),),
    }
    assert ZOO["skip without norm"].shortcuts == {
        0: (Convolution(4, 1, bias=False),),
        1: (Convolution(4, 1, bias=False), BatchNorm(eps=0.2)),
    }


def test_printed_it_shows_each_layer_and_its_output() -> None:
    lines = [" ".join(line.split()) for line in str(SMALL).splitlines()]
    assert lines == [
        "0 nn.Conv2d(1, 4, 3, padding=1) -> (4, 8, 8)",
        "1 nn.ReLU() -> (4, 8, 8)",
        "2 nn.MaxPool2d(2) -> (4, 4, 4)",
        "3 nn.Linear(64, 10) -> (10,)",
    ]


def test_printed_it_shows_what_a_skip_adds() -> None:
    lines = [" ".join(line.split()) for line in str(ZOO["identity skip"]).splitlines()]
    assert lines[2:5] == [
        "2 nn.Conv2d(4, 4, 3, padding=1) -> (4, 8, 8)",
        "3 nn.BatchNorm2d(4) -> (4, 8, 8) + output of 1",
        "4 nn.ReLU() -> (4, 8, 8)",
    ]
    lines = [" ".join(line.split()) for line in str(ZOO["input added twice"]).splitlines()]
    assert lines[:3] == [
        "0 nn.Conv2d(2, 2, 3, padding=1) -> (2, 6, 6) + input",
        "1 nn.ReLU() -> (2, 6, 6)",
        "2 nn.Conv2d(2, 2, 1) -> (2, 6, 6) + input",
    ]


@pytest.mark.parametrize(
    ("layers", "message"),
    [
        (
            (MaxPool(2, 2), Convolution(4, 5), Linear(10)),
            r"layer 1 \(convolution\) on input \(1, 4, 4\): kernel 5 is larger than the 4x4 input "
            r"padded by 0",
        ),
        (
            (Convolution(4, 3, 9), AveragePool(2, 2), Linear(10)),
            r"layer 1 \(average_pool\) on input \(4, 1, 1\): kernel 2 is larger than the 1x1",
        ),
        (
            (Linear(16), Convolution(4, 1), Linear(10)),
            r"layer 1 \(convolution\) on input \(16,\): it needs channels and two sides",
        ),
        (
            (Linear(16), ReLU(), MaxPool(1, 1), Linear(10)),
            r"layer 2 \(max_pool\) on input \(16,\): it needs channels and two sides",
        ),
        (
            (Linear(16), SqueezeExcite(4), Linear(10)),
            r"layer 1 \(squeeze_excite\) on input \(16,\): it needs channels and two sides",
        ),
        (
            (GlobalAveragePool(), GlobalAveragePool()),
            r"layer 1 \(global_average_pool\) on input \(1,\): it needs channels and two sides",
        ),
        (
            (Convolution(4, 3), ReLU(skip=3), Linear(10)),
            r"layer 1 \(relu\) on input \(4, 6, 6\): its skip of 3 reaches before the network's",
        ),
        (
            (Convolution(4, 3), ReLU(skip=2), Linear(10)),
            r"layer 1 \(relu\) on input \(4, 6, 6\): its skip of 2 brings \(1, 8, 8\), which no "
            r"1x1 convolution makes \(4, 6, 6\)",
        ),
        (
            (Convolution(4, 3), Linear(10, skip=1)),
            r"layer 1 \(linear\) on input \(4, 6, 6\): its skip of 1 brings \(4, 6, 6\), which no",
        ),
        (
            (Linear(9), Linear(10, skip=1)),
            r"layer 1 \(linear\) on input \(9,\): its skip of 1 brings \(9,\), which no",
        ),
        (
            (Convolution(4, 3), ReLU()),
            "the last layer must be linear or a global average pool, not relu",
        ),
        ((), "the last layer must be linear or a global average pool, not nothing"),
    ],
)
def test_an_invalid_sequence_is_refused_with_layer_input_and_reason(
    layers: tuple[Layer, ...], message: str
) -> None:
    with pytest.raises(InvalidArchitectureError, match=message):
        Architecture((1, 8, 8), layers)


@pytest.mark.parametrize("shape", [(), (8, 8), (1, 1, 8, 8), (0, 8, 8), (1, 8, 0), (1, -8, 8)])
def test_a_bad_input_shape_is_refused(shape: Any) -> None:
    with pytest.raises(InvalidArchitectureError, match=r"is not \(channels, height, width\)"):
        Architecture(shape, (Linear(10),))
    with pytest.raises(InvalidArchitectureError, match=r"is not \(channels, height, width\)"):
        Architecture.from_rows(SMALL_ROWS, shape)


def test_rows_are_the_papers_vectors() -> None:
    assert SMALL.rows() == SMALL_ROWS


def test_vectors_of_five_integers_need_no_skip() -> None:
    assert Architecture.from_rows([row[:5] for row in SMALL_ROWS], (1, 8, 8)) == SMALL


@pytest.mark.parametrize(
    ("row", "message"),
    [
        ((18, 0, 0, 0, 0, 0), "layer 1: layer type 18 is unknown"),
        ((17, 0, 0, 0, 0, 0), "layer 1: squeeze_excite has squeeze 0, expected at least 1"),
        ((0, 0, 0, 0, 0, 0), "layer 1: layer type 0 is unknown"),
        ((4, 0, 4, 0, 0, -1), "layer 1: relu has skip -1, expected at least 0"),
        ((4, 0, 4, 0, 0, 3), r"layer 1 \(relu\) on input \(4, 8, 8\): its skip of 3 reaches"),
        ((2, 2, 4, 0, 0, 0), "layer 1: max_pool has stride 0, expected at least 1"),
        ((2, 2, 4, 1, 2, 0), "layer 1: max_pool has padding 2, expected 0 to 1"),
        ((1, 3, 0, 1, 0, 0), "layer 1: convolution has out_channels 0"),
        ((1, 9, 4, 1, 0, 0), r"layer 1 \(convolution\) on input \(4, 8, 8\): kernel 9 is larger"),
    ],
)
def test_a_bad_vector_is_refused_with_its_place(row: tuple[int, ...], message: str) -> None:
    with pytest.raises(InvalidArchitectureError, match=message):
        Architecture.from_rows([SMALL_ROWS[0], row, SMALL_ROWS[-1]], (1, 8, 8))


def assert_rows_and_json_give_back(network: Architecture) -> None:
    rows = network.rows()
    again = Architecture.from_rows(rows, network.input_shape)
    assert again == without_attributes(network)
    assert again.rows() == rows
    assert again.shapes == network.shapes
    assert len(rows) == len(network.layers) == len(network.shapes) - 1
    assert [row[5] for row in rows] == [layer.skip for layer in network.layers]
    from_json = Architecture.from_json(json.loads(json.dumps(network.to_json())))
    assert from_json == network
    assert from_json.digest == network.digest


@every_network
def test_rows_and_json_give_every_network_back(network: Architecture) -> None:
    assert_rows_and_json_give_back(network)


@pytest.mark.parametrize("network", (PLAIN | SKIPS).values(), ids=PLAIN | SKIPS)
def test_rows_say_everything_but_attributes(network: Architecture) -> None:
    assert Architecture.from_rows(network.rows(), network.input_shape) == network


@pytest.mark.parametrize("network", ATTRIBUTES.values(), ids=ATTRIBUTES)
def test_rows_do_not_say_attributes(network: Architecture) -> None:
    assert Architecture.from_rows(network.rows(), network.input_shape) != network


@settings(max_examples=150, deadline=None)
@given(sampled_networks(Limits()))
def test_rows_and_json_give_sampled_networks_back(network: Architecture) -> None:
    assert_rows_and_json_give_back(network)
    assert Architecture.from_rows(network.rows(), network.input_shape) == network


@settings(max_examples=150, deadline=None)
@given(networks_with_skips())
def test_rows_and_json_give_networks_with_skips_back(network: Architecture) -> None:
    assert_rows_and_json_give_back(network)
    assert pickle.loads(pickle.dumps(network)) == network


def test_the_json_is_as_it_always_was() -> None:
    assert SMALL.to_json() == SMALL_JSON
    assert Architecture.from_json(SMALL_JSON) == SMALL


def test_the_json_of_a_skip_is_a_field_of_its_layer() -> None:
    record = ZOO["skip without norm"].to_json()
    assert [sorted(layer) for layer in record["layers"]] == [
        ["bias", "kernel", "kind", "out_channels", "padding", "projection", "skip", "stride"],
        ["eps", "kind", "projection", "skip"],
        ["kind"],
    ]
    assert record["layers"][1]["skip"] == 2
    assert record["layers"][0]["projection"] == {"batch_norm": False}


@pytest.mark.parametrize("version", [0, 2, 99, "1", None])
def test_another_format_version_is_refused(version: Any) -> None:
    message = f"format version {version} is not known, expected 1"
    with pytest.raises(InvalidArchitectureError, match=message):
        Architecture.from_json(altered(version=version))


@pytest.mark.parametrize(
    ("record", "message"),
    [
        ([], "expected a JSON object"),
        (None, "expected a JSON object"),
        (altered(format="archpress.embedding"), '"format": "archpress.architecture"'),
        (altered(format=...), "expected a JSON object with"),
        (altered(version=...), "format version None"),
        (altered(layers=...), "incomplete or of wrong types: KeyError"),
        (altered(input_shape=...), "incomplete or of wrong types: KeyError"),
        (altered(input_shape=[8, 8]), "incomplete or of wrong types: ValueError"),
        (altered(input_shape=8), "incomplete or of wrong types: TypeError"),
        (altered(input_shape="188"), "input_shape is '188', expected three whole numbers"),
        (altered(input_shape=[1, 8.5, 8]), "expected three whole numbers"),
        (altered(input_shape=[1, 0, 8]), r"\(1, 0, 8\) is not"),
        (altered(layers=None), "incomplete or of wrong types: TypeError"),
        (altered(layers=[8]), "incomplete or of wrong types: TypeError"),
        (altered(layers=["relu"]), "incomplete or of wrong types: ValueError"),
        (altered(layers=[]), "the last layer must be linear or a global average pool, not nothing"),
        (altered(layers=[{"kind": "relu"}, {"kind": "attention"}]), "layer 1: .*'attention'"),
        (altered(layers=[{"kind": "linear", "out_features": 0}]), "layer 0: linear has"),
        (
            altered(layers=[{"kind": "linear", "out_features": 2.5}]),
            "layer 0: linear has out_features 2.5, expected a whole number",
        ),
        (
            altered(layers=[{"kind": "linear", "out_features": 2, "skip": 2}]),
            r"layer 0 \(linear\) on input \(1, 8, 8\): its skip of 2 reaches before",
        ),
        (altered(layers=[{"kind": "linear"}]), "layer 0: linear does not have these fields"),
    ],
)
def test_a_record_that_is_no_architecture_is_refused(record: Any, message: str) -> None:
    with pytest.raises(InvalidArchitectureError, match=message):
        Architecture.from_json(record)


def test_a_file_gives_the_network_back(tmp_path: Path) -> None:
    path = tmp_path / "architecture.json"
    path.write_text(json.dumps(SMALL.to_json(), indent=2))
    assert Architecture.load(path) == SMALL


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"", "is not readable JSON"),
        (json.dumps(SMALL_JSON).encode()[:-20], "is not readable JSON"),
        (b"\xff\xfe\x00", "is not readable JSON"),
        (b"[1, 2]", "expected a JSON object"),
        (json.dumps(altered(version=2)).encode(), "format version 2"),
        (json.dumps(altered(layers=[])).encode(), "the last layer must be linear"),
    ],
)
def test_a_damaged_file_is_refused_by_name(tmp_path: Path, content: bytes, message: str) -> None:
    path = tmp_path / "damaged.json"
    path.write_bytes(content)
    with pytest.raises(InvalidArchitectureError, match=rf"damaged\.json.*{message}"):
        Architecture.load(path)


def test_a_missing_file_is_refused_by_name(tmp_path: Path) -> None:
    with pytest.raises(InvalidArchitectureError, match=r"absent\.json is not readable"):
        Architecture.load(tmp_path / "absent.json")


def test_batch_norm_may_stand_anywhere_before_the_last_layer() -> None:
    network = Architecture((2, 4, 4), (BatchNorm(), Linear(3), BatchNorm(), Linear(2)))
    assert network.shapes == ((2, 4, 4), (2, 4, 4), (3,), (3,), (2,))
