"""How well cheap labels rank networks against the full label, on the same networks, at what cost.

``label`` trains (resumable: killed and called again, it goes on), ``report`` reads what is there::

    python benchmarks/fidelity.py label --archive study.sqlite
    python benchmarks/fidelity.py report --archive study.sqlite --out experiments/fidelity
"""

import argparse
import json
import math
from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from itertools import combinations
from pathlib import Path
from typing import Any

import numpy as np
import torch
from scipy.stats import spearmanr

from archpress.architectures.architecture import Architecture
from archpress.architectures.spaces import SPACES, Limits
from archpress.datasets.dataset import load
from archpress.evaluation.archive import Archive
from archpress.evaluation.executors import ProcessPool
from archpress.evaluation.record import Evaluation, Label
from archpress.evaluation.seeds import deviation
from archpress.evaluation.spending import Ledger
from archpress.evaluation.sweep import evaluate
from archpress.training.precision import choose_precision
from archpress.training.recipe import TrainingRecipe, find_recipe

SMALLEST, LARGEST = 1_500, 200_000
DRAWN = 1_500
SEED = 1
MOST_WORK = 14.0

FULL = find_recipe("label-full")


def short(
    epochs: int, images: int | None = None, seeds: int = 1, batch_size: int = FULL.batch_size
) -> TrainingRecipe:
    """Return a complete short schedule."""
    name = f"{epochs} x {f'{images // 1000}k' if images else 'all'}"
    if batch_size != FULL.batch_size:
        name += f", batches of {batch_size}"
    return FULL.model_copy(
        update={
            "name": name, "epochs": epochs, "images": images, "seeds": seeds,
            "batch_size": batch_size, "chance_steps": 100,
        }
    )  # fmt: skip


CHEAP = (
    short(1, seeds=3), short(2), short(1, batch_size=64), short(1, batch_size=32), short(3),
    short(2, 20_000), short(2, 10_000),
)  # fmt: skip
ORDER = (CHEAP[0], FULL, *CHEAP[1:])


def work(network: Architecture) -> float:
    """Return roughly the milliseconds of a step of 128 images on one core."""
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


# ------------------------------------------------------------------ the report


@dataclass(frozen=True)
class Ranked:
    """How one kind of cheap label compares with the full one.

    Attributes:
        name: Recipe and number of initialisations.
        share: Its training operations over those of the full label.
        seconds: The same for measured time.
        spearman: Rank correlation with the full label.
        low: 5th percentile of it over networks drawn with replacement.
        high: 95th percentile.
        error: Mean absolute difference in accuracy after a straight line is fitted.
        top: Rank correlation among the better half of the networks.
    """

    name: str
    share: float
    seconds: float
    spearman: float
    low: float
    high: float
    error: float
    top: float


Values = dict[str, list[Evaluation]]


def runs_of(archive: Archive, recipe: TrainingRecipe) -> Values:
    """Return the runs of each network by one recipe, in order of seed."""
    found: Values = {}
    for evaluation in archive:
        if evaluation.recipe.digest == recipe.digest:
            found.setdefault(evaluation.architecture.digest, []).append(evaluation)
    return {key: sorted(runs, key=lambda run: run.seed) for key, runs in found.items()}


def mean(runs: Sequence[Evaluation]) -> float:
    """Return the label's accuracy."""
    value = Label.of(runs).accuracy
    assert value is not None
    return value


def compare(archive: Archive) -> tuple[list[Ranked], dict[str, Any]]:
    """Return every cheap label against the full one, and how reliable the full one is."""
    full = {k: runs for k, runs in runs_of(archive, FULL).items() if len(runs) == FULL.seeds}
    order = sorted(full)
    truth = [mean(full[key]) for key in order]
    ranked = []
    for recipe in (*CHEAP, FULL):
        runs = runs_of(archive, recipe)
        most = min((len(runs.get(key, [])) for key in order), default=0)
        for count in range(1, most + 1):
            part = {key: runs[key][:count] for key in order}
            name = f"{recipe.name}, {count} seed{'s' * (count > 1)}"
            if recipe is not FULL:
                ranked.append(_ranked(name, part, full))
            elif count == 1:  # against the others, else it would be compared with itself
                others = {key: runs[key][1:] for key in order}
                row = _ranked(f"{name} (with the other four)", part, others)
                ranked.append(replace(row, share=row.share * 4 / 5, seconds=row.seconds * 4 / 5))
    return ranked, {
        "networks": len(order),
        "parameters": [min(_sizes(full)), max(_sizes(full))],
        "accuracy": [min(truth), max(truth)],
        "reliability": reliability([[_value(run) for run in full[key]] for key in order]),
        "seconds": sum(run.seconds for runs in full.values() for run in runs),
        "spread_of_runs": deviation([Label.of(runs) for runs in full.values()]),
    }


