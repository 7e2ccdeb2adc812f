"""``archpress watch``: a run while it goes on, from another terminal."""

import contextlib
import time
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console

out = Console()


def watch(
    run: Annotated[Path, typer.Argument(help="A run folder, of a run that goes on or is over.")],
    every: Annotated[float, typer.Option(min=0.2, help="Seconds between two looks.")] = 2.0,
    once: Annotated[
        bool,
        typer.Option(
            "--once", help="Look once; so too where there is no terminal and no --tensorboard."
        ),
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

    stays = not once and (out.is_terminal or tensorboard is not None)
    with contextlib.suppress(KeyboardInterrupt):  # the usual way out; the run goes on
        if stays:
            _wait_for(run, every)
        view = RunView.of(run)
        scalars = None if tensorboard is None else Scalars(tensorboard)
        with scalars or contextlib.nullcontext():
            if scalars:
                scalars.write(view)
            if not (stays and out.is_terminal):
                out.print(live_view(view))
            live = Live(live_view(view), console=out, auto_refresh=False)
            with live if stays and out.is_terminal else contextlib.nullcontext():
                while stays and view.held:
                    time.sleep(every)
                    view = RunView.of(run)
                    if scalars:
                        scalars.write(view)
                    if out.is_terminal:
                        live.update(live_view(view), refresh=True)


def _wait_for(run: Path, every: float) -> None:
    """Wait until a run begins: loading PyTorch and the data takes it some seconds."""
    begun = run.is_file() or (run.is_dir() and any(p.name != "run.lock" for p in run.iterdir()))
    if begun or not run.parent.is_dir():
        return
    out.print(f"waiting for a run to begin in {run}; Ctrl-C to leave", highlight=False)
    while not (run / "run.toml").exists():
        time.sleep(every)
