"""The Python interface: what the command line does, as functions."""

import warnings
from pathlib import Path
from typing import Any

from torch import nn

from archpress.architectures.architecture import Architecture
from archpress.compression.preparation import load_data as load_data_of
from archpress.compression.result import CompressionResult
from archpress.compression.runs import compress_in
from archpress.compression.settings import load_settings
from archpress.compression.task import Progress, silent
from archpress.datasets.dataset import DataSet, load
from archpress.datasets.sources import absolute, no_source
from archpress.errors import SettingsError, UnknownNetworkError
from archpress.importing.networks import FoundNetwork, of_module
from archpress.reporting.page import write_report

load_data = load

ALIASES = {
    "max_accuracy_drop": "constraints.max_accuracy_drop",
    "target_parameters": "search.target_parameters",
}


def compress(
    network: str | Path | Architecture | nn.Module,
    data: str | Path | DataSet,
    *,
    out: str | Path,
    profile: str = "cpu",
    archive: str | Path | None = None,
    resume: bool = False,
    progress: Progress = silent,
    **changes: Any,
) -> CompressionResult:
    """Return a much smaller network that is as accurate, trained; ``report.html`` tells of it.

    Args:
        network: A reference name, ``file.py:factory``, ``package.module:factory``, the path of an
            ``architecture.json`` or ONNX file, an `Architecture`, or a module (not changed). One
            whose weights are better than chance on the validation part is not trained again.
        data: A built-in name, a path, or a `DataSet`.
        out: The run folder.
        profile: Settings to start from: ``cpu``, ``demo`` or ``paper``.
        archive: An archive of an earlier run or of :func:`evaluate`, or ``fashion-mnist-blocks``,
            which comes with the package: what it knows is not trained again.
        resume: Continue a run of the same settings in ``out``.
        progress: Called with (stage, units done, units in all).
        **changes: Settings by name with two underscores for the dot of the settings file, such as
            ``search__target_parameters="10%"`` or ``guided__rounds=2``, and whole tables, such
            as ``constraints={"macs": 0.05, "file_bytes": 100_000}``. ``target_parameters="10%"``
            and ``max_accuracy_drop=0.005``, the smallest network within half a point of the input
            network, need no table's name.

    Raises:
        ArchpressError: One sentence about what to mend.

    Example:
        >>> result = compress("digits-cnn", "digits", out="runs/digits", profile="demo")
        >>> result.compression, result.model  # doctest: +SKIP
    """
    flags = {ALIASES.get(name, name.replace("__", ".")): value for name, value in changes.items()}
    _check_kinds(network, data)
    given = data if isinstance(data, DataSet) else None
    known = None if archive is None else Path(archive)
    flags["data.name"] = (
        f"{data.name} {data.digest}" if isinstance(data, DataSet) else absolute(data)
    )
    if not isinstance(network, Architecture | nn.Module):
        settings = load_settings(profile, flags={**flags, "network": str(network)})
        return _reported(compress_in(Path(out), settings, resume, progress, given, None, known))
    settings = load_settings(profile, flags={**flags, "network": "object"})
    if settings.trained.weights:
        raise SettingsError(
            "trained.weights goes with a network that is named; load the weights into the module"
        )
    if isinstance(network, Architecture):
        found = FoundNetwork(network)
    else:
        given = given or load_data_of(settings)
        found = of_module(network, given.input_shape)
    named = settings.model_copy(update={"network": f"object {found.architecture.digest}"})
    return _reported(compress_in(Path(out), named, resume, progress, given, found, known))


def _check_kinds(network: object, data: object) -> None:
    known = "a network is a name, a path, an Architecture or a module, received"
    if isinstance(network, type):
        raise UnknownNetworkError(f"{known} the class {network.__name__}: give an object of it")
    if not isinstance(network, str | Path | Architecture | nn.Module):
        raise UnknownNetworkError(f"{known} {type(network).__name__}")
    if not isinstance(data, str | Path | DataSet):
        raise no_source(data)


def _reported(result: CompressionResult) -> CompressionResult:
    try:
        write_report(result.folder)
    except OSError as error:  # the result is worth more than its report
        warnings.warn(f"report.html was not written: {error}", stacklevel=3)
    return result
