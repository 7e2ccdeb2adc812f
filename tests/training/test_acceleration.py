"""The accelerated network against the module itself: same numbers, same gradients, less work."""

from collections.abc import Callable
from dataclasses import replace
from functools import cache
from typing import Any, NamedTuple

import pytest
import torch
import torch.nn.functional as F
from hypothesis import given, settings
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode

from archpress.architectures.architecture import Architecture
from archpress.architectures.building import Network, build
from archpress.architectures.layers import (
    GELU,
    KIND_BY_NAME,
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
    ReLU,
    ReLU6,
    Sigmoid,
    SiLU,
    SqueezeExcite,
    Tanh,
)
from archpress.architectures.references import digits_cnn
from archpress.architectures.spaces import SPACES, Limits, NeighbourhoodSpace, Space
from archpress.training.acceleration import Accelerated
from archpress.training.precision import CLASSES
from tests.small_networks import (
    ZOO,
    every_network,
    generator,
    images_for,
    networks_with_skips,
)

LIMITS = Limits(max_parameters=50_000, max_macs=2_000_000)
PRECISIONS = [
    "bfloat16", "bfloat16 except depthwise_strided", "bfloat16 except dense,linear,stem",
]  # fmt: skip
EXCEPT_ALL = "bfloat16 except " + ",".join(CLASSES)

BEFORE_RELU: dict[str, Layer] = {
    layer.kind: layer
    for layer in (
        *(Convolution(4, 3, 1, 1), MaxPool(3, 1, 1), BatchNorm(), ReLU(), Sigmoid(), Dropout()),
        *(AveragePool(3, 1, 1), Linear(4), DepthwiseConvolution(3, 1, 1), GlobalAveragePool()),
        *(SiLU(), Hardswish(), ReLU6(), GELU(), LeakyReLU(), Tanh(), SqueezeExcite(2)),
    )
}


class Step(NamedTuple):
    logits: Tensor
    gradients: dict[str, Tensor]
    statistics: dict[str, Tensor]


def fresh(network: Architecture) -> Network:
    model: Network = build(network, seed=3).to(memory_format=torch.channels_last)  # type: ignore[call-overload]
    return model


