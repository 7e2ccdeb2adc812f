"""Label networks within a budget, go on later, and learn to tell accuracy without training.

Run it: python examples/05_labels_and_regressors.py
It takes 6 seconds of one core and leaves the labels in runs/05-labels.
"""

from pathlib import Path

import numpy as np
import torch
from scipy.stats import spearmanr

import archpress
from archpress.architectures.references import digits_cnn
from archpress.evaluation.executors import InProcess
from archpress.evaluation.shipped import open_archive
from archpress.evaluation.spending import Allowance
from archpress.prediction.choice import fit_best
from archpress.prediction.description import describe
from archpress.training.recipe import find_recipe

ARCHIVE = Path("runs/05-labels/labels.sqlite")
LABELLED, HELD_OUT = 150, 60


def label_in_two_calls() -> None:
    """Label six networks, the first call within a budget too small for all of them."""
    space = archpress.neighbourhood(digits_cnn())
    networks = space.sample(6, torch.Generator().manual_seed(0), distinct=True).architectures
    # Two epochs, so that the example is quick; leave `lasting` out for the recipe's own six.
    # ProcessPool(data), in place of InProcess, labels on all cores.
    recipe = find_recipe("label-digits").lasting(2)
    data = archpress.load_data("digits")
    budgets = {
        "7e9 operations": Allowance(flops=7e9),
        "no bound": Allowance(),
        "again": Allowance(),
    }
    with archpress.Archive(ARCHIVE) as archive, InProcess(data) as executor:
        for name, budget in budgets.items():
            sweep = archpress.evaluate(networks, recipe, archive, executor, budget=budget)
            print(f"{name}: trained {len(sweep.trained)}, left out {sweep.left_out}")
        for label in sweep.labels:
            print(f"{label.parameters:>7,} parameters  validation accuracy {label.accuracy:.3f}")


def correlation_on_held_out_labels() -> None:
    """Learn from some labels of an archive and rank networks that were held out."""
    with open_archive("fashion-mnist-blocks") as archive:  # 600 networks, comes with the package
        first = [run for run in archive if run.seed == 0 and run.validation_accuracy is not None]
    rng = np.random.default_rng(0)
    runs = [first[place] for place in rng.permutation(len(first))[: LABELLED + HELD_OUT]]
    described = describe([run.architecture for run in runs])
    accuracies = np.array([run.validation_accuracy for run in runs])
    known, unseen = np.arange(LABELLED), np.arange(LABELLED, len(runs))

    generator = torch.Generator().manual_seed(0)
    regressor = fit_best(described.rows(known), accuracies[known], generator)
    mean = regressor.predict(described.rows(unseen)).mean
    rank = spearmanr(mean, accuracies[unseen]).statistic
    chance = [spearmanr(mean, rng.permutation(accuracies[unseen])).statistic for _ in range(1000)]
    print(f"learned from {LABELLED} labels, {HELD_OUT} held out: rank correlation {rank:.3f}")
    print(f"with labels shuffled, 99 of 100 are below {np.quantile(chance, 0.99):.3f}")


if __name__ == "__main__":
    label_in_two_calls()
    correlation_on_held_out_labels()
