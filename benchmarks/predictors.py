"""How well regressors rank held-out networks from few labels, on tables of trained networks.

For each split, 300 networks are held out and N labelled ones are the first of the others in random
order. The splits' seeds are 0, 1, 2, ...; design choices were made on splits seeded from 1,000 on.
Of an archive with repeated seeds, the networks that have them are what is held out in every split.
"""

import argparse
import json
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from itertools import product
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from published_tables import metaqnn, nas_bench_macro
from scipy.stats import spearmanr

from archpress.evaluation.archive_card import main_labels
from archpress.evaluation.shipped import open_archive
from archpress.prediction.calibration import calibration
from archpress.prediction.choice import fit_best
from archpress.prediction.description import Description, describe, integers, joined
from archpress.prediction.gaussian_process import GaussianProcess
from archpress.prediction.noise import Ceiling, ceiling
from archpress.prediction.normal_scores import OnNormalScores, ScoredPredictor
from archpress.prediction.paper_regressor import paper_regressor
from archpress.prediction.perceptrons import Perceptrons
from archpress.prediction.predictor import Method, Prediction
from archpress.prediction.trees import random_forest

TABLES = Path(__file__).resolve().parents[2] / "shared" / "data" / "tables"
HELD_OUT = 300
SPLITS = 20
COUNTS = (50, 100, 200, 500)
"""Numbers of labels of an archive, as far as it goes."""
FEWEST_REPEATED = 30
"""Networks with repeated seeds that are enough to be what is held out."""
Values = NDArray[np.float64]


@dataclass(frozen=True)
class Setting:
    """What is to be predicted from what.

    Attributes:
        name: Heading.
        networks: As the regressors read them.
        raw: As the paper's regressor reads them.
        labels: What regressors learn from, ``[B]``.
        truth: What held-out networks are ranked by, ``[B]``.
        counts: Numbers of labels.
        ceiling: Of the correlation with ``truth``, where seeds were repeated.
        held_out: Numbers of the networks held out in every split; None where each draws its own.
    """

    name: str
    networks: Description
    raw: Description
    labels: Values
    truth: Values
    counts: tuple[int, ...]
    ceiling: Ceiling | None = None
    held_out: NDArray[np.int64] | None = None

    def split(self, number: int) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
        """Return the networks held out, and the others in the order in which they are labelled."""
        order = np.random.default_rng(number).permutation(len(self.labels))
        if self.held_out is not None:
            return self.held_out, order[~np.isin(order, self.held_out)]
        held = min(HELD_OUT, len(order) - max(self.counts))
        return order[:held], order[held:]


@dataclass(frozen=True)
class Result:
    """One regressor on one split.

    Attributes:
        setting: Name of the setting.
        fit: Which of `FITS` it came from.
        regressor: Its name.
        labels: Their number.
        split: Its number.
        spearman: Rank correlation with the truth of the held-out networks.
        coverage: Share of held-out labels within the stated central 90 %.
        seconds: Of the whole fit.
    """

    setting: str
    fit: str
    regressor: str
    labels: int
    split: int
    spearman: float
    coverage: float
    seconds: float


# ------------------------------------------------------------------ what is predicted


def settings(folder: Path, archives: Sequence[str]) -> Iterator[Setting]:
    """Yield every setting whose data are at hand."""
    if (folder / "metaqnn_cifar10.json").is_file():
        yield from metaqnn_settings(folder)
    if (folder / "nas-bench-macro_cifar10.json").is_file():
        yield macro_setting(folder)
    for name in archives:
        yield archive_setting(name)


def metaqnn_settings(folder: Path) -> Iterator[Setting]:
    """Yield the table without training information, and with the accuracy after two epochs."""
    table = metaqnn(folder)
    final, early, raw = table.accuracies[:, -1], table.accuracies[:, 1], integers(table.networks)
    described, counts = describe(table.networks), (50, 100, 200)
    yield Setting("MetaQNN", described, raw, final, final, counts)
    described = describe(table.networks, early)
    raw = joined({"integers": raw.values, "early": early})
    name = "MetaQNN, accuracy after 2 epochs known"
    yield Setting(name, described, raw, final, final, counts)


def macro_setting(folder: Path) -> Setting:
    """Return the table: labels of the first seed, the mean of three as truth."""
    table = nas_bench_macro(folder)
    best = ceiling(table.accuracies, 3, torch.Generator().manual_seed(0))
    described, raw = describe(table.networks), integers(table.networks)
    seed, mean = table.accuracies[:, 0], table.accuracies.mean(1)
    return Setting("NAS-Bench-Macro", described, raw, seed, mean, (50, 100), best)


def archive_setting(name: str) -> Setting:
    """Return the main labels of an archive; truth is the mean over a network's seeds."""
    with open_archive(name) as archive:
        found = main_labels(archive)
    assert found is not None, f"{name} is empty"
    labels = [label for label in found.labels if label.values]
    members = [label.architecture for label in labels]
    mean = np.array([np.mean(label.values) for label in labels])
    several = np.flatnonzero([len(label.values) > 1 for label in labels])
    counts = tuple(n for n in COUNTS if n + max(50, len(several)) <= len(mean))
    best = archive_ceiling([labels[place].values for place in several])
    held_out = several if best else None
    first = np.array([label.values[0] for label in labels])
    described = describe(members)
    return Setting(name, described, integers(members), first, mean, counts, best, held_out)


