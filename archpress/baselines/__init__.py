"""The same task solved otherwise, under the same budget and recipe."""

from collections.abc import Callable

from archpress.compression.result import CompressionResult
from archpress.compression.task import CompressionTask, Resources
from archpress.errors import SettingsError, nearest

NAMES = (
    "random_search", "whole_space_random_search", "local_search", "surrogate_local_search",
    "evolution", "surrogate_evolution", "width_scaling", "compound_scaling", "pruning",
    "magnitude_pruning", "distillation", "fitnets", "reinforcement",
)  # fmt: skip


def find_baseline(name: str) -> Callable[[CompressionTask, Resources], CompressionResult]:
    """Return the ``compress`` function of a baseline.

    Raises:
        SettingsError: There is none of that name.
    """
    import importlib

    if name not in NAMES:
        raise SettingsError(f"unknown baseline {name!r}{nearest(name, NAMES)}")
    method: Callable[[CompressionTask, Resources], CompressionResult] = importlib.import_module(
        f"archpress.baselines.{name}"
    ).compress
    return method
