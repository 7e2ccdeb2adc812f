"""``archpress doctor`` and ``archpress data ls``: is everything in place?"""

import typer
from rich.console import Console
from rich.text import Text

BROKEN = 1
COLOURS = {"ok": "green", "absent": "yellow", "broken": "red"}
data_sets = typer.Typer(no_args_is_help=True, help="Data sets: which there are, and where.")
out = Console()


def doctor() -> None:
    """Check the installation; exit status 1 where something that is needed does not work."""
    from archpress.reporting.installation import examine

    found = examine()
    width = max(len(one.name) for one in found)
    for one in found:
        _line(f"{one.state:<8}", COLOURS[one.state], f"{one.name:<{width}}  {one.found}")
        if one.remedy:
            _line(f"{'':<8}", "", f"{'':<{width}}  {one.remedy}")
    if any(one.state == "broken" for one in found):
        raise typer.Exit(BROKEN)
    out.print("archpress can work; absent is only what could be added", highlight=False)


@data_sets.command("ls")
def list_data() -> None:
    """List the built-in data sets, and where the files of each were found."""
    from archpress.datasets.sources import CONTENTS, names, where_found
    from archpress.reporting.installation import data_remedy

    for name in names():
        folder = where_found(name)
        state, colour = ("found", "green") if folder else ("absent", "yellow")
        _line(f"{state:<8}", colour, f"{name:<14} {CONTENTS[name]}")
        _line(f"{'':<8}", "", f"{'':<14} {folder or data_remedy(name)}")
    out.print(
        "$ARCHPRESS_DATA/NAME comes first; a command with --data-folder looks there alone. Your "
        "own: --data takes the path of an .npz with x_train, y_train, x_test, y_test, or of a "
        "folder of images by class.",
        soft_wrap=True, highlight=False,
    )  # fmt: skip


def _line(state: str, colour: str, text: str) -> None:
    out.print(Text.assemble((state, colour), text), soft_wrap=True)
