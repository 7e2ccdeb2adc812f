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
    network: str | Path | Architecture,
    data: str | Path | DataSet,
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
    given_network = network if isinstance(network, Architecture) else None
    given_data = data if isinstance(data, DataSet) else None
    flags["network"] = f"architecture {given_network.digest}" if given_network else str(network)
    flags["data.name"] = f"{given_data.name} {given_data.digest}" if given_data else str(data)
    settings = load_settings(profile, flags=flags)
    return compress_in(Path(out), settings, resume, progress, given_data, given_network)
