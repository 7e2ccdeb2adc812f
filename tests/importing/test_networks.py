"""Whatever form a network is named in, it is found with its weights, or refused in one sentence."""

import json
import pickle
import re
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import save_file
from torch import Tensor, nn

from archpress.architectures.architecture import Architecture
from archpress.architectures.building import build
from archpress.architectures.layers import Convolution, GlobalAveragePool, Linear, ReLU
from archpress.architectures.references import REFERENCES, conv7, conv10, digits_cnn
from archpress.errors import (
    InvalidArchitectureError,
    UnknownNetworkError,
    UnsupportedNetworkError,
)
from archpress.importing.factories import load_into, load_module, read_state_dict
from archpress.importing.networks import FoundNetwork, find_network, of_module, read_network

SHAPE = (1, 8, 8)
SMALL = Architecture(SHAPE, (Convolution(4, 3), ReLU(), GlobalAveragePool(), Linear(10)))
State = dict[str, Tensor]
UNSAFE = "they are no state dict, or hold more than tensors, *"
"""What is said of a file that only running its code would read."""

SOURCE = """
import torch
from torch import nn
from sibling_of_the_network import WIDTH


class Net(nn.Module):
    def __init__(self, classes=10):
        super().__init__()
        self.body = nn.Sequential(nn.Conv2d(1, WIDTH, 3), nn.ReLU())
        self.head = nn.Linear(WIDTH, classes)

    def forward(self, images):
        return self.head(self.body(images).mean((2, 3)))


def small():
    return Net()


def five_classes():
    return Net(5)


def unsupported():
    return nn.Sequential(nn.Conv2d(1, 4, 3, dilation=2), nn.Flatten(), nn.Linear(64, 10))


def failing():
    raise RuntimeError("no weights on this machine")


def needing(width):
    return Net(width)


def number():
    return 7


constant = "text"
"""


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """A folder with ``mine.py``, which imports a file beside it, and a package; later forgotten."""
    (tmp_path / "sibling_of_the_network.py").write_text("WIDTH = 4\n")
    (tmp_path / "mine.py").write_text(SOURCE)
    (tmp_path / "ready.py").write_text(SOURCE + "\n\nmade = Net()\n")
    (tmp_path / "package_of_networks").mkdir()
    (tmp_path / "package_of_networks" / "inner.py").write_text(SOURCE)
    monkeypatch.setattr(sys, "path", list(sys.path))
    monkeypatch.setattr(sys, "dont_write_bytecode", True)
    yield tmp_path
    for name, module in list(sys.modules.items()):
        file = vars(module).get("__file__") or ""
        if file.startswith(str(tmp_path)) or name == "package_of_networks":
            del sys.modules[name]


@pytest.fixture
def json_file(tmp_path: Path) -> Path:
    path = tmp_path / "mine.json"
    path.write_text(json.dumps(SMALL.to_json()))
    return path


def refused(
    message: str, name: object, classes: int = 10, weights: Path | None = None
) -> pytest.ExceptionInfo[UnknownNetworkError]:
    """Check the whole of the message; ``*`` stands for anything."""
    with pytest.raises(UnknownNetworkError) as caught:
        find_network(str(name), SHAPE, classes, weights)
    pattern = re.escape(message).replace(r"\*", ".*")
    assert re.fullmatch(pattern, str(caught.value)), str(caught.value)
    return caught


# ----------------------------------------------------------------------------- references


@pytest.mark.parametrize("name", REFERENCES)
@pytest.mark.parametrize(("shape", "classes"), [((3, 32, 32), 100), ((1, 40, 33), 7)])
def test_a_name_gives_the_reference_at_the_shape_of_the_data(
    name: str, shape: tuple[int, int, int], classes: int
) -> None:
    found = find_network(name, shape, classes)
    assert found == FoundNetwork(REFERENCES[name](shape, classes), None, False, ())
    network = found.architecture
    assert (network.input_shape, network.classes) == (shape, classes)


def test_the_names_mean_different_networks() -> None:
    assert find_network("conv7", (1, 28, 28), 10).architecture == conv7()
    assert find_network("conv10", (3, 32, 32), 10).architecture == conv10()
    assert find_network("digits-cnn", (1, 8, 8), 10).architecture == digits_cnn()


