"""A whole run in seconds, and the command line as a user calls it."""

import hashlib
import os
import re
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from typer.testing import CliRunner, Result

from archpress.cli import app
from archpress.evaluation.executors import InProcess

ROOT = Path(__file__).parents[1]
SETTINGS = """
[data]
name = "{data}"
[space]
max_macs = "20%"
[label]
recipe = "label-digits"
epochs = 3
[search]
target_parameters = "40%"
[guided]
start = 8
rounds = 1
batch = 4
starts = 2
steps = 2
contenders = 2
contender_epochs = 2
[final]
recipe = "final-digits"
epochs = 2
seeds = 2
finalists = 1
[execution]
workers = 1
precision = "float32"
onnx = false
"""
START = 8
LABELLED = START + 4
JOINT = """
[space]
networks = 10
max_macs = "20%"
[embedding]
size = 8
channels = 8
hidden = 8
iterations = 30
batch_size = 8
unlabelled = 16
[search]
method = "joint"
target_parameters = "40%"
steps = 3
starts = 2
candidates = 2
rounds = 1
fine_tune_iterations = 2
"""
"""What stands in place of the tables from ``space`` on, but for recipes, for the joint search."""


@dataclass(frozen=True)
class FinishedRun:
    """A run that nothing disturbed.

    Attributes:
        folder: The run folder; copy it before changing it.
        settings: Its settings file.
        data: Its ``.npz``.
        network: Its network, as a file.
        output: What ``compress`` printed.
    """

    folder: Path
    settings: Path
    data: Path
    network: Path
    output: str

    def compress(self, folder: Path, *options: object) -> Result:
        """Call ``compress`` with this run's network and settings on another folder."""
        return archpress(
            "compress", self.network, "--settings", self.settings, "--out", folder, *options
        )


@contextmanager
def small_readout() -> Iterator[None]:
    """Fit the readout of a guided search to fewer networks, in fewer steps."""
    from archpress.compression.guided import search
    from archpress.embedding.readout import fit_readout

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(search, "READ", 150)
        patch.setattr(search, "fit_readout", partial(fit_readout, iterations=60))
        yield


def finish_joint_run(home: Path, other: FinishedRun) -> FinishedRun:
    """Run the joint search on another run's network and data; trains in this process."""
    text = other.settings.read_text()
    tables = [
        table for table in text.split("[") if not table.startswith(("space", "search", "gui"))
    ]
    settings = home / "joint.toml"
    settings.write_text("[".join(tables) + JOINT)
    joint = FinishedRun(home / "run", settings, other.data, other.network, "")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(
            "archpress.compression.runs.ProcessPool",
            lambda data, precision, workers: InProcess(data, precision),
        )
        result = joint.compress(joint.folder)
    assert result.exit_code == 0, result.output
    return replace(joint, output=result.stdout)


def write_images(path: Path, **changes: Any) -> Path:
    """Write an ``.npz`` of 240 images of 8x8: one bright quadrant for each of four classes."""
    rng = np.random.default_rng(0)
    labels = np.arange(240) % 4
    images = rng.integers(0, 120, (240, 8, 8))
    for image, label in zip(images, labels, strict=True):
        row, column = 4 * (label // 2), 4 * (label % 2)
        image[row : row + 4, column : column + 4] += 60
    arrays = {
        "x_train": images[:160].astype(np.uint8), "y_train": labels[:160],
        "x_test": images[160:].astype(np.uint8), "y_test": labels[160:],
    }  # fmt: skip
    np.savez(path, **{**arrays, **changes})
    return path


def write_settings(path: Path, data: object, *replacements: tuple[str, str]) -> Path:
    """Write the settings of a tiny run, changed by (old, new) lines."""
    text = SETTINGS.format(data=data)
    for old, new in replacements:
        assert text.count(old) == 1, old
        text = text.replace(old, new)
    path.write_text(text)
    return path


def archpress(*arguments: object, columns: int = 160) -> Result:
    """Call the command line in this process; an unexpected error is raised here."""
    runner = CliRunner(env={"COLUMNS": str(columns), "NO_COLOR": "1"})
    return runner.invoke(app, [str(a) for a in arguments], catch_exceptions=False)


def archpress_process(*arguments: object, **options: Any) -> subprocess.Popen[str]:
    """Start the command line in a process and a process group of its own."""
    threads = str(torch.get_num_threads())  # sums differ with their number
    environment = {**os.environ, "OMP_NUM_THREADS": threads, "NO_COLOR": "1", "COLUMNS": "160"}
    return subprocess.Popen(
        [sys.executable, "-m", "archpress", *map(str, arguments)],
        stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, process_group=0,
        env={**environment, "PYTHONPATH": str(ROOT)}, **options,
    )  # fmt: skip


def refusal(status: int, errors: str) -> str:
    """Return the sentence of a refused call, once it is sure that it is one and nothing else."""
    assert "Traceback" not in errors
    lines = errors.splitlines()
    assert (status, len(lines)) == (2, 1), errors
    assert lines[0].startswith("error: ")
    assert len(lines[0]) > len("error: ") + 10
    return lines[0]


def refused(*arguments: object) -> str:
    """Call the command line in this process and return the sentence that it refuses with."""
    result = archpress(*arguments)
    return refusal(result.exit_code, result.stderr)


def plain(text: str) -> str:
    """Return the text without escape sequences, frames and line breaks."""
    text = re.sub(r"\x1b\[[0-9;]*m", "", text)
    return " ".join(re.sub(r"[─-╿]", " ", text).split())


def snapshot(folder: Path) -> dict[str, str]:
    """Return the hash of every file below a folder; links and empty folders too, by name."""
    return {
        path.relative_to(folder).as_posix(): hashlib.sha256(
            path.read_bytes() if path.is_file() else b""
        ).hexdigest()
        for path in sorted(folder.rglob("*"))
    }
