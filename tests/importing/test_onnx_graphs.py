"""ONNX files in: what the exporters write, what others write, and what cannot be expressed."""

import logging
import math
import sys
import warnings
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from archpress.architectures.architecture import Architecture
from archpress.architectures.building import build
from archpress.architectures.layers import BatchNorm
from archpress.errors import MissingExtraError, UnsupportedNetworkError
from archpress.files import write_bytes
from archpress.importing import onnx_graphs, onnx_nodes
from archpress.importing.assembly import Captured
from archpress.importing.onnx_graphs import capture_onnx
from tests.networks import MODULES
from tests.small_networks import ZOO, every_network, generator, images_for

onnx = pytest.importorskip("onnx")
onnxruntime = pytest.importorskip("onnxruntime")
make = onnx.helper

CAPTURED = {name: sample for name, sample in MODULES.items() if sample.refused is None}
FIXED_BATCH = {"batch_norm_first", "residual_mlp"}  # tracing takes len(x) for a number
SOON = {  # every kind and attribute, and skips of each sort; each takes a second
    "every kind", "every new kind", "every attribute", "skip with bias", "skip without norm",
    "inverted residuals", "nested skips", "input added twice", "skip of flat features",
    "global pool only", "much padding",
}  # fmt: skip
UNTRACEABLE = {"window_of_whole_size"}
BY_TRACING = {"data_dependent", "weight_standardized"}  # gone when the file is written


def randomised(module: nn.Module, seed: int = 0) -> nn.Module:
    """The module in evaluation, nothing at its default: BatchNorm far from the identity."""
    draw = generator(seed)
    with torch.no_grad():
        for tensor in (*module.parameters(), *module.buffers()):
            if tensor.dim() == 1:
                tensor.copy_(0.5 + torch.rand(tensor.shape, generator=draw))
            elif tensor.is_floating_point() and tensor.dim() > 1:
                tensor.mul_(1 + 0.1 * torch.rand(tensor.shape, generator=draw))
    return module.eval()


def traced(module: nn.Module, input_shape: tuple[int, ...], path: Path, **options: Any) -> Path:
    """Write a module as PyTorch's older exporter does, which most files in the world come from."""
    chosen: dict[str, Any] = {"opset_version": 13, "dynamic_axes": {"x": {0: "n"}}} | options
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        torch.onnx.export(
            module, (torch.zeros(2, *input_shape),), path,
            input_names=["x"], output_names=["y"], dynamo=False, **chosen,
        )  # fmt: skip
    return path


UNFOLDED = {"do_constant_folding": False, "training": torch.onnx.TrainingMode.PRESERVE}


def outputs(captured: Captured, images: Tensor) -> Any:
    with torch.no_grad():
        logits = captured.model()(images)
    ended: dict[str, Any] = {"softmax": torch.softmax, "log_softmax": torch.log_softmax}
    return ended[captured.ending](logits, 1) if captured.ending else logits


def assert_same_function(captured: Captured, module: nn.Module, images: Tensor) -> None:
    with torch.no_grad():
        expected = module(images)
    difference = (outputs(captured, images) - expected).abs().max()
    assert float(difference) <= 1e-5 * max(1.0, float(expected.abs().max()))


@pytest.fixture(autouse=True)
def quiet() -> Iterator[None]:
    logging.disable(logging.CRITICAL)
    yield
    logging.disable(logging.NOTSET)


# ---------------------------------------------------------------- what the exporters write


@pytest.mark.parametrize(
    "network",
    [
        pytest.param(network, marks=() if name in SOON else pytest.mark.slow, id=name)
        for name, network in ZOO.items()
    ],
)
def test_what_archpress_writes_comes_back(network: Architecture, tmp_path: Path) -> None:
    """The same layers up to BatchNorm (folded), Dropout (gone) and ReLUs in a row (one)."""
    pytest.importorskip("onnxscript")
    from archpress.exporting.onnx_files import onnx_bytes

    module = build(network, 0)
    randomised(module)
    captured = capture_onnx(
        write_bytes(tmp_path / "model.onnx", onnx_bytes(module, network.input_shape))
    )
    assert_same_function(captured, module, images_for(network))
    assert kept_kinds(captured.architecture) == kept_kinds(network)
    assert captured.notes == ()


