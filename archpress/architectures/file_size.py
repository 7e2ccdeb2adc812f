"""How many bytes a network's weights take as a file, without building them."""

import json
import math
from collections.abc import Iterator
from functools import lru_cache

import torch

from archpress.architectures.architecture import Architecture
from archpress.architectures.layer import Call
from archpress.architectures.segments import segments

LENGTH_BYTES = 8
ALIGNMENT = 8
MOST_KNOWN = 20_000

Entry = tuple[str, str, tuple[int, ...], int]
"""Name in a state dict, type in safetensors' words, shape, bytes."""


@lru_cache(maxsize=4096)
def weights_file_bytes(architecture: Architecture) -> int:
    """Return the size of ``weights.safetensors`` as `export` writes it: float32, nothing packed.

    Statistics of BatchNorm and their counters are in the file, and so are the names: a header
    of JSON, which in small networks is as large as the weights.
    """
    entries = sorted(_entries(architecture), key=lambda entry: (-_width(entry), entry[0]))
    header, offset = {}, 0
    for name, dtype, shape, size in entries:
        place = [offset, offset + size]
        header[name] = {"dtype": dtype, "shape": list(shape), "data_offsets": place}
        offset += size
    written = len(json.dumps(header, separators=(",", ":"), ensure_ascii=False).encode())
    return LENGTH_BYTES + math.ceil(written / ALIGNMENT) * ALIGNMENT + offset


def _width(entry: Entry) -> int:
    return 8 if entry[1] == "I64" else 4


def _entries(architecture: Architecture) -> Iterator[Entry]:
    for part in segments(architecture):
        block = [call for calls in part.calls for call in calls]
        for name, calls in ((part.block, block), (part.fitting, part.shortcut)):
            for place, call in enumerate(calls):
                for key, dtype, shape, size in _state_of(call):
                    yield f"{name}.{place}.{key}", dtype, shape, size


_known: dict[str, tuple[Entry, ...]] = {}


def _state_of(call: Call) -> tuple[Entry, ...]:
    """Return what a module keeps; found once per expression that makes one."""
    if call.source not in _known:
        if len(_known) >= MOST_KNOWN:
            _known.clear()
        with torch.device("meta"):
            state = call.module().state_dict()
        _known[call.source] = tuple(
            (
                key, "I64" if value.dtype == torch.int64 else "F32", tuple(value.shape),
                value.numel() * value.element_size(),
            )
            for key, value in state.items()
        )  # fmt: skip
    return _known[call.source]
