"""Weights that make every layer count: also BatchNorm's statistics, which start as 0 and 1."""

import torch
from torch import Tensor, nn

from archpress.architectures.architecture import Architecture
from archpress.architectures.building import Network, build
from tests.small_networks import generator

State = dict[str, Tensor]


def random_model(network: Architecture, seed: int = 0) -> Network:
    """A model whose BatchNorm layers shift and scale, some by a negative factor."""
    model, stream = build(network, seed), generator(seed)
    for module in model.modules():
        if isinstance(module, nn.BatchNorm1d | nn.BatchNorm2d):
            uniform = torch.rand(4, module.num_features, generator=stream)
            assert module.running_mean is not None and module.running_var is not None
            module.running_mean.copy_(uniform[0] - 0.5)
            module.running_var.copy_(uniform[1] + 0.5)
            if module.affine:
                module.weight.data.copy_((uniform[2] + 0.6) * (uniform[3] - 0.2).sign())
                module.bias.data.copy_(uniform[3] - 0.4)
    return model


def random_state(network: Architecture, seed: int = 0) -> State:
    """The state dict of a `random_model`."""
    return random_model(network, seed).state_dict()


@torch.no_grad()
def in_evaluation(model: Network, images: Tensor) -> Tensor:
    """What the model, made one of float64, says in evaluation."""
    result: Tensor = model.double().eval()(images.double())
    return result


def outputs(network: Architecture, state: State, images: Tensor) -> Tensor:
    """What the network with exactly these weights says in evaluation, computed in float64."""
    model = build(network, 0)
    model.load_state_dict(state, strict=True)
    return in_evaluation(model, images)


def assert_same(one: Tensor, other: Tensor, tolerance: float = 1e-5) -> None:
    """Both are finite and differ by at most ``tolerance`` of the largest value, or of 1."""
    difference = float((one - other).abs().max())
    assert difference <= tolerance * max(1.0, float(one.abs().max())), difference
