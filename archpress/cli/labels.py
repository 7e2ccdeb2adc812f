"""``archpress evaluate``: label networks, within a budget, here or on many machines."""

from collections.abc import Sequence
from contextlib import ExitStack
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from rich.console import Console
from rich.text import Text

from archpress.cli.options import Data, DataFolder, Workers
from archpress.errors import SettingsError, UnknownNetworkError, nearest

if TYPE_CHECKING:
    from archpress.architectures.architecture import Architecture
    from archpress.datasets.dataset import DataSet
    from archpress.evaluation.executors import Executor
    from archpress.evaluation.halving import Halving
    from archpress.evaluation.job_limits import JobLimits
    from archpress.evaluation.seeds import Sharpened
    from archpress.evaluation.spending import Estimate
    from archpress.evaluation.sweep import Sweep
    from archpress.training.recipe import TrainingRecipe

EXECUTORS = ("pool", "process", "cuda", "ray")
RANKINGS = ("front", "accuracy")
out = Console()


def evaluate(
    architectures: Annotated[Path, typer.Argument(help="JSON lines, as sample writes them.")],
    data: Data,
    archive: Annotated[Path, typer.Option(help="SQLite file; what it knows is not repeated.")],
    data_folder: DataFolder = None,
    recipe: Annotated[
        str | None, typer.Option(help="A preset training recipe; label-short if left out.")
    ] = None,
    seeds: Annotated[
        int | None, typer.Option(min=1, help="Initialisations of each; the recipe's if left out.")
    ] = None,
    rungs: Annotated[
        str | None,
        typer.Option(help="Successive halving instead: recipes A,B,C from cheap to dear."),
    ] = None,
    keep: Annotated[
        float | None,
        typer.Option(help="Share of a rung's networks that goes on to the next; a third."),
    ] = None,
    ranking: Annotated[
        str | None,
        typer.Option(help="Which go on: front (accurate for their size; the default) or accuracy."),
    ] = None,
    extra_runs: Annotated[
        int, typer.Option(min=0, help="More initialisations, spent where networks are close.")
    ] = 0,
    precision: Annotated[str, typer.Option(help="auto, float32 or bfloat16.")] = "auto",
    executor: Annotated[
        str, typer.Option(help="pool (a process per core), process (this one), cuda or ray.")
    ] = "pool",
    address: Annotated[
        str | None, typer.Option(help="Ray cluster: auto or HOST:PORT; none starts Ray here.")
    ] = None,
    workers: Workers = None,
    job_seconds: Annotated[
        float | None, typer.Option(help="Longest time of one run; pool only.")
    ] = None,
    job_memory: Annotated[
        float | None, typer.Option(help="Most memory of one run in GB; pool only.")
    ] = None,
    budget_minutes: Annotated[
        float | None, typer.Option(help="Start no run that would end later than this.")
    ] = None,
    budget_flops: Annotated[
        float | None, typer.Option(help="Most floating-point operations, such as 1e15.")
    ] = None,
    estimate: Annotated[
        bool, typer.Option("--estimate", help="Say what it would cost, and stop.")
    ] = False,
) -> None:
    """Label networks: train each from several initialisations and keep its accuracy."""
    from archpress.architectures.architecture_files import read_architectures
    from archpress.datasets.dataset import load
    from archpress.evaluation.archive import Archive
    from archpress.evaluation.halving import by_accuracy, by_front, successive_halving
    from archpress.evaluation.job_limits import JobLimits
    from archpress.evaluation.seeds import sharpen
    from archpress.evaluation.shipped import is_export, open_archive
    from archpress.evaluation.spending import Allowance
    from archpress.evaluation.sweep import estimate as estimated
    from archpress.evaluation.sweep import evaluate as sweep
    from archpress.reporting.progress import ProgressDisplay

    budget = Allowance(None if budget_minutes is None else 60 * budget_minutes, budget_flops)
    one_recipe = budget != Allowance() or estimate
    _check(rungs, recipe, keep, extra_runs, ranking, one_recipe)
    limits = JobLimits(job_seconds, None if job_memory is None else _bytes(job_memory))
    networks = read_architectures(architectures)
    images = load(data, folder=data_folder)
    names = rungs.split(",") if rungs else [recipe] if recipe else []
    recipes = _recipes(names, seeds, len(images.train))
    _require_fit(networks, images.input_shape, images.classes, architectures)
    with ExitStack() as stack:
        place = _executor(executor, images, precision, workers, address, limits)
        stack.enter_context(place)
        if estimate:
            there = archive.exists() or is_export(archive)
            known = open_archive(archive) if there else Archive.in_memory()
            stack.enter_context(known)
            _say(_expected(estimated(networks, recipes[0], known, place, budget)))
            return
        store = stack.enter_context(Archive(archive))
        if not (rungs or extra_runs):
            _say(_expected(estimated(networks, recipes[0], store, place, budget)))
        show = stack.enter_context(ProgressDisplay(out))
        on_progress = partial(show, "labels")
        found: Sweep | Halving | Sharpened
        if rungs:
            found = successive_halving(
                networks, recipes, store, place, keep=keep or 1 / 3,
                ranking=by_accuracy if ranking == "accuracy" else by_front,
                on_progress=on_progress,
            )  # fmt: skip
        elif extra_runs:
            found = sharpen(networks, recipes[0], store, place, extra_runs, on_progress)
        else:
            found = sweep(
                networks, recipes[0], store, place, budget=budget, on_progress=on_progress
            )
    _print_summary(found, archive)


