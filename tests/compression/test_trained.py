"""An input network that comes trained is evaluated, not trained again."""

import json
import re
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import nn

import archpress
from archpress.architectures.building import build
from archpress.compression.finishing import finish
from archpress.compression.labelling import check_given_weights
from archpress.compression.preparation import prepare
from archpress.compression.runs import kept_network, rival_in
from archpress.compression.settings import load_settings
from archpress.compression.task import CompressionTask, Resources
from archpress.datasets.dataset import DataSet, from_tensors
from archpress.errors import BudgetError, SettingsError
from archpress.evaluation.archive import Archive
from archpress.importing.networks import FoundNetwork, of_module
from archpress.training.augmentation import normalise
from tests.compression.tasks import Scripted, label_of, network_of, watched
from tests.small_networks import generator
from tests.tiny_runs import archpress as command
from tests.tiny_runs import refused, small_readout


def brightness_data() -> DataSet:
    """Images of 8x8 in ten classes that differ in brightness: 240 to train, 60, 100 to test."""
    labels = torch.arange(400) % 10
    noise = torch.randint(0, 4, (400, 1, 8, 8), generator=generator(0))
    images = (20 * labels.view(-1, 1, 1, 1) + 20 + noise).to(torch.uint8)
    train, test = (images[:300], labels[:300]), (images[300:], labels[300:])
    return from_tensors(train, test, name="bright", validation_fraction=0.2)


class Brightness(nn.Module):
    """Knows the ten brightnesses of pixels less ``mean``, divided by ``deviation``."""

    def __init__(self, mean: float = 0.5, deviation: float = 0.25) -> None:
        super().__init__()
        self.conv = nn.Conv2d(1, 4, 1)
        self.fc = nn.Linear(4, 10)
        level = (torch.arange(10) * 20 + 21.5) / 255
        level = (level - mean) / deviation
        with torch.no_grad():
            self.conv.weight.fill_(1)
            self.conv.bias.zero_()  # type: ignore[union-attr]
            self.fc.weight.copy_(level.view(10, 1) / 2)
            self.fc.bias.copy_(-(level**2))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        logits: torch.Tensor = self.fc(self.conv(x).mean((2, 3)))
        return logits


@pytest.fixture(autouse=True, scope="module")
def quick() -> Iterator[None]:
    with small_readout():
        yield


SCALED = {"trained.mean": [0.5], "trained.deviation": [0.25], "search.target_parameters": 0}


def task_of(found: FoundNetwork, data: DataSet, **flags: Any) -> CompressionTask:
    given = {"network": "given", "space.min_parameters": 1, "space.max_parameters": 5_000}
    settings = load_settings("demo", flags={**given, **SCALED, **flags})
    return prepare(settings, data, found)


@pytest.fixture
def found() -> FoundNetwork:
    return of_module(Brightness(), (1, 8, 8))


def test_weights_that_have_learned_stand_for_the_training(found: FoundNetwork) -> None:
    task = task_of(found, brightness_data())
    assert task.trained is not None
    assert task.trained.validation_accuracy == 1.0
    assert task.notes == ("its weights give 100.00 % on validation and are kept",)


def test_weights_at_chance_are_trained_and_it_is_said(found: FoundNetwork) -> None:
    fresh = FoundNetwork(found.architecture, build(found.architecture, 3).state_dict())
    task = task_of(fresh, brightness_data())
    assert task.trained is None
    assert "no better than chance (10.00 %): it is trained by the final recipe" in task.notes[0]


def test_a_network_without_weights_is_trained_silently(found: FoundNetwork) -> None:
    task = task_of(FoundNetwork(found.architecture), brightness_data())
    assert (task.trained, task.notes) == (None, ())


def test_named_weights_at_chance_are_refused_with_the_likely_cause(found: FoundNetwork) -> None:
    named = FoundNetwork(found.architecture, found.weights, given=True)
    with pytest.raises(SettingsError, match="say with mean and deviation how pixels were scaled"):
        task_of(named, brightness_data(), **{"trained.mean": [5.0], "trained.deviation": [0.1]})


def test_there_is_one_scale_per_channel(found: FoundNetwork) -> None:
    two = {"trained.mean": [0.5, 0.5], "trained.deviation": [0.2, 0.2]}
    with pytest.raises(SettingsError, match=r"trained\.mean has 2 numbers for 1 channels"):
        task_of(found, brightness_data(), **two)
    with pytest.raises(SettingsError, match="mean and deviation need one number per channel each"):
        task_of(found, brightness_data(), **{"trained.deviation": []})


