"""``archpress reproduce``: the paper's tables and figures, each by one command."""

from pathlib import Path
from typing import Annotated, Any

import typer
from rich.console import Console

from archpress.cli.options import Data, DataFolder, Workers, offered

EXPERIMENTS = (
    "table1", "table2", "figure2", "figure3", "figure4", "extreme", "drift", "motifs"
)  # fmt: skip
out = Console()


def reproduce(
    name: Annotated[
        str,
        typer.Argument(
            autocompletion=offered(*EXPERIMENTS),
            help="table1, table2, figure2, figure3, figure4, extreme, drift or motifs.",
        ),
    ],
    data: Data = "fashion-mnist",
    profile: Annotated[
        str,
        typer.Option(
            autocompletion=offered("cpu", "gpu", "paper"),
            help="paper: its every number; gpu: hours on one; cpu: on two cores.",
        ),
    ] = "cpu",
    folder: Annotated[
        Path | None,
        typer.Option(
            "--out", help="Where runs and results go; continued if there. By default runs/..."
        ),
    ] = None,
    data_folder: DataFolder = None,
    settings: Annotated[
        Path | None, typer.Option(help="A TOML file with settings over the profile's.")
    ] = None,
    workers: Workers = None,
) -> None:
    """Make a table or figure of the paper, and set it beside ours; stopped, it goes on."""
    from archpress.reporting.progress import ProgressDisplay
    from archpress.reproduction import find_experiment
    from archpress.reproduction.bench import Bench

    run = find_experiment(name)
    scale: Any = profile
    where = folder or Path("runs") / f"reproduce-{Path(data).stem}-{profile}"
    with ProgressDisplay(out) as progress:
        bench = Bench(
            where, data, scale, settings, str(data_folder.resolve()) if data_folder else None,
            workers or 0, progress,
        )  # fmt: skip
        bench.settings("paper")
        outcome = run(bench)
        reports = bench.write_reports()
    written = [*bench.write(name, outcome), *reports]
    out.print(outcome.markdown, soft_wrap=True, highlight=False, markup=False)
    out.print("written: " + ", ".join(map(str, written)), soft_wrap=True, highlight=False)
