"""ONNX file -> steps: every node whose result depends on the images, in the order of the file.

The file is run once by onnxruntime with all values as outputs. So all shapes are known, whatever
computes them, and every value that does not depend on the images is a constant.
"""

from collections.abc import Iterator, Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from archpress.architectures.layers import Shape
from archpress.errors import UnsupportedNetworkError
from archpress.importing.assembly import TOLERANCE, Captured, assemble
from archpress.importing.onnx_activations import Curves
from archpress.importing.onnx_nodes import FLOAT, OnnxNode, padding_of, read_node, with_bias
from archpress.importing.reading import read_call
from archpress.importing.steps import (
    INPUT,
    Adding,
    LayerStep,
    Meaning,
    Multiplying,
    Refused,
    Step,
    Steps,
)
from archpress.optional import onnx_session, require

_SHAPES_ONLY = ("Shape", "Size")
_ENDINGS = {"Softmax": "softmax", "LogSoftmax": "log_softmax"}


def capture_onnx(path: Path | str, input_shape: tuple[int, int, int] | None = None) -> Captured:
    """Return the architecture and weights of an ONNX file.

    The captured network gives the file's outputs on random images, as onnxruntime has them, up to
    1e-5 of the largest. The file's BatchNorm may be folded into its convolutions; it stays so.

    Args:
        path: A file of one float32 input ``[N, C, H, W]`` and one output ``[N, K]``.
        input_shape: ``(C, H, W)``; needed where the file leaves one of them open.

    Raises:
        MissingExtraError: The packages of the extra ``onnx`` are not there.
        UnsupportedNetworkError: The file is none, or no architecture expresses it; names the node.
    """
    path = Path(path)
    model = _load(path)
    name, fixed, shape = _input_of(model.graph, path, input_shape)
    batch, values = _watched(
        model, path, name, [(n, *shape) for n in ([fixed] if fixed else [2, 1])]
    )
    captured = assemble(_Walk(model.graph, values, (name, batch, shape)).steps())
    _check_outputs(model, captured, path, (name, batch))
    if not fixed:
        with suppress(_CannotRunError):  # a file may say that its batch is open, and yet fix it
            _check_outputs(model, captured, path, (name, 5))
    return captured


def _load(path: Path) -> Any:
    """Return the model of a file, its functions spelled out."""
    onnx = require("onnx", "onnx")
    require("onnxruntime", "onnx")
    if not path.is_file():
        raise UnsupportedNetworkError(f"{path}: no such file")
    try:
        model = onnx.load(path)
        if not model.ir_version or not model.graph.node:
            raise ValueError("it holds no nodes")
        if model.functions:
            model = require("onnx.inliner", "onnx").inline_local_functions(model)
    except Exception as error:  # the errors of protobuf, of onnx and of the file system
        lines = str(error).strip().splitlines() or [type(error).__name__]
        raise UnsupportedNetworkError(f"{path} is not a readable ONNX file: {lines[0]}") from error
    for node in model.graph.node:
        if node.domain not in ("", "ai.onnx", "com.microsoft"):
            raise UnsupportedNetworkError(
                f"{node.name or node.output[0]} ({node.op_type}): an operator of the domain "
                f"{node.domain}, not of ONNX"
            )
    return model


def _input_of(
    graph: Any, path: Path, input_shape: tuple[int, int, int] | None
) -> tuple[str, int, tuple[int, int, int]]:
    """Return name, batch (0 if open) and ``(C, H, W)`` of the one input of a graph."""
    stored = {tensor.name for tensor in graph.initializer}
    inputs = [value for value in graph.input if value.name not in stored]
    for word, found in (("input", inputs), ("output", graph.output)):
        if len(found) != 1:
            names = ", ".join(value.name for value in found)
            raise UnsupportedNetworkError(
                f"{path} has {len(found)} {word}s ({names}), expected one"
            )
    kind = inputs[0].type.tensor_type
    sides = [side.dim_value for side in kind.shape.dim]
    if kind.elem_type != FLOAT or len(sides) not in ((4,) if kind.HasField("shape") else (0,)):
        raise UnsupportedNetworkError(
            f"{path}: its input {inputs[0].name} has {len(sides)} sides or is not of float32, "
            f"expected float32 images [N, C, H, W]"
        )
    batch, *known = sides or [0, 0, 0, 0]
    channels, height, width = input_shape or known
    wrong = any(
        k not in (0, side) for k, side in zip(known, (channels, height, width), strict=True)
    )
    if wrong or min(channels, height, width) < 1:
        raise UnsupportedNetworkError(
            f"{path}: its input {inputs[0].name} has (C, H, W) {tuple(known)}, 0 being open; "
            + (f"{input_shape} does not fit" if wrong else "give the input shape")
        )
    return inputs[0].name, batch, (channels, height, width)


