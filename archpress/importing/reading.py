"""What a call of a PyTorch function means: a layer, an addition, nothing, or a refusal."""

import math
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from torch import Tensor

from archpress.architectures.layers import (
    GELU,
    AveragePool,
    BatchNorm,
    Convolution,
    DepthwiseConvolution,
    Dropout,
    GlobalAveragePool,
    Hardswish,
    Layer,
    LeakyReLU,
    Linear,
    MaxPool,
    ReLU,
    ReLU6,
    Shape,
    Sigmoid,
    SiLU,
    Tanh,
)
from archpress.importing.steps import (
    Adding,
    Gating,
    LayerStep,
    Meaning,
    MeanOverSide,
    Multiplying,
    Passing,
    Probabilities,
    Refused,
)

Arguments = dict[str, Any]
Weights = Callable[[Any], Tensor | None]
"""Returns the learned tensor that an argument stands for, None where it is none."""

CHAIN = "archpress expresses a chain of layers with residual additions"

_SIGNATURES = {
    "conv2d": "input weight bias stride padding dilation groups",
    "linear": "input weight bias",
    "batch_norm": "input running_mean running_var weight bias training momentum eps",
    "max_pool2d": "input kernel_size stride padding dilation ceil_mode return_indices",
    "avg_pool2d": "input kernel_size stride padding ceil_mode count_include_pad divisor_override",
    "adaptive_avg_pool2d": "input output_size",
    "adaptive_max_pool2d": "input output_size return_indices",
    "dropout": "input p training inplace",
    "hardtanh": "input min_val max_val inplace",
    "clamp": "input min max",
    "leaky_relu": "input negative_slope inplace",
    "gelu": "input approximate",
    "mean": "input dim keepdim dtype",
    "softmax": "input dim",
    "add": "input other alpha",
    "mul": "input other",
    "pad": "input pad mode value",
    "getitem": "input index",
}
_ALIASES = {
    "dropout2d": "dropout", "feature_dropout": "dropout", "dropout1d": "dropout",
    "alpha_dropout": "dropout", "clip": "clamp", "log_softmax": "softmax",
    "radd": "add", "iadd": "add", "rmul": "mul", "imul": "mul", "multiply": "mul",
}  # fmt: skip
_ACTIVATIONS: dict[str, type[Layer]] = {
    "relu": ReLU, "sigmoid": Sigmoid, "silu": SiLU, "hardswish": Hardswish, "relu6": ReLU6,
    "tanh": Tanh,
}  # fmt: skip
_RESHAPES = ("flatten", "view", "reshape", "squeeze", "unsqueeze", "view_as", "reshape_as")
_EXPANSIONS = ("expand", "expand_as", "broadcast_to")
_IDENTITIES = (
    "contiguous", "clone", "identity", "detach", "to", "float", "requires_grad", "type_as",
    "alias",
)  # fmt: skip
_NEEDED = {
    "cat": "concatenation", "concat": "concatenation", "concatenate": "concatenation",
    "getitem": "slicing", "stack": "stacking", "chunk": "splitting", "split": "splitting",
    "channel_shuffle": "channel shuffling", "permute": "permuting axes",
    "transpose": "exchanging axes", "matmul": "a product of values (attention)",
    "bmm": "a product of values (attention)", "multi_head_attention_forward": "attention",
    "scaled_dot_product_attention": "attention", "group_norm": "GroupNorm",
    "instance_norm": "InstanceNorm", "layer_norm": "LayerNorm", "interpolate": "upsampling",
    "conv_transpose2d": "transposed convolution", "pad": "padding outside a layer",
    "sub": "shifting values (scale images before the network)",
    "div": "scaling values (scale images before the network)",
    "prelu": "PReLU", "elu": "ELU", "lstm": "a recurrent layer", "gru": "a recurrent layer",
    "conv1d": "1-D convolution", "conv3d": "3-D convolution",
}  # fmt: skip


def read_call(
    function: str,
    arguments: tuple[tuple[Any, ...], Mapping[str, Any]],
    shapes: tuple[Shape, Shape],
    weights: Weights,
) -> Meaning:
    """Return the meaning of one call.

    Args:
        function: Its name, such as ``conv2d`` or ``relu_``.
        arguments: Positional and keyword arguments; the first positional one is the input.
        shapes: Shapes of input and output without the batch.
        weights: Finds learned tensors.
    """
    name = function.strip("_")
    name = _ALIASES.get(name, name)
    values = _bound(name, *arguments)
    if name in _ACTIVATIONS:
        return LayerStep(_ACTIVATIONS[name]())
    if name in _IDENTITIES:
        return Passing()
    if name in _RESHAPES or (name == "getitem" and _keeps_all(values.get("index"))):
        return _read_reshape(*shapes)
    if name in _EXPANSIONS and _without_ones(shapes[0]) == shapes[1][:1]:
        return Passing()
    if name in _READERS:
        return _READERS[name](values, shapes, weights)
    return Refused(f"{_NEEDED.get(name, name)} cannot be expressed; {CHAIN}")


