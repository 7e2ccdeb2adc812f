"""Simplification: each rule where it applies and where it must not, and what holds of all."""

from dataclasses import dataclass, replace
from functools import cache

import pytest
import torch

from archpress.architectures.architecture import Architecture
from archpress.architectures.building import build
from archpress.architectures.editing import Draft, Item
from archpress.architectures.layers import (
    GELU,
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
    Projection,
    ReLU,
    ReLU6,
    Sigmoid,
    SiLU,
    Tanh,
)
from archpress.architectures.simplification import idle_layers, simplify
from archpress.architectures.spaces import BlocksSpace, Limits, PaperSpace, Space, neighbourhood
from archpress.errors import InvalidArchitectureError
from tests.random_weights import (
    assert_same,
    in_evaluation,
    outputs,
    random_model,
    random_state,
)
from tests.small_networks import ZOO, every_network, generator, images_for

Layers = tuple[Layer, ...]
CONV = Convolution(4, 3, 1, 1)
SAME = Convolution(2, 1)  # as many channels as the input of the hand-made networks
IDLE = Dropout(rate=0.0)
WEIGHTED = (Convolution, DepthwiseConvolution, Linear)


def net(*layers: Layer) -> Architecture:
    """A network on 2 channels of 8x8 with three classes."""
    return Architecture((2, 8, 8), layers)


def row(*layers: Layer) -> Architecture:
    """A network on 12 values, three classes."""
    return Architecture((12, 1, 1), layers)


def checked(network: Architecture, *folds: bool, seed: int = 0) -> list[Architecture]:
    """The simplified network per value of ``fold_batch_norm``, its outputs compared."""
    model, images = random_model(network, seed), images_for(network, 2, seed)
    state = {name: tensor.clone() for name, tensor in model.state_dict().items()}
    simplified = [simplify(network, model.state_dict(), fold_batch_norm=fold) for fold in folds]
    for name, tensor in model.state_dict().items():
        assert torch.equal(tensor, state[name]), f"it changed {name} of the weights it was given"
    expected = in_evaluation(model, images)
    for simple, weights in simplified:
        assert_same(expected, outputs(simple, weights, images))
    return [simple for simple, _ in simplified]


# ------------------------------------------------------------------------- rules that apply