def _images(shape: tuple[int, ...]) -> Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(shape[0]))


class _CannotRunError(UnsupportedNetworkError):
    """What onnxruntime says of a file."""


def _watched(
    model: Any, path: Path, name: str, shapes: list[tuple[int, ...]]
) -> tuple[int, dict[str, Any]]:
    """Return the batch of the first shape that the model runs on, and the outputs of all nodes."""
    watched = type(model)()
    watched.CopyFrom(model)
    output = model.graph.output[0]
    inner = {name for node in model.graph.node for name in node.output if name} - {output.name}
    watched.graph.output.extend(type(output)(name=name) for name in sorted(inner))
    for shape in shapes[:-1]:
        with suppress(_CannotRunError):
            return shape[0], _run(watched, path, name, _images(shape))
    return shapes[-1][0], _run(watched, path, name, _images(shapes[-1]))


def _run(model: Any, path: Path, name: str, images: Tensor) -> dict[str, Any]:
    """Return the model's outputs by name."""
    outputs = [output.name for output in model.graph.output]
    try:
        session = onnx_session(model.SerializeToString())
        results = session.run(outputs, {name: images.numpy()})
    except Exception as error:  # onnxruntime has an error class per status
        lines = str(error).strip().splitlines() or [type(error).__name__]
        raise _CannotRunError(f"onnxruntime cannot run {path}: {lines[0]}") from error
    return dict(zip(outputs, results, strict=True))


class _Walk:
    """The nodes that the images go through.

    A value that depends on the images has a number; all others are constants.
    """

    def __init__(
        self, graph: Any, values: Mapping[str, Any], images: tuple[str, int, tuple[int, int, int]]
    ) -> None:
        name, self.batch, self.input_shape = images
        self.graph, self.values = graph, values
        self.number = {name: INPUT}
        self.shape: dict[str, Shape] = {name: self.input_shape}
        to_array = require("onnx.numpy_helper", "onnx").to_array
        self.constants = {stored.name: _tensor(to_array(stored)) for stored in graph.initializer}
        self.learned = {
            name: value
            for name, value in self.constants.items()
            if value is not None and value.dim() > 1 and value.numel() > 1
            if value.is_floating_point()
        }
        self.roots = {name: frozenset([name]) for name in self.learned}
        self.wanted = {name for node in graph.node for name in _reads(node)}
        self.wanted.add(graph.output[0].name)
        self.made: dict[str, Step] = {}
        self.sources: dict[str, list[str]] = {}
        self.padded: dict[str, tuple[str, list[int]]] = {}
        self.curves = Curves()

    def steps(self) -> Steps:
        """Return the steps, in the order of the file."""
        for node in self.graph.node:
            if node.op_type not in _SHAPES_ONLY and any(n in self.number for n in _reads(node)):
                self._add_step(node)
            else:
                self._add_constants(node)
        steps = {step.outputs: step for step in self.made.values()}
        return Steps(
            self.input_shape, tuple(steps.values()), self.number.get(self.graph.output[0].name),
            "something that does not come from its input", self.learned,
            frozenset(name for node in self.graph.node for name in self._roots(node)),
        )  # fmt: skip

    def _add_constants(self, proto: Any) -> None:
        roots = self._roots(proto)
        for name in proto.output:
            self.constants[name] = _tensor(self.values.get(name))
            self.roots[name] = roots

    def _roots(self, proto: Any) -> frozenset[str]:
        """Return the stored weights that a node reads, directly or through other constants."""
        return frozenset().union(*(self.roots.get(name, ()) for name in proto.input))

    def _add_step(self, proto: Any) -> None:
        node = self._node(proto)
        meaning, sources = self._meaning(node, proto.output[0])
        sources = sources or [name for name in _reads(proto) if name in self.number]
        parameters = set(self._roots(proto)) if isinstance(meaning, LayerStep) else set()
        for fused in {n for n in _reads(proto) if n in self.made} - set(sources):
            parameters |= set(self.made[fused].parameters)
        whole = self._whole(proto.output[0])
        if whole[:1] != (self.batch,):
            meaning = Refused(f"its result of shape {whole} has no batch of images in front")
        outputs = [name for name in proto.output if name in self.wanted] or [proto.output[0]]
        first = max(self.number.values()) + 1
        step = Step(
            proto.name, _ENDINGS.get(node.op, node.op), None,
            tuple(self.number[name] for name in sources),
            tuple(range(first, first + len(outputs))), whole[1:], meaning,
            tuple(sorted(parameters)),
        )  # fmt: skip
        for number, name in zip(step.outputs, outputs, strict=True):
            self.number[name] = number
            self.shape[name] = self._whole(name)[1:]
            self.made[name] = step
            self.sources[name] = sources

    def _node(self, proto: Any) -> OnnxNode:
        """Return a node with its operands; zeros padded around its input become its own."""
        operands = [
            name if name in self.number else self.constants.get(name) for name in proto.input
        ]
        attributes = _attributes(proto)
        source, pads = self.padded.get(proto.input[0], ("", []))
        own = attributes.get("pads", [0, 0, 0, 0])
        counted = proto.op_type == "Conv" or attributes.get("count_include_pad") or not any(own)
        named = attributes.get("auto_pad", "NOTSET") in ("NOTSET", "VALID") and len(own) == 4
        if source and proto.op_type in ("Conv", "AveragePool") and counted and named:
            operands[0] = source
            attributes["auto_pad"] = "NOTSET"
            attributes["pads"] = [a + b for a, b in zip(own, pads, strict=True)]
            attributes["count_include_pad"] = 1
        data = [operand for operand in operands if isinstance(operand, str)]
        before = self.shape[data[0] if data else _first(proto, self.number)]
        used = [name for name in proto.output if name in self.wanted]
        return OnnxNode(
            ".".join(filter(None, (proto.domain.replace("ai.onnx", ""), proto.op_type))),
            attributes, tuple(operands), (before, self._whole(proto.output[0])[1:]),
            simple=bool(data) and used in ([], [proto.output[0]]),
        )  # fmt: skip

    def _whole(self, name: str) -> tuple[int, ...]:
        return tuple(getattr(self.values.get(name), "shape", ()))

    def _meaning(self, node: OnnxNode, output: str) -> tuple[Meaning, list[str]]:
        """Return what a node is to archpress, and the values that it is applied to."""
        data = [operand for operand in node.operands if isinstance(operand, str)]
        curve = self.curves.draw(node.op, output, node.operands, node.attributes)
        meaning = read_node(node)
        if isinstance(meaning, Adding | Multiplying | Refused):
            if curve is not None and node.shapes[1] == self.shape[curve[2]]:
                function, options, base = curve
                return read_call(function, ((None,), options), node.shapes, _no_weight), [base]
            fused = self._with_bias(node, data)
            if fused is not None:
                return fused, self.sources[data[0]]
        elif len(data) != 1 or node.operands[0] != data[0]:
            return Refused(f"{node.op} of several values or with the input not in front"), data
        pads = padding_of(node)
        if pads is not None:
            self.padded[output] = (data[0], pads)
        return meaning, data

    def _with_bias(self, node: OnnxNode, data: list[str]) -> LayerStep | None:
        """Return the layer before an addition of a constant, with that as its bias."""
        constants = [operand for operand in node.operands if isinstance(operand, Tensor)]
        if node.op != "Add" or len(data) != 1 or len(constants) != 1 or data[0] not in self.made:
            return None
        return with_bias(self.made[data[0]].meaning, constants[0], node.shapes[1])


