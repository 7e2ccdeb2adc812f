"""Architecture -> ``model.py``: PyTorch source that needs nothing of archpress."""

from collections.abc import Sequence

from archpress.architectures.architecture import Architecture
from archpress.architectures.layers import Linear

_TEMPLATE = '''"""{parameters:,} parameters, {macs:,} MACs.

Input [N, {c}, {h}, {w}], output [N, {k}] logits.
{scaling}
Load the weights that lie beside this file:

    from safetensors.torch import load_file
    model = make_model()
    model.load_state_dict(load_file("weights.safetensors"))
"""

from torch import nn


def make_model() -> nn.Sequential:
    return nn.Sequential(
{lines}
    )
'''


def source_code(
    architecture: Architecture,
    mean: Sequence[float] | None = None,
    deviation: Sequence[float] | None = None,
) -> str:
    """Return a module whose ``make_model()`` has the same state dict as ``build(architecture)``.

    Args:
        architecture: What to write.
        mean: Per channel, what was subtracted from pixels in [0, 1] in training; for the docstring.
        deviation: Per channel, what they were then divided by.
    """
    scaling = ""
    if mean is not None and deviation is not None:
        scaling = (
            f"Normalise pixels in [0, 1] per channel: subtract {_numbers(mean)}; "
            f"divide by {_numbers(deviation)}.\n"
        )
    lines = []
    for layer, shape in zip(architecture.layers, architecture.shapes, strict=False):
        if isinstance(layer, Linear) and len(shape) == 3:
            lines.append("nn.Flatten()")
        lines.append(layer.source(shape))
    c, h, w = architecture.input_shape
    return _TEMPLATE.format(
        parameters=architecture.cost.parameters,
        macs=architecture.cost.macs,
        c=c, h=h, w=w, k=architecture.classes,
        scaling=scaling,
        lines="\n".join(f"        {line}," for line in lines),
    )  # fmt: skip


def _numbers(values: Sequence[float]) -> str:
    return ", ".join(f"{value:.6f}" for value in values)
