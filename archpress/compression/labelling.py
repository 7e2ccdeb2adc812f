"""Labels of networks for a search (Algorithm 1, line 3)."""

from collections.abc import Mapping, Sequence
from typing import Any

from archpress.architectures.architecture import Architecture
from archpress.compression.task import CompressionTask, Resources
from archpress.errors import SettingsError
from archpress.evaluation.record import Label
from archpress.evaluation.sweep import evaluate

SHORTFALL = 0.05
"""How far given weights may stay below the short training of the same network."""


def label_networks(
    networks: Sequence[Architecture], task: CompressionTask, resources: Resources, stage: str
) -> list[Label]:
    """Return the expected accuracy of networks by the task's label recipe.

    Args:
        networks: What to label.
        task: Gives the recipe.
        resources: Where labels are looked up, made and kept.
        stage: What progress is reported under.
    """
    sweep = evaluate(
        networks, task.label_recipe, resources.archive, resources.executor,
        on_progress=resources.reporter(stage),
    )  # fmt: skip
    return list(sweep.labels)


def labelled_record(record: Mapping[str, Any], label: Label) -> dict[str, Any]:
    """Return the record of a candidate with its network and what its label said."""
    return {
        **record,
        "accuracy": label.accuracy,
        "status": label.evaluations[0].status,
        "network": label.architecture.to_json(),
    }


def check_given_weights(task: CompressionTask, resources: Resources) -> None:
    """Refuse weights of the input network that a short training of it clearly surpasses.

    Raises:
        SettingsError: They do; nearly always pixels were scaled otherwise for them.
    """
    given = task.trained
    if given is None:
        return
    accuracy = label_networks([task.network], task, resources, "labels")[0].accuracy
    if accuracy is not None and accuracy > given.validation_accuracy + SHORTFALL:
        raise SettingsError(
            f"the input network's weights give {100 * given.validation_accuracy:.2f} % on "
            f"validation, where its short training for a label gives {100 * accuracy:.2f} %: say "
            f"with mean and deviation how pixels were scaled when the weights were trained, or "
            f"set trained.use = false to have the network trained here"
        )