FIRING: dict[str, tuple[Architecture, Architecture]] = {
    "relu after relu": (net(CONV, ReLU(), ReLU(), Linear(3)), net(CONV, ReLU(), Linear(3))),
    "relu6 after relu6": (net(CONV, ReLU6(), ReLU6(), Linear(3)), net(CONV, ReLU6(), Linear(3))),
    "relu after relu6": (net(CONV, ReLU6(), ReLU(), Linear(3)), net(CONV, ReLU6(), Linear(3))),
    "relu after sigmoid": (net(Sigmoid(), ReLU(), Linear(3)), net(Sigmoid(), Linear(3))),
    "relu after pools of relu": (
        net(ReLU(), MaxPool(3, 2, 1), ReLU(), AveragePool(3, 1, 1), ReLU(), Linear(3)),
        net(ReLU(), MaxPool(3, 2, 1), AveragePool(3, 1, 1), Linear(3)),
    ),
    "relu after the global pool of relu": (
        net(CONV, ReLU(), GlobalAveragePool(), ReLU(), Linear(3)),
        net(CONV, ReLU(), GlobalAveragePool(), Linear(3)),
    ),
    "relu after dropout of relu": (
        net(CONV, ReLU(), Dropout(), ReLU(), Linear(3)),
        net(CONV, ReLU(), Dropout(), Linear(3)),
    ),
    "relu after a sum of two relus": (
        net(SAME, ReLU(), SAME, ReLU(skip=2), ReLU(), Linear(3)),
        net(SAME, ReLU(), SAME, ReLU(skip=2), Linear(3)),
    ),
    "a run of many": (
        net(CONV, *[ReLU(), ReLU(), IDLE, MaxPool(1, 1)] * 3, Linear(3)),
        net(CONV, ReLU(), Linear(3)),
    ),
    "dropout of 0": (net(IDLE, CONV, IDLE, Linear(3)), net(CONV, Linear(3))),
    "max pool of one pixel": (net(MaxPool(1, 1), CONV, Linear(3)), net(CONV, Linear(3))),
    "average pool of one pixel": (net(CONV, AveragePool(1, 1), Linear(3)), net(CONV, Linear(3))),
    "average pool of one pixel, padding left out": (
        net(CONV, AveragePool(1, 1, count_padding=False), Linear(3)),
        net(CONV, Linear(3)),
    ),
    "global pool of one pixel before linear": (
        row(Convolution(4, 1), GlobalAveragePool(), Linear(3)),
        row(Convolution(4, 1), Linear(3)),
    ),
    "average pool of disjoint windows before the global one": (
        net(CONV, AveragePool(2, 2), GlobalAveragePool(), Linear(3)),
        net(CONV, GlobalAveragePool(), Linear(3)),
    ),
    "two average pools before the global one": (
        net(AveragePool(2, 2), AveragePool(4, 4, count_padding=False), GlobalAveragePool()),
        net(GlobalAveragePool()),
    ),
    "batch norm after batch norm": (
        net(CONV, BatchNorm(), BatchNorm(), Linear(3)),
        net(CONV, BatchNorm(), Linear(3)),
    ),
    "four norms, the epsilon of the first": (
        net(BatchNorm(eps=0.3), *[BatchNorm(eps=0.1)] * 3, Linear(3)),
        net(BatchNorm(eps=0.3), Linear(3)),
    ),
    "a norm without weights before one with them": (
        net(CONV, BatchNorm(affine=False), BatchNorm(), Linear(3)),
        net(CONV, BatchNorm(), Linear(3)),
    ),
    "a norm without weights after one with them": (
        row(Linear(5), BatchNorm(eps=0.2), BatchNorm(affine=False), Linear(3)),
        row(Linear(5), BatchNorm(eps=0.2), Linear(3)),
    ),
    "a second norm that carries and is a skip": (
        net(SAME, ReLU(), BatchNorm(), BatchNorm(skip=2), ReLU(skip=1), Linear(3)),
        net(SAME, ReLU(), BatchNorm(skip=1), ReLU(skip=1), Linear(3)),
    ),
    "a second norm with a projected skip": (
        net(CONV, BatchNorm(), BatchNorm(skip=3, projection=Projection(True)), Linear(3)),
        net(CONV, BatchNorm(skip=2, projection=Projection(True)), Linear(3)),
    ),
    "linear after linear": (row(Linear(8), Linear(3)), row(Linear(3))),
    "linear after linear of a map": (net(CONV, Linear(9), Linear(3)), net(CONV, Linear(3))),
    "three linears, one with a bias": (
        row(Linear(8, bias=False), Linear(9), Linear(3, bias=False)),
        row(Linear(3)),
    ),
    "linears without bias": (
        row(Linear(8, bias=False), Linear(3, bias=False)),
        row(Linear(3, bias=False)),
    ),
    "a second linear that carries a skip": (
        row(Linear(6), ReLU(), Linear(8), Linear(6, skip=2), Tanh(), Linear(3)),
        row(Linear(6), ReLU(), Linear(6, skip=1), Tanh(), Linear(3)),
    ),
    "linears with an idle layer between": (row(Linear(8), IDLE, Linear(3)), row(Linear(3))),
    "an idle source of a skip": (
        net(SAME, ReLU(), ReLU(), SAME, BatchNorm(skip=2), Linear(3)),
        net(SAME, ReLU(), SAME, BatchNorm(skip=2), Linear(3)),
    ),
    "an idle layer under a skip": (
        net(SAME, IDLE, SAME, MaxPool(1, 1), Tanh(skip=4), Linear(3)),
        net(SAME, SAME, Tanh(skip=2), Linear(3)),
    ),
    "an idle layer after the input, under its skip": (
        net(IDLE, SAME, Tanh(skip=2), Linear(3)),
        net(SAME, Tanh(skip=2), Linear(3)),
    ),
}  # fmt: skip


