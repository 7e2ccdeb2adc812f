"""Interactive figures: traces for Plotly, drawn by the page in the reader's colours."""

import json
from dataclasses import dataclass, field
from typing import Any

BLUE, ORANGE, GREEN, RED, PURPLE, GREY = (
    "#4a84c9", "#e0a030", "#2a9d8f", "#cc4433", "#8a63c2", "#9aa5b1"
)  # fmt: skip


@dataclass(frozen=True)
class Plot:
    """One figure.

    Attributes:
        name: Tells it from the others of the page.
        traces: What Plotly draws.
        layout: Over that of the page.
        caption: What is to be seen, for those who cannot.
    """

    name: str
    traces: list[dict[str, Any]]
    layout: dict[str, Any] = field(default_factory=dict)
    caption: str = ""

    def html(self) -> str:
        """Return the figure as a part of the page."""
        figure = script_json({"traces": self.traces, "layout": self.layout})
        return (
            f'<figure><div class="plot" id="{self.name}" role="img" aria-label="{self.caption}">'
            f'</div><script type="application/json" data-for="{self.name}">{figure}</script>'
            f"<figcaption>{self.caption}</figcaption></figure>"
        )


def script_json(value: Any) -> str:
    """Return JSON that may stand inside a script element."""
    return json.dumps(value, separators=(",", ":")).replace("</", "<\\/").replace("<!", "<\\!")


def axis(title: str, logarithmic: bool = False) -> dict[str, Any]:
    """Return an axis with its title."""
    return {"title": {"text": title}, "type": "log" if logarithmic else "linear"}