def _sizes(full: Values) -> list[int]:
    return [runs[0].architecture.cost.parameters for runs in full.values()]


def _value(run: Evaluation) -> float:
    return mean([run])


def _ranked(name: str, part: Values, full: Values) -> Ranked:
    order = sorted(full)
    cheap = np.array([mean(part[key]) for key in order])
    truth = np.array([mean(full[key]) for key in order])
    generator = np.random.default_rng(0)
    draws = generator.integers(0, len(order), (1000, len(order)))
    found = [
        float(spearmanr(cheap[d], truth[d]).statistic)
        for d in draws
        if len(set(cheap[d])) > 1 and len(set(truth[d])) > 1
    ]
    low, high = np.percentile(found, [5, 95])
    slope, shift = np.polyfit(cheap, truth, 1)
    better = truth > np.median(truth)
    spent, whole = (Ledger.of(r for key in order for r in runs[key]) for runs in (part, full))
    return Ranked(
        name, spent.flops / whole.flops, spent.worker_seconds / whole.worker_seconds,
        float(spearmanr(cheap, truth).statistic), float(low), float(high),
        float(np.abs(slope * cheap + shift - truth).mean()),
        float(spearmanr(cheap[better], truth[better]).statistic),
    )  # fmt: skip


def reliability(values: Sequence[Sequence[float]]) -> float:
    """Return the rank correlation to expect between two full labels of independent seeds.

    Means of two and three seeds, over all ten splits of five, are correlated; the Spearman-Brown
    formula takes their correlation from halves to the whole.
    """
    table = np.array(values)
    found = []
    for pair in combinations(range(table.shape[1]), 2):
        rest = [i for i in range(table.shape[1]) if i not in pair]
        one, other = table[:, list(pair)].mean(1), table[:, rest].mean(1)
        found.append(float(spearmanr(one, other).statistic))
    half = float(np.mean(found))
    return 2 * half / (1 + half)


def table(ranked: Sequence[Ranked]) -> str:
    """Return a Markdown table, the cheapest label first."""
    lines = [
        "| label | FLOPs, share of full | times cheaper | Spearman with full | 5 to 95 % | "
        "in the better half | error, points |",
        "| --- | --- | --- | --- | --- | --- | --- |",
    ]
    for row in sorted(ranked, key=lambda row: row.share):
        lines.append(
            f"| {row.name} | {100 * row.share:.1f} % | {1 / row.share:.1f} | {row.spearman:.4f} | "
            f"{row.low:.3f} to {row.high:.3f} | {row.top:.2f} | {100 * row.error:.2f} |"
        )
    return "\n".join(lines)


def report(archive: Path, out: Path | None) -> None:
    """Print the comparison; write it, and all runs, into ``out``."""
    with Archive.open_readonly(archive) as store:
        ranked, facts = compare(store)
        print(table(ranked))
        print(json.dumps(facts, indent=1))
        if out:
            out.mkdir(parents=True, exist_ok=True)
            store.export(out / "runs.jsonl.xz")
            rows = [asdict(row) for row in ranked]
            record = {"facts": facts, "labels": rows}
            (out / "study.json").write_text(json.dumps(record, indent=1) + "\n")
            (out / "table.md").write_text(table(ranked) + "\n")


def main() -> None:
    """Run ``label`` or ``report``."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("command", choices=("label", "report"))
    parser.add_argument("--archive", type=Path, required=True, help="SQLite file of the study")
    parser.add_argument("--networks", type=int, default=42, help="steps of size (label)")
    parser.add_argument("--workers", type=int, help="worker processes (label)")
    parser.add_argument("--out", type=Path, help="folder to write (report)")
    options = parser.parse_args()
    if options.command == "label":
        label(options.archive, options.networks, options.workers, ORDER)
    else:
        report(options.archive, options.out)


if __name__ == "__main__":
    main()
