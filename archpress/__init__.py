"""Architecture compression: a much smaller network that is as accurate.

The names below are loaded on first use, so that ``import archpress`` is instant.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from archpress.api import compress, load_data
    from archpress.architectures.architecture import Architecture
    from archpress.architectures.building import build
    from archpress.architectures.neighbourhood_space import neighbourhood
    from archpress.architectures.simplification import simplify
    from archpress.compression.result import CompressionResult
    from archpress.embedding.model import Embedding
    from archpress.errors import ArchpressError
    from archpress.evaluation.archive import Archive
    from archpress.evaluation.record import Evaluation
    from archpress.evaluation.shipped import open_archive
    from archpress.evaluation.sweep import evaluate
    from archpress.exporting.folder import export
    from archpress.importing.capturing import capture

__version__ = "0.1.0"

_HOMES = {
    "Architecture": "archpress.architectures.architecture",
    "Archive": "archpress.evaluation.archive",
    "ArchpressError": "archpress.errors",
    "CompressionResult": "archpress.compression.result",
    "Embedding": "archpress.embedding.model",
    "Evaluation": "archpress.evaluation.record",
    "build": "archpress.architectures.building",
    "capture": "archpress.importing.capturing",
    "compress": "archpress.api",
    "evaluate": "archpress.evaluation.sweep",
    "export": "archpress.exporting.folder",
    "load_data": "archpress.api",
    "open_archive": "archpress.evaluation.shipped",
    "neighbourhood": "archpress.architectures.neighbourhood_space",
    "simplify": "archpress.architectures.simplification",
}

__all__ = [
    "Architecture",
    "Archive",
    "ArchpressError",
    "CompressionResult",
    "Embedding",
    "Evaluation",
    "build",
    "capture",
    "compress",
    "evaluate",
    "export",
    "load_data",
    "neighbourhood",
    "open_archive",
    "simplify",
]


def __dir__() -> list[str]:
    return [*__all__, "__version__"]


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module 'archpress' has no attribute {name!r}")
    return getattr(import_module(_HOMES[name]), name)
