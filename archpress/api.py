"""The Python interface: what the command line does, as functions."""

from pathlib import Path
from typing import Any

from archpress.architectures.architecture import Architecture
from archpress.compression.result import CompressionResult
from archpress.compression.runs import compress_in
from archpress.compression.settings import load_settings
from archpress.compression.task import Progress, silent
from archpress.evaluation.datasets import DataSet, load

load_data = load


def compress(
    network: str | Architecture,
    data: str | DataSet,
    *,
    out: str | Path,
    profile: str = "cpu",
    resume: bool = False,
    progress: Progress = silent,
    **changes: Any,
) -> CompressionResult:
    """Return a much smaller network that is as accurate, trained.

    Args:
        network: A reference name, the path of an ``architecture.json``, or an `Architecture`.
        data: A built-in name, a path, or a `DataSet`.
        out: The run folder.
        profile: Settings to start from: ``cpu``, ``demo`` or ``paper``.
        resume: Continue a run of the same settings in ``out``.
        progress: Called with (stage, units done, units in all).
        **changes: Settings by name with two underscores for the dot of the settings file, such as
            ``search__target_parameters="10%"`` or ``space__networks=100``.

    Raises:
        ArchpressError: One sentence about what to mend.

    Example:
        >>> result = compress("digits-cnn", "digits", out="runs/digits", profile="demo")
        >>> result.compression, result.model  # doctest: +SKIP
    """
    flags = {name.replace("__", "."): value for name, value in changes.items()}
    flags["network"] = network if isinstance(network, str) else f"architecture {network.digest}"
    flags["data.name"] = data if isinstance(data, str) else f"{data.name} {data.digest}"
    settings = load_settings(profile, flags=flags)
    return compress_in(
        Path(out), settings, resume, progress,
        None if isinstance(data, str) else data,
        None if isinstance(network, str) else network,
    )  # fmt: skip
