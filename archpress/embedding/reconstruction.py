"""How well an autoencoder says again what it was shown, and what random points decode to."""

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor

from archpress.architectures.architecture import Architecture
from archpress.embedding.autoencoder import Autoencoder
from archpress.embedding.population import Drawn
from archpress.embedding.vocabulary import (
    FIELDS,
    FRACTION,
    NOTHING,
    TYPE,
    WIDTH,
    from_categories,
    has_field,
    width_of,
)
from archpress.errors import InvalidArchitectureError

EXACT = ("type", "kernel", "padding", "stride", "norm", "skip", "activation")
BATCH = 500


@torch.no_grad()
def reconstruct(model: Autoencoder, drawn: Drawn) -> Tensor:
    """Return the decodings ``[B, T, F]`` of the embeddings of networks."""
    found = []
    for start in range(0, len(drawn.classes), BATCH):
        part = drawn[start : start + BATCH]
        read = part.read()
        y = model.encoder(read)
        found.append(model.decoder.decode(y, part.input_shapes, part.classes))
    return torch.cat(found)


def measure(model: Autoencoder, drawn: Drawn) -> dict[str, Any]:
    """Return how much of networks is reconstructed.

    Returns:
        ``networks``; ``exact``, the share with all types, kernels, paddings, strides and skips
        right; per field the share of networks without an error in it; of the widths of networks
        whose types are right, the share of layers ``within_2`` and ``within_5`` per cent.
    """
    true, said = drawn.categories.long(), reconstruct(model, drawn)
    kinds = true[..., TYPE]
    matters = has_field(kinds) & (kinds != NOTHING)[..., None]
    same = (said == true) | ~matters
    same[..., TYPE] = said[..., TYPE] == kinds
    whole = {name: same[..., FIELDS.index(name)].all(1) for name in EXACT}
    exact = torch.stack(list(whole.values())).all(0)
    widths, wanted = (width_of(c[..., WIDTH], c[..., FRACTION]) for c in (said, true))
    of_width = matters[..., WIDTH] & whole["type"][:, None]
    off = (widths[of_width] / wanted[of_width] - 1).abs()
    return {
        "networks": len(true),
        "exact": float(exact.float().mean()),
        **{name: float(right.float().mean()) for name, right in whole.items()},
        "within_2": float((off <= 0.02).float().mean()) if len(off) else None,
        "within_5": float((off <= 0.05).float().mean()) if len(off) else None,
    }


@torch.no_grad()
def decodings_of_prior(
    model: Autoencoder, count: int, task: tuple[tuple[int, int, int], int], seed: int = 0
) -> tuple[list[Architecture], int]:
    """Return the networks that random points decode to, and how many decodings were none.

    Args:
        model: The autoencoder.
        count: How many points, of the standard normal distribution.
        task: Input shape and classes.
        seed: Decides the points.
    """
    generator = torch.Generator().manual_seed(seed)
    networks: list[Architecture] = []
    invalid = 0
    for start in range(0, count, BATCH):
        y = torch.randn(min(BATCH, count - start), model.size, generator=generator)
        shapes, classes = torch.tensor([task[0]] * len(y)), torch.tensor([task[1]] * len(y))
        for categories in model.decoder.decode(y, shapes, classes):
            try:
                networks.append(from_categories(categories, *task))
            except InvalidArchitectureError:
                invalid += 1
    return networks, invalid


def distinct(networks: Sequence[Architecture]) -> float:
    """Return the share of networks that no earlier one equals."""
    return len(set(networks)) / max(1, len(networks))
