"""Cost: against hand formulas, against the real network, and against PyTorch's own counter."""

import math
from collections.abc import Mapping, Sequence
from typing import NamedTuple

import pytest
import torch
from hypothesis import given, settings
from torch import Tensor
from torch.utils.flop_counter import FlopCounterMode

from archpress.architectures.architecture import Architecture
from archpress.architectures.building import build
from archpress.architectures.cost import FIELD_LIMIT, Cost, fold_cost
from archpress.architectures.layers import (
    AveragePool,
    BatchNorm,
    Convolution,
    DepthwiseConvolution,
    GlobalAveragePool,
    Layer,
    Linear,
    MaxPool,
    Projection,
    ReLU,
    Shape,
    SqueezeExcite,
    Tanh,
)
from archpress.architectures.references import conv7, conv10
from archpress.architectures.spaces import Limits
from archpress.errors import InvalidArchitectureError
from tests.small_networks import (
    ZOO,
    every_network,
    inverted_residual,
    networks_with_skips,
    outputs_one_by_one,
    sampled_networks,
)


class Step(NamedTuple):
    """One operation: the tensors that it reads and the one that it makes, by name."""

    reads: tuple[str, ...]
    makes: str | None = None


def steps_of(network: Architecture) -> tuple[list[Step], dict[str, int]]:
    """What a run of the network does in order, and the values of every tensor that it makes.

    The sum with a skip takes the place of the layer's output; a projection is one operation.
    """
    names, steps = ["input"], []
    values = {"input": math.prod(network.input_shape)}
    for index, layer in enumerate(network.layers):
        output = f"output {index}"
        steps.append(Step((names[-1],), output))
        values[output] = math.prod(network.shapes[index + 1])
        if layer.skip:
            added = names[len(names) - layer.skip]
            if network.shapes[index + 1 - layer.skip] != network.shapes[index + 1]:
                fitted = f"fitted for {index}"
                steps.append(Step((added,), fitted))
                values[fitted] = values[output]
                added = fitted
            steps.append(Step((output, added)))
        names.append(output)
    return steps, values


def most_values_alive(network: Architecture) -> int:
    """A tensor lives from the operation that makes it to the last one that reads it."""
    steps, values = steps_of(network)
    most = 0
    for now, step in enumerate(steps):
        made = {"input", *(before.makes for before in steps[: now + 1] if before.makes)}
        needed = {name for later in steps[now:] for name in later.reads}
        alive = (made & needed) | ({step.makes} if step.makes else set())
        most = max(most, sum(values[name] for name in alive))
    return most


def pixels_seen(network: Architecture) -> int:
    """Of the last map's one position, layer by layer back to the image.

    A skip needs no more: what it brings was seen on the way that it skips.
    """
    seen = 1
    maps = [index for index, shape in enumerate(network.shapes) if len(shape) == 3]
    for layer in reversed(network.layers[: maps[-1]]):
        if isinstance(layer, Convolution | DepthwiseConvolution | MaxPool | AveragePool):
            seen = (seen - 1) * layer.stride + layer.kernel
    return min(seen, FIELD_LIMIT)


def counted_cost(network: Architecture) -> Cost:
    """The cost that shows when the network runs, on the meta device: sizes without numbers."""
    with torch.device("meta"):
        model = build(network).eval()
        image = torch.empty(1, *network.input_shape)
    with FlopCounterMode(display=False) as counter:
        model(image)
    parameters = sum(parameter.numel() for parameter in model.parameters())
    macs = counter.get_total_flops() // 2
    return Cost(parameters, macs, 4 * most_values_alive(network), pixels_seen(network))


def cost_of(layers: Sequence[Layer], shape: Shape) -> Cost:
    """The fold over layers without skips, their shapes found here."""
    shapes = [shape]
    for layer in layers:
        shapes.append(layer.output_shape(shapes[-1]))
    shortcuts: Mapping[int, Sequence[Layer]] = {}
    return fold_cost(layers, shapes, shortcuts)


