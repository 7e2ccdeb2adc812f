"""All commands together, where to start, and what is said of errors."""

import errno
from typing import Annotated, Any

import typer
from rich.console import Console
from rich.text import Text
from typer.core import TyperGroup

from archpress import __version__
from archpress.cli.archives import archives
from archpress.cli.bounds import profile
from archpress.cli.embeddings import fit
from archpress.cli.experiments import reproduce
from archpress.cli.installation import data_sets, doctor
from archpress.cli.labels import evaluate
from archpress.cli.networks import inspect, sample
from archpress.cli.runs import baseline, compress, report
from archpress.cli.watching import watch
from archpress.errors import ArchpressError

INTERRUPTED = 130
REFUSED = 2
START = """\
archpress {version}: a much smaller network that is as accurate.

Start here:
  archpress doctor                                             # is everything in place?
  archpress compress digits-cnn --data digits --profile demo   # about two minutes on two cores
  archpress report runs/digits-cnn-digits                      # what came out, as tables and a page

Then with your own:
  archpress data ls                                            # data sets, and where they lie
  archpress inspect FILE.py:FACTORY --input-shape 3,32,32      # what a network costs
  archpress profile FILE.py:FACTORY --data DATA                # how small it can get
  archpress compress FILE.py:FACTORY --data DATA --target-parameters 10%

All commands: archpress --help; one of them: archpress COMMAND --help
"""
out = Console()
err = Console(stderr=True)


class Commands(TyperGroup):
    """Turns errors that a user can mend into one sentence and exit status 2."""

    def invoke(self, ctx: Any) -> Any:
        """Run the command."""
        try:
            return super().invoke(ctx)
        except ArchpressError as error:
            _refuse(str(error))
        except KeyboardInterrupt:
            err.print(
                "interrupted; what was finished is saved: compress continues it with --resume, "
                "evaluate and fit when called again",
                soft_wrap=True,
            )
            raise typer.Exit(INTERRUPTED) from None
        except OSError as error:
            if error.errno in (None, errno.EPIPE):
                raise
            _refuse(_what_failed(error))


def _refuse(message: str) -> None:
    # Text, since a path may hold what looks like markup.
    err.print(Text.assemble(("error:", "red"), f" {' '.join(message.split())}"), soft_wrap=True)
    raise typer.Exit(REFUSED)


def _what_failed(error: OSError) -> str:
    message = f"{error.strerror}: {error.filename2 or error.filename or 'while writing'}"
    if error.errno in (errno.ENOSPC, errno.EDQUOT):
        message += "; make room and call again (compress: with --resume)"
    return message


app = typer.Typer(
    cls=Commands,
    add_completion=True,
    pretty_exceptions_enable=False,
    help="Architecture compression: a much smaller network that is as accurate.",
    epilog="Start here: archpress compress digits-cnn --data digits --profile demo",
)


def _version(wanted: bool) -> None:
    if wanted:
        out.print(f"archpress {__version__}", highlight=False)
        raise typer.Exit


@app.callback(invoke_without_command=True)
def _main(
    context: typer.Context,
    version: Annotated[
        bool, typer.Option("--version", callback=_version, is_eager=True, help="Print the version.")
    ] = False,
) -> None:
    """Hold options of the program itself."""
    if context.invoked_subcommand is None:
        out.print(Text(START.format(version=__version__)), soft_wrap=True, end="")


for command in (
    compress, baseline, report, watch, inspect, profile, sample, evaluate, fit, reproduce, doctor,
):  # fmt: skip
    app.command()(command)
app.add_typer(archives, name="archive")
app.add_typer(data_sets, name="data")


def main() -> None:
    """Run the command line."""
    app(prog_name="archpress")
