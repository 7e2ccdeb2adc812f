"""Settings -> task: the data loaded, the network found, every amount made a number."""

import math
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from archpress.architectures.architecture import Architecture
from archpress.architectures.building import build
from archpress.architectures.simplification import simplify
from archpress.architectures.spaces import (
    BlocksSpace,
    Limits,
    NeighbourhoodSpace,
    PaperSpace,
    Space,
)
from archpress.compression.admission import filled
from archpress.compression.budget import Budget, Latency
from archpress.compression.constraints import bounds_of
from archpress.compression.latency import DeviceLatency, fitted_latency, read_latency
from archpress.compression.reachable import check_budget
from archpress.compression.settings import RunSettings, read_amount
from archpress.compression.task import CompressionTask, TrainedNetwork
from archpress.datasets.dataset import DataSet, load, names
from archpress.embedding import vocabulary
from archpress.embedding.tokens import why_inexpressible
from archpress.errors import SettingsError, UnknownNetworkError
from archpress.importing.networks import FoundNetwork, find_network
from archpress.training import latency as timing
from archpress.training.augmentation import input_scaling
from archpress.training.scoring import accuracy


def load_data(settings: RunSettings, folder: Path | None = None) -> DataSet:
    """Return the data set of the settings.

    Args:
        settings: Name it, and how it is split.
        folder: Where its files lie, in place of the folder, or of the path, of the settings.

    Raises:
        DataError: It is missing, damaged or unfit.
    """
    table, name = settings.data, settings.data.name
    if folder is not None and name not in names():
        name = str(folder / Path(name).name)
    return load(
        name,
        folder=folder or (Path(table.folder) if table.folder else None),
        validation_fraction=table.validation_fraction,
        seed=settings.seed,
    )


def make_space(settings: RunSettings, network: Architecture) -> Space:
    """Return the search space around the size of the input network."""
    table, cost = settings.space, network.cost
    limits = Limits(
        max(1, read_amount(table.min_parameters, cost.parameters, "space.min_parameters")),
        read_amount(table.max_parameters, cost.parameters, "space.max_parameters"),
        read_amount(table.max_macs, cost.macs, "space.max_macs"),
        read_amount(
            table.max_activation_bytes, cost.activation_bytes, "space.max_activation_bytes"
        ),
    )
    shape, classes = network.input_shape, network.classes
    if table.name == "paper":
        return PaperSpace(shape, classes, limits)
    reason = why_inexpressible(network)
    if table.name == "neighbourhood" and reason:
        raise SettingsError(f"the neighbourhood cannot be searched: {reason}; use the space blocks")
    if table.name == "neighbourhood":
        return NeighbourhoodSpace(shape, classes, limits, origin=network)
    return BlocksSpace(shape, classes, limits, blocks=table.blocks, global_pool=table.global_pool)


def make_latency(
    settings: RunSettings, network: Architecture, space: Space, kept: Path | None = None
) -> DeviceLatency:
    """Return what tells latency: what an earlier call kept, or measured and fitted now.

    Raises:
        SettingsError: There is no such device here.
        RunFolderError: What was kept is damaged.
    """
    measure = partial(timing.measure, conditions=settings.latency.conditions)
    if kept is not None and kept.exists():
        return read_latency(kept, measure)
    table = settings.latency
    return fitted_latency(network, space, table.networks, table.conditions, measure)


def make_budget(
    settings: RunSettings, network: Architecture, latency: Latency | None = None
) -> Budget:
    """Return the budget: every constraint, and the target of the search as one of them.

    Raises:
        SettingsError: An amount is neither a number nor a share.
    """
    written = settings.search.target_parameters
    target = read_amount(written, network.cost.parameters, "search.target_parameters")
    bounds: dict[str, Any] = bounds_of(settings.constraints, network, latency)
    if target or float(str(written).strip().removesuffix("%")):
        bounds["parameters"] = min(target, bounds.get("parameters", target))
    return Budget(**bounds, weight=settings.search.parameter_weight)


def find_input_network(settings: RunSettings, data: DataSet) -> FoundNetwork:
    """Return the network of the settings, with its weights if it comes with any.

    Raises:
        UnknownNetworkError: It is not found or does not fit the data.
        UnsupportedNetworkError: It cannot be expressed.
    """
    weights = Path(settings.trained.weights) if settings.trained.weights else None
    return find_network(settings.network, data.input_shape, data.classes, weights)


