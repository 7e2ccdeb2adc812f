"""The errors that archpress raises on purpose: each message is one sentence for a person."""

import difflib
from collections.abc import Iterable


class ArchpressError(Exception):
    """Base of every error that a user can cause and mend."""


class InvalidArchitectureError(ArchpressError):
    """Layers that no network can have; the message names the layer and its input shape."""


class UnknownNetworkError(ArchpressError):
    """A network name, file or factory that cannot be found."""


class UnsupportedNetworkError(ArchpressError):
    """A network that no `Architecture` expresses; names the part that stands in the way."""


class DataError(ArchpressError):
    """A data set that is missing, damaged or unfit for classification."""


class SettingsError(ArchpressError):
    """A setting that is unknown, out of range or contradicts another."""


class BudgetError(ArchpressError):
    """A target that no network of the search space can meet."""


class TrainingError(ArchpressError):
    """No network that was to be trained could be."""


class ArchiveError(ArchpressError):
    """An archive of evaluations that is damaged or of an unknown format version."""


class EmbeddingError(ArchpressError):
    """An embedding file that is damaged, or a fit that has too little to learn from."""


class RunFolderError(ArchpressError):
    """A run folder that belongs to another run, or that cannot be written."""


class MissingExtraError(ArchpressError):
    """A package that is not installed; the message says which extra of archpress brings it."""


class ExportError(ArchpressError):
    """Weights that do not fit their network, or files that cannot be written or are wrong."""


def nearest(name: str, valid: Iterable[str]) -> str:
    """Return a hint for a mistyped name: ``" (did you mean 'x'?)"`` or the list of valid names."""
    options = sorted(valid)
    close = difflib.get_close_matches(name, options, n=1, cutoff=0.5)
    return f"; did you mean '{close[0]}'?" if close else f"; valid: {', '.join(options)}"
