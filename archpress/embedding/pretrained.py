"""The encoder and decoder that come with the package, and their file."""

import json
from functools import cache
from importlib.resources import files
from pathlib import Path
from typing import Any

import torch

from archpress.embedding.autoencoder import Autoencoder
from archpress.errors import EmbeddingError
from archpress.files import write_json, write_tensors

FORMAT = "archpress.autoencoder"
FORMAT_VERSION = 1
SHIPPED = "embedding"


def save(model: Autoencoder, path: Path, facts: dict[str, Any]) -> None:
    """Write ``path.safetensors``, in half precision, and ``path.json`` with sizes and facts."""
    weights = {name: value.half() for name, value in model.state_dict().items()}
    write_tensors(path.with_suffix(".safetensors"), weights)
    record = {"format": FORMAT, "version": FORMAT_VERSION, "sizes": model.sizes, **facts}
    write_json(path.with_suffix(".json"), record)


def load(path: Path) -> tuple[Autoencoder, dict[str, Any]]:
    """Return the autoencoder of :func:`save`, in evaluation mode, and its record.

    Raises:
        EmbeddingError: A file is missing, damaged or of another format version.
    """
    from safetensors import SafetensorError
    from safetensors.torch import load_file

    try:
        record = json.loads(path.with_suffix(".json").read_text())
        if (record["format"], record["version"]) != (FORMAT, FORMAT_VERSION):
            raise EmbeddingError(f"{path}.json is of another format or version")
        with torch.random.fork_rng(devices=[]):
            model = Autoencoder(**record["sizes"])
        weights = load_file(path.with_suffix(".safetensors"))
        model.load_state_dict({name: value.float() for name, value in weights.items()})
    except (OSError, KeyError, TypeError, ValueError, RuntimeError, SafetensorError) as error:
        raise EmbeddingError(
            f"the autoencoder {path} is damaged or incomplete, or knows other layer kinds "
            f"({type(error).__name__}: {str(error).splitlines()[0]})"
        ) from error
    return model.eval(), record


@cache
def shipped() -> Autoencoder:
    """Return the autoencoder in the package; it is shared and must not be changed.

    Raises:
        EmbeddingError: It is missing or damaged.
    """
    return load(Path(str(files("archpress") / "pretrained" / SHIPPED)))[0].requires_grad_(False)
