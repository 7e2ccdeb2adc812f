"""What ``archpress inspect`` prints of a network: its layers, and what of it can be searched."""

from pathlib import Path

from rich.console import RenderableType
from rich.table import Table
from rich.text import Text

from archpress.architectures.architecture import Architecture
from archpress.embedding.tokens import why_inexpressible
from archpress.importing.capturing import capture
from archpress.importing.coverage import Coverage, coverage
from archpress.importing.factories import load_module, usual_shape
from archpress.importing.networks import assumes_shape, read_network
from archpress.importing.recording import record
from archpress.reporting.tables import network_table


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
    if ":" not in name:
        network = read_network(name, input_shape, classes).architecture
        assumed = _assumed(network) if input_shape is None and assumes_shape(name) else []
        notes = [Text(f"note: {note}") for note in (*assumed, *_limits(network))]
        return [network_table(network, Path(name).stem), *notes]
    module = load_module(name)
    shape = input_shape or usual_shape(module)
    covered = coverage(record(module, shape))
    if covered.refusals:
        return [_refusals(covered, name), Text(_said(covered))]
    captured = capture(module, shape)
    network = captured.architecture
    assumed = _assumed(network) if input_shape is None else []
    notes = [Text(f"note: {note}") for note in (*assumed, *captured.notes, *_limits(network))]
    return [network_table(network, name), Text(_said(covered)), *notes]


def _assumed(architecture: Architecture) -> list[str]:
    """Say which images were assumed, where nobody named any."""
    shape = ",".join(map(str, architecture.input_shape))
    return [f"counted for images of {shape}; --input-shape C,H,W says otherwise"]


def _limits(architecture: Architecture) -> list[str]:
    """Say where ``compress`` cannot start its search from the network itself."""
    reason = why_inexpressible(architecture)
    return [f"compress searches from labelled networks alone: {reason}"] if reason else []


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
