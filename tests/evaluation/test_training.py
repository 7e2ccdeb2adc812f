"""The training loop: it learns, repeats itself exactly, and stops where it diverges."""

from dataclasses import replace
from itertools import chain
from typing import Any

import pytest
import torch
from torch import Tensor

from archpress.architectures.building import build
from archpress.evaluation import training
from archpress.evaluation.augmentation import input_scaling
from archpress.evaluation.datasets import DataSet, Split
from archpress.evaluation.recipe import TrainingRecipe
from archpress.evaluation.scoring import accuracy
from archpress.evaluation.training import Trained, train
from tests.evaluation.tiny import ABSURD, TINY, digits, linear, network, numbered_images, recipe

LEARNS = recipe(epochs=4, images=400, learning_rate=0.02)
HALF = {"normalization": "half", "images": None}


def weights(trained: Trained) -> dict[str, Tensor]:
    return trained.model.state_dict()


def equal(one: dict[str, Tensor], other: dict[str, Tensor]) -> bool:
    return one.keys() == other.keys() and all(torch.equal(one[k], other[k]) for k in one)


def validation_accuracy(trained: Trained, by: TrainingRecipe) -> float:
    return accuracy(trained.model, digits().validation, input_scaling(by, digits()))


def batches_of(
    by: TrainingRecipe, data: DataSet, monkeypatch: pytest.MonkeyPatch, seed: int = 0
) -> list[list[int]]:
    """The numbers of the images in every batch that a training on `numbered_images` saw."""
    seen: list[list[int]] = []

    def look(images: Tensor, _: TrainingRecipe) -> Tensor:
        seen.append([round(number) for number in (images[:, 0, 0, 0] + 0.5).tolist()])
        return images

    monkeypatch.setattr(training, "augment", look)
    train(linear((1, 2, 2), 2), by, data, seed)
    return seen


def flat(batches: list[list[int]]) -> list[int]:
    return list(chain.from_iterable(batches))


def test_digits_are_learned_far_above_chance() -> None:
    trained = train(network(12), LEARNS, digits(), seed=0)
    assert validation_accuracy(trained, LEARNS) > 0.6
    assert trained.losses[-1] < trained.losses[0] / 2
    assert (len(trained.losses), trained.diverged, trained.model.training) == (4, False, False)


def test_bfloat16_is_close_to_float32_and_keeps_float32_weights() -> None:
    full = train(network(12), LEARNS, digits(), seed=0)
    half = train(network(12), LEARNS, digits(), seed=0, precision="bfloat16")
    assert not equal(weights(full), weights(half))
    assert validation_accuracy(half, LEARNS) == pytest.approx(
        validation_accuracy(full, LEARNS), abs=0.1
    )
    assert {p.dtype for p in half.model.parameters()} == {torch.float32}


def test_the_same_seed_gives_the_same_weights_and_losses() -> None:
    by = recipe(flip=True, crop_padding=1)
    one, other = (train(network(), by, digits(), seed=5) for _ in range(2))
    assert equal(weights(one), weights(other))
    assert one.losses == other.losses


def test_another_seed_gives_others() -> None:
    one, other = (train(network(), TINY, digits(), seed) for seed in (5, 6))
    assert not equal(weights(one), weights(other))
    assert one.losses != other.losses


def test_the_global_generator_is_left_as_it_was() -> None:
    before = torch.get_rng_state()
    train(network(), TINY, digits(), seed=5)
    assert torch.equal(torch.get_rng_state(), before)


