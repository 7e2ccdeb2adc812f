"""Weights by themselves: what tells those of one network from those of another."""

import hashlib
from collections.abc import Mapping

from torch import Tensor


def digest_of(weights: Mapping[str, Tensor], salt: str = "") -> str:
    """Return 16 hex digits over the names and values of tensors, and over ``salt``."""
    digest = hashlib.sha256(salt.encode())
    for name in sorted(weights):
        digest.update(name.encode() + weights[name].contiguous().numpy().tobytes())
    return digest.hexdigest()[:16]
