"""The contract of every layer kind: what a layer states is what its module does."""

import dataclasses
import json
import math
from typing import Any, NamedTuple

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn
from torch.nn import functional as F

from archpress.architectures.layers import (
    KIND_BY_CODE,
    KIND_BY_NAME,
    AveragePool,
    BatchNorm,
    Convolution,
    Dropout,
    Layer,
    Linear,
    MaxPool,
    Pool,
    ReLU,
    Row,
    Shape,
    Sigmoid,
    layer_from_json,
    layer_from_row,
)
from archpress.errors import InvalidArchitectureError


class Case(NamedTuple):
    """A layer on an input, and by hand what it makes of it."""

    layer: Layer
    shape: Shape
    output: Shape
    row: Row
    parameters: int = 0
    macs: int = 0

    def __str__(self) -> str:
        return f"{self.layer} on {'x'.join(map(str, self.shape))}"


# Weights are kernel * kernel * in * out; MACs are weights * output pixels.
CASES = [
    Case(Convolution(8, 3), (3, 9, 9), (8, 7, 7), (1, 3, 8, 1, 0, 0), 216 + 8, 216 * 49),
    Case(Convolution(5, 3, 2, 1), (1, 28, 28), (5, 14, 14), (1, 3, 5, 2, 1, 0), 45 + 5, 45 * 196),
    Case(Convolution(4, 1), (7, 1, 1), (4, 1, 1), (1, 1, 4, 1, 0, 0), 28 + 4, 28),
    Case(Convolution(2, 5, 3, 10), (2, 4, 9), (2, 7, 9), (1, 5, 2, 3, 10, 0), 100 + 2, 100 * 63),
    Case(Convolution(6, 10, 10, 10), (3, 8, 8), (6, 2, 2), (1, 10, 6, 10, 10, 0), 1806, 1800 * 4),
    Case(MaxPool(2, 2), (4, 9, 9), (4, 4, 4), (2, 2, 4, 2, 0, 0)),
    Case(MaxPool(3, 1, 1), (2, 5, 6), (2, 5, 6), (2, 3, 2, 1, 1, 0)),
    Case(MaxPool(10, 10, 5), (3, 1, 2), (3, 1, 1), (2, 10, 3, 10, 5, 0)),
    Case(MaxPool(1, 3), (1, 7, 8), (1, 3, 3), (2, 1, 1, 3, 0, 0)),
    Case(BatchNorm(), (6, 4, 5), (6, 4, 5), (3, 0, 6, 0, 0, 0), 12),
    Case(BatchNorm(), (1, 1, 1), (1, 1, 1), (3, 0, 1, 0, 0, 0), 2),
    Case(BatchNorm(), (12,), (12,), (3, 0, 12, 0, 0, 0), 24),
    Case(ReLU(), (6, 4, 5), (6, 4, 5), (4, 0, 6, 0, 0, 0)),
    Case(ReLU(), (9,), (9,), (4, 0, 9, 0, 0, 0)),
    Case(Sigmoid(), (2, 3, 1), (2, 3, 1), (5, 0, 2, 0, 0, 0)),
    Case(Sigmoid(), (1,), (1,), (5, 0, 1, 0, 0, 0)),
    Case(Dropout(), (3, 2, 2), (3, 2, 2), (6, 0, 3, 0, 0, 0)),
    Case(Dropout(), (40,), (40,), (6, 0, 40, 0, 0, 0)),
    Case(AveragePool(2, 2), (4, 9, 9), (4, 4, 4), (7, 2, 4, 2, 0, 0)),
    Case(AveragePool(3, 2, 1), (2, 5, 6), (2, 3, 3), (7, 3, 2, 2, 1, 0)),
    Case(AveragePool(7, 7), (256, 7, 7), (256, 1, 1), (7, 7, 256, 7, 0, 0)),
    Case(Linear(10), (3, 4, 5), (10,), (8, 0, 10, 0, 0, 0), 600 + 10, 600),
    Case(Linear(4), (7,), (4,), (8, 0, 4, 0, 0, 0), 28 + 4, 28),
    Case(Linear(1), (1,), (1,), (8, 0, 1, 0, 0, 0), 2, 1),
]

every_case = pytest.mark.parametrize("case", CASES, ids=str)


def run(module: nn.Module, layer: Layer, shape: Shape, count: int = 2) -> torch.Tensor:
    """The module's output for random inputs, flattened before a Linear layer."""
    inputs = torch.randn(count, *shape, generator=torch.Generator().manual_seed(1))
    output: torch.Tensor = module(inputs.flatten(1) if isinstance(layer, Linear) else inputs)
    return output