@pytest.mark.parametrize(
    ("name", "hint"),
    [
        ("conv-7", "did you mean 'conv7'?"),
        ("digits_cnn", "did you mean 'digits-cnn'?"),
        ("CONV-10", "did you mean 'conv10'?"),
        ("xyz", "valid: conv10, conv10-eighth, conv7, digits-cnn"),
    ],
)
def test_an_unknown_name_is_refused_with_the_nearest(name: str, hint: str) -> None:
    refused(f"unknown network '{name}'; {hint}", name)


def test_a_reference_that_the_images_are_too_small_for_is_refused() -> None:
    refused(
        "conv10 cannot take (1, 8, 8) images: layer 27 (max_pool) on input (768, 1, 1): *",
        "conv10",
    )


# ------------------------------------------------------------------------ architecture.json


def test_a_path_gives_the_network_of_the_file(json_file: Path) -> None:
    assert find_network(str(json_file), SHAPE, 10) == FoundNetwork(SMALL)


def test_a_missing_file_is_refused_by_name(tmp_path: Path) -> None:
    for name in ("absent.json", "absent.onnx"):
        path = tmp_path / name
        refused(f"network file {path} does not exist", path)


@pytest.mark.parametrize(("shape", "classes"), [((1, 28, 28), 10), ((1, 8, 8), 100)])
def test_a_file_for_other_data_is_refused_with_both_sides(
    json_file: Path, shape: tuple[int, int, int], classes: int
) -> None:
    message = re.escape(
        f"{json_file} takes (1, 8, 8) images and 10 classes, the data has {shape} and {classes}"
    )
    with pytest.raises(UnknownNetworkError, match=f"^{message}$"):
        find_network(str(json_file), shape, classes)


def test_a_damaged_file_is_refused_as_such(json_file: Path) -> None:
    json_file.write_text("{")
    with pytest.raises(InvalidArchitectureError, match=r"mine\.json is not readable JSON"):
        find_network(str(json_file), SHAPE, 10)


def test_a_file_that_is_no_network_by_itself_is_refused_with_the_forms(tmp_path: Path) -> None:
    for path in (tmp_path / "weights.pt", tmp_path):
        (tmp_path / "weights.pt").touch()
        refused(
            f"{path} is no network by itself; expected a reference, FILE.py:FACTORY, "
            "PACKAGE.MODULE:FACTORY, architecture.json or FILE.onnx",
            str(path),
        )


def test_a_file_without_a_factory_is_refused_with_what_to_write() -> None:
    refused("mine.py is a file; say what in it makes the network: mine.py:NAME", "mine.py")


def test_without_data_a_file_says_its_own_shape(json_file: Path) -> None:
    found = read_network(str(json_file), None, 10)
    assert found.architecture.input_shape == SHAPE


def test_without_data_a_module_gets_images_of_a_usual_shape(home: Path) -> None:
    network = read_network(f"{home / 'mine.py'}:small", None, 10).architecture
    assert network.input_shape == (1, 28, 28)


def test_an_onnx_file_takes_no_other_weights(tmp_path: Path) -> None:
    path = tmp_path / "net.onnx"
    message = f"{path} has its own weights; leave the file of weights out"
    refused(message, path, weights=tmp_path / "any.pt")


# -------------------------------------------------------------------------------- factories


@pytest.mark.parametrize("name", ["mine.py:small", "mine.py:Net", "ready.py:made"])
def test_a_factory_a_class_and_a_module_are_all_networks(home: Path, name: str) -> None:
    found = find_network(f"{home}/{name}", SHAPE, 10)
    assert found.architecture == SMALL
    assert found.weights is not None and not found.given
    assert found.weights.keys() == build(SMALL, 0).state_dict().keys()


