"""``python -m tests.importing.zoo_table`` writes docs/zoo.md: what becomes of every network."""

import inspect
import re
from pathlib import Path

from torch import nn

from archpress.errors import UnsupportedNetworkError
from archpress.importing.capturing import capture
from tests.networks import MODULES, Sample

DOCUMENT = Path(__file__).parents[2] / "docs" / "zoo.md"
HEAD = """# What can be captured

Hand-written networks in the styles people write them (`tests/networks.py`), and what
`archpress.capture` makes of each. "Captured" means that the rebuilt network has the same outputs
(within 1e-5) and the same number of parameters; otherwise the refusal names the part that stands in
the way (line numbers are left out here). This page is written by
`python -m tests.importing.zoo_table`, and a test keeps it true.

| network | what it is | result |
|---|---|---|
"""


def row(name: str, sample: Sample) -> str:
    """Return the table row of one network."""
    module = sample.make()
    return f"| `{name}` | {described(name, module)} | {result(sample, module)} |"


def described(name: str, module: nn.Module) -> str:
    """Return the first sentence of the module's own docstring, or its name in words."""
    own = type(module).__module__ == "tests.networks"
    text = (inspect.getdoc(type(module)) or "").splitlines()[0] if own else name.replace("_", " ")
    return text.rstrip(".").replace("|", "\\|")


def result(sample: Sample, module: nn.Module) -> str:
    """Return what becomes of a network."""
    try:
        captured = capture(module, sample.input_shape)
    except UnsupportedNetworkError as error:
        reason = re.sub(r",? ?\w+\.py:\d+", "", str(error)).split(";")[0]
        return f"refused: {reason.replace('|', '/')}"
    cost = captured.architecture.cost
    return f"captured: {len(captured.architecture.layers)} layers, {cost.parameters:,} parameters"


def document() -> str:
    """Return the whole page."""
    rows = [row(name, sample) for name, sample in MODULES.items()]
    return HEAD + "\n".join(rows) + "\n"


if __name__ == "__main__":
    DOCUMENT.write_text(document(), encoding="utf-8")
