"""The command line: one command per stage, and ``compress``, which runs them all."""

import errno
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.console import Console
from rich.text import Text
from typer.core import TyperGroup

from archpress import __version__
from archpress.cli_archive import archives
from archpress.cli_evaluate import evaluate
from archpress.cli_options import (
    DataFolder,
    InputShape,
    Network,
    Seed,
    Workers,
    absolute,
    constraints_of,
    numbers,
    shape_of,
)
from archpress.cli_profile import profile
from archpress.cli_reproduce import reproduce
from archpress.errors import ArchpressError, SettingsError

INTERRUPTED = 130
REFUSED = 2
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


def _say(message: str) -> None:
    out.print(Text(message), soft_wrap=True)


app = typer.Typer(
    cls=Commands,
    no_args_is_help=True,
    add_completion=True,
    pretty_exceptions_enable=False,
    help="Architecture compression: a much smaller network that is as accurate.",
    epilog="Start here: archpress compress digits-cnn --data digits --profile demo",
)
app.add_typer(archives, name="archive")


def _version(wanted: bool) -> None:
    if wanted:
        out.print(f"archpress {__version__}", highlight=False)
        raise typer.Exit


@app.callback()
def _main(
    version: Annotated[
        bool, typer.Option("--version", callback=_version, is_eager=True, help="Print the version.")
    ] = False,
) -> None:
    """Hold options of the program itself."""


@app.command()
def compress(
    network: Network,
    data: Annotated[
        str | None,
        typer.Option(
            help="digits, fashion-mnist, cifar10, cifar100, svhn, or the path of an .npz or a "
            "folder; what the settings say if left out."
        ),
    ] = None,
    data_folder: DataFolder = None,
    weights: Annotated[
        Path | None,
        typer.Option(help="Trained weights of NETWORK (a state dict): it is not trained again."),
    ] = None,
    mean: Annotated[
        str | None, typer.Option(help="What those weights expect subtracted, per channel.")
    ] = None,
    deviation: Annotated[
        str | None, typer.Option(help="What they expect pixels in [0, 1] divided by then.")
    ] = None,
    profile: Annotated[
        str, typer.Option(help="Settings to start from: cpu, demo or paper.")
    ] = "cpu",
    settings: Annotated[
        Path | None, typer.Option(help="A TOML file with settings over the profile's.")
    ] = None,
    target_parameters: Annotated[
        str | None, typer.Option(help="Most parameters of the result: a count, or a share as 10%.")
    ] = None,
    constraint: Annotated[
        list[str] | None,
        typer.Option(
            metavar="METRIC=AMOUNT",
            help="A bound of the result, any number of times: parameters, macs, "
            "activation_bytes, file_bytes (a count, or a share as 5% or 0.05), latency_ms; "
            "max_accuracy_drop=0.005 asks for the smallest within half a point.",
        ),
    ] = None,
    seed: Annotated[int | None, typer.Option(min=0, help="Decides all randomness.")] = None,
    workers: Workers = None,
    out_folder: Annotated[
        Path | None, typer.Option("--out", help="Run folder; runs/NETWORK-DATA if left out.")
    ] = None,
    archive: Annotated[
        Path | None,
        typer.Option(help="An archive of an earlier run: what it knows is not trained again."),
    ] = None,
    resume: Annotated[
        bool, typer.Option("--resume", help="Continue a run that was stopped.")
    ] = False,
) -> None:
    """Compress NETWORK on a data set: label, learn, descend, decode, train."""
    from archpress.compression.runs import compress_in
    from archpress.compression.settings import load_settings
    from archpress.reporting.progress import ProgressDisplay

    if (mean is None) != (deviation is None):
        raise SettingsError("--mean and --deviation go together: give both or neither")
    flags = {
        "network": absolute(network),
        "trained.weights": str(weights.resolve()) if weights else None,
        "trained.mean": numbers(mean, "mean"),
        "trained.deviation": numbers(deviation, "deviation"),
        "data.name": data,
        "data.folder": str(data_folder.resolve()) if data_folder else None,
        "search.target_parameters": target_parameters,
        "constraints": constraints_of(constraint or []) or None,
        "seed": seed,
        "execution.workers": workers,
    }
    chosen = load_settings(profile, settings, flags)
    name = Path(network.rpartition(":")[0] or network).stem
    folder = out_folder or Path("runs") / f"{name}-{Path(chosen.data.name).stem}"
    with ProgressDisplay(out) as progress:
        compress_in(folder, chosen, resume, progress, known=archive)
    _print_report(folder)


