"""Embedding: encoder, decoder and regressors as one module, with its files."""

import json
from pathlib import Path
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn

from archpress.architectures.architecture import Architecture
from archpress.embedding.codecs import make_codec
from archpress.embedding.decoder import Decoder
from archpress.embedding.encoder import Encoder
from archpress.embedding.regressors import ParameterTarget, Regressor
from archpress.embedding.settings import EmbeddingSettings
from archpress.embedding.tokens import to_tokens
from archpress.errors import EmbeddingError
from archpress.files import write_json, write_tensors

FORMAT = "archpress.embedding"
FORMAT_VERSION = 2


class Prediction(NamedTuple):
    """What the embedding says of ``B`` architectures.

    Attributes:
        embedding: y, ``[B, D]``.
        output: Decoder output, ``[B, outputs, T]``.
        accuracy: a_hat in [0, 1], ``[B]``.
        parameters: p_hat on the scale of the parameter target, ``[B]``.
    """

    embedding: Tensor
    output: Tensor
    accuracy: Tensor
    parameters: Tensor


class Embedding(nn.Module):
    """The continuous space of architectures of one task (section 4).

    Args:
        settings: Sizes and configuration.
        parameter_target: Scale of the parameter regressor.
    """

    def __init__(self, settings: EmbeddingSettings, parameter_target: ParameterTarget) -> None:
        super().__init__()
        self.settings = settings
        self.parameter_target = parameter_target
        self.codec = make_codec(settings.codec)
        self.encoder = Encoder(self.codec.inputs, settings.channels, settings.size)
        self.decoder = Decoder(self.codec.outputs, settings.channels, settings.size)
        self.accuracy_regressor = Regressor(settings.size, settings.hidden, nn.Sigmoid())
        output = nn.Identity() if parameter_target.logarithmic else nn.ReLU()
        self.parameter_regressor = Regressor(settings.size, settings.hidden, output)

    def forward(self, tokens: Tensor) -> Prediction:
        """Return embedding, decoder output and predictions of int64 tokens ``[B, T, F]``."""
        y = self.encoder(self.codec.encode(tokens))
        return Prediction(
            y, self.decoder(y), self.accuracy_regressor(y), self.parameter_regressor(y)
        )

    @torch.no_grad()
    def encode(self, architectures: list[Architecture]) -> Tensor:
        """Return the embeddings ``[B, D]`` of architectures."""
        y: Tensor = self.encoder(self.codec.encode(to_tokens(architectures)))
        return y

    @torch.no_grad()
    def decode(self, y: Tensor) -> Tensor:
        """Return the rounded tokens int64 ``[B, T, F]`` of embeddings ``y`` ``[B, D]``."""
        return self.codec.decode(self.decoder(y))

    def save(self, folder: Path, facts: dict[str, Any]) -> None:
        """Write ``embedding.safetensors`` and, last, ``embedding.json`` into ``folder``.

        Its record has the settings, and ``facts`` beside them.
        """
        write_tensors(folder / "embedding.safetensors", self.state_dict())
        record = {
            "format": FORMAT,
            "version": FORMAT_VERSION,
            "settings": self.settings.model_dump(mode="json"),
            "sigma": self.parameter_target.sigma,
            **facts,
        }
        write_json(folder / "embedding.json", record)

    @classmethod
    def load(cls, folder: Path) -> tuple["Embedding", dict[str, Any]]:
        """Return the embedding of a folder, in evaluation mode, and its JSON record.

        Raises:
            EmbeddingError: A file is missing, damaged or of another format version.
        """
        from safetensors import SafetensorError
        from safetensors.torch import load_file

        try:
            record = json.loads((folder / "embedding.json").read_text())
            if (record["format"], record["version"]) != (FORMAT, FORMAT_VERSION):
                raise EmbeddingError(f"{folder}/embedding.json is of another format or version")
            settings = EmbeddingSettings.model_validate(record["settings"])
            target = ParameterTarget(settings.parameter_target == "log10", float(record["sigma"]))
            embedding = cls(settings, target)
            embedding.load_state_dict(load_file(folder / "embedding.safetensors"))
        except (OSError, KeyError, TypeError, ValueError, RuntimeError, SafetensorError) as error:
            raise EmbeddingError(
                f"the embedding in {folder} is damaged or incomplete "
                f"({type(error).__name__}: {str(error).splitlines()[0]}); delete its two files "
                f"to fit it again"
            ) from error
        return embedding.eval(), record
