"""The benchmark scripts run, compare what must agree, and write every row."""

import importlib
import json
import subprocess
import sys
from collections import Counter
from functools import partial
from itertools import product
from pathlib import Path
from typing import Any

import pytest

from archpress.architectures.architecture import Architecture
from archpress.compression.guided.settings import GuidedSettings
from archpress.evaluation.archive import Archive
from archpress.evaluation.record import Evaluation, Job
from archpress.training.recipe import TrainingRecipe

ROOT = Path(__file__).parents[1]
ROWS = {"Cost of networks": 14, "Sampling of valid networks": 14, "Capture": 7, "Simplification": 4}
KNOWN = ("processor", "cores", "python", "torch", "numpy", "archpress")


def test_a_quick_run_writes_every_row_with_positive_rates(tmp_path: Path) -> None:
    """One test, so that pytest-xdist runs the script once."""
    out = tmp_path / "run.json"
    script = str(ROOT / "benchmarks" / "architectures.py")
    command = [sys.executable, script, "--quick", "--date", "2026-11-20", "--out", str(out)]
    run = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=False)
    assert run.returncode == 0, run.stderr
    results = json.loads(out.read_text(encoding="utf-8"))
    assert Counter(row["section"] for row in results["rows"]) == ROWS
    for row in results["rows"]:
        assert_row_is_complete(row, run.stdout)
    assert results["networks_compared"] == {
        "batch and fold": 400,
        "batch, fold and both builds": 4,
    }
    machine = results["environment"]
    assert (machine["date"], machine["threads"]) == ("2026-11-20", 1)
    assert all(machine[key] for key in KNOWN)
    assert_batch_cost_is_fast(results["rows"])


def assert_row_is_complete(row: dict[str, Any], printed: str) -> None:
    rate = row["items_per_second"]
    assert 0 < rate["min"] <= rate["median"] <= rate["max"], row
    assert all(ratio["min"] > 0 for ratio in row["times_as_fast_as"].values()), row
    assert (row["rejected_share"] is not None) == row["section"].startswith("Sampling")
    assert f"| {row['subject']} | {row['name']} | {row['items']:,} |" in printed


def assert_batch_cost_is_fast(rows: list[dict[str, Any]]) -> None:
    """A floor with much room: small batches on a loaded machine are still ten times as fast."""
    rates = [row["items_per_second"] for row in rows if row["name"] == "batch_cost, B = 200"]
    assert len(rates) == 2
    assert all(rate["max"] > 2_000 for rate in rates)


def test_the_scheduling_simulation_says_what_it_is_and_keeps_workers_busy(tmp_path: Path) -> None:
    out = tmp_path / "run.json"
    export = ROOT / "experiments" / "fashion-mnist-cpu" / "archive.jsonl"
    command = [sys.executable, str(ROOT / "benchmarks" / "scheduling.py"), "--workers", "4", "64"]
    command += ["--seconds", "1.5", "--archive", str(export), "--out", str(out)]
    run = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=False)
    assert run.returncode == 0, run.stderr
    assert run.stdout.startswith("Simulation: jobs sleep, nothing is trained.")
    results = json.loads(out.read_text(encoding="utf-8"))
    assert results["simulation"] is True
    kinds = Counter((row["kind"], row["source"], row["workers"]) for row in results["rows"])
    assert set(kinds.values()) == {1}
    assert len(kinds) == 8
    for row in results["rows"]:
        assert row["waves"] >= 2
        assert (0.95 if row["kind"] == "virtual time" else 0.3) < row["efficiency"] <= 1, row


@pytest.mark.slow
def test_a_quick_race_of_labels_has_all_arms_and_equal_losses(tmp_path: Path) -> None:
    if not Path("/usr/share/datasets/fashion-mnist").is_dir():
        pytest.skip("Fashion-MNIST is not here")
    out = tmp_path / "run.json"
    command = [sys.executable, str(ROOT / "benchmarks" / "labelling.py"), "--quick"]
    command += ["--out", str(out)]
    run = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=False)
    assert run.returncode == 0, run.stderr
    results = json.loads(out.read_text(encoding="utf-8"))
    assert all(min(row["seconds"][arm]) > 0 for row in results["rows"] for arm in "PWTE")
    assert max(results["parity"]["float32_losses"]) < 1e-5
    assert run.stdout.splitlines()[-1].startswith(("E/P ", "no verdict: "))


