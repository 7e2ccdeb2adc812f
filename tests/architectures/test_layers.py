"""The contract of every layer kind: what a layer states is what its module does."""

import dataclasses
import json
from typing import Any, NamedTuple

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn
from torch.utils.flop_counter import FlopCounterMode

from archpress.architectures.layers import (
    GELU,
    KIND_BY_CODE,
    KIND_BY_NAME,
    PAPER_KINDS,
    Activation,
    AveragePool,
    BatchNorm,
    Convolution,
    DepthwiseConvolution,
    Dropout,
    GlobalAveragePool,
    Hardswish,
    Layer,
    LeakyReLU,
    Linear,
    MaxPool,
    Pool,
    Projection,
    ReLU,
    ReLU6,
    Row,
    Shape,
    Sigmoid,
    SiLU,
    SqueezeExcite,
    Tanh,
    layer_from_json,
    layer_from_row,
    shortcut_layers,
)
from archpress.architectures.squeeze_excite import SqueezeExciteModule
from archpress.errors import InvalidArchitectureError
from tests.small_networks import DRAWN_LAYERS, drawn_projections


class Case(NamedTuple):
    """A layer on an input, and by hand what it makes of it."""

    layer: Layer
    shape: Shape
    output: Shape
    row: Row
    parameters: int = 0
    macs: int = 0

    def __str__(self) -> str:
        kind, *values = self.layer.to_json().values()
        return f"{kind} {values} on {'x'.join(map(str, self.shape))}"


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
    Case(DepthwiseConvolution(3), (4, 9, 7), (4, 7, 5), (9, 3, 4, 1, 0, 0), 36 + 4, 36 * 35),
    Case(DepthwiseConvolution(5, 2, 2), (6, 8, 8), (6, 4, 4), (9, 5, 6, 2, 2, 0), 156, 150 * 16),
    Case(DepthwiseConvolution(1), (1, 1, 1), (1, 1, 1), (9, 1, 1, 1, 0, 0), 2, 1),
    Case(GlobalAveragePool(), (5, 7, 3), (5,), (10, 0, 5, 0, 0, 0)),
    Case(GlobalAveragePool(), (5, 1, 1), (5,), (10, 0, 5, 0, 0, 0)),
    Case(SiLU(), (6, 4, 5), (6, 4, 5), (11, 0, 6, 0, 0, 0)),
    Case(Hardswish(), (9,), (9,), (12, 0, 9, 0, 0, 0)),
    Case(ReLU6(), (6, 4, 5), (6, 4, 5), (13, 0, 6, 0, 0, 0)),
    Case(GELU(), (2, 1, 1), (2, 1, 1), (14, 0, 2, 0, 0, 0)),
    Case(LeakyReLU(), (7,), (7,), (15, 0, 7, 0, 0, 0)),
    Case(Tanh(), (2, 3, 4), (2, 3, 4), (16, 0, 2, 0, 0, 0)),
    # Squeeze-and-excite: o is its own, the width between its two Linear layers.
    Case(SqueezeExcite(3), (8, 4, 5), (8, 4, 5), (17, 0, 3, 0, 0, 0), 2 * 24 + 3 + 8, 2 * 24),
    Case(SqueezeExcite(5), (2, 1, 1), (2, 1, 1), (17, 0, 5, 0, 0, 0), 2 * 10 + 5 + 2, 2 * 10),
    Case(SqueezeExcite(1, skip=2), (1, 3, 2), (1, 3, 2), (17, 0, 1, 0, 0, 2), 4, 2),
    Case(ReLU(skip=3), (6, 4, 5), (6, 4, 5), (4, 0, 6, 0, 0, 3)),
    Case(Linear(4, skip=64), (7,), (4,), (8, 0, 4, 0, 0, 64), 28 + 4, 28),
]
# With attributes: the vector is the same and does not say them.
ATTRIBUTES = [
    Case(Convolution(8, 3, bias=False), (3, 9, 9), (8, 7, 7), (1, 3, 8, 1, 0, 0), 216, 216 * 49),
    Case(DepthwiseConvolution(3, bias=False), (4, 3, 3), (4, 1, 1), (9, 3, 4, 1, 0, 0), 36, 36),
    Case(Linear(4, bias=False), (7,), (4,), (8, 0, 4, 0, 0, 0), 28, 28),
    Case(BatchNorm(affine=False), (6, 4, 5), (6, 4, 5), (3, 0, 6, 0, 0, 0)),
    Case(BatchNorm(eps=0.1, momentum=0.01), (12,), (12,), (3, 0, 12, 0, 0, 0), 24),
    Case(Dropout(rate=0.1), (3, 2, 2), (3, 2, 2), (6, 0, 3, 0, 0, 0)),
    Case(AveragePool(3, 2, 1, count_padding=False), (2, 5, 6), (2, 3, 3), (7, 3, 2, 2, 1, 0)),
    Case(GELU(approximate="tanh"), (7,), (7,), (14, 0, 7, 0, 0, 0)),
    Case(LeakyReLU(negative_slope=0.2), (7,), (7,), (15, 0, 7, 0, 0, 0)),
    Case(SqueezeExcite(3, bias=False), (8, 4, 5), (8, 4, 5), (17, 0, 3, 0, 0, 0), 48, 48),
    Case(SqueezeExcite(2, gate="Hardsigmoid"), (3, 2, 2), (3, 2, 2), (17, 0, 2, 0, 0, 0), 17, 12),
    Case(SqueezeExcite(2, activation="SiLU"), (3, 2, 2), (3, 2, 2), (17, 0, 2, 0, 0, 0), 17, 12),
    Case(ReLU(projection=Projection(True, False, 0.1), skip=1), (7,), (7,), (4, 0, 7, 0, 0, 1)),
]