@every_network
def test_networks_written_with_batch_norm(network: Architecture, tmp_path: Path) -> None:
    """The same layers, their numbers too, up to Dropout and what ONNX writes out."""
    module = randomised(build(network, 0))
    path = traced(module, network.input_shape, tmp_path / "m.onnx", opset_version=17, **UNFOLDED)
    captured = capture_onnx(path)
    assert_same_function(captured, module, images_for(network))
    gone = {"dropout"} | ({"global_average_pool"} if network.input_shape[1:] == (1, 1) else set())
    kept = [layer.kind for layer in captured.architecture.layers if layer.kind not in gone]
    assert kept == [layer.kind for layer in network.layers if layer.kind not in gone]
    written_out = sum(  # ONNX has no BatchNorm without affine
        2 * network.shapes[index][0]
        for index, layer in enumerate(network.layers)
        if isinstance(layer, BatchNorm) and not layer.affine
    )
    assert captured.architecture.cost.parameters == network.cost.parameters + written_out


def kept_kinds(network: Architecture) -> list[str]:
    kinds: list[str] = []
    for layer in network.layers:
        repeats = bool(kinds) and layer.kind == kinds[-1] == "relu"
        if layer.kind not in ("batch_norm", "dropout") and not repeats:
            kinds.append(layer.kind)
    return kinds


@pytest.mark.parametrize("name", sorted(set(CAPTURED) - UNTRACEABLE))
def test_modules_written_with_batch_norm(name: str, tmp_path: Path) -> None:
    sample = MODULES[name]
    module = randomised(sample.make())
    path = traced(module, sample.input_shape, tmp_path / "m.onnx", opset_version=17, **UNFOLDED)
    if name in FIXED_BATCH:
        path = traced(module, sample.input_shape, path, dynamic_axes=None, **UNFOLDED)
    captured = capture_onnx(path)
    batch = 2 if name in FIXED_BATCH else 3
    images = torch.randn(batch, *sample.input_shape, generator=generator(1))
    assert_same_function(captured, module, images)
    if sample.parameters is not None:
        written_out = 6 if name == "batch_norm_first" else 0  # ONNX has no BatchNorm without affine
        assert captured.architecture.cost.parameters == sample.parameters + written_out


@pytest.mark.parametrize("name", sorted(set(CAPTURED) - UNTRACEABLE - FIXED_BATCH))
def test_modules_written_folded(name: str, tmp_path: Path) -> None:
    sample = MODULES[name]
    module = randomised(sample.make())
    captured = capture_onnx(
        traced(module, sample.input_shape, tmp_path / "m.onnx", opset_version=11)
    )
    images = torch.randn(3, *sample.input_shape, generator=generator(1))
    assert_same_function(captured, module, images)


@pytest.mark.parametrize("name", ["identities_with_norm", "mobilenet_v3ish", "resnet_preact"])
def test_modules_written_by_the_newer_exporter(name: str, tmp_path: Path) -> None:
    pytest.importorskip("onnxscript")
    sample = MODULES[name]
    module = randomised(sample.make())
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        images = torch.zeros(2, *sample.input_shape)
        program = torch.onnx.export(module, (images,), dynamo=True, verbose=False)
    assert program is not None
    (tmp_path / "m.onnx").write_bytes(program.model_proto.SerializeToString())
    captured = capture_onnx(tmp_path / "m.onnx")
    images = torch.randn(2, *sample.input_shape, generator=generator(1))
    assert_same_function(captured, module, images)


@pytest.mark.parametrize("name", sorted(set(MODULES) - set(CAPTURED)))
def test_modules_that_cannot_be_expressed(name: str, tmp_path: Path) -> None:
    sample = MODULES[name]
    try:
        path = traced(sample.make().eval(), sample.input_shape, tmp_path / "m.onnx")
    except Exception as error:
        pytest.skip(f"PyTorch cannot write it: {str(error).splitlines()[0]}")
    if name in BY_TRACING:
        capture_onnx(path)
        return
    with pytest.raises(UnsupportedNetworkError, match=r"\(\w+\): |has 2 outputs"):
        capture_onnx(path)