@pytest.mark.parametrize(("network", "simple"), FIRING.values(), ids=FIRING)
def test_a_rule_applies_and_keeps_the_function(network: Architecture, simple: Architecture) -> None:
    assert simplify(network) == simple
    assert checked(network, False)[0] == simple
    assert idle_layers(network) == len(network.layers) - len(simple.layers) > 0


# --------------------------------------------------------------------- rules that must not

REFUSED: dict[str, Architecture] = {
    **{
        f"{layer.kind} twice": net(CONV, layer, layer, Linear(3))
        for layer in (Sigmoid(), Tanh(), SiLU(), Hardswish(), GELU(), LeakyReLU())
    },
    "relu of the input": net(ReLU(), CONV, Linear(3)),
    "relu after a convolution": net(CONV, ReLU(), Linear(3)),
    "relu after batch norm": net(CONV, ReLU(), BatchNorm(), ReLU(), Linear(3)),
    "relu after a linear": row(Linear(4), ReLU(), Linear(3)),
    "relu after tanh": net(CONV, Tanh(), ReLU(), Linear(3)),
    "relu after a pool of tanh": net(CONV, Tanh(), MaxPool(2, 2), ReLU(), Linear(3)),
    "relu6 after relu": net(CONV, ReLU(), ReLU6(), Linear(3)),
    "relu6 after a pool that sums nothing": net(ReLU(), AveragePool(2, 2), ReLU6(), Linear(3)),
    "leaky relu of another slope": net(
        LeakyReLU(negative_slope=0.2), LeakyReLU(negative_slope=0.3), Linear(3)
    ),
    "relu with a skip of its own": net(SAME, ReLU(), ReLU(skip=1), Linear(3)),
    "relu after a relu to which negatives are added": net(SAME, ReLU(skip=1), ReLU(), Linear(3)),
    "relu after a relu with a projected skip": net(
        ReLU(), CONV, ReLU(skip=2), ReLU(), Linear(3)
    ),
    "relu6 after a sum": net(ReLU6(), SAME, ReLU6(skip=2), ReLU6(), Linear(3)),
    "relu after batch norm and a skip from relu": net(
        ReLU(), SAME, BatchNorm(skip=2), ReLU(), Linear(3)
    ),
    "dropout of a half": net(CONV, Dropout(), Linear(3)),
    "dropout of little": net(CONV, Dropout(rate=0.01), Linear(3)),
    "dropout of 0 that carries a skip": net(SAME, Dropout(rate=0.0, skip=2), Linear(3)),
    "pool of one pixel that carries a skip": net(SAME, MaxPool(1, 1, skip=2), Linear(3)),
    "pool of one pixel that carries its own input": net(SAME, MaxPool(1, 1, skip=1), Linear(3)),
    "max pool of one pixel with a stride": net(CONV, MaxPool(1, 2), Linear(3)),
    "average pool of one pixel with a stride": net(CONV, AveragePool(1, 2), Linear(3)),
    "pool of stride 1": net(CONV, MaxPool(3, 1, 1), Linear(3)),
    "overlapping windows before the global pool": net(CONV, AveragePool(2, 1), GlobalAveragePool()),
    "windows with gaps before the global pool": net(CONV, AveragePool(2, 3), GlobalAveragePool()),
    "windows that do not divide the map": net(CONV, AveragePool(3, 3), GlobalAveragePool()),
    "windows that divide one side only": Architecture(
        (2, 8, 9), (CONV, AveragePool(2, 2), GlobalAveragePool())
    ),
    "padded windows before the global pool": net(
        CONV, AveragePool(2, 2, 1), GlobalAveragePool(), Linear(3)
    ),
    "max pool before the global pool": net(CONV, MaxPool(2, 2), GlobalAveragePool()),
    "average pool with a skip before the global pool": net(
        CONV, AveragePool(2, 2, skip=1), GlobalAveragePool(), Linear(3)
    ),
    "average pool two before the global pool": net(
        CONV, AveragePool(2, 2), ReLU(), GlobalAveragePool()
    ),
    "average pool before linear": net(CONV, AveragePool(2, 2), Linear(3)),
    "global pool of more pixels": net(CONV, GlobalAveragePool(), Linear(3)),
    "global pool of one column": Architecture((2, 3, 1), (GlobalAveragePool(), Linear(3))),
    "global pool of one pixel as the last layer": row(Convolution(3, 1), GlobalAveragePool()),
    "global pool of one pixel not before linear": row(GlobalAveragePool(), Tanh(), Linear(3)),
    "global pool of one pixel that is a source": row(
        Convolution(3, 1), GlobalAveragePool(), Linear(3, skip=1)
    ),
    "norms, the first of which is a source": net(
        CONV, BatchNorm(), BatchNorm(), Tanh(skip=2), Linear(3)
    ),
    "norms, the first of which is a source of the second": net(
        CONV, BatchNorm(), BatchNorm(skip=1), Linear(3)
    ),
    "norms, the first of which carries a skip": net(
        SAME, BatchNorm(skip=2), BatchNorm(), Linear(3)
    ),
    "norms without weights": net(
        CONV, BatchNorm(affine=False), BatchNorm(affine=False), Linear(3)
    ),
    "norm after a convolution": net(CONV, BatchNorm(), Linear(3)),
    "norm after a linear": row(Linear(4), BatchNorm(), Linear(3)),
    "a bottleneck of linears": row(Linear(1), Linear(9), ReLU(), Linear(3)),
    "linears that save nothing": row(Linear(1), Linear(1, bias=False, skip=1), Linear(3)),
    "linears, the first of which is a source": row(Linear(3), Linear(3, skip=1)),
    "linears, the first of which carries a skip": row(
        Linear(5), Tanh(), Linear(5, skip=2), Linear(3)
    ),
    "linears with dropout between": row(Linear(8), Dropout(), Linear(3)),
    "linears with an activation between": row(Linear(8), Tanh(), Linear(3)),
    "a useful network": ZOO["projected skip"],
}  # fmt: skip