def test_only_the_recipes_fixed_subset_of_the_images_is_seen(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    data = numbered_images(60)
    by = recipe(normalization="half", images=12, batch_size=4, epochs=3)
    epochs = batches_of(by, data, monkeypatch)
    subset = set(flat(epochs))
    assert len(subset) == 12
    for epoch in range(3):
        assert sorted(flat(epochs[3 * epoch : 3 * epoch + 3])) == sorted(subset)
    others = batches_of(by, data, monkeypatch, seed=1)
    assert set(flat(others)) == subset
    assert others != epochs


def test_without_a_limit_all_training_images_and_no_others_are_seen(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    data = numbered_images(20)
    seen = batches_of(recipe(**HALF, batch_size=2), data, monkeypatch)
    assert sorted(flat(seen)) == sorted(data.train.images[:, 0, 0, 0].tolist())


@pytest.mark.parametrize(("batch_size", "sizes"), [(4, [4, 4, 4, 4]), (1000, [18])])
def test_an_incomplete_last_batch_is_left_out_unless_it_is_the_only_one(
    batch_size: int, sizes: list[int], monkeypatch: pytest.MonkeyPatch
) -> None:
    data = numbered_images(20)
    seen = batches_of(recipe(**HALF, batch_size=batch_size), data, monkeypatch)
    assert len(data.train) == 18
    assert [len(batch) for batch in seen] == sizes
    assert len(set(flat(seen))) == sum(sizes)


def test_the_learning_rate_is_the_recipes_at_every_step(monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[tuple[int, int]] = []

    def nothing(_: TrainingRecipe, step: int, steps_per_epoch: int) -> float:
        asked.append((step, steps_per_epoch))
        return 0.0

    monkeypatch.setattr(TrainingRecipe, "learning_rate_at", nothing)
    by = recipe(epochs=2, images=48, weight_decay=0.5)
    trained = train(network(), by, digits(), seed=3)
    assert asked == [(step, 3) for step in range(6)]
    fresh = dict(build(network(), seed=3).named_parameters())
    assert equal({k: v.data for k, v in trained.model.named_parameters()}, fresh)


def test_the_first_step_is_adams_with_decoupled_weight_decay() -> None:
    by = recipe(images=16, learning_rate=0.01, weight_decay=0.5)
    trained = train(network(), by, digits(), seed=3)
    fresh = dict(build(network(), seed=3).named_parameters())
    moved = torch.cat([
        (p - fresh[name] * (1 - 0.01 * 0.5)).detach().flatten()
        for name, p in trained.model.named_parameters()
    ])  # fmt: skip
    assert moved.abs().max() < 0.01001
    assert (moved.abs() > 0.0099).float().mean() > 0.8


def test_epochs_are_reported_as_they_end() -> None:
    told: list[int] = []
    train(network(), recipe(epochs=3, images=16), digits(), seed=0, on_epoch=told.append)
    assert told == [1, 2, 3]


def poisoned(data: DataSet) -> DataSet:
    images = data.train.images.float() / 255
    images[::5] = float("nan")
    return replace(data, train=Split(images, data.train.labels))


@pytest.mark.parametrize(
    ("by", "data"),
    [(recipe(epochs=5, **HALF), poisoned), (ABSURD.model_copy(update={"epochs": 5}), lambda d: d)],
    ids=["data that are not numbers", "an absurd learning rate"],
)
def test_a_loss_that_is_not_finite_ends_the_training(by: TrainingRecipe, data: Any) -> None:
    trained = train(network(), by, data(digits()), seed=0)
    assert trained.diverged
    assert not torch.tensor(trained.losses[-1]).isfinite()
    assert len(trained.losses) < 5
    assert all(torch.tensor(trained.losses[:-1]).isfinite())


def test_a_loss_that_is_not_finite_in_the_last_epoch_counts_as_diverged() -> None:
    trained = train(network(), recipe(epochs=1, **HALF), poisoned(digits()), seed=0)
    assert (len(trained.losses), trained.diverged) == (1, True)


@pytest.mark.parametrize("bad", [float("nan"), float("inf")])
@pytest.mark.parametrize("epoch", [1, 3, 5])
def test_the_epoch_of_a_bad_loss_is_the_last_one(
    bad: float, epoch: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    losses = iter([0.5] * (epoch - 1) + [bad] + [0.5] * 9)
    monkeypatch.setattr(training, "_epoch", lambda *_: next(losses))
    trained = train(network(), recipe(epochs=5), digits(), seed=0)
    assert (len(trained.losses), trained.diverged) == (epoch, True)
