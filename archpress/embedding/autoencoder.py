"""Encoder and decoder that are pretrained on architectures without labels.

The encoder is a residual 1-D CNN over the sequence (section 4.1), each word read together with what
the words before it have come to. It keeps a short time axis: ``y`` is ``[B, D]`` with ``D =
SPANS * width``, one part for every eight words. The decoder unfolds y by a transposed convolution
and then says word after word, field after field, each knowing what was said.
"""

import math
from typing import NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from archpress.embedding.grammar import CONTEXT, Prefixes, Read
from archpress.embedding.vocabulary import (
    END,
    END_POOL,
    FIELDS,
    FRACTION,
    FRACTIONS,
    KERNEL,
    NOTHING,
    PADDING,
    POSITIONS,
    SIZES,
    SKIP,
    STRIDE,
    TYPE,
    WIDTH,
    WIDTHS,
    has_field,
)

STAGES = 3
SPAN = 2**STAGES
SPANS = POSITIONS // SPAN
COSTS = 2
"""Free targets: decimal logarithms of parameters and MACs."""


class Words(nn.Module):
    """Layers as vectors, the sum of a vector per field: ``[..., F]`` to ``[..., C]``.

    Args:
        channels: C.
    """

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.fields = nn.ModuleList(nn.Embedding(size, channels) for size in SIZES)
        self.width = nn.Linear(1, channels, bias=False)

    def forward(self, categories: Tensor) -> Tensor:
        """Return the vectors."""
        total: Tensor = self.width(log_width(categories)[..., None])
        for field, table in zip(categories.unbind(-1), self.fields, strict=True):
            total = total + table(field)
        return total


def log_width(categories: Tensor) -> Tensor:
    """Return log2 of widths over 12, ``[...]``."""
    steps = categories[..., WIDTH] * FRACTIONS + categories[..., FRACTION] - FRACTIONS // 2
    return steps.clamp_min(0) / (WIDTHS * FRACTIONS)


class ResidualUnit(nn.Module):
    """``x' = act(norm(conv(x))) + shortcut(x)`` (appendix 8), over positions that are in use.

    ``[B, C, T]`` in, ``[B, C, ceil(T / stride)]`` out, zero where nothing is in use; the norm is
    over channels, so that a network's reading does not depend on how far others reach.
    """

    def __init__(self, channels: int, stride: int = 1) -> None:
        super().__init__()
        self.convolution = nn.Conv1d(channels, channels, 3, stride, 1)
        self.norm = nn.LayerNorm(channels)
        self.shortcut = nn.Conv1d(channels, channels, 1, stride) if stride > 1 else nn.Identity()

    def forward(self, x: Tensor, in_use: Tensor) -> Tensor:
        """Return the unit's output; ``in_use`` ``[B, 1, T']`` is of its positions."""
        h = self.norm(self.convolution(x).transpose(1, 2)).transpose(1, 2)
        result: Tensor = (F.relu(h) + self.shortcut(x)) * in_use
        return result


def on_sphere(spans: Tensor) -> Tensor:
    """Return spans ``[..., width]`` with mean 0 and variance 1 each; zeros stay zeros."""
    return F.layer_norm(spans, spans.shape[-1:])


