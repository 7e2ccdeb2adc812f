"""What others build on does not change unnoticed: the Python interface and the command line.

Where a change is meant, run this file with ``ARCHPRESS_OVERWRITE=1``: it writes the records anew.
"""

import inspect
import os
import re
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import typer

import archpress
from archpress import baselines, reproduction
from archpress.architectures.references import REFERENCES
from archpress.cli import app
from archpress.cli.experiments import EXPERIMENTS
from archpress.cli.options import DATA_SETS, PROFILES
from archpress.cli.options import REFERENCES as OFFERED_REFERENCES
from archpress.cli.runs import BASELINES
from archpress.datasets import sources

GOLDEN = Path(__file__).parent / "golden"


def functions_of(name: str, found: Any) -> Iterator[tuple[str, Callable[..., Any]]]:
    """A function, or a class with its public methods, by dotted name."""
    yield name, found
    if not inspect.isclass(found):
        return
    for own, member in vars(found).items():
        inner = member.fget if isinstance(member, property) else member
        inner = getattr(inner, "__func__", inner)
        if not own.startswith("_") and inspect.isfunction(inner):
            yield f"{name}.{own}", inner


PUBLIC = {
    name: function
    for each in archpress.__all__
    for name, function in functions_of(each, getattr(archpress, each))
}


def require_same(file: Path, lines: list[str]) -> None:
    """Compare with what is kept; the difference is what pytest shows."""
    if os.environ.get("ARCHPRESS_OVERWRITE"):
        file.write_text("".join(f"{line}\n" for line in lines))
    assert lines == file.read_text().splitlines()


def signature_of(name: str) -> inspect.Signature:
    """The signature; without parameters for an exception, which takes whatever it is given."""
    function = PUBLIC[name]
    plain = inspect.isclass(function) and issubclass(function, Exception)
    return inspect.Signature() if plain else inspect.signature(function)


def test_the_python_interface_is_the_one_on_record() -> None:
    lines = [f"archpress.{name}{signature_of(name)}" for name in sorted(PUBLIC)]
    plain = [re.sub(r"<function (\S+) at 0x\w+>", r"\1", line) for line in lines]
    # As Python 3.11 and 3.12 call it, and 3.13 does not.
    plain = [line.replace("pathlib._local.", "pathlib.") for line in plain]
    require_same(GOLDEN / "python.txt", plain)


def test_the_command_line_is_the_one_on_record() -> None:
    require_same(GOLDEN / "commands.txt", sorted(command_lines()))


def command_lines() -> Iterator[str]:
    """A line for each command, and one for each of its arguments and options, with its default."""
    group: Any = typer.main.get_command(app)
    for name, command in group.commands.items():
        inner = getattr(command, "commands", None)
        for below, each in inner.items() if inner else [("", command)]:
            words = f"archpress {name} {below}".rstrip()
            yield words
            for parameter in each.params:
                shown = "/".join(parameter.opts) if parameter.opts[0][0] == "-" else parameter.name
                rest = "required" if parameter.required else repr(parameter.default)
                yield f"{words} {shown} {rest}"


@pytest.mark.parametrize("name", PUBLIC)
def test_public_docstrings_name_every_parameter_and_what_is_returned(name: str) -> None:
    said = inspect.getdoc(PUBLIC[name]) or ""
    assert said.split("\n\n")[0].rstrip().endswith((".", ":"))
    parameters = {*signature_of(name).parameters} - {"self", "cls"}
    assert {p for p in parameters if not re.search(rf"\b{p}\b", said)} == set()
    if is_called_for_a_value(name):
        assert "eturn" in said


def is_called_for_a_value(name: str) -> bool:
    """Whether it is a function or method, no property or block, that returns something."""
    owner, _, own = name.partition(".")
    member = inspect.getattr_static(getattr(archpress, owner), own) if own else PUBLIC[name]
    returned = getattr(PUBLIC[name], "__annotations__", {}).get("return")
    nothing = returned is None or "Iterator[None]" in str(returned)
    return not (nothing or isinstance(member, property) or inspect.isclass(member))


def test_shells_are_offered_the_names_that_there_are() -> None:
    assert baselines.NAMES == BASELINES
    assert reproduction.NAMES == EXPERIMENTS
    assert sources.names() == DATA_SETS
    assert tuple(REFERENCES) == OFFERED_REFERENCES
    profiles = Path(archpress.__file__).parent / "compression" / "profiles"
    assert {path.stem for path in profiles.glob("*.toml")} == set(PROFILES)
