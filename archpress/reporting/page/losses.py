"""Loss curves of the joint fit, where a run has one."""

from archpress.reporting.page.markup import missing, paragraph
from archpress.reporting.page.networks import Networks
from archpress.reporting.page.plots import BLUE, GREEN, GREY, ORANGE, Plot, axis
from archpress.reporting.run_view import RunView

LOSSES = {
    "L": ("joint loss", GREY), "L_d": ("decoder", BLUE), "L_a": ("accuracy", ORANGE),
    "L_p": ("parameters", GREEN),
}  # fmt: skip


def build(view: RunView, networks: Networks) -> str:
    """Return the curves, or why there are none."""
    if view.settings.search.method == "guided":
        return paragraph(
            "The embedding is the one that comes with the package; only regressors were fitted, in "
            "seconds, to the labels of each round."
        )
    if not view.fit:
        return missing("The embedding is not fitted yet.")
    traces = [
        {
            "type": "scatter", "mode": "lines", "name": title, "line": {"color": colour},
            "x": [row["iteration"] for row in view.fit], "y": [row[name] for row in view.fit],
        }
        for name, (title, colour) in LOSSES.items()
    ]  # fmt: skip
    layout = {"xaxis": axis("iteration"), "yaxis": axis("loss", logarithmic=True)}
    return Plot("losses-plot", traces, layout, "Losses of the joint fit, last batch.").html()