def test_a_module_is_found_from_the_current_folder(
    home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(home)
    assert find_network("mine:small", SHAPE, 10).architecture == SMALL
    assert find_network("package_of_networks.inner:small", SHAPE, 10).architecture == SMALL
    assert find_network("mine.py:small", SHAPE, 10).architecture == SMALL


def test_the_folder_is_on_the_path_only_while_the_file_is_loaded(home: Path) -> None:
    before = list(sys.path)
    load_module(f"{home / 'mine.py'}:small")
    assert sys.path == before
    (home / "broken.py").write_text("1 / 0")
    with pytest.raises(UnknownNetworkError):
        load_module(f"{home / 'broken.py'}:small")
    assert sys.path == before


def test_a_factory_gives_the_same_weights_each_time_and_leaves_the_generator(home: Path) -> None:
    before = torch.get_rng_state()
    first, second = (load_module(f"{home / 'mine.py'}:small").state_dict() for _ in range(2))
    assert all(torch.equal(first[name], second[name]) for name in first)
    assert torch.equal(torch.get_rng_state(), before)


def test_a_network_made_at_import_has_the_same_weights_each_time(home: Path) -> None:
    first, second = (load_module(f"{home / 'ready.py'}:made").state_dict() for _ in range(2))
    assert all(torch.equal(first[name], second[name]) for name in first)


@pytest.mark.parametrize(
    ("attribute", "message"),
    [
        ("smal", "{file} has no 'smal'; did you mean 'small'?"),
        ("zzz", "{file} has no 'zzz'; valid: Net, *"),
        ("failing", "{file}:failing fails (mine.py:*): RuntimeError: no weights on this machine"),
        ("needing", "{file}:needing fails*: TypeError: *; it is called without arguments"),
        ("number", "{file}:number gives a int, expected a torch module"),
        ("constant", "{file}:constant is a str, expected a factory"),
    ],
)
def test_what_gives_no_module_is_refused(home: Path, attribute: str, message: str) -> None:
    file = home / "mine.py"
    refused(message.replace("{file}", str(file)), f"{file}:{attribute}")


def test_a_file_that_is_not_there_is_refused(home: Path) -> None:
    refused(f"network file {home}/absent.py does not exist", f"{home}/absent.py:small")


@pytest.mark.parametrize(
    ("source", "reason"),
    [
        ("import no_such_package_at_all", "ModuleNotFoundError: No module named '*'"),
        ("def small(:", "SyntaxError: *"),
        ("raise ValueError('of my own')", "ValueError: of my own"),
    ],
)
def test_a_file_that_cannot_be_imported_is_refused(home: Path, source: str, reason: str) -> None:
    path = home / "broken.py"
    path.write_text(source)
    refused(f"{path} cannot be imported*: {reason}", f"{path}:small")


def test_a_module_that_cannot_be_imported_is_refused() -> None:
    message = "no_such_module_at_all cannot be imported*: ModuleNotFoundError: *"
    refused(message, "no_such_module_at_all:small")


def test_a_factory_of_other_classes_is_refused(home: Path) -> None:
    name = f"{home / 'mine.py'}:five_classes"
    message = "takes (1, 8, 8) images and 5 classes, the data has (1, 8, 8) and 10"
    refused(f"{name} {message}", name)


def test_a_network_that_cannot_be_expressed_is_refused_as_such(home: Path) -> None:
    with pytest.raises(UnsupportedNetworkError, match="dilation"):
        find_network(f"{home / 'mine.py'}:unsupported", SHAPE, 10)


def test_a_module_in_hand_is_found_with_its_weights() -> None:
    linear = nn.Linear(64, 10)
    found = of_module(nn.Sequential(nn.Flatten(), linear), SHAPE)
    assert found.architecture == Architecture(SHAPE, (Linear(10),))
    assert found.weights is not None and not found.given
    assert torch.equal(found.weights["block1.1.weight"], linear.weight)


def test_a_file_that_exits_is_refused(home: Path) -> None:
    (home / "exits.py").write_text("import sys\nsys.exit(3)\n")
    try:
        path = home / "exits.py"
        refused(f"{path} cannot be imported (exits.py:2): SystemExit: 3", f"{path}:small")
    except SystemExit:
        pytest.fail("SystemExit")


def test_a_factory_that_exits_is_refused(home: Path) -> None:
    path = home / "leaves.py"
    path.write_text("import sys\ndef small(): sys.exit(3)\n")
    try:
        refused(f"{path}:small fails (leaves.py:2): SystemExit: 3", f"{path}:small")
    except SystemExit:
        pytest.fail("SystemExit")


def test_a_factory_can_import_from_its_folder(home: Path) -> None:
    source = "from torch import nn\ndef late():\n    from lately_imported import W\n"
    (home / "late.py").write_text(source + "    return nn.Linear(W, W)\n")
    (home / "lately_imported.py").write_text("W = 2\n")
    assert isinstance(load_module(f"{home / 'late.py'}:late"), nn.Linear)


def test_files_of_one_name_in_two_folders_are_two_modules(home: Path) -> None:
    for width in (2, 3):
        folder = home / str(width)
        folder.mkdir()
        (folder / "parts_of_it.py").write_text(f"W = {width}\n")
        source = "from parts_of_it import W\nfrom torch import nn\n"
        (folder / "net.py").write_text(source + "def make(): return nn.Linear(W, W)\n")
    widths = [load_module(f"{home / name / 'net.py'}:make").in_features for name in ("2", "3")]
    assert widths == [2, 3]


# ---------------------------------------------------------------------------------- weights


def prefixed(state: State, prefix: str) -> State:
    return {prefix + name: tensor for name, tensor in state.items()}


FILES: dict[str, tuple[str, Callable[[State], Any]]] = {
    "safetensors": ("w.safetensors", lambda state: state),
    "state dict": ("w.pt", lambda state: state),
    "any suffix": ("w.ckpt", lambda state: state),
    "under state_dict": ("w.pth", lambda state: {"state_dict": state, "epoch": 3}),
    "under model": ("w.pth", lambda state: {"model": state, "epoch": 3}),
    "data parallel": ("w.pth", lambda state: prefixed(state, "module.")),
    "compiled": ("w.pth", lambda state: prefixed(state, "_orig_mod.")),
    "data parallel, compiled": ("w.pth", lambda state: prefixed(state, "module._orig_mod.")),
    "nested and data parallel": (
        "w.pth", lambda state: {"state_dict": prefixed(state, "module.")},
    ),
    "compiled data parallel": ("w.pth", lambda state: prefixed(state, "_orig_mod.module.")),
    "safetensors, data parallel": ("w.safetensors", lambda state: prefixed(state, "module.")),
}  # fmt: skip


def written(path: Path, content: Any) -> Path:
    if path.suffix == ".safetensors":
        save_file(content, path)
    else:
        torch.save(content, path)
    return path


def checked_weights(found: FoundNetwork, state: State) -> None:
    assert found.given and found.weights is not None
    assert found.weights.keys() == state.keys()
    assert all(torch.equal(found.weights[name], state[name]) for name in state)


@pytest.mark.parametrize(("name", "make"), FILES.values(), ids=FILES)
def test_weights_of_every_form_load(
    json_file: Path, name: str, make: Callable[[State], Any]
) -> None:
    state = build(SMALL, 5).state_dict()
    path = written(json_file.parent / name, make(state))
    checked_weights(find_network(str(json_file), SHAPE, 10, path), state)


def test_a_submodule_may_be_called_module(tmp_path: Path) -> None:
    network = nn.Sequential()
    network.add_module("module", nn.Linear(2, 2))
    load_into(network, written(tmp_path / "w.pt", network.state_dict()))


def test_a_prefix_that_not_all_names_have_stays(tmp_path: Path) -> None:
    network = nn.Sequential(nn.Linear(2, 2))
    state = network.state_dict()
    mixed = {"module.0.weight": state["0.weight"], "0.bias": state["0.bias"]}
    path = written(tmp_path / "w.pt", mixed)
    with pytest.raises(UnknownNetworkError, match=r'does not fit .*"module\.0\.weight"'):
        load_into(network, path)
    assert read_state_dict(path).keys() == mixed.keys()


def test_weights_of_a_reference_load(tmp_path: Path) -> None:
    state = build(digits_cnn(), 5).state_dict()
    path = written(tmp_path / "w.safetensors", state)
    found = find_network("digits-cnn", SHAPE, 10, path)
    assert found.architecture == digits_cnn()
    checked_weights(found, state)


def test_weights_of_a_factory_bear_the_names_of_its_module(home: Path) -> None:
    name = f"{home / 'mine.py'}:small"
    module = load_module(name)
    state = {key: torch.full_like(tensor, 0.25) for key, tensor in module.state_dict().items()}
    assert "body.0.weight" in state
    found = find_network(name, SHAPE, 10, written(home / "w.pt", state))
    assert found.given and found.weights is not None
    assert found.weights["block1.0.weight"].eq(0.25).all()
    assert found.weights.keys() == build(SMALL, 0).state_dict().keys()


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ({"state_dict": {"epoch": 3}}, "{path} holds no state dict"),
        ({"epoch": 3}, "{path} holds no state dict"),
        (torch.zeros(2), "{path} holds no state dict"),
        ([1, 2], "{path} holds no state dict"),
        ({"other": torch.zeros(2)}, "{path} does not fit the network: * Missing key(s) *"),
        ({}, "{path} does not fit the network: * Missing key(s) *"),
        (nn.Linear(2, 2), f"weights {{path}} cannot be read: {UNSAFE}"),
    ],
    ids=["no tensors below", "no tensors", "a tensor", "a list", "others", "none", "a module"],
)
def test_a_file_without_fitting_weights_is_refused(
    json_file: Path, content: Any, message: str
) -> None:
    path = written(json_file.parent / "w.pt", content)
    refused(message.replace("{path}", str(path)), json_file, weights=path)


