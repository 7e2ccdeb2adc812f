"""Everything labelled, by size and accuracy: the front, the budget, and who stands where."""

from collections.abc import Sequence
from typing import Any

from archpress.evaluation.record import Label
from archpress.reporting.page.markup import missing
from archpress.reporting.page.networks import Networks
from archpress.reporting.page.plots import BLUE, GREEN, GREY, ORANGE, PURPLE, RED, Plot, axis
from archpress.reporting.run_view import RunView

SOURCES = {
    "gradient": ("descent", BLUE), "mutation": ("small changes", GREEN),
    "random": ("random draws", ORANGE), "start": ("start", PURPLE),
}  # fmt: skip


def build(view: RunView, networks: Networks) -> str:
    """Return the figure; a click on a network opens it."""
    if not view.labels:
        return missing("Nothing is labelled yet.")
    best = view.front
    proposed = {row["architecture"]: row for row in view.proposals}
    groups: dict[str, list[Label]] = {}
    for label in view.labels:
        row = proposed.get(label.architecture.digest, {})
        groups.setdefault(row.get("source", ""), []).append(label)
    for label in [*best, *sorted(view.labels, key=lambda each: -(each.accuracy or 0.0))]:
        networks.add(label.architecture, _about(label, proposed), drawn=True)
    traces = [
        _dots(*SOURCES.get(source, ("labelled", GREY)), each) for source, each in groups.items()
    ]
    traces.append(_line(best))
    traces += _results(view, networks)
    layout: dict[str, Any] = {
        "xaxis": axis("parameters", logarithmic=True), "yaxis": axis("accuracy, %")
    }  # fmt: skip
    if view.budget is not None:
        layout["shapes"] = [
            {"type": "line", "x0": view.budget, "x1": view.budget, "y0": 0, "y1": 1,
             "yref": "paper", "line": {"color": RED, "dash": "dot", "width": 1.5}}
        ]  # fmt: skip
    caption = (
        f"{len(view.labels)} networks by parameters and the accuracy of their label on validation; "
        "the line joins those that no smaller one surpasses"
        + (f", dotted is the budget of {view.budget:,} parameters" if view.budget else "")
        + ". Squares have had the final training: their accuracy is on the test set. Click a "
        "network to see it."
    )
    return Plot("front-plot", traces, layout, caption).html()


def _dots(name: str, colour: str, labels: Sequence[Label]) -> dict[str, Any]:
    return {
        "type": "scatter", "mode": "markers", "name": name,
        "x": [label.parameters for label in labels],
        "y": [round(100 * (label.accuracy or 0.0), 3) for label in labels],
        "customdata": [label.architecture.digest for label in labels],
        "marker": {"color": colour, "size": 7, "opacity": 0.75},
        "hovertemplate": "%{x:,} parameters, %{y:.2f} %<extra>" + name + "</extra>",
    }  # fmt: skip


def _line(best: Sequence[Label]) -> dict[str, Any]:
    return {
        "type": "scatter", "mode": "lines", "name": "front", "hoverinfo": "skip",
        "x": [label.parameters for label in best],
        "y": [round(100 * (label.accuracy or 0.0), 3) for label in best],
        "line": {"color": GREY, "width": 1.2, "shape": "hv"},
    }  # fmt: skip


def _results(view: RunView, networks: Networks) -> list[dict[str, Any]]:
    if view.result is None:
        return []
    rows = {"input network": view.result["base"], "compressed": view.result["compressed"]}
    rows |= {name.replace("_", " "): row for name, row in sorted(view.result["rivals"].items())}
    traces = []
    for number, (name, row) in enumerate(rows.items()):
        network = view.architecture(row)
        mean = 100 * sum(row["test_accuracy"]) / len(row["test_accuracy"])
        networks.add(network, f"{name}, {mean:.2f} % on the test set", drawn=True)
        traces.append(
            {
                "type": "scatter", "mode": "markers", "name": name, "x": [row["parameters"]],
                "y": [round(mean, 3)], "customdata": [network.digest],
                "marker": {"symbol": "square", "size": 11, "line": {"width": 1.5},
                           "color": (GREY, RED, ORANGE, GREEN, PURPLE, BLUE)[number % 6]},
                "hovertemplate": f"{name}: %{{x:,}} parameters, %{{y:.2f}} %<extra></extra>",
            }
        )  # fmt: skip
    return traces


def _about(label: Label, proposed: dict[str, dict[str, Any]]) -> str:
    row = proposed.get(label.architecture.digest)
    source = f", {SOURCES[row['source']][0]}" if row and row.get("source") in SOURCES else ""
    cost = label.architecture.cost
    return (
        f"{cost.parameters:,} parameters, {cost.macs:,} MACs, label "
        f"{100 * (label.accuracy or 0.0):.2f} %{source}"
    )
