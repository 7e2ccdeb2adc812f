"""How well cheap labels rank networks against the full label, on the same networks, at what cost.

``label`` trains (resumable: killed and called again, it goes on), ``report`` reads what is there::

    python benchmarks/fidelity.py label --archive study.sqlite
    python benchmarks/fidelity.py report --archive study.sqlite --out experiments/fidelity
"""

import argparse
import math
from collections.abc import Sequence
from pathlib import Path

import torch

from archpress.architectures.architecture import Architecture
from archpress.architectures.spaces import SPACES, Limits
from archpress.evaluation.archive import Archive
from archpress.evaluation.datasets import load
from archpress.evaluation.executors import ProcessPool
from archpress.evaluation.precision import choose_precision
from archpress.evaluation.recipe import TrainingRecipe, find_recipe
from archpress.evaluation.sweep import evaluate

SMALLEST, LARGEST = 1_500, 200_000
DRAWN = 1_500
SEED = 1
MOST_WORK = 14.0

FULL = find_recipe("label-full")
PAPER = find_recipe("label-fashion-mnist").model_copy(update={"seeds": 1})


def short(epochs: int, images: int | None, seeds: int) -> TrainingRecipe:
    """Return a complete short schedule."""
    name = f"{epochs} x {f'{images // 1000}k' if images else 'all'}"
    changes = {"epochs": epochs, "images": images, "seeds": seeds, "chance_steps": 100}
    return FULL.model_copy(update={"name": name, **changes})


CHEAP = (
    short(2, 10_000, 3),
    short(2, 20_000, 3),
    short(3, 20_000, 2),
    short(1, None, 3),
    short(2, None, 2),
)
ORDER = (CHEAP[0], CHEAP[1], CHEAP[3], FULL, CHEAP[2], CHEAP[4], PAPER)


def work(network: Architecture) -> float:
    """Return roughly the milliseconds of a step of 128 images on one core of 2024."""
    elements = sum(math.prod(shape) for shape in network.shapes)
    return 2.5 + network.cost.macs / 1e6 + 0.2 * len(network.layers) + 0.15e-3 * elements


def networks(count: int) -> list[Architecture]:
    """Return one network of the blocks space in each of ``count`` equal steps of log size.

    Of each step it is the first drawn whose training fits two cores; nothing else is chosen.
    """
    space = SPACES["blocks"]((1, 28, 28), 10, Limits(SMALLEST, LARGEST, 20_000_000))
    generator = torch.Generator().manual_seed(SEED)
    drawn = space.sample(DRAWN, generator, distinct=True).architectures
    span = math.log(LARGEST / SMALLEST) / count
    chosen: dict[int, Architecture] = {}
    for network in drawn:
        if work(network) < MOST_WORK:
            step = int(math.log(network.cost.parameters / SMALLEST) / span)
            chosen.setdefault(step, network)
    return [chosen[step] for step in sorted(chosen)]


def label(
    archive: Path, count: int, workers: int | None, recipes: Sequence[TrainingRecipe]
) -> None:
    """Train what the archive does not have, cheap recipes first."""
    data = load("fashion-mnist")
    with Archive(archive) as store, ProcessPool(data, choose_precision("auto"), workers) as pool:
        for recipe in recipes:
            made = evaluate(networks(count), recipe, store, pool).trained
            print(
                recipe.name, len(made), "runs", f"{sum(e.seconds for e in made):.0f} s", flush=True
            )


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--archive", type=Path, required=True)
    parser.add_argument("--networks", type=int, default=42)
    parser.add_argument("--workers", type=int)
    options = parser.parse_args()
    label(options.archive, options.networks, options.workers, ORDER)