def step(model: Network, forward: Callable[[Tensor], Tensor], images: Tensor) -> Step:
    """One forward and backward pass of a training step; dropout by the global generator."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(7)
        logits = forward(images.contiguous(memory_format=torch.channels_last)).float()
    if logits.requires_grad:
        F.cross_entropy(logits, torch.arange(len(images)) % logits.shape[1]).backward()
    gradients = {k: p.grad for k, p in model.named_parameters() if p.grad is not None}
    return Step(logits.detach(), gradients, dict(model.named_buffers()))


def plain_step(
    network: Architecture, images: Tensor, bfloat16: bool = False, biases: bool = False
) -> Step:
    """What torch does; without ``biases``, those that BatchNorm subtracts are taken away before."""
    model = fresh(network)
    if not biases:
        Accelerated(model, "bfloat16")
    with torch.autocast("cpu", torch.bfloat16, enabled=bfloat16):
        return step(model, model, images)


def accelerated_step(network: Architecture, images: Tensor, precision: str) -> Step:
    model = fresh(network)
    return step(model, Accelerated(model, precision), images)


def length(tensors: dict[str, Tensor]) -> float:
    norms = [tensor.float().norm() for tensor in tensors.values()]
    return float(torch.stack([*norms, torch.zeros(())]).norm())


def difference(found: dict[str, Tensor], expected: dict[str, Tensor]) -> float:
    assert found.keys() == expected.keys()
    return length({name: found[name] - expected[name] for name in expected})


def require_close(found: Step, expected: Step, tolerance: float) -> None:
    """Logits, statistics, and the gradient of each parameter on the scale of all."""
    assert (found.logits - expected.logits).norm() <= tolerance * expected.logits.norm()
    scale = length(expected.gradients)
    assert found.gradients.keys() <= expected.gradients.keys()
    for name, gradient in expected.gradients.items():
        ours = found.gradients.get(name, torch.zeros_like(gradient))
        assert (ours - gradient).norm() <= tolerance * scale, name
    moved = difference(found.statistics, expected.statistics)
    assert moved <= tolerance * length(expected.statistics)


@cache
def sampled(space: str) -> tuple[Architecture, ...]:
    if space == "neighbourhood":
        origins = (digits_cnn(), ZOO["inverted residuals"], ZOO["nested skips"])
        spaces: list[Space] = [
            NeighbourhoodSpace(o.input_shape, o.classes, LIMITS, origin=o) for o in origins
        ]
    else:
        spaces = [SPACES[space](shape, 10, LIMITS) for shape in ((1, 8, 8), (3, 12, 12))]
    return tuple(a for s in spaces for a in s.sample(3, generator(5)).architectures)


class Recorder(TorchDispatchMode):
    """Keeps the kernels that ran, with the type and shape of their second tensor."""

    def __init__(self) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self.ran: list[tuple[str, torch.dtype | None, tuple[int, ...]]] = []

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        tensors = [value for value in args if isinstance(value, Tensor)]
        weight = tensors[1] if len(tensors) > 1 else None
        name = func.overloadpacket.__name__
        shape = tuple(weight.shape) if weight is not None else ()
        self.ran.append((name, weight.dtype if weight is not None else None, shape))
        return func(*args, **kwargs or {})


def kernels(network: Architecture, precision: str, count: int = 4) -> Recorder:
    """What the forward pass of a batch runs."""
    forward = Accelerated(fresh(network), precision)
    recorder = Recorder()
    with recorder:
        forward(images_for(network, count))
    return recorder


def types_of_convolutions(network: Architecture, precision: str) -> list[torch.dtype | None]:
    """Of each convolution and matrix product with a weight, in order."""
    ran = kernels(network, precision).ran
    return [dtype for name, dtype, _ in ran if name in ("convolution", "addmm", "mm")]


@every_network
def test_float32_gives_the_same_step_for_every_kind_of_layer(network: Architecture) -> None:
    images = images_for(network, 6)
    expected = plain_step(network, images, biases=True)
    require_close(accelerated_step(network, images, "float32"), expected, 1e-5)


@pytest.mark.parametrize("space", SPACES)
def test_float32_gives_the_same_step_for_networks_of_every_space(space: str) -> None:
    for network in sampled(space):
        images = images_for(network, 6)
        found = accelerated_step(network, images, "float32")
        require_close(found, plain_step(network, images, biases=True), 1e-5)


@given(network=networks_with_skips())
@settings(max_examples=25, deadline=None)
def test_float32_gives_the_same_step_whatever_the_skips(network: Architecture) -> None:
    images = images_for(network, 4)
    expected = plain_step(network, images, biases=True)
    require_close(accelerated_step(network, images, "float32"), expected, 1e-5)


@every_network
def test_bfloat16_logits_are_close_to_those_in_float32(network: Architecture) -> None:
    images = images_for(network, 6)
    expected = plain_step(network, images).logits
    for precision in PRECISIONS:
        logits = accelerated_step(network, images, precision).logits
        assert (logits - expected).norm() <= 0.03 * expected.norm(), precision


@pytest.mark.parametrize("precision", PRECISIONS)
def test_bfloat16_gradients_are_close_to_those_in_float32(precision: str) -> None:
    for name in ("every new kind", "nested skips", "skip with bias", "long skip", "crossing skips"):
        images = images_for(ZOO[name], 6)
        found = accelerated_step(ZOO[name], images, precision)
        require_close(found, plain_step(ZOO[name], images), 0.04)
        rounded = plain_step(ZOO[name], images).gradients
        assert difference(found.gradients, {k: rounded[k] for k in found.gradients}) > 0


def leaps(network: Architecture) -> bool:
    """Whether a convolution's stride is longer than a side of its images."""
    return any(
        isinstance(layer, Convolution | DepthwiseConvolution) and layer.stride > min(shape[1:])
        for layer, shape in zip(network.layers, network.shapes, strict=False)
    )


