"""A folder that anyone can use: all files, without archpress, with clear errors."""

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file, save_file
from torch import nn

from archpress.architectures.architecture import Architecture
from archpress.architectures.building import build
from archpress.errors import ExportError, MissingExtraError
from archpress.exporting.folder import export
from tests.small_networks import ZOO, images_for

NETWORK = ZOO["projected skip"]
WITHOUT_ARCHPRESS = """
import importlib.util, json, sys
from pathlib import Path

class Blocked:
    def find_spec(self, name, path=None, target=None):
        if name.split(".")[0] == "archpress":
            raise ImportError("archpress is blocked")

sys.meta_path.insert(0, Blocked())
try:
    import archpress
except ImportError as error:
    assert str(error) == "archpress is blocked"
else:
    raise SystemExit("archpress could be imported")

import onnxruntime
from safetensors.torch import load_file, save_file

for folder in map(Path, sys.argv[1:]):
    spec = importlib.util.spec_from_file_location("model", folder / "model.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    network = module.Network().eval()
    network.load_state_dict(load_file(folder / "weights.safetensors"), strict=True)
    images = load_file(folder / "images")["images"]
    session = onnxruntime.InferenceSession(str(folder / "model.onnx"))
    (logits,) = session.run(["logits"], {"images": images.numpy()})
    layers = json.loads((folder / "architecture.json").read_text())["layers"]
    import torch
    save_file(
        {"torch": network(images).detach(), "onnx": torch.tensor(logits)}, folder / "outputs"
    )
    print(len(layers))
assert not [name for name in sys.modules if name.startswith("archpress")]
"""

FILES = ("architecture.json", "model.py", "weights.safetensors", "model.onnx", "README.md")


def settled(network: Architecture) -> nn.Module:
    """A module of the network whose BatchNorm has seen images."""
    model = build(network, 0)
    for seed in range(3):
        model(2 * images_for(network, 8, seed) + 0.5)
    return model.eval()


def test_four_files_that_need_no_archpress(tmp_path: Path) -> None:
    pytest.importorskip("onnxscript")
    pytest.importorskip("onnxruntime")
    names = ("every new kind", "inverted residuals")
    folders = [tmp_path / name for name in names]
    models = [settled(ZOO[name]) for name in names]
    for name, folder, model in zip(names, folders, models, strict=True):
        export(ZOO[name], model, folder)
        save_file({"images": images_for(ZOO[name])}, folder / "images")
    command = [sys.executable, "-I", "-c", WITHOUT_ARCHPRESS, *map(str, folders)]
    run = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=False)
    assert run.returncode == 0, run.stderr
    assert run.stdout.split() == [str(len(ZOO[name].layers)) for name in names]
    for name, folder, model in zip(names, folders, models, strict=True):
        expected = model(images_for(ZOO[name])).detach()
        outputs = load_file(folder / "outputs")
        torch.testing.assert_close(outputs["torch"], expected, rtol=1e-6, atol=1e-6)
        torch.testing.assert_close(outputs["onnx"], expected, rtol=1e-5, atol=1e-5)


def test_the_files_and_what_the_readme_says(tmp_path: Path) -> None:
    model = settled(NETWORK)
    weights = model.state_dict()
    paths = export(NETWORK, weights, tmp_path / "new" / "one", (0.5, 0.25, 0), (1, 2, 3), False)
    assert sorted(path.name for path in paths) == sorted(set(FILES) - {"model.onnx"})
    assert sorted(path.name for path in (tmp_path / "new" / "one").iterdir()) == sorted(
        path.name for path in paths
    )
    assert Architecture.load(tmp_path / "new/one/architecture.json") == NETWORK
    for name, tensor in load_file(tmp_path / "new/one/weights.safetensors").items():
        assert torch.equal(tensor, weights[name])
    readme = (tmp_path / "new/one/README.md").read_text()
    assert len([line for line in readme.splitlines() if line]) == 5
    for part in (*FILES[:-1], "[N, 3, 9, 9]", "[N, 3]", "(0.5, 0.25, 0)", "(1, 2, 3)"):
        assert part in readme
    assert f"{NETWORK.cost.parameters:,} parameters" in readme
    assert (
        "subtract 0.5, 0.25, 0; divide by 1, 2, 3." in (tmp_path / "new/one/model.py").read_text()
    )


