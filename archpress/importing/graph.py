"""The way from a network's input to its output, and the skips beside it."""

from collections.abc import Iterator
from dataclasses import dataclass, replace

from archpress.architectures.layers import (
    BatchNorm,
    Convolution,
    GlobalAveragePool,
    MaxPool,
    Sigmoid,
    SiLU,
)
from archpress.errors import UnsupportedNetworkError
from archpress.importing.gates import GATE_STEPS, squeeze_excite
from archpress.importing.reading import CHAIN
from archpress.importing.steps import (
    INPUT,
    Adding,
    Gating,
    LayerStep,
    MeanOverSide,
    Multiplying,
    Passing,
    Probabilities,
    Refused,
    Step,
    Steps,
    refuse,
)

CARRIER = LayerStep(MaxPool(1, 1))
"""Does nothing; there where two additions follow each other, for a layer has one skip."""


@dataclass(frozen=True)
class Shortcut:
    """What is added to a layer's output: an earlier value, through these layers."""

    source: int
    layers: tuple[LayerStep, ...] = ()
    step: Step | None = None


@dataclass(frozen=True)
class Node:
    """One layer of the way through the network.

    Attributes:
        step: The recorded step.
        meaning: Its layer and weights.
        value: Number of the value that it gives, the addition done.
        shortcut: What is added, if anything is.
    """

    step: Step
    meaning: LayerStep
    value: int
    shortcut: Shortcut | None = None