@pytest.mark.parametrize(
    ("side", "kernel", "stride"), [(1, 3, 2), (2, 3, 3), (4, 5, 5), (5, 2, 6), (5, 3, 6)]
)
def test_strides_longer_than_the_image_have_right_gradients(
    side: int, kernel: int, stride: int
) -> None:
    """oneDNN reads memory that nothing has written for these weights' gradients in bfloat16."""
    layers = (Convolution(64, kernel, stride, 1), GlobalAveragePool(), Linear(3))
    network = Architecture((32, side, side), layers)
    assert leaps(network)
    images = images_for(network, 6)
    expected = plain_step(network, images)
    for _ in range(3):
        torch.full((64 * 32 * kernel**2 * 8 + 100_000,), 3e30)  # what is freed is found again
        require_close(accelerated_step(network, images, "bfloat16"), expected, 0.03)


@pytest.mark.parametrize("space", SPACES)
def test_bfloat16_is_that_of_autocast_for_networks_of_every_space(space: str) -> None:
    for network in sampled(space):
        if leaps(network):  # autocast has wrong gradients there
            continue
        images = images_for(network, 6)
        found = accelerated_step(network, images, "bfloat16")
        require_close(found, plain_step(network, images, bfloat16=True), 0.03)


def test_with_every_class_excepted_all_is_float32() -> None:
    for name in ("every kind", "every new kind", "inverted residuals", "nested skips"):
        images = images_for(ZOO[name], 6)
        found = accelerated_step(ZOO[name], images, EXCEPT_ALL)
        require_close(found, plain_step(ZOO[name], images, biases=True), 1e-5)


ONE_OF_EACH = Architecture(
    (1, 14, 14),
    (
        *(Convolution(8, 3, 1, 1), BatchNorm(), Convolution(8, 3, 1, 1), Convolution(8, 1)),
        *(DepthwiseConvolution(3, 1, 1), DepthwiseConvolution(5, 1, 2)),
        *(DepthwiseConvolution(3, 5, 1), DepthwiseConvolution(3, 1, 1), Linear(4)),
    ),
)
ORDER = [
    "stem", "dense", "pointwise", "depthwise", "depthwise_large", "depthwise_strided",
    "depthwise_small", "linear",
]  # fmt: skip


def test_the_network_of_every_class_has_every_class() -> None:
    assert sorted(ORDER) == sorted(CLASSES)


@pytest.mark.parametrize("excepted", ["", *ORDER, "stem,linear", "dense,depthwise_small"])
def test_every_layer_is_computed_in_the_precision_of_its_class(excepted: str) -> None:
    precision = f"bfloat16 except {excepted}" if excepted else "bfloat16"
    expected = [torch.float32 if n in excepted.split(",") else torch.bfloat16 for n in ORDER]
    assert types_of_convolutions(ONE_OF_EACH, precision) == expected


def test_float32_computes_everything_in_float32() -> None:
    assert set(types_of_convolutions(ONE_OF_EACH, "float32")) == {torch.float32}


def test_convolutions_that_fit_a_skip_have_classes_too() -> None:
    network = Architecture((8, 6, 6), (Convolution(12, 3, 2, 1, skip=1), ReLU(), Linear(3)))
    ran = kernels(network, "bfloat16 except pointwise").ran
    types = {shape[2:]: dtype for name, dtype, shape in ran if name == "convolution"}
    assert types == {(3, 3): torch.bfloat16, (1, 1): torch.float32}


@pytest.mark.parametrize("bias", [True, False])
@pytest.mark.parametrize(
    ("side", "layer", "convolutions"),
    [
        (8, Convolution(6, 1), 0),
        (1, Convolution(6, 1), 0),
        (9, Convolution(6, 1), 1),
        (8, Convolution(6, 1, 2), 1),
        (8, Convolution(6, 1, 1, 1), 1),
        (8, DepthwiseConvolution(1), 1),
    ],
    ids=["8x8", "1x1", "9x9", "strided", "padded", "depthwise"],
)
def test_pointwise_convolutions_of_few_pixels_are_matrix_products(
    side: int, layer: Layer, convolutions: int, bias: bool
) -> None:
    layers = (replace(layer, bias=bias), ReLU(), GlobalAveragePool())  # type: ignore[call-arg]
    network = Architecture((5, side, side), layers)
    names = [name for name, _, _ in kernels(network, "bfloat16").ran]
    assert names.count("convolution") == convolutions
    images = images_for(network, 6)
    found = accelerated_step(network, images, "bfloat16")
    require_close(found, plain_step(network, images, bfloat16=True), 0.01)