def test_a_small_network_costs_what_the_hand_says() -> None:
    layers: tuple[Layer, ...] = (Convolution(4, 3, padding=1), ReLU(), MaxPool(2, 2), Linear(10))
    parameters = (3 * 3 * 2 * 4 + 4) + (4 * 5 * 3 * 10 + 10)
    macs = (10 * 6) * (3 * 3 * 2 * 4) + 4 * 5 * 3 * 10
    # Values alive at once: 2x10x6 -> 4x10x6, the same -> the same, -> 4x5x3, -> 10.
    peak = max(120 + 240, 240 + 240, 240 + 60, 60 + 10)
    assert cost_of(layers, (2, 10, 6)) == Cost(parameters, macs, peak * 4, 4)
    assert Architecture((2, 10, 6), layers).cost == Cost(686, 4920, 1920, 4)


def test_a_small_network_with_skips_costs_what_the_hand_says() -> None:
    network = Architecture(
        (2, 6, 6),
        (
            *(Convolution(4, 3, 1, 1), ReLU(), Convolution(4, 3, 1, 1), ReLU(skip=2)),
            *(Convolution(8, 3, 2, 1, bias=False), BatchNorm(skip=4), GlobalAveragePool()),
            Linear(3, bias=False),
        ),
    )
    first, second, third = 9 * 2 * 4, 9 * 4 * 4, 9 * 4 * 8
    projection = 4 * 8
    parameters = (first + 4) + (second + 4) + third + 16 + (projection + 16) + 8 * 3
    macs = 36 * (first + second) + 9 * (third + projection) + 8 * 3
    # At the second convolution and its ReLU the first ReLU's output waits: three of 4x6x6.
    # It waits on for the BatchNorm, beside the 4x6x6 that the third convolution reads.
    peak = max(72 + 144, 144 + 144 + 144, 144 + 144 + 72, 144 + 72 + 72)
    assert network.cost == Cost(parameters, macs, 4 * peak, 3 + 2 + 2)


@pytest.mark.parametrize(
    ("layers", "values"),
    [
        ((Linear(3),), 48 + 3),
        ((MaxPool(4, 4), Linear(100)), 3 + 100),
        ((Convolution(64, 1), MaxPool(4, 4), Linear(2)), 64 * 16 + 64),
        ((Convolution(2, 1), MaxPool(4, 4), Linear(2)), 48 + 2 * 16),
    ],
)
def test_the_peak_is_the_largest_sum_of_one_layers_input_and_output(
    layers: tuple[Layer, ...], values: int
) -> None:
    assert cost_of(layers, (3, 4, 4)).activation_bytes == 4 * values


@pytest.mark.parametrize(
    ("layers", "values"),
    [
        ((Tanh(skip=1), Linear(2)), 48 + 48),
        ((Tanh(), Tanh(skip=1), Linear(2)), 48 + 48),
        ((Tanh(), Tanh(skip=2), Linear(2)), 48 + 48 + 48),
        ((Tanh(), Tanh(), Tanh(skip=2), Tanh(skip=4), Linear(2)), 48 * 4),
        # The projection is made when the layer's input is no longer needed.
        ((Convolution(5, 1), Tanh(skip=2), Linear(2)), 48 + 80 + 80),
        ((Convolution(5, 1, skip=1), Linear(2)), 48 + 80 + 80),
        ((MaxPool(4, 4), Convolution(40, 1, skip=2), Linear(2)), 48 + 40 + 40),
        # After the last skip that awaits it an output is gone.
        ((Tanh(), Tanh(skip=2), Tanh(), Linear(2)), 48 * 3),
        ((MaxPool(4, 4), Convolution(3, 1, skip=1), Convolution(60, 1), Linear(2)), 60 + 3),
    ],
)
def test_the_peak_holds_every_output_that_a_skip_awaits(
    layers: tuple[Layer, ...], values: int
) -> None:
    assert Architecture((3, 4, 4), layers).cost.activation_bytes == 4 * values


def test_the_biases_count_as_parameters_and_not_as_macs() -> None:
    assert cost_of([Linear(10)], (1, 1, 1)) == Cost(20, 10, 44, 1)