class SequenceEncoder(nn.Module):
    """``y = E(x)``: words and their context to ``[B, D]``, on a sphere; zero after the end.

    Args:
        channels: Channels of every unit.
        width: Entries of y per span of eight positions.
    """

    def __init__(self, channels: int, width: int) -> None:
        super().__init__()
        self.width = width
        self.words = Words(channels)
        self.context = nn.Linear(CONTEXT, channels)
        strides = [*(stride for _ in range(STAGES) for stride in (1, 2)), 1, 1]
        self.units = nn.ModuleList(ResidualUnit(channels, stride) for stride in strides)
        self.strides = strides
        self.project = nn.Linear(channels, width)

    def forward(self, read: Read) -> Tensor:
        """Return the embeddings ``[B, D]``."""
        longest = int(read.in_use.sum(1).amax())
        length = -(-longest // SPAN) * SPAN  # the rest is zero, whatever the weights
        in_use = read.in_use[:, None, :length].float()
        x = self.words(read.categories[:, :length]) + self.context(read.context[:, :length])
        x = x.transpose(1, 2) * in_use
        for unit, stride in zip(self.units, self.strides, strict=True):
            in_use = in_use[..., ::stride]
            x = unit(x, in_use)
        alive = in_use[:, 0].bool()
        y: Tensor = x.new_zeros(len(x), SPANS, self.width)
        y[:, : length // SPAN][alive] = on_sphere(self.project(x.transpose(1, 2)[alive]))
        return y.flatten(1)


class SequenceDecoder(nn.Module):
    """``x_hat = D(y)``: spans unfolded by a transposed convolution, then word after word.

    Args:
        channels: Channels of every unit.
        hidden: Width of what decides a field.
        width: Entries of y per span.
    """

    def __init__(self, channels: int, hidden: int, width: int) -> None:
        super().__init__()
        self.width = width
        self.expand = nn.Conv1d(width, 2 * channels, 1)
        self.units = nn.ModuleList(ResidualUnit(2 * channels) for _ in range(3))
        self.spread = nn.ConvTranspose1d(2 * channels, channels, SPAN, SPAN)
        self.context = nn.Linear(CONTEXT, channels)
        self.before = Words(channels)
        self.trunk = nn.Sequential(
            nn.ReLU(), nn.Linear(channels, 2 * hidden), nn.ReLU(), nn.Linear(2 * hidden, hidden)
        )
        self.said = nn.ModuleList(nn.Embedding(size, hidden) for size in SIZES[:-1])
        self.decide = nn.ModuleList(
            nn.Sequential(nn.ReLU(), nn.Linear(hidden, hidden), nn.ReLU(), nn.Linear(hidden, size))
            for size in SIZES
        )

    def unfold(self, y: Tensor) -> Tensor:
        """Return what the embedding says of each position, ``[B, T, C]``."""
        h = self.expand(on_sphere(y.view(-1, SPANS, self.width)).transpose(1, 2))
        for unit in self.units:
            h = unit(h, torch.ones(1, 1, 1))
        return self.spread(h).transpose(1, 2)  # type: ignore[no-any-return]

    def state(self, unfolded: Tensor, context: Tensor, before: Tensor) -> Tensor:
        """Return what decides the next word, ``[..., hidden]``.

        Args:
            unfolded: ``[..., C]``.
            context: Of the prefix, ``[..., CONTEXT]``.
            before: The word before, categories ``[..., F]``.
        """
        x = unfolded + self.context(context) + self.before(before)
        return self.trunk(x)  # type: ignore[no-any-return]

    def logits(self, y: Tensor, read: Read) -> list[Tensor]:
        """Return for each field ``[N, categories]``, given the fields said before it.

        ``N`` is the number of words that are in use, in order.
        """
        before = F.pad(read.categories, (0, 0, 1, 0))[:, :-1]
        before[:, 0, TYPE] = NOTHING
        used = read.in_use
        u = self.state(self.unfold(y)[used], read.context[used], before[used])
        words = read.categories[used]
        found = []
        for index, decide in enumerate(self.decide):
            found.append(decide(u))
            if index < len(self.said):
                u = u + self.said[index](words[:, index])
        return found

    @torch.no_grad()
    def decode(self, y: Tensor, input_shapes: Tensor, classes: Tensor) -> Tensor:
        """Return the likeliest words under the grammar, categories ``[B, T, F]``.

        Args:
            y: ``[B, D]``.
            input_shapes: int64 ``[B, 3]``.
            classes: int64 ``[B]``.
        """
        unfolded = self.unfold(y)
        state = Prefixes.start(input_shapes, classes)
        result = torch.zeros(len(y), POSITIONS, len(FIELDS), dtype=torch.long)
        result[..., TYPE] = NOTHING
        before = result[:, 0].clone()
        ended = torch.zeros(len(y), dtype=torch.bool)
        for place in range(POSITIONS):
            u = self.state(unfolded[:, place], state.context(), before)
            said = self._word(u, state)
            said[ended] = torch.tensor([NOTHING, *[0] * (len(FIELDS) - 1)])
            ended |= (said[:, TYPE] == END) | (said[:, TYPE] == END_POOL)
            result[:, place] = before = said
            if ended.all():
                break
            state.advance(said)
        return result

    def _word(self, u: Tensor, state: Prefixes) -> Tensor:
        """Return the next word of each network, ``[B, F]``."""
        said = torch.zeros(len(u), len(FIELDS), dtype=torch.long)
        for index, decide in enumerate(self.decide):
            logits = decide(u).masked_fill(~_allowed(index, state, said), -math.inf)
            best = logits.argmax(1)
            said[:, index] = best * has_field(said[:, TYPE])[:, index] if index else best
            if index < len(self.said):
                u = u + self.said[index](said[:, index])
        return said


def _allowed(index: int, state: Prefixes, said: Tensor) -> Tensor:
    """Return bool ``[B, categories]`` of a field, given those said before it."""
    if index == TYPE:
        return state.types()
    if index == PADDING:
        return state.paddings(said[:, TYPE], said[:, KERNEL])
    if index == SKIP:
        return state.skips(said)
    allowed = torch.ones(1, SIZES[index], dtype=torch.bool)
    allowed[:, 0] = index not in (KERNEL, STRIDE)
    return allowed


class Losses(NamedTuple):
    """The pretraining loss and its terms, scalars."""

    total: Tensor
    words: Tensor
    costs: Tensor


class Autoencoder(nn.Module):
    """Encoder, decoder and the heads of the free targets.

    Args:
        channels: Channels of encoder and decoder.
        width: Entries of y per span.
        hidden: Width of what decides a field.
    """

    def __init__(self, channels: int = 96, width: int = 32, hidden: int = 128) -> None:
        super().__init__()
        self.size = width * SPANS
        self.sizes = {"channels": channels, "width": width, "hidden": hidden}
        self.encoder = SequenceEncoder(channels, width)
        self.decoder = SequenceDecoder(channels, hidden, width)
        self.costs = nn.Sequential(
            nn.Linear(self.size, 256), nn.ReLU(), nn.Linear(256, 128), nn.ReLU(),
            nn.Linear(128, COSTS),
        )  # fmt: skip

    def losses(self, read: Read, noise: Tensor) -> Losses:
        """Return the losses of a batch.

        Args:
            read: The networks.
            noise: ``[B, D]``, added to the embeddings, so that what lies near decodes alike.
        """
        y = self.encoder(read) + noise
        words = _cross_entropy(self.decoder.logits(y, read), read)
        target = torch.stack([read.log_parameters, read.log_macs], 1)
        costs = F.huber_loss(self.costs(y), target, delta=0.1) / 0.1
        return Losses(words + costs, words, costs)


def _cross_entropy(logits: list[Tensor], read: Read) -> Tensor:
    """Return the nats per word."""
    words = read.categories[read.in_use]
    has = has_field(words[:, TYPE])
    total = torch.zeros(())
    for index, of_field in enumerate(logits):
        each = F.cross_entropy(of_field.float(), words[:, index], reduction="none")
        total = total + (each * has[:, index]).sum()
    return total / len(words)
