"""Single changes of a draft that make a network smaller or different, each a function of a chance.

An edit returns whether it found a place; places are drawn uniformly from all that fit.
"""

from collections.abc import Callable, Sequence
from dataclasses import replace

import torch

from archpress.architectures.activations import Activation
from archpress.architectures.editing import Draft, Item
from archpress.architectures.layers import (
    BatchNorm,
    Convolution,
    DepthwiseConvolution,
    GlobalAveragePool,
    Linear,
    Pool,
    ReLU,
)

Edit = Callable[[Draft, torch.Generator], bool]


def _pick(places: Sequence[int], generator: torch.Generator) -> int:
    return places[int(torch.randint(len(places), (), generator=generator))]


def _unit(draft: Draft, place: int) -> list[Item]:
    """Return the layer at ``place`` with the BatchNorm and activation that belong to it."""
    unit = [draft.items[place]]
    for item in draft.items[place + 1 :]:
        if not isinstance(item.layer, BatchNorm | Activation):
            break
        unit.append(item)
    return unit


def _convolutions(draft: Draft) -> list[int]:
    return [place for place, item in enumerate(draft.items) if _count([item])]


def _count(items: Sequence[Item]) -> int:
    """Return how many of the items are convolutions."""
    return sum(isinstance(item.layer, Convolution | DepthwiseConvolution) for item in items)


def drop_block(draft: Draft, generator: torch.Generator) -> bool:
    """Take out everything that a skip between equal shapes goes around, or one convolution unit."""
    shapes = draft.architecture().shapes
    spans: list[list[Item]] = []
    for place, item in enumerate(draft.items[:-1]):
        if item.source is not None:
            start = 0 if item.source is draft.input else draft.items.index(item.source) + 1
            if shapes[start] == shapes[place + 1]:
                spans.append(draft.items[start : place + 1])
    units = [_unit(draft, place) for place in _convolutions(draft)]
    spans += [unit for unit in units if not any(item.source for item in unit)]
    spans = [span for span in spans if _count(span) < _count(draft.items)]
    if not spans:
        return False
    for item in spans[_pick(range(len(spans)), generator)]:
        draft.remove(item)
    return True


def merge_blocks(draft: Draft, generator: torch.Generator) -> bool:
    """Make one convolution unit of two neighbours: the larger kernel, both strides, one width."""
    places = []
    for place in _convolutions(draft):
        unit = _unit(draft, place)
        after = place + len(unit)
        lone = not any(item.source or draft.is_source(item) for item in unit)
        both = after < len(draft.items) and isinstance(draft.items[after].layer, Convolution)
        if lone and both and isinstance(unit[0].layer, Convolution):
            places.append(place)
    if not places:
        return False
    unit = _unit(draft, _pick(places, generator))
    second = draft.items[draft.items.index(unit[-1]) + 1]
    one, two = unit[0].layer, second.layer
    assert isinstance(one, Convolution) and isinstance(two, Convolution)
    larger = one if one.kernel > two.kernel else two
    second.layer = replace(
        two, kernel=larger.kernel, padding=larger.padding, stride=one.stride * two.stride
    )
    for item in unit:
        draft.remove(item)
    return True


def change_kernel(draft: Draft, generator: torch.Generator) -> bool:
    """Make the kernel of one convolution two smaller or larger, its padding with it."""
    places = []
    for place in _convolutions(draft):
        layer = draft.items[place].layer
        assert isinstance(layer, Convolution | DepthwiseConvolution)
        if layer.kernel % 2 and layer.padding == layer.kernel // 2:
            places.append(place)
    if not places:
        return False
    item = draft.items[_pick(places, generator)]
    layer = item.layer
    assert isinstance(layer, Convolution | DepthwiseConvolution)
    smaller = layer.kernel > 3 or (layer.kernel == 3 and isinstance(layer, Convolution))
    grow = layer.kernel < 7 and (not smaller or bool(torch.rand((), generator=generator) < 0.3))
    kernel = layer.kernel + 2 if grow else layer.kernel - 2
    item.layer = replace(layer, kernel=kernel, padding=kernel // 2)
    return True


def change_stride(draft: Draft, generator: torch.Generator) -> bool:
    """Let a convolution of stride 1 take steps of 2, in place of the pool after it if there is one.

    Maps of fewer than four positions a side are left as they are.
    """
    shapes = draft.architecture().shapes
    places = []
    for place in _convolutions(draft):
        if draft.items[place].layer.window[1] == 1 and min(shapes[place][1:]) >= 4:
            places.append(place)
    if not places:
        return False
    place = _pick(places, generator)
    item = draft.items[place]
    assert isinstance(item.layer, Convolution | DepthwiseConvolution)
    item.layer = replace(item.layer, stride=2)
    after = place + len(_unit(draft, place))
    for pool in draft.items[after : after + 1]:
        if isinstance(pool.layer, Pool) and pool.layer.stride == 2 and not pool.source:
            draft.remove(pool)
    return True


def separate(draft: Draft, generator: torch.Generator) -> bool:
    """Put a depthwise and a 1x1 convolution in the place of a convolution (MobileNet)."""
    shapes = draft.architecture().shapes
    places = []
    for place in _convolutions(draft):
        layer = draft.items[place].layer
        if isinstance(layer, Convolution) and layer.kernel > 1 and shapes[place][0] > 3:
            places.append(place)
    if not places:
        return False
    item = draft.items[_pick(places, generator)]
    layer = item.layer
    assert isinstance(layer, Convolution)
    depthwise = DepthwiseConvolution(layer.kernel, layer.stride, layer.padding, bias=layer.bias)
    pointwise = Convolution(layer.out_channels, 1, bias=layer.bias, projection=layer.projection)
    draft.replace(item, [depthwise, BatchNorm(), ReLU(), pointwise])
    return True


def pool_globally(draft: Draft, generator: torch.Generator) -> bool:
    """Put a global average pool before the first Linear layer, where a map was flattened."""
    shapes = draft.architecture().shapes
    for place, item in enumerate(draft.items):
        if isinstance(item.layer, Linear) and len(shapes[place]) == 3:
            if shapes[place][1:] == (1, 1):
                return False
            draft.items.insert(place, Item(GlobalAveragePool()))
            return True
    return False


EDITS: dict[str, Edit] = {
    "dropped a block": drop_block,
    "merged two blocks": merge_blocks,
    "changed a kernel": change_kernel,
    "changed a stride": change_stride,
    "separated a convolution": separate,
    "pooled globally before the classifier": pool_globally,
}
