"""Searches in the variable-length space, by real training: a budget of 5 %, 100 labels.

Killed and called again, it goes on; ``--table`` prints what is there::

    python benchmarks/search_trained.py --folder work
    python benchmarks/search_trained.py --folder work --table

All arms have the same task, labels, contest and final training, and take turns repeat by repeat.
They share an archive, so that a network that two of them ask for is trained once, but none knows
what another has labelled. ``--known`` begins with the runs of another archive.
"""

import argparse
import json
from dataclasses import replace
from pathlib import Path
from statistics import fmean, stdev
from typing import Any

from scipy.stats import t as student

from archpress.architectures.architecture import Architecture
from archpress.baselines import compound_scaling, random_search, width_scaling
from archpress.compression.contest import held
from archpress.compression.finishing import Finished, read_test, train_finally
from archpress.compression.guided.search import GuidedSearch
from archpress.compression.joint.search import JointSearch
from archpress.compression.known import KNOWN
from archpress.compression.preparation import load_data, prepare
from archpress.compression.run_folder import RunFolder
from archpress.compression.selection import choose
from archpress.compression.settings import RunSettings, load_settings
from archpress.compression.task import CompressionTask, Resources
from archpress.evaluation.archive import Archive
from archpress.evaluation.executors import ProcessPool
from archpress.evaluation.record import Label
from archpress.evaluation.shipped import open_archive
from archpress.files import write_json
from archpress.training.precision import choose_precision

CONTENDERS = 6
PROFILES = {"fashion-mnist": "cpu", "digits": "demo"}
"""CONV-7 on Fashion-MNIST, and the network of the demo on digits."""

TASK = {
    "search.target_parameters": "5%", "guided.start": 40, "guided.rounds": 4, "guided.batch": 15,
    "guided.contenders": CONTENDERS, "final.finalists": 1,
    "space.max_macs": "10%", "space.max_activation_bytes": "50%",
}  # fmt: skip
"""Contest, finalists and the limits of the space are smaller than the profile's: two cores."""
LABELS: dict[str, dict[str, Any]] = {
    "fashion-mnist": {"label.recipe": "label-small", "guided.contender_epochs": 10}, "digits": {}
}  # fmt: skip
"""Two epochs on 10,000 images, and contenders trained ten times as long: a fifth of the images of
whole epochs for a label, and in the one pair of runs that we have at least as good
(`experiments/reproduce-fashion-mnist`).
"""
PAPER = {
    "search.method": "joint", "space.name": "paper", "embedding.configuration": "paper",
    "embedding.iterations": 10_000, "space.networks": 88, "search.candidates": 12,
    "search.rounds": 1, "search.step": "gradient", "search.step_size": 1.0, "search.steps": 20,
    "search.starts": 1, "search.fine_tune_iterations": 0,
}  # fmt: skip
SETTINGS: dict[str, dict[str, Any]] = {
    "ours": {},
    "changes_alone": {"guided.gradient": 0.0, "guided.mutation": 0.8},
    "paper": PAPER,
}
"""What each search changes; random search and scalings are functions of the task.

``changes_alone`` is local search with the regressors of ours: small changes of the best networks in
place of descent.
"""

OURS = "ours"
SCALINGS = {
    "width_scaling": width_scaling.scaled, "compound_scaling": compound_scaling.compound_scaled
}  # fmt: skip
ARMS = (OURS, "changes_alone", "random_search", *SCALINGS, "paper")
"""The order in which they take turns."""


def task_of(data: str) -> dict[str, Any]:
    """Return what all arms have in common, by name of the setting."""
    return {**TASK, **LABELS[data]}


def settings_of(arm: str, repeat: int, data: str) -> RunSettings:
    """Return the settings of an arm; ``data`` is one of `PROFILES`."""
    flags = {**task_of(data), **SETTINGS.get(arm, {}), "seed": repeat, "data.name": data}
    return load_settings(PROFILES[data], flags=flags)


def finalists_of(arm: str, repeat: int, task: CompressionTask, resources: Resources) -> list[Label]:
    """Return what a search hands to the final training."""
    settings = settings_of(arm, repeat, task.data.name)
    if arm == "random_search":
        return random_search.search(task, resources).finalists
    if arm in SCALINGS:
        return [Label(width_scaling.measured(task, SCALINGS[arm]), 0.0, None, ())]
    folder = RunFolder(resources.folder / f"{arm}-{repeat}", settings, resume=True)
    try:
        if settings.search.method == "joint":
            wide = replace(task, finalists=CONTENDERS)
            found = JointSearch(settings, wide, resources, folder).run().finalists
            return held(found, task, resources, None).finalists
        if not (folder.path / KNOWN).exists():
            folder.write_json(KNOWN, [])  # the archive is that of all arms
        return GuidedSearch(settings, task, resources, folder).run().finalists
    finally:
        folder.close()