NAMES = {"nn": nn, "SqueezeExcite": SqueezeExciteModule}
"""What the source of a layer is written with."""

every_case = pytest.mark.parametrize("case", CASES + ATTRIBUTES, ids=str)
every_kind = pytest.mark.parametrize("kind", KIND_BY_CODE.values(), ids=KIND_BY_NAME)


def whole_module(layer: Layer, shape: Shape) -> nn.Sequential:
    """Everything that the layer takes, flattening included."""
    return nn.Sequential(*(call.module() for call in layer.calls(shape))).eval()


def real_output(layer: Layer, shape: Shape, count: int = 2) -> Shape:
    inputs = torch.randn(count, *shape, generator=torch.Generator().manual_seed(1))
    output: torch.Tensor = whole_module(layer, shape)(inputs)
    assert output.shape[0] == count
    return tuple(output.shape[1:])


def real_parameters(layer: Layer, shape: Shape) -> int:
    return sum(parameter.numel() for parameter in whole_module(layer, shape).parameters())


def counted_macs(layer: Layer, shape: Shape) -> int:
    """By PyTorch's own counter, to which a multiply-accumulate is two operations."""
    with torch.device("meta"), FlopCounterMode(display=False) as counter:
        whole_module(layer, shape)(torch.empty(1, *shape))
    operations: int = counter.get_total_flops()
    assert operations % 2 == 0
    return operations // 2


def state_shapes(module: nn.Module) -> dict[str, torch.Size]:
    return {name: value.shape for name, value in module.state_dict().items()}


def assert_source_makes_the_module(layer: Layer, shape: Shape) -> None:
    module = layer.module(shape)
    made = eval(layer.source(shape), NAMES)
    assert repr(made) == repr(module)
    assert state_shapes(made) == state_shapes(module)
    expressions = [call.source for call in layer.calls(shape)]
    whole = nn.Sequential(*(eval(expression, NAMES) for expression in expressions))
    assert repr(whole.eval()) == repr(whole_module(layer, shape))
    assert layer.source(shape) in expressions


@every_case
def test_the_stated_output_shape_is_the_real_one_and_the_one_by_hand(case: Case) -> None:
    assert real_output(case.layer, case.shape) == case.layer.output_shape(case.shape) == case.output


@every_case
def test_the_stated_parameters_are_the_elements_of_the_module(case: Case) -> None:
    stated = case.layer.parameters(case.shape)
    assert real_parameters(case.layer, case.shape) == stated == case.parameters


@every_case
def test_the_stated_macs_are_those_counted_and_those_by_hand(case: Case) -> None:
    assert counted_macs(case.layer, case.shape) == case.layer.macs(case.shape) == case.macs


