"""``archpress evaluate``: budgets, rungs, extra runs, estimates, and what is refused."""

import json
import subprocess
import sys
from collections import Counter
from dataclasses import dataclass, replace
from pathlib import Path

import pytest

from archpress.architectures.architecture import Architecture
from archpress.architectures.layers import BatchNorm, Convolution, Linear, MaxPool, ReLU
from archpress.evaluation.archive import Archive
from archpress.evaluation.cost_model import training_flops
from archpress.evaluation.record import Evaluation
from archpress.training.recipe import find_recipe
from tests.tiny_runs import ROOT, archpress, plain, refused, write_images

IMAGES = 144  # of 160; the others are validation images
RECIPE = find_recipe("label-digits")


@dataclass(frozen=True)
class Population:
    """Four networks in a file, and a data set for them."""

    networks: list[Architecture]
    file: Path
    data: Path
    archive: Path

    def call(self, *options: object) -> str:
        """Label them in this process and return what was printed."""
        done = archpress("evaluate", *self.words(*options))
        assert (done.exit_code, done.stderr) == (0, "")
        return plain(done.stdout)

    def refuse(self, *options: object) -> str:
        """Return the sentence that refuses these options; nothing may have been trained."""
        sentence = refused("evaluate", *self.words(*options))
        assert not self.archive.exists()
        return sentence

    def words(self, *options: object) -> list[object]:
        where = ("--executor", "process") if "--executor" not in options else ()
        files = (self.file, "--data", self.data, "--archive", self.archive)
        by = ("--recipe", RECIPE.name) if "--rungs" not in options else ()
        return [*files, *by, "--precision", "float32", *where, *options]

    def runs(self) -> list[Evaluation]:
        with Archive(self.archive) as store:
            return list(store)


def network(width: int) -> Architecture:
    block = (Convolution(width, 3, padding=1), BatchNorm(), ReLU(), MaxPool(2, 2))
    return Architecture((1, 8, 8), (*block, Linear(4)))


@pytest.fixture
def four(tmp_path: Path) -> Population:
    networks = [network(width) for width in (6, 3, 12, 9)]
    file = tmp_path / "four.jsonl"
    file.write_text("".join(json.dumps(each.to_json()) + "\n" for each in networks))
    data = write_images(tmp_path / "quadrants.npz")
    return Population(networks, file, data, tmp_path / "archive.sqlite")


def flops(each: Architecture) -> float:
    return training_flops(each, RECIPE, IMAGES)


# ------------------------------------------------------------------ one recipe


def test_a_sweep_says_what_it_will_cost_and_what_it_has_cost(four: Population) -> None:
    said = four.call()
    operations = f"{sum(map(flops, four.networks)):.2g} FLOP"
    assert f"to be made: 4 runs, 24 epochs, {operations}; about " in said
    assert f"4 labels in {four.archive}: 4 runs made now, 0 networks without an accuracy" in said
    assert f"spent: 4 ok; 24 epochs, {operations}, " in said
    assert said.index("to be made") < said.index("4 labels in") < said.index("spent")
    again = four.call()
    assert "0 runs made now" in again
    assert "spent" not in again


def test_an_estimate_trains_nothing(four: Population) -> None:
    first, second = four.call("--estimate"), four.call("--estimate")
    for said in (first, second):
        assert said.startswith("to be made: 4 runs, 24 epochs, ")
        assert "on 1 worker (single runs within a factor of " in said
    assert not four.runs()
    four.call()
    assert "to be made: " not in four.call("--estimate")


def test_an_estimate_looks_into_exports_too(four: Population) -> None:
    four.call()
    export = four.archive.with_name("export.jsonl")
    assert archpress("archive", "export", four.archive, export).exit_code == 0
    assert replace(four, archive=export).call("--estimate") == four.call("--estimate")


def test_a_budget_of_operations_is_kept_and_more_of_it_goes_on(four: Population) -> None:
    two = sum(map(flops, four.networks[:2]))
    said = four.call("--budget-flops", two)
    assert "to be made: 2 runs" in said
    assert "2 runs made now" in said
    assert "the budget left 2 runs out" in said
    assert {run.architecture for run in four.runs()} == set(four.networks[:2])
    said = four.call("--budget-flops", 1e18)
    assert "2 runs made now, 0 networks without an accuracy" in said
    assert "the budget left" not in said


