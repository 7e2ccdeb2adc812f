"""Steps -> architecture and weights: the longest way through the network, and skips beside it."""

import math
from collections.abc import Mapping
from dataclasses import dataclass, field, replace

import torch
from torch import Tensor

from archpress.architectures.architecture import Architecture
from archpress.architectures.building import Network, build
from archpress.architectures.layers import (
    BatchNorm,
    Convolution,
    Dropout,
    GlobalAveragePool,
    Layer,
    Linear,
    Pool,
    Projection,
    Shape,
    shortcut_layers,
)
from archpress.architectures.segments import layer_prefixes, shortcut_prefixes
from archpress.errors import InvalidArchitectureError, UnsupportedNetworkError
from archpress.importing.graph import CARRIER, Graph, Node, Shortcut
from archpress.importing.steps import INPUT, LayerStep, Step, Steps, refuse

Weights = dict[str, Tensor]

TOLERANCE = 1e-5
"""How far outputs of a captured network may be from those of the one it was read from."""


@dataclass(frozen=True)
class Captured:
    """A user's network as archpress has it.

    Attributes:
        architecture: The network.
        weights: A state dict of ``build(architecture)``, the user's weights.
        names: Per layer, the dotted path of the user's module that it comes from.
        notes: What differs from the user's network, in words; empty as a rule.
        ending: ``softmax`` or ``log_softmax`` where the user's network ends in one, else empty.
    """

    architecture: Architecture
    weights: Weights = field(repr=False)
    names: tuple[str, ...] = field(repr=False)
    notes: tuple[str, ...]
    ending: str

    def _repr_html_(self) -> str:
        return self.architecture._repr_html_()

    def model(self) -> Network:
        """Return the module of the architecture with these weights, in evaluation."""
        model = build(self.architecture)
        model.load_state_dict(self.weights)
        return model.eval()

    @torch.no_grad()
    def difference(self, images: Tensor, expected: Tensor) -> float:
        """Return how far the outputs on ``[N, C, H, W]`` images are from the expected ``[N, K]``.

        The largest difference, in units of the largest expected value or of 1 if that is smaller;
        infinite where the shapes differ. The softmax that was left out is put on first.
        """
        given = self.model()(images)
        if self.ending:
            given = getattr(torch, self.ending)(given, 1)
        if given.shape != expected.shape:
            return math.inf
        largest = float((given - expected).abs().max())
        return largest / max(1.0, float(expected.abs().max()))


def assemble(steps: Steps) -> Captured:
    """Return the architecture that the steps are.

    Raises:
        UnsupportedNetworkError: They are none; names the step.
    """
    graph = Graph(steps)
    output, ending = graph.output()
    nodes = graph.way_to(output)
    _refuse_shared_weights(nodes)
    notes = list(graph.notes(output))
    if ending is not None:
        notes.append(f"{ending.where} is left out: what goes into it are the logits")
    assembly = _Assembly(steps.input_shape, nodes)
    architecture = assembly.finish()
    return Captured(
        architecture, assembly.weights(architecture), tuple(assembly.names), tuple(notes),
        ending.function if ending else "",
    )  # fmt: skip


def way_through(steps: Steps) -> list[Node]:
    """Return the layers from input to output, each with its shortcut.

    Raises:
        UnsupportedNetworkError: There is no such way.
    """
    graph = Graph(steps)
    nodes = graph.way_to(graph.output()[0])
    _refuse_shared_weights(nodes)
    return nodes


def _refuse_shared_weights(nodes: list[Node]) -> None:
    user: dict[str, Step] = {}
    for node in nodes:
        steps = [node.step] if node.meaning.tensors else []
        if node.shortcut and node.shortcut.step:
            steps.append(node.shortcut.step)
        for step in steps:
            for name in step.parameters:
                if user.setdefault(name, step) is not step:
                    raise refuse(
                        step,
                        f"{name} is shared with {user[name].where}; every layer needs its own",
                    )


