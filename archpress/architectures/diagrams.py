"""Architecture -> a picture: SVG without scripts, ids or anything from elsewhere.

The network runs downwards. A box is a layer with the normalisation, activation and dropout that
follow it; its width is the square root of its output channels, on one scale per picture. A skip
leaves the axis under the box whose output it takes and comes back under the one it is added to.
"""

import math
from html import escape
from typing import NamedTuple

from archpress.architectures.architecture import Architecture
from archpress.architectures.diagram_parts import Arc, Box, arcs_of, boxes_of, groups_of, lanes_of
from archpress.architectures.summary import size_text, totals_of

WIDEST, NARROWEST = 180.0, 4.0
"""Widths of boxes in pixels."""
THICK, THIN, GAP, JOINT = 28.0, 8.0, 12.0, 22.0
"""Heights in pixels: of boxes, and of the space under one without and with a skip's end."""
LANE, CORNER, PLUS = 12.0, 5.0, 4.5
MARGIN, LINE, COLUMN = 16.0, 18.0, 40.0
LONGEST_TITLE = 72
LETTERS = {"title": 9.0, "label": 7.2, "note": 6.2}
"""The mean width of a letter in pixels by style, in a wide font."""

_COLOURS = {
    "background": ("#ffffff", "#15191e"), "title": ("#1f2933", "#e6eaef"),
    "label": ("#1f2933", "#e6eaef"),
    "note": ("#66717e", "#98a4b1"), "axis": ("#c3cad3", "#4a5562"), "arc": ("#cc4433", "#ff8a73"),
    "input": ("#c3cad3", "#4a5562"), "conv": ("#4a84c9", "#5b97dd"),
    "depthwise": ("#2a9d8f", "#35b5a5"), "pool": ("#e0a030", "#e5ae4c"),
    "linear": ("#8a63c2", "#a27de0"), "other": ("#9aa5b1", "#75808d"),
}  # fmt: skip
"""Every class of elements in light and dark."""


class _Panel(NamedTuple):
    """A picture with its own (0, 0) and no frame."""

    elements: list[str]
    width: float
    height: float


def diagram(architecture: Architecture, title: str = "") -> str:
    """Return an SVG of a network that is light or dark as the reader's system is."""
    panel = _panel(architecture, title, _most_channels(architecture))
    return _document([panel], title or "convolutional network")


def before_after(before: Architecture, after: Architecture) -> str:
    """Return an SVG of two networks side by side on one scale, and how much smaller one is."""
    most = max(_most_channels(before), _most_channels(after))
    panels = [_panel(before, "before", most), _panel(after, "after", most)]
    old, new = before.cost, after.cost
    return _document(
        panels,
        f"compression {_ratio(old.parameters, new.parameters)}",
        f"{old.parameters:,} → {new.parameters:,} parameters, MACs {_ratio(old.macs, new.macs)}",
    )


def html(architecture: Architecture) -> str:
    """Return the picture and under it the totals, as a part of an HTML page."""
    cells = "".join(
        f"<tr><td>{escape(name)}</td><td>{escape(value)}</td></tr>"
        for name, value in totals_of(architecture)
    )
    return f"<div>{diagram(architecture)}<table>{cells}</table></div>"


def _ratio(before: int, after: int) -> str:
    return f"{before / after:,.1f}x" if after else "to nothing"


def _most_channels(architecture: Architecture) -> int:
    return max(shape[0] for shape in architecture.shapes)


# ------------------------------------------------------------------ where it is drawn


def _panel(architecture: Architecture, title: str, most_channels: int) -> _Panel:
    """Return a network with its title and totals; the widest box has ``most_channels``."""
    groups = groups_of(architecture)
    boxes, arcs = boxes_of(architecture, groups), arcs_of(architecture, groups)
    lanes = lanes_of(arcs)
    left = LANE * (max(lanes.values(), default=-1) + 1)
    axis = left + WIDEST / 2 + LANE / 2
    heading, width = _heading(architecture, title)
    y = LINE * len(heading) + LANE
    bottoms = []
    elements = []
    joined = {end for arc in arcs for end in (arc.source, arc.target)}
    for number, box in enumerate(boxes):
        box_width = max(NARROWEST, WIDEST * math.sqrt(box.channels / most_channels))
        elements += _drawn_box(box, axis, y, box_width)
        bottoms.append(y + _height(box))
        y = bottoms[-1] + (JOINT if number in joined else GAP)
    for arc, lane in lanes.items():
        elements += _drawn_arc(arc, axis, left - LANE * lane, bottoms)
    end = y - GAP if len(boxes) - 1 in joined else bottoms[-1]
    start = bottoms[0]
    spine = f'<path class="archpress-axis" d="M{axis:g} {start:g}V{end:g}"/>'
    width = max(width, axis + WIDEST / 2 + LANE + max(map(_text_width, boxes)))
    return _Panel([*heading, spine, *elements], width, end + 2)


def _heading(architecture: Architecture, title: str) -> tuple[list[str], float]:
    """Return the lines above a network and their width."""
    cost = architecture.cost
    title = _printable(title)
    texts = [title] if title else []
    texts.append(f"{cost.parameters:,} parameters, {cost.macs:,} MACs")
    texts.append(f"{size_text(cost.activation_bytes)} peak activation memory")
    styles = ["label"] * bool(title) + ["note", "note"]
    lines = [
        _text(style, 0, LINE * number - 4, text)
        for number, (style, text) in enumerate(zip(styles, texts, strict=True), 1)
    ]
    return lines, max(map(_width, styles, texts))