@every_case
def test_the_vector_is_the_papers_with_the_skip(case: Case) -> None:
    assert case.layer.row(case.shape) == case.row


@pytest.mark.parametrize("case", CASES, ids=str)
def test_the_vector_gives_a_layer_without_attributes_back(case: Case) -> None:
    assert layer_from_row(case.row) == case.layer


@pytest.mark.parametrize("case", ATTRIBUTES, ids=str)
def test_the_vector_leaves_attributes_at_their_default(case: Case) -> None:
    plain = layer_from_row(case.row)
    assert plain != case.layer
    assert plain.row(case.shape) == case.row
    assert plain.parameters(case.shape) == real_parameters(plain, case.shape)
    assert plain.macs(case.shape) == case.macs


@every_case
def test_json_gives_the_layer_back(case: Case) -> None:
    text = json.dumps(case.layer.to_json())
    assert layer_from_json(json.loads(text)) == case.layer


@every_case
def test_the_source_makes_the_same_module(case: Case) -> None:
    assert_source_makes_the_module(case.layer, case.shape)


@every_case
def test_a_layer_is_immutable(case: Case) -> None:
    for field in dataclasses.fields(case.layer):
        with pytest.raises(dataclasses.FrozenInstanceError):
            setattr(case.layer, field.name, 7)


def test_the_type_codes_never_change_and_the_first_are_the_papers() -> None:
    paper = [Convolution, MaxPool, BatchNorm, ReLU, Sigmoid, Dropout, AveragePool, Linear]
    later = [DepthwiseConvolution, GlobalAveragePool, SiLU, Hardswish, ReLU6, GELU, LeakyReLU, Tanh]
    assert dict(enumerate([*paper, *later, SqueezeExcite], 1)) == KIND_BY_CODE
    assert len(paper) == PAPER_KINDS
    assert list(KIND_BY_NAME.values()) == list(KIND_BY_CODE.values())
    assert all(kind.kind == name for name, kind in KIND_BY_NAME.items())


@every_kind
def test_every_kind_has_cases_by_hand_and_every_attribute_has_one(kind: type[Layer]) -> None:
    assert kind in {type(case.layer) for case in CASES}
    own = {field.name: field.default for field in dataclasses.fields(kind) if field.kw_only}
    changed = {
        name
        for case in ATTRIBUTES
        if type(case.layer) is kind
        for name, default in own.items()
        if getattr(case.layer, name) != default
    }
    assert set(own) - {"skip", "projection"} <= changed


@every_kind
@settings(max_examples=40, deadline=None)
@given(data=st.data())
def test_the_contract_of_a_kind_holds_for_any_fields_and_shape(
    kind: type[Layer], data: st.DataObject
) -> None:
    side = st.integers(1, 9)
    shape: Shape = data.draw(st.tuples(st.integers(1, 5), side, side))
    if not kind.spatial and data.draw(st.booleans()):
        shape = shape[:1]
    layer = data.draw(DRAWN_LAYERS[kind])
    layer = dataclasses.replace(
        layer, skip=data.draw(st.integers(0, 9)), projection=data.draw(drawn_projections())
    )
    assert type(layer) is kind
    assert layer_from_json(json.loads(json.dumps(layer.to_json()))) == layer
    output = torch_output(layer, shape)
    if output is None:
        with pytest.raises(InvalidArchitectureError, match=r"kernel \d+ is larger than"):
            layer.output_shape(shape)
        return
    assert layer.output_shape(shape) == output == real_output(layer, shape)
    assert layer.parameters(shape) == real_parameters(layer, shape)
    assert layer.macs(shape) == counted_macs(layer, shape)
    assert_source_makes_the_module(layer, shape)
    plain = layer_from_row(layer.row(shape))
    assert type(plain) is kind
    assert plain.row(shape) == layer.row(shape)
    kept = {f.name: getattr(layer, f.name) for f in dataclasses.fields(layer) if not f.kw_only}
    assert plain == kind(**kept, skip=layer.skip)
    assert plain.parameters(shape) == real_parameters(plain, shape)
    assert plain.macs(shape) == layer.macs(shape)