class _Assembly:
    """Layers put one after the other, each fitted to the shapes of an `Architecture`."""

    def __init__(self, input_shape: tuple[int, int, int], nodes: list[Node]) -> None:
        self.input_shape = input_shape
        self.nodes = nodes
        self.layers: list[Layer] = []
        self.tensors: list[Mapping[str, Tensor]] = []
        self.fitting: dict[int, tuple[LayerStep, ...]] = {}
        self.names: list[str] = []
        self.shape: Shape = input_shape
        self.place: dict[int, int] = {INPUT: -1}  # by value: the layer that gives it

    def finish(self) -> Architecture:
        """Return the network of all nodes."""
        for node in self.nodes:
            self._append(node)
            self.place[node.value] = len(self.layers) - 1
        if len(self.shape) == 3 and self.shape[1:] == (1, 1):
            self._take(LayerStep(GlobalAveragePool()), self.nodes[-1].step if self.nodes else None)
        try:
            return Architecture(self.input_shape, tuple(self.layers))
        except InvalidArchitectureError as error:
            last = self.nodes[-1].step.where if self.nodes else "the network"
            raise UnsupportedNetworkError(f"{last}: {error}") from error

    def _append(self, node: Node) -> None:
        meaning = self._fitted(node)
        if meaning is None:
            return
        self._take(meaning, node.step)
        if node.shortcut is not None:
            self._add(node, node.shortcut)

    def _take(self, meaning: LayerStep, step: Step | None) -> None:
        try:
            self.shape = meaning.layer.output_shape(self.shape)
        except InvalidArchitectureError as error:
            raise UnsupportedNetworkError(
                f"{step.where if step else 'the network'}: {error}"
            ) from error
        self.layers.append(meaning.layer)
        self.tensors.append(meaning.tensors)
        self.names.append(step.name if step else "")

    def _fitted(self, node: Node) -> LayerStep | None:
        """Return the layer as it is after a global pool, where maps have become flat features."""
        layer, tensors = node.meaning.layer, dict(node.meaning.tensors)
        if isinstance(layer, BatchNorm) and tensors["running_mean"].numel() != self.shape[0]:
            raise refuse(node.step, f"BatchNorm over flattened maps {self.shape}")
        if len(self.shape) == 3 or not layer.spatial:
            return node.meaning
        if node.meaning is CARRIER:
            return LayerStep(Dropout(rate=0.0))
        if isinstance(layer, Convolution) and (layer.kernel, layer.padding) == (1, 0):
            tensors["weight"] = tensors["weight"].flatten(1)
            return LayerStep(Linear(layer.out_channels, bias=layer.bias), tensors)
        nothing = isinstance(layer, GlobalAveragePool) or (
            isinstance(layer, Pool) and (layer.kernel, layer.padding) == (1, 0)
        )
        if nothing and node.shortcut is None:
            return None
        raise refuse(node.step, f"a {layer.kind} after the sides are gone")

    def _add(self, node: Node, shortcut: Shortcut) -> None:
        index = len(self.layers) - 1
        if shortcut.source not in self.place:
            raise refuse(node.step, "what is added is not the output of a layer on the way")
        source = self.place[shortcut.source]
        shape = _shape_after(self.input_shape, self.layers, source)
        layer = replace(self.layers[index], skip=index - source, projection=_projection(shortcut))
        try:
            needed = shortcut_layers(layer, shape, self.shape)
        except InvalidArchitectureError as error:
            raise refuse(node.step, str(error)) from error
        if needed != tuple(step.layer for step in shortcut.layers):
            expected = " and ".join(each.kind.replace("_", " ") for each in needed)
            raise refuse(
                shortcut.step or node.step,
                f"a shortcut from {shape} to {self.shape} can only be "
                f"{f'a 1x1 {expected} with weights' if needed else 'the value itself'}",
            )
        self.layers[index] = layer
        self.fitting[index] = shortcut.layers

    def weights(self, architecture: Architecture) -> Weights:
        """Return the state dict of its module."""
        weights: Weights = {}
        for prefix, tensors in zip(layer_prefixes(architecture), self.tensors, strict=True):
            _put(weights, prefix, tensors)
        for index, prefixes in shortcut_prefixes(architecture).items():
            for prefix, step in zip(prefixes, self.fitting[index], strict=True):
                _put(weights, prefix, step.tensors)
        return weights


def _projection(shortcut: Shortcut) -> Projection:
    if not shortcut.layers:
        return Projection()
    convolution, *norm = (step.layer for step in shortcut.layers)
    bias = isinstance(convolution, Convolution) and convolution.bias
    if norm and isinstance(norm[0], BatchNorm):
        return Projection(bias, True, norm[0].eps, norm[0].momentum)
    return Projection(bias, False)


def _shape_after(input_shape: Shape, layers: list[Layer], index: int) -> Shape:
    shape = input_shape
    for layer in layers[: index + 1]:
        shape = layer.output_shape(shape)
    return shape


def _put(weights: Weights, prefix: str, tensors: Mapping[str, Tensor]) -> None:
    for name, tensor in tensors.items():
        weights[prefix + name] = tensor.detach().float().cpu().clone().contiguous()
    if "running_mean" in tensors:
        weights[f"{prefix}num_batches_tracked"] = torch.tensor(0)
