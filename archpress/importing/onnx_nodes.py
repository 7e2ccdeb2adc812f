"""One ONNX node -> the call of a PyTorch function that does the same, and its meaning."""

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from typing import Any

from torch import Tensor

from archpress.architectures.layers import Convolution, DepthwiseConvolution, Linear, Shape
from archpress.importing.reading import CHAIN, read_call
from archpress.importing.steps import LayerStep, Meaning, Refused

Call = tuple[str, tuple[Any, ...], dict[str, Any]]
FLOAT = 1  # onnx.TensorProto.FLOAT


@dataclass(frozen=True)
class OnnxNode:
    """A node that reads values which come from the network's input.

    Attributes:
        op: Its type; with the domain in front where that is not ONNX's own.
        attributes: Its attributes, texts decoded.
        operands: Its inputs: a constant's tensor, the name of a value that comes from the
            network's input, or None where one is left out.
        shapes: Shapes of input and output without the batch.
        simple: Whether it gives one value, of its operands alone; not so of branches and loops.
    """

    op: str
    attributes: Mapping[str, Any]
    operands: tuple[Tensor | str | None, ...]
    shapes: tuple[Shape, Shape]
    simple: bool = True

    def operand(self, place: int) -> Tensor | str | None:
        """Return an input, None where there is none."""
        return self.operands[place] if place < len(self.operands) else None

    def numbers(self, name: str, place: int) -> list[Any] | None:
        """Return what newer files give as an input and older ones as an attribute."""
        operand = self.operand(place)
        if isinstance(operand, Tensor):
            return list(operand.flatten().tolist())
        value = self.attributes.get(name)
        return value if value is None or isinstance(value, list) else [value]

    def number(self, name: str, place: int) -> Any:
        """Return the one number of :meth:`numbers`, None where there is none."""
        return (self.numbers(name, place) or [None])[0]


def read_node(node: OnnxNode) -> Meaning:
    """Return the meaning of a node."""
    if not node.simple:
        return Refused(f"{node.op} with a body or with several results; {CHAIN}")
    translated = _TRANSLATIONS.get(node.op, _unknown)(node)
    if isinstance(translated, Refused):
        return translated
    function, arguments, options = translated
    return read_call(function, ((None, *arguments), options), node.shapes, _tensor)


def with_bias(meaning: Meaning, constant: Tensor, shape: Shape) -> LayerStep | None:
    """Return a layer to whose output, of ``shape``, a constant is added; None where it has a bias.

    Also None where the constant is not one number per channel or feature.
    """
    if not isinstance(meaning, LayerStep) or "bias" in meaning.tensors:
        return None
    layer = meaning.layer
    if not isinstance(layer, Convolution | DepthwiseConvolution | Linear):
        return None
    sizes = [1] * (len(shape) + 1 - constant.dim()) + list(constant.shape)
    if len(sizes) != len(shape) + 1 or constant.numel() != shape[0] or sizes[1] != shape[0]:
        return None
    return LayerStep(replace(layer, bias=True), {**meaning.tensors, "bias": constant.flatten()})


def padding_of(node: OnnxNode) -> list[int] | None:
    """Return the pads of a Pad node, as Conv has them; None where it is no zeros at the sides."""
    if node.op != "Pad" or node.attributes.get("mode", "constant") != "constant":
        return None
    pads, value = node.numbers("pads", 1), node.number("value", 2)
    if node.operand(3) is not None or value not in (None, 0) or not pads or len(pads) != 8:
        return None
    sides = [int(pads[place]) for place in (2, 3, 6, 7)]
    return sides if min(sides) >= 0 and not any(pads[i] for i in (0, 1, 4, 5)) else None


def _tensor(operand: Any) -> Tensor | None:
    return operand if isinstance(operand, Tensor) else None


def _unknown(node: OnnxNode) -> Call | Refused:
    name = _REFUSED_NAMES.get(node.op)
    if name is None:
        return Refused(f"{node.op} cannot be expressed; {CHAIN}")
    return name, (), {}


