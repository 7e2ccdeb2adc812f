"""``capture``: a module and an example input -> its architecture and weights, checked by a run."""

import math
from typing import Any

import torch
from torch import Tensor, nn

from archpress.errors import UnsupportedNetworkError
from archpress.importing.assembly import TOLERANCE, Captured, assemble
from archpress.importing.recording import double_of, record, unwrapped


def capture(module: nn.Module, example_input: Tensor | tuple[int, int, int]) -> Captured:
    """Return the architecture and weights of a module, which is not changed.

    The captured network gives the module's outputs: both are run on the example, in evaluation, and
    may differ by 1e-5 of the largest output.

    Args:
        module: ``[N, C, H, W]`` images in, ``[N, K]`` logits out.
        example_input: Images ``[N, C, H, W]``, or the ``(C, H, W)`` of one.

    Raises:
        UnsupportedNetworkError: No architecture expresses the module; names the part and its line.
    """
    images = _images(example_input)
    captured = assemble(record(module, _shape_of(images)))
    _check_outputs(unwrapped(module), captured, images)
    return captured


def _images(example: Any) -> Tensor:
    if isinstance(example, Tensor):
        if example.dim() != 4 or not len(example):
            raise UnsupportedNetworkError(
                f"the example input has shape {tuple(example.shape)}, expected [N, C, H, W]"
            )
        return example.detach().float().cpu()
    try:
        *batch, channels, height, width = (int(side) for side in example)
        if len(batch) > 1 or min(channels, height, width) < 1:
            raise ValueError
    except (TypeError, ValueError):
        raise UnsupportedNetworkError(
            f"the example input is {example!r}, expected a tensor [N, C, H, W] or its (C, H, W)"
        ) from None
    generator = torch.Generator().manual_seed(0)
    return torch.randn(2, channels, height, width, generator=generator)


def _shape_of(images: Tensor) -> tuple[int, int, int]:
    _, channels, height, width = images.shape
    return channels, height, width


def _check_outputs(module: nn.Module, captured: Captured, images: Tensor) -> None:
    """Refuse a capture that does not give the module's outputs.

    On the example, and on random images with weights that let a signal through: with the user's own
    weights and example a part may give nothing that could be missed.

    Raises:
        UnsupportedNetworkError: They differ: something was recorded wrongly.
    """
    parameters = list(module.parameters())
    # Weights of float32 need no copy; buffers do, for a forward pass may change them.
    single = all(parameter.dtype == torch.float32 for parameter in parameters)
    shared: dict[int, Any] = {id(parameter): parameter for parameter in parameters if single}
    _compare(double_of(module, shared).eval().float(), captured, images)
    double = double_of(module, {}).eval().float()
    generator = torch.Generator().manual_seed(0)
    _let_signals_through(double, generator)
    drawn = torch.randn(images.shape, generator=generator)
    if _run(double, drawn).isfinite().all():
        _compare(double, assemble(record(double, _shape_of(images))), drawn)


@torch.no_grad()
def _compare(module: nn.Module, captured: Captured, images: Tensor) -> None:
    expected = _run(module, images).flatten(1)
    if not expected.isfinite().all():
        raise UnsupportedNetworkError("the module's own outputs on the example are not finite")
    difference = captured.difference(images, expected)
    if not difference <= TOLERANCE:
        raise UnsupportedNetworkError(
            f"the captured network gives other outputs than the module (by {difference:.2g}): "
            f"if its forward pass computes in low precision (autocast), capture it without; else "
            f"please report it"
        )


@torch.no_grad()
def _run(module: nn.Module, images: Tensor) -> Tensor:
    """Return the module's outputs, computed where its weights are."""
    device = next((parameter.device for parameter in module.parameters()), images.device)
    try:
        with torch.random.fork_rng(devices=[]):
            outputs: Tensor = module(images.clone().to(device))
    except Exception as error:
        message = " ".join(str(error).split())
        raise UnsupportedNetworkError(
            f"the forward pass fails on the example {tuple(images.shape)}: "
            f"{type(error).__name__}: {message}"
        ) from error
    return outputs.float().cpu()


@torch.no_grad()
def _let_signals_through(module: nn.Module, generator: torch.Generator) -> None:
    """Draw weights that keep the size of a signal, and shifts and statistics that change it."""
    for name, tensor in [*module.named_parameters(), *module.named_buffers()]:
        if not tensor.is_floating_point():
            continue
        if tensor.dim() > 1:
            tensor.normal_(0, math.sqrt(2 / max(1, tensor[0].numel())), generator=generator)
        elif name.endswith("running_var"):
            tensor.uniform_(0.5, 1.5, generator=generator)
        else:
            tensor.normal_(0.5, 0.3, generator=generator)
