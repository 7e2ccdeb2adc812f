"""Figure 2: the spaces of the method, drawn from a real run.

Labelled networks where the embedding puts them, in two dimensions, and the descent from the input
network: its steps, and where what they decode to is encoded again.
"""

from typing import Any

from torch import Tensor

from archpress.optional import require
from archpress.reporting.page.space_map import principal
from archpress.reproduction.bench import Bench, Outcome
from archpress.reproduction.drawing import BLUE, RED, drawn
from archpress.reproduction.paper_run import PaperRun, Walk


def run(bench: Bench) -> Outcome:
    """Return embeddings of labelled networks, the path and its decodings, by principal axes."""
    require("matplotlib", "figures")
    paper = PaperRun.of(bench)
    labelled = [label for label in paper.labels() if label.accuracy is not None]
    points = paper.embedding.encode([label.architecture for label in labelled])
    walk = paper.walk()
    axes, share = principal(points)
    centre = points.mean(0)

    def flat(y: Tensor) -> Tensor:
        return (y - centre) @ axes

    values = [100 * (label.accuracy or 0.0) for label in labelled]
    figure = drawn(
        lambda figure, panes: _draw(figure, panes[0], flat(points), values, walk, flat), size=(7, 5)
    )
    steps = float((walk.points[1:] - walk.points[:-1]).norm(dim=1).mean())
    away = float((walk.again - walk.points).norm(dim=1).mean())
    facts = {
        "networks": len(labelled), "variance_shown": share, "mean_step": steps,
        "mean_distance_of_decodings": away,
    }  # fmt: skip
    text = (
        f"{len(labelled)} labelled networks in the embedding, by its first two principal axes "
        f"({100 * share:.0f} % of the variance). Blue: the descent from the input network, steps "
        f"of {steps:.3g} on average. Red: from each step to where its decoding is encoded again, "
        f"{away:.3g} away on average.\n"
    )
    return Outcome(facts, text, {"figure2": figure})


def _draw(
    figure: Any, axis: Any, points: Tensor, values: list[float], walk: Walk, flat: Any
) -> None:
    dots = axis.scatter(*points.T.tolist(), c=values, cmap="viridis", s=14, alpha=0.8)
    figure.colorbar(dots, ax=axis, label="accuracy of the label, %")
    path, again = flat(walk.points), flat(walk.again)
    for one, other in zip(path.tolist(), again.tolist(), strict=True):
        axis.plot(*zip(one, other, strict=True), color=RED, linewidth=0.6, alpha=0.6)
    axis.plot(*path.T.tolist(), color=BLUE, linewidth=1.5, marker="o", markersize=3)
    axis.plot(*path[0].tolist(), color=BLUE, marker="s", markersize=8, label="input network")
    axis.set(xlabel="first axis", ylabel="second axis")
    axis.legend(frameon=False)
