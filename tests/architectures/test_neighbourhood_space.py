"""The neighbourhood of a network: near it, valid, within the limits, with its data and classes."""

import math
from collections import Counter
from functools import cache

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from archpress.architectures.architecture import Architecture
from archpress.architectures.building import build
from archpress.architectures.edits import EDITS
from archpress.architectures.layers import (
    BatchNorm,
    Convolution,
    DepthwiseConvolution,
    GlobalAveragePool,
    Layer,
    Linear,
    ReLU,
    Tanh,
)
from archpress.architectures.neighbourhood_space import neighbourhood
from archpress.architectures.references import conv7
from archpress.architectures.spaces import Limits, NeighbourhoodSpace, RejectedDrawError
from archpress.architectures.widths import scaled, width_groups
from archpress.embedding.tokens import why_inexpressible
from archpress.errors import BudgetError
from archpress.importing.capturing import capture
from tests.networks import MODULES
from tests.small_networks import ZOO, generator, images_for

CAPTURED = (
    "resnet20", "resnet_preact", "mobilenet_v2_small", "conv_mixer", "nested_residual",
    "residual_mlp", "mlp", "inplace_relu_on_shortcut", "biased_projection",
)  # fmt: skip
OF_THE_ZOO = (
    "every kind", "every attribute", "inverted residuals", "identity skip", "projected skip",
    "skip from the input", "nested skips", "crossing skips", "skip of flat features",
    "skip to the logits", "global pool head", "long skip",
)  # fmt: skip
GAP_ENDING = Architecture(
    (3, 8, 8),
    (
        *(Convolution(16, 3, 1, 1), ReLU(), Convolution(32, 3, 1, 1), ReLU()),
        *(Convolution(10, 1), GlobalAveragePool()),
    ),
)
NAMES = ("conv7", "GAP ending", *CAPTURED, *OF_THE_ZOO)
every_origin = pytest.mark.parametrize("name", NAMES)


@cache
def origin_of(name: str) -> Architecture:
    if name in CAPTURED:
        sample = MODULES[name]
        return capture(sample.make(), sample.input_shape).architecture
    return {"conv7": conv7(), "GAP ending": GAP_ENDING}.get(name) or ZOO[name]


def widths(network: Architecture) -> list[int]:
    return [shape[0] for shape in network.shapes[1:]]


def without_widths(network: Architecture) -> list[object]:
    """The layers, all widths left out."""
    return [
        {name: value for name, value in layer.to_json().items() if not name.startswith("out_")}
        for layer in network.layers
    ]


# ------------------------------------------------------------------------------ every draw


