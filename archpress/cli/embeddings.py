"""``archpress fit``: an embedding from an archive."""

from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console

from archpress.cli.options import Seed

out = Console()


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
