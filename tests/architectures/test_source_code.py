"""The generated model.py needs torch only and is, with the weights, the built network."""

import ast
import builtins
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import torch
from hypothesis import given, settings
from torch import nn

from archpress.architectures.architecture import Architecture
from archpress.architectures.building import build
from archpress.architectures.layers import (
    BatchNorm,
    Convolution,
    DepthwiseConvolution,
    Linear,
    MaxPool,
    ReLU,
    SqueezeExcite,
)
from archpress.architectures.references import conv10
from archpress.architectures.source_code import source_code
from tests.small_networks import (
    ZOO,
    every_network,
    generator,
    images_for,
    networks_with_skips,
    sampled_networks,
)


def only_torch(name: str, *rest: Any) -> Any:
    if name.split(".")[0] != "torch":
        raise ImportError(f"model.py must not import {name}")
    return __import__(name, *rest)


def generated_model(network: Architecture) -> nn.Module:
    """The network of the generated module, run in a namespace where only torch can be imported."""
    limited = {**vars(builtins), "__import__": only_torch}
    namespace: dict[str, Any] = {"__builtins__": limited, "__name__": "model"}
    exec(compile(source_code(network), "model.py", "exec"), namespace)
    model = namespace["Network"]()
    assert isinstance(model, nn.Module)
    return model


def assert_same_outputs(network: Architecture) -> None:
    """Load the weights of a built network, its statistics no longer the initial ones."""
    built = build(network, seed=3).train()
    built(images_for(network, count=5, seed=1))
    generated = generated_model(network)
    images = images_for(network, count=3, seed=2)
    with torch.no_grad():
        for parameter in built.parameters():  # else a norm's weights are all ones and zeros
            parameter.add_(torch.randn(parameter.shape, generator=generator(4)), alpha=0.1)
        generated.load_state_dict(built.state_dict())
        expected = built.eval()(images)
        assert torch.equal(generated.eval()(images), expected)
    assert repr(generated) == repr(built).replace("SqueezeExciteModule", "SqueezeExcite")


@every_network
def test_the_generated_module_computes_what_the_built_one_does(network: Architecture) -> None:
    assert_same_outputs(network)


@settings(max_examples=20, deadline=None)
@given(sampled_networks())
def test_the_same_holds_for_sampled_networks(network: Architecture) -> None:
    assert_same_outputs(network)


@settings(max_examples=40, deadline=None)
@given(networks_with_skips())
def test_the_same_holds_for_networks_with_skips(network: Architecture) -> None:
    assert_same_outputs(network)


def test_the_module_says_cost_and_shapes_and_reads_like_this() -> None:
    network = Architecture((3, 32, 32), (Convolution(64, 3, 2, 1), ReLU(), Linear(100)))
    source = source_code(network)
    docstring = ast.get_docstring(ast.parse(source)) or ""
    assert "1,640,292 parameters, 2,080,768 MACs" in docstring
    assert source.endswith('''"""

from torch import Tensor, nn


class Network(nn.Module):
    """Convolutional network: 1,640,292 parameters, 2,080,768 MACs.

    Input [N, 3, 32, 32], output [N, 100] logits.
    """

    def __init__(self) -> None:
        super().__init__()
        self.block1 = nn.Sequential(
            nn.Conv2d(3, 64, 3, stride=2, padding=1),
            nn.ReLU(),
            nn.Flatten(),
            nn.Linear(16384, 100),
        )

    def forward(self, x: Tensor) -> Tensor:
        return self.block1(x)
''')


