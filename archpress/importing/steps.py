"""What a network does to its input, one step after the other, before it is an architecture."""

from collections.abc import Mapping
from dataclasses import dataclass, field

from torch import Tensor

from archpress.architectures.layers import Layer, Shape
from archpress.errors import UnsupportedNetworkError

INPUT = 0
"""The number of the value that is the network's input."""


@dataclass(frozen=True)
class LayerStep:
    """A layer with its weights, named as in a PyTorch module's state dict."""

    layer: Layer
    tensors: Mapping[str, Tensor] = field(default_factory=dict)


@dataclass(frozen=True)
class Passing:
    """The value itself, or its features in the same order."""


@dataclass(frozen=True)
class Adding:
    """The sum of two values."""


@dataclass(frozen=True)
class Multiplying:
    """The product of two values: the end of a SiLU or of squeeze-and-excite."""


@dataclass(frozen=True)
class Gating:
    """An activation that exists only as the gate of squeeze-and-excite, by PyTorch's name."""

    name: str


@dataclass(frozen=True)
class MeanOverSide:
    """The mean over the last side that is left; two in a row are a global average pool."""


@dataclass(frozen=True)
class Probabilities:
    """Softmax or its logarithm over the classes; may only come last."""


@dataclass(frozen=True)
class Refused:
    """What no layer kind expresses, and what would be needed."""

    reason: str


Meaning = (
    LayerStep | Passing | Adding | Multiplying | Gating | MeanOverSide | Probabilities | Refused
)


@dataclass(frozen=True)
class Step:
    """One call or node.

    Attributes:
        name: Dotted path of the module that made the call, or name of the node; may be empty.
        function: What was called.
        line: ``file.py:12`` where known.
        inputs: Numbers of the values that it reads, of those that come from the input.
        outputs: Numbers of the values that it makes.
        shape: Shape of the first output without the batch.
        meaning: What it is to archpress.
        parameters: Names of the learned tensors that it reads.
    """

    name: str
    function: str
    line: str | None
    inputs: tuple[int, ...]
    outputs: tuple[int, ...]
    shape: Shape
    meaning: Meaning
    parameters: tuple[str, ...] = ()

    @property
    def where(self) -> str:
        """The step as an error names it."""
        place = f", {self.line}" if self.line else ""
        return f"{self.name} ({self.function}{place})" if self.name else f"{self.function}{place}"


@dataclass(frozen=True)
class Steps:
    """All steps of a network in order.

    Attributes:
        input_shape: ``(C, H, W)``.
        steps: The steps.
        output: Number of the value that the network returns; None where it returns anything else.
        returned: What it returns, in words.
        tensors: The learned tensors by name, used or not.
        read: The names of those that anything reads, be it to compute another weight.
    """

    input_shape: tuple[int, int, int]
    steps: tuple[Step, ...]
    output: int | None
    returned: str
    tensors: Mapping[str, Tensor]
    read: frozenset[str]


def refuse(step: Step, reason: str) -> UnsupportedNetworkError:
    """Return the error that names a step."""
    return UnsupportedNetworkError(f"{step.where}: {reason}")
