"""Learning from a teacher: the loss by hand, the teacher's words, and what comes of them."""

import math
from functools import cache

import pytest
import torch
import torch.nn.functional as F
from pydantic import ValidationError
from torch import Tensor

from archpress.evaluation.executors import Executor, InProcess, ProcessPool
from archpress.evaluation.giving import Giving
from archpress.evaluation.record import Job
from archpress.training import distillation
from archpress.training.augmentation import input_scaling, normalise
from archpress.training.distillation import Lessons, Teacher, distillation_loss
from archpress.training.given import Given
from archpress.training.recipe import Distillation, TrainingRecipe
from archpress.training.training import Part, train
from tests.compression.tasks import make_task
from tests.evaluation.tiny import digits, network, recipe, without_seconds

LEARNS = recipe(epochs=4, images=400, learning_rate=0.02)


@cache
def teacher(**changes: object) -> Teacher:
    by = LEARNS.model_copy(update=changes)
    trained = train(network(12), by, digits(), seed=0)
    return Teacher(network(12), trained.model.state_dict(), input_scaling(by, digits()))


def taught(by: TrainingRecipe, whom: Teacher, weight: float = 1.0) -> TrainingRecipe:
    lessons = Distillation(teacher=whom.digest, weight=weight, temperature=2.0)
    return by.model_copy(update={"distillation": lessons})


def logits(seed: int) -> Tensor:
    return torch.randn(6, 4, generator=torch.Generator().manual_seed(seed))


# ------------------------------------------------------------------ the loss


def test_the_loss_is_that_of_the_formula() -> None:
    by = Distillation(teacher="", weight=0.3, temperature=5.0)
    one, two, labels = logits(0), logits(1), torch.tensor([0, 1, 2, 3, 0, 1])
    said, hers = (one / 5).softmax(1), (two / 5).softmax(1)
    divergence = (hers * (hers / said).log()).sum(1).mean()
    own = -one.softmax(1)[torch.arange(6), labels].log().mean()
    expected = 0.7 * own + 0.3 * 25 * divergence
    assert float(distillation_loss(one, two, labels, by)) == pytest.approx(float(expected), 1e-5)


def test_a_student_that_says_the_same_has_nothing_to_learn_from_her() -> None:
    by = Distillation(teacher="", weight=1.0)
    same = logits(0).requires_grad_()
    loss = distillation_loss(same, logits(0) + 3.0, torch.zeros(6, dtype=torch.long), by)
    assert loss.item() == pytest.approx(0, abs=1e-5)
    loss.backward()
    assert same.grad is not None and float(same.grad.abs().max()) < 1e-5


# ------------------------------------------------------------------ the recipe


def test_the_digest_covers_a_teacher_and_is_the_former_one_without() -> None:
    assert recipe().digest == recipe(distillation=None).digest
    found = {
        recipe(distillation=Distillation(teacher=name, weight=weight, temperature=heat)).digest
        for name in "ab" for weight in (0.5, 0.6) for heat in (1.0, 2.0)
    }  # fmt: skip
    assert len(found - {recipe().digest}) == 8


def test_a_recipe_with_a_teacher_survives_json() -> None:
    by = taught(LEARNS, teacher())
    assert TrainingRecipe.model_validate(by.model_dump(mode="json")) == by


def test_stopping_at_chance_is_refused_beside_a_teacher() -> None:
    values = {**taught(LEARNS, teacher()).model_dump(), "chance_steps": 30}
    with pytest.raises(ValidationError, match="not beside distillation"):
        TrainingRecipe.model_validate(values)


@pytest.mark.parametrize("whom", [None, "another"])
def test_a_teacher_other_than_the_recipes_is_refused(whom: str | None) -> None:
    by = taught(LEARNS, teacher())
    other = teacher(normalization="half") if whom else None
    with pytest.raises(ValueError, match="not the one that the recipe names"):
        train(network(), by, digits(), 0, given=Given(other))
    with pytest.raises(ValueError, match="not the one that the recipe names"):
        train(network(), LEARNS, digits(), 0, given=Given(teacher()))


def test_the_recipe_of_a_task_with_a_teacher_can_be_read_back_whatever_the_final_one_is() -> None:
    """Stopping at chance would compare other losses: it is left out."""
    final = recipe(chance_steps=30)
    by = make_task(final_recipe=final, distillation=0.5).taught_recipe("0123")
    assert by.chance_steps == 0
    assert TrainingRecipe.model_validate(by.model_dump(mode="json")) == by


# ------------------------------------------------------------------ the teacher


def test_a_digest_covers_network_weights_and_scaling() -> None:
    one = teacher()
    mean, deviation = one.scaling
    weights = {name: tensor.clone() for name, tensor in one.weights.items()}
    assert Teacher(one.architecture, weights, (mean.clone(), deviation)).digest == one.digest
    weights[min(weights)] += 1e-3
    others = [
        Teacher(one.architecture, weights, one.scaling),
        Teacher(one.architecture, one.weights, (mean + 0.1, deviation)),
    ]
    assert len({one.digest, *(other.digest for other in others)}) == 3