def _reads(proto: Any) -> Iterator[str]:
    """Yield the values that a node reads, in branches and loops inside it too."""
    yield from (name for name in proto.input if name)
    for attribute in proto.attribute:
        for graph in (attribute.g, *attribute.graphs):
            for inner in graph.node:
                yield from _reads(inner)


def _first(proto: Any, number: Mapping[str, int]) -> str:
    return next(name for name in _reads(proto) if name in number)


def _attributes(proto: Any) -> dict[str, Any]:
    """Return the attributes; numbers as they were before they became float32."""
    read = require("onnx.helper", "onnx").get_attribute_value
    values = {attribute.name: read(attribute) for attribute in proto.attribute}
    for name, value in values.items():
        if isinstance(value, float):
            values[name] = float(f"{value:.7g}")
        elif isinstance(value, bytes):
            values[name] = value.decode(errors="replace")
        elif not isinstance(value, int):
            values[name] = list(value) if isinstance(value, tuple | list) else value
    return values


def _tensor(array: Any) -> Tensor | None:
    """Return a tensor, None of what PyTorch has no type for."""
    try:
        return torch.from_numpy(array.copy())
    except (TypeError, AttributeError):
        return None


def _no_weight(operand: Any) -> None:
    return None


def _check_outputs(model: Any, captured: Captured, path: Path, images: tuple[str, int]) -> None:
    """Refuse a capture that does not give the file's outputs.

    Raises:
        UnsupportedNetworkError: They differ: a node was read wrongly.
    """
    name, batch = images
    drawn = _images((batch, *captured.architecture.input_shape))
    (expected,) = _run(model, path, name, drawn).values()
    wanted = torch.from_numpy(expected.copy()).flatten(1)
    difference = captured.difference(drawn, wanted)
    if not difference <= TOLERANCE:
        raise UnsupportedNetworkError(
            f"the captured network gives other outputs than {path} (by {difference:.2g}): a "
            f"node was not understood; please report it"
        )
