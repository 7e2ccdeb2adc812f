"""The Python interface: objects in place of names, and a trained module as the result."""

import importlib.util
import shutil
import subprocess
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file

import archpress
from archpress.architectures.references import conv7, digits_cnn
from archpress.compression.result import CompressionResult
from archpress.datasets.dataset import DataSet, from_tensors
from archpress.errors import (
    ArchiveError,
    ArchpressError,
    DataError,
    RunFolderError,
    SettingsError,
)
from archpress.errors import UnknownNetworkError as UnknownNetwork
from archpress.evaluation.archive import Archive
from archpress.evaluation.executors import InProcess, OnEpoch, ignore
from archpress.evaluation.record import Evaluation, Job
from tests.tiny_runs import ROOT, FinishedRun, snapshot

CHANGES: dict[str, Any] = {
    "space__max_macs": "20%",
    "label__epochs": 1,
    "search__target_parameters": 25_000,
    "guided__start": 6,
    "guided__rounds": 1,
    "guided__batch": 3,
    "guided__starts": 2,
    "guided__steps": 2,
    "guided__contenders": 2,
    "guided__contender_epochs": 2,
    "final__epochs": 2,
    "final__seeds": 1,
    "final__finalists": 1,
    "execution__precision": "float32",
}


def tensors(seed: int = 0) -> tuple[torch.Tensor, torch.Tensor]:
    """Images of 8x8 in three classes, each with a bright row of its own."""
    generator = torch.Generator().manual_seed(seed)
    labels = torch.arange(120) % 3
    images = torch.randint(0, 100, (120, 1, 8, 8), generator=generator)
    images[torch.arange(120), 0, 2 * labels] += 100
    return images.to(torch.uint8), labels


@pytest.fixture(scope="module")
def data() -> DataSet:
    return from_tensors(tensors(), name="rows")


@pytest.fixture(scope="module")
def told() -> list[tuple[str, int, int]]:
    """What `progress` was told."""
    return []


@pytest.fixture(scope="module")
def result(
    data: DataSet, told: list[tuple[str, int, int]], tmp_path_factory: pytest.TempPathFactory
) -> CompressionResult:
    """A run with an Architecture and a DataSet in place of names."""
    folder = tmp_path_factory.mktemp("api") / "run"
    with pytest.MonkeyPatch.context() as patch:  # starting a worker process takes seconds
        patch.setattr(
            "archpress.compression.runs.ProcessPool",
            lambda data, precision, workers: InProcess(data, precision),
        )
        return archpress.compress(
            digits_cnn((1, 8, 8), 3), data, out=folder, profile="demo",
            progress=lambda *what: told.append(what), **CHANGES,
        )  # fmt: skip


# ------------------------------------------------------------------ compress


def test_objects_stand_in_place_of_names(result: CompressionResult) -> None:
    assert isinstance(result, archpress.CompressionResult)
    assert result.base.architecture == digits_cnn((1, 8, 8), 3)
    assert isinstance(result.architecture, archpress.Architecture)
    assert result.architecture.cost.parameters <= 25_000
    counts = [f.architecture.cost.parameters for f in (result.base, result.compressed)]
    assert result.compression == counts[0] / counts[1] > 1


def test_the_model_gives_logits(result: CompressionResult, data: DataSet) -> None:
    model = result.model
    assert not model.training
    logits = model(torch.randn(5, *data.input_shape))
    assert logits.shape == (5, 3)
    for sums in (logits.sum(1), logits.exp().sum(1)):
        assert ((sums - 1).abs() > 0.01).all(), "neither probabilities nor their logarithms"
    assert sum(p.numel() for p in model.parameters()) == result.architecture.cost.parameters


def test_images_are_predicted_as_they_come(result: CompressionResult, data: DataSet) -> None:
    logits = result.predict(data.test.images)
    accuracy = float((logits.argmax(1) == data.test.labels).float().mean())
    assert accuracy == pytest.approx(max(result.compressed.test_accuracy), abs=1e-6)
    on_unit_scale = result.predict(data.test.images.float() / 255)
    assert torch.allclose(on_unit_scale, logits, atol=1e-4)
    mean, deviation = data.channel_statistics()
    scaled = (data.test.images / 255 - mean.view(1, -1, 1, 1)) / deviation.view(1, -1, 1, 1)
    assert torch.allclose(result.model(scaled), logits, atol=1e-4)


