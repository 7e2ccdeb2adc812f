"""What the regressors said before a network was labelled, and what the label then said."""

from math import isfinite
from typing import Any

from archpress.errors import EmbeddingError
from archpress.evaluation.record import Label
from archpress.prediction.noise import reliability
from archpress.prediction.ranks import spearman
from archpress.reporting.page.markup import missing, paragraph
from archpress.reporting.page.networks import Networks
from archpress.reporting.page.plots import BLUE, GREY, ORANGE, Plot, axis
from archpress.reporting.run_view import RunView


def build(view: RunView, networks: Networks) -> str:
    """Return predicted against measured accuracy and parameters, with rank correlations."""
    joint = view.settings.search.method == "joint"
    rows = [{**row, "predicted": view.predicted(row)} for row in view.proposals]
    rows = [row for row in rows if row.get("accuracy") is not None and row["predicted"]]
    if not rows:
        return missing("No network was proposed by regressors yet.")
    plots = [_accuracies(rows, joint)]
    if joint:
        plots.append(_parameters(rows))
    return "".join(plots) + _words(view)


def _accuracies(rows: list[dict[str, Any]], joint: bool) -> str:
    predicted = [100 * row["predicted"] for row in rows]
    measured = [100 * row["accuracy"] for row in rows]
    said = "predicted accuracy, %" if joint else "predicted to be at least, %"
    correlation = _spearman(predicted, measured)
    caption = (
        f"{len(rows)} networks that were proposed and then labelled: Spearman {correlation}. On "
        "the dashed line both are equal."
    )
    return _scatter("predicted-accuracy", predicted, measured, (said, "label, %"), caption, rows)


def _parameters(rows: list[dict[str, Any]]) -> str:
    predicted = [max(1.0, row["predicted_parameters"]) for row in rows]
    exact = [float(row["parameters"]) for row in rows]
    caption = f"Parameters of the same networks: Spearman {_spearman(predicted, exact)}."
    titles = ("predicted parameters", "exact parameters")
    return _scatter("predicted-parameters", predicted, exact, titles, caption, rows, True)


def _scatter(
    name: str,
    x: list[float],
    y: list[float],
    titles: tuple[str, str],
    caption: str,
    rows: list[dict[str, Any]],
    logarithmic: bool = False,
) -> str:
    ends = [min(*x, *y), max(*x, *y)]
    traces = [
        {"type": "scatter", "mode": "markers", "name": "networks", "x": x, "y": y,
         "customdata": [row["architecture"] for row in rows],
         "marker": {"color": BLUE if not logarithmic else ORANGE, "size": 7, "opacity": 0.75}},
        {"type": "scatter", "mode": "lines", "name": "equal", "x": ends, "y": ends,
         "line": {"color": GREY, "dash": "dash", "width": 1}, "hoverinfo": "skip"},
    ]  # fmt: skip
    layout = {"xaxis": axis(titles[0], logarithmic), "yaxis": axis(titles[1], logarithmic)}
    return Plot(name, traces, {**layout, "showlegend": False}, caption).html()


def _words(view: RunView) -> str:
    lines = [
        f"Round {row['round']}, {row['labels']} labels: rank correlation with labels not seen "
        + ", ".join(f"{n.replace('_', ' ')} {v:.2f}" for n, v in row["rank_correlation"].items())
        + "."
        for row in view.regressors
    ]
    ceiling = ceiling_of(view.labels)
    if ceiling:
        lines.append(ceiling)
    return "".join(paragraph(line) for line in lines)


def ceiling_of(labels: list[Label]) -> str:
    """Return what the noise of labels leaves to be had, in words; empty without repeated seeds."""
    repeated = [label.values[:2] for label in labels if len(label.values) >= 2]
    if len(repeated) < 3:
        return ""
    try:
        found = reliability(repeated)
    except EmbeddingError:
        return ""
    return (
        f"Noise ceiling: two seeds of {len(repeated)} networks agree with a reliability of "
        f"{found:.2f}; no regressor can rank single labels better than about {found**0.5:.2f}."
    )


def _spearman(one: list[float], other: list[float]) -> str:
    if len(one) < 3:
        return "unknown (fewer than three)"
    value = spearman(one, other)
    return f"{value:.2f}" if isfinite(value) else "unknown (all equal)"
