"""What every layer kind states: shape, cost, modules and vector, side by side.

A shape is ``(C, H, W)`` while there are sides and ``(features,)`` after them. A vector is the
paper's ``[t, k, o, s, p]`` (section 4.1) with the skip connection as sixth field; fields that a
kind lacks are 0, and ``o`` of a kind that keeps its channels is its input channels. What the vector
has no field for (a bias, a rate) is an attribute: a keyword with a default.
"""

import math
from abc import ABC, abstractmethod
from dataclasses import MISSING, asdict, dataclass, field, fields
from typing import Any, ClassVar, Self

from torch import nn

from archpress.errors import InvalidArchitectureError

Shape = tuple[int, ...]
Row = tuple[int, int, int, int, int, int]


@dataclass(frozen=True, slots=True)
class Call:
    """The making of one module, once for source code and module alike.

    Attributes:
        name: What source code calls the class.
        arguments: Positional arguments.
        options: Keyword arguments.
        own_class: The class, where it is not the one of that name in ``torch.nn``; source code
            then holds its definition under that name.
    """

    name: str
    arguments: tuple[Any, ...] = ()
    options: dict[str, Any] = field(default_factory=dict)
    own_class: type[nn.Module] | None = None

    @property
    def source(self) -> str:
        """The Python expression, ``nn`` being ``torch.nn``."""
        written = [repr(value) for value in self.arguments]
        written += [f"{name}={_literal(value)}" for name, value in self.options.items()]
        prefix = "" if self.own_class else "nn."
        return f"{prefix}{self.name}({', '.join(written)})"

    def module(self) -> nn.Module:
        """Return the module, freshly initialised."""
        kind = self.own_class or getattr(nn, self.name)
        made: nn.Module = kind(*self.arguments, **self.options)
        return made


def _literal(value: Any) -> str:
    return f'"{value}"' if isinstance(value, str) else repr(value)


def without_defaults(options: dict[str, Any], **defaults: Any) -> dict[str, Any]:
    """Return the options that differ from PyTorch's defaults, so that source stays short."""
    return {name: value for name, value in options.items() if value != defaults[name]}


def require_finite(owner: Any, kind: str, name: str, above: float = -math.inf) -> None:
    """Keep a field as a float, and refuse what is no number above ``above``.

    Raises:
        InvalidArchitectureError: Names the field.
    """
    try:
        value = float(getattr(owner, name))
    except OverflowError:
        value = math.inf
    if not above < value < math.inf:
        raise InvalidArchitectureError(f"{kind} has {name} {value}, expected a number > {above}")
    object.__setattr__(owner, name, value)  # 0 and 0.0 are one network, with one digest


@dataclass(frozen=True, slots=True)
class Projection:
    """How a skip connection is fitted where shapes differ: a 1x1 convolution, then BatchNorm.

    Attributes:
        bias: Whether the convolution has a bias.
        batch_norm: Whether BatchNorm follows.
        eps: That BatchNorm's epsilon.
        momentum: That BatchNorm's momentum.
    """

    bias: bool = False
    batch_norm: bool = True
    eps: float = 1e-5
    momentum: float = 0.1

    def __post_init__(self) -> None:
        require_finite(self, "projection", "eps", above=0)
        require_finite(self, "projection", "momentum", above=0)


