"""The canonical form of a network: what does nothing is dropped, what merges is merged.

Every rule leaves the function in evaluation as it was, and none adds parameters (but the bias that
takes the place of a BatchNorm without weights, where BatchNorm is folded). The paper finds
such layers in what the compressor decodes (section 5.3, appendix 10).
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from typing import overload

import torch
from torch import Tensor

from archpress.architectures.activations import Activation
from archpress.architectures.architecture import Architecture
from archpress.architectures.editing import Draft, Item, Tensors
from archpress.architectures.layers import (
    AveragePool,
    BatchNorm,
    Convolution,
    DepthwiseConvolution,
    Dropout,
    GlobalAveragePool,
    Linear,
    MaxPool,
    Pool,
    Projection,
    Shape,
    SqueezeExcite,
)

Weights = dict[str, Tensor]


@overload
def simplify(architecture: Architecture) -> Architecture: ...
@overload
def simplify(
    architecture: Architecture, weights: Mapping[str, Tensor], fold_batch_norm: bool = False
) -> tuple[Architecture, Weights]: ...


def simplify(
    architecture: Architecture,
    weights: Mapping[str, Tensor] | None = None,
    fold_batch_norm: bool = False,
) -> Architecture | tuple[Architecture, Weights]:
    """Return the canonical form of a network, with weights if given: the same function, once.

    Dropped: an activation that changes nothing (ReLU where no value is below 0, an idempotent one
    after itself), Dropout of 0, 1x1 pools of stride 1, a global pool of one pixel before Linear, an
    average pool of disjoint windows before the global one. Merged: BatchNorm into the BatchNorm
    before it, Linear into the Linear before it where that saves parameters. Two networks of the
    same canonical form (compare digests) are duplicates.

    Args:
        architecture: The network.
        weights: A state dict of ``build(architecture)``.
        fold_batch_norm: Also merge BatchNorm into the convolution or Linear layer before it: the
            form for evaluation, which trains otherwise than the network did.

    Raises:
        InvalidArchitectureError: The weights are not those of the architecture's module.
    """
    draft = Draft(architecture, weights)
    rules = [*_RULES, _fold_batch_norm, _fold_shortcut_norm] if fold_batch_norm else _RULES
    while any(rule(draft, architecture) for rule in rules):
        architecture = draft.architecture()
    return architecture if weights is None else (architecture, draft.weights())


def idle_layers(architecture: Architecture) -> int:
    """Return how many layers simplification takes away."""
    return len(architecture.layers) - len(simplify(architecture).layers)


def _drop_idle(draft: Draft, architecture: Architecture) -> bool:
    shapes = architecture.shapes
    nonnegative = _nonnegative(draft, shapes)
    for place, item in enumerate(draft.items[:-1]):
        if item.source is None and _is_idle(draft, place, shapes[place], nonnegative):
            draft.remove(item)
            return True
    return False


def _is_idle(draft: Draft, place: int, shape: Shape, nonnegative: Sequence[bool]) -> bool:
    layer, before = draft.items[place].layer, draft.items[place - 1] if place else None
    if isinstance(layer, Activation):
        again = before is not None and before.layer == replace(layer, skip=before.layer.skip)
        repeated = again and layer.idempotent and before is not None and before.source is None
        return repeated or (layer.kind == "relu" and nonnegative[place])
    if isinstance(layer, Dropout):
        return layer.rate == 0
    if isinstance(layer, Pool):
        return (layer.kernel, layer.stride) == (1, 1) or _is_before_global(draft, place, shape)
    after = draft.items[place + 1].layer
    return (
        isinstance(layer, GlobalAveragePool)
        and shape[1:] == (1, 1)
        and isinstance(after, Linear)
        and not draft.is_source(draft.items[place])
    )


def _is_before_global(draft: Draft, place: int, shape: Shape) -> bool:
    """Return whether the mean of this pool's means is the mean of everything."""
    layer = draft.items[place].layer
    return (
        isinstance(layer, AveragePool)
        and isinstance(draft.items[place + 1].layer, GlobalAveragePool)
        and (layer.stride, layer.padding) == (layer.kernel, 0)
        and all(side % layer.kernel == 0 for side in shape[1:])
    )


def _nonnegative(draft: Draft, shapes: Sequence[Shape]) -> list[bool]:
    """Return, for the input and every output, whether no value of it can be below 0."""
    known = [False]
    places = {id(draft.input): 0} | {id(item): i for i, item in enumerate(draft.items, 1)}
    for place, item in enumerate(draft.items):
        layer = item.layer
        kept = isinstance(
            layer, MaxPool | AveragePool | GlobalAveragePool | Dropout | SqueezeExcite
        )
        is_so = known[-1] if kept else isinstance(layer, Activation) and layer.nonnegative
        if item.source is not None:
            source = places[id(item.source)]
            is_so = is_so and known[source] and shapes[source] == shapes[place + 1]
        known.append(is_so)
    return known


def _merge(
    draft: Draft, first: Callable[[Item], bool], second: Callable[[Item, Item], bool]
) -> tuple[Item, Item] | None:
    """Return two neighbours that match, the first of which nothing else reads."""
    for earlier, later in zip(draft.items, draft.items[1:], strict=False):
        alone = earlier.source is None and not draft.is_source(earlier)
        if alone and first(earlier) and second(earlier, later):
            return earlier, later
    return None


