"""What ``archpress inspect`` prints of a network: its layers, and what of it can be searched."""

from pathlib import Path

from rich.console import RenderableType
from rich.table import Table
from rich.text import Text
from torch import nn

from archpress.architectures.architecture import Architecture
from archpress.architectures.references import reference
from archpress.errors import UnknownNetworkError
from archpress.importing.capturing import capture
from archpress.importing.coverage import Coverage, coverage
from archpress.importing.factories import load_module
from archpress.importing.recording import record
from archpress.reporting.tables import network_table

USUAL_SIDES = {1: 28, 3: 32}
"""Sides of images by channels, where the user says none."""


def inspection(
    name: str, input_shape: tuple[int, int, int] | None, classes: int
) -> list[RenderableType]:
    """Return what to print of a network: a table of layers, or of what stands in the way.

    Args:
        name: Whatever ``compress`` takes.
        input_shape: ``(C, H, W)``; by default 28x28 for one channel, 32x32 for three.
        classes: Outputs, for a reference.

    Raises:
        ArchpressError: Nothing is found under the name, or it cannot be read.
    """
    if name.endswith(".json"):
        if not Path(name).is_file():
            raise UnknownNetworkError(f"network file {name} does not exist")
        return [network_table(Architecture.load(Path(name)), Path(name).stem)]
    if name.endswith(".onnx"):
        from archpress.importing.onnx_graphs import capture_onnx

        return [network_table(capture_onnx(Path(name)).architecture, Path(name).stem)]
    if ":" not in name:
        return [network_table(reference(name, input_shape or (1, 28, 28), classes), name)]
    module = load_module(name)
    shape = input_shape or _usual_shape(module)
    covered = coverage(record(module, shape))
    if covered.refusals:
        return [_refusals(covered, name), Text(_said(covered))]
    captured = capture(module, shape)
    notes = [Text(f"note: {note}") for note in captured.notes]
    return [network_table(captured.architecture, name), Text(_said(covered)), *notes]


def _usual_shape(module: nn.Module) -> tuple[int, int, int]:
    for part in module.modules():
        if isinstance(part, nn.Conv2d) and part.in_channels in USUAL_SIDES:
            side = USUAL_SIDES[part.in_channels]
            return (part.in_channels, side, side)
    raise UnknownNetworkError("say what images the network takes with --input-shape C,H,W")


def _refusals(covered: Coverage, name: str) -> Table:
    table = Table(title=Text(f"{name}: what cannot be expressed"))
    table.add_column("where, and why")
    for refusal in covered.refusals:
        table.add_row(Text(refusal))
    return table


def _said(covered: Coverage) -> str:
    share = 100 * covered.searchable / max(covered.parameters, 1)
    counted = f"{covered.searchable:,} of {covered.parameters:,} parameters ({share:.1f} %)"
    unused = len(covered.unused)
    rest = f"; {unused} learned tensors are never used" if unused else ""
    if not covered.refusals:
        return f"coverage: the whole network can be searched, {counted}{rest}"
    if covered.trunk is None:
        return f"coverage: no part of the network can be searched{rest}"
    trunk = covered.trunk
    return (
        f"coverage: a trunk of {trunk.layers} layers can be searched, {counted}: from "
        f"{trunk.first} to {trunk.last}; it would have to be a network of its own{rest}"
    )
