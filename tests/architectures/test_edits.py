"""The edits of a neighbourhood: each does what it says where it fits, and only there."""

import pytest

from archpress.architectures.architecture import Architecture
from archpress.architectures.editing import Draft
from archpress.architectures.edits import (
    EDITS,
    Edit,
    change_kernel,
    change_stride,
    drop_block,
    merge_blocks,
    pool_globally,
    separate,
)
from archpress.architectures.layers import (
    AveragePool,
    BatchNorm,
    Convolution,
    DepthwiseConvolution,
    Dropout,
    GlobalAveragePool,
    Hardswish,
    Layer,
    Linear,
    MaxPool,
    Projection,
    ReLU,
    Tanh,
)
from archpress.architectures.references import conv7
from archpress.errors import InvalidArchitectureError
from tests.small_networks import ZOO, generator

C3 = Convolution(8, 3, 1, 1)
LAST = Linear(3)
MLP = Architecture((1, 4, 4), (Linear(6), BatchNorm(), ReLU(), LAST))


def net(*layers: Layer) -> Architecture:
    """A network on 4 channels of 8x8 under a Linear layer of three classes."""
    return Architecture((4, 8, 8), (*layers, LAST))


def results(edit: Edit, network: Architecture, seeds: int = 40) -> set[Architecture]:
    """All that the edit makes of a network; empty where it finds no place."""
    found = set()
    for seed in range(seeds):
        draft = Draft(network)
        if edit(draft, generator(seed)):
            found.add(draft.architecture())
        else:
            assert draft.architecture() == network, "it changed the network and said it did not"
    return found


def test_every_edit_is_named() -> None:
    assert set(EDITS.values()) == {
        drop_block, merge_blocks, change_kernel, change_stride, separate, pool_globally,
    }  # fmt: skip


@pytest.mark.parametrize("name", EDITS)
def test_nothing_fits_a_lone_linear_layer(name: str) -> None:
    assert results(EDITS[name], Architecture((1, 1, 1), (LAST,)), 5) == set()


@pytest.mark.parametrize("name", sorted(set(EDITS) - {"pooled globally before the classifier"}))
def test_nothing_but_the_global_pool_fits_a_flat_network(name: str) -> None:
    assert results(EDITS[name], MLP, 5) == set()


@pytest.mark.parametrize("name", EDITS)
@pytest.mark.parametrize("network", ZOO.values(), ids=ZOO)
def test_an_edit_that_finds_no_place_changes_nothing(name: str, network: Architecture) -> None:
    for seed in range(5):
        draft = Draft(network)
        try:
            done = EDITS[name](draft, generator(seed))
            edited = draft.architecture()
        except InvalidArchitectureError:
            continue  # the neighbourhood rejects the draw
        assert (edited != network) is done
        assert edited.input_shape == network.input_shape
        again = Draft(network)
        EDITS[name](again, generator(seed))
        assert again.architecture() == edited, "another result with the same generator"


# ------------------------------------------------------------------------------ drop a block


def test_dropping_takes_one_unit_and_leaves_pools() -> None:
    network = net(C3, BatchNorm(), ReLU(), MaxPool(2, 2), Convolution(5, 3), Hardswish())
    assert results(drop_block, network) == {
        net(MaxPool(2, 2), Convolution(5, 3), Hardswish()),
        net(C3, BatchNorm(), ReLU(), MaxPool(2, 2)),
    }


def test_dropping_takes_all_that_an_identity_skip_goes_around() -> None:
    block = (C3, BatchNorm(), ReLU(), C3, BatchNorm(skip=5))
    network = net(C3, ReLU(), *block, ReLU())
    spans = results(drop_block, network)
    assert net(C3, ReLU(), ReLU()) in spans
    first_of_block = net(C3, ReLU(), C3, BatchNorm(skip=2), ReLU())
    stem = net(*block, ReLU())
    assert spans == {net(C3, ReLU(), ReLU()), first_of_block, stem}
    assert stem.shortcuts[4], "the block's input has other channels without the stem"


def test_dropping_takes_a_block_that_begins_at_the_input() -> None:
    network = net(Convolution(4, 3, 1, 1), BatchNorm(skip=2), ReLU(), C3)
    without = net(ReLU(), C3)
    assert results(drop_block, network) == {
        without,
        net(Convolution(4, 3, 1, 1), BatchNorm(skip=2), ReLU()),
    }


def test_dropping_leaves_a_block_with_a_projection() -> None:
    network = net(C3, BatchNorm(skip=2))
    assert results(drop_block, network) == set()


def test_the_last_convolution_stays() -> None:
    assert results(drop_block, net(C3, BatchNorm(), ReLU())) == set()
    assert results(drop_block, net(Convolution(4, 1), ReLU(skip=2), MaxPool(2, 2))) == set()


