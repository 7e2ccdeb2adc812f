"""Architectures as words: what the pretrained embedding reads and says.

A word is a layer, or a convolution or Linear layer together with the BatchNorm, the skip and the
activation that follow it, so that a residual block is two words and not six. Every network of up to
64 words has exactly one reading. Its classifier is not written out: the word that ends the sequence
stands for it, since the task says how many outputs it has.

Categories are ``[B, T, F]``; ``F`` fields in the order in which the decoder says them: type,
kernel, padding, stride, width, fraction of a width, norm, skip, activation. A skip counts words.
"""

from collections.abc import Iterator, Sequence

import torch
from torch import Tensor

from archpress.architectures.architecture import Architecture
from archpress.architectures.batch_cost import OWN_WIDTH, WEIGHTED, WINDOWED
from archpress.architectures.layers import (
    KIND_BY_CODE,
    Activation,
    BatchNorm,
    GlobalAveragePool,
    Layer,
    Linear,
    Row,
)
from archpress.architectures.spaces import MAX_KERNEL, MAX_PADDING, MAX_STRIDE, MAX_WIDTH
from archpress.errors import EmbeddingError

POSITIONS = 64
FIELDS = (
    "type", "kernel", "padding", "stride", "width", "fraction", "norm", "skip", "activation",
)  # fmt: skip
TYPE, KERNEL, PADDING, STRIDE, WIDTH, FRACTION, NORM, SKIP, ACTIVATION = range(len(FIELDS))

END = 0
"""Ends a network in its classifier, a Linear layer."""
END_POOL = len(KIND_BY_CODE) + 1
"""Ends a network in a global average pool whose channels are the classes."""
NOTHING = END_POOL + 1
"""Stands after the end."""

BINS_PER_OCTAVE = 8
FRACTIONS = 4
WIDTHS = BINS_PER_OCTAVE * (MAX_WIDTH.bit_length() - 1) + 1
ACTIVATIONS = (0, *(code for code, kind in KIND_BY_CODE.items() if issubclass(kind, Activation)))
"""Type codes of the activations by category; 0 is none."""
SIZES = (
    NOTHING + 1, MAX_KERNEL + 1, MAX_PADDING + 1, MAX_STRIDE + 1, WIDTHS, FRACTIONS, 2, POSITIONS,
    len(ACTIVATIONS),
)  # fmt: skip
"""Categories of each field."""

Word = tuple[int, int, int, int, int, int, int, int, int]


def codes(*of: int) -> Tensor:
    """Return bool ``[types]``, true for the given type codes."""
    return torch.tensor([code in of for code in range(SIZES[TYPE])])


_WINDOWED, _OWN_WIDTH = codes(*WINDOWED), codes(*OWN_WIDTH)
_WEIGHTED, _LAYER = codes(*WEIGHTED), codes(*KIND_BY_CODE)


def has_field(kinds: Tensor) -> Tensor:
    """Return bool ``[..., F]``: which fields words of these types ``[...]`` have."""
    windowed, own_width = _WINDOWED[kinds], _OWN_WIDTH[kinds]
    weighted, layer = _WEIGHTED[kinds], _LAYER[kinds]
    always = torch.ones_like(layer)
    return torch.stack(
        [always, windowed, windowed, windowed, own_width, own_width, weighted, layer, weighted], -1
    )


# ------------------------------------------------------------------ from networks


def to_categories(architectures: Sequence[Architecture]) -> Tensor:
    """Return int64 ``[B, T, F]``.

    Raises:
        EmbeddingError: A network has too many words, or one that the vocabulary has not.
    """
    found = torch.zeros(len(architectures), POSITIONS, len(FIELDS), dtype=torch.long)
    found[..., TYPE] = NOTHING
    for index, architecture in enumerate(architectures):
        words = list(_words(architecture))
        if why := _why_not(words, architecture):
            raise EmbeddingError(why)
        found[index, : len(words)] = torch.tensor(words)
    bins, fractions = split_width(found[..., WIDTH])
    found[..., WIDTH], found[..., FRACTION] = bins, fractions
    return found * has_field(found[..., TYPE])


def why_inexpressible(architecture: Architecture) -> str:
    """Return why the vocabulary has no words for a network; empty where it has."""
    return _why_not(list(_words(architecture)), architecture)


def _why_not(words: Sequence[Word], architecture: Architecture) -> str:
    if len(words) > POSITIONS:
        return f"a network of {len(words)} words exceeds the {POSITIONS} positions"
    if architecture.layers[-1].skip:
        return "a skip ends at the classifier, which the embedding cannot express"
    limits = {KERNEL: MAX_KERNEL, PADDING: MAX_PADDING, STRIDE: MAX_STRIDE, WIDTH: MAX_WIDTH}
    for field, limit in limits.items():
        highest = max(word[field] for word in words)
        if highest > limit:
            return f"a layer has {FIELDS[field]} {highest}, the embedding reaches {limit}"
    return ""


