"""Distillation and FitNets: a thinned student, the teacher's lessons, and for one of them hints."""

from math import ceil
from pathlib import Path

import pytest

from archpress.baselines import distillation, find_baseline
from archpress.baselines.width_scaling import thinned
from archpress.compression.budget import Budget
from archpress.compression.task import Resources
from archpress.errors import BudgetError
from archpress.evaluation.archive import Archive
from archpress.evaluation.executors import InProcess
from tests.compression.tasks import FINAL, Scripted, make_task


@pytest.mark.parametrize(
    ("name", "hint_epochs"), [("distillation", 0), ("fitnets", ceil(FINAL.epochs / 4))]
)
@pytest.mark.parametrize("weight", [0.0, 0.3])
def test_the_thinned_network_learns_from_the_input_network(
    name: str, hint_epochs: int, weight: float, tmp_path: Path
) -> None:
    task = make_task(distillation=weight, temperature=2.0)
    executor = Scripted(task.data)
    with Archive(tmp_path / "archive.sqlite") as archive:
        result = find_baseline(name)(task, Resources(archive, executor, tmp_path))
    assert result.architecture == thinned(task.network, task.budget)
    assert (result.labels, result.label_epochs) == (0, hint_epochs * FINAL.seeds)
    own, student = executor.jobs[:2], executor.jobs[2:]
    assert {job.recipe.digest for job in own} == {task.final_recipe.digest}
    lessons = student[0].recipe.distillation
    assert lessons is not None
    assert lessons.weight == (weight or distillation.WEIGHT)
    assert (lessons.temperature, lessons.hint_epochs) == (2.0, hint_epochs)
    assert result.compressed.teacher == lessons.teacher != ""
    assert result.base.teacher == ""


@pytest.mark.parametrize("name", ["distillation", "fitnets"])
def test_real_students_are_trained(name: str, tmp_path: Path) -> None:
    task = make_task()
    with Archive(tmp_path / "archive.sqlite") as archive, InProcess(task.data) as executor:
        result = find_baseline(name)(task, Resources(archive, executor, tmp_path))
        statuses = {run.status for run in archive}
    assert statuses == {"ok"}
    assert len(result.compressed.test_accuracy) == FINAL.seeds


@pytest.mark.parametrize("name", ["distillation", "fitnets"])
def test_without_a_budget_they_refuse(name: str, tmp_path: Path) -> None:
    task = make_task(budget=Budget(None))
    with (
        Archive(tmp_path / "a.sqlite") as archive,
        pytest.raises(BudgetError, match=f"{name} needs a budget"),
    ):
        find_baseline(name)(task, Resources(archive, Scripted(task.data), tmp_path))
