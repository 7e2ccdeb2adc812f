"""Which words may follow: the grammar that makes every decoding a network.

A state is what a prefix of words has made of the image: channels, sides, whether it is flat, all
earlier outputs. ``B`` networks are followed at once; letters and fields as in `vocabulary`.
"""

from dataclasses import dataclass

import torch
from torch import Tensor

from archpress.architectures.batch_cost import FLATTENING, POOLS, SPATIAL, WIDENED, WINDOWED
from archpress.architectures.layers import (
    KIND_BY_CODE,
    BatchNorm,
    DepthwiseConvolution,
    Linear,
    SqueezeExcite,
)
from archpress.embedding.vocabulary import (
    END,
    END_POOL,
    NORM,
    NOTHING,
    PADDING,
    POSITIONS,
    SIZES,
    SKIP,
    TYPE,
    codes,
    width_of,
)

MOST_SIDE = 512
"""No layer may make an image wider, by padding; only networks of the paper's space come near."""

CONTEXT = 7
"""Numbers that `Prefixes.context` gives."""


_IS_WINDOWED, _IS_SPATIAL, _IS_POOL = codes(*WINDOWED), codes(*SPATIAL), codes(*POOLS)
_IS_WIDENED, _IS_FLATTENING = codes(*WIDENED), codes(*FLATTENING)
_IS_LINEAR, _IS_NORM = codes(Linear.code), codes(BatchNorm.code)
_IS_DEPTHWISE, _IS_SQUEEZE = codes(DepthwiseConvolution.code), codes(SqueezeExcite.code)
_IS_LAYER = codes(*KIND_BY_CODE)