@pytest.mark.parametrize("network", REFUSED.values(), ids=REFUSED)
def test_a_rule_does_not_apply(network: Architecture) -> None:
    assert simplify(network) == network
    assert checked(network, False)[0] == network
    assert idle_layers(network) == 0


@pytest.mark.parametrize(
    ("name", "wrong"),
    [
        ("relu after batch norm", net(CONV, ReLU(), BatchNorm(), Linear(3))),
        ("relu6 after relu", net(CONV, ReLU(), Linear(3))),
        ("sigmoid twice", net(CONV, Sigmoid(), Linear(3))),
        ("leaky_relu twice", net(CONV, LeakyReLU(), Linear(3))),
        ("relu with a skip of its own", net(SAME, ReLU(), Linear(3))),
        ("relu after a relu to which negatives are added", net(SAME, ReLU(skip=1), Linear(3))),
        ("windows that do not divide the map", net(CONV, GlobalAveragePool())),
        ("overlapping windows before the global pool", net(CONV, GlobalAveragePool())),
    ],
)
def test_without_its_layer_a_network_would_be_another(name: str, wrong: Architecture) -> None:
    """The refusals are not mere caution: taking the layer out does change the outputs."""
    network = REFUSED[name]
    state, images = random_state(network), 9 * images_for(network)
    kept = [tensor for name, tensor in state.items() if "num_batches" not in name]
    names = [name for name in random_state(wrong) if "num_batches" not in name]
    moved = {name: torch.tensor(0) for name in random_state(wrong) if "num_batches" in name}
    moved |= dict(zip(names, kept, strict=True))
    difference = outputs(network, state, images) - outputs(wrong, moved, images)
    assert difference.abs().max() > 1e-3