def test_a_budget_that_pays_for_nothing_is_no_complete_archive(four: Population) -> None:
    said = four.call("--budget-flops", 1)
    assert "the budget left 4 runs out" in said
    assert "the archive has all runs" not in said
    assert not four.runs()


def test_a_budget_of_minutes_is_kept(four: Population) -> None:
    assert "4 runs made now" in four.call("--budget-minutes", 5)
    assert "0 runs made now" in four.call("--budget-minutes", 1e-6, "--recipe", "final-digits")
    assert len(four.runs()) == 4


# ------------------------------------------------------------------ rungs and extra runs


def test_rungs_are_labelled_by_their_recipes(four: Population) -> None:
    said = four.call("--rungs", "label-digits, final-digits", "--keep", 0.5)
    assert "rung label-digits: 4 labels rung final-digits: 2 labels" in said
    assert "10 runs made now" in said
    of = Counter(run.recipe.epochs for run in four.runs())
    assert of == {6: 4, 20: 2 * 3}


def test_the_ranking_decides_who_goes_on(four: Population) -> None:
    four.call("--rungs", "label-digits,final-digits", "--keep", 0.25, "--ranking", "accuracy")
    scores = {
        run.architecture: run.validation_accuracy for run in four.runs() if run.recipe.epochs == 6
    }
    assert scores.keys() == set(four.networks)
    best = max(scores, key=lambda each: (scores[each] or 0, -each.cost.parameters))
    assert {run.architecture for run in four.runs() if run.recipe.epochs == 20} == {best}


def test_extra_runs_are_added(four: Population) -> None:
    assert "9 runs made now" in four.call("--extra-runs", 5)
    assert len(four.runs()) == 9
    assert "0 runs made now" in four.call("--extra-runs", 5)


# ------------------------------------------------------------------ what is refused


@pytest.mark.parametrize(
    "options, sentence",
    [
        ("--rungs label-digits --extra-runs 3", "--rungs excludes --extra-runs"),
        ("--rungs label-digits --recipe label-small", "--rungs excludes --extra-runs and --recipe"),
        ("--keep 0.5", "--keep and --ranking go with --rungs"),
        ("--ranking front", "--keep and --ranking go with --rungs"),
        ("--workers 2", "--executor process works on one job at a time"),
        ("--rungs label-digits --budget-flops 1e9", "go with one recipe"),
        ("--extra-runs 2 --budget-minutes 1", "go with one recipe"),
        ("--extra-runs 2 --estimate", "go with one recipe"),
        ("--rungs label-digits --ranking fornt", "unknown ranking 'fornt'; did you mean 'front'?"),
        ("--rungs label-digits,final-digit", "unknown recipe 'final-digit'; did you mean"),
        ("--recipe label-digits,final-digits", "unknown recipe 'label-digits,final-digits'"),
        ("--executor rya", "unknown executor 'rya'; did you mean 'ray'?"),
        ("--address 10.0.0.1:6379", "--address goes with --executor ray"),
        ("--job-seconds 5", "--job-seconds and --job-memory go with --executor pool"),
        ("--job-memory 1 --executor process", "--job-seconds and --job-memory go with"),
        ("--job-seconds 0 --executor pool", "seconds of a job is limited to 0"),
        ("--job-memory 0 --executor pool", "expected --job-memory in GB, above 0, received 0"),
        ("--job-memory inf --executor pool", "expected --job-memory in GB, above 0, received inf"),
        ("--budget-minutes 0", "above 0, received 0"),
        ("--budget-minutes -2", "above 0, received -"),
        ("--budget-flops 0", "expected a budget of flops above 0, received 0"),
        ("--rungs label-digits --keep 0", "share to keep above 0 and at most 1"),
    ],
)
def test_contradictions_and_typing_errors_are_refused_before_anything_is_made(
    options: str, sentence: str, four: Population
) -> None:
    assert sentence in four.refuse(*options.split())


def test_the_help_loads_no_torch() -> None:
    code = (
        "import sys; from archpress.cli import app\n"
        "try: app(['evaluate', '--help'])\n"
        "finally: print({'torch', 'ray', 'scipy', 'numpy'} & set(sys.modules) or 'none')"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True
    )
    assert "--budget-minutes" in done.stdout
    assert done.stdout.splitlines()[-1] == "none"


def test_seeds_are_made_for_each_network(four: Population) -> None:
    assert "8 runs made now" in four.call("--seeds", 2)
    assert Counter(run.seed for run in four.runs()) == {0: 4, 1: 4}
