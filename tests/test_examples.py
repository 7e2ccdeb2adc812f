"""The examples, run as a user runs them: each says something that can be wrong."""

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

from tests.tiny_runs import ROOT

EXAMPLES = ROOT / "examples"
SCRIPTS = sorted(path.name for path in EXAMPLES.glob("*.py"))


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Where the examples are run: the last one deploys what the first one left."""
    return tmp_path_factory.mktemp("examples")


def run(script: str, folder: Path) -> str:
    """Run an example in a folder and return what it printed; it complains about nothing."""
    environment = {**os.environ, "OMP_NUM_THREADS": "1", "PYTHONPATH": str(ROOT)}
    if environment.pop("PYTHONDONTWRITEBYTECODE", ""):  # imports are most of the time then
        environment["PYTHONPYCACHEPREFIX"] = str(folder / "bytecode")
    done = subprocess.run(
        [sys.executable, str(EXAMPLES / script)],
        cwd=folder, env=environment, capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert (done.returncode, done.stderr) == (0, ""), done.stdout + done.stderr
    return done.stdout


def numbers(pattern: str, text: str) -> list[float]:
    """Return the numbers of the one place where a pattern is found in a text."""
    found = re.findall(pattern.replace("N", r"(-?[\d,]*\.?\d+(?:e[-+]?\d+)?)"), text)
    assert len(found) == 1, (pattern, text)
    groups = found[0] if isinstance(found[0], tuple) else (found[0],)
    return [float(group.replace(",", "")) for group in groups]


def test_a_reference_is_compressed_used_and_deployed(folder: Path) -> None:
    text = run("01_compress_digits.py", folder)
    before, _, _ = numbers(r"before +N parameters +N MACs +test accuracy N", text)
    after, _, accuracy = numbers(r"after +N parameters +N MACs +test accuracy N", text)
    right, images = numbers("N of N test images are classified correctly", text)
    assert before == 75_626
    assert after <= before / 10
    assert accuracy > 0.8  # chance is 0.1
    assert right / images == pytest.approx(accuracy, abs=0.002), "images are scaled otherwise"
    assert (folder / "runs/01-digits/compressed/model.py").exists()
    check_deployed(folder)


def check_deployed(folder: Path) -> None:
    """Run the last example on what the first one left."""
    for module in ("onnx", "onnxscript", "onnxruntime"):
        pytest.importorskip(module)
    text = run("06_deploy_onnx.py", folder)
    rows = {}
    for name in ("before", "after"):
        size, *_, difference, largest = numbers(
            rf"{name} +N bytes +N ms by onnxruntime +N ms by PyTorch +outputs differ by N of N",
            text,
        )
        assert difference < 1e-4 * largest
        assert largest > 0.1
        assert size == (folder / f"runs/06-deploy/{name}/model.onnx").stat().st_size
        rows[name] = size
    assert rows["after"] < rows["before"] / 5


def test_a_module_is_captured_and_compressed(folder: Path) -> None:
    text = run("02_own_network.py", folder)
    (counted,) = numbers("PyTorch counts N parameters", text)
    captured, _ = numbers(r"total +N +N", text)
    before, _ = numbers("before: N parameters, test accuracy N", text)
    after, accuracy = numbers("after: N parameters, test accuracy N", text)
    assert counted == captured == before
    assert after <= before / 10
    assert accuracy > 0.7
    (share,) = numbers(r"module 3\.second\.1 costs most: N%", text)
    assert share == pytest.approx(100 * 9 * 48 * 48 * 16 / numbers(r"MACs +N\n", text)[0], abs=0.1)


def test_own_weights_are_kept(folder: Path) -> None:
    text = run("03_own_data.py", folder)
    (own,) = numbers("trained by this script: test accuracy N", text)
    ours, epochs = numbers("as archpress has it: test accuracy N, N epochs", text)
    times, accuracy = numbers("Nx smaller: test accuracy N", text)
    assert 0.6 < own < 1, "all or nothing says little"
    assert ours == pytest.approx(own, abs=0.004), "one image more or less, at most"
    assert epochs == 0
    assert times >= 10
    assert accuracy > 0.45  # chance is 0.33


def test_bounds_are_kept_and_what_is_out_of_reach_refused(folder: Path) -> None:
    text = run("04_budgets.py", folder)
    own, least = numbers("^parameters: N, the least that was found is N", text)
    target, nearest = numbers(
        "refused: the target of N parameters is below the smallest reachable network, which has N",
        text,
    )
    assert own == 75_626
    assert target < nearest == least
    for metric in ("parameters", "macs", "latency_ms"):
        value, bound = numbers(f"{metric}: N of at most N", text)
        assert value <= bound
    (drop,) = numbers("drop of validation accuracy: N of at most 0.1", text)
    assert drop <= 0.1


def test_labels_are_continued_and_regressors_beat_chance(folder: Path) -> None:
    text = run("05_labels_and_regressors.py", folder)
    first, left = numbers("7e9 operations: trained N, left out N", text)
    second, _ = numbers("no bound: trained N, left out N", text)
    assert first == 3
    assert left == second == 6 - first
    assert numbers("again: trained N, left out N", text) == [0, 0]
    (rank,) = numbers("held out: rank correlation N", text)
    (chance,) = numbers("99 of 100 are below N", text)
    assert 0.15 < chance < 0.5
    assert rank > chance + 0.3


def test_the_read_me_names_every_example_and_its_time() -> None:
    text = (EXAMPLES / "README.md").read_text()
    named = re.findall(r"^\| \[(\w+\.py)\]\(\1\) \| .+ \| \d+ s \|$", text, re.MULTILINE)
    assert named == SCRIPTS
    assert [name[:3] for name in SCRIPTS] == [f"{n:02d}_" for n in range(1, len(SCRIPTS) + 1)]


@pytest.mark.parametrize("script", SCRIPTS)
def test_an_example_says_how_to_run_it_and_for_how_long(script: str) -> None:
    text = (EXAMPLES / script).read_text()
    assert f"Run it: python examples/{script}\n" in text
    (seconds,) = re.findall(r"It takes (\d+) seconds", text)
    rows = (EXAMPLES / "README.md").read_text().splitlines()
    (row,) = (row for row in rows if row.startswith(f"| [{script}]"))
    assert row.endswith(f"| {seconds} s |")
    assert "archpress._" not in text