@pytest.mark.parametrize(("inner", "merged"), [(2, False), (3, True)])
def test_linears_merge_exactly_where_that_saves(inner: int, merged: bool) -> None:
    """6 x 2 + 2 x 3 = 18 values as two layers, 6 x 3 = 18 as one: nothing saved by merging."""
    network = Architecture((6, 1, 1), (Linear(inner, bias=False), Linear(3, bias=False)))
    assert (len(simplify(network).layers) == 1) is merged


# ------------------------------------------------------------------------ folding BatchNorm

FOLDED: dict[str, tuple[Architecture, Architecture]] = {
    "convolution": (net(CONV, BatchNorm(), Linear(3)), net(CONV, Linear(3))),
    "convolution without bias": (
        net(Convolution(4, 3, bias=False), BatchNorm(eps=0.1), ReLU(), Linear(3)),
        net(Convolution(4, 3), ReLU(), Linear(3)),
    ),
    "depthwise convolution": (
        net(DepthwiseConvolution(3, bias=False), BatchNorm(), Linear(3)),
        net(DepthwiseConvolution(3), Linear(3)),
    ),
    "linear": (
        net(Linear(5, bias=False), BatchNorm(), Tanh(), Linear(3)),
        net(Linear(5), Tanh(), Linear(3)),
    ),
    "several norms": (net(CONV, *[BatchNorm()] * 3, Linear(3)), net(CONV, Linear(3))),
    "a norm without weights": (net(CONV, BatchNorm(affine=False), Linear(3)), net(CONV, Linear(3))),
    "a norm that carries a skip": (
        net(SAME, BatchNorm(skip=2), ReLU(), SAME, BatchNorm(skip=2), Linear(3)),
        net(replace(SAME, skip=1), ReLU(), replace(SAME, skip=1), Linear(3)),
    ),
    "a norm that is a source": (
        net(CONV, BatchNorm(), ReLU(), CONV, Tanh(skip=3), Linear(3)),
        net(CONV, ReLU(), CONV, Tanh(skip=3), Linear(3)),
    ),
    "a projected skip": (
        net(Convolution(4, 3, 2, 1), BatchNorm(skip=2), Linear(3)),
        net(Convolution(4, 3, 2, 1, skip=1, projection=Projection(True, False)), Linear(3)),
    ),
    "a projected skip with a bias": (
        net(CONV, Tanh(skip=2, projection=Projection(bias=True, eps=0.2)), Linear(3)),
        net(CONV, Tanh(skip=2, projection=Projection(True, False, eps=0.2)), Linear(3)),
    ),
    "linears that meet": (
        row(Linear(8), BatchNorm(), Linear(3)),
        row(Linear(3)),
    ),
    "not into a convolution that is a source": (
        net(CONV, BatchNorm(), Tanh(skip=2), Linear(3)),
        net(CONV, BatchNorm(), Tanh(skip=2), Linear(3)),
    ),
    "not into a convolution that carries a skip": (
        net(replace(SAME, skip=1), BatchNorm(), Linear(3)),
        net(replace(SAME, skip=1), BatchNorm(), Linear(3)),
    ),
    "not over a pool": (
        net(CONV, MaxPool(2, 2), BatchNorm(), Linear(3)),
        net(CONV, MaxPool(2, 2), BatchNorm(), Linear(3)),
    ),
    "not into the layer after it": (net(BatchNorm(), Linear(3)), net(BatchNorm(), Linear(3))),
}  # fmt: skip


