"""``[constraints]``: bounds of what the result may cost and lose, as a user writes them."""

from typing import Literal

from pydantic import BaseModel, ConfigDict, Field

from archpress.architectures.architecture import Architecture
from archpress.compression.budget import LATENCY, METRICS, Latency, value_of
from archpress.errors import SettingsError
from archpress.training.latency import Conditions

Bound = int | float | str
"""A number, or a share of the input network's: ``"5%"``, or a number below 1 such as 0.05."""


class ConstraintSettings(BaseModel):
    """``[constraints]``: any mix of upper bounds; what is left out is not bounded.

    Attributes:
        parameters: Learned values. Where ``search.target_parameters`` is set too, the smaller of
            both counts.
        macs: Multiply-accumulates of one image.
        activation_bytes: Peak activation memory of one image, float32.
        file_bytes: Size of ``weights.safetensors``, float32.
        latency_ms: Milliseconds of a forward pass, measured as ``[latency]`` says. Below 1 it needs
            its unit, ``"0.4ms"``, for 0.4 is a share.
        max_accuracy_drop: The result is the smallest network found whose validation accuracy is at
            most so far below the input network's, both after the final training; in [0, 1).
    """

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)

    parameters: Bound | None = None
    macs: Bound | None = None
    activation_bytes: Bound | None = None
    file_bytes: Bound | None = None
    latency_ms: Bound | None = None
    max_accuracy_drop: float | None = Field(default=None, ge=0, lt=1)

    @property
    def given(self) -> dict[str, Bound]:
        """The bounds that there are, by metric, as they were written."""
        values = {metric: getattr(self, metric) for metric in METRICS}
        return {metric: value for metric, value in values.items() if value is not None}


class LatencySettings(BaseModel):
    """``[latency]``: how latency is measured, where it is bounded.

    Attributes:
        device: ``cpu`` or ``cuda``.
        batch_size: Images per forward pass.
        threads: Threads of the CPU; 0 for as many as PyTorch takes.
        networks: How many networks are measured to fit the predictor.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    device: Literal["cpu", "cuda"] = "cpu"
    batch_size: int = Field(default=1, ge=1)
    threads: int = Field(default=1, ge=0)
    networks: int = Field(default=40, ge=10)

    @property
    def conditions(self) -> Conditions:
        """The conditions of every measurement."""
        return Conditions(self.device, self.batch_size, self.threads)


def bounds_of(
    constraints: ConstraintSettings, network: Architecture, latency: Latency | None = None
) -> dict[str, float]:
    """Return the bounds as numbers, by metric; shares are of ``network``'s.

    Raises:
        SettingsError: An amount is neither a number nor a share.
    """
    return {
        metric: read_bound(written, value_of(network, metric, latency), metric)
        for metric, written in constraints.given.items()
    }


def read_bound(written: Bound, whole: float, metric: str) -> float:
    """Return an upper bound as a number: of whole units, but for milliseconds.

    Args:
        written: A number from 1; a share as ``"5%"`` or, between 0 and 1, as 0.05. Milliseconds
            below 1 are told from a share by their unit, ``"0.4ms"``.
        whole: The input network's.
        metric: One of `METRICS`.

    Raises:
        SettingsError: It is none of these.
    """
    text, timed = str(written).strip(), metric == LATENCY
    milliseconds = timed and text.endswith("ms")
    try:
        number = float(text.removesuffix("ms") if milliseconds else text.removesuffix("%"))
    except ValueError:
        number = -1.0
    is_share = text.endswith("%") or (number < 1 and not milliseconds)
    fits = is_share or timed or number.is_integer()
    if not (0 < number < float("inf") and fits):
        expected = "milliseconds such as 2.5" if timed else "a count such as 70000"
        raise SettingsError(
            f"constraints.{metric} is {written!r}, expected {expected} or a share as 5% or 0.05"
        )
    if is_share:
        number *= whole / 100 if text.endswith("%") else whole
    return number if timed else int(number)