def test_skips_read_like_this() -> None:
    _, parts = source_code(ZOO["nested skips"]).split("super().__init__()\n")
    assert (
        parts
        == """\
        self.block1 = nn.Sequential(
            nn.Conv2d(1, 4, 3, padding=1),
            nn.ReLU(),
        )
        self.block2 = nn.Sequential(
            nn.Conv2d(4, 4, 1),
            nn.ReLU(),
        )
        self.block3 = nn.Sequential(
            nn.Conv2d(4, 4, 3, stride=2, padding=1),
            nn.BatchNorm2d(4),
        )
        self.shortcut3 = nn.Sequential(
            nn.Conv2d(4, 4, 1, stride=2, bias=False),
            nn.BatchNorm2d(4),
        )
        self.block4 = nn.Sequential(
            nn.ReLU(),
        )
        self.shortcut4 = nn.Sequential(
            nn.Conv2d(1, 4, 1, stride=2, bias=False),
            nn.BatchNorm2d(4),
        )
        self.block5 = nn.Sequential(
            nn.AdaptiveAvgPool2d(1),
            nn.Flatten(),
            nn.Linear(4, 3),
        )

    def forward(self, x: Tensor) -> Tensor:
        saved0 = x
        x = self.block1(x)
        saved1 = x
        x = self.block2(x) + x
        x = self.block3(x) + self.shortcut3(saved1)
        x = self.block4(x) + self.shortcut4(saved0)
        return self.block5(x)
"""
    )


def test_a_class_that_is_not_pytorchs_is_written_out_once() -> None:
    source = source_code(ZOO["squeeze-and-excite of every sort"])
    assert source.count("class SqueezeExcite(nn.Module):") == 1
    assert "SqueezeExciteModule" not in source
    assert '            SqueezeExcite(2, 3, activation="SiLU"),\n' in source
    classes = [node.name for node in ast.parse(source).body if isinstance(node, ast.ClassDef)]
    assert classes == ["SqueezeExcite", "Network"]
    for name, network in ZOO.items():
        own = any(isinstance(layer, SqueezeExcite) for layer in network.layers)
        assert ("class SqueezeExcite" in source_code(network)) is own, name


def test_the_logits_of_a_last_layer_with_a_skip_are_returned() -> None:
    steps = source_code(ZOO["skip to the logits"]).split("-> Tensor:\n")[1]
    assert [line.strip() for line in steps.splitlines()] == [
        "x = self.block1(x)",
        "x = self.block2(x) + x",
        "return x",
    ]


def test_the_scaling_of_the_inputs_is_said_where_it_is_known() -> None:
    source = source_code(ZOO["digits-cnn"], [0.5], [0.25])
    docstring = ast.get_docstring(ast.parse(source)) or ""
    assert "subtract 0.5; divide by 0.25." in docstring
    assert "Normalise" not in source_code(ZOO["digits-cnn"])


WIDE = Architecture(
    (3, 32, 32),
    (
        *(Convolution(4096, 10, 10, 10, bias=False), BatchNorm(eps=1.25e-5, affine=False)),
        *(DepthwiseConvolution(10, 10, 10, bias=False), MaxPool(10, 10, 5), Linear(4096)),
        *(Linear(4096, bias=False), ReLU(skip=2), Linear(1000, bias=False)),
    ),
)


@pytest.fixture(scope="module")
def written(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder of every kind of generated module; ruff takes longer to start than to check."""
    folder = tmp_path_factory.mktemp("sources")
    for number, network in enumerate([*ZOO.values(), conv10(), WIDE]):
        channels = network.input_shape[0]
        for how, scaling in {"": (), "scaled": ([0.5] * channels, [0.25] * channels)}.items():
            source = source_code(network, *scaling)
            (folder / f"model{number}{how}.py").write_text(source, encoding="utf-8")
    return folder


def ruff(folder: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "ruff", *arguments, "--isolated", "--no-cache", str(folder)]
    return subprocess.run(command, capture_output=True, text=True, check=False)


def test_the_formatter_leaves_every_module_as_it_is(written: Path) -> None:
    result = ruff(written, "format", "--check")
    assert result.returncode == 0, result.stdout + result.stderr
    assert f"{2 * (len(ZOO) + 2)} files already formatted" in result.stdout


def test_no_module_has_an_unused_import_or_an_undefined_name(written: Path) -> None:
    result = ruff(written, "check")
    assert result.returncode == 0, result.stdout + result.stderr


def test_the_formatter_is_asked_at_all(tmp_path: Path) -> None:
    (tmp_path / "model.py").write_text("x = [1,2]\nimport os\n")
    assert ruff(tmp_path, "format", "--check").returncode == 1
    assert ruff(tmp_path, "check").returncode == 1
