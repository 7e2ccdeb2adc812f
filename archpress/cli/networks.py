"""``archpress inspect`` and ``sample``: look at a network, draw many."""

from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console
from rich.text import Text

from archpress.cli.options import InputShape, Network, Seed, shape_of
from archpress.errors import SettingsError

out = Console()


def inspect(
    network: Network,
    input_shape: InputShape = None,
    classes: Annotated[int, typer.Option(min=2, help="Outputs of a reference.")] = 10,
) -> None:
    """Print the layers of NETWORK with shapes and costs, and what of it can be searched."""
    from archpress.reporting.inspection import inspection

    for part in inspection(network, shape_of(input_shape) if input_shape else None, classes):
        out.print(part, soft_wrap=isinstance(part, Text))


def sample(
    count: Annotated[int, typer.Option(min=1, help="How many networks.")] = 100,
    space: Annotated[
        str, typer.Option(help="Search space: blocks, paper or neighbourhood.")
    ] = "blocks",
    network: Annotated[
        str | None, typer.Option(help="The network whose neighbourhood is drawn from.")
    ] = None,
    input_shape: InputShape = None,
    classes: Annotated[int, typer.Option(min=2, help="Outputs of the last layer.")] = 10,
    max_parameters: Annotated[int, typer.Option(min=1, help="Largest network.")] = 1_000_000,
    min_parameters: Annotated[int, typer.Option(min=1, help="Smallest network.")] = 1_000,
    max_macs: Annotated[int, typer.Option(min=1, help="Most MACs.")] = 100_000_000,
    max_activation_bytes: Annotated[
        int, typer.Option(min=1, help="Most memory of an image's activations, float32.")
    ] = 64_000_000,
    seed: Seed = 0,
    out_file: Annotated[Path, typer.Option("--out", help="JSON lines.")] = Path(
        "architectures.jsonl"
    ),
) -> None:
    """Draw networks from a search space into a JSON lines file."""
    import json

    import torch

    from archpress.architectures.spaces import SPACES, Limits, Space, neighbourhood
    from archpress.errors import nearest
    from archpress.files import write_text
    from archpress.importing.networks import read_network

    if space not in SPACES:
        raise SettingsError(f"unknown space {space!r}{nearest(space, SPACES)}")
    if (space == "neighbourhood") != (network is not None):
        raise SettingsError("--network and --space neighbourhood need each other")
    limits = Limits(min_parameters, max_parameters, max_macs, max_activation_bytes)
    generator = torch.Generator().manual_seed(seed)
    shape = shape_of(input_shape) if input_shape else None
    chosen: Space
    if network is not None:
        chosen = neighbourhood(read_network(network, shape, classes).architecture, limits)
    else:
        chosen = SPACES[space](shape or (1, 28, 28), classes, limits)
    drawn = chosen.sample(count, generator, distinct=True)
    write_text(out_file, "".join(json.dumps(a.to_json()) + "\n" for a in drawn.architectures))
    _say(f"{count} networks in {out_file}, {drawn.drawn} drawn")
    for reason, times in drawn.rejected.most_common():
        _say(f"  rejected {times}: {reason}")
    for rule, times in drawn.repaired.most_common():
        _say(f"  {times} times: {rule}")


def _say(message: str) -> None:
    out.print(Text(message), soft_wrap=True)