@pytest.mark.parametrize("changes", [{}, {"normalization": "half"}])
@pytest.mark.parametrize("augmented", [False, True])
def test_lessons_are_what_the_teacher_says_of_the_images_as_she_knows_them(
    changes: dict[str, str], augmented: bool
) -> None:
    """Hers may be scaled otherwise than those of the student's recipe."""
    whom = teacher(**changes)
    by = taught(LEARNS.model_copy(update={"flip": augmented}), whom)
    part = Part(by, digits())
    chosen = torch.tensor([3, 99, 250])
    images = part.batch(chosen, torch.Generator().manual_seed(1))
    said = Lessons(whom, by, digits(), part)(chosen, images)
    model = train(network(12), LEARNS.model_copy(update=changes), digits(), seed=0).model
    pixels = images * part.scaling[1].view(1, -1, 1, 1) + part.scaling[0].view(1, -1, 1, 1)
    with torch.no_grad():
        expected = model(normalise(pixels, *whom.scaling))
    assert torch.allclose(said, expected, atol=1e-4)
    assert not said.requires_grad


def test_all_is_asked_once_for_trainings_that_follow(monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[int] = []
    forward = Teacher.forward
    monkeypatch.setattr(
        Teacher, "forward", lambda self, *given: asked.append(1) or forward(self, *given)
    )
    distillation._LOGITS.clear()
    by = taught(recipe(epochs=1, images=64), teacher())
    for seed in (0, 1):
        train(network(), by, digits(), seed, given=Given(teacher()))
    assert len(asked) == 1
    augmented = by.model_copy(update={"flip": True})
    for seed in (0, 1):
        train(network(), augmented, digits(), seed, given=Given(teacher()))
    assert len(asked) == 3


# ------------------------------------------------------------------ the student


def wrong() -> Teacher:
    """Says of every digit that it is the next one."""
    right = teacher()
    last = max(name for name in right.weights if name.endswith("bias"))
    prefix = last.removesuffix("bias")
    weights = {
        name: tensor.roll(1, 0) if name.startswith(prefix) else tensor
        for name, tensor in right.weights.items()
    }
    return Teacher(right.architecture, weights, right.scaling)


@pytest.mark.parametrize("augmented", [False, True])
def test_a_student_learns_what_the_teacher_says_rather_than_the_labels(augmented: bool) -> None:
    changes = {"epochs": 6, "crop_padding": int(augmented)}
    by = taught(LEARNS.model_copy(update=changes), wrong())
    trained = train(network(12), by, digits(), seed=1, given=Given(wrong()))
    images = normalise(digits().validation.images, *input_scaling(by, digits()))
    with torch.no_grad():
        said = trained.model(images).argmax(1)
    truth = digits().validation.labels
    next_one = float((said == (truth + 1) % 10).float().mean())
    assert next_one > 0.5 > float((said == truth).float().mean())


def test_losses_reported_are_those_that_were_lowered() -> None:
    by = taught(recipe(epochs=3, images=400, learning_rate=0.02), teacher(), weight=1.0)
    losses = train(network(12), by, digits(), seed=1, given=Given(teacher())).losses
    assert losses[-1] < losses[0] and not math.isnan(losses[0])


@pytest.mark.parametrize(
    "executor", [lambda: InProcess(digits()), lambda: ProcessPool(digits(), workers=1)]
)
def test_every_executor_hands_the_teacher_on(executor: object) -> None:
    by = taught(recipe(epochs=1, images=64), teacher())
    jobs = [Job(network(width), by, 0, digits().digest) for width in (3, 4)]
    assert jobs[0].key != Job(network(3), recipe(epochs=1, images=64), 0, digits().digest).key
    with executor() as opened:  # type: ignore[operator]
        assert isinstance(opened, Executor)
        found = without_seconds(Giving(opened, lambda job: Given(teacher())).run(jobs))
    assert [each.status for each in found] == ["ok", "ok"]
    with InProcess(digits()) as here:
        assert without_seconds(Giving(here, lambda job: Given(teacher())).run(jobs)) == found
        with pytest.raises(ValueError, match="not the one that the recipe names"):
            list(here.run(jobs))


def _divergence(said: Tensor, hers: Tensor) -> Tensor:
    return F.kl_div(said.log_softmax(1), hers.softmax(1), reduction="batchmean")


def test_soft_targets_are_a_gradient_toward_the_teacher() -> None:
    by = Distillation(teacher="", weight=1.0, temperature=3.0)
    student, hers = logits(0).requires_grad_(), logits(1)
    distillation_loss(student, hers, torch.zeros(6, dtype=torch.long), by).backward()
    assert student.grad is not None
    step = student.detach() - 0.1 * student.grad
    one, other = (_divergence(s / 3, hers / 3) for s in (student, step))
    assert other.item() < one.item()
