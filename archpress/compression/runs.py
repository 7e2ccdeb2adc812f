"""A whole run in its folder: everything opened, the pipeline called, everything written."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError, safe_open

from archpress.architectures.architecture import Architecture
from archpress.architectures.architecture_files import read_architectures
from archpress.compression.budget import value_of
from archpress.compression.finishing import Finished
from archpress.compression.guided.knowledge import check_kept, labels_asked
from archpress.compression.known import adopt, costless
from archpress.compression.latency import DeviceLatency
from archpress.compression.pipeline import compress
from archpress.compression.preparation import load_data, prepare
from archpress.compression.progress_file import KeptProgress
from archpress.compression.result import CompressionResult
from archpress.compression.run_folder import (
    RunFolder,
    environment,
    read_record,
    read_settings,
    seconds_by_stage,
)
from archpress.compression.settings import RunSettings
from archpress.compression.task import CompressionTask, Progress, Resources, silent
from archpress.datasets.dataset import DataSet
from archpress.embedding.model import Embedding
from archpress.errors import ArchpressError, ExportError, RunFolderError
from archpress.evaluation.archive import Archive
from archpress.evaluation.executors import Executor, ProcessPool
from archpress.evaluation.shipped import open_archive
from archpress.exporting.folder import export
from archpress.importing.networks import FoundNetwork
from archpress.training.latency import layer_times, measure
from archpress.training.precision import Precision, choose_precision, precision_on_gpu

LATENCY_FILE, TIMINGS, FAILURE = "latency.json", "timings.json", "failure.json"
NETWORK = "network.json"

Method = Callable[[CompressionTask, Resources], CompressionResult]


def compress_in(
    path: Path,
    settings: RunSettings,
    resume: bool = False,
    progress: Progress = silent,
    data: DataSet | None = None,
    network: FoundNetwork | None = None,
    known: Path | None = None,
) -> CompressionResult:
    """Run the method in a folder, from the start or from where it was stopped.

    Args:
        path: The run folder.
        settings: The run's settings.
        resume: Whether to continue a run of the same settings.
        progress: Told how far each stage is.
        data: In place of the data set that the settings name.
        network: In place of the network that the settings name.
        known: An archive of another run; its evaluations are not made again.

    Raises:
        ArchpressError: Anything that the user can mend, before the first expensive step.
    """
    data = data or load_data(settings)
    task = prepare(settings, data, network, path / LATENCY_FILE)
    if known is not None:
        open_archive(known).close()
    with opened(path, settings, resume, task, progress) as (folder, resources):
        if known is not None:
            taken = adopt(known, task, resources)
        else:
            taken = (
                read_record(path / NETWORK).get("known", "") if (path / NETWORK).exists() else ""
            )
        folder.write_json(
            NETWORK,
            {
                "name": settings.network,
                "trained": bool(task.trained),
                "notes": list(task.notes),
                "known": taken,
                "architecture": task.network.to_json(),
            },
        )
        with noted_failure(folder):
            result = compress(settings, task, resources, folder)
        folder.write_json("results/base.json", result.base.to_json())
        record = {**result.to_json(), **kept_bounds(task, result.architecture)}
        folder.write_json("results/archpress.json", record)
        onnx = None if settings.execution.onnx else False
        write_product(folder, result.compressed, onnx)
        write_timings(folder, settings, task.network, result.architecture)
        write_summary(folder)
    return result


@contextmanager
def noted_failure(folder: RunFolder) -> Iterator[None]:
    """Leave ``failure.json`` behind where the run ends with an error that a user can mend."""
    (folder.path / FAILURE).unlink(missing_ok=True)
    try:
        yield
    except ArchpressError as error:
        folder.write_json(FAILURE, {"reason": str(error)})
        raise


def write_timings(
    folder: RunFolder, settings: RunSettings, before: Architecture, after: Architecture
) -> None:
    """Write milliseconds of both networks on this device, and of their layers, once."""
    digests, file = [before.digest, after.digest], folder.path / TIMINGS
    if file.exists() and read_record(file, "digests")["digests"] == digests:
        return
    conditions = settings.latency.conditions
    record: dict[str, Any] = {"conditions": str(conditions), "digests": digests}
    for name, network in (("base", before), ("compressed", after)):
        layers = layer_times(network, conditions)
        record[name] = {**vars(measure(network, conditions)), "layers": layers}
    folder.write_json(TIMINGS, record)


def kept_bounds(task: CompressionTask, network: Architecture) -> dict[str, Any]:
    """Return ``{"bounds": {metric: [bound, value]}}``; nothing where there is no bound."""
    bounds = {
        metric: [bound, value_of(network, metric, task.latency)]
        for metric, bound in task.budget.bounds.items()
    }
    return {"bounds": bounds} if bounds else {}


def rival_in(
    path: Path,
    name: str,
    method: Method,
    progress: Progress = silent,
    data: DataSet | None = None,
) -> CompressionResult:
    """Run a rival in the folder of a finished run: same task, archive, labels and recipe.

    The network is the one kept in the folder; no code that the folder names is run.

    Where the run had no budget, or a bound of the accuracy drop, the rival gets the size of the
    run's result, to be as accurate as it can. Where a guided search ended early, by its minutes or
    for want of smaller networks, the rival may label no more networks than that did.

    Raises:
        RunFolderError: The folder holds no finished run.
    """
    settings = read_settings(path)
    record = _finished(path)
    task = prepare(settings, data or load_data(settings), kept_network(path), path / LATENCY_FILE)
    if not task.budget.bounds or task.max_accuracy_drop is not None:
        budget = replace(task.budget, parameters=record["parameters"])
        task = replace(task, budget=budget, max_accuracy_drop=None)
    if settings.search.method == "guided":
        task = replace(task, labels=min(task.labels, labels_asked(path) or task.labels))
    with opened(path, settings, True, task, progress) as (folder, resources):
        with folder.timed(name):
            result = method(task, resources)
        folder.write_json(f"results/{name}.json", result.to_json())
        write_summary(folder)
    return result


def kept_network(path: Path) -> FoundNetwork:
    """Return the input network of a finished run, with its own weights if it was given trained."""
    from safetensors.torch import load_file

    record = read_record(path / "results" / "base.json", "architecture")
    architecture = Architecture.from_json(record["architecture"])
    digest = read_record(path / "environment.json").get("weights_digest")
    weights = path / "weights" / f"given-{digest}.safetensors"
    return FoundNetwork(architecture, load_file(weights) if digest else None)


def _finished(path: Path) -> dict[str, Any]:
    record = path / "results" / "archpress.json"
    if not record.exists():
        raise RunFolderError(f"the run in {path} is not finished: continue it first")
    return read_record(record, "parameters")


def _check_kept_files(path: Path, settings: RunSettings) -> None:
    """Refuse damaged files of a stopped run before anything is written."""
    population = path / "architectures.jsonl"
    if population.exists():
        kept, wanted = len(read_architectures(population)), settings.space.networks
        if kept != wanted:
            raise RunFolderError(
                f"{population} is damaged: it holds {kept} networks, not {wanted}; delete it and "
                f"the same networks are drawn again"
            )
    if (path / "embedding.json").exists():
        Embedding.load(path)
    costless(path)  # reads what is there
    if settings.search.method == "guided":
        check_kept(path)
    for record in sorted((path / "results").glob("*.json")):
        read_record(record)
    for weights in sorted((path / "weights").glob("*.safetensors")):
        try:
            with safe_open(weights, "pt"):
                pass
        except (SafetensorError, OSError) as error:
            raise RunFolderError(
                f"{weights} is damaged: {error}; delete it and the network is trained again"
            ) from error


@contextmanager
def opened(
    path: Path, settings: RunSettings, resume: bool, task: CompressionTask, progress: Progress
) -> Iterator[tuple[RunFolder, Resources]]:
    """Open the folder, its archive and worker processes; close them however it ends."""
    folder = RunFolder(path, settings, resume)
    try:
        _check_kept_files(path, settings)
        if isinstance(task.latency, DeviceLatency):
            task.latency.keep_in(path / LATENCY_FILE)
        precision = _settled_precision(folder, settings, task)
        with (
            Archive(path / "archive.sqlite") as archive,
            executor_of(settings, task.data, precision) as executor,
        ):
            yield folder, Resources(archive, executor, path, KeptProgress(path, progress))
    finally:
        folder.close()


def executor_of(settings: RunSettings, data: DataSet, precision: Precision) -> Executor:
    """Return where a run trains its networks.

    Raises:
        SettingsError: A GPU is asked for, and there is none.
    """
    workers = settings.execution.workers or None
    if not _on_gpu(settings):
        return ProcessPool(data, precision, workers)
    from archpress.evaluation.cuda_executor import CudaExecutor

    return CudaExecutor(data.without_test(), precision, at_once=workers)


def _on_gpu(settings: RunSettings) -> bool:
    device = settings.execution.device
    return device == "cuda" or (device == "auto" and torch.cuda.is_available())


def _settled_precision(
    folder: RunFolder, settings: RunSettings, task: CompressionTask
) -> Precision:
    """Return the precision of this run: probed when it started, then kept.

    Raises:
        RunFolderError: Data, network or its weights have changed since the run started.
    """
    file = folder.path / "environment.json"
    weights = task.trained.digest if task.trained else None
    if file.exists():
        record = read_record(file, "data_digest", "precision")
        if record["data_digest"] != task.data.digest:
            raise RunFolderError(f"the data has changed since the run in {folder.path} started")
        if record.get("network_digest", task.network.digest) != task.network.digest:
            raise RunFolderError(f"the network has changed since the run in {folder.path} started")
        if record.get("weights_digest") != weights:
            raise RunFolderError(
                f"the input network's weights have changed since the run in {folder.path} started"
            )
        kept: Precision = record["precision"]
        return kept
    choice = settings.execution.precision
    precision = precision_on_gpu(choice) if _on_gpu(settings) else choose_precision(choice)
    folder.write_json(
        "environment.json",
        {
            **environment(precision, task.data.digest, task.network.digest),
            "weights_digest": weights,
            "label_recipe": task.label_recipe.digest,
        },
    )
    return precision


def write_product(folder: RunFolder, finished: Finished, onnx: bool | None) -> None:
    """Write ``compressed/``: the network's files, with the weights that validate best."""
    product = (finished.architecture, finished.model(), folder.path / "compressed")
    mean, deviation = (values.tolist() for values in finished.scaling)
    try:
        export(*product, mean, deviation, onnx)
    except ExportError:
        if onnx is False:
            raise
        export(*product, mean, deviation, False)  # the rest must not fail with an extra


def write_summary(folder: RunFolder) -> None:
    """Write ``result.json`` from ``results/``, the ledger and the environment.

    Its form is the one every experiment keeps: ``base``, ``compressed`` and ``rivals.<name>``, each
    with parameters, MACs, test accuracy per seed and final epochs; labels and label epochs; seconds
    by stage; hardware and commit.
    """
    results = folder.path / "results"
    compressed = read_record(results / "archpress.json", "labels", "label_epochs")
    facts = read_record(folder.path / "environment.json", "processor", "cores", "commit")
    rivals = {
        file.stem: read_record(file)
        for file in sorted(results.glob("*.json"))
        if file.stem not in ("base", "archpress") and not file.stem.startswith("test-")
    }
    folder.write_json(
        "result.json",
        {
            "base": read_record(results / "base.json"),
            "compressed": compressed,
            "rivals": rivals,
            "labels": compressed["labels"],
            "label_epochs": compressed["label_epochs"],
            "seconds": seconds_by_stage(folder.path),
            "hardware": f"{facts['processor']}, {facts['cores']} cores, {facts['precision']}",
            "commit": facts["commit"],
        },
    )
