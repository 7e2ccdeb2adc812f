"""Settings -> task: the data loaded, the network found, every amount made a number."""

from pathlib import Path

from archpress.architectures.architecture import Architecture
from archpress.architectures.references import find_network
from archpress.architectures.spaces import SPACES, Limits, Space
from archpress.compression.settings import RunSettings, read_amount
from archpress.compression.task import Budget, CompressionTask
from archpress.embedding.tokens import to_tokens
from archpress.errors import UnknownNetworkError
from archpress.evaluation.datasets import DataSet, load


def load_data(settings: RunSettings) -> DataSet:
    """Return the data set of the settings.

    Raises:
        DataError: It is missing, damaged or unfit.
    """
    table = settings.data
    return load(
        table.name,
        folder=Path(table.folder) if table.folder else None,
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
        int(table.max_activation_megabytes * 1e6),
    )
    return SPACES[table.name](network.input_shape, network.classes, limits)


def prepare(
    settings: RunSettings, data: DataSet, network: Architecture | None = None
) -> CompressionTask:
    """Return the task, checked: nothing expensive has happened yet.

    Raises:
        UnknownNetworkError: The network is not found or does not fit the data.
        SettingsError: An amount is not a number or a share.
        BudgetError: The target cannot be met.
        EmbeddingError: The network has a layer that the embedding cannot express.
    """
    network = network or find_network(settings.network, data.input_shape, data.classes)
    if (network.input_shape, network.classes) != (data.input_shape, data.classes):
        raise UnknownNetworkError(
            f"the network takes {network.input_shape} images and {network.classes} classes, "
            f"the data has {data.input_shape} and {data.classes}"
        )
    to_tokens([network])
    target = read_amount(
        settings.search.target_parameters, network.cost.parameters, "search.target_parameters"
    )
    wants_budget = str(settings.search.target_parameters).strip() not in ("0", "0%")
    label, final = settings.label.resolve(), settings.final.resolve()
    task = CompressionTask(
        network=network,
        data=data,
        space=make_space(settings, network),
        budget=Budget(target if wants_budget else None, settings.search.parameter_weight),
        label_recipe=label,
        labels=settings.space.networks + settings.search.candidates * settings.search.rounds,
        final_recipe=final,
        finalists=settings.final.finalists,
        seed=settings.seed,
    )
    task.check()
    return task
