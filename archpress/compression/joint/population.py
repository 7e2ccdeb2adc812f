"""The population that a search labels: drawn from the space, partly within the budget."""

import torch

from archpress.architectures.architecture import Architecture
from archpress.architectures.spaces import Sample
from archpress.compression.budget import sample_within
from archpress.compression.task import CompressionTask


def draw_population(
    task: CompressionTask, count: int, generator: torch.Generator
) -> tuple[list[Architecture], Sample]:
    """Return ``count`` distinct networks, and the sample of those drawn from the whole space.

    The space draws every size equally often, so that enough networks are within a bound of
    parameters. Of no other cost that is sure: where one is bounded, half of the networks are drawn
    within the budget.
    """
    within: list[Architecture] = []
    if task.budget.bounds.keys() - {"parameters"}:
        within = sample_within(task.space, task.budget, count // 2, generator, task.latency)
    known = set(within)
    sample = task.space.sample(
        count - len(within), generator, distinct=True, accept=lambda a: a not in known
    )
    return [*within, *sample.architectures], sample


def sampling_record(sample: Sample) -> dict[str, object]:
    """Return how many draws a sample took, and why the others were rejected."""
    return {
        "accepted": len(sample.architectures),
        "drawn": sample.drawn,
        "rejected": dict(sample.rejected),
        "repaired": dict(sample.repaired),
    }
