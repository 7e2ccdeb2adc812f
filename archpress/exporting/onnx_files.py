"""Network -> ``model.onnx``, checked against the network before it is written."""

import contextlib
import io
import logging
import warnings
from collections.abc import Iterator
from typing import Any

import torch

from archpress.architectures.building import Network
from archpress.errors import ExportError
from archpress.optional import onnx_session, require

INPUT, OUTPUT = "images", "logits"
OPSET = 20  # the first in which GELU is one node
TOLERANCE = 1e-5


def onnx_bytes(network: Network, input_shape: tuple[int, int, int]) -> bytes:
    """Return the ONNX file of a network in evaluation, its weights inside.

    The input is ``images``, ``[N, C, H, W]`` of any ``N``; the output ``logits``, ``[N, K]``.
    BatchNorm may be folded into the convolution before it. onnxruntime has run it on random images:
    the outputs differ from the network's by at most 1e-5 of the largest.

    Raises:
        MissingExtraError: The packages of the extra ``onnx`` are not there.
        ExportError: PyTorch cannot write it, or it gives other outputs.
    """
    for module in ("onnx", "onnxscript", "onnxruntime"):
        require(module, "onnx")
    training = network.training
    try:
        network.eval()
        written = _without_traces(_exported(network, input_shape)).SerializeToString()
        _check(network, input_shape, written)
    finally:
        network.train(training)
    return bytes(written)


def _exported(network: Network, input_shape: tuple[int, int, int]) -> Any:
    images = torch.zeros(2, *input_shape, device=next(_tensors(network), torch.zeros(())).device)
    try:
        with _quiet(), torch.no_grad():
            program = torch.onnx.export(
                network, (images,), input_names=[INPUT], output_names=[OUTPUT],
                dynamic_shapes=({0: torch.export.Dim("batch")},),
                dynamo=True, opset_version=OPSET, external_data=False, verbose=False,
            )  # fmt: skip
    except Exception as error:  # it raises whatever its passes raise
        lines = str(error).strip().splitlines() or [type(error).__name__]
        raise ExportError(f"PyTorch cannot write the network as ONNX: {lines[0]}") from error
    return program.model_proto if program else None


def _tensors(network: Network) -> Iterator[torch.Tensor]:
    yield from network.parameters()
    yield from network.buffers()


@contextlib.contextmanager
def _quiet() -> Iterator[None]:
    """Keep back what the exporter logs, warns and prints, which nobody can act on."""
    disabled = logging.root.manager.disable
    logging.disable(logging.CRITICAL)
    try:
        with (
            warnings.catch_warnings(),
            contextlib.redirect_stdout(io.StringIO()),
            contextlib.redirect_stderr(io.StringIO()),
        ):
            warnings.simplefilter("ignore")
            yield
    finally:
        logging.disable(disabled)


def _without_traces(model: Any) -> Any:
    """Return the model without notes such as stack traces, which hold paths of this machine."""
    graph = model.graph
    parts = (*graph.node, *graph.value_info, *graph.input, *graph.output, *graph.initializer)
    for part in (model, graph, *parts):
        part.ClearField("metadata_props")
        part.ClearField("doc_string")
    return model


@torch.no_grad()
def _check(network: Network, input_shape: tuple[int, int, int], written: bytes) -> None:
    session = onnx_session(written)
    generator = torch.Generator().manual_seed(0)
    device = next(_tensors(network), torch.zeros(())).device
    for batch in (1, 5):
        images = torch.randn(batch, *input_shape, generator=generator)
        expected = network(images.to(device)).float().cpu()
        given = torch.from_numpy(session.run([OUTPUT], {INPUT: images.numpy()})[0])
        difference = float((given - expected).abs().max())
        if not difference <= TOLERANCE * max(1.0, float(expected.abs().max())):
            raise ExportError(
                f"model.onnx gives other outputs than the network, by {difference:.2g} on {batch} "
                f"random images; its weights may not be finite"
            )
