"""model.onnx: one file, any batch, the network's outputs, nothing printed."""

from pathlib import Path
from typing import Any

import pytest
import torch

from archpress.architectures.architecture import Architecture
from archpress.architectures.building import Network, build
from archpress.architectures.layers import GELU, BatchNorm, Convolution, Hardswish, Linear
from archpress.errors import ExportError
from archpress.exporting import onnx_files
from archpress.exporting.onnx_files import onnx_bytes
from archpress.files import write_bytes
from tests.small_networks import images_for

onnx = pytest.importorskip("onnx")
onnxruntime = pytest.importorskip("onnxruntime")
pytest.importorskip("onnxscript")

NETWORK = Architecture(
    (2, 6, 6),
    (Convolution(4, 3), BatchNorm(), GELU(), Hardswish(), GELU(approximate="tanh"), Linear(3)),
)


@pytest.fixture(scope="module")
def model() -> Network:
    """A network whose BatchNorm has seen images, left in training."""
    model = build(NETWORK, 0)
    model(3 * images_for(NETWORK, 9) + 1)
    return model


@pytest.fixture(scope="module")
def written(model: Network) -> bytes:
    return onnx_bytes(model, NETWORK.input_shape)


@pytest.mark.parametrize("batch", [1, 2, 7])
def test_any_batch_gives_the_outputs_of_evaluation(
    model: Network, written: bytes, batch: int
) -> None:
    images = images_for(NETWORK, batch)
    session = onnxruntime.InferenceSession(written)
    (logits,) = session.run(["logits"], {"images": images.numpy()})
    assert model.training
    model.eval()
    torch.testing.assert_close(torch.tensor(logits), model(images).detach(), rtol=0, atol=1e-5)
    model.train()


def test_names_and_nodes(written: bytes) -> None:
    graph = onnx.load_from_string(written).graph
    assert [value.name for value in (*graph.input, *graph.output)] == ["images", "logits"]
    sides = [side.dim_param or side.dim_value for side in graph.input[0].type.tensor_type.shape.dim]
    assert sides == ["batch", 2, 6, 6]
    flattening = {"Reshape", "Shape", "Gather", "Concat", "Constant", "Gemm"}
    operators = [node.op_type for node in graph.node if node.op_type not in flattening]
    assert operators == ["Conv", "Gelu", "HardSwish", "Gelu"]
    assert [node for node in graph.node if b"archpress" in node.SerializeToString()] == []


def test_one_file_and_not_a_word(
    tmp_path: Path, model: Network, capfd: pytest.CaptureFixture[str]
) -> None:
    write_bytes(tmp_path / "below" / "model.onnx", onnx_bytes(model, NETWORK.input_shape))
    assert [path.name for path in (tmp_path / "below").iterdir()] == ["model.onnx"]
    assert capfd.readouterr() == ("", "")
    onnx.checker.check_model(tmp_path / "below" / "model.onnx", full_check=True)


def test_a_file_with_other_outputs_is_not_written(
    tmp_path: Path, model: Network, monkeypatch: pytest.MonkeyPatch
) -> None:
    exported = onnx_files._exported

    def shifted(*arguments: Any) -> Any:
        graph = exported(*arguments)
        bias = next(tensor for tensor in graph.graph.initializer if tensor.name.endswith("bias"))
        values = onnx.numpy_helper.to_array(bias) + 1e-3
        bias.CopyFrom(onnx.numpy_helper.from_array(values.astype("float32"), bias.name))
        return graph

    monkeypatch.setattr(onnx_files, "_exported", shifted)
    with pytest.raises(ExportError, match="other outputs"):
        write_bytes(tmp_path / "model.onnx", onnx_bytes(model, NETWORK.input_shape))
    assert list(tmp_path.iterdir()) == []


def test_weights_that_are_not_finite_are_refused(tmp_path: Path) -> None:
    small = Architecture((1, 2, 2), (Linear(2),))
    broken = build(small, 0)
    torch.nn.init.constant_(next(broken.parameters()), float("nan"))
    with pytest.raises(ExportError, match="finite"):
        write_bytes(tmp_path / "model.onnx", onnx_bytes(broken, small.input_shape))


def test_a_failing_exporter_is_one_sentence(
    model: Network, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fails(*arguments: Any, **options: Any) -> None:
        raise RuntimeError("no such operator\nand a long trace")

    monkeypatch.setattr(torch.onnx, "export", fails)
    with pytest.raises(ExportError, match=r"as ONNX: no such operator$"):
        onnx_bytes(model, NETWORK.input_shape)
