"""Options that several commands share, and how what is typed is read."""

import os
from collections.abc import Callable
from pathlib import Path
from typing import Annotated

import typer

from archpress.errors import SettingsError

REFERENCES = ("conv7", "conv10", "conv10-eighth", "digits-cnn")
DATA_SETS = ("digits", "fashion-mnist", "cifar10", "cifar100", "svhn")
PROFILES = ("cpu", "demo", "paper")
FILES = (".py", ".json", ".onnx")


def offered(*names: str) -> Callable[[str], list[str]]:
    """Return what a shell offers for an argument that begins so: names, else files."""

    def offer(incomplete: str) -> list[str]:
        return [name for name in names if name.startswith(incomplete)] or _paths(incomplete)

    return offer


def _paths(begun: str) -> list[str]:
    folder, name = os.path.split(begun)
    try:
        found = sorted(os.listdir(folder or "."))
    except OSError:
        return []
    whole = [os.path.join(folder, each) for each in found if each.startswith(name)]
    return [f"{path}/" if os.path.isdir(path) else path for path in whole]


Network = Annotated[
    str,
    typer.Argument(
        autocompletion=offered(*REFERENCES),
        help="A reference (conv7, conv10, conv10-eighth, digits-cnn), FILE.py:FACTORY, "
        "PACKAGE.MODULE:FACTORY, an architecture.json or a FILE.onnx.",
    ),
]
Data = Annotated[
    str,
    typer.Option(
        autocompletion=offered(*DATA_SETS),
        help="digits, fashion-mnist, cifar10, cifar100, svhn, or the path of an .npz or a folder.",
    ),
]
DataFolder = Annotated[
    Path | None, typer.Option(help="Where the files of a built-in data set lie.")
]
Workers = Annotated[
    int | None, typer.Option(min=1, help="Worker processes; one per core if left out.")
]
SEED = typer.Option(min=0, max=2**32 - 1, help="Decides all randomness.")
Seed = Annotated[int, SEED]
InputShape = Annotated[
    str | None,
    typer.Option(help="Channels, height and width: C,H,W; a usual one if left out."),
]


def absolute(network: str) -> str:
    """Return the name with the path of a file made absolute, so that a run can be resumed."""
    path, colon, factory = network.rpartition(":")
    file = Path(path if colon else network)
    return f"{file.resolve()}{colon}{factory if colon else ''}" if file.is_file() else network


def name_of(network: str) -> str:
    """Return what to call a network: a file's name without its ending, or a module's."""
    place = Path(network.rpartition(":")[0] or network)
    return place.stem if place.suffix in FILES else place.name


def numbers(text: str | None, name: str) -> list[float] | None:
    """Return numbers written with commas between them.

    Raises:
        SettingsError: They are none.
    """
    try:
        return [float(number) for number in text.split(",")] if text else None
    except ValueError:
        raise SettingsError(f"{name} {text!r} is not numbers such as 0.5,0.5,0.5") from None


def shape_of(text: str) -> tuple[int, int, int]:
    """Return channels, height and width written with commas between them.

    Raises:
        SettingsError: They are not three numbers of at least 1.
    """
    try:
        channels, height, width = (int(side) for side in text.split(","))
    except ValueError:
        raise SettingsError(f"input shape {text!r} is not three numbers such as 1,28,28") from None
    if min(channels, height, width) < 1:
        raise SettingsError(f"input shape {text!r} has a side below 1")
    return channels, height, width


def constraints_of(texts: list[str]) -> dict[str, str]:
    """Return amounts by metric of texts such as ``macs=5%``.

    Raises:
        SettingsError: One is not of that form, or a metric is bounded twice.
    """
    found: dict[str, str] = {}
    for text in texts:
        name, equals, amount = (part.strip() for part in text.partition("="))
        if not (name and equals and amount):
            raise SettingsError(f"constraint {text!r} is not METRIC=AMOUNT such as macs=5%")
        if name in found:
            raise SettingsError(f"constraint {name!r} is given twice: leave one of them out")
        found[name] = amount
    return found
