"""Compound scaling: depth and widths by one coefficient, the largest within the budget."""

from pathlib import Path

import pytest

from archpress.architectures.architecture import Architecture
from archpress.architectures.depths import stages
from archpress.architectures.editing import Draft
from archpress.architectures.layers import Convolution
from archpress.architectures.references import conv7
from archpress.baselines.compound_scaling import compound_scaled, compress
from archpress.baselines.width_scaling import measured, thinned
from archpress.compression.budget import Budget
from archpress.compression.task import Resources
from archpress.errors import BudgetError
from archpress.evaluation.archive import Archive
from tests.compression.tasks import Scripted, make_task


def test_depth_falls_faster_than_widths() -> None:
    half = compound_scaled(conv7(), 0.5)
    assert [len(stage) for stage in stages(Draft(half))] == [1, 1, 1]  # 0.5 ** 1.91 = 0.27
    widths = [layer.out_channels for layer in half.layers if isinstance(layer, Convolution)]
    assert widths == [16, 32, 64]
    most = compound_scaled(conv7(), 0.95)
    assert [len(stage) for stage in stages(Draft(most))] == [2, 2, 3]  # 0.91, rounded up
    assert compound_scaled(conv7(), 1.0) == conv7()


def at(factor: float) -> Architecture:
    return compound_scaled(conv7(), factor)


@pytest.mark.parametrize("share", [0.4, 0.2, 0.05])
def test_it_is_the_largest_within_the_budget(share: float) -> None:
    budget = Budget(int(share * conv7().cost.parameters))
    found = thinned(conv7(), budget, scaling=compound_scaled)
    assert budget.allows(found)
    factor = next(f for f in (n / 1_000 for n in range(1_000, 0, -1)) if found == at(f))
    assert not budget.allows(at(factor + 0.002))
    assert len(found.layers) < len(conv7().layers)


def test_it_trains_what_it_found_and_labels_nothing(tmp_path: Path) -> None:
    task = make_task(budget=Budget(macs=60_000))
    with Archive(tmp_path / "archive.sqlite") as archive:
        result = compress(task, Resources(archive, Scripted(task.data), tmp_path))
    assert (result.method, result.labels) == ("compound_scaling", 0)
    assert result.architecture == measured(task, compound_scaled)
    with (
        Archive(tmp_path / "b.sqlite") as archive,
        pytest.raises(BudgetError, match="compound_scaling needs a budget"),
    ):
        compress(make_task(budget=Budget(None)), Resources(archive, Scripted(task.data), tmp_path))