def test_what_an_archive_knows_is_not_trained_again(
    result: CompressionResult, data: DataSet, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    jobs: list[Job] = []

    class Noting(InProcess):
        def run(self, asked: Sequence[Job], on_epoch: OnEpoch = ignore) -> Iterator[Evaluation]:
            jobs.extend(asked)
            return super().run(asked, on_epoch)

    monkeypatch.setattr(
        "archpress.compression.runs.ProcessPool",
        lambda data, precision, workers: Noting(data, precision),
    )
    again = archpress.compress(
        digits_cnn((1, 8, 8), 3), data, out=tmp_path / "run", profile="demo",
        archive=str(result.folder / "archive.sqlite"), **CHANGES,
    )  # fmt: skip
    with Archive(result.folder / "archive.sqlite") as archive:
        known = {run.key for run in archive}
    assert {job.key for job in jobs}.isdisjoint(known)
    assert again.labels < result.labels
    assert again.base.test_accuracy == result.base.test_accuracy


def test_an_archive_that_is_not_there_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ArchiveError, match=r"no archive .*none\.sqlite"):
        archpress.compress(
            "digits-cnn", "digits", out=tmp_path / "run", profile="demo",
            archive=tmp_path / "none.sqlite",
        )  # fmt: skip
    assert not (tmp_path / "run").exists()


def test_the_report_is_written(result: CompressionResult) -> None:
    assert "<html" in (result.folder / "report.html").read_text()[:200]


@pytest.mark.parametrize(
    ("network", "given", "complaint"),
    [
        (torch.nn.Linear, "digits", "received the class Linear: give an object of it"),
        (3, "digits", "received int"),
        ("digits-cnn", torch.zeros(3), "received Tensor; write arrays into an .npz"),
        ("digits-cnn", None, "received NoneType"),
    ],
)
def test_what_is_no_network_or_no_data_is_told_so(
    network: Any, given: Any, complaint: str, tmp_path: Path
) -> None:
    with pytest.raises(ArchpressError, match=complaint):
        archpress.compress(network, given, out=tmp_path / "run")
    assert not (tmp_path / "run").exists()


def test_names_are_offered_where_python_is_typed() -> None:
    assert set(dir(archpress)) >= {*archpress.__all__, "__version__"}


def test_the_target_needs_no_table(data: DataSet, tmp_path: Path) -> None:
    with pytest.raises(ArchpressError, match="12 parameters"):
        archpress.compress(
            digits_cnn((1, 8, 8), 3), data, out=tmp_path / "run", profile="demo",
            target_parameters=12,
        )  # fmt: skip


def test_the_model_is_the_one_in_the_run_folder(result: CompressionResult) -> None:
    folder = result.folder / "compressed"
    specification = importlib.util.spec_from_file_location("compressed_model", folder / "model.py")
    assert specification and specification.loader
    module = importlib.util.module_from_spec(specification)
    specification.loader.exec_module(module)
    written = module.Network()
    written.load_state_dict(load_file(folder / "weights.safetensors"))
    images = torch.randn(5, 1, 8, 8)
    assert torch.equal(written.eval()(images), result.model(images))


def test_settings_are_named_with_two_underscores(result: CompressionResult) -> None:
    assert result.compressed.epochs == 2
    assert len(result.compressed.test_accuracy) == 1
    assert len((result.folder / "proposals.jsonl").read_text().splitlines()) == result.labels == 9


def test_progress_is_told_stage_by_stage(
    result: CompressionResult, told: list[tuple[str, int, int]]
) -> None:
    stages = list(dict.fromkeys(stage for stage, _, _ in told))
    assert stages == ["labels", "round 1", "contest", "final training", "test set"]
    assert all(0 < done <= total for _, done, total in told)
    assert {stage for stage, done, total in told if done == total} == set(stages)


def test_a_run_is_continued_only_when_asked_to(result: CompressionResult, data: DataSet) -> None:
    before = snapshot(result.folder)
    arguments = (digits_cnn((1, 8, 8), 3), data)
    with pytest.raises(RunFolderError, match="holds this run already"):
        archpress.compress(*arguments, out=result.folder, profile="demo", **CHANGES)
    assert snapshot(result.folder) == before
    again = archpress.compress(
        *arguments, out=str(result.folder), profile="demo", resume=True, **CHANGES
    )
    assert again.compressed == result.compressed