class Graph:
    """The steps by the values they make."""

    def __init__(self, steps: Steps) -> None:
        self.steps = steps
        self.maker = {value: step for step in steps.steps for value in step.outputs}
        self.ancestors: dict[int, frozenset[int]] = {INPUT: frozenset({INPUT})}
        for step in steps.steps:
            earlier = frozenset().union(*(self.ancestors[value] for value in step.inputs))
            for value in step.outputs:
                self.ancestors[value] = earlier | {value}

    def output(self) -> tuple[int, Step | None]:
        """Return the number of the logits, and the softmax after them if there is one."""
        value = self.steps.output
        if value is None:
            raise UnsupportedNetworkError(
                f"the network returns {self.steps.returned}, expected one tensor [N, K] that comes "
                f"from its input"
            )
        step = self.maker.get(value)
        if step is not None and isinstance(step.meaning, Probabilities):
            return step.inputs[0], step
        return value, None

    def notes(self, output: int) -> Iterator[str]:
        """Say what of the network does not come along."""
        on_the_way = [s for s in self.steps.steps if s.outputs[0] in self.ancestors[output]]
        used = {name for step in on_the_way for name in step.parameters}
        if len(on_the_way[-1].shape if on_the_way else ()) == 3:
            yield f"{on_the_way[-1].where} gives [N, K, 1, 1], archpress [N, K]"
        unused = [name for name in self.steps.tensors if name not in used]
        if unused:
            yield f"not used by the output, left out: {', '.join(unused)}"
        for step in on_the_way:
            if "dropout" in step.function and step.function != "dropout":
                yield f"{step.where} has become Dropout of single values"

    def same(self, value: int) -> int:
        """Return the earliest value that is this one."""
        while value != INPUT and isinstance(self.maker[value].meaning, Passing):
            value = self.maker[value].inputs[0]
        return value

    def way_to(self, value: int) -> list[Node]:
        """Return the layers on the way from the input to a value, in order."""
        nodes: list[Node] = []
        pending: Shortcut | None = None
        value = self.same(value)
        goal = value
        while value != INPUT:
            step = self.maker[value]
            step, meaning, before = self._layer_of(step)
            if isinstance(meaning, Adding):
                if pending is not None:
                    nodes.append(Node(step, CARRIER, goal, pending))
                    goal = value
                before, pending = self._parted(step)
            elif isinstance(meaning, LayerStep):
                nodes.append(Node(step, meaning, goal, pending))
                pending = None
            elif isinstance(meaning, Refused):
                raise self._first_refusal(goal) or refuse(step, meaning.reason)
            else:
                raise self._first_refusal(goal) or self._refusal(step)
            value = self.same(before)
            goal = value if pending is None else goal
        if pending is not None:
            nodes.append(Node(step, CARRIER, goal, pending))
        return nodes[::-1]

    def _layer_of(self, step: Step) -> tuple[Step, object, int]:
        """Return a step, its meaning and the value it acts on; several steps may be one layer."""
        meaning, before = step.meaning, step.inputs[0]
        if isinstance(meaning, MeanOverSide):
            first = self.maker.get(self.same(before))
            if first is not None and isinstance(first.meaning, MeanOverSide):
                return step, LayerStep(GlobalAveragePool()), first.inputs[0]
        if isinstance(meaning, Multiplying):
            for gate, value in (step.inputs, step.inputs[::-1]):
                maker = self.maker.get(self.same(gate))
                sigmoid = maker is not None and maker.meaning == LayerStep(Sigmoid())
                if maker and sigmoid and self.same(maker.inputs[0]) == self.same(value):
                    return step, LayerStep(SiLU()), value
                steps = self._gate_over(value, gate)
                if steps:
                    names = tuple(name for each in steps for name in each.parameters)
                    return replace(step, parameters=names), squeeze_excite(steps), value
        return step, meaning, before

    def _gate_over(self, value: int, gate: int) -> list[Step]:
        """Return the five steps from a value to its squeeze-and-excite gate; none if it is none."""
        steps: list[Step] = []
        for fits in GATE_STEPS:
            step = self.maker.get(self.same(gate))
            if step is None or not fits(step.meaning):
                return []
            steps.append(step)
            gate = step.inputs[0]
        return steps[::-1] if self.same(gate) == self.same(value) else []

    def _refusal(self, step: Step) -> UnsupportedNetworkError:
        if isinstance(step.meaning, Probabilities):
            return refuse(step, "softmax inside the network; it may only come last")
        if isinstance(step.meaning, Multiplying):
            return refuse(step, f"a product of two values (a gate); {CHAIN}")
        if isinstance(step.meaning, Gating):
            return refuse(step, f"{step.meaning.name} outside squeeze-and-excite")
        return refuse(step, "the mean over one side alone; over both sides it is a pool")

    def _parted(self, step: Step) -> tuple[int, Shortcut]:
        """Return which of two added values the network goes on from, and the shortcut."""
        first, second = step.inputs
        for main, other in ((first, second), (second, first)):
            source = self.same(other)
            if source != self.same(main) and source in self.ancestors[main]:
                return main, Shortcut(source)
        for main, other in ((first, second), (second, first)):
            projected = self._projection(other)
            if projected is not None and projected.source in self.ancestors[main]:
                return main, projected
        raise self._first_refusal(step.outputs[0]) or refuse(
            step,
            "adds two branches, neither of which is an earlier value or a 1x1 convolution of one",
        )

    def _first_refusal(self, value: int) -> UnsupportedNetworkError | None:
        """Return the error for the first step on the way to ``value`` that is refused, if any is.

        The functions of further ones are named.
        """
        refused = [
            (step, step.meaning.reason)
            for step in self.steps.steps
            if isinstance(step.meaning, Refused) and step.outputs[0] in self.ancestors[value]
        ]
        if not refused:
            return None
        others = ", ".join(dict.fromkeys(step.where for step, _ in refused[1:4]))
        (step, reason), rest = refused[0], f"; further: {others}" if others else ""
        return refuse(step, reason + rest)

    def _projection(self, value: int) -> Shortcut | None:
        """Return the earlier value that ``value`` is a 1x1 convolution of, BatchNorm after it."""
        layers: list[LayerStep] = []
        value = self.same(value)
        for kind in (BatchNorm, Convolution):
            step = self.maker.get(value)
            if step is None or not isinstance(step.meaning, LayerStep):
                return None
            if isinstance(step.meaning.layer, kind):
                layers.append(step.meaning)
                value = self.same(step.inputs[0])
        if not layers or not isinstance(layers[-1].layer, Convolution):
            return None
        convolution = layers[-1].layer
        if convolution.kernel != 1 or convolution.padding or not step:
            return None
        return Shortcut(value, tuple(layers[::-1]), step)