def archive_ceiling(runs: Sequence[Sequence[float]]) -> Ceiling | None:
    """Return the ceiling of networks with several seeds; None where they are few or unequal."""
    seeds = {len(values) for values in runs}
    if len(runs) < FEWEST_REPEATED or len(seeds) > 1:
        return None
    return ceiling(runs, seeds.pop(), torch.Generator().manual_seed(0))


# ------------------------------------------------------------------ who predicts

Predictions = Mapping[str, Prediction]
Fit = Callable[[Setting, NDArray[np.int64], NDArray[np.int64], torch.Generator], Predictions]


def chosen(
    setting: Setting,
    known: NDArray[np.int64],
    held_out: NDArray[np.int64],
    generator: torch.Generator,
) -> Predictions:
    """Return what `fit_best` predicts, and what each rival in it does."""
    best = fit_best(setting.networks.rows(known), setting.labels[known], generator)
    rivals = {n: ScoredPredictor(best.scale, m) for n, m in best.scores.members.items()}
    asked = setting.networks.rows(held_out)
    return {name: p.predict(asked) for name, p in {"chosen": best, **rivals}.items()}


def alone(name: str, method: Method, raw: bool = False) -> Fit:
    """Return how one method predicts; from the paper's vectors where ``raw``."""

    def fit(
        setting: Setting,
        known: NDArray[np.int64],
        held_out: NDArray[np.int64],
        generator: torch.Generator,
    ) -> Predictions:
        networks = setting.raw if raw else setting.networks
        predictor = method.fit(networks.rows(known), setting.labels[known], generator)
        return {name: predictor.predict(networks.rows(held_out))}

    return fit


FITS: Mapping[str, Fit] = {
    "chosen": chosen,
    "forest": alone("random_forest", OnNormalScores(random_forest())),
    "plain": alone("gaussian_process, accuracies as they are", GaussianProcess()),
    "integers": alone("gaussian_process, raw integers", OnNormalScores(GaussianProcess()), True),
    "perceptrons": alone("perceptrons", OnNormalScores(Perceptrons())),
    "paper": alone("paper's regressor, raw integers", paper_regressor(), True),
}


def results(setting: Setting, fit: str, count: int, split: int) -> Iterator[Result]:
    """Yield what one fit comes to."""
    held_out, order = setting.split(split)
    known = order[:count]
    start = time.perf_counter()
    predictions = FITS[fit](setting, known, held_out, torch.Generator().manual_seed(split))
    seconds = time.perf_counter() - start
    for name, prediction in predictions.items():
        spearman = float(spearmanr(prediction.mean, setting.truth[held_out]).statistic)
        coverage = calibration(prediction, setting.labels[held_out]).coverage[0.9]
        yield Result(setting.name, fit, name, count, split, spearman, coverage, seconds)


def run(known: Sequence[Setting], fits: Sequence[str], splits: int, out: Path) -> list[Result]:
    """Return all results; those in ``out`` are not computed again, new ones are added to it."""
    found = read(out)
    done = {(r.setting, r.fit, r.labels, r.split) for r in found}
    for split, fit, setting in product(range(splits), fits, known):
        for count in setting.counts:
            if (setting.name, fit, count, split) not in done:
                new = list(results(setting, fit, count, split))
                with out.open("a", encoding="utf-8") as file:
                    file.writelines(json.dumps(asdict(result)) + "\n" for result in new)
                found += new
    return found


# ------------------------------------------------------------------ what is written


def read(out: Path) -> list[Result]:
    """Return the results in a file; none where there is no file."""
    lines = out.read_text(encoding="utf-8").splitlines() if out.exists() else []
    return [Result(**json.loads(line)) for line in lines]


def table(found: Sequence[Result], known: Sequence[Setting]) -> str:
    """Return a Markdown table per setting: a row per regressor, a column per number of labels."""
    parts = []
    for setting in known:
        own = [result for result in found if result.setting == setting.name]
        head = ["regressor", *(f"N = {count}" for count in setting.counts), "within 90 %", "splits"]
        lines = [head, ["---"] * len(head)]
        for name in dict.fromkeys(result.regressor for result in own):
            rows = [result for result in own if result.regressor == name]
            cells = [cell([r for r in rows if r.labels == count]) for count in setting.counts]
            coverage = float(np.mean([r.coverage for r in rows]))
            splits = len({result.split for result in rows})
            lines.append([name, *cells, f"{coverage:.2f}", str(splits)])
        parts.append(f"### {setting.name}\n\n" + "\n".join(f"| {' | '.join(r)} |" for r in lines))
        if setting.ceiling:
            best = setting.ceiling
            parts.append(f"Ceiling {best.mean:.3f}, reliability {best.reliability:.3f}.")
    return "\n\n".join(parts)


def cell(results: Sequence[Result]) -> str:
    """Return mean and standard error over splits."""
    values = [result.spearman for result in results]
    if len(values) < 2:
        return f"{values[0]:.3f}" if values else "–"
    return f"{np.mean(values):.3f} ± {np.std(values, ddof=1) / len(values) ** 0.5:.3f}"


def main() -> None:
    """Run what is missing, print the tables."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--tables", type=Path, default=TABLES)
    parser.add_argument("--archive", nargs="*", default=[], help="files, or names in the package")
    parser.add_argument("--methods", nargs="+", default=[*FITS], choices=[*FITS])
    parser.add_argument("--splits", type=int, default=SPLITS)
    parser.add_argument("--out", type=Path, required=True, help="results, continued where begun")
    options = parser.parse_args()
    torch.set_num_threads(1)
    known = list(settings(options.tables, options.archive))
    print(table(run(known, options.methods, options.splits, options.out), known))


if __name__ == "__main__":
    main()
