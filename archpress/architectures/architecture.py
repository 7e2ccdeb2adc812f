"""Architecture: an input shape and a sequence of layers that ends in the classifier."""

import hashlib
import json
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any, TypeVar

from archpress.architectures.cost import Cost, count_parameters, fold_cost
from archpress.architectures.layers import (
    GlobalAveragePool,
    Layer,
    Linear,
    Row,
    Shape,
    layer_from_json,
    layer_from_row,
    shortcut_layers,
)
from archpress.errors import InvalidArchitectureError

FORMAT = "archpress.architecture"
FORMAT_VERSION = 1

Written = TypeVar("Written")


@dataclass(frozen=True)
class Architecture:
    """A convolutional classifier without weights, valid by construction.

    Attributes:
        input_shape: ``(C, H, W)`` of one image.
        layers: The layers in topological order (paper, section 3.1), skips among them; the last one
            is Linear or a global average pool, whose outputs are the logits.

    Raises:
        InvalidArchitectureError: On construction; names the layer, its input shape and the reason.
    """

    input_shape: tuple[int, int, int]
    layers: tuple[Layer, ...]

    def __post_init__(self) -> None:
        object.__setattr__(self, "input_shape", tuple(self.input_shape))
        object.__setattr__(self, "layers", tuple(self.layers))
        if len(self.input_shape) != 3 or min(self.input_shape) < 1:
            raise InvalidArchitectureError(
                f"input shape {self.input_shape} is not (channels, height, width), each at least 1"
            )
        if not self.layers or not isinstance(self.layers[-1], Linear | GlobalAveragePool):
            last = self.layers[-1].kind if self.layers else "nothing"
            raise InvalidArchitectureError(
                f"the last layer must be linear or a global average pool, not {last}"
            )
        _ = self.shapes

    @cached_property
    def shapes(self) -> tuple[Shape, ...]:
        """The input shape of every layer, then the output shape of the last: ``T + 1`` shapes."""
        shapes: list[Shape] = [self.input_shape]
        for index, layer in enumerate(self.layers):
            try:
                output = layer.output_shape(shapes[-1])
                if layer.skip:
                    shortcut_layers(layer, _skipped_from(shapes, index, layer.skip), output)
                shapes.append(output)
            except InvalidArchitectureError as error:
                raise InvalidArchitectureError(
                    f"layer {index} ({layer.kind}) on input {shapes[-1]}: {error}"
                ) from None
        return tuple(shapes)

    @cached_property
    def shortcuts(self) -> dict[int, tuple[Layer, ...]]:
        """For every layer with a skip, by index, the layers that fit what is added to it."""
        return {
            index: shortcut_layers(
                layer, self.shapes[index + 1 - layer.skip], self.shapes[index + 1]
            )
            for index, layer in enumerate(self.layers)
            if layer.skip
        }

    @cached_property
    def cost(self) -> Cost:
        """Parameters, MACs, peak activation memory and receptive field."""
        return fold_cost(self.layers, self.shapes, self.shortcuts)

    @cached_property
    def parameters(self) -> int:
        """``cost.parameters``, for searches that count nothing else of most networks they make."""
        return count_parameters(self.layers, self.shapes, self.shortcuts)

    @property
    def classes(self) -> int:
        """The number of outputs of the last layer."""
        return self.shapes[-1][0]

    @cached_property
    def digest(self) -> str:
        """16 hex digits that tell this architecture from every other."""
        text = json.dumps(self.to_json(), sort_keys=True, separators=(",", ":"))
        return hashlib.sha256(text.encode()).hexdigest()[:16]

    def rows(self) -> list[Row]:
        """Return the ``(t, k, o, s, p, skip)`` vectors of the layers (section 4.1), ``T`` rows."""
        return [layer.row(shape) for layer, shape in zip(self.layers, self.shapes, strict=False)]

    @classmethod
    def from_rows(
        cls, rows: Iterable[Sequence[int]], input_shape: tuple[int, int, int]
    ) -> "Architecture":
        """Return the architecture of ``T`` vectors of five or six integers; inverse of `rows`.

        Args:
            rows: A vector per layer (paper, section 3.1), the skip sixth or left out.
            input_shape: ``(C, H, W)``.

        Raises:
            InvalidArchitectureError: The vectors describe no valid network.
        """
        six = ((t, k, o, s, p, skip[0] if skip else 0) for t, k, o, s, p, *skip in rows)
        return cls(input_shape, _read_layers(layer_from_row, six))

    def to_json(self) -> dict[str, Any]:
        """Return the architecture as JSON values, with the format version."""
        return {
            "format": FORMAT,
            "version": FORMAT_VERSION,
            "input_shape": list(self.input_shape),
            "layers": [layer.to_json() for layer in self.layers],
        }

    @classmethod
    def from_json(cls, record: Any) -> "Architecture":
        """Return the architecture of a :meth:`to_json` record.

        Raises:
            InvalidArchitectureError: Another format, a newer version, or an invalid network.
        """
        if not isinstance(record, dict) or record.get("format") != FORMAT:
            raise InvalidArchitectureError(f'expected a JSON object with "format": "{FORMAT}"')
        if record.get("version") != FORMAT_VERSION:
            raise InvalidArchitectureError(
                f"format version {record.get('version')} is not known, expected {FORMAT_VERSION}"
            )
        try:
            channels, height, width = record["input_shape"]
            layers = _read_layers(layer_from_json, record["layers"])
        except (KeyError, TypeError, ValueError) as error:
            raise InvalidArchitectureError(
                f"the JSON of an architecture is incomplete or of wrong types: {error!r}"
            ) from error
        if any(type(side) is not int for side in (channels, height, width)):
            raise InvalidArchitectureError(
                f"input_shape is {record['input_shape']!r}, expected three whole numbers"
            )
        return cls((channels, height, width), layers)

    @classmethod
    def load(cls, path: Path) -> "Architecture":
        """Return the architecture in an ``architecture.json`` at ``path``.

        Raises:
            InvalidArchitectureError: The file is unreadable or not an architecture.
        """
        try:
            return cls.from_json(json.loads(Path(path).read_text(encoding="utf-8")))
        except (OSError, UnicodeDecodeError, json.JSONDecodeError) as error:
            raise InvalidArchitectureError(f"{path} is not readable JSON: {error}") from error
        except InvalidArchitectureError as error:
            raise InvalidArchitectureError(f"{path}: {error}") from error

    def __str__(self) -> str:
        """Return one line per layer: index, source, output shape and what a skip adds."""
        lines = []
        for index, layer in enumerate(self.layers):
            source = layer.source(self.shapes[index])
            source_of_skip = "input" if layer.skip > index else f"output of {index - layer.skip}"
            added = f"  + {source_of_skip}" if layer.skip else ""
            lines.append(f"{index:3d}  {source:<52} -> {self.shapes[index + 1]}{added}")
        return "\n".join(lines)

    def summary(self) -> str:
        """Return a table of layers, shapes and costs, with the totals under it."""
        from archpress.architectures.summary import summary

        return summary(self)

    def _repr_svg_(self) -> str:
        from archpress.architectures.diagrams import diagram

        return diagram(self)

    def _repr_html_(self) -> str:
        from archpress.architectures.diagrams import html

        return html(self)


def _skipped_from(shapes: Sequence[Shape], index: int, skip: int) -> Shape:
    if skip > index + 1:
        raise InvalidArchitectureError(f"its skip of {skip} reaches before the network's input")
    return shapes[index + 1 - skip]


def _read_layers(read: Callable[[Written], Layer], records: Iterable[Written]) -> tuple[Layer, ...]:
    layers: list[Layer] = []
    for record in records:
        try:
            layers.append(read(record))
        except InvalidArchitectureError as error:
            raise InvalidArchitectureError(f"layer {len(layers)}: {error}") from error
    return tuple(layers)
