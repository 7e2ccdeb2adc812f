"""The space of blocks: which are drawn, how large, and that each is what it says."""

import math
import time
from collections import Counter
from collections.abc import Callable
from dataclasses import replace

import pytest
import torch

from archpress.architectures.architecture import Architecture
from archpress.architectures.blocks_space import Block
from archpress.architectures.building import build
from archpress.architectures.layers import (
    AveragePool,
    BatchNorm,
    Convolution,
    DepthwiseConvolution,
    Dropout,
    GlobalAveragePool,
    Layer,
    Linear,
    MaxPool,
    ReLU,
)
from archpress.architectures.spaces import BLOCKS, MAX_LAYERS, BlocksSpace, Limits
from archpress.errors import SettingsError
from tests.small_networks import generator, images_for

Shape = tuple[int, int, int]
STRATA = Limits(min_parameters=5_000, max_parameters=1_000_000)
SYMBOLS = {
    "convolution": "c", "depthwise_convolution": "d", "batch_norm": "b", "relu": "r",
    "max_pool": "p", "average_pool": "p", "dropout": "o", "global_average_pool": "g", "linear": "l",
}  # fmt: skip


def blocks_of(network: Architecture) -> list[str]:
    """The kinds of a network's blocks, read from its layers; the rest must be a head."""
    kinds = "".join(SYMBOLS[layer.kind] for layer in network.layers)
    skips = [layer.skip for layer in network.layers]
    found, place = [], 0
    while kinds[place] in "cd":
        if kinds[place:].startswith("cbrdbrcb") and kinds[place + 8] != "r":
            found.append("inverted")
            place += 8
        elif kinds[place:].startswith("dbrcbr"):
            found.append("separable")
            place += 6
        elif kinds[place:].startswith("cbrcbr") and skips[place + 4] == 5:
            found.append("residual")
            place += 6
        else:
            assert kinds[place:].startswith("cbr"), kinds[place:]
            found.append("plain")
            place += 3 + (kinds[place + 3] == "p")
    assert kinds[place:] in {"l", "gl", "ol", "gol"}, kinds
    return found


def convolutions(network: Architecture) -> list[Convolution]:
    return [layer for layer in network.layers if isinstance(layer, Convolution)]


@pytest.fixture(scope="module")
def plain() -> list[Architecture]:
    """Networks of plain blocks without the global pool: the first form of this space."""
    space = BlocksSpace((3, 32, 32), 10, STRATA, blocks=("plain",), global_pool=False)
    return space.sample(1_000, generator(5)).architectures


@pytest.fixture(scope="module")
def mixed() -> list[Architecture]:
    return BlocksSpace((3, 32, 32), 10, STRATA).sample(1_000, generator(5)).architectures


# ------------------------------------------------------------------------------------ sizes


@pytest.mark.parametrize("shape", [(1, 28, 28), (1, 8, 8), (3, 32, 32), (3, 7, 12), (1, 1, 1)])
def test_sizes_are_roughly_log_uniform_within_the_limits(shape: Shape) -> None:
    result = BlocksSpace(shape, 10, STRATA).sample(1_000, generator(4))
    span = math.log(STRATA.max_parameters / STRATA.min_parameters)
    strata = Counter(
        min(int(5 * math.log(network.cost.parameters / STRATA.min_parameters) / span), 4)
        for network in result.architectures
    )
    assert sorted(strata) == [0, 1, 2, 3, 4]
    assert all(0.13 < count / 1_000 < 0.29 for count in strata.values()), strata
    assert result.drawn == 1_000 + result.rejected.total() < 1_200
    assert not result.repaired


def test_every_octave_of_parameters_is_about_equally_frequent() -> None:
    limits = Limits(min_parameters=2**13, max_parameters=2**19)
    networks = BlocksSpace((3, 16, 16), 10, limits).sample(2_000, generator(9)).architectures
    octaves = Counter(int(math.log2(network.cost.parameters)) for network in networks)
    assert set(octaves) - {19} == set(range(13, 19))
    assert all(0.6 / 6 < octaves[octave] / 2_000 < 1.4 / 6 for octave in range(13, 19)), octaves