def counted_macs(module: nn.Module, layer: Layer, shape: Shape) -> int:
    """Multiplications that the module did: a sum of products of ones is their number."""
    counts: list[float] = []

    def count(module: nn.Module, inputs: tuple[torch.Tensor], output: torch.Tensor) -> None:
        ones = torch.ones_like(inputs[0][:1], dtype=torch.float64)
        if isinstance(module, nn.Conv2d):
            padded = F.pad(ones, [module.padding[0]] * 4, value=1.0)
            weight = torch.ones_like(module.weight, dtype=torch.float64)
            counts.append(F.conv2d(padded, weight, stride=module.stride).sum().item())
        if isinstance(module, nn.Linear):
            weight = torch.ones_like(module.weight, dtype=torch.float64)
            counts.append(F.linear(ones, weight).sum().item())

    module.register_forward_hook(count)
    run(module.eval(), layer, shape, count=1)
    return int(sum(counts))


@every_case
def test_the_stated_output_shape_is_the_real_one_and_the_one_by_hand(case: Case) -> None:
    real = run(case.layer.module(case.shape).eval(), case.layer, case.shape)
    assert tuple(real.shape[1:]) == case.layer.output_shape(case.shape) == case.output


@every_case
def test_the_stated_parameters_are_the_elements_of_the_module(case: Case) -> None:
    real = sum(p.numel() for p in case.layer.module(case.shape).parameters())
    assert real == case.layer.parameters(case.shape) == case.parameters


@every_case
def test_the_stated_macs_are_the_multiplications_counted_and_those_by_hand(case: Case) -> None:
    counted = counted_macs(case.layer.module(case.shape), case.layer, case.shape)
    assert counted == case.layer.macs(case.shape) == case.macs


@every_case
def test_the_vector_is_the_papers_and_gives_the_layer_back(case: Case) -> None:
    assert case.layer.row(case.shape) == case.row
    assert layer_from_row(case.row) == case.layer


@every_case
def test_json_gives_the_layer_back(case: Case) -> None:
    text = json.dumps(case.layer.to_json())
    assert layer_from_json(json.loads(text)) == case.layer


@every_case
def test_the_source_makes_the_same_module(case: Case) -> None:
    module = case.layer.module(case.shape)
    made = eval(case.layer.source(case.shape), {"nn": nn})
    assert repr(made) == repr(module)
    shapes = {name: value.shape for name, value in module.state_dict().items()}
    assert {name: value.shape for name, value in made.state_dict().items()} == shapes


@every_case
def test_a_layer_is_immutable(case: Case) -> None:
    for field in dataclasses.fields(case.layer):
        with pytest.raises(dataclasses.FrozenInstanceError):
            setattr(case.layer, field.name, 7)


def test_the_type_codes_are_the_papers_and_every_kind_has_cases() -> None:
    paper = [Convolution, MaxPool, BatchNorm, ReLU, Sigmoid, Dropout, AveragePool, Linear]
    assert dict(enumerate(paper, 1)) == KIND_BY_CODE
    assert set(KIND_BY_NAME.values()) == set(paper)
    assert all(kind.kind == name for name, kind in KIND_BY_NAME.items())
    assert {type(case.layer) for case in CASES} == set(paper)


def test_layers_are_equal_by_kind_and_fields() -> None:
    assert Convolution(8, 3) == Convolution(8, 3, stride=1, padding=0)
    assert Convolution(8, 3) != Convolution(8, 3, padding=1)
    assert MaxPool(2, 2) != AveragePool(2, 2)
    assert ReLU() != Sigmoid()
    assert len({Convolution(8, 3), Convolution(8, 3), MaxPool(2, 2), AveragePool(2, 2)}) == 3


def test_the_json_of_a_layer_is_as_it_always_was() -> None:
    assert Convolution(8, 3, 2, 1).to_json() == {
        "kind": "convolution",
        "out_channels": 8,
        "kernel": 3,
        "stride": 2,
        "padding": 1,
    }
    assert AveragePool(2, 2).to_json() == {
        "kind": "average_pool",
        "kernel": 2,
        "stride": 2,
        "padding": 0,
    }
    assert Linear(10).to_json() == {"kind": "linear", "out_features": 10}
    assert ReLU().to_json() == {"kind": "relu"}


def test_average_pooling_counts_the_padding_in_the_mean() -> None:
    pooled = AveragePool(3, 1, 1).module((1, 2, 2))(torch.ones(1, 1, 2, 2))
    assert pooled[0, 0, 0, 0].item() == pytest.approx(4 / 9)


def test_dropout_drops_half() -> None:
    module = Dropout().module((10,))
    torch.manual_seed(0)
    dropped = (module(torch.ones(10_000)) == 0).float().mean().item()
    assert dropped == pytest.approx(0.5, abs=0.03)


@pytest.mark.parametrize("layer", [Convolution(4, 3), MaxPool(2, 2), AveragePool(2, 2)])
def test_a_spatial_layer_refuses_flat_features(layer: Layer) -> None:
    with pytest.raises(InvalidArchitectureError, match="flat features"):
        layer.output_shape((64,))


def torch_output(layer: Layer, shape: Shape) -> Shape | None:
    """What PyTorch makes of the shape, or None where it refuses."""
    try:
        return tuple(layer.module(shape)(torch.zeros(1, *shape)).shape[1:])
    except RuntimeError:
        return None


