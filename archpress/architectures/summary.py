"""Architecture -> a table of its layers and totals, exact to the last parameter."""

from collections.abc import Iterator
from itertools import chain
from textwrap import wrap
from typing import NamedTuple

from archpress.architectures.architecture import Architecture
from archpress.architectures.cost import FLOAT32_BYTES
from archpress.architectures.layers import BatchNorm, Layer, Shape

LAYER_WIDTH = 56
"""Longer layers continue on a second line, so that a table is under 110 characters wide."""

COLUMNS = ("", "layer", "output", "parameters", "MACs", "%")


class LayerRow(NamedTuple):
    """One layer of a network, or one layer of the projection that fits a skip.

    Attributes:
        position: The layer's index; None of a projection, which belongs to the row before it.
        source: The layer as PyTorch source, without ``nn.``.
        added: What a skip adds to the output, such as ``+ output of 12``; else empty.
        output: The output shape.
        parameters: Learned values of this layer alone.
        macs: Multiply-accumulates of this layer alone.
        share: The part of all parameters, in [0, 1].
    """

    position: int | None
    source: str
    added: str
    output: Shape
    parameters: int
    macs: int
    share: float

    @property
    def cells(self) -> tuple[str, ...]:
        """The texts of the row, one for each of `COLUMNS`; the last is its share."""
        name = self.source if self.position is not None else f"  projection: {self.source}"
        return (
            "" if self.position is None else str(self.position),
            f"{name}  {self.added}" if self.added else name,
            shape_text(self.output),
            f"{self.parameters:,}",
            f"{self.macs:,}",
            f"{100 * self.share:.1f}" if self.parameters else "",
        )


def rows_of(architecture: Architecture) -> list[LayerRow]:
    """Return a row per layer and per layer of a projection; costs add up to the network's."""
    rows = []
    for index, layer in enumerate(architecture.layers):
        rows.append(_row(architecture, index, layer, architecture.shapes[index]))
        shape = architecture.shapes[index + 1 - layer.skip]
        for fitting in architecture.shortcuts.get(index, ()):
            rows.append(_row(architecture, None, fitting, shape))
            shape = fitting.output_shape(shape)
    return rows


def _row(architecture: Architecture, index: int | None, layer: Layer, shape: Shape) -> LayerRow:
    parameters = layer.parameters(shape)
    return LayerRow(
        index,
        layer.source(shape).removeprefix("nn."),
        "" if index is None or not layer.skip else f"+ {output_name(index - layer.skip)}",
        layer.output_shape(shape),
        parameters,
        layer.macs(shape),
        parameters / max(architecture.cost.parameters, 1),
    )


def output_name(index: int) -> str:
    """Return how the output of a layer is called; -1 is the network's input."""
    return "input" if index < 0 else f"output of {index}"


def shape_text(shape: Shape) -> str:
    """Return a shape such as ``64x16x16``."""
    return "x".join(map(str, shape))


def size_text(size_bytes: int) -> str:
    """Return a number of bytes in the unit that suits it."""
    if size_bytes < 1024:
        return f"{size_bytes} bytes"
    if size_bytes < 1024**2:
        return f"{size_bytes / 1024:,.1f} KiB"
    return f"{size_bytes / 1024**2:,.1f} MiB"


def weights_bytes(architecture: Architecture) -> int:
    """Return the bytes of all tensors of the state dict in float32.

    Beside the parameters these are BatchNorm's statistics: two values per channel and a 64-bit
    count of batches.
    """
    total = FLOAT32_BYTES * architecture.cost.parameters
    pairs = list(zip(architecture.layers, architecture.shapes, strict=False))
    for index, fittings in architecture.shortcuts.items():
        pairs += [(fitting, architecture.shapes[index + 1]) for fitting in fittings]
    for layer, shape in pairs:
        if isinstance(layer, BatchNorm):
            total += 2 * FLOAT32_BYTES * shape[0] + 8
    return total


def totals_of(architecture: Architecture) -> list[tuple[str, str]]:
    """Return the network's figures as a whole, each with its name."""
    cost = architecture.cost
    return [
        ("parameters", f"{cost.parameters:,}"),
        ("MACs", f"{cost.macs:,}"),
        ("peak activation memory", f"{size_text(cost.activation_bytes)} (float32, one image)"),
        ("receptive field", f"{cost.receptive_field:,} x {cost.receptive_field:,} pixels"),
        ("weights file", f"{size_text(weights_bytes(architecture))} (float32)"),
    ]


def summary(architecture: Architecture) -> str:
    """Return a table with a row per layer, projections included, and the totals under it."""
    body = [row.cells for row in rows_of(architecture)]
    cost = architecture.cost
    total = ("", "total", "", f"{cost.parameters:,}", f"{cost.macs:,}", "")
    lines = [list(_wrapped(cells)) for cells in (COLUMNS, *body, total)]
    widths = [max(map(len, column)) for column in zip(*chain.from_iterable(lines), strict=True)]
    head, *layers, foot = ["\n".join(_line(part, widths) for part in parts) for parts in lines]
    rule = "-" * (sum(widths) + 2 * (len(widths) - 1))
    names, values = zip(*totals_of(architecture), strict=True)
    width = max(map(len, names))
    totals = [f"{name:<{width}}  {value}" for name, value in zip(names, values, strict=True)]
    return "\n".join([head, rule, *layers, rule, foot, "", *totals])


def _wrapped(cells: tuple[str, ...]) -> Iterator[tuple[str, ...]]:
    """Yield the line of a row, then the lines on which a long layer continues."""
    index, layer, *figures = cells
    indent = " " * (len(layer) - len(layer.lstrip()) + 4)
    first, *more = wrap(layer, LAYER_WIDTH, subsequent_indent=indent)
    yield (index, first, *figures)
    for rest in more:
        yield ("", rest, *[""] * len(figures))


def _line(cells: tuple[str, ...], widths: list[int]) -> str:
    index, layer, *figures = zip(cells, widths, strict=True)
    texts = [index[0].rjust(index[1]), layer[0].ljust(layer[1])]
    return "  ".join(texts + [text.rjust(width) for text, width in figures]).rstrip()