def test_the_last_convolution_stays_where_it_is_depthwise() -> None:
    assert results(drop_block, net(DepthwiseConvolution(3), ReLU())) == set()


def test_a_flat_block_with_a_skip_can_go_where_convolutions_stay() -> None:
    flat = (Linear(6), ReLU(), Linear(6), Tanh(skip=2))
    assert net(C3, Linear(6), ReLU()) in results(drop_block, net(C3, *flat))


# ------------------------------------------------------------------------- merge two blocks


def test_merging_keeps_the_larger_kernel_both_strides_and_the_second_width() -> None:
    large, small = Convolution(8, 5, 2, 2), Convolution(6, 3, 2, 1, bias=False)
    network = net(large, BatchNorm(), ReLU(), small, Tanh())
    merged = net(Convolution(6, 5, 4, 2, bias=False), Tanh())
    assert results(merge_blocks, network) == {merged}
    network = net(small, BatchNorm(), ReLU(), large, Tanh())
    assert results(merge_blocks, network) == {net(Convolution(8, 5, 4, 2), Tanh())}


def test_any_two_neighbours_can_merge() -> None:
    layers = [Convolution(width, 3, 1, 1) for width in (5, 6, 7)]
    assert results(merge_blocks, net(*layers)) == {net(*layers[1:]), net(layers[0], layers[2])}


@pytest.mark.parametrize(
    "network",
    [
        net(C3, ReLU(), MaxPool(2, 2), C3),
        net(C3, ReLU(), Dropout(), C3),
        net(C3, ReLU(), DepthwiseConvolution(3), ReLU()),
        net(DepthwiseConvolution(3), ReLU(), C3),
        net(C3, ReLU()),
        net(C3, C3, Tanh(skip=1)),
        net(C3, ReLU(), C3, Tanh(skip=2)),
        net(C3, ReLU(skip=2), C3),
    ],
    ids=[
        "a pool between", "dropout between", "a depthwise second", "a depthwise first",
        "only one", "a source", "an activation that is a source", "a skip into the first",
    ],
)  # fmt: skip
def test_blocks_that_are_not_alone_do_not_merge(network: Architecture) -> None:
    merged = results(merge_blocks, network)
    if network.layers[:2] == (C3, C3):
        assert merged == {net(C3, Tanh(skip=1))}, "the source is the second, the first may merge"
    else:
        assert merged == set()


def test_a_merged_block_keeps_what_is_added_to_it_and_read_from_it() -> None:
    network = net(C3, ReLU(), C3, ReLU(), Convolution(8, 3, 1, 1, skip=3), Tanh(skip=1))
    merged = net(C3, ReLU(), Convolution(8, 3, 1, 1, skip=1), Tanh(skip=1))
    assert results(merge_blocks, network) == {merged}  # not the first two: the skip reads ReLU


# --------------------------------------------------------------------------- kernel, stride


@pytest.mark.parametrize(
    ("layer", "kernels"),
    [
        (Convolution(5, 1), {3}),
        (Convolution(5, 3, 2, 1), {1, 5}),
        (Convolution(5, 5, 1, 2, bias=False), {3, 7}),
        (Convolution(5, 7, 1, 3), {5}),
        (Convolution(5, 9, 1, 4), {7}),
        (DepthwiseConvolution(1), {3}),
        (DepthwiseConvolution(3, 2, 1), {5}),
        (DepthwiseConvolution(5, 1, 2), {3, 7}),
        (DepthwiseConvolution(7, 1, 3), {5}),
        (Convolution(5, 3), set()),
        (Convolution(5, 2, 1, 1), set()),
        (Convolution(5, 3, 1, 2), set()),
        (Convolution(5, 4, 1, 2), set()),
    ],
)
def test_a_kernel_changes_by_two_and_its_padding_with_it(
    layer: Convolution | DepthwiseConvolution, kernels: set[int]
) -> None:
    found = results(change_kernel, net(layer))
    made = [network.layers[0] for network in found]
    assert {each.window for each in made} == {(kernel, layer.stride) for kernel in kernels}
    for network, each in zip(found, made, strict=True):
        assert isinstance(each, type(layer))
        assert each.padding == each.kernel // 2
        assert each.bias is layer.bias
        assert network.shapes == net(layer).shapes


def test_kernels_shrink_more_often_than_they_grow() -> None:
    drafts = [Draft(net(C3)) for _ in range(400)]
    for seed, draft in enumerate(drafts):
        assert change_kernel(draft, generator(seed))
    grown = sum(draft.items[0].layer == Convolution(8, 5, 1, 2) for draft in drafts)
    assert grown / 400 == pytest.approx(0.3, abs=0.07)


