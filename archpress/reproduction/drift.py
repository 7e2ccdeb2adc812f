"""Section 5.3: how far the regressors hold along the descent, with and without fine-tuning."""

from copy import deepcopy
from dataclasses import dataclass, replace
from math import log10
from statistics import fmean
from typing import Any

from archpress.architectures.architecture import Architecture
from archpress.architectures.simplification import simplify
from archpress.architectures.spaces import Limits
from archpress.compression.joint.search import PATH_MACS, PATH_MEMORY, examples
from archpress.compression.task import Resources, trainable
from archpress.embedding.fitting import fine_tune
from archpress.embedding.tokens import why_inexpressible
from archpress.evaluation.record import Label
from archpress.optional import require
from archpress.reproduction.bench import Bench, Outcome
from archpress.reproduction.drawing import BLUE, RED, drawn
from archpress.reproduction.paper_run import PaperRun
from archpress.reproduction.rows import markdown
from archpress.training.machine import one_thread

STEPS = 20
HOLDS = 5
"""Steps that the paper finds the regressors good for; with fine-tuning, steps between two."""
ITERATIONS, LEARNING_RATE = 50, 0.0003
"""Of each fine-tuning."""


@dataclass(frozen=True)
class Point:
    """One step: what was predicted at the embedding, and what its decoding measures.

    Attributes:
        step: Steps taken.
        network: The decoding, simplified.
        predicted: Accuracy at the embedding.
        predicted_parameters: Parameters at the embedding.
        measured: Accuracy of the label; None where the decoding was not trained.
    """

    step: int
    network: Architecture
    predicted: float
    predicted_parameters: float
    measured: float | None = None

    @property
    def error(self) -> float | None:
        """Absolute error of accuracy, in points; None where nothing was measured."""
        return None if self.measured is None else 100 * abs(self.predicted - self.measured)

    @property
    def factor(self) -> float:
        """Predicted over exact parameters, in decades; absolute."""
        return abs(log10(max(self.predicted_parameters, 1.0) / self.network.cost.parameters))


def run(bench: Bench) -> Outcome:
    """Return predicted and measured values along the descent from the input network."""
    require("matplotlib", "figures")
    paper = PaperRun.of(bench)
    with paper.resources() as resources, one_thread():
        labels = paper.label([paper.start, *paper.population()], resources)
        plain = measured(points_of(paper, paper.start, 0, STEPS), paper, resources)
        tuned = with_fine_tuning(paper, labels, resources)
    paths = {"as fitted": plain, "fine-tuned every 5 steps": tuned}
    figure = drawn(lambda _, axes: _draw(axes, paths), 2, (8, 3.6))
    rows = [[name, *(_mean(path, *span) for span in SPANS)] for name, path in paths.items()]
    head = ["regressors", *(f"steps {first} to {last}" for first, last in SPANS)]
    text = (
        "Mean absolute error of accuracy along the descent, in points, and mean error of "
        "parameters as a factor:\n\n" + markdown(head, rows)
    )
    facts = {name: [_facts(point) for point in path] for name, path in paths.items()}
    return Outcome({"paths": facts}, text, {"drift": figure})


SPANS = ((0, HOLDS), (HOLDS + 1, 2 * HOLDS), (2 * HOLDS + 1, STEPS))


def points_of(paper: PaperRun, start: Architecture, first: int, steps: int) -> list[Point]:
    """Return the steps of a descent from a network, counted from ``first``."""
    walk = paper.walk(start, steps)
    rows = zip(walk.decoded, walk.accuracies.tolist(), walk.parameters.tolist(), strict=True)
    return [
        Point(first + number, simplify(found.architecture), accuracy, parameters)
        for number, (found, accuracy, parameters) in enumerate(rows)
    ]


def measured(points: list[Point], paper: PaperRun, resources: Resources) -> list[Point]:
    """Return the points with labels of those decodings that can be trained."""
    cost = paper.start.cost
    limits = Limits(
        max_macs=PATH_MACS * cost.macs, max_activation_bytes=PATH_MEMORY * cost.activation_bytes
    )
    networks = list(dict.fromkeys(p.network for p in points if trainable(limits, p.network)))
    found = dict(zip(networks, paper.label(networks, resources), strict=True))
    return [
        replace(p, measured=found[p.network].accuracy) if p.network in found else p for p in points
    ]


def with_fine_tuning(paper: PaperRun, labels: list[Label], resources: Resources) -> list[Point]:
    """Return a descent whose decodings are learned from every few steps.

    After each of them the descent goes on from the last decoding that can be encoded again.
    """
    tuned = replace(paper, embedding=deepcopy(paper.embedding))
    known, start = list(labels), paper.start
    path: list[Point] = []
    for first in range(0, STEPS, HOLDS):
        points = measured(points_of(tuned, start, first, HOLDS), tuned, resources)
        path += points[1 if path else 0 :]
        there = {label.architecture for label in known}
        met = dict.fromkeys(p.network for p in points if p.measured is not None)
        known += tuned.label([network for network in met if network not in there], resources)
        fine_tune(tuned.embedding, examples(known), ITERATIONS, LEARNING_RATE)
        usable = [p.network for p in points if not why_inexpressible(p.network)]
        start = usable[-1] if usable else start
    return path


def _mean(path: list[Point], first: int, last: int) -> str:
    here = [point for point in path if first <= point.step <= last]
    if not here:
        return "the descent had ended"
    errors = [point.error for point in here if point.error is not None]
    accuracy = f"{fmean(errors):.1f} ({len(errors)})" if errors else "none trained"
    return f"{accuracy}, x{10 ** fmean(point.factor for point in here):.1f}"


def _facts(point: Point) -> dict[str, Any]:
    cost = point.network.cost
    return {
        "step": point.step, "architecture": point.network.digest, "parameters": cost.parameters,
        "predicted_parameters": point.predicted_parameters,
        "predicted_accuracy": point.predicted, "accuracy": point.measured,
    }  # fmt: skip


def _draw(axes: list[Any], paths: dict[str, list[Point]]) -> None:
    for (name, path), colour in zip(paths.items(), (RED, BLUE), strict=True):
        known = [point for point in path if point.error is not None]
        axes[0].plot([p.step for p in known], [p.error for p in known], "o-", c=colour, label=name)
        axes[1].plot([p.step for p in path], [10**p.factor for p in path], "o-", c=colour)
    for axis in axes:
        axis.axvline(HOLDS, color="grey", linewidth=0.8, linestyle=":")
        axis.set(xlabel="step")
    axes[0].set(ylabel="error of accuracy, points", ylim=(0, None))
    axes[1].set(ylabel="error of parameters, factor", yscale="log")
    axes[0].legend(frameon=False)