def test_weights_of_another_type_become_float32(tmp_path: Path) -> None:
    halves = {name: value.half() for name, value in build(NETWORK, 0).state_dict().items()}
    export(NETWORK, halves, tmp_path, onnx=False)
    build(NETWORK).load_state_dict(load_file(tmp_path / "weights.safetensors"))
    first = load_file(tmp_path / "weights.safetensors")["block1.0.weight"]
    assert first.dtype == torch.float32


def test_without_the_extra_three_files_are_written(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "onnxscript", None)
    (tmp_path / "model.onnx").write_text("of another network")
    export(NETWORK, build(NETWORK, 0), tmp_path)
    assert not (tmp_path / "model.onnx").exists()
    assert "archpress[onnx]" in (tmp_path / "README.md").read_text()
    with pytest.raises(MissingExtraError, match=r'pip install "archpress\[onnx\]"'):
        export(NETWORK, build(NETWORK, 0), tmp_path / "other", onnx=True)
    assert not (tmp_path / "other").exists()


def test_weights_that_do_not_fit_are_named(tmp_path: Path) -> None:
    weights = dict(build(NETWORK, 0).state_dict())
    weights["block9.weight"] = weights.pop("block1.0.bias")
    weights["block1.0.weight"] = torch.zeros(4, 3, 5, 5)
    with pytest.raises(ExportError) as caught:
        export(NETWORK, weights, tmp_path / "out", onnx=False)
    for part in ("missing: block1.0.bias", "unexpected: block9.weight", "(4, 3, 5, 5)"):
        assert part in str(caught.value)
    with pytest.raises(ExportError, match="do not fit the architecture"):
        export(NETWORK, build(ZOO["digits-cnn"]), tmp_path / "out", onnx=False)
    with pytest.raises(ExportError, match=r"block1\.0\.weight is of type list"):
        listed: Any = {**weights, "block1.0.weight": [1.0]}
        export(NETWORK, listed, tmp_path / "out", onnx=False)
    assert not (tmp_path / "out").exists()


def test_a_folder_that_cannot_be_written(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("mine")
    for folder in (tmp_path / "file", tmp_path / "file" / "below", Path("/proc/nothing")):
        with pytest.raises(ExportError, match="cannot export to") as caught:
            export(NETWORK, build(NETWORK, 0), folder, onnx=False)
        assert str(folder) in str(caught.value)
    assert (tmp_path / "file").read_text() == "mine"


def test_scaling_of_another_number_of_channels(tmp_path: Path) -> None:
    with pytest.raises(ExportError, match="expected one per channel, 3"):
        export(NETWORK, build(NETWORK, 0), tmp_path, (0.5,), (1.0,), onnx=False)
    with pytest.raises(ExportError, match="go together"):
        export(NETWORK, build(NETWORK, 0), tmp_path, (0.5, 0.5, 0.5), onnx=False)


def test_a_failed_write_leaves_the_old_file_whole(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    export(NETWORK, build(NETWORK, 0), tmp_path, onnx=False)
    before = {path.name: path.read_bytes() for path in tmp_path.iterdir()}

    def full(path: Path, target: Path) -> Path:
        raise OSError(28, "No space left on device", str(path))

    monkeypatch.setattr(Path, "replace", full)
    with pytest.raises(ExportError, match="No space left"):
        export(ZOO["digits-cnn"], build(ZOO["digits-cnn"], 0), tmp_path, onnx=False)
    assert {path.name: path.read_bytes() for path in tmp_path.iterdir()} == before


def test_nothing_is_pickled(tmp_path: Path) -> None:
    export(NETWORK, build(NETWORK, 0), tmp_path, onnx=False)
    json.loads((tmp_path / "architecture.json").read_text())
    assert not [path for path in tmp_path.iterdir() if path.suffix in (".pt", ".pth", ".pkl")]
