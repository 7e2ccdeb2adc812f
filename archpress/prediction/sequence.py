"""A network layer by layer, as a vector of one length: for kernels that compare like with like.

`profile` describes what happens at each resolution, `sequence` the layers next to either end. Both
are 0 where a network has nothing, and leave out the layer that makes the logits, as `features` do.
"""

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from archpress.architectures.architecture import Architecture
from archpress.prediction.layer_table import Column, LayerTable, Mask

Matrix = NDArray[np.float64]

LEVELS = 6
"""Resolutions that `profile` tells apart: the image's side, halved 0 to 5 times and more."""

POSITIONS = 12
"""Layers from either end that `sequence` tells apart."""

MIDDLE_LOG_WIDTH = 7
"""Widths count from 128 channels, so that they lie about 0, which stands for no layer."""


def profile(architectures: Sequence[Architecture]) -> Matrix:
    """Return what networks do at each resolution, float64 ``[B, 10 LEVELS]``."""
    rows = [_profile(LayerTable.of(architecture)) for architecture in architectures]
    return np.array(rows, np.float64).reshape(len(rows), -1)


def _profile(table: LayerTable) -> Column:
    """Return ``[10 LEVELS]``; a convolution counts where its output lies, all else by its input."""
    side = np.where(table.body, table.side_out, table.side_in)
    level = np.rint(np.log2(table.input_side / np.maximum(side, 1))).clip(0, LEVELS - 1)
    return np.concatenate([_at(table, (level == v) & (side > 0)) for v in range(LEVELS)])


def _at(table: LayerTable, here: Mask) -> Column:
    """Return what the layers ``here`` are, ``[10]``."""
    body, spatial = here & table.body, here & table.spatial
    wide = body & ~table.depthwise
    widths = np.log2(table.channels_out[wide]) if wide.any() else np.zeros(1)
    return np.array(
        [
            spatial.sum(),
            (here & table.pointwise).sum(),
            (here & table.depthwise).sum(),
            (table.kernel[spatial] - 1).sum(),
            widths.mean(),
            widths.max(),
            np.log2(1 + table.macs[body].sum()),
            np.log2(1 + table.parameters[body].sum()),
            table.kernel[here & table.pools].sum(),
            table.rates[here[table.dropouts]].sum(),
        ]
    )


def sequence(architectures: Sequence[Architecture]) -> Matrix:
    """Return the layers next to either end of networks, float64 ``[B, 2 * POSITIONS * 9]``.

    Convolutions, pools and hidden Linear layers count; first come the first ``POSITIONS`` of them,
    then the last ones, from the end on.
    """
    rows = [_ends(LayerTable.of(architecture)) for architecture in architectures]
    return np.array(rows, np.float64).reshape(len(rows), -1)


def _ends(table: LayerTable) -> Column:
    layers = _described(table)[table.body | table.pools | table.hidden]
    ends = np.zeros((2, POSITIONS, layers.shape[1]))
    for end, ordered in zip(ends, (layers, layers[::-1]), strict=True):
        end[: len(ordered)] = ordered[:POSITIONS]
    return ends.ravel()


def _described(table: LayerTable) -> Matrix:
    """Return nine numbers of every layer, ``[T, 9]``."""
    level = np.log2(table.input_side / np.maximum(table.side_in, 1))
    of_body = (
        np.log2(table.channels_out) - MIDDLE_LOG_WIDTH,
        np.log2(table.channels_in) - MIDDLE_LOG_WIDTH,
        table.kernel - 3,
        table.kernel == 1,
        level,
        np.ones_like(level),
    )
    body = np.stack(of_body, 1) * table.body[:, None]
    return np.column_stack([body, table.pools, table.hidden, table.depthwise])
