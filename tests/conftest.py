"""What tests of several packages share: one tiny run, made once."""

import os
import signal
from collections.abc import Iterator

import pytest

os.environ.pop("COLUMNS", None)  # pytest-xdist sets it, and rich would keep to it from import on

from archpress.architectures.references import digits_cnn
from archpress.datasets.dataset import DataSet
from archpress.evaluation.executors import InProcess
from archpress.evaluation.job_limits import NO_LIMITS, JobLimits
from archpress.files import write_json
from archpress.training.precision import Precision
from tests.tiny_runs import FinishedRun, archpress, write_images, write_settings


@pytest.fixture(scope="session")
def finished_run(tmp_path_factory: pytest.TempPathFactory) -> FinishedRun:
    """A run that nothing disturbed; copy its folder before changing it."""
    home = tmp_path_factory.mktemp("finished")
    data = write_images(home / "quadrants.npz")
    settings = write_settings(home / "tiny.toml", data)
    network = write_json(home / "network.json", digits_cnn((1, 8, 8), 4).to_json())
    folder = home / "run"
    result = archpress("compress", network, "--settings", settings, "--out", folder)
    assert result.exit_code == 0, result.output
    assert os.listdir(folder / "compressed")
    return FinishedRun(folder, settings, data, network, result.stdout)


@pytest.fixture
def in_process(monkeypatch: pytest.MonkeyPatch) -> None:
    """Train in this process: starting a worker process takes seconds."""

    def here(
        data: DataSet,
        precision: Precision,
        workers: int | None = None,
        limits: JobLimits = NO_LIMITS,
    ) -> InProcess:
        return InProcess(data, precision)

    monkeypatch.setattr("archpress.compression.runs.ProcessPool", here)
    monkeypatch.setattr("archpress.evaluation.executors.ProcessPool", here)


@pytest.fixture
def can_interrupt() -> Iterator[None]:
    """Let processes started here hear SIGINT, also where this one was told to ignore it."""
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    yield
    signal.signal(signal.SIGINT, before)
