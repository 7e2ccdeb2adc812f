"""Which part of a network archpress can search, where it cannot search all of it."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace

from archpress.errors import UnsupportedNetworkError
from archpress.importing.assembly import assemble, way_through
from archpress.importing.graph import Node
from archpress.importing.steps import INPUT, Refused, Step, Steps


@dataclass(frozen=True)
class Trunk:
    """Steps in a row that are a chain of layers with residual additions.

    Attributes:
        first: Where it begins.
        last: Where it ends.
        layers: How many layers it has.
        parameters: Learned values in it.
    """

    first: str
    last: str
    layers: int
    parameters: int


@dataclass(frozen=True)
class Coverage:
    """What of a network can be searched.

    Attributes:
        parameters: Learned values of the network.
        searchable: Learned values in parts that can be searched: all that are used where the whole
            network can be captured, else those of the trunk.
        unused: Names of learned tensors that the forward pass does not read.
        refusals: Every step that cannot be expressed, and why.
        trunk: The largest supported part; None where the whole network is supported, or nothing.
    """

    parameters: int
    searchable: int
    unused: tuple[str, ...]
    refusals: tuple[str, ...]
    trunk: Trunk | None


def coverage(steps: Steps) -> Coverage:
    """Return what of a recorded network can be searched."""
    unused = tuple(name for name in steps.tensors if name not in steps.read)
    every = sum(tensor.numel() for tensor in steps.tensors.values())
    try:
        captured = assemble(steps)
    except UnsupportedNetworkError as error:
        trunk = max(_trunks(steps), key=lambda trunk: trunk.parameters, default=None)
        searchable = trunk.parameters if trunk else 0
        return Coverage(every, searchable, unused, tuple(_refusals(steps, str(error))), trunk)
    return Coverage(every, captured.architecture.cost.parameters, unused, (), None)


def _refusals(steps: Steps, error: str) -> Iterator[str]:
    """Yield what ends the capture, then every other step that would."""
    refused = {
        step.where: f"{step.where}: {step.meaning.reason}"
        for step in steps.steps
        if isinstance(step.meaning, Refused)
    }
    first = next((where for where in refused if error.startswith(f"{where}: ")), None)
    yield refused.pop(first) if first is not None else error
    yield from refused.values()


def _trunks(steps: Steps) -> list[Trunk]:
    """Return the runs of supported steps that are chains."""
    runs: list[list[Step]] = [[]]
    for step in steps.steps:
        if isinstance(step.meaning, Refused):
            runs.append([])
        else:
            runs[-1].append(step)
    found = []
    for run in runs:
        while run:
            nodes = _chain(steps, run)
            if nodes:
                places = nodes[0].step.where, nodes[-1].step.where
                found.append(Trunk(*places, len(nodes), sum(map(_parameters, nodes))))
                break
            run = run[:-1]
    return found


def _parameters(node: Node) -> int:
    """Return the learned values of a layer and its shortcut."""
    fitting = node.shortcut.layers if node.shortcut else ()
    return sum(
        tensor.numel()
        for part in (node.meaning, *fitting)
        for name, tensor in part.tensors.items()
        if not name.startswith("running_")
    )


def _chain(steps: Steps, run: Sequence[Step]) -> list[Node]:
    """Return the layers of a run that are one way from its first value to its last; may be none."""
    start = run[0].inputs[0]
    numbers = {start: INPUT} | {value: value for step in run for value in step.outputs}
    if any(value not in numbers for step in run for value in step.inputs):
        return []
    renumbered = tuple(
        replace(step, inputs=tuple(numbers[value] for value in step.inputs)) for step in run
    )
    try:
        return way_through(replace(steps, steps=renumbered, output=run[-1].outputs[0]))
    except UnsupportedNetworkError:
        return []
