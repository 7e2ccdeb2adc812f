"""What a diagram shows of a network: its boxes and the arcs of its skips, without coordinates."""

from typing import NamedTuple

from archpress.architectures.architecture import Architecture
from archpress.architectures.layers import (
    Activation,
    BatchNorm,
    Convolution,
    DepthwiseConvolution,
    Dropout,
    GlobalAveragePool,
    Layer,
    Linear,
    Pool,
    SqueezeExcite,
)
from archpress.architectures.summary import LayerRow, rows_of, shape_text


class Box(NamedTuple):
    """A group of layers as it is drawn; the first one of a picture is the network's input.

    Attributes:
        kind: The class that gives the colour.
        label: The first layer in a few words.
        detail: What stands beside the label, such as the layers that follow.
        note: What stands under the label; empty where there is one line only.
        tooltip: Every layer with its exact cost.
        channels: The output's channels or features.
        thick: Whether the box is of full height.
    """

    kind: str
    label: str
    detail: str
    note: str
    tooltip: str
    channels: int
    thick: bool


class Arc(NamedTuple):
    """A skip from under one box to under another, both by position."""

    source: int
    target: int
    projected: bool
    tooltip: str


def groups_of(architecture: Architecture) -> list[range]:
    """Return the layers of each box; a box has one sum at most and ends where a skip starts."""
    layers = architecture.layers
    needed = {index - layer.skip for index, layer in enumerate(layers) if layer.skip}
    groups: list[range] = []
    summed = False
    for index, layer in enumerate(layers):
        follows = bool(groups) and isinstance(layer, BatchNorm | Activation | Dropout)
        if not follows or index - 1 in needed or (layer.skip and summed):
            groups.append(range(index, index + 1))
            summed = False
        else:
            groups[-1] = range(groups[-1].start, index + 1)
        summed = summed or layer.skip > 0
    return groups


def boxes_of(architecture: Architecture, groups: list[range]) -> list[Box]:
    """Return the input's box, then one for each group."""
    shape = architecture.input_shape
    boxes = [Box("input", "input", shape_text(shape), "", "the input", shape[0], False)]
    rows = rows_of(architecture)
    starts = [place for place, row in enumerate(rows) if row.position is not None] + [len(rows)]
    for group in groups:
        boxes.append(_box(architecture, group, rows[starts[group.start] : starts[group.stop]]))
    return boxes


def _box(architecture: Architecture, group: range, rows: list[LayerRow]) -> Box:
    """Return the box of some layers, given their rows and those of a projection among them."""
    head = architecture.layers[group.start]
    output = architecture.shapes[group.stop]
    kind = _kind(head)
    label, *followers = [
        _label(layer) + " + skip" * (layer.skip > 0)
        for layer in architecture.layers[group.start : group.stop]
    ]
    own = sum(row.parameters for row in rows if row.position is not None)
    fitted = sum(row.parameters for row in rows if row.position is None)
    notes = [shape_text(output)] + [f"{own:,} parameters"] * (own > 0)
    notes += [f"{fitted:,} in the projection"] * (fitted > 0)
    thick = kind in ("conv", "depthwise", "linear")
    return Box(
        kind,
        label,
        " · ".join([", ".join(followers)] * bool(followers) + notes * (not thick)),
        " · ".join(notes) if thick else "",
        "\n".join(map(_tooltip_line, rows)),
        output[0],
        thick,
    )


def _tooltip_line(row: LayerRow) -> str:
    index, name, output, parameters, macs, _ = row.cells
    return f"{index or ' '} {name} -> {output}: {parameters} parameters, {macs} MACs"


def _kind(layer: Layer) -> str:
    """Return the class whose colour the layer has."""
    match layer:
        case Convolution():
            return "conv"
        case DepthwiseConvolution():
            return "depthwise"
        case Pool() | GlobalAveragePool():
            return "pool"
        case Linear():
            return "linear"
        case _:
            return "other"


def _label(layer: Layer) -> str:
    match layer:
        case Convolution(out, kernel, stride):
            return f"{kernel}x{kernel} conv {out}" + (f", /{stride}" if stride > 1 else "")
        case DepthwiseConvolution(kernel, stride):
            return f"depthwise {kernel}x{kernel}" + (f", /{stride}" if stride > 1 else "")
        case Pool(kernel, stride):
            name = layer.kind.replace("_", " ")
            return f"{name} {kernel}" + (f", /{stride}" if stride != kernel else "")
        case GlobalAveragePool():
            return "global average"
        case Linear(out):
            return f"linear {out}"
        case SqueezeExcite(squeeze):
            return f"squeeze and excite {squeeze}"
        case Dropout():
            return f"dropout {layer.rate:g}"
        case _:
            return layer.call((1,)).name.removesuffix("1d")


def arcs_of(architecture: Architecture, groups: list[range]) -> list[Arc]:
    """Return the skips in the order of the layers that they are added to."""
    box_of = {-1: 0} | {index: number for number, group in enumerate(groups, 1) for index in group}
    arcs = []
    for row in rows_of(architecture):
        if row.position is not None and row.added:
            skip = architecture.layers[row.position].skip
            text = f"{row.position} {row.source} {row.added}"
            arcs.append(Arc(box_of[row.position - skip], box_of[row.position], False, text))
        elif row.position is None:
            text = f"{arcs[-1].tooltip}\n{_tooltip_line(row)}"
            arcs[-1] = arcs[-1]._replace(projected=True, tooltip=text)
    return arcs


def lanes_of(arcs: list[Arc]) -> dict[Arc, int]:
    """Return the vertical line that each arc has, short ones near the boxes and none shared."""
    lanes: dict[Arc, int] = {}
    for arc in sorted(arcs, key=lambda arc: arc.target - arc.source):
        taken = {
            lane
            for other, lane in lanes.items()
            if other.source < arc.target and arc.source < other.target
        }
        lanes[arc] = next(lane for lane in range(len(arcs)) if lane not in taken)
    return lanes