def trained_weights(
    settings: RunSettings, data: DataSet, found: FoundNetwork
) -> tuple[TrainedNetwork | None, str]:
    """Return the weights that stand in place of training the input network, and why or why not.

    Weights from a named file count as trained; others do where they are clearly better than chance
    on the validation part.

    Raises:
        SettingsError: Those of a named file are not, or there is not one scale per channel.
    """
    if found.weights is None or not settings.trained.use:
        return None, ""
    scaling = _scaling(settings, data)
    model = build(found.architecture)
    model.load_state_dict(found.weights)
    score = accuracy(model, data.validation, scaling)
    count = len(data.validation)
    chance = float(data.validation.labels.bincount().max()) / count
    has_learned = score > chance + 4 * math.sqrt(chance * (1 - chance) / count)
    if has_learned:
        trained = TrainedNetwork(found.weights, score, scaling)
        return trained, f"its weights give {100 * score:.2f} % on validation and are kept"
    at_chance = f"{100 * score:.2f} % on validation, no better than chance ({100 * chance:.2f} %)"
    if found.given:
        raise SettingsError(
            f"the weights in {settings.trained.weights} give {at_chance}: say with mean and "
            f"deviation how pixels were scaled when they were trained"
        )
    return None, f"its weights give {at_chance}: it is trained by the final recipe"


def labels_of(settings: RunSettings) -> int:
    """Return how many networks a search labels that knows none, and a rival may."""
    if settings.search.method == "guided":
        return settings.guided.labels
    return settings.space.networks + settings.search.candidates * settings.search.rounds


def _search_note(task: CompressionTask, guided: bool) -> str:
    """Return why the search does not start from the input network; empty where it does."""
    if guided:
        network = filled(simplify(task.network), task)
        small = "it is too deep, or nothing of its form is within the budget and the limits"
        reason = vocabulary.why_inexpressible(network or task.network)
        reason = reason or ("" if network else small)
    else:
        reason = why_inexpressible(task.network)
    return f"the search starts from labelled networks alone: {reason}" if reason else ""


def _scaling(settings: RunSettings, data: DataSet) -> tuple[Tensor, Tensor]:
    table = settings.trained
    if not table.mean:
        return input_scaling(settings.final.resolve(), data)
    if len(table.mean) != data.input_shape[0]:
        raise SettingsError(
            f"trained.mean has {len(table.mean)} numbers for {data.input_shape[0]} channels"
        )
    return torch.tensor(table.mean), torch.tensor(table.deviation)


def prepare(
    settings: RunSettings,
    data: DataSet,
    found: FoundNetwork | None = None,
    kept: Path | None = None,
) -> CompressionTask:
    """Return the task, checked: nothing expensive has happened yet.

    Where latency is bounded some dozen networks are measured, which takes seconds.

    Args:
        settings: The run's settings.
        data: The data set.
        found: In place of the network that the settings name.
        kept: What was measured of latency, if the run was started before.

    Raises:
        UnknownNetworkError: The network is not found or does not fit the data.
        UnsupportedNetworkError: It cannot be expressed.
        SettingsError: An amount is not a number or a share, or weights have learned nothing.
        BudgetError: The target cannot be met.
    """
    found = found or find_input_network(settings, data)
    network = found.architecture
    if (network.input_shape, network.classes) != (data.input_shape, data.classes):
        raise UnknownNetworkError(
            f"the network takes {network.input_shape} images and {network.classes} classes, "
            f"the data has {data.input_shape} and {data.classes}"
        )
    count = len(data.train)
    label, final = settings.label.resolve(count), settings.final.resolve(count)
    trained, why = trained_weights(settings, data, found)
    space = make_space(settings, network)
    timed = settings.constraints.latency_ms is not None
    guided = settings.search.method == "guided"
    told = make_latency(settings, network, space, kept) if timed else None
    latency_note = told.described(network) if told else ""
    task = CompressionTask(
        network=network,
        data=data,
        space=space,
        budget=make_budget(settings, network, told),
        label_recipe=label,
        labels=labels_of(settings),
        final_recipe=final,
        finalists=settings.final.finalists,
        seed=settings.seed,
        trained=trained,
        max_accuracy_drop=settings.constraints.max_accuracy_drop,
        latency=told,
        contenders=settings.guided.contenders if guided else 0,
        contender_epochs=settings.guided.contender_epochs,
        distillation=settings.final.distillation,
        temperature=settings.final.temperature,
    )
    check_budget(task)
    notes = (*found.notes, *filter(None, (why, _search_note(task, guided), latency_note)))
    return replace(task, notes=notes)
