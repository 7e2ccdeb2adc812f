"""How tokens enter the encoder, how they are read off the decoder, and the decoder's loss L_d."""

import math
from abc import ABC, abstractmethod

import torch
import torch.nn.functional as F
from torch import Tensor

from archpress.architectures.layers import PAPER_KINDS
from archpress.embedding.tokens import FIELDS, RANGES, field_masks

BINS_PER_OCTAVE = 8
EXACT_WIDTHS = 16


class Codec(ABC):
    """One reading of the fields.

    Attributes:
        inputs: Channels that :meth:`encode` makes.
        outputs: Channels that the decoder must give.
        kinds: The layer kinds that a decoding may have are those with codes up to this one.
    """

    inputs: int
    outputs: int
    kinds: int

    @abstractmethod
    def encode(self, tokens: Tensor) -> Tensor:
        """Return float32 ``[B, inputs, T]`` of int64 tokens ``[B, T, F]``."""

    @abstractmethod
    def decode(self, output: Tensor) -> Tensor:
        """Return int64 tokens ``[B, T, F]`` of a decoder output ``[B, outputs, T]``."""

    @abstractmethod
    def loss(self, output: Tensor, tokens: Tensor) -> Tensor:
        """Return the scalar ``L_d(x_hat, x)``, the mean over the batch."""


class ScaledFields(Codec):
    """The paper's reading: six real rows, squared error, rounding (sections 4.1 and 4.3).

    Args:
        raw: Leave the integers as they are, as the text has it; 99.998 % of the loss is then about
            channels. By default each field is divided by its range (decision R3).
    """

    inputs = outputs = len(FIELDS)
    kinds = PAPER_KINDS

    def __init__(self, raw: bool = False) -> None:
        ranges = torch.tensor((PAPER_KINDS, *RANGES[1:])).float()
        self.ranges = torch.ones(len(FIELDS)) if raw else ranges

    def encode(self, tokens: Tensor) -> Tensor:
        return (tokens / self.ranges).transpose(1, 2)

    def decode(self, output: Tensor) -> Tensor:
        return (output.transpose(1, 2) * self.ranges).round().long().clamp_min(0)

    def loss(self, output: Tensor, tokens: Tensor) -> Tensor:
        """Return ``1/T sum_i |x_hat_i - x_i|^2`` over scaled fields."""
        return (output - self.encode(tokens)).square().sum(1).mean()


def _width_bins() -> Tensor:
    steps = BINS_PER_OCTAVE * int(math.log2(RANGES[2])) + 1
    spaced = {round(2 ** (step / BINS_PER_OCTAVE)) for step in range(steps)}
    return torch.tensor(sorted(spaced | set(range(1, EXACT_WIDTHS + 1))))


class CategoricalFields(Codec):
    """The default reading (decision R3): every field a category, widths in log-spaced bins.

    A width is expressed within 6 % (8 bins per octave; every integer up to 16). The loss is
    cross-entropy, of the type at each position up to the first padding and of the other fields
    where the layer has them.
    """

    kinds = RANGES[0]

    def __init__(self) -> None:
        self.widths = _width_bins()
        self.sizes = tuple(
            len(self.widths) if name == "channels" else limit + 1
            for name, limit in zip(FIELDS, RANGES, strict=True)
        )
        self.outputs = sum(self.sizes)
        self.inputs = self.outputs + 1

    def _bins(self, tokens: Tensor) -> Tensor:
        """Return tokens ``[B, T, F]``, channels replaced by the nearest bin in log width."""
        middles = (self.widths[1:].log() + self.widths[:-1].log()) / 2
        bins = torch.bucketize(tokens[..., 2].clamp_min(1).log(), middles)
        return torch.cat([tokens[..., :2], bins[..., None], tokens[..., 3:]], -1)

    def encode(self, tokens: Tensor) -> Tensor:
        """Return one-hot fields, and log2 of the width over 12, as ``[B, inputs, T]``."""
        bins = self._bins(tokens)
        parts = [F.one_hot(bins[..., i], size) for i, size in enumerate(self.sizes)]
        log_width = tokens[..., 2:3].clamp_min(1).log2() / math.log2(RANGES[2])
        return torch.cat([*(part.float() for part in parts), log_width], -1).transpose(1, 2)

    def decode(self, output: Tensor) -> Tensor:
        best = [logits.argmax(1) for logits in output.split(self.sizes, 1)]
        best[2] = self.widths[best[2]]
        tokens = torch.stack(best, -1)
        return tokens * field_masks(tokens)

    def loss(self, output: Tensor, tokens: Tensor) -> Tensor:
        """Return the summed cross-entropies of a position, averaged over positions in use."""
        bins = self._bins(tokens)
        masks = field_masks(tokens)
        first = torch.ones_like(masks[:, :1, 0])
        in_use = torch.cat([first, masks[:, :-1, 0]], 1)  # layers, and the padding that ends them
        total = output.new_zeros(())
        for index, logits in enumerate(output.split(self.sizes, 1)):
            mask = in_use if index == 0 else masks[..., index]
            cross = F.cross_entropy(logits, bins[..., index], reduction="none")
            total = total + (cross * mask).sum()
        return total / in_use.sum()


def make_codec(name: str) -> Codec:
    """Return the codec called ``categorical``, ``scaled`` or ``raw``."""
    return CategoricalFields() if name == "categorical" else ScaledFields(raw=name == "raw")