def test_attributes_change_the_parameters_and_nothing_else() -> None:
    def cost(bias: bool, affine: bool, projection: Projection) -> Cost:
        layers = (
            Convolution(5, 3, 2, 1, bias=bias, skip=1, projection=projection),
            *(BatchNorm(affine=affine), DepthwiseConvolution(3, bias=bias)),
            *(SqueezeExcite(3, bias=bias), Linear(4, bias=bias)),
        )
        return Architecture((2, 8, 8), layers).cost

    most = cost(True, True, Projection(bias=True))
    assert most.parameters == (90 + 5) + (10 + 5 + 10) + 10 + (45 + 5) + (30 + 3 + 5) + 84
    least = cost(False, False, Projection(batch_norm=False))
    assert least == Cost(
        90 + 10 + 45 + 30 + 80, most.macs, most.activation_bytes, most.receptive_field
    )


def test_squeeze_excite_costs_its_two_linear_layers_whatever_the_sides() -> None:
    for sides in ((1, 1), (6, 9)):
        layers = (SqueezeExcite(5), GlobalAveragePool())
        cost = cost_of(layers, (4, *sides))
        assert (cost.parameters, cost.macs) == ((20 + 5) + (20 + 4), 20 + 20)
        assert cost.receptive_field == 1
        assert cost.activation_bytes == 4 * 2 * 4 * sides[0] * sides[1]


def test_layers_that_do_not_fit_have_no_cost() -> None:
    with pytest.raises(InvalidArchitectureError, match="kernel 5 is larger"):
        fold_cost([Convolution(4, 5), Linear(10)], [(1, 4, 4), (4, 0, 0), (10,)], {})


@every_network
def test_the_stated_cost_is_what_the_real_network_shows(network: Architecture) -> None:
    assert network.cost == counted_cost(network)


@settings(max_examples=40, deadline=None)
@given(sampled_networks(Limits()))
def test_the_stated_cost_of_sampled_networks_is_what_they_show(network: Architecture) -> None:
    assert network.cost == counted_cost(network)


@settings(max_examples=200, deadline=None)
@given(networks_with_skips())
def test_the_stated_cost_of_networks_with_skips_is_what_they_show(network: Architecture) -> None:
    assert network.cost == counted_cost(network)


@pytest.mark.parametrize("network", [conv7(), conv10(), conv10(classes=100)])
def test_the_stated_cost_of_the_references_is_what_they_show(network: Architecture) -> None:
    assert network.cost == counted_cost(network)


def test_the_macs_of_conv7_are_those_by_hand() -> None:
    by_side = {
        28: 9 * (1 * 32 + 32 * 32),
        14: 9 * (32 * 64 + 64 * 64),
        7: 9 * (64 * 128 + 128 * 128 + 128 * 256),
    }
    macs = sum(side**2 * weights for side, weights in by_side.items())
    assert conv7().cost.macs == macs + 7 * 7 * 256 * 10
    assert conv7().cost.activation_bytes == 4 * 2 * math.prod((32, 28, 28))


# ------------------------------------------------------------------ receptive field

FIELDS: dict[str, tuple[tuple[Layer, ...], int]] = {
    "1x1": ((Convolution(2, 1), ReLU()), 1),
    "two of 3": ((Convolution(2, 3), ReLU(), Convolution(2, 3, 1, 1)), 5),
    "strides": ((Convolution(2, 3, 2, 1), AveragePool(2, 2), Convolution(2, 3)), 3 + 2 + 8),
    "stride beyond kernel": ((Convolution(2, 2, 3), Convolution(2, 2)), 5),
    "even kernels": ((Convolution(2, 4, 2, 1), DepthwiseConvolution(2)), 4 + 2),
    "residual": (
        (Convolution(2, 3, 1, 1), ReLU(), Convolution(2, 3, 1, 1), BatchNorm(skip=2)),
        5,
    ),
    "projected": (
        (
            *(Convolution(2, 3, 2, 1), BatchNorm(), Convolution(3, 3, 2, 1), BatchNorm(skip=4)),
            *(ReLU(), Convolution(3, 5, 1, 2, skip=1)),
        ),
        3 + 4 + 16,
    ),
    "inverted residuals": (
        (*inverted_residual(2, 3, stride=2), *inverted_residual(3, 3, kernel=5, skip=8)),
        3 + 8,
    ),
    "a skip that sees less": ((Convolution(2, 7, 1, 3, skip=1), AveragePool(3, 1)), 7 + 2),
    "pools after": ((AveragePool(3, 2, 1), AveragePool(3, 2, 1), AveragePool(3, 2, 1)), 15),
}
every_field = pytest.mark.parametrize(("layers", "field"), FIELDS.values(), ids=FIELDS)