# ---------------------------------------------------------------- what others write


def array(*shape: int, seed: int = 0) -> Any:
    return np.random.default_rng(seed).standard_normal(shape).astype("float32")


def written(
    path: Path,
    nodes: Sequence[Any],
    constants: dict[str, Any] | None = None,
    shape: Sequence[Any] = ("n", 2, 6, 6),
    opset: int = 20,
) -> Path:
    """A file of these nodes, from ``x`` to ``y``."""
    stored = [
        onnx.numpy_helper.from_array(np.asarray(value), name)
        for name, value in (constants or {}).items()
    ]
    graph = make.make_graph(
        list(nodes), "graph",
        [make.make_tensor_value_info("x", onnx.TensorProto.FLOAT, shape)],
        [make.make_tensor_value_info("y", onnx.TensorProto.FLOAT, None)],
        stored,
    )  # fmt: skip
    model = make.make_model(graph, opset_imports=[make.make_opsetid("", opset)], ir_version=10)
    path.write_bytes(model.SerializeToString())
    return path


def node(op: str, inputs: str, output: str, **attributes: Any) -> Any:
    """A node; inputs are written as ``"x w"``, one left out as ``-``."""
    names = ["" if name == "-" else name for name in inputs.split()]
    return make.make_node(op, names, output.split(), name=f"{op}-{output}", **attributes)


def ending(value: str) -> list[Any]:
    """Pooling and a classifier; its weight is ``end``."""
    return [
        node("GlobalAveragePool", value, "pooled"),
        node("Flatten", "pooled", "flat"),
        node("Gemm", "flat end", "y"),
    ]


END = {"end": array(2, 3, seed=9)}


def kinds_of(path: Path) -> list[str]:
    return [layer.kind for layer in capture_onnx(path).architecture.layers]


HALF, ONE, THREE, SIX = (np.float32(value) for value in (0.5, 1.0, 3.0, 6.0))
ROOT_HALF, CUBIC = np.float32(math.sqrt(0.5)), np.float32(0.044715)
SPELLINGS: dict[str, tuple[str, list[Any], dict[str, Any]]] = {
    "relu by Max": ("relu", [node("Max", "zero x", "z")], {"zero": np.float32(0)}),
    "relu by Clip": ("relu", [node("Clip", "x zero -", "z")], {"zero": np.float32(0)}),
    "relu6": ("relu6", [node("Clip", "x zero six", "z")], {"zero": np.float32(0), "six": SIX}),
    "leaky": ("leaky_relu", [node("LeakyRelu", "x", "z", alpha=0.2)], {}),
    "silu": ("silu", [node("Sigmoid", "x", "s"), node("Mul", "s x", "z")], {}),
    "silu of an identity": (
        "silu",
        [node("Identity", "x", "i"), node("Sigmoid", "i", "s"), node("Mul", "x s", "z")],
        {},
    ),
    "silu by exponentials": (
        "silu",
        [
            *(node("Neg", "x", "n"), node("Exp", "n", "e"), node("Add", "one e", "d")),
            node("Div", "x d", "z"),
        ],
        {"one": ONE},
    ),
    "hardswish by HardSigmoid": (
        "hardswish",
        [node("HardSigmoid", "x", "h", alpha=1 / 6, beta=0.5), node("Mul", "x h", "z")],
        {},
    ),
    "hardswish by Clip": (
        "hardswish",
        [
            *(node("Add", "x three", "a"), node("Clip", "a zero six", "c")),
            *(node("Mul", "x c", "m"), node("Div", "m six", "z")),
        ],
        {"three": THREE, "six": SIX, "zero": np.float32(0)},
    ),
    "gelu": ("gelu", [node("Gelu", "x", "z")], {}),
    "gelu by Erf": (
        "gelu",
        [
            *(node("Mul", "x half", "h"), node("Mul", "x root", "r"), node("Erf", "r", "e")),
            *(node("Add", "e one", "a"), node("Mul", "h a", "z")),
        ],
        {"half": HALF, "root": ROOT_HALF, "one": ONE},
    ),
    "gelu by Tanh": (
        "gelu",
        [
            *(node("Pow", "x three", "p"), node("Mul", "p cubic", "c"), node("Add", "x c", "a")),
            *(node("Mul", "a slope", "s"), node("Tanh", "s", "t"), node("Add", "t one", "o")),
            *(node("Mul", "x o", "m"), node("Mul", "m half", "z")),
        ],
        {
            **{"three": THREE, "cubic": CUBIC, "one": ONE, "half": HALF},
            "slope": np.float32(math.sqrt(2 / math.pi)),
        },
    ),
}


