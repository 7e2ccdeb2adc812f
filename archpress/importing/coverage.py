"""Which part of a network archpress can search, where it cannot search all of it."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace

from archpress.errors import UnsupportedNetworkError
from archpress.importing.assembly import assemble, way_through
from archpress.importing.steps import INPUT, LayerStep, Refused, Step, Steps


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
    every = _count(steps, steps.tensors)
    refusals = tuple(
        f"{step.where}: {step.meaning.reason}"
        for step in steps.steps
        if isinstance(step.meaning, Refused)
    )
    try:
        assemble(steps)
    except UnsupportedNetworkError as error:
        trunk = max(_trunks(steps), key=lambda trunk: trunk.parameters, default=None)
        searchable = trunk.parameters if trunk else 0
        return Coverage(every, searchable, unused, refusals or (str(error),), trunk)
    return Coverage(every, every - _count(steps, unused), unused, (), None)


def _count(steps: Steps, names: Iterable[str]) -> int:
    return sum(steps.tensors[name].numel() for name in names if name in steps.tensors)


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
            layers = _chain(steps, run)
            if layers:
                names = {name for step in layers for name in step.parameters}
                where = [step.where for step in layers]
                found.append(Trunk(where[0], where[-1], len(layers), _count(steps, names)))
                break
            run = run[:-1]
    return found


def _chain(steps: Steps, run: Sequence[Step]) -> list[Step]:
    """Return the steps of a run that are one way from its first value to its last; may be none."""
    start = run[0].inputs[0]
    numbers = {start: INPUT} | {value: value for step in run for value in step.outputs}
    if any(value not in numbers for step in run for value in step.inputs):
        return []
    renumbered = tuple(
        replace(step, inputs=tuple(numbers[value] for value in step.inputs)) for step in run
    )
    part = replace(steps, steps=renumbered, output=run[-1].outputs[0])
    try:
        way = way_through(part)
    except UnsupportedNetworkError:
        return []
    return [step for step in way if isinstance(step.meaning, LayerStep)]
