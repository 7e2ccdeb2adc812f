"""Coverage: which parameters lie in parts that can be searched."""

import pytest
import torch
from torch import Tensor, nn

from archpress.importing.coverage import Coverage, coverage
from archpress.importing.recording import record
from tests.networks import MODULES

RECORDABLE = sorted(set(MODULES) - {"data_dependent"})


def covered(name: str) -> Coverage:
    sample = MODULES[name]
    return coverage(record(sample.make(), sample.input_shape))


@pytest.mark.parametrize("name", RECORDABLE)
def test_coverage_agrees_with_what_can_be_captured(name: str) -> None:
    found = covered(name)
    every = sum(p.numel() for p in MODULES[name].make().parameters())
    assert found.parameters == every
    assert 0 <= found.searchable <= every
    assert bool(found.refusals) == (MODULES[name].refused is not None)
    if MODULES[name].refused is None:
        assert found.trunk is None
        assert found.searchable == every - (41_740 if name == "unused_layers" else 0)


def test_the_trunk_before_an_unsupported_part_is_found() -> None:
    found = covered("attention")
    assert found.trunk is not None
    assert (found.trunk.first, found.trunk.last) == ("stem.0 (conv2d)", "stem.2 (relu)")
    assert found.trunk.parameters == found.searchable == 3 * 16 * 9 + 32


def test_the_trunk_after_an_unsupported_part_is_found() -> None:
    found = covered("reflect_padding")
    assert found.trunk is not None
    assert found.trunk.first == "mirror (conv2d)"
    assert found.trunk.last == "head.2 (linear)"


def test_shortcuts_and_squeeze_excite_count_in_a_trunk() -> None:
    class Cut(nn.Sequential):
        def forward(self, x: Tensor) -> Tensor:
            for part in self:
                x = part(x)
            return torch.cat([x, x], 1)

    blocks = [MODULES["resnet20"].make(), MODULES["squeeze_excite"].make()]
    for module in blocks:
        found = coverage(record(Cut(module), (3, 32, 32)))
        assert found.trunk is not None
        assert found.searchable == sum(p.numel() for p in module.parameters())


def test_what_ends_the_capture_comes_before_what_is_never_reached() -> None:
    class Two(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.conv = nn.Conv2d(3, 3, 1)
            self.last = nn.Linear(12, 2)

        def forward(self, x: Tensor) -> Tensor:
            x = self.conv(x)
            torch.cat([x, x], 1)
            logits: Tensor = self.last(self.conv(x).flatten(1))
            return logits

    first, second = coverage(record(Two(), (3, 2, 2))).refusals
    assert "is shared with" in first
    assert "concatenation" in second


def test_every_refusal_is_listed() -> None:
    assert len(covered("densenet").refusals) == 6


def test_shared_weights_end_the_trunk() -> None:
    found = covered("conv_called_twice")
    assert found.searchable < found.parameters
    assert len(found.refusals) == 1
    assert "is shared with" in found.refusals[0]


def test_unused_tensors_are_named_and_computed_ones_are_not_among_them() -> None:
    assert "fc_old.weight" in covered("unused_layers").unused
    assert covered("weight_standardized").unused == ()
    assert covered("spectral_norm").unused == ()