def test_layers_are_equal_by_kind_and_fields() -> None:
    assert Convolution(8, 3) == Convolution(8, 3, stride=1, padding=0)
    assert Convolution(8, 3) != Convolution(8, 3, padding=1)
    others: list[Layer] = [AveragePool(2, 2), Sigmoid()]
    assert others[0] != MaxPool(2, 2)
    assert others[1] != ReLU()
    assert len({Convolution(8, 3), Convolution(8, 3), MaxPool(2, 2), AveragePool(2, 2)}) == 3
    assert ReLU() != ReLU(skip=1) != ReLU(skip=1, projection=Projection(bias=True))
    assert Linear(4) == Linear(4, bias=True) != Linear(4, bias=False)


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
    assert Dropout().to_json() == {"kind": "dropout"}
    assert BatchNorm().to_json() == {"kind": "batch_norm"}


def test_the_json_says_attributes_only_where_they_are_not_the_default() -> None:
    assert ReLU(skip=2).to_json() == {"kind": "relu", "skip": 2}
    assert Linear(10, bias=False).to_json() == {
        "kind": "linear",
        "out_features": 10,
        "bias": False,
    }
    assert ReLU(skip=1, projection=Projection(bias=True)).to_json() == {
        "kind": "relu",
        "skip": 1,
        "projection": {"bias": True},
    }


@pytest.mark.parametrize(
    ("whole", "fraction"),
    [
        (Dropout(rate=0), Dropout(rate=0.0)),
        (LeakyReLU(negative_slope=2), LeakyReLU(negative_slope=2.0)),
        (BatchNorm(eps=1), BatchNorm(eps=1.0)),
        (ReLU(skip=1, projection=Projection(eps=1)), ReLU(skip=1, projection=Projection(eps=1.0))),
    ],
)
def test_a_whole_number_is_the_fraction_that_it_equals(whole: Layer, fraction: Layer) -> None:
    assert whole == fraction
    assert json.dumps(whole.to_json()) == json.dumps(fraction.to_json())
    assert whole.source((3, 4, 4)) == fraction.source((3, 4, 4))


def test_a_projection_is_read_from_the_fields_that_differ() -> None:
    record = {"kind": "relu", "skip": 1, "projection": {"batch_norm": False}}
    assert layer_from_json(record) == ReLU(skip=1, projection=Projection(batch_norm=False))


def test_average_pooling_counts_the_padding_in_the_mean() -> None:
    pooled = AveragePool(3, 1, 1).module((1, 2, 2))(torch.ones(1, 1, 2, 2))
    assert pooled[0, 0, 0, 0].item() == pytest.approx(4 / 9)


def test_average_pooling_leaves_the_padding_out_of_the_mean_where_told() -> None:
    layer = AveragePool(3, 1, 1, count_padding=False)
    pooled = layer.module((1, 2, 2))(torch.ones(1, 1, 2, 2))
    assert pooled[0, 0].tolist() == [[1, 1], [1, 1]]


def test_global_average_pooling_gives_the_mean_of_every_channel() -> None:
    images = torch.randn(3, 4, 5, 6, generator=torch.Generator().manual_seed(2))
    pooled = whole_module(GlobalAveragePool(), (4, 5, 6))(images)
    assert torch.allclose(pooled, images.mean((2, 3)), atol=1e-6)


def test_a_depthwise_convolution_mixes_no_channels() -> None:
    module = DepthwiseConvolution(3, padding=1).module((2, 4, 4))
    images = torch.randn(1, 2, 4, 4, generator=torch.Generator().manual_seed(3))
    changed = images.clone()
    changed[:, 0] += 1
    difference = (module(changed) - module(images)).abs().amax((0, 2, 3))
    assert difference[0] > 0.01
    assert difference[1] == 0