def _words(architecture: Architecture) -> Iterator[Word]:
    """Yield the words of a network, with widths as they are."""
    layers, rows = architecture.layers, architecture.rows()
    sources = {index - layer.skip for index, layer in enumerate(layers) if layer.skip}
    ends = {-1: -1}  # layer that ends a word -> number of the word
    first = 0
    while first < len(layers) - 1:
        last = _last_of_word(layers, first, sources)
        skips = {first + place: layer.skip for place, layer in enumerate(layers[first : last + 1])}
        yield _word(rows[first : last + 1], skips, ends)
        ends[last] = len(ends) - 1
        first = last + 1
    pooled = isinstance(layers[-1], GlobalAveragePool)
    yield (END_POOL if pooled else END, 0, 0, 0, 0, 0, 0, 0, 0)


def _last_of_word(layers: Sequence[Layer], first: int, sources: set[int]) -> int:
    """Return the last layer of the word that begins at ``first``."""
    last = first
    if layers[first].code not in WEIGHTED:
        return last
    free = last not in sources and last + 1 < len(layers) - 1
    if free and not layers[last].skip and isinstance(layers[last + 1], BatchNorm):
        last += 1
        free = last not in sources and last + 1 < len(layers) - 1
    if free and isinstance(layers[last + 1], Activation) and not layers[last + 1].skip:
        last += 1
    return last


def _word(rows: Sequence[Row], skips: dict[int, int], ends: dict[int, int]) -> Word:
    """Return the word of some layers; ``skips`` by layer, ``ends`` with the words before it."""
    kind, kernel, width, stride, padding, _ = rows[0]
    number, followers = len(ends) - 1, [row[0] for row in rows[1:]]
    norm = BatchNorm.code in followers
    activation = followers[-1] if followers and followers[-1] in ACTIVATIONS else 0
    skip = next((number - ends[layer - back] for layer, back in skips.items() if back), 0)
    return (
        kind, kernel, padding, stride, width, 0, int(norm), skip, ACTIVATIONS.index(activation),
    )  # fmt: skip


def split_width(channels: Tensor) -> tuple[Tensor, Tensor]:
    """Return the bin and the fraction of it, nearest to widths in their logarithm."""
    steps = channels.clamp_min(1).double().log2() * BINS_PER_OCTAVE * FRACTIONS
    fine = (steps.round().long() + FRACTIONS // 2).clamp_max(WIDTHS * FRACTIONS - 1)
    return fine // FRACTIONS, fine % FRACTIONS


# ------------------------------------------------------------------ to networks


def width_of(bins: Tensor, fractions: Tensor) -> Tensor:
    """Return the widths nearest to the middle of bins and fractions: the inverse of `split_width`.

    Exact up to 50, within 2 % above.
    """
    fine = bins * FRACTIONS + fractions - FRACTIONS // 2
    exact = 2 ** (fine.double() / (BINS_PER_OCTAVE * FRACTIONS))
    return exact.round().long().clamp(1, MAX_WIDTH)


def from_categories(
    categories: Tensor, input_shape: tuple[int, int, int], classes: int
) -> Architecture:
    """Return the architecture of ``[T, F]`` categories.

    Raises:
        InvalidArchitectureError: They describe no network for this task.
    """
    widths = width_of(categories[:, WIDTH], categories[:, FRACTION]).tolist()
    rows: list[Row] = []
    ends = [-1]  # the last layer of each word, after the input
    for word, width in zip(categories.tolist(), widths, strict=True):
        if word[TYPE] in (END, NOTHING, END_POOL):
            break
        rows += _rows(word, width, len(rows), ends)
        ends.append(len(rows) - 1)
    pooled = END_POOL in categories[len(ends) - 1 : len(ends), TYPE].tolist()
    classifier = (GlobalAveragePool.code, 0, 0, 0, 0, 0) if pooled else _linear(classes)
    return Architecture.from_rows([*rows, classifier], input_shape)


def _linear(classes: int) -> Row:
    return (Linear.code, 0, classes, 0, 0, 0)


def _rows(word: Sequence[int], width: int, first: int, ends: Sequence[int]) -> list[Row]:
    """Return the layers of a word that begins with layer number ``first``."""
    kind, kernel, padding, stride, _, _, norm, skip, activation = word
    back = first + norm - ends[-skip] if skip else 0
    rows: list[Row] = [(kind, kernel, width, stride, padding, 0 if norm else back)]
    if norm:
        rows.append((BatchNorm.code, 0, 0, 0, 0, back))
    if activation:
        rows.append((ACTIVATIONS[activation], 0, 0, 0, 0, 0))
    return rows