WINDOWS = [(2, 2, 0), (3, 1, 1), (3, 2, 1), (3, 2, 0), (4, 1, 2), (5, 3, 2), (1, 1, 0), (2, 3, 1)]


def pooled(images: Tensor, forward: Callable[[Tensor], Tensor]) -> tuple[Tensor, Tensor]:
    """The output, and the gradient of the images for a random one of the output."""
    leaf = images.clone().requires_grad_()
    output = forward(leaf)
    output.backward(torch.randn(output.shape, generator=generator(1)))
    assert leaf.grad is not None
    return output.detach(), leaf.grad


@pytest.mark.parametrize("window", WINDOWS, ids=str)
@pytest.mark.parametrize("values", ["ties", "all negative", "zeros", "normal"])
def test_pooling_before_relu_changes_neither_output_nor_gradient(
    window: tuple[int, int, int], values: str
) -> None:
    images = {
        "ties": torch.randint(-1, 3, (8, 3, 7, 8), generator=generator(0)).float(),
        "all negative": -torch.rand(8, 3, 7, 8, generator=generator(0)) - 0.1,
        "zeros": torch.zeros(8, 3, 7, 8),
        "normal": torch.randn(8, 3, 7, 8, generator=generator(0)),
    }[values]
    network = Architecture((3, 7, 8), (ReLU(), MaxPool(*window), Linear(5, bias=False)))
    model = fresh(network)
    weight = next(model.parameters())

    def reference(x: Tensor) -> Tensor:
        return F.linear(F.max_pool2d(F.relu(x), *window).flatten(1), weight)

    before = images.clone()
    output, gradient = pooled(images, Accelerated(model, "float32"))
    expected, expected_gradient = pooled(images, reference)
    assert torch.equal(output, expected)
    assert torch.equal(gradient, expected_gradient)
    assert torch.equal(images, before)


def test_pooling_runs_before_relu_but_not_where_a_skip_needs_what_lies_between() -> None:
    def order(*layers: Layer) -> list[str]:
        recorder = kernels(Architecture((2, 8, 8), (*layers, Linear(3))), "float32")
        return [
            name.rstrip("_").removesuffix("_with_indices")
            for name, _, _ in recorder.ran
            if name.startswith(("relu", "max_pool2d"))
        ]

    start = Convolution(2, 3, padding=1)
    assert order(start, ReLU(), MaxPool(2, 2)) == ["max_pool2d", "relu"]
    assert order(start, ReLU(skip=1), MaxPool(2, 2)) == ["relu", "max_pool2d"]
    assert order(start, ReLU(), MaxPool(3, 1, 1, skip=1)) == ["relu", "max_pool2d"]
    assert order(start, ReLU(), MaxPool(3, 1, 1, skip=2)) == ["max_pool2d", "relu"]
    assert order(start, ReLU(), BatchNorm(), MaxPool(2, 2)) == ["relu", "max_pool2d"]


@pytest.mark.parametrize(
    "layers",
    [
        (ReLU(), ReLU(), MaxPool(2, 2)),
        (ReLU(), MaxPool(2, 2), ReLU()),
        (ReLU(), MaxPool(2, 2), MaxPool(2, 2)),
        (ReLU(), MaxPool(2, 2), ReLU(), MaxPool(2, 2)),
        (BatchNorm(), ReLU(), MaxPool(3, 1, 1, skip=3), ReLU(), MaxPool(3, 2, 1)),
    ],
    ids=["two before", "between", "two after", "twice", "with a skip"],
)
def test_pooling_before_relu_in_a_row(layers: tuple[Layer, ...]) -> None:
    network = Architecture((3, 9, 9), (Convolution(3, 3, padding=1), *layers, Linear(4)))
    images = images_for(network, 6)
    expected = plain_step(network, images, biases=True)
    require_close(accelerated_step(network, images, "float32"), expected, 1e-6)


def test_every_kind_is_tried_before_relu() -> None:
    assert BEFORE_RELU.keys() == KIND_BY_NAME.keys()