@pytest.mark.parametrize("activation", ["ReLU", "SiLU"])
@pytest.mark.parametrize("gate", ["Sigmoid", "Hardsigmoid"])
@pytest.mark.parametrize("bias", [True, False])
def test_squeeze_excite_scales_every_channel_by_what_the_means_say(
    activation: str, gate: str, bias: bool
) -> None:
    layer = SqueezeExcite(2, activation=activation, gate=gate, bias=bias)
    module = layer.module((3, 4, 5)).double()
    inner, outer = module.get_submodule("reduce"), module.get_submodule("expand")
    assert isinstance(inner, nn.Linear) and isinstance(outer, nn.Linear)
    assert (inner.bias is not None) is (outer.bias is not None) is bias
    stream = torch.Generator().manual_seed(4)
    maps = 3 * torch.randn(2, 3, 4, 5, generator=stream, dtype=torch.float64)
    for image, scaled in zip(maps, module(maps), strict=True):
        squeezed = inner.weight @ image.mean((1, 2)) + (inner.bias if bias else 0)
        squeezed = squeezed.clamp_min(0) if activation == "ReLU" else squeezed * squeezed.sigmoid()
        excited = outer.weight @ squeezed + (outer.bias if bias else 0)
        if gate == "Sigmoid":
            gates = 1 / (1 + torch.exp(-excited))
        else:
            gates = (excited / 6 + 0.5).clamp(0, 1)
        assert ((gates > 0) & (gates < 1)).all()
        assert torch.allclose(scaled, image * gates[:, None, None], atol=1e-9)


def test_only_a_class_that_is_not_pytorchs_is_written_without_nn() -> None:
    assert SqueezeExcite(2).source((3, 4, 5)) == "SqueezeExcite(3, 2)"
    assert SqueezeExcite(2, gate="Hardsigmoid", bias=False).source((3, 4, 5)) == (
        'SqueezeExcite(3, 2, gate="Hardsigmoid", bias=False)'
    )
    assert SqueezeExcite(2).call((3, 4, 5)).own_class is SqueezeExciteModule
    assert ReLU().call((3, 4, 5)).own_class is None
    assert ReLU().source((3, 4, 5)) == "nn.ReLU()"


ACTIVATIONS = [kind for kind in KIND_BY_CODE.values() if issubclass(kind, Activation)]


def test_activations_give_what_their_names_say() -> None:
    x = torch.linspace(-8, 8, 161, dtype=torch.float64)
    expected = {
        ReLU(): x.clamp_min(0),
        ReLU6(): x.clamp(0, 6),
        Sigmoid(): 1 / (1 + torch.exp(-x)),
        SiLU(): x / (1 + torch.exp(-x)),
        Hardswish(): x * (x + 3).clamp(0, 6) / 6,
        GELU(): x * (1 + torch.erf(x / 2**0.5)) / 2,
        GELU(approximate="tanh"): x * (1 + torch.tanh((2 / torch.pi) ** 0.5 * _cubed(x))) / 2,
        LeakyReLU(): torch.where(x < 0, 0.01 * x, x),
        LeakyReLU(negative_slope=0.3): torch.where(x < 0, 0.3 * x, x),
        Tanh(): torch.tanh(x),
    }
    assert {type(layer) for layer in expected} == set(ACTIVATIONS)
    for layer, values in expected.items():
        assert torch.allclose(layer.module((161,))(x), values, atol=1e-9), layer


def _cubed(x: torch.Tensor) -> torch.Tensor:
    return x + 0.044715 * x**3


@pytest.mark.parametrize("kind", ACTIVATIONS)
def test_an_activation_is_idempotent_and_nonnegative_where_it_says_so(
    kind: type[Activation],
) -> None:
    x = torch.linspace(-8, 8, 161)
    module = kind().module((161,))
    once = module(x)
    assert torch.equal(module(once), once) is kind.idempotent
    assert bool((once >= 0).all()) is kind.nonnegative


def test_batch_norm_takes_its_epsilon_and_has_weights_unless_told() -> None:
    module = BatchNorm(eps=0.25).module((1, 2, 2)).eval()
    assert module(torch.ones(1, 1, 2, 2))[0, 0, 0, 0].item() == pytest.approx(1.25**-0.5)
    assert not list(BatchNorm(affine=False).module((4,)).parameters())


@pytest.mark.parametrize("rate", [0.5, 0.1, 0.0])
def test_dropout_drops_its_share_which_is_half_unless_told(rate: float) -> None:
    module = (Dropout() if rate == 0.5 else Dropout(rate=rate)).module((10,))
    torch.manual_seed(0)
    dropped = (module(torch.ones(10_000)) == 0).float().mean().item()
    assert dropped == pytest.approx(rate, abs=0.03)