@pytest.mark.parametrize("spelling", SPELLINGS)
def test_activations_however_they_are_spelled(spelling: str, tmp_path: Path) -> None:
    kind, nodes, constants = SPELLINGS[spelling]
    path = written(tmp_path / "m.onnx", [*nodes, *ending("z")], constants | END)
    assert kinds_of(path) == [kind, "global_average_pool", "linear"]


W3 = {"w": array(4, 2, 3, 3)}
FORMS: dict[str, tuple[list[str], list[Any], dict[str, Any]]] = {
    "bias added to a product": (
        ["linear"],
        [node("Flatten", "x", "f"), node("MatMul", "f w", "m"), node("Add", "b m", "y")],
        {"w": array(72, 3), "b": array(3)},
    ),
    "bias added to a convolution": (
        ["convolution", "global_average_pool"],
        [
            *(node("Conv", "x w", "c"), node("Add", "c b", "a")),
            *(node("GlobalAveragePool", "a", "g"), node("Flatten", "g", "y")),
        ],
        W3 | {"b": array(4, 1, 1)},
    ),
    "scaled Gemm": (
        ["linear"],
        [
            node("Flatten", "x", "f"),
            node("Gemm", "f w b", "y", alpha=0.5, beta=2.0, transB=1),
        ],
        {"w": array(3, 72), "b": array(1, 3)},
    ),
    "same padding": (
        ["convolution", "global_average_pool"],
        [
            node("Conv", "x w", "c", auto_pad="SAME_UPPER"),
            node("ReduceMean", "c axes", "y", keepdims=0),
        ],
        W3 | {"axes": np.array([2, 3])},
    ),
    "zeros around": (
        ["average_pool", "linear"],
        [
            *(node("Pad", "x pads", "p"), node("AveragePool", "p", "a", kernel_shape=[3, 3])),
            *(node("Flatten", "a", "f"), node("Gemm", "f w", "y")),
        ],
        {"pads": np.array([0, 0, 1, 1, 0, 0, 1, 1]), "w": array(72, 3)},
    ),
    "zeros around a convolution": (
        ["convolution", "linear"],
        [
            *(node("Pad", "x pads", "p"), node("Conv", "p w", "c", pads=[1, 1, 1, 1])),
            *(node("Flatten", "c", "f"), node("Gemm", "f v", "y")),
        ],
        W3 | {"pads": np.array([0, 0, 1, 1, 0, 0, 1, 1]), "v": array(256, 3)},
    ),
    "zeros around a convolution that says it pads nothing": (
        ["convolution", "linear"],
        [
            *(node("Pad", "x pads", "p"), node("Conv", "p w", "c", auto_pad="VALID")),
            *(node("Flatten", "c", "f"), node("Gemm", "f v", "y")),
        ],
        W3 | {"pads": np.array([0, 0, 1, 1, 0, 0, 1, 1]), "v": array(144, 3)},
    ),
    "numbers with sides": (
        ["sigmoid", "silu", "global_average_pool", "linear"],
        [
            *(node("Sigmoid", "x", "i"), node("Mul", "i one", "j"), node("Sigmoid", "j", "s")),
            *(node("Div", "s one", "t"), node("Mul", "j t", "z"), *ending("z")),
        ],
        {"one": np.ones((1, 1, 1), "float32")} | END,
    ),
    "shapes computed": (
        ["linear"],
        [
            *(node("Shape", "x", "s"), node("Gather", "s zero", "n"), node("Neg", "one", "m")),
            *(node("Concat", "n m", "t", axis=0), node("Reshape", "x t", "f")),
            node("Gemm", "f w", "y"),
        ],
        {"zero": np.array([0]), "one": np.array([1]), "w": array(72, 3)},
    ),
    "weight computed from constants": (
        ["linear"],
        [
            *(node("Flatten", "x", "f"), node("Transpose", "w", "t")),
            *(node("Cast", "t", "c", to=1), node("MatMul", "f c", "y")),
        ],
        {"w": array(3, 72).astype("float64")},
    ),
    "mean over one side and the other": (
        ["global_average_pool", "linear"],
        [
            node("ReduceMean", "x last", "r", keepdims=0),
            node("ReduceMean", "r last", "s", keepdims=0),
            node("Gemm", "s end", "y"),
        ],
        {"last": np.array([-1])} | END,
    ),
    "batch norm, dropout and pool": (
        ["batch_norm", "dropout", "max_pool", "linear"],
        [
            node("BatchNormalization", "x g b m v", "n", epsilon=1e-3),
            *(node("Dropout", "n", "d"), node("MaxPool", "d", "p", kernel_shape=[6, 6])),
            *(node("Squeeze", "p sides", "f"), node("Gemm", "f end", "y")),
        ],
        {name: abs(array(2, seed=i)) for i, name in enumerate("gbmv")}
        | {"sides": np.array([2, 3])}
        | END,
    ),
    "residual with a projection": (
        ["convolution", "relu", "global_average_pool", "linear"],
        [
            *(node("Conv", "x w", "c", pads=[1, 1, 1, 1]), node("Conv", "x v", "s")),
            *(node("Add", "s c", "a"), node("Relu", "a", "r"), *ending("r")),
        ],
        {"w": array(3, 2, 3, 3), "v": array(3, 2, 1, 1), "end": array(3, 2)},
    ),
    "softmax last": (
        ["global_average_pool", "linear"],
        [*ending("x")[:2], node("Gemm", "flat end", "l"), node("Softmax", "l", "y")],
        END,
    ),
}