def _bound(name: str, args: Sequence[Any], kwargs: Mapping[str, Any]) -> Arguments:
    names = _SIGNATURES.get(name, "input").split()
    return dict(zip(names, args, strict=False)) | dict(kwargs)


def _same(value: Any) -> int | None:
    """Return the one number that both sides have, None where they differ."""
    if isinstance(value, int):
        return value
    numbers = {int(number) for number in value}
    return numbers.pop() if len(numbers) == 1 else None


def _square(names: str, *values: Any) -> list[int] | Refused:
    """Return numbers that are the same on both sides, or why there are none."""
    found = []
    for name, value in zip(names.split(), values, strict=True):
        number = _same(value)
        if number is None:
            return Refused(f"{name} {tuple(value)} differs by side; only square windows exist")
        found.append(number)
    return found


def _read_convolution(values: Arguments, shapes: tuple[Shape, Shape], weights: Weights) -> Meaning:
    weight, bias = weights(values["weight"]), weights(values.get("bias"))
    if weight is None or (bias is None and values.get("bias") is not None):
        return _COMPUTED
    out, per_group, *kernel = weight.shape
    groups, padding = values.get("groups", 1), values.get("padding", 0)
    if _same(values.get("dilation", 1)) != 1:
        return Refused(f"dilation {values['dilation']} cannot be expressed; only 1 exists")
    if padding == "same" and any(side % 2 == 0 for side in kernel):
        return Refused("padding='same' of an even kernel is not the same on both sides")
    if isinstance(padding, str):
        padding = 0 if padding == "valid" else [side // 2 for side in kernel]
    square = _square("kernel stride padding", kernel, values.get("stride", 1), padding)
    if isinstance(square, Refused):
        return square
    tensors = {"weight": weight} | ({} if bias is None else {"bias": bias})
    if groups == 1:
        return LayerStep(Convolution(out, *square, bias=bias is not None), tensors)
    if groups == out and per_group == 1 and shapes[0][0] == out:
        return LayerStep(DepthwiseConvolution(*square, bias=bias is not None), tensors)
    return Refused(
        f"{groups} groups from {shapes[0][0]} to {out} channels cannot be expressed; "
        f"only 1 and depthwise (as many as channels in and out) exist"
    )


_COMPUTED = Refused("its weight is computed in the forward pass; only stored weights exist")


def _read_linear(values: Arguments, shapes: tuple[Shape, Shape], weights: Weights) -> Meaning:
    weight, bias = weights(values["weight"]), weights(values.get("bias"))
    if weight is None or (bias is None and values.get("bias") is not None):
        return _COMPUTED
    if len(shapes[0]) != 1:
        return Refused(f"a Linear layer over the last side of {shapes[0]}; flatten first")
    tensors = {"weight": weight} | ({} if bias is None else {"bias": bias})
    return LayerStep(Linear(weight.shape[0], bias=bias is not None), tensors)


def _read_batch_norm(values: Arguments, shapes: tuple[Shape, Shape], weights: Weights) -> Meaning:
    names = ("weight", "bias", "running_mean", "running_var")
    tensors = {name: weights(values.get(name)) for name in names}
    if values.get("training") or tensors["running_mean"] is None or tensors["running_var"] is None:
        return Refused("BatchNorm by the statistics of the batch; running ones are needed")
    affine = tensors["weight"] is not None and tensors["bias"] is not None
    if not affine and (values.get("weight") is not None or values.get("bias") is not None):
        return Refused("BatchNorm with weight or bias alone, or computed; stored ones are needed")
    kept = {name: tensor for name, tensor in tensors.items() if tensor is not None}
    momentum = values.get("momentum")  # None is the mean over all batches, which only training is
    layer = BatchNorm(eps=float(values.get("eps", 1e-5)), momentum=momentum or 0.1, affine=affine)
    return LayerStep(layer, kept)


def _read_pool(kind: type[MaxPool | AveragePool]) -> Callable[..., Meaning]:
    def read(values: Arguments, shapes: tuple[Shape, Shape], weights: Weights) -> Meaning:
        kernel = values["kernel_size"]
        before, after = shapes
        if len(before) != 3:
            return Refused(f"pooling of {before}; maps with channels and two sides are needed")
        padding, stride = values.get("padding", 0), values.get("stride")
        stride = kernel if stride is None or stride in ([], ()) else stride
        if values.get("return_indices") or values.get("divisor_override"):
            return Refused("pooling with indices or with its own divisor cannot be expressed")
        if _same(values.get("dilation", 1)) != 1:
            return Refused(f"dilation {values['dilation']} cannot be expressed; only 1 exists")
        whole = before[1:] in (kernel, tuple(kernel) if isinstance(kernel, list) else (kernel,) * 2)
        if kind is AveragePool and whole and _same(padding) == 0:
            return LayerStep(GlobalAveragePool())
        square = _square("kernel stride padding", kernel, stride, padding)
        if isinstance(square, Refused):
            return square
        counted = values.get("count_include_pad", True) or square[2] == 0
        layer = (
            AveragePool(*square, count_padding=counted) if kind is AveragePool else kind(*square)
        )
        if layer.output_shape(before) != after:
            return Refused(f"ceil_mode matters on {before}; only the floor exists")
        return LayerStep(layer)

    return read


def _read_adaptive(kind: type[MaxPool | AveragePool]) -> Callable[..., Meaning]:
    def read(values: Arguments, shapes: tuple[Shape, Shape], weights: Weights) -> Meaning:
        before, after = shapes
        if len(before) != 3 or values.get("return_indices"):
            return Refused(f"adaptive pooling of {before}; maps alone are needed")
        if before == after:
            return Passing()
        if after[1:] == (1, 1) and kind is AveragePool:
            return LayerStep(GlobalAveragePool())
        windows = {side // pooled for side, pooled in zip(before[1:], after[1:], strict=True)}
        exact = all(b % a == 0 for b, a in zip(before[1:], after[1:], strict=True))
        if not exact or len(windows) != 1:
            return Refused(
                f"adaptive pooling from {before} to {after} has windows of several sizes"
            )
        window = windows.pop()
        return LayerStep(kind(window, window))

    return read


def _read_dropout(values: Arguments, shapes: tuple[Shape, Shape], weights: Weights) -> Meaning:
    rate = float(values.get("p", 0.5))
    if values.get("training", True):
        return Refused("Dropout that stays on in evaluation; pass training=self.training")
    return LayerStep(Dropout(rate=rate)) if rate < 1 else Refused("Dropout of everything")


def _read_clamp(values: Arguments, shapes: tuple[Shape, Shape], weights: Weights) -> Meaning:
    low = values.get("min", values.get("min_val"))
    high = values.get("max", values.get("max_val"))
    if low == 0 and high in (6, None):
        return LayerStep(ReLU() if high is None else ReLU6())
    return Refused(f"clamping to {low} .. {high} cannot be expressed; ReLU and ReLU6 exist")


def _read_mean(values: Arguments, shapes: tuple[Shape, Shape], weights: Weights) -> Meaning:
    before = shapes[0]
    dim = values.get("dim")
    over = {axis % (len(before) + 1) for axis in ([dim] if isinstance(dim, int) else dim or [0])}
    if len(before) == 3 and over == {2, 3}:
        return LayerStep(GlobalAveragePool())
    if len(over) == 1 and over <= {2, 3} and len(before) > 1 and not values.get("keepdim"):
        return MeanOverSide()
    return Refused(f"the mean of {before} over axes {sorted(over)}; over both sides it is a pool")


def _read_softmax(values: Arguments, shapes: tuple[Shape, Shape], weights: Weights) -> Meaning:
    if len(shapes[0]) == 1 and values.get("dim", 1) in (1, -1, None):
        return Probabilities()
    return Refused(f"softmax of {shapes[0]} over axis {values.get('dim')} (attention)")


def _read_addition(values: Arguments, shapes: tuple[Shape, Shape], weights: Weights) -> Meaning:
    if values.get("alpha", 1) != 1:
        return Refused(f"an addition scaled by {values['alpha']}")
    return Adding()


def _read_reshape(before: Shape, after: Shape) -> Meaning:
    if after == (math.prod(before),) or _without_ones(before) == _without_ones(after):
        return Passing()
    return Refused(f"a reshape from {before} to {after}; only flattening exists")


def _keeps_all(index: Any) -> bool:
    """Return whether an index such as ``[:, :, None, None]`` only adds sides of 1."""
    parts = index if isinstance(index, tuple) else (index,)
    return all(part is None or part is Ellipsis or part == slice(None) for part in parts)


def _without_ones(shape: Shape) -> Shape:
    return (*shape[:1], *(side for side in shape[1:] if side != 1))


_READERS: dict[str, Callable[[Arguments, tuple[Shape, Shape], Weights], Meaning]] = {
    "conv2d": _read_convolution,
    "linear": _read_linear,
    "batch_norm": _read_batch_norm,
    "max_pool2d": _read_pool(MaxPool),
    "avg_pool2d": _read_pool(AveragePool),
    "adaptive_avg_pool2d": _read_adaptive(AveragePool),
    "adaptive_max_pool2d": _read_adaptive(MaxPool),
    "dropout": _read_dropout,
    "hardtanh": _read_clamp,
    "clamp": _read_clamp,
    "mean": _read_mean,
    "softmax": _read_softmax,
    "add": _read_addition,
    "hardsigmoid": lambda values, shapes, weights: Gating("Hardsigmoid"),
    "mul": lambda values, shapes, weights: Multiplying(),
    "leaky_relu": lambda values, shapes, weights: LayerStep(
        LeakyReLU(negative_slope=float(values.get("negative_slope", 0.01)))
    ),
    "gelu": lambda values, shapes, weights: LayerStep(
        GELU(approximate=values.get("approximate", "none"))
    ),
}
