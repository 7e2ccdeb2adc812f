"""Filters taken out of a trained network, by torch-pruning (extra ``bench``)."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from typing import Any, Literal

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from archpress.architectures.architecture import Architecture
from archpress.architectures.building import Network, build
from archpress.architectures.layers import Convolution, Linear, SqueezeExcite
from archpress.architectures.segments import layer_prefixes
from archpress.datasets.dataset import DataSet
from archpress.errors import BudgetError
from archpress.optional import require
from archpress.training.augmentation import rescaling
from archpress.training.recipe import TrainingRecipe
from archpress.training.training import Part

Criterion = Literal["taylor", "magnitude"]
BATCHES = 10
"""Of training images, whose gradients the Taylor criterion sees."""
BISECTIONS = 12
MOST = 0.98
"""The largest share of a layer's filters that may go."""

Tensors = Mapping[str, Tensor]


@dataclass(frozen=True)
class Pruned:
    """A network with fewer filters.

    Attributes:
        architecture: What is left.
        weights: A state dict of ``build(architecture)``: those of the filters that are left.
    """

    architecture: Architecture
    weights: Tensors


def prune(
    network: Pruned,
    criterion: Criterion,
    allows: Callable[[Architecture], bool],
    gradients: Tensors,
) -> Pruned:
    """Return the network without the least important filters, as few of them as ``allows`` takes.

    Args:
        network: The network and its weights.
        criterion: ``taylor`` ranks by weight times gradient summed over a filter (Molchanov 2016,
            on weights), ``magnitude`` by the L1 norm of its weights.
        allows: Whether a network is small enough.
        gradients: Of the loss, by the names of the weights; only ``taylor`` looks at them.

    Raises:
        BudgetError: No share of the filters is enough.
        MissingExtraError: torch-pruning is not installed.
    """
    low, high = 0.0, 1.0
    best: Pruned | None = None
    for _ in range(BISECTIONS):
        middle = (low + high) / 2
        candidate = _without(network, criterion, gradients, middle)
        if candidate and allows(candidate.architecture):
            best, high = candidate, middle
        else:
            low = middle
    if best is None:
        raise BudgetError(
            f"with {100 * MOST:.0f} % of the filters pruned the network is not within the budget"
        )
    return best


def gradients_of(
    network: Pruned,
    recipe: TrainingRecipe,
    data: DataSet,
    generator: torch.Generator,
    scaling: tuple[Tensor, Tensor] | None = None,
) -> Tensors:
    """Return gradients of the training loss by the names of weights, over a few batches.

    Args:
        network: The network.
        recipe: How images are normalised and augmented, and how many make a batch.
        data: Its training part is read.
        generator: Chooses the images.
        scaling: What the weights expect of pixels, where that is not the recipe's.
    """
    model = _module(network)
    part = Part(recipe, data)
    rescaled = rescaling(part.scaling, scaling or part.scaling, part.labels.device)
    for chosen in part.order(generator)[:BATCHES]:
        logits = model(rescaled(part.batch(chosen, generator)))
        F.cross_entropy(logits, part.labels[chosen]).backward()
    return {n: p.grad for n, p in model.named_parameters() if p.grad is not None}


def _module(network: Pruned) -> Network:
    model = build(network.architecture)
    model.load_state_dict(network.weights)
    return model.eval()


def _without(
    network: Pruned, criterion: Criterion, gradients: Tensors, share: float
) -> Pruned | None:
    """Return the network without so many filters; None where its weights are no network's.

    That is where a skip comes to join equal widths, so that nothing has to fit it any more.
    """
    pruning: Any = require("torch_pruning", "bench")
    model = _module(network)
    for name, parameter in model.named_parameters():
        parameter.grad = gradients[name].clone() if name in gradients else None
    importance = {
        "taylor": pruning.importance.GroupTaylorImportance,
        "magnitude": lambda: pruning.importance.GroupMagnitudeImportance(p=1),
    }[criterion]()
    images = torch.zeros(2, *network.architecture.input_shape)
    pruner = pruning.pruner.BasePruner(
        model, images, importance, global_pruning=True, pruning_ratio=share,
        max_pruning_ratio=MOST, ignored_layers=[_last(model)], pruning_ratio_dict={},
        in_channel_groups={}, out_channel_groups={}, num_heads={}, head_pruning_ratio_dict={},
        customized_pruners={}, unwrapped_parameters={}, channel_groups={},
    )  # fmt: skip
    pruner.step()
    weights = {name: value.detach().clone() for name, value in model.state_dict().items()}
    architecture = _read(network.architecture, model)
    expected = build(architecture).state_dict()
    fits = weights.keys() == expected.keys() and all(
        weights[name].shape == value.shape for name, value in expected.items()
    )
    return Pruned(architecture, weights) if fits else None


def _last(model: nn.Module) -> nn.Module:
    return [m for m in model.modules() if isinstance(m, nn.Conv2d | nn.Linear)][-1]


def _read(architecture: Architecture, model: Network) -> Architecture:
    """Return the architecture with the widths that the module's layers have now."""
    layers = []
    for layer, prefix in zip(architecture.layers, layer_prefixes(architecture), strict=True):
        module = model.get_submodule(prefix.removesuffix("."))
        if isinstance(layer, Convolution) and isinstance(module, nn.Conv2d):
            layer = replace(layer, out_channels=module.out_channels)
        elif isinstance(layer, Linear) and isinstance(module, nn.Linear):
            layer = replace(layer, out_features=module.out_features)
        elif isinstance(layer, SqueezeExcite):
            layer = replace(layer, squeeze=model.get_parameter(f"{prefix}reduce.weight").shape[0])
        layers.append(layer)
    return Architecture(architecture.input_shape, tuple(layers))