@pytest.mark.parametrize("form", FORMS)
def test_forms_that_others_write(form: str, tmp_path: Path) -> None:
    kinds, nodes, constants = FORMS[form]
    captured = capture_onnx(written(tmp_path / "m.onnx", nodes, constants))
    assert [layer.kind for layer in captured.architecture.layers] == kinds
    assert not [note for note in captured.notes if "left out: what goes into" not in note]


def test_numbers_come_back_as_they_were_written(tmp_path: Path) -> None:
    nodes = [
        *(node("BatchNormalization", "x g b m v", "n", epsilon=1e-3),),
        *(node("LeakyRelu", "n", "r", alpha=0.2), node("Dropout", "r p", "d"), *ending("d")),
    ]
    constants = {name: abs(array(2)) for name in "gbmv"} | {"p": np.float32(0.25)} | END
    records = [
        layer.to_json()
        for layer in capture_onnx(written(tmp_path / "m", nodes, constants)).architecture.layers
    ]
    assert (records[0]["eps"], records[1]["negative_slope"], records[2]["rate"]) == (
        1e-3, 0.2, 0.25
    )  # fmt: skip


@pytest.mark.parametrize("batch", [1, 3])
def test_a_fixed_batch(batch: int, tmp_path: Path) -> None:
    path = written(tmp_path / "m.onnx", ending("x"), END, shape=(batch, 2, 6, 6))
    assert capture_onnx(path).architecture.input_shape == (2, 6, 6)