@pytest.mark.parametrize(
    ("source", "target", "stride"),
    [
        ((4, 8, 8), (6, 8, 8), 1),
        ((4, 8, 8), (4, 4, 4), 2),
        ((4, 9, 9), (6, 5, 5), 2),
        ((4, 9, 8), (6, 3, 3), 3),
        ((4, 7, 7), (6, 1, 1), 7),
        ((4, 10, 4), (2, 5, 2), 2),
    ],
)
def test_a_projection_is_a_1x1_convolution_of_the_needed_stride_and_a_norm(
    source: Shape, target: Shape, stride: int
) -> None:
    convolution = Convolution(target[0], 1, stride, bias=False)
    assert shortcut_layers(ReLU(skip=1), source, target) == (convolution, BatchNorm())
    bare = ReLU(skip=1, projection=Projection(True, False))
    assert shortcut_layers(bare, source, target) == (dataclasses.replace(convolution, bias=True),)
    other = ReLU(skip=1, projection=Projection(eps=0.1))
    assert shortcut_layers(other, source, target) == (convolution, BatchNorm(eps=0.1))
    assert convolution.output_shape(source) == target


@pytest.mark.parametrize("shape", [(4, 8, 8), (4,)])
def test_equal_shapes_need_no_projection(shape: Shape) -> None:
    layer = ReLU(skip=1, projection=Projection(True, False))
    assert shortcut_layers(layer, shape, shape) == ()


@settings(max_examples=300, deadline=None)
@given(*[st.tuples(st.integers(1, 3), st.integers(1, 14), st.integers(1, 14))] * 2)
def test_a_projection_exists_exactly_where_some_stride_gives_the_sides(
    source: Shape, target: Shape
) -> None:
    strides = [
        stride
        for stride in range(1, 15)
        if torch_output(Convolution(target[0], 1, stride), source) == target
    ]
    if source == target:
        assert shortcut_layers(ReLU(skip=1), source, target) == ()
    elif strides:
        made = shortcut_layers(ReLU(skip=1), source, target)
        assert made == (Convolution(target[0], 1, min(strides), bias=False), BatchNorm())
    else:
        with pytest.raises(InvalidArchitectureError, match="no 1x1 convolution makes"):
            shortcut_layers(ReLU(skip=1), source, target)


@pytest.mark.parametrize(("source", "target"), [((4,), (5,)), ((4, 1, 1), (4,)), ((4,), (4, 1, 1))])
def test_flat_features_have_no_projection(source: Shape, target: Shape) -> None:
    with pytest.raises(InvalidArchitectureError, match=r"its skip of 3 brings .* no 1x1"):
        shortcut_layers(ReLU(skip=3), source, target)


@pytest.mark.parametrize("bias", [False, True])
@pytest.mark.parametrize("batch_norm", [False, True])
def test_a_projection_has_the_parameters_that_its_attributes_say(
    bias: bool, batch_norm: bool
) -> None:
    source, target = (3, 8, 8), (7, 4, 4)
    layer = ReLU(skip=1, projection=Projection(bias, batch_norm))
    convolution, *norm = shortcut_layers(layer, source, target)
    count = convolution.parameters(source) + sum(n.parameters(target) for n in norm)
    assert count == 3 * 7 + 7 * bias + 2 * 7 * batch_norm


SPATIAL_LAYERS = [
    Convolution(4, 3),
    MaxPool(2, 2),
    AveragePool(2, 2),
    DepthwiseConvolution(1),
    GlobalAveragePool(),
    SqueezeExcite(2),
]


@pytest.mark.parametrize("layer", SPATIAL_LAYERS, ids=str)
def test_a_spatial_layer_refuses_flat_features(layer: Layer) -> None:
    with pytest.raises(InvalidArchitectureError, match="flat features"):
        layer.output_shape((64,))


def test_the_other_kinds_take_flat_features() -> None:
    assert {type(layer) for layer in SPATIAL_LAYERS} == {
        kind for kind in KIND_BY_CODE.values() if kind.spatial
    }
    for case in CASES:
        if not case.layer.spatial:
            assert len(case.layer.output_shape((64,))) == 1


