"""Packages that an extra installs: imported by who needs them, else named with what to do."""

import importlib
from importlib.util import find_spec
from typing import Any

from archpress.errors import MissingExtraError

EXTRAS = {
    "onnx": ("onnx", "onnxscript", "onnxruntime"), "ray": ("ray",), "bench": ("torch_pruning",),
    "figures": ("matplotlib",), "tensorboard": ("tensorboard",), "vision": ("PIL",),
    "docs": ("mkdocs", "material", "mkdocstrings"),
}  # fmt: skip
"""The modules of each extra."""


def installed(extra: str) -> bool:
    """Return whether every module of an extra is there."""
    return all(find_spec(module) is not None for module in EXTRAS[extra])


def require(module: str, extra: str) -> Any:
    """Return an imported module.

    Raises:
        MissingExtraError: It cannot be imported; says how to install the extra.
    """
    try:
        return importlib.import_module(module)
    except ImportError as error:
        raise MissingExtraError(
            f'this needs {module}, which cannot be imported ({error}): pip install "archpress'
            f'[{extra}]"'
        ) from error


def onnx_session(model: bytes) -> Any:
    """Return an ``onnxruntime.InferenceSession`` on the CPU that writes nothing to the terminal.

    Raises:
        MissingExtraError: onnxruntime is not there.
    """
    import torch

    runtime = require("onnxruntime", "onnx")
    options = runtime.SessionOptions()
    options.log_severity_level = 4
    options.intra_op_num_threads = torch.get_num_threads()  # it does not heed OMP_NUM_THREADS
    return runtime.InferenceSession(model, options, providers=["CPUExecutionProvider"])