def test_open_sides_are_given(tmp_path: Path) -> None:
    path = written(tmp_path / "m.onnx", ending("x"), END, shape=("n", 2, "h", "w"))
    assert capture_onnx(path, (2, 5, 4)).architecture.input_shape == (2, 5, 4)
    with pytest.raises(UnsupportedNetworkError, match=r"\(2, 0, 0\).* give the input shape"):
        capture_onnx(path)
    with pytest.raises(UnsupportedNetworkError, match=r"\(3, 5, 4\) does not fit"):
        capture_onnx(path, (3, 5, 4))


def test_functions_of_the_file_are_spelled_out(tmp_path: Path) -> None:
    path = written(tmp_path / "m.onnx", [node("Relu", "x", "r"), *ending("r")], END)
    model = onnx.load(path)
    opset = [make.make_opsetid("", 20)]
    body = make.make_function("mine", "Act", ["a"], ["b"], [node("Relu", "a", "b")], opset)
    model.functions.append(body)
    model.opset_import.append(make.make_opsetid("mine", 1))
    model.graph.node[0].op_type, model.graph.node[0].domain = "Act", "mine"
    onnx.save(model, path)
    assert kinds_of(path) == ["relu", "global_average_pool", "linear"]


# ---------------------------------------------------------------- refused

REFUSED: dict[str, tuple[str, list[Any], dict[str, Any]]] = {
    "a clip that only looks like ReLU": (
        r"Clip-z \(Clip\): clamping to 0.0 .. 20.0",
        [node("Clip", "x zero high", "z")],
        {"zero": np.float32(0), "high": np.float32(20)},
    ),
    "ReLU and then some": (
        r"Min-z \(Min\)",
        [node("Relu", "x", "r"), node("Min", "r high", "z")],
        {"high": np.float32(500)},
    ),
    "another HardSigmoid": (
        r"HardSigmoid-h \(HardSigmoid\): HardSigmoid alone .* Hardswish",
        [node("HardSigmoid", "x", "h"), node("Mul", "x h", "z")],
        {},
    ),
    "concatenation": (r"Concat-z \(Concat\)", [node("Concat", "x x", "z", axis=2)], {}),
    "normalisation": (r"Sub-z \(Sub\)", [node("Sub", "x m", "z")], {"m": array(2, 1, 1)}),
    "groups": (
        r"Conv-z \(Conv\): 2 groups",
        [node("Conv", "x w", "z", group=2)],
        {"w": array(4, 1, 1, 1), "end": array(4, 3)},
    ),
    "uneven padding": (
        r"Conv-z \(Conv\): padding \[0, 0, 1, 1\]",
        [node("Conv", "x w", "z", auto_pad="SAME_UPPER", strides=[2, 2])],
        W3 | {"end": array(4, 3)},
    ),
    "dilation": (
        r"Conv-z \(Conv\): dilation",
        [node("Conv", "x w", "z", dilations=[2, 2])],
        W3 | {"end": array(4, 3)},
    ),
    "a computed weight": (
        r"Reshape-w \(Reshape\): .*no batch of images in front; further: Conv-z",
        [node("Reshape", "x s", "w"), node("Conv", "x w", "z")],
        {"s": np.array([4, -1, 3, 3]), "end": array(4, 3)},
    ),
    "indices": (
        r"MaxPool-p i \(MaxPool\): MaxPool with a body or with several results",
        [
            *(node("MaxPool", "x", "p i", kernel_shape=[2, 2]), node("Cast", "i", "f", to=1)),
            node("Add", "p f", "z"),
        ],
        {},
    ),
    "a ceiling": (
        r"ceil_mode",
        [node("MaxPool", "x", "z", kernel_shape=[4, 4], strides=[3, 3], ceil_mode=1)],
        {},
    ),
    "the batch mixed": (
        r"Transpose-z \(Transpose\)",
        [node("Transpose", "x", "z", perm=[1, 0, 2, 3])],
        {},
    ),
    "another precision": (
        r"Cast-h \(Cast\)",
        [node("Cast", "x", "h", to=10), node("Cast", "h", "z", to=1)],
        {},
    ),
    "a step in the dark": (r"Sin-z \(Sin\): Sin cannot", [node("Sin", "x", "z")], {}),
}


