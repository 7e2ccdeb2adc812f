"""The blocks of a network, stage by stage, and the network with fewer of them."""

from collections.abc import Collection, Container
from math import ceil

from archpress.architectures.activations import Activation, Dropout
from archpress.architectures.architecture import Architecture
from archpress.architectures.editing import Draft, Item
from archpress.architectures.layers import (
    BatchNorm,
    Convolution,
    DepthwiseConvolution,
)
from archpress.errors import InvalidArchitectureError

Block = list[Item]
INSIDE = (BatchNorm, Activation, Dropout, DepthwiseConvolution)
"""What a block may hold beside the convolution that ends it."""


def shortened(network: Architecture, share: float) -> Architecture:
    """Return the network with the first ``ceil(share * n)`` of the ``n`` blocks of each stage.

    The first block of a stage always stays, and so does one without which there is no network.

    Args:
        network: The network.
        share: In [0, 1].
    """
    shorter = network
    for number in range(len(stages(Draft(network)))):
        before = sum(map(len, stages(Draft(shorter))[:number]))
        count = len(stages(Draft(shorter))[number])
        kept = max(1, ceil(share * count - 1e-9))
        for place in range(before + count - 1, before + kept - 1, -1):
            shorter = without(shorter, [place]) or shorter
    return shorter


def without(network: Architecture, places: Collection[int]) -> Architecture | None:
    """Return the network without blocks; None where that is none, or of other outputs.

    Args:
        network: The network.
        places: Numbers of its blocks, from 0.
    """
    draft = Draft(network)
    for place, block in enumerate(blocks(draft)):
        for item in block if place in places else ():
            draft.remove(item)
    try:
        shorter = draft.architecture()
    except InvalidArchitectureError:
        return None
    return shorter if shorter.shapes[-1] == network.shapes[-1] else None


def stages(draft: Draft) -> list[list[Block]]:
    """Return the blocks of a network by stage: runs of them whose outputs have one side.

    A block is all that skips go around, or a convolution with the depthwise one before it and the
    normalisation and activation after it.
    """
    shapes = draft.architecture().shapes
    found: list[list[Block]] = []
    side: tuple[int, ...] | None = None
    for block in blocks(draft):
        last = draft.items.index(block[-1])
        first = draft.items.index(block[0])
        if not found or shapes[last + 1][1:] != side or shapes[first][1:] != side:
            found.append([])
        found[-1].append(block)
        side = shapes[last + 1][1:]
    return found


def blocks(draft: Draft) -> list[Block]:
    """Return the blocks of a network in order; what is in none separates them."""
    ends = _ends_of_skips(draft)
    found: list[Block] = []
    place = 0
    while place < len(draft.items):
        end = ends.get(place) or _end_of_unit(draft, place, ends)
        if end:
            found.append(draft.items[place:end])
        place = end or place + 1
    return found


def _ends_of_skips(draft: Draft) -> dict[int, int]:
    """Return where that which skips go around begins -> where it ends, overlapping ones as one."""
    sources = [(item.source, place) for place, item in enumerate(draft.items) if item.source]
    begins = [0 if s is draft.input else draft.items.index(s) + 1 for s, _ in sources]
    spans = [
        (begin, _end_of_tail(draft, place + 1, begins))
        for begin, (_, place) in zip(begins, sources, strict=True)
    ]
    ends: dict[int, int] = {}
    begin = -1
    for first, last in sorted(spans):
        if begin >= 0 and first < ends[begin]:
            ends[begin] = max(ends[begin], last)
        else:
            begin = first
            ends[begin] = last
    return ends


def _end_of_tail(draft: Draft, place: int, begins: Container[int]) -> int:
    """Return where the normalisation and activation that begin at ``place`` end."""
    while place < len(draft.items) and place not in begins and _is_tail(draft.items[place]):
        place += 1
    return place


def _is_tail(item: Item) -> bool:
    return isinstance(item.layer, BatchNorm | Activation) and item.source is None


def _end_of_unit(draft: Draft, place: int, ends: dict[int, int]) -> int:
    """Return where the convolution unit that begins at ``place`` ends; 0 where none does."""
    if not isinstance(draft.items[place].layer, Convolution | DepthwiseConvolution):
        return 0
    while place < len(draft.items) and place not in ends:
        layer = draft.items[place].layer
        if isinstance(layer, Convolution):
            return _end_of_tail(draft, place + 1, ends)
        if not isinstance(layer, INSIDE):
            break
        place += 1
    return 0