def _recipes(names: Sequence[str], seeds: int | None, images: int) -> "list[TrainingRecipe]":
    from archpress.training.recipe import DEFAULT_RECIPE, recipe_for

    found = [recipe_for(name.strip(), images) for name in names or [DEFAULT_RECIPE]]
    return [r.model_copy(update={"seeds": seeds or r.seeds}) for r in found]


def _check(
    rungs: str | None,
    recipe: str | None,
    keep: float | None,
    extra_runs: int,
    ranking: str | None,
    one_recipe: bool,
) -> None:
    if rungs and (extra_runs or recipe):
        raise SettingsError("--rungs excludes --extra-runs and --recipe: give one of them")
    if not rungs and (keep is not None or ranking is not None):
        raise SettingsError("--keep and --ranking go with --rungs")
    if (rungs or extra_runs) and one_recipe:
        raise SettingsError(
            "a budget and --estimate go with one recipe, without --rungs and --extra-runs"
        )
    if keep is not None and not 0 < keep <= 1:
        raise SettingsError(f"expected a share to keep above 0 and at most 1, received {keep}")
    if ranking is not None and ranking not in RANKINGS:
        raise SettingsError(f"unknown ranking {ranking!r}{nearest(ranking, RANKINGS)}")


def _bytes(gigabytes: float) -> int:
    if not 0 < gigabytes < 1e6:
        raise SettingsError(f"expected --job-memory in GB, above 0, received {gigabytes}")
    return int(1e9 * gigabytes)


def _executor(
    name: str,
    data: "DataSet",
    precision: str,
    workers: int | None,
    address: str | None,
    limits: "JobLimits",
) -> "Executor":
    from archpress.evaluation.executors import InProcess, ProcessPool
    from archpress.evaluation.job_limits import NO_LIMITS
    from archpress.training.precision import choose_precision

    if name not in EXECUTORS:
        raise SettingsError(f"unknown executor {name!r}{nearest(name, EXECUTORS)}")
    if address and name != "ray":
        raise SettingsError("--address goes with --executor ray")
    if limits != NO_LIMITS and name != "pool":
        raise SettingsError("--job-seconds and --job-memory go with --executor pool")
    if name == "cuda":
        from archpress.evaluation.cuda_executor import CudaExecutor
        from archpress.training.precision import precision_on_gpu

        return CudaExecutor(data, precision_on_gpu(precision), at_once=workers)
    if name == "ray":
        from archpress.evaluation.ray_executor import RayExecutor

        return RayExecutor(data, precision, address, workers)
    chosen = choose_precision(precision)
    if name == "process":
        if workers not in (None, 1):
            raise SettingsError(
                "--executor process works on one job at a time: leave out --workers"
            )
        return InProcess(data, chosen)
    return ProcessPool(data, chosen, workers, limits)


def _require_fit(
    networks: "list[Architecture]", shape: tuple[int, int, int], classes: int, file: Path
) -> None:
    for number, network in enumerate(networks, 1):
        if (network.input_shape, network.classes) != (shape, classes):
            raise UnknownNetworkError(
                f"{file}, line {number}: the network takes {network.input_shape} images and "
                f"{network.classes} classes, the data has {shape} and {classes}: sample networks "
                f"with --input-shape {','.join(map(str, shape))} --classes {classes}"
            )


def _expected(cost: "Estimate") -> str:
    if not cost.runs:
        return "no run to be made"
    workers = f"{cost.workers} worker{'s' * (cost.workers > 1)}"
    return (
        f"to be made: {cost.runs} runs, {cost.epochs} epochs, {cost.flops:.2g} FLOP; about "
        f"{_duration(cost.seconds)} on {workers} (single runs within a factor of {cost.spread:.1f})"
    )


def _print_summary(found: "Sweep | Halving | Sharpened", archive: Path) -> None:
    from archpress.evaluation.halving import Halving

    if isinstance(found, Halving):
        for rung in found.rungs:
            _say(f"rung {rung.recipe.name}: {len(rung.labels)} labels")
    labels = found.rungs[-1].labels if isinstance(found, Halving) else found.labels
    spent = found.ledger
    failed = sum(label.accuracy is None for label in labels)
    fewer = sum(0 < len(label.values) < len(label.evaluations) for label in labels)
    by_status = ", ".join(f"{count} {status}" for status, count in spent.runs.most_common())
    _say(
        f"{len(labels)} labels in {archive}: {len(found.trained)} runs made now, "
        f"{failed} networks without an accuracy"
    )
    if left_out := getattr(found, "left_out", 0):
        _say(f"the budget left {left_out} runs out: call again with more of it")
    if fewer:
        _say(f"{fewer} labels are means of fewer runs, for others of theirs failed")
    if found.trained:
        _say(
            f"spent: {by_status}; {spent.epochs} epochs, {spent.flops:.2g} FLOP, "
            f"{_duration(spent.worker_seconds)} of workers' time"
        )


def _duration(seconds: float) -> str:
    if seconds < 90:
        return f"{seconds:.0f} s"
    return f"{seconds / 60:.0f} min" if seconds < 5400 else f"{seconds / 3600:.1f} h"


def _say(message: str) -> None:
    out.print(Text(message), soft_wrap=True)
