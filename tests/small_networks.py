"""Small architectures that many tests share: every layer kind, skips, odd shapes, both spaces."""

from dataclasses import replace

import pytest
import torch
from hypothesis import strategies as st
from torch import Tensor, nn

from archpress.architectures.architecture import Architecture
from archpress.architectures.building import Network
from archpress.architectures.layers import (
    GELU,
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
    Projection,
    ReLU,
    ReLU6,
    Sigmoid,
    SiLU,
    SqueezeExcite,
    Tanh,
)
from archpress.architectures.references import digits_cnn
from archpress.architectures.spaces import BlocksSpace, Limits, PaperSpace, Space
from archpress.errors import InvalidArchitectureError

SMALL = Limits(max_parameters=1_000_000, max_macs=20_000_000)
SHAPES = ((1, 8, 8), (1, 28, 28), (3, 32, 32), (2, 7, 12), (1, 5, 3))


def inverted_residual(
    channels: int, out: int, stride: int = 1, kernel: int = 3, skip: int = 0
) -> tuple[Layer, ...]:
    """MobileNetV2's block of eight layers, expanding three times."""
    return (
        *(Convolution(3 * channels, 1, bias=False), BatchNorm(), ReLU6()),
        *(DepthwiseConvolution(kernel, stride, kernel // 2, bias=False), BatchNorm(), ReLU6()),
        *(Convolution(out, 1, bias=False), BatchNorm(skip=skip)),
    )


PLAIN = {
    "linear only": Architecture((1, 2, 3), (Linear(2),)),
    "every kind": Architecture(
        (3, 12, 12),
        (
            *(Convolution(8, 3, padding=1), BatchNorm(), ReLU(), MaxPool(2, 2)),
            *(Convolution(4, 3, 2, 1), Sigmoid(), AveragePool(3, 1, 1), Dropout()),
            *(Linear(16), BatchNorm(), ReLU(), Linear(10)),
        ),
    ),
    "not square": Architecture((2, 7, 12), (Convolution(6, 3, 2, 1), AveragePool(2, 2), Linear(3))),
    "one pixel": Architecture((4, 1, 1), (Convolution(5, 1), ReLU(), Linear(4))),
    "much padding": Architecture(
        (1, 3, 3), (Convolution(2, 5, 3, 10), MaxPool(4, 1, 2), Linear(2))
    ),
    "linear first": Architecture(
        (1, 4, 4), (Linear(8), BatchNorm(), Sigmoid(), Dropout(), Linear(2))
    ),
    "norm first": Architecture((3, 6, 6), (BatchNorm(), Dropout(), Convolution(4, 3), Linear(5))),
    "digits-cnn": digits_cnn(),
    "every new kind": Architecture(
        (2, 9, 9),
        (
            *(Convolution(6, 3), SiLU(), DepthwiseConvolution(3, 2, 1), Hardswish(), ReLU6()),
            *(Convolution(5, 1), GELU(), LeakyReLU(), Tanh(), GlobalAveragePool(), Linear(4)),
        ),
    ),
    "global pool head": Architecture(
        (3, 7, 5), (Convolution(6, 3), GlobalAveragePool(), Linear(4))
    ),
    "global pool last": Architecture(
        (3, 7, 5), (Convolution(6, 3, 2), ReLU(), GlobalAveragePool())
    ),
    "global pool only": Architecture((3, 4, 4), (GlobalAveragePool(),)),
    "depthwise first": Architecture((2, 6, 6), (DepthwiseConvolution(3), Tanh(), Linear(3))),
    "squeeze-and-excite": Architecture(
        (3, 7, 5),
        (
            *(SqueezeExcite(2), Convolution(6, 3), BatchNorm(), SqueezeExcite(9), ReLU()),
            *(GlobalAveragePool(), Linear(4)),
        ),
    ),
}
ATTRIBUTES = {
    "every attribute": Architecture(
        (2, 8, 8),
        (
            *(Convolution(4, 3, padding=1, bias=False), BatchNorm(eps=1e-3), LeakyReLU()),
            *(DepthwiseConvolution(3, bias=False), BatchNorm(affine=False)),
            *(AveragePool(3, 2, 1, count_padding=False), GELU(approximate="tanh")),
            *(LeakyReLU(negative_slope=0.2), Dropout(rate=0.25)),
            *(Linear(6, bias=False), BatchNorm(eps=0.01, momentum=0.3, affine=False), Linear(3)),
        ),
    ),
    "skip with bias": Architecture(
        (2, 6, 6),
        (
            *(Convolution(4, 3, 2, 1), ReLU(skip=2, projection=Projection(bias=True))),
            *(Convolution(3, 1, skip=1, projection=Projection(True, False)), Linear(2)),
        ),
    ),
    "skip without norm": Architecture(
        (2, 5, 7),
        (
            Convolution(4, 3, 1, 1, bias=False, skip=1, projection=Projection(batch_norm=False)),
            *(BatchNorm(eps=0.1, skip=2, projection=Projection(eps=0.2)), GlobalAveragePool()),
        ),
    ),
    "squeeze-and-excite of every sort": Architecture(
        (2, 6, 7),
        (
            *(SqueezeExcite(3, activation="SiLU"), Convolution(5, 3), SqueezeExcite(2, bias=False)),
            *(ReLU(), SqueezeExcite(1, gate="Hardsigmoid"), DepthwiseConvolution(1)),
            SqueezeExcite(4, activation="SiLU", gate="Hardsigmoid", bias=False, skip=1),
            Linear(3),
        ),
    ),
    "inverted residuals": Architecture(
        (3, 8, 8),
        (
            *(Convolution(4, 3, 2, 1, bias=False), BatchNorm(), ReLU6()),
            *inverted_residual(4, 4, skip=8),
            *inverted_residual(4, 6, stride=2, kernel=5),
            *inverted_residual(6, 6, kernel=5, skip=8),
            *(Convolution(9, 1), Hardswish(), GlobalAveragePool(), Linear(5)),
        ),
    ),
}
SKIPS = {
    "identity skip": Architecture(
        (1, 8, 8),
        (
            *(Convolution(4, 3, padding=1), ReLU(), Convolution(4, 3, padding=1)),
            *(BatchNorm(skip=2), ReLU(), Linear(3)),
        ),
    ),
    "skip of one": Architecture((2, 4, 4), (Tanh(skip=1), ReLU(skip=1), Linear(3))),
    "projected skip": Architecture(
        (3, 9, 9),
        (
            *(Convolution(4, 3, padding=1), ReLU(), Convolution(6, 3, 2, 1), BatchNorm(), ReLU()),
            *(Convolution(6, 3, padding=1), BatchNorm(skip=5), ReLU(), Linear(3)),
        ),
    ),
    "skip from the input": Architecture(
        (2, 6, 8), (Convolution(3, 3, 2, 1), ReLU(), BatchNorm(skip=3), Linear(2))
    ),
    "input added twice": Architecture(
        (2, 6, 6),
        (
            *(Convolution(2, 3, padding=1, skip=1), ReLU(), Convolution(2, 1, skip=3)),
            *(MaxPool(2, 2), Linear(2)),
        ),
    ),
    "nested skips": Architecture(
        (1, 8, 8),
        (
            *(Convolution(4, 3, padding=1), ReLU(), Convolution(4, 1), ReLU(skip=2)),
            *(Convolution(4, 3, 2, 1), BatchNorm(skip=4), ReLU(skip=7), GlobalAveragePool()),
            Linear(3),
        ),
    ),
    "crossing skips": Architecture(
        (3, 5, 5),
        (
            *(Convolution(5, 1), ReLU(), Convolution(5, 3, 1, 1), Sigmoid(skip=3)),
            *(Convolution(5, 1), ReLU(skip=4), Tanh(skip=2), Linear(2)),
        ),
    ),
    "long skip": Architecture(
        (2, 4, 4), (Convolution(3, 1), *[ReLU()] * 12, BatchNorm(skip=13), Linear(2))
    ),
    "skip of flat features": Architecture(
        (1, 3, 3),
        (
            *(Linear(6), BatchNorm(), ReLU(), Linear(6), Dropout(skip=3), Linear(4)),
            Linear(4, skip=1),
        ),
    ),
    "skips of squeeze-and-excite": Architecture(
        (2, 6, 6),
        (
            *(SqueezeExcite(3, skip=1), Convolution(4, 3, 2, 1), SqueezeExcite(2, skip=2)),
            *(Convolution(4, 1), SqueezeExcite(1), ReLU(skip=1), Linear(3)),
        ),
    ),
    "skip to the logits": Architecture(
        (3, 4, 4), (GlobalAveragePool(), Linear(5), ReLU(), Linear(3, skip=3))
    ),
    "skip to a global pool": Architecture(
        (3, 1, 1), (Convolution(4, 1), GlobalAveragePool(), ReLU(skip=1), Linear(2))
    ),
}
ZOO = PLAIN | ATTRIBUTES | SKIPS

every_network = pytest.mark.parametrize("network", ZOO.values(), ids=ZOO)


def without_attributes(network: Architecture) -> Architecture:
    """The network that the vectors say: every attribute at its default."""
    return Architecture(
        network.input_shape,
        tuple(
            type(layer).from_row(layer.row(shape))
            for layer, shape in zip(network.layers, network.shapes, strict=False)
        ),
    )


def generator(seed: int) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def images_for(network: Architecture, count: int = 3, seed: int = 0) -> torch.Tensor:
    return torch.randn(count, *network.input_shape, generator=generator(seed))


def outputs_one_by_one(network: Architecture, model: Network, images: Tensor) -> list[Tensor]:
    """The input and every layer's output, of the model's modules taken one by one.

    An independent way through the network: the skips are added as the architecture says them.
    """
    blocks = [part for name, part in model.named_children() if name.startswith("block")]
    fittings = [part for name, part in model.named_children() if name.startswith("shortcut")]
    modules = iter([module for part in blocks for module in part.children()])
    outputs = [images]
    for index, layer in enumerate(network.layers):
        flattens = isinstance(layer, Linear) and outputs[-1].ndim == 4
        count = 2 if flattens or isinstance(layer, GlobalAveragePool) else 1
        output = nn.Sequential(*(next(modules) for _ in range(count)))(outputs[-1])
        if layer.skip:
            skipped = outputs[index + 1 - layer.skip]
            fits = skipped.shape == output.shape
            output = output + (skipped if fits else fittings.pop(0)(skipped))
        outputs.append(output)
    assert not list(modules) and not fittings, "modules that no layer uses"
    return outputs


def sampled_networks(limits: Limits = SMALL) -> st.SearchStrategy[Architecture]:
    """Networks drawn from both search spaces, at several input shapes and class counts."""

    def sampled(
        kind: type[Space], shape: tuple[int, int, int], classes: int, seed: int
    ) -> Architecture:
        return kind(shape, classes, limits).sample(1, generator(seed)).architectures[0]

    kinds = st.sampled_from([PaperSpace, BlocksSpace])
    return st.builds(
        sampled, kinds, st.sampled_from(SHAPES), st.integers(1, 20), st.integers(0, 2**32)
    )


def _drawn_layers() -> dict[type[Layer], st.SearchStrategy[Layer]]:
    """Layers without a skip, by kind, of any fields and attributes that a kind takes."""
    width, kernel, stride, padding = (
        st.integers(*ends) for ends in ((1, 6), (1, 5), (1, 3), (0, 3))
    )
    flag, eps = st.booleans(), st.sampled_from([1e-5, 1e-3, 0.5])
    pool = st.tuples(kernel, stride, padding).filter(lambda ksp: ksp[2] <= ksp[0] // 2)
    rate, slope = st.sampled_from([0.0, 0.1, 0.5, 0.99]), st.sampled_from([0.01, 0.0, 0.3, 2.0])
    return {
        Convolution: st.builds(Convolution, width, kernel, stride, padding, bias=flag),
        MaxPool: pool.map(lambda ksp: MaxPool(*ksp)),
        BatchNorm: st.builds(BatchNorm, eps=eps, affine=flag),
        ReLU: st.just(ReLU()),
        Sigmoid: st.just(Sigmoid()),
        Dropout: st.builds(Dropout, rate=rate),
        AveragePool: st.builds(
            lambda ksp, counted: AveragePool(*ksp, count_padding=counted), pool, flag
        ),
        Linear: st.builds(Linear, width, bias=flag),
        DepthwiseConvolution: st.builds(DepthwiseConvolution, kernel, stride, padding, bias=flag),
        GlobalAveragePool: st.just(GlobalAveragePool()),
        SiLU: st.just(SiLU()),
        Hardswish: st.just(Hardswish()),
        ReLU6: st.just(ReLU6()),
        GELU: st.builds(GELU, approximate=st.sampled_from(["none", "tanh"])),
        LeakyReLU: st.builds(LeakyReLU, negative_slope=slope),
        Tanh: st.just(Tanh()),
        SqueezeExcite: st.builds(
            SqueezeExcite,
            width,
            activation=st.sampled_from(["ReLU", "SiLU"]),
            gate=st.sampled_from(["Sigmoid", "Hardsigmoid"]),
            bias=flag,
        ),
    }


DRAWN_LAYERS = _drawn_layers()


def drawn_projections() -> st.SearchStrategy[Projection]:
    return st.builds(Projection, st.booleans(), st.booleans(), st.sampled_from([1e-5, 0.1]))


@st.composite
def networks_with_skips(draw: st.DrawFn) -> Architecture:
    """Random networks of every kind; half of the layers that a skip can reach have one."""
    side = st.integers(1, 10)
    shape = (draw(st.integers(1, 4)), draw(side), draw(side))
    layers: list[Layer] = []
    ending = (Linear(2),)
    for _ in range(draw(st.integers(0, 10))):
        # Half of the layers keep all sides, so that identity skips are frequent too.
        keeping = [Convolution(draw(st.integers(3, 4)), 3, 1, 1), BatchNorm(), ReLU(), Linear(3)]
        layer: Layer = draw(st.one_of(st.sampled_from(keeping), *DRAWN_LAYERS.values()))
        try:
            Architecture(shape, (*layers, layer, *ending))
        except InvalidArchitectureError:
            continue
        layers.append(_perhaps_with_skip(draw, shape, (*layers, layer)))
    spatial = len(Architecture(shape, (*layers, *ending)).shapes[-2]) == 3
    last: Layer = draw(st.sampled_from([Linear(4), Linear(3, bias=False)]))
    if spatial and draw(st.booleans()):
        last = GlobalAveragePool()
    layers.append(_perhaps_with_skip(draw, shape, (*layers, last)))
    return Architecture(shape, tuple(layers))


def _perhaps_with_skip(
    draw: st.DrawFn, shape: tuple[int, int, int], layers: tuple[Layer, ...]
) -> Layer:
    """The last layer, with one of the skips that fit it where one does."""
    fitting = []
    for skip in range(1, len(layers) + 1):
        layer = replace(layers[-1], skip=skip)
        try:
            Architecture(shape, (*layers[:-1], layer, Linear(1)))
        except InvalidArchitectureError:
            continue
        fitting.append(layer)
    if not fitting or draw(st.booleans()):
        return layers[-1]
    return replace(draw(st.sampled_from(fitting)), projection=draw(drawn_projections()))
