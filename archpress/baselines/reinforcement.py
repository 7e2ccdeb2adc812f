"""N2N learning (Ashok et al. 2018): policies remove layers, then shrink them, for a reward.

The first policy decides which blocks of the input network stay, the second how wide what the first
has found best remains. Students learn from the trained input network.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from math import log10

import torch
from torch import Tensor

from archpress.architectures.architecture import Architecture
from archpress.architectures.depths import blocks, without
from archpress.architectures.editing import Draft
from archpress.architectures.layers import Convolution
from archpress.architectures.simplification import simplify
from archpress.architectures.widths import FIXED, scaled, width_groups
from archpress.baselines.distillation import WEIGHT
from archpress.baselines.policies import Policy
from archpress.baselines.width_scaling import measured
from archpress.compression.finishing import (
    accuracy_of_input,
    finish_after,
    teacher_of,
    train_input,
)
from archpress.compression.result import CompressionResult
from archpress.compression.selection import to_train_finally
from archpress.compression.task import CompressionTask, Resources
from archpress.errors import BudgetError, UnsupportedNetworkError
from archpress.evaluation.giving import Giving
from archpress.evaluation.record import Label
from archpress.evaluation.sweep import evaluate
from archpress.training.distillation import Teacher
from archpress.training.given import Given
from archpress.training.machine import one_thread
from archpress.training.recipe import TrainingRecipe

BATCH = 5
"""Students of one step of a policy."""
PATIENCE = 200
"""Steps of a policy in a row that may come to nothing new."""
REMOVAL_RATE, SHRINKAGE_RATE = 0.003, 0.01
"""Learning rates of the two policies."""
FACTORS = tuple(tenth / 10 for tenth in range(1, 11))
"""What a width may be multiplied by."""
REFUSED = -1.0
"""Reward of what is no network, or beyond the budget."""
SEED_OFFSET = 7_000_000


def compress(task: CompressionTask, resources: Resources) -> CompressionResult:
    """Return the best student within the budget; half the labels go to each policy.

    Raises:
        BudgetError: There is no budget, or width 1 everywhere exceeds it.
        UnsupportedNetworkError: The input network has no convolution.
    """
    if not task.budget.bounds:
        raise BudgetError("reinforcement needs a budget, of parameters or anything else")
    if not blocks(Draft(task.network)):
        raise UnsupportedNetworkError("reinforcement needs an input network with convolutions")
    own = train_input(task, resources)
    teacher = teacher_of(task, own, resources)
    asked = Students(task, resources, teacher, accuracy_of_input(task, own) or 1.0)
    generator = torch.Generator().manual_seed(task.seed + SEED_OFFSET)
    with one_thread():
        removal(asked, generator)
        shrinkage(asked, generator)
    lessons = replace(task, distillation=task.distillation or WEIGHT)
    base, chosen = finish_after(lessons, own, asked.within(), resources)
    count, epochs = len(asked.labels), asked.epochs
    origin = "layers removed and shrunk by policies (N2N)"
    return CompressionResult(
        "reinforcement", base, chosen, origin, count, epochs, resources.folder
    )  # fmt: skip


@dataclass
class Students:
    """The students labelled so far, and what they are worth.

    Attributes:
        task: What to compress, on what, within which budget.
        resources: Where labels are looked up, made and kept.
        teacher: From whom students learn.
        accuracy: Of the input network on validation.
        labels: By architecture.
    """

    task: CompressionTask
    resources: Resources
    teacher: Teacher
    accuracy: float
    labels: dict[Architecture, Label] = field(default_factory=dict)

    @property
    def recipe(self) -> TrainingRecipe:
        """How students are labelled."""
        taught = replace(self.task, distillation=self.task.distillation or WEIGHT)
        return taught.taught_recipe(self.teacher.digest, self.task.label_recipe)

    @property
    def epochs(self) -> int:
        """Training epochs of the labels."""
        runs = (run for label in self.labels.values() for run in label.evaluations)
        return sum(run.epochs_trained for run in runs)

    def label(self, students: Sequence[Architecture], most: int) -> None:
        """Label new students until there are ``most`` in all."""
        new = [student for student in dict.fromkeys(students) if student not in self.labels]
        new = new[: max(0, most - len(self.labels))]
        given = Given(self.teacher)
        executor = Giving(self.resources.executor, lambda job: given)
        found = evaluate(new, self.recipe, self.resources.archive, executor).labels
        self.labels |= dict(zip(new, found, strict=True))
        self.resources.progress("students", len(self.labels), self.task.labels)

    def reward(self, student: Architecture | None) -> float:
        """Return ``C (2 - C) A / A_teacher``, C = 1 - p / p_teacher (N2N, equation 4)."""
        if student is None or student not in self.labels:
            return REFUSED
        compression = 1 - student.cost.parameters / self.task.network.cost.parameters
        accuracy = self.labels[student].accuracy or 0.0
        return compression * (2 - compression) * accuracy / self.accuracy

    def within(self) -> list[Label]:
        """Return the best labels within the budget; without one, the best student thinned to it."""
        found = to_train_finally(self.labels.values(), self.task, None)
        if found:
            return found
        begin = max(self.labels, key=self.reward, default=self.task.network)
        fitted = measured(replace(self.task, network=begin))
        return [Label(fitted, 0.0, None, ())]


Make = Callable[[Sequence[int]], Architecture | None]


def removal(asked: Students, generator: torch.Generator) -> None:
    """Let a policy choose which blocks of the input network stay."""
    network = asked.task.network
    parts = described_blocks(network)
    policy = Policy(parts.shape[1], 2, REMOVAL_RATE, asked.task.seed + SEED_OFFSET)

    def make(actions: Sequence[int]) -> Architecture | None:
        shorter = without(network, [place for place, stays in enumerate(actions) if not stays])
        return None if shorter is None else _student(shorter)

    _search(policy, parts, make, asked, asked.task.labels // 2, generator)


def shrinkage(asked: Students, generator: torch.Generator) -> None:
    """Let a policy choose how wide the layers of the best student so far remain."""
    begin = max(asked.labels, key=asked.reward, default=asked.task.network)
    groups = width_groups(begin)
    free = sorted({group for group in groups if group != FIXED})
    if not free:
        return
    parts = described_layers(begin)[free]
    policy = Policy(parts.shape[1], len(FACTORS), SHRINKAGE_RATE, asked.task.seed + SEED_OFFSET + 1)

    def make(actions: Sequence[int]) -> Architecture | None:
        factors = [1.0] * len(groups)
        for group, action in zip(free, actions, strict=True):
            factors[group] = FACTORS[action]
        smaller = scaled(begin, groups, factors)
        return _student(smaller) if asked.task.affords(smaller) else None

    _search(policy, parts, make, asked, asked.task.labels, generator)


def _student(network: Architecture) -> Architecture | None:
    small = simplify(network)
    has_convolution = any(isinstance(layer, Convolution) for layer in small.layers)
    return small if has_convolution else None


def _search(
    policy: Policy,
    parts: Tensor,
    make: Make,
    asked: Students,
    most: int,
    generator: torch.Generator,
) -> None:
    """Sample students, label and reward them, until there are ``most`` or nothing new comes."""
    barren = 0
    while len(asked.labels) < most and barren < PATIENCE:
        before = len(asked.labels)
        actions = policy.sample(parts, BATCH, generator)
        students = [make(row) for row in actions.tolist()]
        asked.label([student for student in students if student is not None], most)
        policy.learn(parts, actions, torch.tensor([asked.reward(s) for s in students]))
        barren = barren + 1 if len(asked.labels) == before else 0


def described_layers(network: Architecture) -> Tensor:
    """Return type, kernel, stride, padding, log width, and skips begun and ended, ``[T, 7]``."""
    rows = network.rows()
    sources = {place - layer.skip for place, layer in enumerate(network.layers) if layer.skip}
    described = []
    for place, (layer, row) in enumerate(zip(network.layers, rows, strict=True)):
        kind, kernel, width, stride, padding = row[:5]
        tenths = [value / 10 for value in (kind, kernel, stride, padding)]
        skips = [float(place in sources), float(layer.skip > 0)]
        described.append([*tenths, log10(max(width, 1)), *skips])
    return torch.tensor(described)


def described_blocks(network: Architecture) -> Tensor:
    """Return the mean of each block's layers, and their number, ``[B, 8]``."""
    draft, layers = Draft(network), described_layers(network)
    found = []
    for block in blocks(draft):
        places = [draft.items.index(item) for item in block]
        found.append(torch.cat([layers[places].mean(0), torch.tensor([len(block) / 10])]))
    return torch.stack(found)