def around_relu(before: Layer) -> dict[str, Architecture]:
    """The layer before ReLU, with skips that need every output around the two."""
    start = (Linear(4) if isinstance(before, Linear) else Convolution(4, 3, 1, 1), SiLU())
    flat = isinstance(before, Linear | GlobalAveragePool)
    after: Layer = Linear(4) if flat else Convolution(4, 3, 1, 1)
    networks: dict[str, tuple[Layer, ...]] = {
        "no skip": (*start, before, ReLU(), after),
        "of what ReLU gives": (*start, before, ReLU(), replace(after, skip=1)),
        "of what ReLU takes": (*start, before, ReLU(), replace(after, skip=2)),
        "around ReLU": (*start, before, ReLU(skip=1), after),
        "two ReLU": (*start, before, ReLU(), ReLU(skip=1), after),
    }
    if not isinstance(before, GlobalAveragePool):
        networks |= {
            "of what the layer takes": (*start, before, ReLU(), replace(after, skip=3)),
            "around the layer": (*start, replace(before, skip=1), ReLU(), after),
            "around the layer and ReLU": (*start, before, ReLU(skip=2), after),
        }
    return {
        name: Architecture((4, 6, 6), (*layers, Linear(3))) for name, layers in networks.items()
    }


@pytest.mark.parametrize("precision", ["float32", "bfloat16", "bfloat16 except dense,pointwise"])
@pytest.mark.parametrize("kind", BEFORE_RELU)
def test_relu_in_place_takes_nothing_from_layers_and_skips(kind: str, precision: str) -> None:
    networks = around_relu(BEFORE_RELU[kind])
    few = ("no skip", "of what ReLU takes", "of what the layer takes")
    for name, network in networks.items():
        if precision != "float32" and name not in few:
            continue
        images = images_for(network, 6)
        expected = plain_step(network, images, precision == "bfloat16", precision == "float32")
        tolerance = {"float32": 1e-5, "bfloat16": 0.02}.get(precision, 0.1)
        assert length(expected.gradients) > 0, name
        require_close(accelerated_step(network, images, precision), expected, tolerance)


def test_relu_is_in_place_where_that_is_free() -> None:
    layers = (Convolution(4, 3), ReLU(), Tanh(), ReLU(), BatchNorm(), ReLU(), Linear(3))
    recorder = kernels(Architecture((1, 8, 8), layers), "float32")
    names = [name for name, _, _ in recorder.ran if name.startswith("relu")]
    assert names == ["relu_", "relu", "relu_"]


def dropped(
    rate: float, seed: int = 0, dtype: torch.dtype = torch.float32, training: bool = True
) -> Tensor:
    """What a network of one Dropout makes of 20000 ones."""
    network = Architecture((5000, 1, 1), (Dropout(rate=rate), GlobalAveragePool()))
    model = build(network).train(training)
    ones = torch.ones(4, 5000, 1, 1, dtype=dtype)
    return Accelerated(model, "float32", generator(seed))(ones)


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16], ids=str)
@pytest.mark.parametrize("rate", [0.1, 0.5, 0.75, 0.99])
def test_dropout_drops_its_share_and_scales_the_rest(rate: float, dtype: torch.dtype) -> None:
    found = dropped(rate, dtype=dtype).float()
    share = float((found == 0).float().mean())
    assert share == pytest.approx(rate, abs=4 * (rate * (1 - rate) / found.numel()) ** 0.5)
    kept = found[found != 0]
    expected = torch.full_like(kept, 1 / (1 - rate))
    torch.testing.assert_close(
        kept, expected, rtol=1e-6 if dtype == torch.float32 else 5e-3, atol=0
    )


def test_dropout_is_decided_by_the_generator_alone() -> None:
    before = torch.get_rng_state()
    assert torch.equal(dropped(0.5, seed=1), dropped(0.5, seed=1))
    assert not torch.equal(dropped(0.5, seed=1), dropped(0.5, seed=2))
    assert torch.equal(torch.get_rng_state(), before)


def test_dropout_differs_from_step_to_step() -> None:
    network = Architecture((5000, 1, 1), (Dropout(), GlobalAveragePool()))
    forward = Accelerated(build(network), "float32", generator(0))
    images = torch.ones(4, 5000, 1, 1)
    assert not torch.equal(forward(images), forward(images))


def test_dropout_of_rate_0_keeps_all() -> None:
    assert torch.equal(dropped(0.0), torch.ones(4, 5000))