def test_a_stride_of_2_takes_the_place_of_the_pool_behind() -> None:
    strided = Convolution(8, 3, 2, 1)
    for pool in (MaxPool(2, 2), AveragePool(3, 2, 1)):
        network = net(C3, BatchNorm(), ReLU(), pool)
        assert results(change_stride, network) == {net(strided, BatchNorm(), ReLU())}
    assert results(change_stride, net(C3, ReLU())) == {net(strided, ReLU())}
    assert results(change_stride, net(C3)) == {net(strided)}


@pytest.mark.parametrize("kept", [MaxPool(3, 1, 1), MaxPool(3, 3), AveragePool(2, 2, skip=1)])
def test_another_pool_stays_behind_a_new_stride(kept: Layer) -> None:
    strided = Convolution(8, 3, 2, 1)
    assert results(change_stride, net(C3, kept)) == {net(strided, kept)}


def test_only_large_maps_and_strides_of_1_take_a_new_stride() -> None:
    assert results(change_stride, net(Convolution(8, 3, 2, 1), ReLU())) == set()
    for side, places in ((3, 0), (4, 1)):
        network = Architecture((4, side, 9), (C3, LAST))
        assert len(results(change_stride, network)) == places
    depthwise = results(change_stride, net(DepthwiseConvolution(3, 1, 1)))
    assert depthwise == {net(DepthwiseConvolution(3, 2, 1))}


# ------------------------------------------------------------------------- separate, pool


def test_a_separated_convolution_is_a_depthwise_and_a_1x1_one() -> None:
    network = net(Convolution(6, 5, 2, 2, bias=False), ReLU())
    depthwise = DepthwiseConvolution(5, 2, 2, bias=False)
    parts = (depthwise, BatchNorm(), ReLU(), Convolution(6, 1, bias=False))
    assert results(separate, network) == {net(*parts, ReLU())}
    assert net(*parts, ReLU()).shapes[4:] == network.shapes[1:]


def test_a_separated_convolution_keeps_its_skips() -> None:
    network = net(C3, Convolution(8, 3, 1, 1, skip=1), Tanh(skip=1))
    depthwise = (DepthwiseConvolution(3, 1, 1), BatchNorm(), ReLU())
    assert results(separate, network) == {
        net(*depthwise, Convolution(8, 1), Convolution(8, 3, 1, 1, skip=1), Tanh(skip=1)),
        net(C3, *depthwise, Convolution(8, 1, skip=4), Tanh(skip=1)),
    }


def test_a_separated_convolution_keeps_its_projection() -> None:
    projection = Projection(bias=True, batch_norm=False)
    network = net(Convolution(8, 3, 2, 1, skip=1, projection=projection))
    (separated,) = results(separate, network)
    assert separated.layers[3] == Convolution(8, 1, skip=4, projection=projection)


@pytest.mark.parametrize(
    "network",
    [
        net(Convolution(8, 1)),
        net(DepthwiseConvolution(3)),
        Architecture((3, 8, 8), (C3, LAST)),
    ],
    ids=["a 1x1 convolution", "a depthwise one", "on the colours of the image"],
)
def test_what_is_not_worth_separating_is_left(network: Architecture) -> None:
    assert results(separate, network) == set()


@pytest.mark.parametrize(
    ("network", "pooled"),
    [
        (net(C3, ReLU()), net(C3, ReLU(), GlobalAveragePool())),
        (net(C3, Dropout(), Linear(7)), net(C3, Dropout(), GlobalAveragePool(), Linear(7))),
        (MLP, Architecture((1, 4, 4), (GlobalAveragePool(), *MLP.layers))),
        (net(C3, GlobalAveragePool()), None),
        (net(C3, MaxPool(8, 8)), None),
        (Architecture((4, 8, 8), (C3, GlobalAveragePool())), None),
    ],
)
def test_the_global_pool_stands_where_the_map_was_flattened(
    network: Architecture, pooled: Architecture | None
) -> None:
    assert results(pool_globally, network, 3) == ({pooled} if pooled else set())


@pytest.mark.parametrize(
    ("edit", "more_layers", "different"),
    [(drop_block, -3, 4), (merge_blocks, -3, 3), (separate, 3, 6), (pool_globally, 1, 1)],
)
def test_conv7_is_edited_at_all_its_places(edit: Edit, more_layers: int, different: int) -> None:
    """Dropping either of two equal neighbours is the same: 32, 32, 64, 64, 128, 128, 256."""
    found = results(edit, conv7(), 80)
    assert len(found) == different
    for network in found:
        assert len(network.layers) == len(conv7().layers) + more_layers
        assert network.classes == 10