def image_side_that_matters(network: Architecture) -> tuple[int, int]:
    """Rows and columns between the first and last pixel that one value of the last map needs.

    Weights are 1 and pixels small, so that no two ways from a pixel to the value cancel, and no
    activation is flat.
    """
    model = build(network).double().eval()
    for name, parameter in model.named_parameters():
        torch.nn.init.constant_(parameter, name.endswith("weight"))
    image = torch.full((1, *network.input_shape), 1e-9, dtype=torch.float64, requires_grad=True)
    maps: list[Tensor] = [x for x in outputs_one_by_one(network, model, image) if x.ndim == 4]
    _, _, height, width = maps[-1].shape
    maps[-1][0, 0, height // 2, width // 2].backward()
    assert image.grad is not None
    _, _, rows, columns = image.grad.nonzero(as_tuple=True)
    return int(rows.max() - rows.min()) + 1, int(columns.max() - columns.min()) + 1


@every_field
@pytest.mark.parametrize(
    "head", [(Linear(2),), (GlobalAveragePool(), Linear(3), ReLU(), Linear(2))]
)
def test_the_receptive_field_is_the_pixels_that_matter(
    layers: tuple[Layer, ...], field: int, head: tuple[Layer, ...]
) -> None:
    network = Architecture((2, 72, 88), (*layers, *head))
    assert network.cost.receptive_field == field
    assert image_side_that_matters(network) == (field, field)


@pytest.mark.parametrize("layer", [Linear(4), GlobalAveragePool()])
def test_without_a_window_one_pixel_is_seen(layer: Layer) -> None:
    assert Architecture((3, 9, 9), (layer,)).cost.receptive_field == 1


def test_the_means_of_squeeze_excite_are_no_window() -> None:
    first, second = Convolution(2, 3, 2, 1), Convolution(2, 3, 1, 1)
    network = Architecture((2, 20, 30), (first, SqueezeExcite(2), second, Linear(2)))
    assert network.cost.receptive_field == 3 + 4


def test_the_receptive_field_is_not_cut_at_the_border_of_the_image() -> None:
    layers = (Convolution(2, 5, 1, 2), Convolution(2, 5, 1, 2), Linear(2))
    assert Architecture((1, 3, 3), layers).cost.receptive_field == 9


@pytest.mark.parametrize("last", [1, 2])
def test_the_receptive_field_is_counted_up_to_a_million(last: int) -> None:
    tenfold = Convolution(1, 10, 10, 10)
    network = Architecture((1, 8, 8), (*[tenfold] * 6, Linear(2)))
    assert network.cost.receptive_field == FIELD_LIMIT == 1_000_000
    beyond = Architecture((1, 8, 8), (*[tenfold] * 40, MaxPool(last, 1), Linear(2)))
    assert beyond.cost.receptive_field == FIELD_LIMIT


def test_the_zoo_has_skips_of_every_sort() -> None:
    """Else the tests over it would be silent about what they do not meet."""
    skips = [
        (network.layers[index].skip, bool(made), len(network.shapes[index + 1]))
        for network in ZOO.values()
        for index, made in network.shortcuts.items()
    ]
    assert {(fitted, sides) for _, fitted, sides in skips} == {(False, 3), (True, 3), (False, 1)}
    assert {1, 2, 3, 4, 8, 13} <= {skip for skip, _, _ in skips}
