"""Architecture <-> padded integer vectors ``[T, F]``: the discrete side of the embedding.

Tensor letters used in this package: ``B`` batch of architectures, ``T`` positions of the padded
sequence (64, decision R8), ``F`` fields of a layer (type, kernel, output channels, stride, padding,
skip), ``D`` embedding size, ``S`` descent starts.
"""

from collections.abc import Sequence

import torch
from torch import Tensor

from archpress.architectures.architecture import Architecture
from archpress.architectures.batch_cost import OWN_WIDTH, WINDOWED
from archpress.architectures.layers import KIND_BY_CODE
from archpress.architectures.spaces import (
    MAX_KERNEL,
    MAX_LAYERS,
    MAX_PADDING,
    MAX_STRIDE,
    MAX_WIDTH,
)
from archpress.errors import EmbeddingError, InvalidArchitectureError

FIELDS = ("type", "kernel", "channels", "stride", "padding", "skip")
POSITIONS = MAX_LAYERS
RANGES = (len(KIND_BY_CODE), MAX_KERNEL, MAX_WIDTH, MAX_STRIDE, MAX_PADDING, POSITIONS)
"""The largest value of each field; what appendix 9 draws from, and the canvas for the skip."""


def to_tokens(architectures: Sequence[Architecture]) -> Tensor:
    """Return int64 ``[B, T, F]``, rows of zeros after the last layer.

    Raises:
        EmbeddingError: A network has more than 64 layers or a field beyond `RANGES`.
    """
    tokens = torch.zeros(len(architectures), POSITIONS, len(FIELDS), dtype=torch.long)
    for index, architecture in enumerate(architectures):
        rows = architecture.rows()
        if len(rows) > POSITIONS:
            raise EmbeddingError(
                f"a network of {len(rows)} layers exceeds the {POSITIONS} positions"
            )
        tokens[index, : len(rows)] = torch.tensor(rows)
    highest = tokens.flatten(0, 1).amax(0).tolist() if len(architectures) else [0] * len(FIELDS)
    for name, value, limit in zip(FIELDS, highest, RANGES, strict=True):
        if value > limit:
            raise EmbeddingError(f"a layer has {name} {value}, the embedding reaches {limit}")
    return tokens


def why_inexpressible(architecture: Architecture) -> str:
    """Return why the embedding cannot take a network, in words; empty where it can."""
    try:
        to_tokens([architecture])
    except EmbeddingError as error:
        return str(error)
    return ""


def field_masks(tokens: Tensor) -> Tensor:
    """Return bool ``[..., F]``: which fields of ``[..., F]`` tokens their layer kinds have.

    The output channels of a kind that keeps its channels are derived, hence not its own.
    """
    kind = tokens[..., 0]
    windowed = torch.isin(kind, torch.tensor(WINDOWED))
    widened = torch.isin(kind, torch.tensor(OWN_WIDTH))
    return torch.stack([kind > 0, windowed, widened, windowed, windowed, kind > 0], -1)


def used_rows(tokens: Tensor) -> list[list[int]]:
    """Return the rows of ``[T, F]`` tokens before the padding (type 0) that ends the network."""
    rows: list[list[int]] = tokens.tolist()
    for index, row in enumerate(rows):
        if row[0] <= 0:
            return rows[:index]
    return rows


def from_tokens(tokens: Tensor, input_shape: tuple[int, int, int], classes: int) -> Architecture:
    """Return the architecture that ``[T, F]`` tokens say, changing nothing.

    Fields that a layer lacks or derives from its input (the channels of a pool) are not read.

    Raises:
        InvalidArchitectureError: They describe no network for this task.
    """
    architecture = Architecture.from_rows(used_rows(tokens), input_shape)
    if architecture.classes != classes:
        raise InvalidArchitectureError(
            f"the last layer has {architecture.classes} outputs for {classes} classes"
        )
    return architecture
