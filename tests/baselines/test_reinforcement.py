"""N2N: the policies learn, students are what they say, and rewards are by the formula."""

from dataclasses import replace
from pathlib import Path

import pytest
import torch

from archpress.architectures.architecture import Architecture
from archpress.architectures.building import build
from archpress.architectures.layers import Linear, ReLU
from archpress.architectures.references import digits_cnn
from archpress.architectures.widths import FIXED, width_groups
from archpress.baselines.policies import Policy
from archpress.baselines.reinforcement import (
    REFUSED,
    Students,
    compress,
    described_blocks,
    described_layers,
    removal,
    shrinkage,
)
from archpress.compression.budget import Budget
from archpress.compression.task import CompressionTask, Resources
from archpress.errors import BudgetError, UnsupportedNetworkError
from archpress.evaluation.archive import Archive
from archpress.training.augmentation import input_scaling
from archpress.training.distillation import Teacher
from tests.compression.tasks import Scripted, label_of, make_task, network_of
from tests.small_networks import generator


def students(folder: Path, **changes: object) -> tuple[Students, Scripted]:
    task = make_task(**changes)
    executor = Scripted(task.data)
    weights = build(task.network, seed=0).state_dict()
    teacher = Teacher(task.network, weights, input_scaling(task.final_recipe, task.data))
    resources = Resources(Archive.in_memory(), executor, folder)
    return Students(task, resources, teacher, 0.8), executor


# ------------------------------------------------------------------ the policy


def test_a_policy_learns_which_action_each_part_is_rewarded_for() -> None:
    """The right action depends on what comes after: only a look both ways can tell."""
    parts = torch.eye(4)
    wanted = torch.tensor([1, 0, 0, 1])
    policy, draw = Policy(4, 2, 0.01, seed=0), generator(0)
    before = policy.probabilities(parts)[torch.arange(4), wanted]
    for _ in range(150):
        actions = policy.sample(parts, 5, draw)
        policy.learn(parts, actions, (actions == wanted).float().mean(1))
    after = policy.probabilities(parts)[torch.arange(4), wanted]
    assert before.max() < 0.65
    assert after.min() > 0.9


def test_a_policy_looks_both_ways() -> None:
    policy = Policy(2, 3, 0.01, seed=0)
    one = torch.zeros(5, 2)
    for place in (0, 4):
        other = one.clone()
        other[place] = 1.0
        assert not torch.allclose(policy.probabilities(one)[2], policy.probabilities(other)[2])


def test_rewards_no_better_than_usual_teach_nothing() -> None:
    policy, parts = Policy(4, 2, 0.1, seed=0), torch.eye(4)
    before = policy.probabilities(parts).detach()
    policy.learn(parts, policy.sample(parts, 3, generator(1)), torch.full((3,), 0.7))
    assert torch.equal(policy.probabilities(parts), before)


def test_the_seed_decides_the_first_weights_and_the_global_generator_is_left() -> None:
    state = torch.get_rng_state()
    chances = [Policy(4, 2, 0.1, seed).probabilities(torch.eye(4)) for seed in (0, 0, 1)]
    assert torch.equal(torch.get_rng_state(), state)
    assert torch.equal(chances[0], chances[1]) and not torch.equal(chances[0], chances[2])


# ------------------------------------------------------------------ students


def test_the_reward_is_that_of_the_paper(tmp_path: Path) -> None:
    asked, _ = students(tmp_path)
    student = network_of(4)
    asked.labels[student] = label_of(student, 0.6)
    compression = 1 - student.cost.parameters / 75_626
    assert asked.reward(student) == pytest.approx(compression * (2 - compression) * 0.6 / 0.8)
    assert asked.reward(None) == asked.reward(network_of(5)) == REFUSED


def test_parts_are_described_by_what_they_are() -> None:
    layers = described_layers(digits_cnn())
    assert layers.shape == (len(digits_cnn().layers), 7)
    blocks = described_blocks(digits_cnn())
    assert blocks.shape == (4, 8)
    first = layers[:3].mean(0)
    assert torch.allclose(blocks[0], torch.cat([first, torch.tensor([0.3])]))


