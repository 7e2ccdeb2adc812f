"""A network in few numbers that mean the same in every space: ``[B, K]``, named by `NAMES`.

Nothing is trained or even built. Sizes are logarithms to base 2, counts are of layers, and what a
network lacks (no pool, no Dropout) is 0. The layer that makes the logits is no part of widths,
kernels and counts, so that a network with a classifying convolution and one with a Linear layer
compare.
"""

import math
from collections.abc import Callable, Mapping, Sequence

import numpy as np
from numpy.typing import NDArray

from archpress.architectures.architecture import Architecture
from archpress.architectures.layers import BatchNorm, Linear, SqueezeExcite
from archpress.prediction.layer_table import ACTIVATIONS, Column, LayerTable, Mask

Matrix = NDArray[np.float64]
Feature = Callable[[LayerTable], float]


def summary(architectures: Sequence[Architecture]) -> Matrix:
    """Return the features of networks, float64 ``[B, K]``, columns as in `NAMES`."""
    tables = [LayerTable.of(architecture) for architecture in architectures]
    rows = [[feature(table) for feature in FEATURES.values()] for table in tables]
    return np.array(rows, np.float64).reshape(len(rows), len(FEATURES))


# ------------------------------------------------------------------ size


def _log(value: float) -> float:
    return float(np.log2(max(value, 1)))


def _bottleneck(table: LayerTable) -> float:
    """Return the fewest values between two layers, up to where the sides go."""
    between = table.values_in[1 : table.first_flat + 1]
    return _log(float(between.min() if len(between) else table.values_in[0]))


def _mean_log(values: Column, mask: Mask) -> float:
    return float(np.log2(np.maximum(values[mask], 1)).mean()) if mask.any() else 0.0


def _least_log(values: Column, mask: Mask) -> float:
    return _log(float(values[mask].min())) if mask.any() else 0.0


SIZE: Mapping[str, Feature] = {
    "log_parameters": lambda t: _log(t.network.cost.parameters),
    "log_macs": lambda t: _log(t.network.cost.macs),
    "log_activation_bytes": lambda t: _log(t.network.cost.activation_bytes),
    "log_spatial_parameters": lambda t: _log(float(t.parameters[t.spatial].sum())),
    "mean_log_parameters": lambda t: _mean_log(t.parameters, t.body),
    "least_log_parameters": lambda t: _least_log(t.parameters, t.body),
    "least_log_macs": lambda t: _least_log(t.macs, t.body),
    "log_bottleneck": _bottleneck,
}

# ------------------------------------------------------------------ how it ends


def _linear_share(table: LayerTable) -> float:
    linear = float(table.parameters[table.kind == Linear.code].sum())
    return linear / max(float(table.parameters.sum()), 1.0)


HEAD: Mapping[str, Feature] = {
    "global_pooling": lambda t: float(t.pooled),
    "log_final_side": lambda t: _log(float(t.side_in[t.first_flat])),
    "log_final_features": lambda t: _log(float(t.values_in[t.first_flat])),
    "log_head_inputs": lambda t: _log(
        float((t.channels_in if t.side_in[t.head] and t.pooled else t.values_in)[t.head])
    ),
    "log_receptive_field": lambda t: _log(t.network.cost.receptive_field),
    "hidden_linear": lambda t: float(t.hidden.sum()),
    "linear_share": _linear_share,
}

# ------------------------------------------------------------------ what it is made of


def _window(table: LayerTable, place: int) -> float:
    kernels = table.kernel[table.body]
    return float(kernels[place]) if len(kernels) else 0.0


STACK: Mapping[str, Feature] = {
    "log_layers": lambda t: float(np.log2(1 + t.body.sum() + t.hidden.sum())),
    "spatial_convolutions": lambda t: float((t.spatial & ~t.depthwise).sum()),
    "pointwise_convolutions": lambda t: float(t.pointwise.sum()),
    "depthwise_convolutions": lambda t: float(t.depthwise.sum()),
    "activations": lambda t: float(np.isin(t.kind, ACTIVATIONS).sum()),
    "norms": lambda t: float((t.kind == BatchNorm.code).sum()),
    "pools": lambda t: float(t.pools.sum()),
    "skips": lambda t: float((t.skip > 0).sum()),
    "squeeze_excites": lambda t: float((t.kind == SqueezeExcite.code).sum()),
    "mean_kernel": lambda t: float(t.kernel[t.body].mean()) if t.body.any() else 0.0,
    "largest_kernel": lambda t: float(t.kernel[t.body].max(initial=0.0)),
    "first_kernel": lambda t: _window(t, 0),
    "last_kernel": lambda t: _window(t, -1),
    "early_pointwise": lambda t: float((t.kernel[t.body][:2] == 1).sum()),
}

