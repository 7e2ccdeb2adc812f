"""Settings of the embedding and of its fit."""

from typing import Literal

from pydantic import BaseModel, ConfigDict, Field

MIN_LABELLED = 8
"""Labelled architectures that a fit needs to learn from."""


class EmbeddingSettings(BaseModel):
    """Settings of the embedding; the defaults are ours, the paper's are in `PAPER`.

    Attributes:
        codec: ``categorical`` (decision R3), ``scaled`` or ``raw`` (the paper's squared error).
        parameter_target: ``log10`` without ReLU, or ``scaled`` by sigma with ReLU (decision R2).
        size: D, entries of an embedding.
        channels: Channels of encoder and decoder.
        hidden: Width of the regressors.
        lambda_1: Weight of L_a.
        lambda_2: Weight of L_p.
        optimizer: ``sgd`` is Nesterov SGD.
        learning_rate: At the start.
        momentum: Of ``sgd``.
        decay_factor: The learning rate is multiplied by it...
        decay_period: ...every so many iterations.
        iterations: Gradient steps.
        batch_size: Architectures per step.
        unlabelled: Architectures of the same space that take part without an accuracy: they cost
            nothing, and decoder and parameter regressor learn from them.
        held_out: Share of the labelled architectures kept for the diagnostics.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    codec: Literal["categorical", "scaled", "raw"] = "categorical"
    parameter_target: Literal["log10", "scaled"] = "log10"
    size: int = Field(default=64, ge=1)
    channels: int = Field(default=64, ge=1)
    hidden: int = Field(default=128, ge=1)
    lambda_1: float = Field(default=10.0, ge=0)
    lambda_2: float = Field(default=1.0, ge=0)
    optimizer: Literal["sgd", "adam"] = "adam"
    learning_rate: float = Field(default=0.002, gt=0)
    momentum: float = Field(default=0.5, ge=0, lt=1)
    decay_factor: float = Field(default=0.2, gt=0, le=1)
    decay_period: int = Field(default=1500, ge=1)
    iterations: int = Field(default=4000, ge=1)
    batch_size: int = Field(default=64, ge=2)
    unlabelled: int = Field(default=4000, ge=0)
    held_out: float = Field(default=0.15, ge=0, lt=1)


PAPER = EmbeddingSettings(
    codec="scaled",
    parameter_target="scaled",
    lambda_1=1.0,
    lambda_2=1.0,
    optimizer="sgd",
    learning_rate=0.003,
    momentum=0.5,
    decay_factor=0.2,
    decay_period=30_000,
    iterations=80_000,
    unlabelled=0,
)
"""Section 5.2.2. The decay "with period 30" is read as 30 thousand iterations."""

CONFIGURATIONS = {"default": EmbeddingSettings(), "paper": PAPER}