def test_the_first_policy_takes_blocks_out_and_nothing_else(tmp_path: Path) -> None:
    asked, executor = students(tmp_path, labels=20)
    removal(asked, generator(0))
    assert 3 < len(asked.labels) <= 10
    widths = [row[2] for row in digits_cnn().rows() if row[0] == 1]
    for student in asked.labels:
        left = [row[2] for row in student.rows() if row[0] == 1]
        rest = iter(widths)
        assert all(width in rest for width in left), "in the same order, each as wide as it was"
        assert left
    lessons = {job.recipe.distillation.teacher for job in executor.jobs if job.recipe.distillation}
    assert lessons == {asked.teacher.digest}
    assert all(job.given and job.given.teacher is asked.teacher for job in executor.jobs)


def test_the_second_policy_narrows_the_best_student_within_the_budget(tmp_path: Path) -> None:
    asked, _ = students(tmp_path, labels=12)
    begin = digits_cnn()
    asked.labels[begin] = label_of(begin, 0.79)
    shrinkage(asked, generator(0))
    made = [student for student in asked.labels if student != begin]
    assert len(made) == 11
    assert all(asked.task.affords(student) for student in made)
    groups = [group for group in width_groups(begin) if group != FIXED]
    assert groups
    kinds = [layer.kind for layer in begin.layers]
    assert all([layer.kind for layer in student.layers] == kinds for student in made)
    assert len({student.digest for student in made}) == 11


def test_labels_of_the_same_student_are_asked_for_once(tmp_path: Path) -> None:
    asked, executor = students(tmp_path)
    asked.label([network_of(3), network_of(3), network_of(4)], most=10)
    asked.label([network_of(4), network_of(5), network_of(6)], most=4)
    trained = [job.architecture for job in executor.jobs]
    assert len(trained) == len(asked.labels) == asked.epochs == 4
    assert {*trained} == {network_of(n) for n in (3, 4, 5, 6)}


def test_where_no_student_is_within_the_budget_the_best_is_thinned_to_it(tmp_path: Path) -> None:
    asked, _ = students(tmp_path, budget=Budget(900))
    asked.labels[network_of(3)] = label_of(network_of(3), 0.7)
    (only,) = asked.within()
    assert asked.task.affords(only.architecture)
    assert [layer.kind for layer in only.architecture.layers] == [
        layer.kind for layer in network_of(3).layers
    ]


# ------------------------------------------------------------------ the whole


class ByWidth(Scripted):
    """The wider, the better."""

    def run(self, jobs, *told):  # type: ignore[no-untyped-def]
        for job in jobs:
            size = job.architecture.cost.parameters
            self.accuracies[job.architecture.digest] = 0.3 + 0.5 * min(1.0, size / 75_626) ** 0.1
        yield from super().run(jobs, *told)


def ran(folder: Path, task: CompressionTask) -> tuple[Architecture, ByWidth]:
    executor = ByWidth(task.data)
    with Archive(folder / "archive.sqlite") as archive:
        result = compress(task, Resources(archive, executor, folder))
    assert result.method == "reinforcement"
    return result.architecture, executor


def test_students_are_labelled_and_trained_by_lessons_and_the_teacher_by_labels(
    tmp_path: Path,
) -> None:
    task = make_task(labels=16)
    found, executor = ran(tmp_path, task)
    own = [job for job in executor.jobs if job.architecture == task.network]
    assert own[0].recipe == task.final_recipe
    taught = [job for job in executor.jobs if job.recipe.distillation]
    assert len(executor.jobs) == len(taught) + 2
    assert 8 < len(taught) - 2 <= 16
    assert {job.recipe.epochs for job in taught[-2:]} == {task.final_recipe.epochs}
    assert task.affords(found)


def test_a_distillation_of_the_task_is_kept(tmp_path: Path) -> None:
    task = replace(make_task(labels=4), distillation=0.25)
    _, executor = ran(tmp_path, task)
    taught = [job.recipe.distillation for job in executor.jobs if job.recipe.distillation]
    assert {lessons.weight for lessons in taught} == {0.25}


def test_an_input_network_without_a_convolution_is_refused(tmp_path: Path) -> None:
    flat = Architecture((1, 8, 8), (Linear(30), ReLU(), Linear(10)))
    with pytest.raises(UnsupportedNetworkError, match="an input network with convolutions"):
        ran(tmp_path, make_task(network=flat, budget=Budget(1_000)))


def test_without_a_budget_it_refuses(tmp_path: Path) -> None:
    with pytest.raises(BudgetError, match="reinforcement needs a budget"):
        ran(tmp_path, make_task(budget=Budget(None)))