@dataclass
class Prefixes:
    """The states of ``B`` networks after ``place`` layers.

    Attributes:
        shapes: int64 ``[B, T + 1, 3]``: the input and each output so far; flat ones have sides 1.
        flat: bool ``[B, T + 1]``.
        parameters: float32 ``[B]``, those so far.
        macs: float32 ``[B]``.
        classes: int64 ``[B]``.
        place: Layers so far.
    """

    shapes: Tensor
    flat: Tensor
    parameters: Tensor
    macs: Tensor
    classes: Tensor
    place: int = 0

    @classmethod
    def start(cls, input_shapes: Tensor, classes: Tensor) -> "Prefixes":
        """Return the states before the first layer.

        Args:
            input_shapes: int64 ``[B, 3]``.
            classes: int64 ``[B]``.
        """
        count = len(input_shapes)
        shapes = torch.ones(count, POSITIONS + 1, 3, dtype=torch.long)
        shapes[:, 0] = input_shapes
        flat = torch.zeros(count, POSITIONS + 1, dtype=torch.bool)
        return cls(shapes, flat, torch.zeros(count), torch.zeros(count), classes)

    @property
    def now(self) -> tuple[Tensor, Tensor]:
        """Shape ``[B, 3]`` and flatness ``[B]`` before the next layer."""
        return self.shapes[:, self.place], self.flat[:, self.place]

    def context(self) -> Tensor:
        """Return float32 ``[B, CONTEXT]``: what the next layer finds, on scales of about 1."""
        shape, flat = self.now
        logs = shape.float().log2() / torch.tensor([12.0, 6.0, 6.0])
        place = torch.full_like(self.parameters, self.place / POSITIONS)
        costs = [self.parameters.add(1).log10() / 6, self.macs.add(1).log10() / 8]
        return torch.stack([*logs.unbind(1), flat.float(), *costs, place], 1)

    def types(self) -> Tensor:
        """Return bool ``[B, types]``: which types may come next; the classifier always may."""
        shape, flat = self.now
        allowed = _IS_LAYER & ~(flat[:, None] & _IS_SPATIAL)
        if self.place == POSITIONS - 1:
            allowed = torch.zeros_like(allowed)
        allowed[:, END] = True
        allowed[:, END_POOL] = ~flat & (shape[:, 0] == self.classes)
        return allowed

    def paddings(self, types: Tensor, kernels: Tensor) -> Tensor:
        """Return bool ``[B, paddings]``: enough for the kernel, of a pool at most half of it."""
        shape, _ = self.now
        padding = torch.arange(SIZES[PADDING])
        low, high = shape[:, 1:].amin(1, keepdim=True), shape[:, 1:].amax(1, keepdim=True)
        enough = low + 2 * padding >= kernels[:, None]
        small = ~_IS_POOL[types][:, None] | (padding <= kernels[:, None] // 2)
        needed = (kernels[:, None] - low + 1).clamp_min(0) // 2
        return enough & small & ((high + 2 * padding <= MOST_SIDE) | (padding == needed))

    def output(self, categories: Tensor) -> tuple[Tensor, Tensor]:
        """Return shape ``[B, 3]`` and flatness ``[B]`` after layers ``[B, F]``."""
        kinds, kernel, padding, stride, width, fraction = categories[:, :NORM].unbind(1)
        shape, flat = self.now
        windowed, ends = _IS_WINDOWED[kinds], _IS_FLATTENING[kinds]
        channels = torch.where(_IS_WIDENED[kinds], width_of(width, fraction), shape[:, 0])
        stride = torch.where(windowed, stride, 1).clamp_min(1)
        grown = torch.where(windowed, 2 * padding - kernel + 1, 0)
        sides = (shape[:, 1:] + (grown - 1)[:, None]) // stride[:, None] + 1
        sides = torch.where(ends[:, None], 1, sides.clamp_min(1))
        return torch.cat([channels[:, None], sides], 1), flat | ends

    def skips(self, categories: Tensor) -> Tensor:
        """Return bool ``[B, skips]``: which earlier outputs the layers' output may be added to."""
        after, flat_after = self.output(categories)
        skip = torch.arange(SIZES[SKIP])
        source = (self.place + 1 - skip).clamp_min(0)
        before, flat = self.shapes[:, source], self.flat[:, source]
        return fits(before, flat, after, flat_after) & (skip <= self.place + 1) | (skip == 0)

    def advance(self, categories: Tensor) -> None:
        """Add a layer ``[B, F]`` to every network; after its end a network stays as it is."""
        kinds, skip = categories[:, TYPE], categories[:, SKIP]
        before, _ = self.now
        after, flat = self.output(categories)
        layer = _IS_LAYER[kinds]
        after = torch.where(layer[:, None], after, before)
        self._count(categories, before, after)
        source = (self.place + 1 - skip).clamp_min(0)
        added = self.shapes[torch.arange(len(source)), source]
        fitted = (skip > 0) & (added != after).any(1)
        self.parameters += fitted * after[:, 0] * (added[:, 0] + 2)
        self.macs += fitted * after.prod(1).float() * added[:, 0]
        self.place += 1
        self.shapes[:, self.place], self.flat[:, self.place] = after, flat

    def _count(self, categories: Tensor, before: Tensor, after: Tensor) -> None:
        kinds, kernel, _, _, width, fraction = categories[:, :NORM].unbind(1)
        channels, area = before[:, 0].float(), (kernel * kernel).float()
        inputs = torch.where(_IS_LINEAR[kinds], before.prod(1).float(), channels * area)
        inputs = torch.where(_IS_DEPTHWISE[kinds], area, inputs)
        weighted = _IS_WIDENED[kinds] | _IS_DEPTHWISE[kinds]
        out, places = after[:, 0].float(), after.prod(1).float()
        squeezed = _IS_SQUEEZE[kinds] * width_of(width, fraction).float()
        norm = _IS_NORM[kinds] | (categories[:, NORM] > 0)
        self.parameters += weighted * out * (inputs + 1) + norm * 2 * out
        self.parameters += 2 * squeezed * channels + (squeezed > 0) * (squeezed + channels)
        self.macs += weighted * places * inputs + 2 * squeezed * channels
        ends = (kinds == END).float()
        self.parameters += ends * self.classes * (before.prod(1).float() + 1)
        self.macs += ends * self.classes * before.prod(1).float()


def fits(before: Tensor, flat: Tensor, after: Tensor, flat_after: Tensor) -> Tensor:
    """Return bool ``[B, S]``: which of ``S`` earlier outputs can be added to the output now.

    As `shortcut_layers` decides: shapes agree, or a 1x1 convolution with a stride makes them.

    Args:
        before: Shapes ``[B, S, 3]``.
        flat: ``[B, S]``.
        after: Shapes ``[B, 3]``.
        flat_after: ``[B]``.
    """
    after, flat_after = after[:, None], flat_after[:, None]
    same = (before == after).all(2) & (flat == flat_after)
    sides, wanted = before[..., 1:], after[..., 1:]
    stride = (-(-sides // wanted)).amax(2, keepdim=True).clamp_min(1)
    fitted = (-(-sides // stride) == wanted).all(2) & ~flat & ~flat_after
    return same | fitted


@dataclass(frozen=True)
class Read:
    """What a batch of whole networks is learned from.

    Attributes:
        categories: int64 ``[B, T, F]``.
        context: float32 ``[B, T, CONTEXT]``, before each layer.
        log_parameters: float32 ``[B]``, decimal.
        log_macs: float32 ``[B]``, decimal.
        in_use: bool ``[B, T]``: layers and the end.
    """

    categories: Tensor
    context: Tensor
    log_parameters: Tensor
    log_macs: Tensor
    in_use: Tensor


def read(categories: Tensor, input_shapes: Tensor, classes: Tensor) -> Read:
    """Follow whole networks ``[B, T, F]`` from their inputs ``[B, 3]``."""
    in_use = categories[..., TYPE] != NOTHING
    state = Prefixes.start(input_shapes, classes)
    context = torch.zeros(*in_use.shape, CONTEXT)
    for place in range(int(in_use.sum(1).amax()) if len(in_use) else 0):
        context[:, place] = state.context()
        state.advance(categories[:, place])
    parameters, macs = state.parameters.clamp_min(1).log10(), state.macs.clamp_min(1).log10()
    return Read(categories, context, parameters, macs, in_use)