@pytest.mark.parametrize(("network", "simple"), FOLDED.values(), ids=FOLDED)
def test_batch_norm_folds_only_when_asked_to(network: Architecture, simple: Architecture) -> None:
    plain, folded = checked(network, False, True)
    assert folded == simple
    norms = [layer for layer in network.layers if isinstance(layer, BatchNorm)]
    merged = [layer for layer in plain.layers if isinstance(layer, BatchNorm)]
    assert bool(merged) == bool(norms)


def test_folding_a_norm_without_weights_adds_its_bias_and_nothing_else_adds() -> None:
    bare = net(Convolution(4, 3, bias=False), BatchNorm(affine=False), Linear(3))
    plain, folded = checked(bare, False, True)
    assert plain == bare
    assert folded == net(Convolution(4, 3), Linear(3))
    assert folded.cost.parameters == bare.cost.parameters + 4
    for network, simple in FOLDED.values():
        norms = [layer for layer in network.layers if isinstance(layer, BatchNorm)]
        if all(norm.affine for norm in norms):
            assert simple.cost.parameters <= network.cost.parameters


def test_a_projection_that_is_never_used_does_not_make_another_network() -> None:
    unused = net(replace(CONV, projection=Projection(bias=True)), Linear(3))
    assert simplify(unused).digest == simplify(net(CONV, Linear(3))).digest


def test_an_unused_projection_does_not_keep_an_idle_layer() -> None:
    network = net(CONV, ReLU6(), ReLU6(projection=Projection(bias=True)), Linear(3))
    assert simplify(network) == net(CONV, ReLU6(), Linear(3))


# ------------------------------------------------------------------------ random networks

COUNT = 2_000
TIGHT = Limits(max_parameters=10_000, max_macs=60_000)
ORIGINS = (
    "every kind", "not square", "linear first", "every new kind", "every attribute",
    "skip with bias", "inverted residuals", "identity skip", "projected skip",
    "skip from the input", "nested skips", "crossing skips", "long skip", "skip of flat features",
)  # fmt: skip


@dataclass(frozen=True)
class NarrowPaperSpace(PaperSpace):
    """The paper's draws with 2 to 9 channels, so that they are fast and seldom rejected."""

    def draw_rows(self, generator: torch.Generator) -> list[list[int]]:
        rows = super().draw_rows(generator)
        return [[t, k, 2 + o % 8, s, p] for t, k, o, s, p in rows]


