"""``archpress profile``: what is reachable, before compute is spent."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from rich.console import Console

from archpress.cli.options import (
    DATA_SETS,
    PROFILES,
    DataFolder,
    InputShape,
    Network,
    absolute,
    offered,
    shape_of,
)
from archpress.errors import SettingsError

if TYPE_CHECKING:
    from archpress.architectures.architecture import Architecture
    from archpress.compression.settings import RunSettings

out = Console()


def profile(
    network: Network,
    data: Annotated[
        str | None,
        typer.Option(
            autocompletion=offered(*DATA_SETS),
            help="The data set that says shape and classes, or the path of one; what the settings "
            "say if left out.",
        ),
    ] = None,
    data_folder: DataFolder = None,
    input_shape: InputShape = None,
    classes: Annotated[int, typer.Option(min=2, help="Outputs of a reference.")] = 10,
    profile: Annotated[
        str,
        typer.Option(
            autocompletion=offered(*PROFILES),
            help="Settings whose search space is looked at: cpu, demo or paper.",
        ),
    ] = "cpu",
    settings: Annotated[
        Path | None, typer.Option(help="A TOML file with settings over the profile's.")
    ] = None,
    latency: Annotated[
        bool, typer.Option("--latency", help="Also measure on this device, for some seconds.")
    ] = False,
) -> None:
    """Print what NETWORK costs by each metric that can be bounded, and what is reachable."""
    from archpress.compression.preparation import make_latency, make_space
    from archpress.compression.reachable import reach
    from archpress.compression.settings import load_settings
    from archpress.datasets import sources
    from archpress.importing.networks import assumes_shape
    from archpress.reporting.profiling import profile_table

    flags = {
        "network": absolute(network),
        "data.name": None if data is None else sources.absolute(data),
        "data.folder": str(data_folder.resolve()) if data_folder else None,
    }
    chosen = load_settings(profile, settings, flags)
    if data is not None and input_shape is not None:
        raise SettingsError("--data says the input shape: leave out --input-shape, or --data")
    shape = shape_of(input_shape) if input_shape else None
    of_data = shape is None and "name" in chosen.data.model_fields_set
    found = _found(chosen, shape, classes, of_data)
    if not (of_data or shape) and assumes_shape(network):
        said = ",".join(map(str, found.input_shape))
        out.print(f"for images of {said}: --data or --input-shape says others", highlight=False)
    space = make_space(chosen, found)
    told = make_latency(chosen, found, space) if latency else None
    out.print(profile_table(network, reach(found, space, told)))
    if told:
        out.print(f"latency: {told.described(found)}", highlight=False, soft_wrap=True)
    out.print(
        "smallest: the least that was found in the search space; no: less than that.\n"
        "Ask for it by, say, archpress compress NETWORK --constraint macs=10%.",
        highlight=False,
        soft_wrap=True,
    )


def _found(
    settings: "RunSettings", shape: tuple[int, int, int] | None, classes: int, of_data: bool
) -> "Architecture":
    from archpress.compression.preparation import find_input_network, load_data
    from archpress.importing.networks import read_network

    if of_data:
        return find_input_network(settings, load_data(settings)).architecture
    return read_network(settings.network, shape, classes).architecture
