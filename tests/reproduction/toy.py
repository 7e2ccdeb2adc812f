"""Experiments in seconds: settings that leave nothing of the paper's size, and small data."""

import importlib.util
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import pytest
from scipy.io import savemat

from archpress.baselines import pruning
from archpress.evaluation.executors import InProcess
from archpress.reproduction.bench import Bench
from tests.tiny_runs import small_readout

SHARDS = Path(__file__).parents[3] / "shared" / "data" / "cifar10"
SETTINGS = """
[space]
networks = 12
max_macs = "30%"
max_activation_bytes = "100%"
[label]
recipe = "label-digits"
epochs = 1
images = 128
[embedding]
size = 32
channels = 16
hidden = 16
iterations = 60
held_out = 0.2
[search]
label_path = 3
steps = 4
candidates = 4
consider_labelled = true
[guided]
start = 6
rounds = 1
batch = 3
starts = 2
steps = 2
contenders = 0
[final]
recipe = "final-digits"
epochs = 1
images = 256
seeds = 2
[execution]
workers = 1
precision = "float32"
onnx = false
"""


def bench(folder: Path, data: str = "digits", more: str = "", **changes: object) -> Bench:
    """A bench of toy size."""
    folder.mkdir(parents=True, exist_ok=True)
    settings = folder / "toy.toml"
    settings.write_text(SETTINGS + more)
    return Bench(folder / "out", data, "cpu", settings, **changes)  # type: ignore[arg-type]


@contextmanager
def quick() -> Iterator[None]:
    """Train in this process, and prune in two steps."""
    with pytest.MonkeyPatch.context() as patch, small_readout():
        patch.setattr(
            "archpress.compression.runs.ProcessPool",
            lambda data, precision, workers: InProcess(data.without_test(), precision),
        )
        patch.setattr(pruning, "STEPS", 2)
        patch.setattr(pruning, "RUNS", 2)
        yield


def write_data(name: str, folder: Path) -> Path:
    """Write a small part of a data set in the form that it comes in; CIFAR-10's images are real.

    The others are noise of the right shape: no network learns anything from them.
    """
    folder.mkdir(parents=True, exist_ok=True)
    if name == "cifar10":
        spec = importlib.util.spec_from_file_location("shards", SHARDS / "shards.py")
        assert spec is not None and spec.loader is not None
        shards = importlib.util.module_from_spec(spec)
        spec.loader.exec_module(shards)
        images, labels = shards.unpack((SHARDS / "test_1.med.xz").read_bytes())
        images, labels = images[:500], labels[:500]
    else:
        classes = 100 if name == "cifar100" else 10
        images = np.random.default_rng(0).integers(0, 256, (600, 32, 32, 3)).astype(np.uint8)
        labels = np.arange(600) % classes
    if name == "svhn":
        for part in ("train", "test"):
            mat = {"X": images.transpose(1, 2, 3, 0), "y": (labels % 10)[:, None] + 1}
            savemat(folder / f"{part}_32x32.mat", mat)
    else:
        np.savez(
            folder / f"{name}.npz", x_train=images, y_train=labels, x_test=images, y_test=labels
        )
    return folder
