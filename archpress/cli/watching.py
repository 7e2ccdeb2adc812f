"""``archpress watch``: a run while it goes on, from another terminal."""

import time
from contextlib import nullcontext
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console

out = Console()


def watch(
    run: Annotated[Path, typer.Argument(help="A run folder, of a run that goes on or is over.")],
    every: Annotated[float, typer.Option(min=0.2, help="Seconds between two looks.")] = 2.0,
    once: Annotated[
        bool, typer.Option("--once", help="Look once; always so where there is no terminal.")
    ] = False,
    tensorboard: Annotated[
        Path | None,
        typer.Option(help="Also write TensorBoard scalars into this folder, while watching."),
    ] = None,
) -> None:
    """Show how far a run is, its best networks and what it has spent, until it is over."""
    from rich.live import Live

    from archpress.reporting.live import live_view
    from archpress.reporting.run_view import RunView
    from archpress.reporting.scalars import Scalars

    if out.is_terminal and not once:
        _wait_for(run, every)
    view = RunView.of(run)
    with nullcontext() if tensorboard is None else Scalars(tensorboard) as scalars:
        if scalars:
            scalars.write(view)
        if once or not out.is_terminal:
            out.print(live_view(view))
            return
        with Live(live_view(view), console=out, auto_refresh=False) as shown:
            while view.held:
                time.sleep(every)
                view = RunView.of(run)
                shown.update(live_view(view), refresh=True)
                if scalars:
                    scalars.write(view)


def _wait_for(run: Path, every: float) -> None:
    """Wait until a run begins: loading PyTorch and the data takes it some seconds."""
    if (run / "run.toml").exists() or (run.exists() and any(run.iterdir())):
        return
    out.print(f"waiting for a run to begin in {run}; Ctrl-C to leave", highlight=False)
    while not (run / "run.toml").exists():
        time.sleep(every)