@dataclass(frozen=True, slots=True)
class Layer(ABC):
    """One layer without weights.

    Attributes:
        skip: How many positions earlier the layer stands whose output is added to this one's; 0
            adds nothing, and one more than the layers before it adds the network's input.
        projection: How that output is fitted where its shape differs from this one's.
    """

    code: ClassVar[int]
    kind: ClassVar[str]
    spatial: ClassVar[bool] = False
    """Whether the layer needs a ``(C, H, W)`` input."""

    skip: int = field(default=0, kw_only=True)
    projection: Projection = field(default=Projection(), kw_only=True, repr=False)

    def __post_init__(self) -> None:
        if self.skip < 0:
            raise InvalidArchitectureError(f"{self.kind} has skip {self.skip}, expected at least 0")

    def output_shape(self, shape: Shape) -> Shape:
        """Return the output shape for an input of ``shape``.

        Raises:
            InvalidArchitectureError: The layer cannot follow an output of this shape.
        """
        if self.spatial and len(shape) != 3:
            raise InvalidArchitectureError("it needs channels and two sides, not flat features")
        return self._output_shape(shape)

    def _output_shape(self, shape: Shape) -> Shape:
        return shape

    def parameters(self, shape: Shape) -> int:
        """Return the number of learned values for an input of ``shape``."""
        return 0

    def macs(self, shape: Shape) -> int:
        """Return multiply-accumulates of one image, bias not counted (decision R9)."""
        return 0

    @property
    def window(self) -> tuple[int, int]:
        """The kernel and stride with which the layer looks at its input."""
        return (1, 1)

    @abstractmethod
    def call(self, shape: Shape) -> Call:
        """Return the making of the layer's module for an input of ``shape``."""

    def calls(self, shape: Shape) -> tuple[Call, ...]:
        """Return all modules that the layer takes, flattening included; weights are in the last."""
        return (self.call(shape),)

    def source(self, shape: Shape) -> str:
        """Return the Python expression that makes the module, ``nn`` being ``torch.nn``."""
        return self.call(shape).source

    def module(self, shape: Shape) -> nn.Module:
        """Return a freshly initialised module for an input of ``shape``."""
        return self.call(shape).module()

    def row(self, shape: Shape) -> Row:
        """Return ``(t, k, o, s, p, skip)`` for an input of ``shape``."""
        return (self.code, 0, shape[0], 0, 0, self.skip)

    @classmethod
    def from_row(cls, row: Row) -> Self:
        """Return the layer of a vector of this kind; what the kind lacks is not read."""
        return cls(skip=row[5])

    def to_json(self) -> dict[str, Any]:
        """Return ``{"kind": ..., field: ...}``, attributes at their default left out."""
        written: dict[str, Any] = {"kind": self.kind}
        for each in fields(self):
            value = getattr(self, each.name)
            if not each.kw_only or value != each.default:
                written[each.name] = _json_of(value)
        return written

    @classmethod
    def from_json(cls, values: dict[str, Any]) -> Self:
        """Return the layer of the fields of a :meth:`to_json` record.

        Raises:
            InvalidArchitectureError: Fields that the kind does not have or allow.
        """
        return cls(**_read_fields(cls, cls.kind, values))


def _json_of(value: Any) -> Any:
    if not isinstance(value, Projection):
        return value
    usual = asdict(Projection())
    return {name: part for name, part in asdict(value).items() if part != usual[name]}


def _read_fields(owner: Any, name: str, values: dict[str, Any]) -> dict[str, Any]:
    """Return ``values``, checked against the names and types of the owner's fields."""
    types = {each.name: each.type for each in fields(owner)}
    required = {each.name for each in fields(owner) if each.default is MISSING}
    if not required <= set(values) <= set(types):
        raise InvalidArchitectureError(f"{name} does not have these fields: {values}")
    checked = dict(values)
    for key, value in values.items():
        if types[key] is Projection and isinstance(value, dict):
            checked[key] = Projection(**_read_fields(Projection, "projection", value))
        elif type(value) is not types[key] and not (types[key] is float and type(value) is int):
            wanted = _TYPE_NAMES.get(types[key], "an object")
            raise InvalidArchitectureError(f"{name} has {key} {value!r}, expected {wanted}")
    return checked


_TYPE_NAMES: dict[Any, str] = {
    int: "a whole number", float: "a number", bool: "true or false", str: "a text",
}  # fmt: skip


def require_positive(layer: Layer, **values: int) -> None:
    """Refuse fields below 1.

    Raises:
        InvalidArchitectureError: Names the field.
    """
    for name, value in values.items():
        if value < 1:
            raise InvalidArchitectureError(f"{layer.kind} has {name} {value}, expected at least 1")