def _put(draft: Draft, pair: tuple[Item, Item], made: Item) -> None:
    """Put one item in the place of two neighbours."""
    earlier, later = pair
    made.source, made.fitting = later.source, later.fitting
    place = draft.items.index(earlier)
    draft.items[place : place + 2] = [made]
    for item in draft.items:
        if item.source is later:
            item.source = made


def _merge_norms(draft: Draft, architecture: Architecture) -> bool:
    def affine(item: Item) -> bool:
        return isinstance(item.layer, BatchNorm) and item.layer.affine

    pair = _merge(
        draft,
        lambda item: isinstance(item.layer, BatchNorm),
        lambda one, two: isinstance(two.layer, BatchNorm) and (affine(one) or affine(two)),
    )
    if pair is None:
        return False
    one, two = pair
    tensors: Tensors = {}
    if one.tensors:
        scale, shift = _affine(two)
        weight, bias = _gain(one.tensors)
        tensors = one.tensors | {
            "weight": (weight.double() * scale).float(),
            "bias": (bias.double() * scale + shift).float(),
        }
    assert isinstance(one.layer, BatchNorm)
    merged = replace(one.layer, affine=True, projection=two.layer.projection)
    _put(draft, pair, Item(merged, tensors=tensors))
    return True


def _gain(tensors: Tensors) -> tuple[Tensor, Tensor]:
    mean = tensors["running_mean"]
    return tensors.get("weight", torch.ones_like(mean)), tensors.get("bias", torch.zeros_like(mean))


def _affine(norm: Item) -> tuple[Tensor, Tensor]:
    """Return scale and shift, in float64, of a BatchNorm in evaluation."""
    assert isinstance(norm.layer, BatchNorm)
    return _scale_and_shift(norm.tensors, norm.layer.eps)


def _scale_and_shift(tensors: Tensors, eps: float) -> tuple[Tensor, Tensor]:
    weight, bias = _gain(tensors)
    scale = weight.double() / (tensors["running_var"].double() + eps).sqrt()
    return scale, bias.double() - tensors["running_mean"].double() * scale


def _merge_linears(draft: Draft, architecture: Architecture) -> bool:
    shapes = architecture.shapes
    inputs = {id(item): shape for item, shape in zip(draft.items, shapes, strict=False)}
    outputs = {id(item): shape for item, shape in zip(draft.items, shapes[1:], strict=False)}

    def saves(one: Item, two: Item) -> bool:
        if not isinstance(two.layer, Linear):
            return False
        shape = inputs[id(one)]
        before = one.layer.parameters(shape) + two.layer.parameters(outputs[id(one)])
        return _joined(one, two).parameters(shape) < before

    pair = _merge(draft, lambda item: isinstance(item.layer, Linear), saves)
    if pair is None:
        return False
    one, two = pair
    tensors: Tensors = {}
    if one.tensors:
        outer = two.tensors["weight"].double()
        tensors["weight"] = (outer @ one.tensors["weight"].double()).float()
        if _joined(one, two).bias:
            bias = two.tensors.get("bias", torch.zeros(len(outer))).double()
            inner = one.tensors.get("bias")
            tensors["bias"] = (bias if inner is None else bias + outer @ inner.double()).float()
    _put(draft, pair, Item(_joined(one, two), tensors=tensors))
    return True


def _joined(one: Item, two: Item) -> Linear:
    assert isinstance(one.layer, Linear) and isinstance(two.layer, Linear)
    return replace(two.layer, bias=one.layer.bias or two.layer.bias)


def _fold_batch_norm(draft: Draft, architecture: Architecture) -> bool:
    weighted = Convolution | DepthwiseConvolution | Linear
    pair = _merge(
        draft,
        lambda item: isinstance(item.layer, weighted),
        lambda one, two: isinstance(two.layer, BatchNorm),
    )
    if pair is None:
        return False
    one, two = pair
    assert isinstance(one.layer, weighted)
    tensors = _folded(one.tensors, *_affine(two)) if one.tensors else {}
    projection = two.layer.projection
    _put(draft, pair, Item(replace(one.layer, bias=True, projection=projection), tensors=tensors))
    return True


def _folded(tensors: Tensors, scale: Tensor, shift: Tensor) -> Tensors:
    weight = tensors["weight"].double()
    bias = tensors["bias"].double() if "bias" in tensors else torch.zeros_like(scale)
    scaled = weight * scale.reshape(-1, *[1] * (weight.dim() - 1))
    return {"weight": scaled.float(), "bias": (bias * scale + shift).float()}


def _fold_shortcut_norm(draft: Draft, architecture: Architecture) -> bool:
    shortcuts = architecture.shortcuts
    for place, item in enumerate(draft.items):
        projection = item.layer.projection
        if not shortcuts.get(place) or not projection.batch_norm:
            continue
        if item.fitting:
            convolution, norm = item.fitting
            item.fitting = [_folded(convolution, *_scale_and_shift(norm, projection.eps))]
        item.layer = replace(
            item.layer, projection=replace(projection, bias=True, batch_norm=False)
        )
        return True
    return False


def _forget_projection(draft: Draft, architecture: Architecture) -> bool:
    """Set the projections that nothing goes through to the default, so that they say nothing."""
    shortcuts = architecture.shortcuts
    changed = False
    for place, item in enumerate(draft.items):
        if item.layer.projection != Projection() and not shortcuts.get(place):
            item.layer = replace(item.layer, projection=Projection())
            changed = True
    return changed


_RULES: list[Callable[[Draft, Architecture], bool]] = [
    _forget_projection, _drop_idle, _merge_norms, _merge_linears,
]  # fmt: skip