def test_a_wide_block_stays_wider_than_a_narrow_one_whatever_the_size() -> None:
    """One common factor scales the widths: the ranks that one seed draws do not change."""
    small, large = (
        BlocksSpace((1, 28, 28), 10, Limits(size, size + size // 3), blocks=("plain",))
        for size in (40_000, 400_000)
    )
    for seed in range(20):
        one, other = (
            convolutions(space.draw(generator(seed), Counter())) for space in (small, large)
        )
        assert len(one) == len(other)
        pairs = [(a.out_channels, b.out_channels) for a, b in zip(one, other, strict=True)]
        assert all(a <= b for a, b in pairs)
        assert all((p[0] - q[0]) * (p[1] - q[1]) >= 0 for p in pairs for q in pairs)


@pytest.mark.parametrize("kind", BLOCKS)
@pytest.mark.parametrize("kernel", [1, 3, 5])
@pytest.mark.parametrize("stride", [1, 2])
@pytest.mark.parametrize(("channels", "out"), [(3, 7), (6, 6), (5, 2)])
@pytest.mark.parametrize("side", [8, 9])
def test_a_block_has_the_parameters_that_it_states(
    kind: str, kernel: int, stride: int, channels: int, out: int, side: int
) -> None:
    for pool in (None, MaxPool, AveragePool):
        block = Block(kind, kernel, stride, pool, out, 3)
        layers = block.layers(channels, out)
        network = Architecture((channels, side, side + 4), (*layers, GlobalAveragePool()))
        assert block.parameters(channels, out) == network.cost.parameters
        assert network.classes == out
        pooled = isinstance(layers[-1], MaxPool | AveragePool)
        assert pooled is (kind == "plain" and pool is not None)


# ----------------------------------------------------------------------------------- blocks


def test_a_block_is_written_as_its_kind_says() -> None:
    def written(kind: str, channels: int, stride: int = 1) -> list[Layer]:
        return Block(kind, 3, stride, None, 8, 2).layers(channels, 8)

    norm, relu, narrow = BatchNorm(), ReLU(), Convolution(8, 1)
    for stride in (1, 2):
        first = Convolution(8, 3, stride, 1)
        depthwise = DepthwiseConvolution(3, stride, 1)
        assert written("plain", 4, stride) == [first, norm, relu]
        assert written("residual", 4, stride) == [
            first, norm, relu, Convolution(8, 3, 1, 1), BatchNorm(skip=5), relu,
        ]  # fmt: skip
        assert written("separable", 4, stride) == [depthwise, norm, relu, narrow, norm, relu]
        for channels in (4, 8):
            kept = channels == 8 and stride == 1
            assert written("inverted", channels, stride) == [
                *(Convolution(2 * channels, 1), norm, relu, depthwise, norm, relu),
                *(narrow, BatchNorm(skip=8 if kept else 0)),
            ]


def test_every_kind_of_block_appears(mixed: list[Architecture]) -> None:
    first = Counter(blocks_of(network)[0] for network in mixed)
    assert first == {"plain": 1_000}, "the first block is plain wherever plain ones are allowed"
    later = [blocks_of(network)[1:] for network in mixed]
    shares = Counter(kind for kinds in later for kind in kinds)
    assert set(shares) == set(BLOCKS)
    assert all(0.15 < count / shares.total() < 0.35 for count in shares.values()), shares
    one_kind = [kinds for kinds in later if len(kinds) >= 4]
    alike = sum(len(set(kinds)) == 1 for kinds in one_kind) / len(one_kind)
    assert alike == pytest.approx(0.5, abs=0.07)


@pytest.mark.parametrize(
    "allowed", [*((kind,) for kind in BLOCKS), ("residual", "inverted"), ("plain", "separable")]
)
def test_only_the_allowed_kinds_appear(allowed: tuple[str, ...]) -> None:
    space = BlocksSpace((3, 9, 9), 10, blocks=allowed)
    networks = space.sample(100, generator(1)).architectures
    assert {kind for network in networks for kind in blocks_of(network)} == set(allowed)


@pytest.mark.parametrize(
    ("blocks", "message"),
    [
        (("residul",), "unknown kind of block 'residul'; did you mean 'residual'?"),
        (("plain", "Inverted"), "unknown kind of block 'Inverted'; did you mean 'inverted'?"),
        (("x",), "unknown kind of block 'x'; valid: inverted, plain, residual, separable"),
        ((), f"no kind of block is allowed, expected some of {BLOCKS}"),
    ],
)
def test_unknown_kinds_are_refused_with_the_nearest(blocks: tuple[str, ...], message: str) -> None:
    with pytest.raises(SettingsError) as caught:
        BlocksSpace((1, 8, 8), 10, blocks=blocks)
    assert str(caught.value) == message


def test_skips_are_present_and_some_need_no_projection(mixed: list[Architecture]) -> None:
    skips = Counter(
        (network.layers[place].skip, bool(fitting))
        for network in mixed
        for place, fitting in network.shortcuts.items()
    )
    assert set(skips) == {(5, False), (5, True), (8, False)}
    assert all(count > 100 for count in skips.values()), skips
    assert sum(bool(network.shortcuts) for network in mixed) > 400


def test_no_network_has_more_layers_than_the_canvas(mixed: list[Architecture]) -> None:
    assert max(len(network.layers) for network in mixed) <= MAX_LAYERS
    for kind in BLOCKS:
        deep = BlocksSpace((1, 16, 16), 10, blocks=(kind,), max_blocks=40)
        lengths = [len(x.layers) for x in deep.sample(100, generator(0)).architectures]
        assert MAX_LAYERS - 16 <= max(lengths) <= MAX_LAYERS


def test_nearly_all_networks_are_distinct(mixed: list[Architecture]) -> None:
    assert len({network.digest for network in mixed}) > 950


def test_one_generator_gives_one_sample() -> None:
    space = BlocksSpace((2, 9, 5), 4)
    assert space.sample(30, generator(3)) == space.sample(30, generator(3))
    assert space.sample(30, generator(3)) != space.sample(30, generator(4))


@pytest.mark.parametrize(
    "shape", [(1, 8, 8), (3, 32, 32), (2, 7, 12), (1, 1, 1), (5, 1, 13), (1, 3, 2), (2, 17, 4)]
)
def test_sampled_blocks_build_and_run(shape: Shape) -> None:
    limits = Limits(max_parameters=50_000, max_macs=5_000_000)
    for network in BlocksSpace(shape, 7, limits).sample(30, generator(8)).architectures:
        model = build(network, seed=0)
        assert model(images_for(network, count=2)).shape == (2, 7)
        norms = sum(isinstance(layer, BatchNorm) for layer in network.layers)
        fitted = sum(bool(fitting) for fitting in network.shortcuts.values())
        kinds = (torch.nn.BatchNorm1d, torch.nn.BatchNorm2d)
        assert sum(isinstance(module, kinds) for module in model.modules()) == norms + fitted
        assert sum(p.numel() for p in model.parameters()) == network.cost.parameters


# ---------------------------------------------------------------------------- plain blocks


def test_depths_are_roughly_uniform_from_1_to_10(plain: list[Architecture]) -> None:
    depths = Counter(len(convolutions(network)) for network in plain)
    assert sorted(depths) == list(range(1, 11))
    assert all(0.06 < count / len(plain) < 0.14 for count in depths.values()), depths


def test_widths_use_the_whole_range_and_no_more(plain: list[Architecture]) -> None:
    widths = [layer.out_channels for network in plain for layer in convolutions(network)]
    assert (min(widths), max(widths)) == (4, 512)
    assert len(set(widths)) > 150
    narrow = BlocksSpace(
        (3, 32, 32), 10, min_width=8, max_width=16, max_blocks=3, blocks=("plain",)
    )
    for network in narrow.sample(100, generator(0)).architectures:
        assert all(8 <= layer.out_channels <= 16 for layer in convolutions(network))
        assert len(convolutions(network)) <= 3


def test_a_plain_network_is_blocks_then_a_head(plain: list[Architecture]) -> None:
    for network in plain:
        assert set(blocks_of(network)) == {"plain"}
        assert all(
            c.kernel in (1, 3, 5) and c.padding == c.kernel // 2 for c in convolutions(network)
        )
        assert all(c.stride in (1, 2) for c in convolutions(network))


def test_every_choice_of_a_plain_block_occurs(plain: list[Architecture]) -> None:
    chosen = [layer for network in plain for layer in convolutions(network)]
    kernels, strides = Counter(c.kernel for c in chosen), Counter(c.stride for c in chosen)
    assert kernels[3] / len(chosen) == pytest.approx(0.6, abs=0.05)
    assert kernels[1] / len(chosen) == pytest.approx(0.2, abs=0.05)
    assert 0.03 < strides[2] / len(chosen) < 0.15
    pools = Counter(
        layer for network in plain for layer in network.layers if layer.kind.endswith("pool")
    )
    assert 2 * pools[AveragePool(2, 2)] < pools[MaxPool(2, 2)]
    dropped = sum(Dropout() in network.layers for network in plain)
    assert dropped / len(plain) == pytest.approx(0.2, abs=0.04)


@pytest.mark.parametrize("shape", [(1, 9, 9), (1, 9, 6), (1, 64, 64)])
def test_half_of_the_networks_end_in_global_pooling(shape: Shape) -> None:
    space = BlocksSpace(shape, 10, STRATA, max_blocks=2)
    networks = space.sample(1_000, generator(6)).architectures
    share = sum(GlobalAveragePool() in network.layers for network in networks) / len(networks)
    assert share == pytest.approx(0.5, abs=0.05)
    never = replace(space, global_pool=False).sample(200, generator(7)).architectures
    assert not any(GlobalAveragePool() in network.layers for network in never)


def test_one_pixel_is_not_pooled_globally() -> None:
    networks = BlocksSpace((3, 1, 1), 10, STRATA).sample(100, generator(6)).architectures
    assert not any(GlobalAveragePool() in network.layers for network in networks)


@pytest.mark.parametrize("kind", [AveragePool, MaxPool])
def test_small_sides_are_not_halved(kind: type) -> None:
    networks = BlocksSpace((1, 3, 9), 10, STRATA).sample(100, generator(0)).architectures
    windows = (Convolution, DepthwiseConvolution)
    layers = [layer for network in networks for layer in network.layers]
    assert all(layer.window[1] == 1 for layer in layers if isinstance(layer, windows))
    assert not any(isinstance(layer, kind) for layer in layers)


def test_a_side_is_halved_exactly_where_it_still_has_four_pixels() -> None:
    """From 7 a stride leaves 4, which is halved again, and a pool leaves 3, which is not."""
    halved = {
        shape[1]
        for network in BlocksSpace((1, 7, 7), 10, STRATA).sample(200, generator(0)).architectures
        for layer, shape in zip(network.layers, network.shapes, strict=False)
        if layer.window[1] == 2
    }
    assert halved == {7, 4}


def test_the_classifier_is_linear(mixed: list[Architecture]) -> None:
    assert {network.layers[-1] for network in mixed} == {Linear(10)}


def test_sampling_blocks_is_fast(record_property: Callable[[str, object], None]) -> None:
    """A floor with much room, in processor time; ``pytest -s`` prints the measured rate."""
    rates = []
    for seed in range(3):
        start = time.process_time()
        result = BlocksSpace((3, 32, 32), 10, STRATA).sample(300, generator(seed))
        rates.append(len(result.architectures) / (time.process_time() - start))
    record_property("blocks_per_second", round(max(rates)))
    print(f"benchmark: {max(rates):,.0f} valid blocks architectures a second (best of 3)")
    assert max(rates) > 500
