"""The generated model.py needs torch only and is, with the weights, the built network."""

import ast
import builtins
from typing import Any

import torch
from hypothesis import given, settings
from torch import nn

from archpress.architectures.architecture import Architecture
from archpress.architectures.building import build
from archpress.architectures.layers import Convolution, Linear, ReLU
from archpress.architectures.source_code import source_code
from tests.small_networks import every_network, images_for, sampled_networks


def only_torch(name: str, *rest: Any) -> Any:
    if name.split(".")[0] != "torch":
        raise ImportError(f"model.py must not import {name}")
    return __import__(name, *rest)


def generated_model(network: Architecture) -> nn.Module:
    """The network of the generated module, run in a namespace where only torch can be imported."""
    limited = {**vars(builtins), "__import__": only_torch}
    namespace: dict[str, Any] = {"__builtins__": limited, "__name__": "model"}
    exec(compile(source_code(network), "model.py", "exec"), namespace)
    model = namespace["make_model"]()
    assert isinstance(model, nn.Module)
    return model


def assert_same_outputs(network: Architecture) -> None:
    """Load the weights of a built network, its statistics no longer the initial ones."""
    built = build(network, seed=3).train()
    built(images_for(network, count=5, seed=1))
    generated = generated_model(network)
    generated.load_state_dict(built.state_dict())
    images = images_for(network, count=3, seed=2)
    with torch.no_grad():
        expected = built.eval()(images)
        assert torch.equal(generated.eval()(images), expected)
    assert repr(generated) == repr(built)


@every_network
def test_the_generated_module_computes_what_the_built_one_does(network: Architecture) -> None:
    assert_same_outputs(network)


@settings(max_examples=20, deadline=None)
@given(sampled_networks())
def test_the_same_holds_for_sampled_networks(network: Architecture) -> None:
    assert_same_outputs(network)


def test_the_module_says_cost_and_shapes_and_reads_like_this() -> None:
    network = Architecture((3, 32, 32), (Convolution(64, 3, 2, 1), ReLU(), Linear(100)))
    source = source_code(network)
    docstring = ast.get_docstring(ast.parse(source)) or ""
    assert "1,640,292 parameters, 2,080,768 MACs" in docstring
    assert "Input [N, 3, 32, 32], output [N, 100] logits" in docstring
    assert source.endswith('''"""

from torch import nn


def make_model() -> nn.Sequential:
    return nn.Sequential(
        nn.Conv2d(3, 64, 3, stride=2, padding=1),
        nn.ReLU(),
        nn.Flatten(),
        nn.Linear(16384, 100),
    )
''')