def finished(arm: str, repeat: int, task: CompressionTask, resources: Resources) -> Finished:
    """Return the network that a search ends in, trained and tested."""
    chosen = finalists_of(arm, repeat, task, resources)
    networks: list[Architecture] = [label.architecture for label in chosen]
    trained = train_finally(networks, task, resources)
    return read_test(choose(trained, task, None), task, resources)


def run(
    folder: Path,
    name: str,
    arms: list[str],
    repeats: int,
    workers: int | None,
    known: Path | None = None,
) -> None:
    """Run what has no result yet; the split of the data is the same in every repeat."""
    data = load_data(settings_of(OURS, 0, name))
    precision = choose_precision("auto")
    folder.mkdir(parents=True, exist_ok=True)
    pool = ProcessPool(data, precision, workers)
    with Archive(folder / "archive.sqlite") as archive, pool:
        if known is not None:
            with open_archive(known) as other:
                archive.merge(list(other))
        resources = Resources(archive, pool, folder)
        for repeat in range(repeats):
            for arm in arms:
                file = folder / "outcomes" / f"{arm}-{repeat}.json"
                if file.exists():
                    continue
                task = prepare(settings_of(arm, repeat, name), data)
                labels = settings_of(OURS, 0, name).guided.labels
                task = replace(task, labels=labels, contenders=CONTENDERS)
                outcome = finished(arm, repeat, task, resources).to_json()
                write_json(file, {"arm": arm, "repeat": repeat, "task": task_of(name), **outcome})
                print(arm, repeat, outcome["parameters"], outcome["test_accuracy"], flush=True)


def outcomes(folder: Path, data: str) -> dict[str, dict[int, dict[str, Any]]]:
    """Return arm -> repeat -> outcome."""
    found: dict[str, dict[int, dict[str, Any]]] = {}
    for file in sorted((folder / "outcomes").glob("*.json")):
        record = json.loads(file.read_text())
        if record["task"] != task_of(data):
            raise SystemExit(f"{file} is of another task: name another folder")
        found.setdefault(record["arm"], {})[record["repeat"]] = record
    return found


def table(folder: Path, data: str) -> str:
    """Return mean, spread and paired differences as a Markdown table.

    A scaling is one network, trained once: its repeats are the same, and its spread is none.
    """
    found = outcomes(folder, data)
    lines = ["| search | repeats | parameters | MACs | test accuracy, % | ours minus it, points |"]
    lines.append("|---|---|---|---|---|---|")
    for arm in ARMS:
        rows = found.get(arm, {})
        if rows:
            lines.append(_row(arm, rows, found.get(OURS, {})))
    return "\n".join(lines) + "\n"


def _row(arm: str, rows: dict[int, dict[str, Any]], ours: dict[int, dict[str, Any]]) -> str:
    sizes = fmean(row["parameters"] for row in rows.values())
    macs = fmean(row["macs"] for row in rows.values()) / 1e6
    pairs = [_of(ours[repeat]) - _of(rows[repeat]) for repeat in rows if repeat in ours]
    difference = "" if arm == OURS else interval(pairs)
    values = [_of(row) for row in rows.values()]
    spread = f" ± {stdev(values):.2f}" if len(values) > 1 else ""
    return (
        f"| {arm.replace('_', ' ')} | {len(rows)} | {sizes:,.0f} | {macs:.1f}M "
        f"| {fmean(values):.2f}{spread} | {difference} |"
    )


def _of(row: dict[str, Any]) -> float:
    return 100 * fmean(row["test_accuracy"])


def interval(differences: list[float]) -> str:
    """Return mean and 95 % interval of paired differences."""
    if len(differences) < 2:
        return ""
    half = student.ppf(0.975, len(differences) - 1) * stdev(differences) / len(differences) ** 0.5
    mean = fmean(differences)
    return f"{mean:+.2f} ({mean - half:+.2f} to {mean + half:+.2f})"


def main() -> None:
    """Run, or print."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--folder", type=Path, required=True, help="what is kept between calls")
    parser.add_argument("--data", choices=PROFILES, default="fashion-mnist", help="on what")
    parser.add_argument("--arms", default=",".join(ARMS), help="comma-separated")
    parser.add_argument("--repeats", type=int, default=5, help="how many")
    parser.add_argument("--workers", type=int, help="worker processes")
    parser.add_argument("--known", type=Path, help="an archive of runs that need not be made")
    parser.add_argument("--table", action="store_true", help="print what is there, run nothing")
    options = parser.parse_args()
    if not options.table:
        arms = options.arms.split(",")
        if unknown := {*arms} - {*ARMS}:
            parser.error(f"unknown arms {', '.join(unknown)}; valid: {', '.join(ARMS)}")
        run(
            options.folder, options.data, arms, options.repeats, options.workers, options.known
        )  # fmt: skip
    print(table(options.folder, options.data))


if __name__ == "__main__":
    main()
