"""A network as a list that can be changed: skips follow the layers they come from."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace

from torch import Tensor

from archpress.architectures.architecture import Architecture
from archpress.architectures.layers import BatchNorm, Layer, Shape
from archpress.architectures.segments import layer_prefixes, shortcut_prefixes
from archpress.errors import InvalidArchitectureError

Tensors = dict[str, Tensor]


@dataclass(eq=False)
class Item:
    """One layer of a draft.

    Attributes:
        layer: The layer; its own ``skip`` is not read.
        source: The item whose output is added, the draft's ``input`` for the images; or None.
        tensors: The weights, if the draft has any.
        fitting: The weights of the layers that fit what is added.
    """

    layer: Layer
    source: "Item | None" = None
    tensors: Tensors = field(default_factory=dict)
    fitting: list[Tensors] = field(default_factory=list)


class Draft:
    """A network being edited.

    Attributes:
        input_shape: ``(C, H, W)``.
        input: Stands for the images where a skip brings them.
        items: The layers in order.
    """

    def __init__(self, architecture: Architecture, weights: Mapping[str, Tensor] | None = None):
        self.input_shape = architecture.input_shape
        self.items = [Item(layer) for layer in architecture.layers]
        self.input = Item(architecture.layers[0])
        for index, item in enumerate(self.items):
            if item.layer.skip:
                place = index - item.layer.skip
                item.source = self.items[place] if place >= 0 else self.input
        if weights is not None:
            self._take(architecture, weights)

    def _take(self, architecture: Architecture, weights: Mapping[str, Tensor]) -> None:
        taken = 0
        for index, prefix in enumerate(layer_prefixes(architecture)):
            item = self.items[index]
            item.tensors = _with_prefix(weights, prefix)
            taken += len(item.tensors)
            _check(f"layer {index}", item.layer, architecture.shapes[index], item.tensors)
        for index, prefixes in shortcut_prefixes(architecture).items():
            self.items[index].fitting = [_with_prefix(weights, prefix) for prefix in prefixes]
            taken += sum(map(len, self.items[index].fitting))
            shape = architecture.shapes[index + 1 - architecture.layers[index].skip]
            pairs = zip(architecture.shortcuts[index], self.items[index].fitting, strict=True)
            for layer, tensors in pairs:
                _check(f"the shortcut of layer {index}", layer, shape, tensors)
                shape = layer.output_shape(shape)
        if taken < len(weights):
            raise _unfit(f"{len(weights) - taken} names are not the network's")

    def is_source(self, item: Item) -> bool:
        """Return whether the item's output is added somewhere later."""
        return any(other.source is item for other in self.items)

    def remove(self, item: Item) -> None:
        """Take a layer out, with what is added to it; its output becomes the one before it."""
        place = self.items.index(item)
        before = self.items[place - 1] if place else self.input
        del self.items[place]
        self._redirect(item, before)

    def replace(self, item: Item, new: Iterable[Layer]) -> None:
        """Put layers in the place of one; what was added to it is added to the last of them."""
        place, made = self.items.index(item), [Item(layer) for layer in new]
        made[-1].source = item.source
        self.items[place : place + 1] = made
        self._redirect(item, made[-1])

    def _redirect(self, old: Item, new: Item) -> None:
        for item in self.items:
            if item.source is old:
                item.source = new

    def architecture(self) -> Architecture:
        """Return the network as it is now.

        Raises:
            InvalidArchitectureError: It is none.
        """
        places = {id(item): place for place, item in enumerate(self.items)}
        places[id(self.input)] = -1
        layers = []
        for place, item in enumerate(self.items):
            skip = 0 if item.source is None else place - places[id(item.source)]
            layer = item.layer
            layers.append(layer if layer.skip == skip else replace(layer, skip=skip))
        return Architecture(self.input_shape, tuple(layers))

    def weights(self) -> Tensors:
        """Return the state dict of the network as it is now."""
        architecture = self.architecture()
        shortcuts = shortcut_prefixes(architecture)
        state: Tensors = {}
        for index, prefix in enumerate(layer_prefixes(architecture)):
            item = self.items[index]
            named = [(prefix, item.tensors)]
            named += zip(shortcuts.get(index, ()), item.fitting, strict=False)
            for start, tensors in named:
                state |= {start + name: tensor for name, tensor in tensors.items()}
        return state


def _check(where: str, layer: Layer, shape: Shape, tensors: Tensors) -> None:
    """Refuse tensors that cannot be a layer's: too few, of other sizes, or without statistics."""
    learned = sum(tensor.numel() for name, tensor in tensors.items() if _is_learned(name))
    incomplete = isinstance(layer, BatchNorm) and not set(tensors) >= _STATISTICS
    if learned != layer.parameters(shape) or incomplete:
        raise _unfit(f"those of {where} ({layer.kind}) are missing or of another size")


_STATISTICS = {"running_mean", "running_var"}


def _is_learned(name: str) -> bool:
    return not name.startswith(("running_", "num_batches"))


def _unfit(reason: str) -> InvalidArchitectureError:
    return InvalidArchitectureError(
        f"the weights are no state dict of build(architecture): {reason}"
    )


def _with_prefix(weights: Mapping[str, Tensor], prefix: str) -> Tensors:
    return {
        name.removeprefix(prefix): tensor
        for name, tensor in weights.items()
        if name.startswith(prefix)
    }
