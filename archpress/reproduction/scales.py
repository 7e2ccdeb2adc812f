"""How large an experiment is: the paper's numbers, and what fits one GPU or two cores."""

from typing import Any, Literal

from archpress.compression.settings import RunSettings
from archpress.errors import SettingsError, nearest
from archpress.reproduction.published import TABLE_1
from archpress.training.recipe import TrainingRecipe

RunName = Literal["paper", "archpress"]
METHODS: tuple[RunName, ...] = ("paper", "archpress")
Scale = Literal["paper", "gpu", "cpu"]
SCALES: tuple[Scale, ...] = ("paper", "gpu", "cpu")

Flags = dict[str, Any]

LABELS = {"fashion-mnist": "label-fashion-mnist", "svhn": "label"}
"""Section 5.2: five epochs by the recipe of the data, which for CIFAR flips and crops."""
ITERATIONS = {"cifar10": 100_000, "cifar100": 100_000}
"""Section 5.2.2; 80,000 for the others."""
NETWORKS = {"fashion-mnist": "conv7", "digits": "digits-cnn"}
SMALL_NETWORKS = {"cifar10": "conv10-eighth", "cifar100": "conv10-eighth", "svhn": "conv10-eighth"}
"""Input networks that two cores can train: every width of CONV-10 divided by 8."""


def in_figures(settings: RunSettings, images: int) -> str:
    """Return the numbers of a run of the paper's recipe, the paper's own in brackets.

    Args:
        settings: The run's settings.
        images: Training images of the data.
    """
    label, final = settings.label.resolve(images), settings.final.resolve(images)
    parts = (
        f"{settings.space.networks:,} networks labelled (1,500)",
        f"{_shown(label, images)} (5 on all) and {label.seeds} initialisations each (5)",
        f"{settings.embedding.iterations:,} iterations of the fit (80,000 or 100,000)",
        f"networks of at most {settings.space.max_macs} of the input network's MACs (not said)",
        f"final training of {final.epochs} epochs (50 or 150) and {final.seeds} seeds (5)",
    )
    return ", ".join(parts)


def searched_in_figures(settings: RunSettings, images: int) -> str:
    """Return what archpress and the rivals that label spend, in words."""
    guided, label = settings.guided, settings.label.resolve(images)
    return (
        f"archpress, and rivals that label: {guided.labels} labels, {_shown(label, images)}, then "
        f"{guided.contenders} networks trained {guided.contender_epochs} times as long; "
        f"{settings.final.finalists} get the final training"
    )


def _shown(recipe: TrainingRecipe, images: int) -> str:
    few = recipe.images is not None and recipe.images < images
    return f"{recipe.epochs} epochs on {f'{recipe.images:,}' if few else 'all'} images"


def input_network(data: str, scale: Scale) -> str:
    """Return the name of the network to compress."""
    small = SMALL_NETWORKS if scale == "cpu" else {}
    return small.get(data) or NETWORKS.get(data, "conv10")


def flags_of(data: str, scale: Scale, method: RunName) -> tuple[str, Flags]:
    """Return a profile, and what is changed in it by dotted name.

    The default method compresses as much as the paper reports for the data.

    Raises:
        SettingsError: There is no such scale.
    """
    if scale not in SCALES:
        raise SettingsError(f"unknown profile {scale!r}{nearest(scale, SCALES)}")
    flags: Flags = {"data.name": data, "network": input_network(data, scale)}
    flags |= _final(data, scale)
    flags |= {"execution.device": "auto"} if scale == "gpu" else {}
    if method == "archpress":
        compression = TABLE_1[data].compression if data in TABLE_1 else 10.0
        flags |= {"search.target_parameters": f"{100 / compression:.3f}%"}
        if scale != "cpu":
            flags |= {"space.max_macs": "100%"}
        elif data in TABLE_1:
            flags |= {"label.recipe": "label-small", "guided.contender_epochs": 10}
        return "cpu", flags
    return "paper", flags | _paper(data, scale)


def _final(data: str, scale: Scale) -> Flags:
    recipe = f"paper-{data}" if data in TABLE_1 else "final-digits"
    if scale == "paper" or data not in TABLE_1:
        return {"final.recipe": recipe}
    if scale == "gpu":
        return {"final.recipe": recipe, "final.epochs": 30, "final.seeds": 3}
    return {"final.recipe": "final-short"}


def _paper(data: str, scale: Scale) -> Flags:
    """Return what the paper's recipe has of a scale; its descent is measured on the way."""
    flags: Flags = {"search.label_path": 20, "embedding.iterations": ITERATIONS.get(data, 80_000)}
    if scale == "paper":
        return flags | {"label.recipe": LABELS.get(data, "label-augmented")}
    if scale == "gpu":
        return flags | {"label.recipe": "label-short", "space.networks": 600}
    return flags | {
        "label.recipe": "label-small" if data in TABLE_1 else "label-digits",
        "label.epochs": 3 if data in TABLE_1 else None,
        "space.networks": 160,
        "space.max_macs": "25%",
        "space.max_activation_bytes": "250%",
        "embedding.iterations": 10_000,
        "embedding.decay_period": 3_750,
    }
