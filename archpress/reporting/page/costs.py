"""Where parameters, multiply-accumulates and milliseconds are, layer by layer."""

from typing import Any

from archpress.architectures.architecture import Architecture
from archpress.architectures.summary import rows_of
from archpress.reporting.page.markup import missing
from archpress.reporting.page.networks import Networks
from archpress.reporting.page.plots import BLUE, GREEN, ORANGE, Plot
from archpress.reporting.run_view import RunView


def build(view: RunView, networks: Networks) -> str:
    """Return a figure per network."""
    shown = {"base": view.input_network, "compressed": view.compressed}
    titles = {"base": "input network", "compressed": "compressed network"}
    found = [
        _plot(name, titles[name], network, view.timings.get(name, {}).get("layers", []))
        for name, network in shown.items()
        if network is not None
    ]
    return "".join(found) or missing("The input network is not known yet.")


def _plot(name: str, title: str, network: Architecture, milliseconds: list[float]) -> str:
    layers = [row for row in rows_of(network) if row.position is not None]
    rows = [row for row in layers if row.parameters or row.macs]
    timed = len(milliseconds) == len(layers)
    rows = layers if timed else rows
    shares: dict[str, tuple[str, list[float]]] = {
        "parameters": (BLUE, [float(row.parameters) for row in rows]),
        "MACs": (ORANGE, [float(row.macs) for row in rows]),
    }
    if timed:
        shares["milliseconds"] = (GREEN, milliseconds)
    names = [f"{row.position} {row.source}" for row in rows]
    traces = [_bars(metric, colour, names, values) for metric, (colour, values) in shares.items()]
    layout: dict[str, Any] = {
        "barmode": "group", "height": 160 + 26 * len(rows),
        "legend": {"orientation": "h", "y": 1.0, "yanchor": "bottom"}, "margin": {"t": 60},
        "xaxis": {"title": {"text": "share of the network's, %"}},
        "yaxis": {"autorange": "reversed", "automargin": True, "tickfont": {"size": 10}},
    }  # fmt: skip
    caption = f"Share of each layer of the {title} in {', '.join(shares)}."
    return f"<h3>{title}</h3>" + Plot(f"costs-{name}", traces, layout, caption).html()


def _bars(metric: str, colour: str, names: list[str], values: list[float]) -> dict[str, Any]:
    whole = sum(values) or 1.0
    unit = " ms" if metric == "milliseconds" else f" {metric}"
    return {
        "type": "bar", "orientation": "h", "name": metric, "y": names,
        "x": [round(100 * value / whole, 3) for value in values],
        "customdata": [round(value, 4) for value in values], "marker": {"color": colour},
        "hovertemplate": "%{customdata:,}" + unit + " (%{x:.1f} %)<extra></extra>",
    }  # fmt: skip