def test_other_objects_make_another_run(result: CompressionResult, data: DataSet) -> None:
    network = digits_cnn((1, 8, 8), 3)
    other_data = from_tensors(tensors(seed=1), name="rows")
    wider = archpress.Architecture((1, 8, 8), network.layers[3:])
    for arguments, setting in (((network, other_data), "data.name"), ((wider, data), "network")):
        with pytest.raises(RunFolderError, match=f"holds another run .its {setting} is"):
            archpress.compress(
                *arguments, out=result.folder, profile="demo", resume=True, **CHANGES
            )


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"search__step_sise": 1}, "unknown key 'search.step_sise'; did you mean 'step_size'"),
        ({"serch__steps": 1}, "unknown key 'serch'; did you mean 'search'"),
        ({"search__steps": 0}, "'search.steps' is 0"),
        ({"search__target_parameters": "abc"}, "search.target_parameters is 'abc', expected"),
        ({"profile": "demoo"}, "unknown profile 'demoo'; did you mean 'demo'"),
    ],
)
def test_wrong_settings_are_refused_before_a_folder_is_made(
    changes: dict[str, Any], words: str, data: DataSet, tmp_path: Path
) -> None:
    with pytest.raises(SettingsError, match=words):
        archpress.compress("digits-cnn", data, out=tmp_path / "run", **changes)
    assert not (tmp_path / "run").exists()


def test_a_network_that_does_not_fit_the_data_is_refused(data: DataSet, tmp_path: Path) -> None:
    for network in (conv7((1, 28, 28), 3), digits_cnn((1, 8, 8), 10)):
        with pytest.raises(UnknownNetwork, match=r"the data has \(1, 8, 8\) and 3"):
            archpress.compress(network, data, out=tmp_path / "run")
    assert not (tmp_path / "run").exists()


def test_paths_may_be_paths(data: DataSet, finished_run: FinishedRun, tmp_path: Path) -> None:
    with pytest.raises(UnknownNetwork, match=r"nowhere\.json does not exist"):
        archpress.compress(tmp_path / "nowhere.json", data, out=tmp_path / "run")
    with pytest.raises(DataError, match=r"nowhere\.npz, which does not exist"):
        archpress.compress("digits-cnn", tmp_path / "nowhere.npz", out=tmp_path / "run")
    folder = shutil.copytree(finished_run.folder, tmp_path / "copy")
    with pytest.raises(
        RunFolderError, match=r"holds another run .its space.max_macs is '20%', not"
    ):
        archpress.compress(finished_run.network, finished_run.data, out=folder)


def test_every_error_of_ours_can_be_caught_as_one(tmp_path: Path) -> None:
    with pytest.raises(archpress.ArchpressError):
        archpress.compress("conv8", "digits", out=tmp_path / "run")
    assert archpress.ArchpressError is ArchpressError


def test_data_are_loaded_by_path(finished_run: FinishedRun) -> None:
    loaded = archpress.load_data(finished_run.data)
    assert (loaded.name, loaded.input_shape, loaded.classes) == ("quadrants", (1, 8, 8), 4)


# ------------------------------------------------------------------ the package itself


def run_python(code: str) -> str:
    command = [sys.executable, "-c", code]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return done.stdout.strip()


def test_importing_it_loads_neither_torch_nor_its_own_parts() -> None:
    heavy = "{'torch', 'numpy', 'sklearn', 'typer', 'archpress.api'}"
    code = f"import sys, archpress; print(*sorted({heavy} & set(sys.modules)))"
    assert run_python(code) == ""


@pytest.mark.parametrize("name", archpress.__all__)
def test_every_public_name_is_there_on_first_use(name: str) -> None:
    thing = getattr(archpress, name)
    assert thing.__name__ in (name, "load")
    assert thing.__module__.startswith("archpress.")
    assert thing is getattr(archpress, name)


def test_an_unknown_name_is_an_attribute_error() -> None:
    with pytest.raises(AttributeError, match="module 'archpress' has no attribute 'compres'"):
        archpress.compres  # noqa: B018
    assert not hasattr(archpress, "torch")
