"""Squeeze-and-excite, recognised by the five steps that lead to its gate."""

from collections.abc import Callable, Sequence

from archpress.architectures.layers import (
    Convolution,
    GlobalAveragePool,
    Layer,
    Linear,
    ReLU,
    Sigmoid,
    SiLU,
    SqueezeExcite,
)
from archpress.importing.steps import Gating, LayerStep, Refused, Step


def _is(*kinds: type[Layer]) -> Callable[[object], bool]:
    return lambda meaning: isinstance(meaning, LayerStep) and isinstance(meaning.layer, kinds)


def _is_dense(meaning: object) -> bool:
    """Return whether a step maps every channel of one pixel to others."""
    layer = meaning.layer if isinstance(meaning, LayerStep) else None
    pixelwise = isinstance(layer, Convolution) and (layer.kernel, layer.padding) == (1, 0)
    return pixelwise or isinstance(layer, Linear)


GATE_STEPS: tuple[Callable[[object], bool], ...] = (
    lambda meaning: isinstance(meaning, Gating) or _is(Sigmoid)(meaning),
    _is_dense, _is(ReLU, SiLU), _is_dense, _is(GlobalAveragePool),
)  # fmt: skip
"""What leads to the gate, from the gate back."""


def squeeze_excite(steps: Sequence[Step]) -> LayerStep | Refused:
    """Return the layer of the steps pool, reduce, activation, expand, gate."""
    _, reduce, activation, expand, gate = (step.meaning for step in steps)
    assert isinstance(reduce, LayerStep) and isinstance(expand, LayerStep)
    assert isinstance(activation, LayerStep)
    names = [name for step in steps for name in step.parameters]
    if len(names) > len(set(names)):
        return Refused(
            f"{names[0]} is shared within a squeeze-and-excite; every layer needs its own"
        )
    biased = {"bias" in reduce.tensors, "bias" in expand.tensors}
    if len(biased) == 2:
        return Refused("squeeze-and-excite with one bias of two")
    layer = SqueezeExcite(
        len(reduce.tensors["weight"]),
        activation=type(activation.layer).__name__,
        gate=gate.name if isinstance(gate, Gating) else "Sigmoid",
        bias=biased.pop(),
    )
    tensors = {
        f"{name}.{key}": tensor.flatten(1) if key == "weight" else tensor
        for name, part in (("reduce", reduce), ("expand", expand))
        for key, tensor in part.tensors.items()
    }
    return LayerStep(layer, tensors)
