"""Coverage: which parameters lie in parts that can be searched."""

import pytest

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
