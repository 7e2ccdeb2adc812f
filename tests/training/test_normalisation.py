"""The folded BatchNorm against torch's, in double precision and as it is used."""

import copy

import pytest
import torch
from torch import Tensor, nn

from archpress.training import normalisation
from archpress.training.normalisation import normalise_folded, pays

SHAPES = [(128, 4, 28, 28), (128, 2, 28, 28), (64, 7, 28, 28), (127, 12, 14, 14), (3, 5, 1, 1)]


def images(shape: tuple[int, ...], dtype: torch.dtype, seed: int = 0) -> Tensor:
    generator = torch.Generator().manual_seed(seed)
    spread = torch.linspace(0.1, 3, shape[1]).view(1, -1, 1, 1)
    drawn = torch.randn(shape, generator=generator) * spread + 2 * spread
    return drawn.to(dtype).contiguous(memory_format=torch.channels_last)


def norm(channels: int) -> nn.BatchNorm2d:
    module = nn.BatchNorm2d(channels, momentum=0.3, eps=1e-3)
    with torch.no_grad():
        module.weight.copy_(torch.linspace(0.5, 2, channels))
        module.bias.copy_(torch.linspace(-1, 1, channels))
    return module


def passed(module: nn.BatchNorm2d, x: Tensor, upper: Tensor, folded: bool) -> list[Tensor]:
    """Return output, gradients and statistics after one pass."""
    module, x = copy.deepcopy(module), x.detach().requires_grad_()
    y = normalise_folded(x, module) if folded else module(x)
    y.backward(upper)
    found = [y, x.grad, module.weight.grad, module.bias.grad, *module.buffers()]
    return [part.detach() for part in found if part is not None]


@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize("laid_out", [True, False])
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_is_as_exact_as_torch(shape: tuple[int, ...], laid_out: bool, dtype: torch.dtype) -> None:
    x, upper = images(shape, dtype), images(shape, dtype, 1)
    if not laid_out:
        upper = upper.contiguous()
    exact = passed(norm(shape[1]).double(), x.double(), upper.double(), folded=False)
    usual = passed(norm(shape[1]), x, upper, folded=False)
    ours = passed(norm(shape[1]), x, upper, folded=True)
    for found, other, wanted in zip(ours, usual, exact, strict=True):
        assert found.dtype == other.dtype and found.shape == other.shape
        worst = [float((part.double() - wanted).abs().max()) for part in (found, other)]
        assert worst[0] <= 3 * worst[1] + 1e-6 * float(wanted.abs().max()), worst


def test_output_may_be_overwritten() -> None:
    x = images((128, 4, 28, 28), torch.bfloat16).requires_grad_()
    module = norm(4)
    torch.relu_(normalise_folded(x, module)).sum().backward()
    found = module.bias.grad
    module = norm(4)
    torch.relu(module(x)).sum().backward()
    assert found is not None and module.bias.grad is not None
    torch.testing.assert_close(found, module.bias.grad, rtol=1e-2, atol=1)


def test_pays_only_where_it_was_measured_to() -> None:
    assert pays(images((128, 4, 28, 28), torch.bfloat16))
    assert not pays(images((128, 16, 28, 28), torch.bfloat16))
    assert not pays(images((128, 1, 28, 28), torch.bfloat16))
    assert not pays(images((128, 4, 7, 7), torch.bfloat16))
    assert not pays(images((128, 4, 28, 28), torch.bfloat16).contiguous())
    odd = images((1, 3, 201, 201), torch.bfloat16)  # an odd number of pixels: nothing to fold
    assert odd.numel() >= normalisation.FEWEST_VALUES and not pays(odd)