def test_the_notes_of_the_capture_come_first() -> None:
    module = nn.Sequential(Brightness(), nn.LogSoftmax(1))
    notes = task_of(of_module(module, (1, 8, 8)), brightness_data()).notes
    assert "are the logits" in notes[0]
    assert "are kept" in notes[1]


def test_the_input_network_is_tested_once_with_its_own_weights(
    found: FoundNetwork, tmp_path: Path
) -> None:
    data, reads = watched(brightness_data())
    task = task_of(found, data)
    executor = Scripted(data)
    candidates = [label_of(network_of(3), 0.5)]
    with Archive(tmp_path / "archive.sqlite") as archive:
        resources = Resources(archive, executor, tmp_path)
        base, _ = finish(task, candidates, resources)
        again, _ = finish(task, candidates, resources)
    assert found.architecture not in {job.architecture for job in executor.jobs}
    assert (base.test_accuracy, base.validation_accuracy, base.epochs) == ((1.0,), (1.0,), 0)
    assert again == base
    record = json.loads((tmp_path / f"results/test-{found.architecture.digest}.json").read_text())
    assert list(record.values()) == [1.0]
    images = normalise(data.validation.images, torch.tensor([0.5]), torch.tensor([0.25]))
    expected = Brightness()(images)
    assert torch.allclose(base.model()(images), expected, atol=1e-4)
    assert reads  # the watched part was indeed read


@pytest.mark.usefixtures("in_process")
@pytest.mark.parametrize("form", ["state dict", "nested", "safetensors", "factory"])
def test_the_command_line_takes_trained_networks(form: str, tmp_path: Path) -> None:
    data = brightness_data()
    folder = write_project(tmp_path, form)
    arrays = {"x_train": data.train.images[:, 0].numpy(), "y_train": data.train.labels.numpy()}
    arrays |= {"x_test": data.test.images[:, 0].numpy(), "y_test": data.test.labels.numpy()}
    np.savez(folder / "data.npz", **arrays)  # type: ignore[arg-type]
    weights = {"state dict": "w.pt", "nested": "w.pt", "safetensors": "w.safetensors"}.get(form)
    options = ["--weights", folder / weights] if weights else []
    result = command(
        "compress", f"{folder / 'net.py'}:{'trained' if form == 'factory' else 'fresh'}",
        "--data", folder / "data.npz", "--settings", folder / "tiny.toml", "--profile", "demo",
        "--out", folder / "run", "--mean", "0.5", "--deviation", "0.25", *options,
    )  # fmt: skip
    assert result.exit_code == 0, result.output
    assert "input network: its weights give 100.00 % on validation and are kept" in result.output
    record = json.loads((folder / "run" / "result.json").read_text())
    assert record["base"]["test_accuracy"] == [1.0]
    assert record["base"]["final_epochs"] == 0


def test_weights_that_do_not_fit_are_refused(tmp_path: Path) -> None:
    folder = write_project(tmp_path, "state dict")
    torch.save({"other": torch.zeros(1)}, folder / "w.pt")
    sentence = refused(
        "compress", f"{folder / 'net.py'}:fresh", "--data", "digits", "--weights", folder / "w.pt",
        "--out", folder / "run",
    )  # fmt: skip
    assert "does not fit the network" in sentence
    assert not (folder / "run").exists()


def write_project(folder: Path, form: str) -> Path:
    """A user's folder: a file with the network, trained weights, tiny settings."""
    (folder / "net.py").write_text(
        "from tests.compression.test_trained import Brightness\n"
        "def trained(): return Brightness()\n"
        "def fresh():\n"
        "    net = Brightness()\n"
        "    for parameter in net.parameters():\n"
        "        parameter.data.zero_()\n"
        "    return net\n"
    )
    state = Brightness().state_dict()
    if form == "safetensors":
        from safetensors.torch import save_file

        save_file(state, folder / "w.safetensors")
    else:
        nested = {"state_dict": {f"module.{name}": value for name, value in state.items()}}
        torch.save(nested if form == "nested" else state, folder / "w.pt")
    (folder / "tiny.toml").write_text(
        "[space]\nmin_parameters = 40\nmax_parameters = 2000\n"
        'max_macs = 500000\nblocks = ["plain"]\n'
        "[label]\nepochs = 1\nseeds = 1\n[search]\ntarget_parameters = 0\n"
        "[guided]\nstart = 5\nrounds = 1\nbatch = 2\nstarts = 1\nsteps = 1\ncontenders = 0\n"
        "[final]\nepochs = 1\nseeds = 1\n"
        'finalists = 1\n[execution]\nworkers = 1\nprecision = "float32"\nonnx = false\n'
    )
    return folder