@every_origin
def test_every_draw_is_another_network_for_the_same_data(name: str) -> None:
    origin = origin_of(name)
    size = origin.cost.parameters
    space = neighbourhood(origin)
    assert space.limits == Limits(min_parameters=max(1, size // 100), max_parameters=size)
    result = space.sample(60, generator(0))
    for network in result.architectures:
        assert network != origin
        assert network.input_shape == origin.input_shape
        assert max(1, size // 100) <= network.cost.parameters <= size
        if name != "GAP ending":
            assert network.classes == origin.classes
    assert len(set(result.architectures)) > (15 if size > 500 else 3)
    assert result.drawn == 60 + result.rejected.total()
    assert set(result.repaired) <= set(EDITS)


def test_every_draw_has_the_classes_of_a_network_that_ends_in_a_global_pool() -> None:
    result = neighbourhood(GAP_ENDING).sample(100, generator(0))
    assert {network.classes for network in result.architectures} == {10}


@every_origin
def test_draws_build_and_run(name: str) -> None:
    origin = origin_of(name)
    for network in neighbourhood(origin).sample(4, generator(1)).architectures:
        model = build(network, 0)
        assert model(images_for(network, 2)).shape == (2, network.classes)
        assert sum(p.numel() for p in model.parameters()) == network.cost.parameters
        assert network.parameters == network.cost.parameters


@every_origin
def test_one_generator_gives_one_sample_and_no_other_randomness_is_read(name: str) -> None:
    space, before = neighbourhood(origin_of(name)), torch.get_rng_state()
    first, again, other = (space.sample(15, generator(seed)) for seed in (1, 1, 2))
    assert torch.equal(torch.get_rng_state(), before)
    assert first == again
    assert first.architectures != other.architectures


def test_limits_are_kept_and_their_range_is_used() -> None:
    limits = Limits(min_parameters=20_000, max_parameters=80_000, max_macs=6_000_000)
    result = neighbourhood(conv7(), limits).sample(300, generator(2))
    sizes = [network.cost.parameters for network in result.architectures]
    assert all(limits.violation(network.cost) is None for network in result.architectures)
    thirds = Counter(int(1.5 * math.log2(size / 20_001)) for size in sizes)
    assert set(thirds) == {0, 1, 2} and min(thirds.values()) > 50, thirds
    assert result.rejected["too many MACs"] > 0


def test_the_network_itself_and_broken_edits_are_rejected_and_counted() -> None:
    lone = Architecture((1, 2, 2), (Linear(3),))
    result = neighbourhood(lone).sample(20, generator(0))
    assert set(result.rejected) == {"the network itself"}
    assert result.drawn == 20 + result.rejected.total()
    with pytest.raises(BudgetError, match=r"reason was 'the network itself' \(50\)"):
        neighbourhood(lone, edits=0).sample(1, generator(0), patience=50)
    sizes = Limits(min_parameters=1, max_parameters=10_000)
    broken = neighbourhood(
        Architecture((4, 5, 5), (Convolution(5, 3), Convolution(6, 3), Linear(3))), sizes
    ).sample(200, generator(0))
    assert broken.rejected["changed a stride: no network"] > 0


def test_every_edit_is_made_and_counted() -> None:
    result = neighbourhood(conv7()).sample(150, generator(3))
    assert set(result.repaired) == set(EDITS)
    plain = neighbourhood(conv7(), edits=0).sample(50, generator(3))
    assert not plain.repaired
    kinds = [layer.kind for layer in conv7().layers]
    assert all([x.kind for x in network.layers] == kinds for network in plain.architectures)


def test_the_number_of_edits_is_uniform() -> None:
    """Each of the edits of conv7 finds a place, but for a second global pool."""
    space, made = neighbourhood(conv7(), edits=3), Counter[int]()
    for seed in range(600):
        repaired: Counter[str] = Counter()
        try:
            space.draw(generator(seed), repaired)
        except RejectedDrawError:
            continue
        made[repaired.total()] += 1
    assert set(made) == {0, 1, 2, 3}
    assert all(count / made.total() == pytest.approx(0.25, abs=0.1) for count in made.values())


def test_a_network_of_no_widths_has_a_neighbourhood() -> None:
    origin = Architecture((2, 8, 8), (DepthwiseConvolution(3), Tanh(), GlobalAveragePool()))
    assert neighbourhood(origin).sample(5, generator(0)).architectures


# --------------------------------------------------------------------------------- thinning


@every_origin
def test_thinning_changes_widths_only_and_no_skip_needs_a_new_projection(name: str) -> None:
    origin = origin_of(name)
    free = set(width_groups(origin)) - {-1}
    limits = Limits(min_parameters=1, max_parameters=origin.cost.parameters)
    if not free:
        pytest.skip("no width can change")
    for network in neighbourhood(origin, limits, edits=0).sample(30, generator(5)).architectures:
        assert without_widths(network) == without_widths(origin)
        assert network.classes == origin.classes
        assert network.shortcuts.keys() == origin.shortcuts.keys()
        for place, fitting in origin.shortcuts.items():
            assert bool(network.shortcuts[place]) <= bool(fitting), place
        assert all(a[1:] == b[1:] for a, b in zip(network.shapes, origin.shapes, strict=True))
        by_group = Counter(set(zip(width_groups(origin), widths(network), strict=True)))
        by_origin = Counter(set(zip(width_groups(origin), widths(origin), strict=True)))
        free_widths = Counter(group for group, _ in by_group if group in free)
        free_before = Counter(group for group, _ in by_origin if group in free)
        assert set(free_before.values()) == {1}, "a group has one width"
        assert set(free_widths.values()) == {1}, "and keeps it"


@settings(max_examples=50, deadline=None)
@given(common=st.floats(-8, 2), seed=st.integers(0, 2**32), name=st.sampled_from(OF_THE_ZOO))
def test_tied_widths_stay_tied_at_any_scale(common: float, seed: int, name: str) -> None:
    origin = origin_of(name)
    noise = torch.rand(len(origin.layers), generator=generator(seed)) * 2 - 1
    factors = (noise + common).exp().tolist()
    network = scaled(origin, width_groups(origin), factors)
    assert min(widths(network)) >= 1
    assert network.classes == origin.classes
    for place, fitting in origin.shortcuts.items():
        assert fitting or not network.shortcuts[place]


def groups(*layers: Layer) -> list[int]:
    return width_groups(Architecture((4, 6, 6), layers))


CONV = Convolution(5, 1)


@pytest.mark.parametrize(
    ("layers", "expected"),
    [
        ((CONV, ReLU(), CONV, Linear(3)), [0, 0, 2, -1]),
        ((CONV, ReLU(), CONV, ReLU(skip=2), Linear(3)), [0, 0, 0, 0, -1]),
        ((Convolution(4, 1), CONV, Convolution(4, 1, skip=2), Linear(3)), [0, 1, 0, -1]),
        ((Convolution(4, 1), ReLU(skip=2), CONV, Linear(3)), [-1, -1, 2, -1]),
        ((BatchNorm(), CONV, Linear(3)), [-1, 1, -1]),
        ((CONV, ReLU(), Convolution(6, 1), ReLU(skip=2), Linear(3)), [0, 0, 2, 2, -1]),
        ((CONV, CONV, CONV, Tanh(skip=1), CONV, Tanh(skip=2), Linear(3)), [0, 1, 2, 2, 2, 2, -1]),
        (
            (CONV, CONV, Tanh(skip=2), Convolution(7, 1), CONV, Tanh(skip=3), Linear(3)),
            [0, 0, 0, 3, 0, 0, -1],
        ),
        ((CONV, DepthwiseConvolution(3), GlobalAveragePool()), [-1, -1, -1]),
        ((CONV, CONV, GlobalAveragePool()), [0, -1, -1]),
        ((CONV, CONV, Tanh(skip=2), GlobalAveragePool()), [-1, -1, -1, -1]),
        ((Linear(5), ReLU(), Linear(5, skip=1), Linear(5, skip=1)), [-1, -1, -1, -1]),
        ((Linear(5), ReLU(), Linear(5, skip=1), Linear(3)), [0, 0, 0, -1]),
        ((CONV, GlobalAveragePool(), Linear(5, skip=1), Linear(3)), [0, 0, 0, -1]),
    ],
    ids=[
        "no skip", "a skip ties", "a skip over another width", "the input ties", "the input's",
        "a projection ties nothing", "a skip of one", "a chain of skips", "the last convolution",
        "the one before it", "tied to the classes", "all tied to the classes", "flat",
        "from a global pool",
    ],
)  # fmt: skip
def test_a_group_is_what_skips_tie_together(layers: tuple[Layer, ...], expected: list[int]) -> None:
    assert groups(*layers) == expected


def test_scaling_multiplies_each_group_by_its_own_factor() -> None:
    origin = Architecture((4, 6, 6), (Convolution(10, 1), CONV, Linear(8), Linear(3)))
    network = scaled(origin, width_groups(origin), [3.0, 0.75, 1.5, 9.0])
    assert widths(network) == [30, 3, 12, 3]  # 3.75, rounded down
    tiny = scaled(origin, width_groups(origin), [1e-9] * 4)
    assert widths(tiny) == [1, 1, 1, 3]


def test_each_width_changes_by_a_factor_of_its_own_of_at_most_two_either_way() -> None:
    origin = conv7()
    for network in neighbourhood(origin, edits=0).sample(40, generator(6)).architectures:
        ratios = [
            math.log(a.out_channels / b.out_channels)
            for a, b in zip(network.layers, origin.layers, strict=True)
            if isinstance(a, Convolution) and isinstance(b, Convolution) and a.out_channels > 9
        ]
        if ratios:
            rounding = 0.12
            assert max(ratios) - min(ratios) <= 2 * math.log(2) + rounding
            assert len(ratios) < 3 or max(ratios) - min(ratios) > 0.01


def test_the_target_is_met_closely_from_below() -> None:
    limits = Limits(min_parameters=100_000, max_parameters=100_001)
    space = NeighbourhoodSpace((1, 28, 28), 10, limits, origin=conv7(), edits=0)
    for seed in range(20):
        drawn = space.draw(generator(seed), Counter())
        assert 0.9 * 100_000 < drawn.cost.parameters <= 100_001


def test_no_draw_is_beyond_what_can_be_searched() -> None:
    long = Architecture((1, 16, 16), (*[Convolution(4, 3, 1, 1), ReLU()] * 30, Linear(10)))
    wide = Architecture((1, 16, 16), (Convolution(4096, 4, 4), Convolution(64, 4, 4), Linear(10)))
    for origin in (long, wide):
        drawn = neighbourhood(origin, edits=8).sample(200, generator(0))
        assert drawn.rejected["beyond what can be searched"]
        for network in drawn.architectures:
            assert not why_inexpressible(network)
