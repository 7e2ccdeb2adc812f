"""The paper's tables and figures, each by one command (``archpress reproduce NAME``)."""

from collections.abc import Callable

from archpress.errors import SettingsError, nearest
from archpress.reproduction.bench import Bench, Outcome

NAMES = ("table1", "table2", "figure2", "figure3", "figure4", "extreme", "drift", "motifs")


def find_experiment(name: str) -> Callable[[Bench], Outcome]:
    """Return the ``run`` function of an experiment.

    Raises:
        SettingsError: There is none of that name.
    """
    import importlib

    if name not in NAMES:
        raise SettingsError(f"unknown experiment {name!r}{nearest(name, NAMES)}")
    run: Callable[[Bench], Outcome] = importlib.import_module(f"archpress.reproduction.{name}").run
    return run