# ------------------------------------------------------------------ what it drops


def _least_kept(table: LayerTable) -> float:
    """Return the fewest channels that a Dropout leaves on average, in logs."""
    kept = table.channels_in[table.dropouts] * (1 - table.rates)
    return _log(float(kept.min())) if len(kept) else _log(float(table.channels_in[table.head]))


def _log_kept(table: LayerTable) -> float:
    return float(-np.log(np.maximum(1 - table.rates, 1e-3)).sum())


DROPOUT: Mapping[str, Feature] = {
    "dropouts": lambda t: float(len(t.rates)),
    "total_dropout": _log_kept,
    "mean_dropout": lambda t: float(t.rates.mean()) if len(t.rates) else 0.0,
    "largest_dropout": lambda t: float(t.rates.max(initial=0.0)),
    "last_dropout": lambda t: float(t.rates[-1]) if len(t.rates) else 0.0,
    "log_least_kept": _least_kept,
}

# ------------------------------------------------------------------ how wide it is


def _log_widths(table: LayerTable) -> Column:
    widths: Column = np.log2(table.channels_out[table.body])
    return widths if len(widths) else np.zeros(1)


def _slope(table: LayerTable) -> float:
    """Return the rise of the log width from one end to the other, least squares."""
    widths = _log_widths(table)
    place = np.linspace(-0.5, 0.5, len(widths))
    return float(place @ widths / (place @ place)) if len(widths) > 1 else 0.0


WIDTH: Mapping[str, Feature] = {
    "first_log_width": lambda t: float(_log_widths(t)[0]),
    "last_log_width": lambda t: float(_log_widths(t)[-1]),
    "mean_log_width": lambda t: float(_log_widths(t).mean()),
    "largest_log_width": lambda t: float(_log_widths(t).max()),
    "least_log_width": lambda t: float(_log_widths(t).min()),
    "spread_log_width": lambda t: float(_log_widths(t).std()),
    "slope_log_width": _slope,
}

# ------------------------------------------------------------------ where it shrinks


def _mean_depth_of_shrinking(table: LayerTable) -> float:
    total = float(table.octaves_lost.sum())
    return float(table.octaves_lost @ table.depth) / total if total > 0 else 1.0


def _first_shrinking(table: LayerTable) -> int:
    """Return the position of the first layer that shrinks the side, else of the last layer."""
    places = np.flatnonzero(table.octaves_lost > 0)
    return int(places[0]) if len(places) else len(table.kind) - 1


def _mac_weighted_side(table: LayerTable) -> float:
    macs = table.macs * table.body
    sides = np.log2(np.maximum(table.side_out, 1))
    return float(macs @ sides / max(float(macs.sum()), 1.0))


def _half_field(table: LayerTable) -> float:
    """Return the log of the receptive field half way through the body."""
    place = min(int(np.searchsorted(table.depth, 0.5)), len(table.kind) - 1)
    return _log(float(table.field[place]))


def _at_level(table: LayerTable, mask: Mask, least: float, most: float) -> float:
    """Count layers whose output side is the image's, halved ``least`` to ``most`` times."""
    level = np.log2(table.input_side / np.maximum(table.side_out, 1))
    return float((mask & (level >= least) & (level < most)).sum())


SHRINKING: Mapping[str, Feature] = {
    "octaves_lost": lambda t: float(t.octaves_lost.sum()),
    "depth_of_shrinking": _mean_depth_of_shrinking,
    "depth_of_first_shrinking": lambda t: float(t.depth[_first_shrinking(t)]),
    "layers_before_shrinking": lambda t: float(t.body[: _first_shrinking(t)].sum()),
    "log_field_before_shrinking": lambda t: _log(float(t.field[_first_shrinking(t)])),
    "log_field_half_way": _half_field,
    "overlapping_pools": lambda t: float((t.pools & (t.kernel > t.stride)).sum()),
    "mac_weighted_log_side": _mac_weighted_side,
    "mean_log_side": lambda t: _mean_log(t.side_out, t.body),
    "mean_log_side_of_spatial": lambda t: _mean_log(t.side_out, t.spatial),
    "spatial_at_high_resolution": lambda t: _at_level(t, t.spatial, -math.inf, 1),
    "spatial_at_low_resolution": lambda t: _at_level(t, t.spatial, 2, math.inf),
    "convolutions_at_least_resolution": lambda t: _at_level(t, t.body, 3, math.inf),
}

FEATURES: Mapping[str, Feature] = {**SIZE, **HEAD, **STACK, **DROPOUT, **WIDTH, **SHRINKING}
NAMES: tuple[str, ...] = tuple(FEATURES)
"""What each column of `summary` is."""