@pytest.mark.parametrize("case", REFUSED)
def test_what_cannot_be_expressed_is_named(case: str, tmp_path: Path) -> None:
    message, nodes, constants = REFUSED[case]
    path = written(tmp_path / "m.onnx", [*nodes, *ending("z")], END | constants)
    with pytest.raises(UnsupportedNetworkError, match=message):
        capture_onnx(path)


def test_branches_are_refused(tmp_path: Path) -> None:
    inner = make.make_tensor_value_info("i", onnx.TensorProto.FLOAT, None)
    branch = make.make_graph([node("Relu", "x", "i")], "branch", [], [inner])
    nodes = [node("If", "yes", "z", then_branch=branch, else_branch=branch), *ending("z")]
    path = written(tmp_path / "m.onnx", nodes, {"yes": np.array(True)} | END)
    with pytest.raises(UnsupportedNetworkError, match=r"If-z \(If\): If with a body"):
        capture_onnx(path)


def test_files_that_are_no_networks(tmp_path: Path) -> None:
    good = written(tmp_path / "good.onnx", ending("x"), END).read_bytes()
    contents = {"text": b"hello world", "empty": b"", "torn": good[: len(good) // 2]}
    for name, content in contents.items():
        (tmp_path / name).write_bytes(content)
        with pytest.raises(UnsupportedNetworkError, match=f"{name}.*not a readable ONNX file"):
            capture_onnx(tmp_path / name)
    for missing in (tmp_path / "missing.onnx", tmp_path):
        with pytest.raises(UnsupportedNetworkError, match="no such file"):
            capture_onnx(missing)


def test_inputs_and_outputs_of_another_form(tmp_path: Path) -> None:
    path = written(tmp_path / "m.onnx", ending("x"), END)
    model = onnx.load(path)
    model.graph.input.append(make.make_tensor_value_info("z", onnx.TensorProto.FLOAT, [1]))
    onnx.save(model, path)
    with pytest.raises(UnsupportedNetworkError, match=r"2 inputs \(x, z\)"):
        capture_onnx(path)
    written(path, [node("Gemm", "x end", "y")], END, shape=("n", 2))
    with pytest.raises(UnsupportedNetworkError, match=r"expected float32 images \[N, C, H, W\]"):
        capture_onnx(path)
    written(path, [node("Identity", "end", "y")], END)
    with pytest.raises(UnsupportedNetworkError, match="does not come from its input"):
        capture_onnx(path)


def test_operators_of_other_domains_are_named(tmp_path: Path) -> None:
    strange = node("Strange", "x", "z", domain="com.example")
    path = written(tmp_path / "m.onnx", [strange, *ending("z")], END)
    with pytest.raises(UnsupportedNetworkError, match=r"Strange-z \(Strange\).*com.example"):
        capture_onnx(path)


def test_a_node_that_onnxruntime_cannot_run(tmp_path: Path) -> None:
    path = written(tmp_path / "m.onnx", [node("Gemm", "x end", "y")], END)
    with pytest.raises(UnsupportedNetworkError, match=r"onnxruntime cannot run .*m\.onnx"):
        capture_onnx(path)


def test_a_wrong_reading_is_found_by_running(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = written(tmp_path / "m.onnx", [node("Tanh", "x", "t"), *ending("t")], END)
    right = onnx_nodes.read_node

    def wrong(read: Any) -> Any:
        from dataclasses import replace

        return right(replace(read, op="Sigmoid") if read.op == "Tanh" else read)

    monkeypatch.setattr(onnx_graphs, "read_node", wrong)
    with pytest.raises(UnsupportedNetworkError, match=r"other outputs than .*please report"):
        capture_onnx(path)


def test_without_the_extra(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = written(tmp_path / "m.onnx", ending("x"), END)
    monkeypatch.setitem(sys.modules, "onnxruntime", None)
    with pytest.raises(MissingExtraError, match=r'pip install "archpress\[onnx\]"'):
        capture_onnx(path)
