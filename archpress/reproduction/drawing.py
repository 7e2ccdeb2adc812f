"""Figures as SVG, by matplotlib (extra ``figures``): the same bytes for the same data."""

import io
from collections.abc import Callable
from typing import Any

from archpress.optional import require

BLUE, RED, ORANGE = "#2b6cb0", "#c53030", "#dd6b20"


def drawn(
    draw: Callable[[Any, Any], None], columns: int = 1, size: tuple[float, float] = (6, 4)
) -> str:
    """Return the SVG of what ``draw(figure, axes)`` draws; ``axes`` is a list of ``columns``.

    Raises:
        MissingExtraError: matplotlib is not installed.
    """
    matplotlib = require("matplotlib", "figures")
    matplotlib.use("svg")
    pyplot = require("matplotlib.pyplot", "figures")
    style = {"svg.hashsalt": "archpress", "svg.fonttype": "none", "font.size": 9}
    with matplotlib.rc_context(style):
        figure, axes = pyplot.subplots(1, columns, figsize=size, squeeze=False)
        try:
            draw(figure, list(axes[0]))
            figure.tight_layout()
            buffer = io.StringIO()
            figure.savefig(buffer, format="svg", metadata={"Date": None})
        finally:
            pyplot.close(figure)
    return "\n".join(line.rstrip() for line in buffer.getvalue().splitlines()) + "\n"