def test_weights_of_another_size_are_refused_in_one_line(json_file: Path) -> None:
    state = build(SMALL, 0).state_dict() | {"block1.4.bias": torch.zeros(11)}
    path = written(json_file.parent / "w.pt", state)
    caught = refused(f"{path} does not fit the network: * size mismatch *", json_file, weights=path)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("name", "content", "reason"),
    [
        ("text.pt", b"not a state dict", UNSAFE),
        ("text.safetensors", b"not a state dict", "SafetensorError: *"),
        ("empty.pt", b"", "EOFError: *"),
    ],
)
def test_an_unreadable_file_of_weights_is_refused(
    json_file: Path, name: str, content: bytes | None, reason: str
) -> None:
    path = json_file.parent / name
    if content is not None:
        path.write_bytes(content)
    refused(f"weights {path} cannot be read: {reason}", json_file, weights=path)


class Malicious:
    """Writes a file as soon as it is unpickled without care."""

    def __init__(self, target: Path) -> None:
        self.target = target

    def __reduce__(self) -> tuple[Any, ...]:
        return (Path.write_text, (self.target, "executed"))


@pytest.mark.parametrize("by_torch", [True, False], ids=["torch.save", "pickle"])
def test_nothing_in_a_file_of_weights_is_executed(json_file: Path, by_torch: bool) -> None:
    target, path = json_file.parent / "executed", json_file.parent / "w.pt"
    content = {"state_dict": build(SMALL, 0).state_dict(), "extra": Malicious(target)}
    if by_torch:
        torch.save(content, path)
        torch.load(path, weights_only=False)
    else:
        path.write_bytes(pickle.dumps(content, protocol=2))
        pickle.loads(path.read_bytes())
    assert target.exists(), "the test's file is harmless"
    target.unlink()
    refused(f"weights {path} cannot be read: {UNSAFE}", json_file, weights=path)
    assert not target.exists()


def test_a_dict_whose_keys_are_numbers_holds_no_state_dict(tmp_path: Path) -> None:
    for keys in ((0,), ("weight", 0)):
        path = written(tmp_path / "w.pt", {key: torch.zeros(1) for key in keys})
        with pytest.raises(UnknownNetworkError, match="holds no state dict"):
            read_state_dict(path)


@pytest.mark.parametrize("name", ["absent.pt", "absent.safetensors"])
def test_an_absent_file_of_weights_is_refused(json_file: Path, name: str) -> None:
    path = json_file.parent / name
    refused(f"weights {path} do not exist", json_file, weights=path)