def torch_output(layer: Layer, shape: Shape) -> Shape | None:
    """What PyTorch makes of the shape, or None where it refuses."""
    try:
        with torch.device("meta"):
            return tuple(whole_module(layer, shape)(torch.empty(1, *shape)).shape[1:])
    except RuntimeError:
        return None


pool_fields = st.tuples(st.integers(1, 10), st.integers(1, 10), st.integers(0, 5)).filter(
    lambda fields: fields[2] <= fields[0] // 2
)
windows = st.one_of(
    st.builds(Convolution, st.integers(1, 3), *[st.integers(1, 10)] * 2, st.integers(0, 10)),
    pool_fields.map(lambda fields: MaxPool(*fields)),
    pool_fields.map(lambda fields: AveragePool(*fields)),
    st.builds(DepthwiseConvolution, *[st.integers(1, 10)] * 2, st.integers(0, 10)),
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
        getattr(nn, kind.module_name)(kernel, 1, padding)(torch.zeros(1, 1, 12, 12))
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
        (lambda: DepthwiseConvolution(0), "depthwise_convolution has kernel 0, expected at least"),
        (lambda: DepthwiseConvolution(3, 0), "depthwise_convolution has stride 0"),
        (lambda: DepthwiseConvolution(3, 1, -1), "depthwise_convolution has padding -1"),
        (lambda: GELU(approximate="erf"), "gelu has approximate 'erf', expected none or tanh"),
        (lambda: Dropout(rate=1.0), "dropout has rate 1.0, expected 0 to below 1"),
        (lambda: Dropout(rate=-0.1), "dropout has rate -0.1"),
        (lambda: Dropout(rate=float("nan")), "dropout has rate nan"),
        (lambda: BatchNorm(eps=0), r"batch_norm has eps 0\.0, expected a number > 0"),
        (lambda: BatchNorm(momentum=0), r"batch_norm has momentum 0\.0, expected a number > 0"),
        (lambda: Dropout(rate=10**400), "dropout has rate inf"),
        (lambda: BatchNorm(eps=-1e-5), "batch_norm has eps -1e-05, expected a number > 0"),
        (lambda: BatchNorm(eps=float("nan")), "batch_norm has eps nan"),
        (lambda: BatchNorm(eps=float("inf")), "batch_norm has eps inf"),
        (lambda: Projection(eps=0.0), r"projection has eps 0\.0, expected a number > 0"),
        (lambda: Projection(eps=float("nan")), "projection has eps nan"),
        (lambda: Projection(eps=float("inf")), "projection has eps inf"),
        (lambda: LeakyReLU(negative_slope=float("nan")), "leaky_relu has negative_slope nan"),
        (lambda: LeakyReLU(negative_slope=float("inf")), "leaky_relu has negative_slope inf"),
        (lambda: LeakyReLU(negative_slope=-float("inf")), "leaky_relu has negative_slope -inf"),
        (lambda: SqueezeExcite(0), "squeeze_excite has squeeze 0, expected at least 1"),
        (lambda: SqueezeExcite(2, activation="Tanh"), "activation 'Tanh', expected ReLU or SiLU"),
        (lambda: SqueezeExcite(2, gate="ReLU"), "gate 'ReLU', expected Sigmoid or Hardsigmoid"),
    ],
)
def test_a_field_out_of_range_is_refused_by_name(make: Any, message: str) -> None:
    with pytest.raises(InvalidArchitectureError, match=message):
        make()


@pytest.mark.parametrize("case", CASES, ids=str)
def test_a_negative_skip_is_refused_whatever_the_kind(case: Case) -> None:
    message = f"{case.layer.kind} has skip -1, expected at least 0"
    with pytest.raises(InvalidArchitectureError, match=message):
        dataclasses.replace(case.layer, skip=-1)
    with pytest.raises(InvalidArchitectureError, match=message):
        layer_from_row((*case.row[:5], -1))
    with pytest.raises(InvalidArchitectureError, match=message):
        layer_from_json({**case.layer.to_json(), "skip": -1})


@pytest.mark.parametrize("code", [-1, 0, 18])
def test_an_unknown_type_code_is_refused(code: int) -> None:
    message = f"layer type {code} is unknown, expected 1 to 17"
    with pytest.raises(InvalidArchitectureError, match=message):
        layer_from_row((code, 3, 8, 1, 1, 0))