def test_the_fidelity_study_counts_and_ranks_as_by_hand(tmp_path: Path) -> None:
    """Five networks whose cheap labels swap two of them: Spearman 0.9, at a twenty-fifth."""
    fidelity = imported("fidelity")
    cheap = fidelity.CHEAP[0]
    with Archive.in_memory() as archive:
        for place, network in enumerate(fidelity.networks(42)[:5]):
            for seed in range(5):
                archive.add(run_of(network, fidelity.FULL, seed, 0.5 + 0.1 * place))
            swapped = {3: 4, 4: 3}.get(place, place)
            archive.add(run_of(network, cheap, 0, 0.4 + 0.1 * swapped))
        ranked, facts = fidelity.compare(archive)
    row = next(row for row in ranked if row.name == f"{cheap.name}, 1 seed")
    assert (row.spearman, row.share) == (pytest.approx(0.9), pytest.approx(1 / 25))
    assert row.seconds == pytest.approx(1 / 25)
    (part,) = [row for row in ranked if row.name.startswith("label-full")]
    assert (part.spearman, part.share) == (pytest.approx(1), pytest.approx(1 / 5))
    assert (facts["networks"], facts["reliability"]) == (5, pytest.approx(1))


def imported(script: str) -> Any:
    sys.path.insert(0, str(ROOT / "benchmarks"))
    try:
        return importlib.import_module(script)
    finally:
        sys.path.pop(0)


def run_of(network: Architecture, by: TrainingRecipe, seed: int, accuracy: float) -> Evaluation:
    job = Job(network, by, seed, "data")
    steps = by.epochs * (54_000 // by.batch_size)
    return Evaluation.of(
        job, "ok", validation_accuracy=accuracy, losses=(1.0,) * by.epochs, images=54_000,
        steps=steps, seconds=float(by.epochs),
    )  # fmt: skip


def small_table(folder: Path) -> dict[str, float]:
    """Write 81 networks that differ in four layers; return their accuracies in per cent."""
    keys = [f"{a}{b}{c}00{d}00" for a, b, c, d in product("012", repeat=4)]
    truth = {key: 70 + 1.3 * int(key[0]) + sum(map(int, key)) for key in keys}
    rows = {key: {"test_acc": [x - 0.1, x, x + 0.1]} for key, x in truth.items()}
    (folder / "nas-bench-macro_cifar10.json").write_text(json.dumps(rows))
    return truth


def test_the_search_comparison_keeps_to_budget_and_labels_and_continues(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    search = imported("search")
    truth, out = small_table(tmp_path), tmp_path / "results.jsonl"
    quick = GuidedSettings(start=14, rounds=1, batch=8, starts=2, steps=2)
    monkeypatch.setattr(search, "SETTINGS", {22: quick})
    monkeypatch.setattr(search, "RATIOS", (1.5,))
    monkeypatch.setattr(search, "ITERATIONS", 4)
    space = imported("macro_space")
    monkeypatch.setattr(space, "fit_readout", partial(space.fit_readout, iterations=40))
    search.run([*search.ARMS], [22], 1, out, tmp_path)
    results = search.read(out)
    assert [result.arm for result in results] == [*search.ARMS]
    sizes = {k: imported("published_tables").macro_network(k).cost.parameters for k in truth}
    within = [truth[key] for key in truth if sizes[key] <= max(sizes.values()) / 1.5]
    for result in results:
        assert result.oracle == pytest.approx(max(within) / 100)
        assert result.met <= result.oracle
        assert all(a <= result.met for a in result.chosen.values())
        assert {round(100 * a, 6) for a in result.chosen.values()} <= {round(x, 6) for x in within}
        assert result.chosen["label"] == result.met, "labels rank as the truth does here"
        assert result.asked == 22 or (result.arm == "paper" and 0 < result.asked <= 10)
    written = out.read_bytes()
    search.run([*search.ARMS], [22], 1, out, tmp_path)
    assert out.read_bytes() == written


def test_the_search_comparison_pairs_repeats_as_by_hand() -> None:
    """Differences of 1, 2 and 3 points: mean 2, half width 4.303 / sqrt 3; repeat 9 has no pair."""
    search = imported("search")
    rows = {"ours": (0.91, 0.92, 0.93), "random": (0.9, 0.9, 0.9)}
    found = [
        search.Result(arm, 50, 3.0, repeat, {"label": a, "drawn": a}, 0.95, 0.95, 50, 1.0)
        for arm, accuracies in rows.items()
        for repeat, a in enumerate(accuracies)
    ]
    found.append(search.Result("random", 50, 3.0, 9, {"label": 0.5}, 0.95, 0.95, 50, 1.0))
    lines = search.table(found, "drawn").splitlines()
    assert "| 1 / 3 | ours | 92.00 | 3.000 ± 2.484 | – | – | 3 |" in lines
    assert "| 1 / 3 | random | 80.00 | 15.000 ± 31.824 | +2.000 ± 2.484 | – | 4 |" in lines
    assert any("random, chosen as ours | 90.00 | 5.000 ± 0.000 |" in line for line in lines)
