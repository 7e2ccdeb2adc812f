"""The search spaces by name."""

from archpress.architectures.blocks_space import BLOCKS, BlocksSpace
from archpress.architectures.neighbourhood_space import NeighbourhoodSpace, neighbourhood
from archpress.architectures.paper_space import PaperSpace
from archpress.architectures.space import (
    MAX_KERNEL,
    MAX_LAYERS,
    MAX_PADDING,
    MAX_STRIDE,
    MAX_WIDTH,
    Limits,
    RejectedDrawError,
    Sample,
    Space,
)

__all__ = [
    "BLOCKS", "MAX_KERNEL", "MAX_LAYERS", "MAX_PADDING", "MAX_STRIDE", "MAX_WIDTH", "SPACES",
    "BlocksSpace", "Limits", "NeighbourhoodSpace", "PaperSpace", "RejectedDrawError", "Sample",
    "Space", "neighbourhood",
]  # fmt: skip

SPACES: dict[str, type[Space]] = {
    "paper": PaperSpace,
    "blocks": BlocksSpace,
    "neighbourhood": NeighbourhoodSpace,
}
