"""How many labels a data set saves that other networks were labelled on another data set.

    archpress sample --input-shape 1,8,8 --count 300 --max-parameters 75626 --out small.jsonl
    archpress evaluate small.jsonl --data digits --archive digits.sqlite
    python benchmarks/transfer.py --source digits.sqlite --target fashion-mnist-blocks

The regressors of the source judge the target's networks; their word is a column more for those of
the target, beside what networks are always described by. For each split, networks are held out and
N labelled ones are the first of the others in random order.
"""

import argparse
from dataclasses import dataclass
from statistics import fmean, stdev

import numpy as np
import torch
from numpy.typing import NDArray
from scipy.stats import spearmanr

from archpress.architectures.architecture import Architecture
from archpress.evaluation.archive_card import main_labels
from archpress.evaluation.shipped import open_archive
from archpress.prediction.choice import Chosen, fit_best
from archpress.prediction.description import Description, describe

COUNTS = (10, 20, 40, 80, 160)
HELD_OUT = 200
Values = NDArray[np.float64]


@dataclass(frozen=True)
class Labelled:
    """Networks of an archive and their accuracies ``[B]``."""

    networks: list[Architecture]
    accuracies: Values


def read(source: str) -> Labelled:
    """Return the networks of an archive that have an accuracy."""
    with open_archive(source) as archive:
        found = main_labels(archive)
    assert found is not None, f"{source} is empty"
    pairs = [(x.architecture, x.accuracy) for x in found.labels if x.accuracy is not None]
    return Labelled([network for network, _ in pairs], np.array([value for _, value in pairs]))


def learned(networks: Description, accuracies: Values, seed: int) -> Chosen:
    """Return the regressors of labels."""
    return fit_best(networks, accuracies, torch.Generator().manual_seed(seed))


def correlations(networks: Description, accuracies: Values, count: int, splits: int) -> list[float]:
    """Return the Spearman correlation with held-out labels, of each split."""
    found = []
    for seed in range(splits):
        order = torch.randperm(
            len(accuracies), generator=torch.Generator().manual_seed(seed)
        ).numpy()
        held_out, known = order[:HELD_OUT], order[HELD_OUT : HELD_OUT + count]
        chosen = learned(networks.rows(known), accuracies[known], seed)
        predicted = chosen.predict(networks.rows(held_out)).mean
        found.append(float(spearmanr(predicted, accuracies[held_out]).statistic))
    return found


def labels_for(target: float, counts: list[int], scores: list[float]) -> float:
    """Return how many labels give a correlation, between those measured, in logarithms."""
    if target > max(scores):
        return float("inf")
    return float(np.exp(np.interp(target, np.maximum.accumulate(scores), np.log(counts))))


def main() -> None:
    """Measure and print a Markdown table."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--source", required=True, help="archive of the other data set")
    parser.add_argument("--target", required=True, help="archive of the data set of interest")
    parser.add_argument("--splits", type=int, default=20, help="how many")
    options = parser.parse_args()
    torch.set_num_threads(1)
    source, target = read(options.source), read(options.target)
    plain = describe(target.networks)
    word = learned(describe(source.networks), source.accuracies, 0).predict(plain).mean
    told = describe(target.networks, early=word)
    alone = float(spearmanr(word, target.accuracies).statistic)
    print(f"{len(source.networks)} source labels, {len(target.networks)} networks of the target;")
    print(f"the source's regressors alone: {alone:.3f}\n")
    counts = [count for count in COUNTS if count + HELD_OUT <= len(target.networks)]
    without, helped = (
        [correlations(networks, target.accuracies, n, options.splits) for n in counts]
        for networks in (plain, told)
    )
    means = [fmean(scores) for scores in without]
    print("| labels | without | with the source | same by labels | saved |\n|---|---|---|---|---|")
    for count, one, two in zip(counts, without, helped, strict=True):
        needed = labels_for(fmean(two), counts, means)
        difference = [b - a for a, b in zip(one, two, strict=True)]
        error = stdev(difference) / len(difference) ** 0.5
        print(
            f"| {count} | {fmean(one):.3f} | {fmean(two):.3f} (+{fmean(difference):.3f} ± "
            f"{error:.3f}) | {needed:.0f} | {needed - count:.0f} |"
        )


if __name__ == "__main__":
    main()
