"""How a network's layers are cut into parts, so that module and source code say the same.

A part ends where a skip is added or where the output is needed again; its layers are one
``nn.Sequential``.
"""

from typing import NamedTuple

from archpress.architectures.architecture import Architecture
from archpress.architectures.layer import Call
from archpress.architectures.layers import Layer, Shape

INPUT = 0


class Segment(NamedTuple):
    """Layers ``first`` to ``last``, and what is added to their output.

    Attributes:
        number: From 1; the parts are called ``block1``, ``block2``, ... and ``shortcut1``, ...
        first: Index of the first layer.
        last: Index of the last layer.
        source: The segment whose output is added, 0 for the network's input; None adds nothing.
        calls: The modules of the part, per layer.
        shortcut: The modules that fit what is added.
    """

    number: int
    first: int
    last: int
    source: int | None
    calls: tuple[tuple[Call, ...], ...]
    shortcut: tuple[Call, ...]

    @property
    def block(self) -> str:
        """The name of the part."""
        return f"block{self.number}"

    @property
    def fitting(self) -> str:
        """The name of what fits the skip."""
        return f"shortcut{self.number}"


def segments(architecture: Architecture) -> list[Segment]:
    """Return the parts of a network in order."""
    layers = architecture.layers
    needed = {index - layer.skip for index, layer in enumerate(layers) if layer.skip}
    ends = [
        index
        for index, layer in enumerate(layers)
        if layer.skip or index in needed or index == len(layers) - 1
    ]
    number_of = {-1: INPUT} | {end: number for number, end in enumerate(ends, 1)}
    result = []
    for first, last in zip([0, *(end + 1 for end in ends)], ends, strict=False):
        skip = layers[last].skip
        result.append(
            Segment(
                number_of[last], first, last, number_of[last - skip] if skip else None,
                tuple(
                    layers[i].calls(architecture.shapes[i]) for i in range(first, last + 1)
                ),
                _calls(architecture.shortcuts.get(last, ()), architecture.shapes[last + 1 - skip]),
            )
        )  # fmt: skip
    return result


def _calls(layers: tuple[Layer, ...], shape: Shape) -> tuple[Call, ...]:
    calls: list[Call] = []
    for layer in layers:
        calls += layer.calls(shape)
        shape = layer.output_shape(shape)
    return tuple(calls)


def waiting(parts: list[Segment]) -> set[int]:
    """Return the segments whose output is added later than by the segment that follows."""
    return {
        part.source for part in parts if part.source is not None and part.source < part.number - 1
    }


def layer_prefixes(architecture: Architecture) -> list[str]:
    """Return, per layer, the prefix of its weights in the state dict, such as ``block1.0.``."""
    prefixes = []
    for part in segments(architecture):
        place = 0
        for calls in part.calls:
            place += len(calls)
            prefixes.append(f"{part.block}.{place - 1}.")
    return prefixes


def shortcut_prefixes(architecture: Architecture) -> dict[int, tuple[str, ...]]:
    """Return, by the index of the layer with the skip, the prefixes of what fits it."""
    return {
        part.last: tuple(f"{part.fitting}.{place}." for place in range(len(part.shortcut)))
        for part in segments(architecture)
        if part.shortcut
    }
