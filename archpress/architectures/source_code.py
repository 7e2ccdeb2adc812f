"""Architecture -> ``model.py``: PyTorch source that needs nothing of archpress."""

import inspect
from collections.abc import Iterable, Sequence

from archpress.architectures.architecture import Architecture
from archpress.architectures.segments import INPUT, segments, waiting

_TEMPLATE = '''"""{title}

{scaling}Load the weights that lie beside this file:

    from safetensors.torch import load_file
    model = Network()
    model.load_state_dict(load_file("weights.safetensors"))
"""

from torch import Tensor, nn
{classes}

class Network(nn.Module):
    """{title}

    Input [N, {c}, {h}, {w}], output [N, {k}] logits.
    """

    def __init__(self) -> None:
        super().__init__()
{parts}

    def forward(self, x: Tensor) -> Tensor:
{steps}
'''


def source_code(
    architecture: Architecture,
    mean: Sequence[float] | None = None,
    deviation: Sequence[float] | None = None,
) -> str:
    """Return a module whose ``Network()`` has the same state dict as ``build(architecture)``.

    Args:
        architecture: What to write.
        mean: Per channel, what was subtracted from pixels in [0, 1] in training; for the docstring.
        deviation: Per channel, what they were then divided by.
    """
    scaling = ""
    if mean is not None and deviation is not None:
        scaling = (
            f"Normalise pixels in [0, 1] per channel: subtract {_numbers(mean)}; "
            f"divide by {_numbers(deviation)}.\n\n"
        )
    c, h, w = architecture.input_shape
    cost = architecture.cost
    return _TEMPLATE.format(
        title=f"Convolutional network: {cost.parameters:,} parameters, {cost.macs:,} MACs.",
        c=c, h=h, w=w, k=architecture.classes,
        scaling=scaling,
        classes="".join(f"\n\n{definition}\n" for definition in _own_classes(architecture)),
        parts="\n".join(_parts(architecture)),
        steps="\n".join(f"        {step}" for step in _steps(architecture)),
    )  # fmt: skip


def _own_classes(architecture: Architecture) -> Iterable[str]:
    """Return the definitions of the classes that are not in ``torch.nn``, each once."""
    calls = [call for part in segments(architecture) for each in part.calls for call in each]
    classes = {call.name: call.own_class for call in calls if call.own_class}
    for name, own_class in classes.items():
        yield inspect.getsource(own_class).replace(own_class.__name__, name).strip()


def _parts(architecture: Architecture) -> Iterable[str]:
    for part in segments(architecture):
        yield _sequential(part.block, (call.source for calls in part.calls for call in calls))
        if part.shortcut:
            yield _sequential(part.fitting, (call.source for call in part.shortcut))


def _sequential(name: str, expressions: Iterable[str]) -> str:
    lines = "\n".join(f"            {expression}," for expression in expressions)
    return f"        self.{name} = nn.Sequential(\n{lines}\n        )"


def _steps(architecture: Architecture) -> Iterable[str]:
    parts = segments(architecture)
    kept = waiting(parts)
    if INPUT in kept:
        yield f"saved{INPUT} = x"
    for part in parts:
        added = ""
        if part.source is not None:
            skipped = f"saved{part.source}" if part.source < part.number - 1 else "x"
            added = f" + self.{part.fitting}({skipped})" if part.shortcut else f" + {skipped}"
        if part is parts[-1] and not added:
            yield f"return self.{part.block}(x)"
            return
        yield f"x = self.{part.block}(x){added}"
        if part.number in kept:
            yield f"saved{part.number} = x"
    yield "return x"


def _numbers(values: Sequence[float]) -> str:
    return ", ".join(f"{value:.6g}" for value in values)