@app.command()
def baseline(
    name: Annotated[
        str,
        typer.Argument(
            help="random_search, local_search, surrogate_local_search, evolution, "
            "surrogate_evolution, width_scaling, compound_scaling, pruning, magnitude_pruning, "
            "distillation, fitnets or reinforcement."
        ),
    ],
    run: Annotated[Path, typer.Argument(help="The folder of a finished run.")],
) -> None:
    """Solve a finished run's task otherwise: same budget, labels, recipe and seeds."""
    from archpress.baselines import find_baseline
    from archpress.compression.runs import rival_in
    from archpress.reporting.progress import ProgressDisplay

    method = find_baseline(name)
    with ProgressDisplay(out) as progress:
        rival_in(run, name, method, progress)
    _print_report(run)


@app.command()
def report(
    run: Annotated[Path, typer.Argument(help="A run folder.")],
    path: Annotated[
        bool, typer.Option("--path", help="Also the descent: predicted against measured.")
    ] = False,
) -> None:
    """Print the result of a run as tables and write report.html, also of an unfinished run."""
    from archpress.reporting.paths import path_table

    _print_report(run)
    if path:
        out.print(path_table(run))


def _print_report(folder: Path) -> None:
    from archpress.reporting.page import write_report
    from archpress.reporting.profiling import bounds_note
    from archpress.reporting.tables import (
        files_table,
        ledger_table,
        network_notes,
        read_result,
        result_table,
    )

    if (folder / "run.toml").exists() and not (folder / "result.json").exists():
        _say(f"the run in {folder} is not finished: continue it with --resume")
        _say(f"what it has come to is in {write_report(folder)}")
        return
    record = read_result(folder)
    write_report(folder)
    for table in (result_table(record), ledger_table(record), files_table(folder)):
        out.print(table)
    for note in filter(None, (*network_notes(folder), bounds_note(record))):
        _say(note)
    _say(f"the compressed network comes from: {record['compressed']['origin']}")


@app.command()
def inspect(
    network: Network,
    input_shape: InputShape = None,
    classes: Annotated[int, typer.Option(min=2, help="Outputs of a reference.")] = 10,
) -> None:
    """Print the layers of NETWORK with shapes and costs, and what of it can be searched."""
    from archpress.reporting.inspection import inspection

    for part in inspection(network, shape_of(input_shape) if input_shape else None, classes):
        out.print(part, soft_wrap=isinstance(part, Text))


@app.command()
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


app.command()(evaluate)
app.command()(profile)
app.command()(reproduce)


@app.command()
def fit(
    archive: Annotated[Path, typer.Argument(help="An archive of labels.")],
    out_folder: Annotated[Path, typer.Option("--out", help="Where the embedding goes.")],
    configuration: Annotated[str, typer.Option(help="default or paper.")] = "default",
    iterations: Annotated[int | None, typer.Option(min=1, help="Gradient steps.")] = None,
    seed: Seed = 0,
) -> None:
    """Learn an embedding of architectures from an archive; continues where it was stopped."""
    from archpress.embedding.archive_fit import fit_archive
    from archpress.reporting.progress import ProgressDisplay

    with ProgressDisplay(out) as progress:
        facts = fit_archive(
            archive, out_folder, configuration, iterations, seed,
            lambda done, total: progress("embedding", done, total),
        )  # fmt: skip
    out.print_json(data=facts)


def main() -> None:
    """Run the command line."""
    app(prog_name="archpress")


if __name__ == "__main__":
    main()
