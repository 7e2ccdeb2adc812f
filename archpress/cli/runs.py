"""``archpress compress``, ``baseline`` and ``report``: what works on a run folder."""

from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console
from rich.text import Text

from archpress.cli.options import (
    DATA_SETS,
    PROFILES,
    SEED,
    DataFolder,
    Network,
    Workers,
    absolute,
    constraints_of,
    name_of,
    numbers,
    offered,
)
from archpress.errors import SettingsError

BASELINES = (
    "random_search", "whole_space_random_search", "local_search", "surrogate_local_search",
    "evolution", "surrogate_evolution", "width_scaling", "compound_scaling", "pruning",
    "magnitude_pruning", "distillation", "fitnets", "reinforcement",
)  # fmt: skip
out = Console()


def compress(
    network: Network,
    data: Annotated[
        str | None,
        typer.Option(
            autocompletion=offered(*DATA_SETS),
            help="digits, fashion-mnist, cifar10, cifar100, svhn, or the path of an .npz or a "
            "folder; what the settings say if left out.",
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
        str,
        typer.Option(
            autocompletion=offered(*PROFILES), help="Settings to start from: cpu, demo or paper."
        ),
    ] = "cpu",
    settings: Annotated[
        Path | None, typer.Option(help="A TOML file with settings over the profile's.")
    ] = None,
    target_parameters: Annotated[
        str | None,
        typer.Option(help="Most parameters of the result: a count, or a share as 10% or 0.1."),
    ] = None,
    constraint: Annotated[
        list[str] | None,
        typer.Option(
            metavar="METRIC=AMOUNT",
            help="A bound of the result, any number of times: parameters, macs, "
            "activation_bytes, file_bytes (a count, or a share as 5% or 0.05), latency_ms "
            "(2.5, 0.4ms, or a share); max_accuracy_drop=0.005 asks for the smallest within half "
            "a point.",
        ),
    ] = None,
    seed: Annotated[int | None, SEED] = None,
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
    from archpress.datasets import sources
    from archpress.reporting.progress import ProgressDisplay

    if (mean is None) != (deviation is None):
        raise SettingsError("--mean and --deviation go together: give both or neither")
    flags = {
        "network": absolute(network),
        "trained.weights": str(weights.resolve()) if weights else None,
        "trained.mean": numbers(mean, "mean"),
        "trained.deviation": numbers(deviation, "deviation"),
        "data.name": None if data is None else sources.absolute(data),
        "data.folder": str(data_folder.resolve()) if data_folder else None,
        "search.target_parameters": target_parameters,
        "constraints": constraints_of(constraint or []) or None,
        "seed": seed,
        "execution.workers": workers,
    }
    chosen = load_settings(profile, settings, flags)
    name = name_of(network)
    folder = out_folder or Path("runs") / f"{name}-{Path(chosen.data.name).stem}"
    what = f"{name} on {Path(chosen.data.name).name}, profile {profile}; run folder {folder}"
    with ProgressDisplay(out, what) as progress:
        compress_in(folder, chosen, resume, progress, known=archive)
    _print_report(folder)


def baseline(
    name: Annotated[
        str,
        typer.Argument(
            autocompletion=offered(*BASELINES),
            help="random_search, whole_space_random_search, local_search, "
            "surrogate_local_search, evolution, surrogate_evolution, width_scaling, "
            "compound_scaling, pruning, magnitude_pruning, distillation, fitnets or "
            "reinforcement.",
        ),
    ],
    run: Annotated[Path, typer.Argument(help="The folder of a finished run.")],
    data_folder: Annotated[
        Path | None, typer.Option(help="Where the run's data lie now, if elsewhere.")
    ] = None,
) -> None:
    """Solve a finished run's task otherwise: same budget, labels, recipe and seeds."""
    from archpress.baselines import find_baseline
    from archpress.compression.preparation import load_data
    from archpress.compression.run_folder import read_settings
    from archpress.compression.runs import rival_in
    from archpress.reporting.progress import ProgressDisplay

    method = find_baseline(name)
    data = load_data(read_settings(run), data_folder) if data_folder else None
    with ProgressDisplay(out) as progress:
        rival_in(run, name, method, progress, data)
    _print_report(run)


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
    unwritten = ""
    try:
        write_report(folder)
    except OSError as error:  # what was found is worth more than its page
        unwritten = f"report.html was not written: {error.strerror}"
    for table in (result_table(record), ledger_table(record), files_table(folder)):
        out.print(table)
    for note in filter(None, (*network_notes(folder), bounds_note(record), unwritten)):
        _say(note)
    _say(f"the compressed network comes from: {record['compressed']['origin']}")


def _say(message: str) -> None:
    out.print(Text(message), soft_wrap=True)
