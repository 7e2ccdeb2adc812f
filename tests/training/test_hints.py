"""Hints: which layers are taught, and that the lower half alone learns them."""

import pytest
import torch
import torch.nn.functional as F
from pydantic import ValidationError

from archpress.architectures.architecture import Architecture
from archpress.architectures.building import build
from archpress.architectures.layers import (
    BatchNorm,
    Convolution,
    GlobalAveragePool,
    Linear,
    MaxPool,
    ReLU,
)
from archpress.architectures.references import conv7
from archpress.baselines.width_scaling import scaled
from archpress.errors import UnsupportedNetworkError
from archpress.training.augmentation import input_scaling
from archpress.training.distillation import Teacher
from archpress.training.given import Given
from archpress.training.hints import guided_and_hint, learn_hints, units
from archpress.training.recipe import Distillation, TrainingRecipe
from archpress.training.training import Part, train
from tests.evaluation.tiny import digits, recipe


def deep(*widths: int) -> Architecture:
    layers = [part for width in widths for part in (Convolution(width, 3, 1, 1), ReLU())]
    return Architecture((1, 8, 8), (*layers, GlobalAveragePool(), Linear(10)))


TEACHER = deep(8, 8, 8)
MAPLESS = Architecture((1, 8, 8), (Linear(20), ReLU(), Linear(10)))
SMALL_MAPS = Architecture((1, 8, 8), (Convolution(4, 3, 2, 1), ReLU(), Linear(10)))


def teacher() -> Teacher:
    weights = build(TEACHER, seed=1).state_dict()
    return Teacher(TEACHER, weights, input_scaling(recipe(), digits()))


def hinted(epochs: int, **changes: object) -> TrainingRecipe:
    lessons = Distillation(teacher=teacher().digest, weight=0.5, hint_epochs=epochs)
    return recipe(epochs=1, images=320, learning_rate=0.01, distillation=lessons, **changes)


def test_a_unit_ends_with_what_normalises_and_activates() -> None:
    assert units(conv7()) == [2, 5, 9, 12, 16, 19, 22]
    layers = (Convolution(4, 3), MaxPool(2, 2), ReLU(), Convolution(4, 1), BatchNorm(), Linear(10))
    assert units(Architecture((1, 8, 8), layers)) == [0, 4]


@pytest.mark.parametrize(
    ("student", "teacher", "expected"),
    [
        (scaled(conv7(), 0.2), conv7(), (12, 12)),
        (deep(4, 4, 4, 4, 4), TEACHER, (5, 3)),
        (deep(4), TEACHER, (1, 3)),
    ],
)
def test_the_middle_is_guided_by_the_middle(
    student: Architecture, teacher: Architecture, expected: tuple[int, int]
) -> None:
    assert guided_and_hint(student, teacher) == expected


def test_a_student_that_shrinks_its_maps_sooner_is_guided_earlier() -> None:
    layers = (Convolution(4, 3, 1, 1), Convolution(4, 3, 2, 1), Convolution(4, 3, 2, 1), Linear(10))
    assert guided_and_hint(Architecture((1, 8, 8), layers), TEACHER) == (0, 3)


@pytest.mark.parametrize("student", [MAPLESS, SMALL_MAPS])
def test_students_whose_maps_are_too_small_or_none_are_refused(student: Architecture) -> None:
    with pytest.raises(UnsupportedNetworkError, match="hints need a convolution in both"):
        guided_and_hint(student, TEACHER)


def test_the_lower_half_learns_and_the_upper_stays() -> None:
    architecture = deep(6, 6, 6)
    student = build(architecture, seed=3)
    before = {name: tensor.clone() for name, tensor in student.state_dict().items()}
    part = Part(hinted(6), digits())
    generator = torch.Generator().manual_seed(0)
    losses = learn_hints(student, architecture, teacher(), hinted(6), part, generator)
    assert len(losses) == 6
    assert losses[-1] < 0.5 * losses[0]
    changed = [n for n, t in student.state_dict().items() if not torch.equal(t, before[n])]
    convolutions = [name for name in before if before[name].dim() == 4]
    assert changed == [name for name in before if name.startswith("block1.0.") or ".2." in name]
    assert set(convolutions) - set(changed) == {convolutions[2]}
    assert student.training


def test_without_noise_in_between_the_loss_is_half_the_mean_square() -> None:
    """One step of no length: what is reported is the loss of the fresh weights."""
    architecture = deep(6, 6, 6)
    student, by = build(architecture, seed=3), hinted(1).model_copy(update={"images": 32})
    by = by.model_copy(update={"learning_rate": 1e-12})
    part = Part(by, digits())
    torch.manual_seed(5)
    (loss,) = learn_hints(
        student, architecture, teacher(), by, part, torch.Generator().manual_seed(0)
    )
    torch.manual_seed(5)
    regressor = torch.nn.Conv2d(6, 8, 1)
    generator = torch.Generator().manual_seed(0)
    images = part.batch(part.order(generator).view(-1), generator)
    with torch.no_grad():
        own = build(architecture, seed=3).block1[:4](images)  # type: ignore[index]
        hers = teacher().network(images.device).block1[:4](images)  # type: ignore[index]
        expected = F.mse_loss(regressor(own), hers) / 2
    assert loss == pytest.approx(float(expected), rel=1e-3)


def test_hints_change_where_a_training_ends_and_its_digest() -> None:
    given = Given(teacher())
    plain, told = (train(deep(6, 6), hinted(n), digits(), 0, given=given) for n in (0, 3))
    again = train(deep(6, 6), hinted(3), digits(), 0, given=given)
    assert plain.losses != told.losses == again.losses
    assert hinted(0).digest != hinted(3).digest


def test_hints_are_refused_beside_weights_to_start_from() -> None:
    with pytest.raises(ValidationError, match="hints are for fresh weights"):
        TrainingRecipe.model_validate({**hinted(2).model_dump(), "start": "0123"})