@cache
def sampled(name: str) -> list[Architecture]:
    """``COUNT`` networks of a space."""
    spaces: dict[str, list[Space]] = {
        "paper": [
            NarrowPaperSpace(shape, 3, TIGHT) for shape in ((1, 6, 6), (2, 5, 9))
        ],
        "blocks": [
            BlocksSpace(shape, 3, TIGHT, max_blocks=3, min_width=2, max_width=16)
            for shape in ((2, 8, 8), (1, 7, 4))
        ],
        "neighbourhood": [neighbourhood(ZOO[origin]) for origin in ORIGINS],
    }  # fmt: skip
    chosen = spaces[name]
    share = -(-COUNT // len(chosen))
    samples = [space.sample(share, generator(i)) for i, space in enumerate(chosen)]
    return [network for sample in samples for network in sample.architectures]


def with_inserted(network: Architecture, stream: torch.Generator) -> Architecture:
    """Put runs of layers that may do nothing at random places; some bring or give a skip."""

    def below(end: int) -> int:
        return int(torch.randint(end, (), generator=stream))

    draft = Draft(network)
    for _ in range(1 + below(2)):
        place = below(len(draft.items))
        for _ in range(1 + below(3)):
            shape = draft.architecture().shapes[place]
            flat = len(shape) == 1
            choices: list[Layer] = [ReLU(), ReLU6(), IDLE, BatchNorm(), Sigmoid(), Dropout()]
            choices += [BatchNorm(affine=False), Linear(1 + below(9)) if flat else MaxPool(1, 1)]
            choices += [Linear(shape[0]) if flat else AveragePool(1, 1), ReLU()]
            before = draft.items[place - 1] if place else draft.input
            made = Item(choices[below(len(choices))])
            keeps = not isinstance(made.layer, Linear) or made.layer.out_features == shape[0]
            if keeps and below(5) == 0:
                made.source = before
            moved = [item for item in draft.items if item.source is before and below(2)]
            if keeps:
                for item in moved:
                    item.source = made
            draft.items.insert(place, made)
            try:
                draft.architecture()
            except InvalidArchitectureError:  # a linear of another width, under a skip
                draft.items.remove(made)
    return draft.architecture()


def with_idle(network: Architecture, stream: torch.Generator) -> Architecture:
    """Put layers that certainly do nothing at random places."""
    draft = Draft(network)
    for _ in range(3):
        place = int(torch.randint(len(draft.items), (), generator=stream))
        before = draft.items[place - 1] if place else draft.input
        choices: list[Layer] = [IDLE]
        if len(draft.architecture().shapes[place]) == 3:
            choices += [MaxPool(1, 1), AveragePool(1, 1)]
        idempotent = isinstance(before.layer, Activation) and before.layer.idempotent
        if place and idempotent and before.source is None:
            choices = [before.layer]
        choice = choices[int(torch.randint(len(choices), (), generator=stream))]
        made = Item(replace(choice, skip=0))
        draft.items.insert(place, made)
        for item in draft.items[place + 1 :]:
            if item.source is before and torch.rand((), generator=stream) < 0.5:
                item.source = made
    return draft.architecture()


def foldable_norms(network: Architecture) -> list[int]:
    """Places of BatchNorm layers after a layer with weights that nothing else reads."""
    layers = network.layers
    read = {index - layer.skip for index, layer in enumerate(layers) if layer.skip}
    return [
        index
        for index, layer in enumerate(layers[1:], 1)
        if isinstance(layer, BatchNorm)
        and isinstance(layers[index - 1], WEIGHTED)
        and not layers[index - 1].skip
        and index - 1 not in read
    ]


every_space = pytest.mark.parametrize("space", ["paper", "blocks", "neighbourhood"])


@every_space
def test_random_networks_keep_their_function(space: str) -> None:
    stream, simpler, with_skips, folded = generator(1), 0, 0, 0
    for number, drawn in enumerate(sampled(space)):
        network = with_inserted(drawn, stream)
        folds = (False, True) if number % 8 == 0 else (False,)
        simple, *fewer = checked(network, *folds, seed=number)
        if number % 2:
            assert simple == simplify(network)
        else:
            assert simplify(simple) == simple
        assert simple.cost.parameters <= network.cost.parameters
        assert (simple.input_shape, simple.classes) == (network.input_shape, network.classes)
        simpler += len(simple.layers) < len(network.layers)
        with_skips += any(layer.skip for layer in simple.layers)
        for other in fewer:
            assert not foldable_norms(other)
            shortcuts = [other.layers[place] for place, fit in other.shortcuts.items() if fit]
            assert not any(layer.projection.batch_norm for layer in shortcuts)
            folded += other != simple
    assert number >= COUNT - 1
    assert simpler > COUNT / 2
    assert with_skips > COUNT / 10
    assert folded > COUNT / 8 / 10


@every_space
def test_networks_that_differ_in_idle_layers_have_one_canonical_form(space: str) -> None:
    stream, differing = generator(2), 0
    canonical: dict[str, Architecture] = {}
    for drawn in sampled(space)[::4]:
        first, second = with_idle(drawn, stream), with_idle(drawn, stream)
        differing += first != second
        simple = simplify(drawn)
        assert simplify(first).digest == simplify(second).digest == simple.digest
        assert len(first.layers) >= len(simple.layers) + 3
        assert canonical.setdefault(simple.digest, simple) == simple
    assert differing > 0.9 * COUNT / 4
    assert len(canonical) > COUNT / 16


@every_network
def test_the_zoo_keeps_its_function(network: Architecture) -> None:
    for simple in checked(network, False, True):
        assert (simple.input_shape, simple.classes) == (network.input_shape, network.classes)


# ----------------------------------------------------------- the paper's extreme network

# Appendix 10, "Output": features (0) to (40) on 3 channels of 32x32, then the classifier.
EXTREME = Architecture(
    (3, 32, 32),
    (
        *(ReLU(), BatchNorm(), ReLU(), ReLU(), IDLE, MaxPool(1, 1), ReLU()),
        *(Convolution(15, 3, 2, 1), ReLU(), ReLU(), ReLU(), ReLU()),
        *(Convolution(135, 2, 3, 1), ReLU(), ReLU()),
        *(*[BatchNorm()] * 4, ReLU(), ReLU(), BatchNorm(), ReLU(), *[BatchNorm()] * 6, ReLU()),
        *(BatchNorm(), BatchNorm(), ReLU(), BatchNorm(), BatchNorm(), ReLU()),
        *(IDLE, ReLU(), ReLU(), IDLE, MaxPool(1, 1)),
        Linear(10),
    ),
)
DID_SOMETHING = (
    *(ReLU(), BatchNorm(), ReLU()),
    *(Convolution(15, 3, 2, 1), ReLU()),
    *(Convolution(135, 2, 3, 1), ReLU()),
    *(BatchNorm(), ReLU()) * 5,
)


def test_the_extreme_network_of_appendix_10_is_built_as_printed() -> None:
    kinds = "".join({"dropout": "d", "linear": "l"}.get(x.kind, x.kind[0]) for x in EXTREME.layers)
    assert kinds == "rbrrdmrcrrrrcrrbbbbrrbrbbbbbbrbbrbbrdrrdml"
    assert len(EXTREME.layers) == 41 + 1
    assert EXTREME.shapes[7:9] == ((3, 32, 32), (15, 16, 16))
    assert EXTREME.shapes[-2:] == ((135, 6, 6), (10,))  # 4,860 values, as the paper's Linear says
    norms = 2 * 3 + 15 * 2 * 135
    convolutions = 15 * (3 * 3 * 3 + 1) + 135 * (15 * 2 * 2 + 1)
    assert EXTREME.cost.parameters == norms + convolutions + 10 * (4860 + 1) == 61_321


def test_24_of_the_41_feature_layers_of_the_extreme_network_did_nothing() -> None:
    """Idle: (3)-(6), (9)-(11), (14), (20), (36)-(40); ten norms of (16)-(34) merge into others."""
    simple, folded = checked(EXTREME, False, True)
    assert simple == Architecture((3, 32, 32), (*DID_SOMETHING, Linear(10)))
    assert idle_layers(EXTREME) == 4 + 3 + 1 + 1 + 5 + 10 == 24
    assert len(DID_SOMETHING) == 41 - 24
    assert simple.cost.parameters == 61_321 - 10 * 2 * 135 == 58_621
    assert folded == simple  # no norm follows a convolution directly


@pytest.mark.parametrize("wrong", ["none", "of others", "too many", "another layer's shape"])
def test_weights_of_another_network_are_refused(wrong: str) -> None:
    network = Architecture((1, 4, 4), (Convolution(3, 3), BatchNorm(), ReLU(), Linear(2)))
    weights = build(network, 0).state_dict()
    other = Architecture((1, 4, 4), (Convolution(4, 3), BatchNorm(), ReLU(), Linear(2)))
    given = {
        "none": {},
        "of others": {f"features.{name}": value for name, value in weights.items()},
        "too many": {**weights, "more": torch.zeros(1)},
        "another layer's shape": build(other, 0).state_dict(),
    }[wrong]
    with pytest.raises(InvalidArchitectureError, match=r"no state dict of build\(architecture\)"):
        simplify(network, given)