def _plain(function: str) -> Callable[[OnnxNode], Call]:
    return lambda node: (function, (), {})


def _window(node: OnnxNode, kernel: list[int]) -> dict[str, Any] | Refused:
    """Return stride, padding and dilation as PyTorch takes them."""
    strides = node.attributes.get("strides", [1, 1])
    dilations = node.attributes.get("dilations", [1, 1])
    pads = node.attributes.get("pads", [0, 0, 0, 0])
    auto = node.attributes.get("auto_pad", "NOTSET")
    if len(kernel) != 2 or len(node.shapes[0]) != 3:
        return Refused(f"windows of {len(kernel)} sides; only maps with two sides exist")
    if auto in ("SAME_UPPER", "SAME_LOWER"):
        needed = [
            max((math.ceil(side / s) - 1) * s + (k - 1) * d + 1 - side, 0)
            for side, k, s, d in zip(node.shapes[0][1:], kernel, strides, dilations, strict=True)
        ]
        pads = [total // 2 for total in needed] + [total - total // 2 for total in needed]
    if auto == "VALID":
        pads = [0, 0, 0, 0]
    if pads[:2] != pads[2:]:
        return Refused(f"padding {pads} differs between the ends of a side; only equal exists")
    return {"stride": tuple(strides), "padding": tuple(pads[:2]), "dilation": tuple(dilations)}


def _convolution(node: OnnxNode) -> Call | Refused:
    weight, bias = node.operand(1), node.operand(2)
    if not isinstance(weight, Tensor):
        return Refused("its weight is computed from the network's input")
    window = _window(node, list(weight.shape[2:]))
    if isinstance(window, Refused):
        return window
    window["groups"] = node.attributes.get("group", 1)
    return "conv2d", (), {"weight": weight, "bias": bias, **window}


def _pool(function: str) -> Callable[[OnnxNode], Call | Refused]:
    def translate(node: OnnxNode) -> Call | Refused:
        kernel = node.attributes["kernel_shape"]
        window = _window(node, kernel)
        if isinstance(window, Refused):
            return window
        if function == "avg_pool2d":
            window["count_include_pad"] = bool(node.attributes.get("count_include_pad", 0))
        return function, (), {"kernel_size": tuple(kernel), **window}

    return translate


def _batch_norm(node: OnnxNode) -> Call:
    names = ("weight", "bias", "running_mean", "running_var")
    options = {name: node.operand(place) for place, name in enumerate(names, 1)}
    training = bool(node.attributes.get("training_mode", 0))
    return "batch_norm", (), {
        **options, "training": training, "eps": node.attributes.get("epsilon", 1e-5)
    }  # fmt: skip


def _gemm(node: OnnxNode) -> Call | Refused:
    weight, bias = node.operand(1), node.operand(2)
    if not isinstance(weight, Tensor) or isinstance(bias, str):
        return Refused("its weight or bias is computed from the network's input")
    if node.attributes.get("transA", 0):
        return Refused("a product of the transposed input")
    weight = weight if node.attributes.get("transB", 0) else weight.T
    weight = weight * node.attributes.get("alpha", 1.0)
    if bias is not None:
        if bias.dim() > 1 and bias.shape[0] != 1:
            return Refused(f"a bias of shape {tuple(bias.shape)}, expected one number per output")
        bias = bias.flatten() * node.attributes.get("beta", 1.0)
        bias = bias.expand(weight.shape[0])
    return "linear", (), {"weight": weight, "bias": bias}


def _matmul(node: OnnxNode) -> Call | Refused:
    weight = node.operand(1)
    if not isinstance(weight, Tensor) or weight.dim() != 2:
        return "matmul", (), {}
    return "linear", (), {"weight": weight.T}


def _clip(node: OnnxNode) -> Call | Refused:
    low, high = node.number("min", 1), node.number("max", 2)
    infinite = high is not None and high > 1e38  # how ReLU is sometimes written
    return "clamp", (), {"min": low, "max": None if infinite else high}


def _mean(node: OnnxNode) -> Call:
    axes = node.numbers("axes", 1)
    keep = bool(node.attributes.get("keepdims", 1))
    return "mean", (), {"dim": axes, "keepdim": keep}


def _dropout(node: OnnxNode) -> Call:
    training = bool(node.number("", 2))
    ratio = node.number("ratio", 1)
    return "dropout", (), {"p": 0.5 if ratio is None else ratio, "training": training}


def _cast(node: OnnxNode) -> Call | Refused:
    if node.attributes.get("to") != FLOAT:
        return Refused("a conversion to anything but float32")
    return "float", (), {}


def _hard_sigmoid(node: OnnxNode) -> Refused:
    return Refused("HardSigmoid alone cannot be expressed; times its own input it is Hardswish")


def _arithmetic(node: OnnxNode) -> Call | Refused:
    """Read a sum or product of two values; with a constant it is no layer."""
    names = [operand for operand in node.operands if isinstance(operand, str)]
    if node.op in ("Add", "Sum", "Mul") and len(names) == len(node.operands) == 2:
        return "mul" if node.op == "Mul" else "add", (), {}
    if len(names) == len(node.operands):
        return Refused(f"{node.op} of {len(names)} values; {CHAIN}")
    return Refused(f"{node.op} with a constant cannot be expressed; BatchNorm could do it")


_REFUSED_NAMES = {
    "Concat": "cat", "Split": "split", "Transpose": "permute", "InstanceNormalization":
    "instance_norm", "LayerNormalization": "layer_norm", "GroupNormalization": "group_norm",
    "ConvTranspose": "conv_transpose2d", "Pad": "pad", "PRelu": "prelu", "Elu": "elu",
    "LSTM": "lstm", "GRU": "gru", "Resize": "interpolate", "Upsample": "interpolate",
    "Attention": "scaled_dot_product_attention",
}  # fmt: skip
_TRANSLATIONS: dict[str, Callable[[OnnxNode], Call | Refused]] = {
    "Conv": _convolution,
    "BatchNormalization": _batch_norm,
    "Relu": _plain("relu"),
    "Sigmoid": _plain("sigmoid"),
    "Tanh": _plain("tanh"),
    "HardSwish": _plain("hardswish"),
    "Swish": lambda node: (
        ("silu", (), {})
        if node.attributes.get("alpha", 1.0) == 1
        else Refused("Swish with a factor inside; only SiLU exists")
    ),
    "HardSigmoid": _hard_sigmoid,
    "LeakyRelu": lambda node: (
        "leaky_relu", (), {"negative_slope": node.attributes.get("alpha", 0.01)}
    ),
    "Gelu": lambda node: (
        "gelu", (), {"approximate": node.attributes.get("approximate", "none")}
    ),
    "Clip": _clip,
    "MaxPool": _pool("max_pool2d"),
    "AveragePool": _pool("avg_pool2d"),
    "GlobalAveragePool": lambda node: ("adaptive_avg_pool2d", (1,), {}),
    "GlobalMaxPool": lambda node: ("adaptive_max_pool2d", (1,), {}),
    "ReduceMean": _mean,
    "Flatten": _plain("flatten"),
    "Reshape": _plain("reshape"),
    "Squeeze": _plain("squeeze"),
    "Unsqueeze": _plain("unsqueeze"),
    "Gemm": _gemm,
    "MatMul": _matmul,
    "Dropout": _dropout,
    "Identity": _plain("identity"),
    "Expand": _plain("expand"),
    "Cast": _cast,
    "Softmax": lambda node: ("softmax", (), {"dim": node.attributes.get("axis", -1)}),
    "LogSoftmax": lambda node: ("softmax", (), {"dim": node.attributes.get("axis", -1)}),
    **dict.fromkeys(("Add", "Sum", "Sub", "Mul", "Div", "Pow", "Min", "Max"), _arithmetic),
}  # fmt: skip
