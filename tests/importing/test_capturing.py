"""capture: any module in, the same function out, or a refusal that names the part."""

import copy
import threading
import warnings
from dataclasses import replace
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.nn.utils import prune

from archpress.architectures.architecture import Architecture
from archpress.architectures.building import build
from archpress.architectures.layers import (
    BatchNorm,
    Convolution,
    Dropout,
    GlobalAveragePool,
    Layer,
    Linear,
    MaxPool,
    ReLU,
    SiLU,
    SqueezeExcite,
)
from archpress.errors import UnsupportedNetworkError
from archpress.importing import capturing
from archpress.importing.assembly import Captured, assemble
from archpress.importing.capturing import capture
from archpress.importing.reading import read_call
from archpress.importing.steps import Passing, Steps
from tests.importing.zoo_table import DOCUMENT, document
from tests.networks import MODULES, PUBLISHED, Sample

CAPTURED = {name: sample for name, sample in MODULES.items() if sample.refused is None}
REFUSED = {name: sample for name, sample in MODULES.items() if sample.refused is not None}
UNUSED = {"unused_layers": 41_740}
"""Parameters that a module has and never uses."""


def made(sample: Sample, seed: int = 0) -> nn.Module:
    """A module whose BatchNorm statistics are not the initial ones."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        module = sample.make()
        for part in module.modules():
            if isinstance(part, nn.BatchNorm1d | nn.BatchNorm2d):
                assert part.running_mean is not None and part.running_var is not None
                part.running_mean.normal_(0, 0.1)
                part.running_var.uniform_(0.5, 2)
    return module


def images(sample: Sample, count: int = 3) -> Tensor:
    return torch.randn(count, *sample.input_shape, generator=torch.Generator().manual_seed(1))


def difference(one: Tensor, other: Tensor) -> float:
    return float((one - other).abs().max() / max(1.0, float(other.abs().max())))


@pytest.mark.parametrize("sample", CAPTURED.values(), ids=CAPTURED)
@torch.no_grad()
def test_the_captured_network_gives_the_modules_outputs(sample: Sample) -> None:
    module = made(sample).eval()
    captured = capture(module, sample.input_shape)
    rebuilt = build(captured.architecture, seed=5)
    rebuilt.load_state_dict(captured.weights, strict=True)
    given, expected = rebuilt.eval()(images(sample)), module(images(sample))
    if captured.ending:
        given = getattr(torch, captured.ending)(given, 1)
    assert difference(given, expected) <= 1e-5


@pytest.mark.parametrize("name", CAPTURED)
def test_the_captured_network_has_the_modules_parameters(name: str) -> None:
    module = CAPTURED[name].make()
    captured = capture(module, CAPTURED[name].input_shape)
    count = sum(parameter.numel() for parameter in module.parameters())
    assert CAPTURED[name].parameters in (count, None)
    assert captured.architecture.cost.parameters == count - UNUSED.get(name, 0)
    assert sum(p.numel() for p in captured.model().parameters()) == count - UNUSED.get(name, 0)
    assert len(captured.names) == len(captured.architecture.layers)


@pytest.mark.parametrize("sample", REFUSED.values(), ids=REFUSED)
def test_what_cannot_be_expressed_is_refused_by_name(sample: Sample) -> None:
    assert sample.refused is not None
    with pytest.raises(UnsupportedNetworkError) as refusal:
        capture(sample.make(), sample.input_shape)
    assert sample.refused in str(refusal.value)


@pytest.mark.parametrize("name", PUBLISHED)
def test_well_known_networks_have_their_published_parameters(name: str) -> None:
    sample = PUBLISHED[name]
    captured = capture(sample.make(), sample.input_shape)
    assert captured.architecture.cost.parameters == sample.parameters
    assert captured.notes == ()


@pytest.mark.parametrize("name", ["resnet20", "mnist_tutorial", "inplace_relu_on_shortcut"])
@pytest.mark.parametrize("training", [True, False])
def test_the_users_module_is_not_changed(name: str, training: bool) -> None:
    module = made(MODULES[name]).train(training)
    before = copy.deepcopy(module.state_dict())
    tensors = {key: id(value) for key, value in module.named_parameters()}
    capture(module, MODULES[name].input_shape)
    assert all(part.training is training for part in module.modules())
    assert tensors == {key: id(value) for key, value in module.named_parameters()}
    after = module.state_dict()
    assert before.keys() == after.keys()
    assert all(torch.equal(before[key], after[key]) for key in before)
    assert not any(part._forward_hooks or part._forward_pre_hooks for part in module.modules())
    assert all(parameter.requires_grad for parameter in module.parameters())


def test_captured_weights_are_copies() -> None:
    module = made(MODULES["lenet5"])
    captured = capture(module, (1, 28, 28))
    kept = {name: tensor.clone() for name, tensor in captured.weights.items()}
    with torch.no_grad():
        for parameter in module.parameters():
            parameter.zero_()
    assert all(torch.equal(kept[name], captured.weights[name]) for name in kept)


@pytest.mark.parametrize("name", ["data_dependent", "densenet", "gated", "tied_linear"])
def test_a_refusal_names_the_line_of_the_users_code(name: str) -> None:
    with pytest.raises(UnsupportedNetworkError, match=r"networks\.py:\d+"):
        capture(MODULES[name].make(), MODULES[name].input_shape)


def test_the_first_culprit_is_named_and_further_ones_with_it() -> None:
    with pytest.raises(UnsupportedNetworkError, match=r"^dense1\.layer0 .*; further: dense1"):
        capture(MODULES["densenet"].make(), (3, 32, 32))


class Silu(nn.Module):
    """SiLU by hand, a residual around it, and a mean over one side after the other."""

    def __init__(self) -> None:
        super().__init__()
        self.first = nn.Conv2d(3, 6, 3, padding=1)
        self.last = nn.Linear(6, 10)

    def forward(self, x: Tensor) -> Tensor:
        x = self.first(x)
        x = x + x * torch.sigmoid(x)
        logits: Tensor = self.last(x.mean(3).mean(2))
        return logits


def test_layers_of_two_calls_are_one_layer() -> None:
    kinds = [type(layer) for layer in capture(Silu(), (3, 8, 8)).architecture.layers]
    assert kinds[1:] == [SiLU, GlobalAveragePool, Linear]


class Scaled(nn.Module):
    """Squeeze-and-excite as told, between two layers; with one module it is applied twice."""

    def __init__(
        self,
        activation: nn.Module,
        gate: nn.Module,
        dense: type[nn.Module],
        biases: tuple[bool, bool],
    ) -> None:
        super().__init__()
        sizes = (1,) if dense is nn.Conv2d else ()
        self.stem = nn.Conv2d(3, 6, 3)
        self.down = dense(6, 4, *sizes, bias=biases[0])
        self.up = dense(4, 6, *sizes, bias=biases[1])
        self.activation, self.gate = activation, gate
        self.last = nn.Linear(6, 10)
        self.times = 1

    def forward(self, x: Tensor) -> Tensor:
        x = self.stem(x)
        for _ in range(self.times):
            y = F.adaptive_avg_pool2d(x, 1)
            y = y if isinstance(self.down, nn.Conv2d) else y.flatten(1)
            y = self.gate(self.up(self.activation(self.down(y))))
            x = y.view(len(x), 6, 1, 1) * x
        logits: Tensor = self.last(x.mean((2, 3)))
        return logits


@pytest.mark.parametrize("dense", [nn.Linear, nn.Conv2d])
@pytest.mark.parametrize("activation", [nn.ReLU, nn.SiLU])
@pytest.mark.parametrize("gate", [nn.Sigmoid, nn.Hardsigmoid])
@pytest.mark.parametrize("bias", [True, False])
def test_the_captured_squeeze_excite_is_what_the_module_has(
    dense: type[nn.Module], activation: type[nn.Module], gate: type[nn.Module], bias: bool
) -> None:
    module = Scaled(activation(), gate(), dense, (bias, bias))
    captured = capture(module, (3, 8, 8))
    expected = SqueezeExcite(4, activation=activation.__name__, gate=gate.__name__, bias=bias)
    assert captured.architecture.layers[1] == expected
    assert len(captured.architecture.layers) == 4
    state, weights = module.state_dict(), captured.weights
    assert torch.equal(weights["block1.1.reduce.weight"], state["down.weight"].flatten(1))
    assert torch.equal(weights["block1.1.expand.weight"], state["up.weight"].flatten(1))
    assert ("block1.1.reduce.bias" in weights) is bias
    if bias:
        assert torch.equal(weights["block1.1.expand.bias"], state["up.bias"])
    images = 9 * torch.randn(2, 3, 8, 8, generator=torch.Generator().manual_seed(2))
    with torch.no_grad():
        assert difference(captured.model()(images), module(images)) <= 1e-5


def squeezes(name: str) -> list[Layer]:
    architecture = capture(MODULES[name].make(), MODULES[name].input_shape).architecture
    found = [layer for layer in architecture.layers if isinstance(layer, SqueezeExcite)]
    return [replace(layer, skip=0) for layer in found]


def test_the_squeeze_excite_of_every_network_is_found() -> None:
    assert squeezes("squeeze_excite") == [SqueezeExcite(4)]
    assert squeezes("senet") == [SqueezeExcite(size, bias=False) for size in (4, 8, 8)]
    assert squeezes("mobilenet_v3_scaled") == [
        SqueezeExcite(size, gate="Hardsigmoid") for size in (8, 24)
    ]
    assert squeezes("efficientnet_small") == [
        SqueezeExcite(size, activation="SiLU") for size in (2, 2, 4, 4, 6)
    ]


def test_shared_squeeze_excite_weights_are_refused() -> None:
    module = Scaled(nn.ReLU(), nn.Sigmoid(), nn.Linear, (True, True))
    module.times = 2
    with pytest.raises(UnsupportedNetworkError, match=r"down\.weight is shared with .*mul"):
        capture(module, (3, 8, 8))
    module.times = 1
    capture(module, (3, 8, 8))


def test_squeeze_excite_that_shares_with_another_layer_is_refused() -> None:
    module = Scaled(nn.ReLU(), nn.Sigmoid(), nn.Linear, (False, False))
    module.last = nn.Linear(6, 4, bias=False)
    module.last.weight = module.down.weight  # type: ignore[assignment]
    with pytest.raises(UnsupportedNetworkError, match=r"weight is shared with"):
        capture(module, (3, 8, 8))


def test_a_squeeze_excite_whose_two_layers_are_one_is_refused() -> None:
    module = Scaled(nn.ReLU(), nn.Sigmoid(), nn.Linear, (True, True))
    module.down = module.up = nn.Linear(6, 6)
    with pytest.raises(UnsupportedNetworkError, match=r"weight is shared with"):
        capture(module, (3, 8, 8))


@pytest.mark.parametrize("biases", [(True, False), (False, True)])
def test_squeeze_excite_with_one_bias_of_two_is_refused(biases: tuple[bool, bool]) -> None:
    module = Scaled(nn.ReLU(), nn.Sigmoid(), nn.Linear, biases)
    with pytest.raises(UnsupportedNetworkError, match="squeeze-and-excite with one bias of two"):
        capture(module, (3, 8, 8))


@pytest.mark.parametrize(
    ("activation", "gate"), [(nn.Tanh(), nn.Sigmoid()), (nn.ReLU(), nn.Tanh())], ids=str
)
def test_squeeze_excite_of_other_functions_is_refused(
    activation: nn.Module, gate: nn.Module
) -> None:
    module = Scaled(activation, gate, nn.Linear, (True, True))
    with pytest.raises(UnsupportedNetworkError, match="a product of two values"):
        capture(module, (3, 8, 8))


def test_hardsigmoid_is_a_gate_only() -> None:
    module = nn.Sequential(nn.Conv2d(3, 4, 3), nn.Hardsigmoid(), nn.Flatten(), nn.LazyLinear(2))
    module(torch.zeros(1, 3, 8, 8))
    message = r"^1 .*: Hardsigmoid outside squeeze-and-excite"
    with pytest.raises(UnsupportedNetworkError, match=message):
        capture(module, (3, 8, 8))


class Twice(nn.Module):
    """Two additions in a row."""

    def __init__(self, flat: bool) -> None:
        super().__init__()
        self.flat = flat
        self.parts = nn.ModuleList(
            nn.Linear(6, 6) if flat else nn.Conv2d(6, 6, 3, padding=1) for _ in range(2)
        )
        self.stem = nn.Conv2d(3, 6, 3)
        self.last = nn.Linear(6, 10)

    def forward(self, x: Tensor) -> Tensor:
        x = self.stem(x)
        if self.flat:
            x = x.mean((2, 3))
        inner = x + self.parts[0](x)
        x = x + (inner + self.parts[1](inner))
        logits: Tensor = self.last(x if self.flat else F.adaptive_avg_pool2d(x, 1).flatten(1))
        return logits


@pytest.mark.parametrize(("flat", "carrier"), [(False, MaxPool), (True, Dropout)])
def test_a_second_addition_is_carried_by_a_layer_that_does_nothing(
    flat: bool, carrier: type
) -> None:
    module = Twice(flat)
    architecture = capture(module, (3, 8, 8)).architecture
    carriers = [layer for layer in architecture.layers if isinstance(layer, carrier)]
    assert [layer.skip for layer in carriers] == [3]
    assert architecture.cost.parameters == sum(p.numel() for p in module.parameters())


@pytest.mark.parametrize(
    ("name", "note"),
    [
        ("mnist_tutorial", "log_softmax, networks.py"),
        ("sigmoid_softmax", "are the logits"),
        ("unused_layers", "not used by the output, left out: bn2.weight"),
        ("conv_classifier", "has become Dropout of single values"),
    ],
)
def test_what_differs_is_said(name: str, note: str) -> None:
    notes = capture(MODULES[name].make(), MODULES[name].input_shape).notes
    assert any(note in each for each in notes)


def test_logits_with_sides_of_one_pixel_lose_them() -> None:
    module = nn.Sequential(nn.Conv2d(3, 4, 3), nn.AdaptiveAvgPool2d(1))
    captured = capture(module, (3, 8, 8))
    assert captured.notes == ("1 (adaptive_avg_pool2d) gives [N, K, 1, 1], archpress [N, K]",)
    images = torch.randn(2, 3, 8, 8)
    assert torch.allclose(captured.model()(images), module(images).flatten(1), atol=1e-5)


def test_nothing_is_said_where_nothing_differs() -> None:
    assert capture(MODULES["resnet20"].make(), (3, 32, 32)).notes == ()


def test_an_example_decides_the_shape() -> None:
    module = MODULES["all_convolutional"].make()
    channels = MODULES["all_convolutional"].input_shape[0]
    captured = capture(module, torch.randn(1, channels, 40, 40))
    assert captured.architecture.input_shape == (channels, 40, 40)


@pytest.mark.parametrize("shape", [(3, 32, 32), (0, 3, 32, 32), (2, 3, 32)])
def test_an_example_that_is_no_batch_of_images_is_refused(shape: tuple[int, ...]) -> None:
    with pytest.raises(UnsupportedNetworkError, match=r"expected \[N, C, H, W\]"):
        capture(MODULES["resnet20"].make(), torch.zeros(shape))


def test_images_of_the_wrong_shape_are_refused_where_they_fail() -> None:
    message = r"conv1, networks\.py:\d+: the forward pass fails on \(1, 32, 32\) images"
    with pytest.raises(UnsupportedNetworkError, match=message):
        capture(MODULES["resnet20"].make(), (1, 32, 32))


@pytest.mark.parametrize("dtype", [torch.float16, torch.float64, torch.bfloat16])
def test_weights_of_any_precision_come_as_float32(dtype: torch.dtype) -> None:
    module = made(MODULES["lenet5"]).to(dtype)
    captured = capture(module, (1, 28, 28))
    floating = [t for t in captured.weights.values() if t.is_floating_point()]
    assert {tensor.dtype for tensor in floating} == {torch.float32}
    assert next(module.parameters()).dtype == dtype


def test_wrapped_and_traced_modules_are_seen_through() -> None:
    module = made(MODULES["resnet20"]).eval()
    expected = capture(module, (3, 32, 32)).architecture
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of torch's own making
        exported = torch.export.export(module, (torch.randn(2, 3, 32, 32),)).module()
        wrapped: list[nn.Module] = [
            nn.DataParallel(module), torch.fx.symbolic_trace(module), exported,
            torch.compile(module),  # type: ignore[list-item]
        ]  # fmt: skip
        for each in wrapped:
            assert capture(each, (3, 32, 32)).architecture == expected


def test_modules_that_cannot_be_read_are_refused() -> None:
    plain = nn.Sequential(nn.Flatten(), nn.Linear(12, 2))
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        scripted = torch.jit.script(plain)
    for module, reason in (
        (scripted, "scripted and traced modules"),
        (nn.Sequential(nn.Flatten(), nn.LazyLinear(2)), "has no values yet"),
        (nn.Sequential(nn.Flatten(), nn.Linear(12, 2, device="meta")), "has no values yet"),
        (3, "expected a torch module, not a int"),
    ):
        with pytest.raises(UnsupportedNetworkError, match=reason):
            capture(module, (3, 2, 2))  # type: ignore[arg-type]


def test_a_capture_that_gives_other_outputs_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    def wrong(steps: Steps) -> Captured:
        captured = assemble(steps)
        captured.weights["block1.0.bias"] += 0.01
        return captured

    monkeypatch.setattr(capturing, "assemble", wrong)
    with pytest.raises(UnsupportedNetworkError, match="gives other outputs than the module"):
        capture(nn.Sequential(nn.Conv2d(1, 2, 1), nn.Flatten(), nn.Linear(8, 2)), (1, 2, 2))


def test_dropout_that_is_always_on_is_refused() -> None:
    class Noisy(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.last = nn.Linear(4, 2)

        def forward(self, x: Tensor) -> Tensor:
            logits: Tensor = self.last(F.dropout(x.flatten(1)))
            return logits

    with pytest.raises(UnsupportedNetworkError, match=r"pass training=self\.training"):
        capture(Noisy(), (1, 2, 2))


def test_a_network_that_ends_in_an_activation_is_refused() -> None:
    module = nn.Sequential(nn.Flatten(), nn.Linear(4, 2), nn.ReLU())
    with pytest.raises(UnsupportedNetworkError, match=r"2 \(relu\): the last layer must be linear"):
        capture(module, (1, 2, 2))


def test_shared_activations_are_one_layer_each() -> None:
    architecture = capture(MODULES["shared_activation"].make(), (3, 32, 32)).architecture
    assert sum(isinstance(layer, ReLU) for layer in architecture.layers) > 1


def test_a_module_that_keeps_what_its_last_pass_made_is_captured() -> None:
    class Keeping(nn.Sequential):
        def forward(self, x: Tensor) -> Tensor:
            for part in self:
                x = part(x)
            self.last, self.all = x, [x]
            return x

    module = Keeping(nn.Flatten(), nn.Linear(4, 2))
    module(torch.randn(1, 1, 2, 2))
    assert capture(module, (1, 2, 2)).architecture.layers == (Linear(2),)


def test_a_pruned_module_is_refused_for_its_computed_weight() -> None:
    module = nn.Sequential(nn.Flatten(), nn.Linear(4, 2))
    prune.l1_unstructured(module[1], "weight", 0.5)
    with pytest.raises(UnsupportedNetworkError, match="its weight is computed"):
        capture(module, (1, 2, 2))


def test_a_module_that_cannot_be_copied_is_refused() -> None:
    module = nn.Sequential(nn.Flatten(), nn.Linear(4, 2))
    module.lock = threading.Lock()  # type: ignore[assignment]
    with pytest.raises(UnsupportedNetworkError, match=r"cannot be copied \(TypeError: .*locks"):
        capture(module, (1, 2, 2))


def test_outputs_that_are_no_numbers_are_refused() -> None:
    module = nn.Sequential(nn.Flatten(), nn.Linear(4, 2))
    nn.init.constant_(module[1].weight, float("nan"))  # type: ignore[arg-type]
    with pytest.raises(UnsupportedNetworkError, match="own outputs on the example are not finite"):
        capture(module, (1, 2, 2))


@pytest.mark.parametrize("example", [(1, 2), (2, 2, 1, 2, 2), "images", (1, 0, 2), None, 3])
def test_an_example_that_is_no_shape_is_refused(example: object) -> None:
    with pytest.raises(UnsupportedNetworkError, match=r"expected a tensor \[N, C, H, W\] or its"):
        capture(nn.Flatten(), example)  # type: ignore[arg-type]


def test_the_shape_of_a_batch_is_a_shape_too() -> None:
    module = nn.Sequential(nn.Flatten(), nn.Linear(4, 2))
    assert capture(module, torch.zeros(5, 1, 2, 2).shape).architecture.input_shape == (1, 2, 2)  # type: ignore[arg-type]


def test_a_gate_may_be_expanded_by_hand() -> None:
    class Gate(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.down, self.up = nn.Linear(3, 2), nn.Linear(2, 3)

        def forward(self, x: Tensor) -> Tensor:
            gate = torch.sigmoid(self.up(torch.relu(self.down(x.mean((2, 3))))))
            return x * gate.view(*gate.shape, 1, 1).expand_as(x)

    module = nn.Sequential(Gate(), nn.Flatten(), nn.Linear(12, 2))
    kinds = [type(layer) for layer in capture(module, (3, 2, 2)).architecture.layers]
    assert kinds == [SqueezeExcite, Linear]


def test_what_archpress_builds_is_captured_as_it_was() -> None:
    layers = (Convolution(6, 3), SqueezeExcite(4), ReLU(), GlobalAveragePool(), Linear(10))
    architecture = Architecture((3, 8, 8), layers)
    assert capture(build(architecture, 0), (3, 8, 8)).architecture == architecture


def test_a_capture_shows_itself_briefly() -> None:
    captured = capture(MODULES["lenet5"].make(), (1, 28, 28))
    assert "tensor" not in repr(captured)
    assert "<svg" in captured._repr_html_()


class Written(nn.Module):
    """Changes a value in place, through what the name says."""

    def __init__(self, through: str) -> None:
        super().__init__()
        self.through = through
        self.conv = nn.Conv2d(3, 3, 1, bias=False)
        self.last = nn.Linear(12, 2)

    def forward(self, x: Tensor) -> Tensor:
        x = self.conv(x)
        if self.through == "a view, read itself":
            x = F.relu_(x.view(len(x), -1))
        elif self.through == "a view, read by its base":
            F.relu_(x.view(len(x), -1))
        elif self.through == "its base, read by a view":
            view = x[:]
            F.relu_(x)
            x = view
        elif self.through == "a slice":
            x[:, 0] = 0
        logits: Tensor = self.last(x.flatten(1))
        return logits


@pytest.mark.parametrize("example", [torch.zeros(1, 3, 2, 2), (3, 2, 2)])
def test_a_value_changed_through_another_is_refused(example: Tensor | tuple[int, int, int]) -> None:
    for through in ("a view, read by its base", "its base, read by a view", "a slice"):
        with pytest.raises(UnsupportedNetworkError, match=r"py:\d+\)?: a value is changed"):
            capture(Written(through), example)
    kinds = [type(e) for e in capture(Written("a view, read itself"), example).architecture.layers]
    assert kinds == [Convolution, ReLU, Linear]


def test_a_call_that_changes_nothing_leaves_views_as_they_are() -> None:
    class Views(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.last = nn.Linear(4, 2)

        def forward(self, x: Tensor) -> Tensor:
            flat = x.view(len(x), -1)
            F.dropout(x.contiguous(), 0.5, training=self.training)
            logits: Tensor = self.last(flat)
            return logits

    assert capture(Views(), (1, 2, 2)).architecture.layers == (Linear(2),)


def test_what_the_users_weights_hide_is_seen(monkeypatch: pytest.MonkeyPatch) -> None:
    def without_tanh(*call: Any) -> Any:
        return Passing() if call[0] == "tanh" else read_call(*call)

    monkeypatch.setattr("archpress.importing.recording.read_call", without_tanh)
    module = nn.Sequential(nn.Flatten(), nn.Linear(4, 2), nn.Tanh(), nn.Linear(2, 2))
    nn.init.zeros_(module[3].weight)  # type: ignore[arg-type]
    with pytest.raises(UnsupportedNetworkError, match="gives other outputs than the module"):
        capture(module, (1, 2, 2))


def test_the_users_example_is_not_changed() -> None:
    module = nn.Sequential(nn.SiLU(inplace=True), nn.Flatten(), nn.Linear(4, 2))
    example = torch.randn(3, 1, 2, 2)
    before = example.clone()
    assert capture(module, example).architecture.layers == (SiLU(), Linear(2))
    assert torch.equal(example, before)


def test_a_forward_pass_that_wants_another_batch_is_refused() -> None:
    class Fixed(nn.Sequential):
        def forward(self, x: Tensor) -> Tensor:
            logits: Tensor = self[0](x.reshape(2, -1))
            return logits

    with pytest.raises(UnsupportedNetworkError, match=r"fails on the example \(4, 1, 2, 2\): Runt"):
        capture(Fixed(nn.Linear(4, 2)), torch.randn(4, 1, 2, 2))


def test_batch_norm_keeps_its_momentum() -> None:
    module = nn.Sequential(nn.BatchNorm2d(1, momentum=0.01), nn.Flatten(), nn.Linear(4, 2))
    captured = capture(module, (1, 2, 2))
    assert captured.architecture.layers[0] == BatchNorm(momentum=0.01)
    assert captured.model().get_submodule("block1.0").momentum == 0.01


def test_the_table_in_the_docs_is_true() -> None:
    assert DOCUMENT.read_text(encoding="utf-8") == document()