def test_dropout_is_off_in_evaluation_mode() -> None:
    assert torch.equal(dropped(0.5, training=False), torch.ones(4, 5000))


def test_gradients_pass_where_dropout_kept() -> None:
    network = Architecture((5000, 1, 1), (Dropout(rate=0.3), GlobalAveragePool()))
    images = torch.ones(4, 5000, 1, 1, requires_grad=True)
    output = Accelerated(build(network), "float32", generator(0))(images)
    output.sum().backward()
    assert images.grad is not None
    assert torch.equal(images.grad.flatten(1), output.detach())


@every_network
def test_the_module_stays_as_it_is(network: Architecture) -> None:
    model, other = fresh(network), fresh(network)
    described = repr(model)
    step(model, Accelerated(model, PRECISIONS[2], generator(0)), images_for(network, 6))
    assert repr(model) == described == repr(other)
    assert list(model.state_dict()) == list(other.state_dict())
    assert {p.dtype for p in model.parameters()} <= {torch.float32}
    other.load_state_dict(model.state_dict())
    images = images_for(network, 2, seed=1)
    assert torch.equal(model.eval()(images), other.eval()(images))
    begun = fresh(network)
    outputs = begun.eval()(images)
    Accelerated(begun, PRECISIONS[2])
    torch.testing.assert_close(begun.eval()(images), outputs)
    weights = begun.get_parameter
    assert all(torch.equal(value, weights(name)) for name, value in model.named_parameters())


def test_bfloat16_does_not_lose_a_weak_signal_under_a_bias_that_batch_norm_subtracts() -> None:
    """Were the bias added first, rounding would leave a constant, and running statistics of one."""
    layers = (Convolution(3, 1), BatchNorm(), GlobalAveragePool(), Linear(2))
    model = fresh(Architecture((1, 6, 6), layers))
    convolution = next(m for m in model.modules() if isinstance(m, torch.nn.Conv2d))
    norm = next(m for m in model.modules() if isinstance(m, torch.nn.BatchNorm2d))
    with torch.no_grad():
        convolution.weight.fill_(1e-3)
        convolution.bias.fill_(0.8)  # type: ignore[union-attr]
    images = torch.randn(64, 1, 6, 6, generator=generator(0))
    signal = 1e-6 * images.var()
    norm.momentum = 1.0
    step(model, Accelerated(model, "bfloat16"), images)
    assert norm.running_var is not None
    torch.testing.assert_close(norm.running_var, signal.expand(3), rtol=0.02, atol=0.0)


class UpperGradients(TorchDispatchMode):
    """Keeps whether the gradients that reach ReLU lie as images do in memory."""

    def __init__(self) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self.laid_out: list[bool] = []

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        if func.overloadpacket.__name__ == "threshold_backward":
            self.laid_out.append(args[0].is_contiguous(memory_format=torch.channels_last))
        return func(*args, **kwargs or {})


@pytest.mark.parametrize("head", [(), (GlobalAveragePool(),)], ids=["flat", "pooled"])
@pytest.mark.parametrize("precision", ["float32", "bfloat16"])
def test_gradients_lie_as_activations_do(head: tuple[Layer, ...], precision: str) -> None:
    body = (Convolution(4, 3, 1, 1), BatchNorm(), ReLU(), Convolution(6, 3, 1, 1), ReLU())
    network = Architecture((1, 8, 8), (*body, *head, Linear(3)))
    forward = Accelerated(fresh(network), precision)
    loss = forward(images_for(network, 6).contiguous(memory_format=torch.channels_last)).sum()
    recorder = UpperGradients()
    with recorder:
        loss.backward()
    assert recorder.laid_out == [True, True]


def test_few_channels_are_normalised_by_our_own_kernel_in_bfloat16_only() -> None:
    layers = (Convolution(4, 3, 1, 1), BatchNorm(), ReLU(), MaxPool(4, 4), Linear(3))
    network = Architecture((1, 28, 28), layers)
    for precision, ours in (("bfloat16", True), ("float32", False)):
        ran = [name for name, *_ in kernels(network, precision, 128).ran]
        assert ("native_batch_norm" not in ran) == ours
    images = images_for(network, 128)
    require_close(accelerated_step(network, images, "bfloat16"), plain_step(network, images), 0.03)