windows = st.one_of(
    st.builds(Convolution, st.integers(1, 3), *[st.integers(1, 10)] * 2, st.integers(0, 10)),
    *(
        st.tuples(st.integers(1, 10), st.integers(1, 10), st.integers(0, 5))
        .filter(lambda fields: fields[2] <= fields[0] // 2)
        .map(lambda fields, kind=kind: kind(*fields))
        for kind in (MaxPool, AveragePool)
    ),
)


@settings(max_examples=150, deadline=None)
@given(windows, st.tuples(st.integers(1, 2), st.integers(1, 12), st.integers(1, 12)))
def test_a_window_fits_exactly_where_pytorch_says_so(layer: Layer, shape: Shape) -> None:
    expected = torch_output(layer, shape)
    if expected is None:
        with pytest.raises(InvalidArchitectureError, match=r"kernel \d+ is larger than"):
            layer.output_shape(shape)
    else:
        assert layer.output_shape(shape) == expected


@pytest.mark.parametrize("kind", [MaxPool, AveragePool])
@given(kernel=st.integers(1, 10), padding=st.integers(0, 10))
@settings(max_examples=60, deadline=None)
def test_pool_padding_is_refused_exactly_where_pytorch_refuses_it(
    kind: type[Pool], kernel: int, padding: int
) -> None:
    try:
        kind.module_class(kernel, 1, padding)(torch.zeros(1, 1, 12, 12))
    except RuntimeError:
        with pytest.raises(InvalidArchitectureError, match=f"{kind.kind} has padding {padding}"):
            kind(kernel, 1, padding)
    else:
        assert kind(kernel, 1, padding).padding == padding


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: Convolution(0, 3), "convolution has out_channels 0, expected at least 1"),
        (lambda: Convolution(4, 0), "convolution has kernel 0"),
        (lambda: Convolution(4, 3, 0), "convolution has stride 0"),
        (lambda: Convolution(4, 3, 1, -1), "convolution has padding -1"),
        (lambda: MaxPool(2, 0), "max_pool has stride 0"),
        (lambda: AveragePool(0, 1), "average_pool has kernel 0"),
        (lambda: MaxPool(3, 1, 2), "max_pool has padding 2, expected 0 to 1"),
        (lambda: AveragePool(1, 1, 1), "average_pool has padding 1, expected 0 to 0"),
        (lambda: MaxPool(3, 1, -1), "max_pool has padding -1"),
        (lambda: Linear(0), "linear has out_features 0"),
    ],
)
def test_a_field_out_of_range_is_refused_by_name(make: Any, message: str) -> None:
    with pytest.raises(InvalidArchitectureError, match=message):
        make()


@pytest.mark.parametrize("code", [-1, 0, 9])
def test_an_unknown_type_code_is_refused(code: int) -> None:
    with pytest.raises(InvalidArchitectureError, match=f"layer type {code} is unknown"):
        layer_from_row((code, 3, 8, 1, 1, 0))


def test_a_vector_may_say_anything_in_fields_that_its_kind_lacks() -> None:
    assert layer_from_row((4, 9, 99, 9, 9, 1)) == ReLU()
    assert layer_from_row((8, 9, 10, 9, 9, 1)) == Linear(10)
    assert layer_from_row((2, 3, 99, 2, 1, 0)) == MaxPool(3, 2, 1)


@pytest.mark.parametrize(
    ("record", "message"),
    [
        ({"kind": "konvolution"}, "layer kind 'konvolution' is unknown"),
        ({}, "layer kind None is unknown"),
        ({"kind": ["relu"]}, "is unknown"),
        ({"kind": "linear"}, "linear does not have these fields"),
        ({"kind": "relu", "slope": 1}, "relu does not have these fields: {'slope': 1}"),
        ({"kind": "linear", "out_features": 10.5}, "linear takes whole numbers"),
        ({"kind": "linear", "out_features": True}, "linear takes whole numbers"),
        ({"kind": "linear", "out_features": "10"}, "linear takes whole numbers"),
        ({"kind": "max_pool", "kernel": 2, "stride": None}, "max_pool takes whole numbers"),
        ({"kind": "linear", "out_features": 0}, "linear has out_features 0"),
    ],
)
def test_a_record_that_is_no_layer_is_refused(record: dict[str, Any], message: str) -> None:
    with pytest.raises(InvalidArchitectureError, match=message):
        layer_from_json(record)


@settings(max_examples=60, deadline=None)
@given(windows, st.tuples(st.integers(1, 3), st.integers(10, 16), st.integers(10, 16)))
def test_stated_macs_and_parameters_hold_for_any_window(layer: Layer, shape: Shape) -> None:
    module = layer.module(shape)
    assert layer.macs(shape) == counted_macs(module, layer, shape)
    assert layer.parameters(shape) == sum(math.prod(p.shape) for p in module.parameters())
