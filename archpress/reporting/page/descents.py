"""The way of the descent: what it aimed at, what it met, and why it stopped."""

from collections import Counter
from typing import Any

from archpress.reporting.page.markup import missing, paragraph
from archpress.reporting.page.networks import Networks
from archpress.reporting.page.plots import BLUE, GREY, ORANGE, RED, Plot, axis
from archpress.reporting.run_view import RunView


def build(view: RunView, networks: Networks) -> str:
    """Return every start's way, and how many decodings were valid or repaired."""
    if not view.descent:
        return missing("No descent was made yet.")
    joint = view.settings.search.method == "joint"
    measured = {r["architecture"]: r["accuracy"] for r in view.proposals if r.get("accuracy")}
    rows = [{**row, "predicted": view.predicted(row) or 0.0} for row in view.descent]
    plots = [_ways(rows, measured)]
    if joint:
        plots.append(_objective(view.descent))
    return "".join(plots) + _words(view.descent, joint)


def _ways(rows: list[dict[str, Any]], measured: dict[str, float]) -> str:
    ways: dict[tuple[int, int], list[dict[str, Any]]] = {}
    for row in rows:
        ways.setdefault((row["round"], row["start"]), []).append(row)
    traces: list[dict[str, Any]] = []
    for (number, start), way in sorted(ways.items()):
        best = [max((r for r in way if r["step"] == step), key=lambda r: r["predicted"])
                for step in sorted({r["step"] for r in way})]  # fmt: skip
        own = best[0].get("from_input", start == 0)
        traces.append(
            {
                "type": "scatter", "mode": "lines+markers", "x": [r["step"] for r in best],
                "y": [round(100 * r["predicted"], 3) for r in best],
                "name": f"round {number}, {'input network' if own else f'start {start}'}",
                "customdata": [r["architecture"] for r in best],
                "line": {"color": RED if own else BLUE, "width": 2 if own else 1},
                "opacity": 1 if own else 0.5, "showlegend": False,
                "hovertemplate": "step %{x}: %{y:.2f} % predicted<extra>%{fullData.name}</extra>",
            }
        )  # fmt: skip
    labelled = [row for row in rows if row["architecture"] in measured]
    traces.append(
        {
            "type": "scatter", "mode": "markers", "name": "label",
            "x": [row["step"] for row in labelled],
            "y": [round(100 * measured[row["architecture"]], 3) for row in labelled],
            "customdata": [row["architecture"] for row in labelled],
            "marker": {"color": ORANGE, "symbol": "diamond", "size": 8}, "showlegend": False,
            "hovertemplate": "step %{x}: %{y:.2f} % measured<extra></extra>",
        }
    )  # fmt: skip
    layout = {"xaxis": axis("steps"), "yaxis": axis("accuracy, %")}
    caption = (
        f"{len(ways)} descents: the best that each step came upon, as predicted; red from the "
        f"input network. Diamonds: what {len(labelled)} decodings measured when they were labelled."
    )
    return Plot("descent-plot", traces, layout, caption).html()


def _objective(rows: list[dict[str, Any]]) -> str:
    own = [row for row in rows if row["start"] == 0 and row["round"] == 0]
    trace = {
        "type": "scatter", "mode": "lines+markers", "name": "objective L_c",
        "x": [row["step"] for row in own], "y": [row["objective"] for row in own],
        "line": {"color": GREY},
    }  # fmt: skip
    layout = {"xaxis": axis("steps"), "yaxis": axis("L_c"), "showlegend": False}
    return Plot(
        "objective-plot", [trace], layout, "The objective along the descent from the input network."
    ).html()


def _words(rows: list[dict[str, Any]], joint: bool) -> str:
    ended = {(row["round"], row["start"]): row["stopped"] for row in rows if row["stopped"]}
    reasons = Counter(ended.values())
    lines = ["Descents ended: " + ", ".join(f"{r} ({n})" for r, n in reasons.most_common()) + "."]
    if joint:
        valid = sum(not row["repairs"] for row in rows)
        rules = Counter(rule for row in rows for rule in row["repairs"])
        said = ", ".join(f"{rule} ({count})" for rule, count in rules.most_common())
        lines.append(
            f"{valid} of {len(rows)} decodings were valid as decoded; repairs: {said or 'none'}."
        )
    else:
        lines.append("Every decoding is a network: the decoder says nothing else.")
    return "".join(paragraph(line) for line in lines)