def _width(style: str, text: str) -> float:
    return LETTERS[style] * len(text)


def _height(box: Box) -> float:
    return THICK if box.thick else THIN


def _text_width(box: Box) -> float:
    first = _width("label", box.label) + _width("note", f"  {box.detail}")
    return max(first, _width("note", box.note))


def _drawn_box(box: Box, axis: float, y: float, width: float) -> list[str]:
    x = axis + WIDEST / 2 + LANE
    height = _height(box)
    middle = y + height / 2
    detail = f'<tspan class="archpress-note" dx="6">{escape(box.detail)}</tspan>'
    label = f"{escape(box.label)}{detail if box.detail else ''}"
    baseline = middle - 3 if box.note else middle + 4
    texts = [f'<text class="archpress-label" x="{x:g}" y="{baseline:g}">{label}</text>']
    if box.note:
        texts.append(_text("note", x, middle + 11, box.note))
    return [
        f'<g><title>{escape(box.tooltip)}</title><rect class="archpress-box archpress-{box.kind}" '
        f'x="{axis - width / 2:.2f}" y="{y:g}" width="{width:.2f}" height="{height:g}" '
        f'rx="2"/>',
        *texts,
        "</g>",
    ]


def _drawn_arc(arc: Arc, axis: float, x: float, bottoms: list[float]) -> list[str]:
    """Return the line of a skip, a dot where it leaves and a plus where it is added."""
    start, end = bottoms[arc.source] + 16, bottoms[arc.target] + 7
    dashed = " archpress-projected" if arc.projected else ""
    path = (
        f"M{axis:g} {start:g}H{x + CORNER:g}q{-CORNER:g} 0 {-CORNER:g} {CORNER:g}"
        f"V{end - CORNER:g}q0 {CORNER:g} {CORNER:g} {CORNER:g}H{axis - PLUS:g}"
    )
    plus = f"M{axis - PLUS:g} {end:g}h{2 * PLUS:g}M{axis:g} {end - PLUS:g}v{2 * PLUS:g}"
    return [
        f"<g><title>{escape(arc.tooltip)}</title>"
        f'<path class="archpress-arc{dashed}" d="{path}"/>'
        f'<circle class="archpress-dot" cx="{axis:g}" cy="{start:g}" r="2"/>'
        f'<circle class="archpress-sum" cx="{axis:g}" cy="{end:g}" r="{PLUS:g}"/>'
        f'<path class="archpress-plus" d="{plus}"/></g>'
    ]


# ------------------------------------------------------------------ the document


def _document(panels: list[_Panel], title: str, note: str = "") -> str:
    """Return the SVG of panels from left to right; a note puts the title above all of them."""
    title = _printable(title)
    top = MARGIN + (2 * LINE + LANE if note else 0)
    parts = []
    if note:
        parts.append(_text("title", MARGIN, MARGIN + LINE - 4, title))
        parts.append(_text("note", MARGIN, MARGIN + 2 * LINE - 4, note))
    x = MARGIN
    for panel in panels:
        parts.append(f'<g transform="translate({x:g} {top:g})">')
        parts += [*panel.elements, "</g>"]
        x += panel.width + COLUMN
    width = max(x - COLUMN, MARGIN + _width("note", note)) + MARGIN
    height = top + max(panel.height for panel in panels) + MARGIN
    return "\n".join([
        f'<svg xmlns="http://www.w3.org/2000/svg" class="archpress" role="img" '
        f'width="{width:g}" height="{height:g}" viewBox="0 0 {width:g} {height:g}">',
        f"<title>{escape(title)}</title>",
        f"<style>{_style()}</style>",
        f'<rect class="archpress-background" width="{width:g}" height="{height:g}" rx="6"/>',
        *parts,
        "</svg>",
    ])  # fmt: skip


def _text(style: str, x: float, y: float, text: str) -> str:
    return f'<text class="archpress-{style}" x="{x:g}" y="{y:g}">{escape(text)}</text>'


def _printable(text: str) -> str:
    """Return the text as XML can hold it, cut where it is long."""
    text = "".join(letter for letter in text if letter.isprintable())
    return text if len(text) <= LONGEST_TITLE else f"{text[: LONGEST_TITLE - 1]}…"


def _style() -> str:
    light, dark = (
        "".join(_rule(name, colours[theme]) for name, colours in _COLOURS.items())
        for theme in (0, 1)
    )
    return (
        ".archpress text{font-family:system-ui,-apple-system,'Segoe UI',Helvetica,Arial,sans-serif}"
        ".archpress .archpress-title{font-size:15px;font-weight:600}"
        ".archpress .archpress-label{font-size:12px;font-weight:600}"
        ".archpress .archpress-note{font-size:11px;font-weight:400}"
        ".archpress-axis,.archpress-arc,.archpress-plus{fill:none;stroke-width:1.5}"
        ".archpress-plus,.archpress-sum{stroke-width:1.2}"
        ".archpress-projected{stroke-dasharray:4 3}"
        f"{light}@media (prefers-color-scheme:dark){{{dark}}}"
    )


def _rule(name: str, colour: str) -> str:
    """Return the colour of one class, and of what is drawn along with it."""
    if name == "background":
        return f".archpress-background,.archpress-sum{{fill:{colour}}}"
    if name == "arc":
        return (
            f".archpress-arc,.archpress-plus,.archpress-sum{{stroke:{colour}}}"
            f".archpress-dot{{fill:{colour}}}"
        )
    return f".archpress-{name}{{{'stroke' if name == 'axis' else 'fill'}:{colour}}}"
