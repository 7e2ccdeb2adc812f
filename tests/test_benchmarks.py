"""The benchmark script runs, compares its ways of counting, and writes every row."""

import json
import subprocess
import sys
from collections import Counter
from pathlib import Path
from typing import Any

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