def test_a_vector_may_say_anything_in_fields_that_its_kind_lacks() -> None:
    assert layer_from_row((4, 9, 99, 9, 9, 1)) == ReLU(skip=1)
    assert layer_from_row((8, 9, 10, 9, 9, 0)) == Linear(10)
    assert layer_from_row((2, 3, 99, 2, 1, 0)) == MaxPool(3, 2, 1)
    assert layer_from_row((9, 3, 99, 2, 1, 0)) == DepthwiseConvolution(3, 2, 1)
    assert layer_from_row((10, 9, -9, 9, 9, 2)) == GlobalAveragePool(skip=2)
    assert layer_from_row((17, 9, 4, -9, 9, 1)) == SqueezeExcite(4, skip=1)


@pytest.mark.parametrize(
    ("record", "message"),
    [
        ({"kind": "konvolution"}, "layer kind 'konvolution' is unknown"),
        ({}, "layer kind None is unknown"),
        ({"kind": ["relu"]}, "is unknown"),
        ({"kind": "linear"}, "linear does not have these fields"),
        ({"kind": "relu", "slope": 1}, "relu does not have these fields: {'slope': 1}"),
        (
            {"kind": "linear", "out_features": 10.5},
            "linear has out_features 10.5, expected a whole number",
        ),
        ({"kind": "linear", "out_features": True}, "out_features True, expected a whole number"),
        ({"kind": "linear", "out_features": "10"}, "out_features '10', expected a whole number"),
        (
            {"kind": "max_pool", "kernel": 2, "stride": None},
            "max_pool has stride None, expected a whole number",
        ),
        ({"kind": "linear", "out_features": 0}, "linear has out_features 0"),
        ({"kind": "relu", "skip": 1.0}, "relu has skip 1.0, expected a whole number"),
        ({"kind": "relu", "skip": True}, "relu has skip True, expected a whole number"),
        ({"kind": "linear", "out_features": 2, "bias": 1}, "bias 1, expected true or false"),
        ({"kind": "batch_norm", "eps": "1"}, "batch_norm has eps '1', expected a number"),
        ({"kind": "batch_norm", "eps": True}, "batch_norm has eps True, expected a number"),
        ({"kind": "gelu", "approximate": 1}, "gelu has approximate 1, expected a text"),
        ({"kind": "relu", "projection": 1}, "relu has projection 1, expected an object"),
        ({"kind": "relu", "projection": {"bias": 0}}, "projection has bias 0, expected true"),
        ({"kind": "relu", "projection": {"norm": True}}, "projection does not have these fields"),
        ({"kind": "relu", "bias": True}, "relu does not have these fields"),
        ({"kind": "squeeze_excite"}, "squeeze_excite does not have these fields"),
        ({"kind": "squeeze_excite", "squeeze": 2.0}, "squeeze 2.0, expected a whole number"),
        ({"kind": "squeeze_excite", "squeeze": 2, "gate": 1}, "gate 1, expected a text"),
        ({"kind": "squeeze_excite", "squeeze": 2, "gate": "relu"}, "gate 'relu', expected Sigmoid"),
        ({"kind": "batch_norm", "eps": 0}, r"batch_norm has eps 0\.0, expected a number > 0"),
        ({"kind": "batch_norm", "eps": float("nan")}, "batch_norm has eps nan"),
        ({"kind": "relu", "projection": {"eps": -1}}, "projection has eps -1"),
        ({"kind": "leaky_relu", "negative_slope": float("inf")}, "negative_slope inf"),
    ],
)
def test_a_record_that_is_no_layer_is_refused(record: dict[str, Any], message: str) -> None:
    with pytest.raises(InvalidArchitectureError, match=message):
        layer_from_json(record)


@settings(max_examples=60, deadline=None)
@given(windows, st.tuples(st.integers(1, 3), st.integers(10, 16), st.integers(10, 16)))
def test_stated_macs_and_parameters_hold_for_any_window(layer: Layer, shape: Shape) -> None:
    assert layer.macs(shape) == counted_macs(layer, shape)
    assert layer.parameters(shape) == real_parameters(layer, shape)
