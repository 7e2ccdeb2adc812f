"""A finished network as a folder: architecture, source, weights, ONNX, and how to load them."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from torch import Tensor, nn

from archpress.architectures.architecture import Architecture
from archpress.architectures.building import Network, build
from archpress.architectures.source_code import source_code
from archpress.errors import ExportError
from archpress.exporting.onnx_files import onnx_bytes
from archpress.files import write_bytes, write_json, write_tensors, write_text
from archpress.optional import installed


def export(
    architecture: Architecture,
    weights: Mapping[str, Tensor] | nn.Module,
    folder: Path | str,
    mean: Sequence[float] | None = None,
    deviation: Sequence[float] | None = None,
    onnx: bool | None = None,
) -> list[Path]:
    """Write a network's files into a folder and return their paths; nothing is pickled.

    Each file is written whole or not at all, and none before all that can be checked is.

    Args:
        architecture: The network.
        weights: A state dict of ``build(architecture)``, or such a module.
        folder: Where to write; made if it is not there. Files of these names are replaced, and a
            ``model.onnx`` that is not written anew is removed, for it is of another network.
        mean: Per channel, what was subtracted from pixels in [0, 1] in training; for the reader.
        deviation: Per channel, what they were then divided by.
        onnx: Whether to write ``model.onnx``; None writes it where the extra ``onnx`` is installed.

    Raises:
        ExportError: The weights do not fit, or the folder cannot be written.
        MissingExtraError: ``onnx`` is True and the extra is not installed.
    """
    _check_scaling(architecture, mean, deviation)
    network = _with_weights(architecture, weights)
    wanted = installed("onnx") if onnx is None else onnx
    model = onnx_bytes(network, architecture.input_shape) if wanted else None
    folder = Path(folder)
    try:
        paths = [
            write_json(folder / "architecture.json", architecture.to_json()),
            write_text(folder / "model.py", source_code(architecture, mean, deviation)),
            write_tensors(folder / "weights.safetensors", network.state_dict()),
        ]
        if model is None:
            (folder / "model.onnx").unlink(missing_ok=True)
        else:
            paths.append(write_bytes(folder / "model.onnx", model))
        text = _readme(architecture, mean, deviation, model is not None)
        return [*paths, write_text(folder / "README.md", text)]
    except OSError as error:
        raise ExportError(
            f"cannot export to {folder}: {error.strerror or error} ({error.filename or folder})"
        ) from error


def _check_scaling(
    architecture: Architecture, mean: Sequence[float] | None, deviation: Sequence[float] | None
) -> None:
    channels = architecture.input_shape[0]
    if (mean is None) != (deviation is None):
        raise ExportError("mean and deviation go together: give both or neither")
    for name, values in (("mean", mean), ("deviation", deviation)):
        if values is not None and len(values) != channels:
            raise ExportError(
                f"{name} has {len(values)} values, expected one per channel, {channels}"
            )


def _with_weights(architecture: Architecture, weights: Mapping[str, Tensor] | nn.Module) -> Network:
    """Return the network of the architecture, in evaluation, with these weights."""
    given = weights.state_dict() if isinstance(weights, nn.Module) else dict(weights)
    network = build(architecture)
    expected = network.state_dict()
    wrong = [
        f"{name} is {_described(given[name])}, expected {_described(tensor)}"
        for name, tensor in expected.items()
        if name in given and _described(given[name]) != _described(tensor)
    ]
    for problem, names in (
        ("missing", [name for name in expected if name not in given]),
        ("unexpected", [name for name in given if name not in expected]),
    ):
        if names:
            wrong.append(f"{problem}: {', '.join(names[:5])}{' ...' if len(names) > 5 else ''}")
    if wrong:
        more = f"; and {len(wrong) - 5} more" if len(wrong) > 5 else ""
        raise ExportError(f"the weights do not fit the architecture: {'; '.join(wrong[:5])}{more}")
    network.load_state_dict(given)
    return network.eval()


def _described(value: Any) -> str:
    if isinstance(value, Tensor):
        return f"a tensor of shape {tuple(value.shape)}"
    return f"of type {type(value).__name__}"


def _readme(
    architecture: Architecture,
    mean: Sequence[float] | None,
    deviation: Sequence[float] | None,
    onnx: bool,
) -> str:
    c, h, w = architecture.input_shape
    cost = architecture.cost
    scaled = "normalised as in training"
    if mean is not None and deviation is not None:
        scaled = f"pixels in [0, 1] less {_numbers(mean)}, divided by {_numbers(deviation)}"
    session = 'onnxruntime.InferenceSession("model.onnx").run(["logits"], {"images": images})[0]'
    without = '- model.onnx is not here: it needs `pip install "archpress[onnx]"`.'
    lines = (
        f"Network of {cost.parameters:,} parameters and {cost.macs:,} MACs: `[N, {c}, {h}, {w}]` "
        f"float32 images ({scaled}) to `[N, {architecture.classes}]` logits.\n",
        "- `model.py`: the network in PyTorch; `from model import Network; net = Network().eval()`",
        "- `weights.safetensors`: its weights; `net.load_state_dict(safetensors.torch.load_file("
        '"weights.safetensors"))`',
        f"- `model.onnx`: both in one file; `{session}`" if onnx else without,
        "- `architecture.json`: its layers; `archpress.architectures.architecture.Architecture"
        '.load("architecture.json")`',
    )
    return "\n".join(lines) + "\n"


def _numbers(values: Sequence[float]) -> str:
    return "(" + ", ".join(f"{value:.6g}" for value in values) + ")"