TINY_RUN: dict[str, Any] = {
    "trained__mean": [0.5], "trained__deviation": [0.25], "search__target_parameters": 0,
    "space__min_parameters": 40, "space__max_parameters": 2_000,
    "space__max_macs": 500_000, "space__blocks": ["plain"], "label__epochs": 1, "label__seeds": 1,
    "guided__start": 5, "guided__rounds": 1, "guided__batch": 2, "guided__starts": 1,
    "guided__steps": 1, "guided__contenders": 0,
    "final__epochs": 1, "final__seeds": 1, "execution__workers": 1, "execution__onnx": False,
}  # fmt: skip


@pytest.mark.usefixtures("in_process")
def test_from_python_a_module_is_taken_as_it_is(tmp_path: Path) -> None:
    write_project(tmp_path, "state dict")
    module = Brightness()
    result = archpress.compress(
        module, brightness_data(), out=tmp_path / "run", profile="demo", **TINY_RUN
    )
    assert result.base.test_accuracy == (1.0,)
    assert module.training


@pytest.mark.usefixtures("in_process")
def test_weights_that_changed_are_not_continued_with(tmp_path: Path) -> None:
    folder = write_project(tmp_path, "state dict")
    data = brightness_data()
    np.savez(
        folder / "data.npz", x_train=data.train.images[:, 0].numpy(),
        y_train=data.train.labels.numpy(), x_test=data.test.images[:, 0].numpy(),
        y_test=data.test.labels.numpy(),
    )  # fmt: skip
    call = (
        "compress", f"{folder / 'net.py'}:fresh", "--data", folder / "data.npz",
        "--settings", folder / "tiny.toml", "--profile", "demo", "--out", folder / "run",
        "--mean", "0.5", "--deviation", "0.25", "--weights", folder / "w.pt",
    )  # fmt: skip
    assert command(*call).exit_code == 0
    before = (folder / "run" / "result.json").read_bytes()
    state = torch.load(folder / "w.pt", weights_only=True)
    torch.save({**state, "fc.bias": state["fc.bias"] + 0.001}, folder / "w.pt")
    assert "the input network's weights have changed since" in refused(*call, "--resume")
    assert (folder / "run" / "result.json").read_bytes() == before


def test_weights_that_a_short_training_surpasses_are_refused(
    found: FoundNetwork, tmp_path: Path
) -> None:
    task = task_of(found, brightness_data())
    assert task.trained is not None
    poor = replace(task, trained=replace(task.trained, validation_accuracy=0.4))
    fair = replace(task, trained=replace(task.trained, validation_accuracy=0.47))
    executor = Scripted(poor.data)  # labels are 0.5, seeds a little better
    with Archive(tmp_path / "archive.sqlite") as archive:
        resources = Resources(archive, executor, tmp_path)
        with pytest.raises(SettingsError, match=r"give 40\.00 % .* for a label gives 5\d\.\d\d %"):
            check_given_weights(poor, resources)
        check_given_weights(fair, resources)


def test_weights_may_be_left_unused(found: FoundNetwork) -> None:
    task = task_of(found, brightness_data(), **{"trained.use": False})
    assert (task.trained, task.notes) == (None, ())


@pytest.mark.parametrize("network", [Brightness(), network_of(3)])
def test_from_python_a_file_of_weights_goes_with_a_name(network: Any, tmp_path: Path) -> None:
    with pytest.raises(SettingsError, match="goes with a network that is named"):
        archpress.compress(
            network, "digits", out=tmp_path / "run", profile="demo", trained__weights="w.pt"
        )
    assert not (tmp_path / "run").exists()


@pytest.mark.usefixtures("in_process")
def test_a_rival_runs_no_code_that_the_folder_names(tmp_path: Path) -> None:
    module, path = Brightness(), tmp_path / "run"
    archpress.compress(module, brightness_data(), out=path, profile="demo", **TINY_RUN)
    kept = kept_network(path)
    expected = of_module(module, (1, 8, 8))
    assert kept.architecture == expected.architecture
    assert kept.weights is not None
    assert expected.weights is not None
    assert all(torch.equal(kept.weights[name], expected.weights[name]) for name in expected.weights)
    settings = path / "run.toml"
    settings.write_text(re.sub('network = ".*"', 'network = "os:abort"', settings.read_text()))
    tasks: list[CompressionTask] = []

    def method(task: CompressionTask, resources: Resources) -> Any:
        tasks.append(task)
        raise BudgetError("enough")

    with pytest.raises(BudgetError, match="enough"):
        rival_in(path, "random_search", method, data=brightness_data())
    assert tasks[0].trained is not None
