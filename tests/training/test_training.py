"""The training loop: it learns, repeats itself exactly, and stops where it diverges."""

import math
from collections.abc import Iterable, Mapping
from dataclasses import replace
from functools import cache
from itertools import chain
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from archpress.architectures.architecture import Architecture
from archpress.architectures.building import build
from archpress.architectures.layers import Convolution, Dropout, Linear, Sigmoid
from archpress.datasets.dataset import DataSet, Split
from archpress.training import training
from archpress.training.augmentation import input_scaling
from archpress.training.given import Given
from archpress.training.recipe import TrainingRecipe
from archpress.training.scoring import accuracy
from archpress.training.steps import EagerSteps
from archpress.training.training import Part, Trained, begin, train
from archpress.training.weights import digest_of
from tests.evaluation.tiny import ABSURD, TINY, digits, linear, network, numbered_images, recipe

LEARNS = recipe(epochs=4, images=400, learning_rate=0.02)
HALF = {"normalization": "half", "images": None}


def weights(trained: Trained) -> dict[str, Tensor]:
    return trained.model.state_dict()


def equal(one: Mapping[str, Tensor], other: Mapping[str, Tensor]) -> bool:
    return one.keys() == other.keys() and all(torch.equal(one[k], other[k]) for k in one)


@cache
def learned() -> Trained:
    return train(network(12), LEARNS, digits(), seed=0)


def validation_accuracy(trained: Trained, by: TrainingRecipe) -> float:
    return accuracy(trained.model, digits().validation, input_scaling(by, digits()))


def batches_of(
    by: TrainingRecipe, data: DataSet, monkeypatch: pytest.MonkeyPatch, seed: int = 0
) -> list[list[int]]:
    """The numbers of the images in every batch that a training on `numbered_images` saw."""
    seen: list[list[int]] = []

    def look(images: Tensor, *_: object) -> Tensor:
        seen.append([round(number) for number in (images[:, 0, 0, 0] + 0.5).tolist()])
        return images

    monkeypatch.setattr(training, "augment", look)
    train(linear((1, 2, 2), 2), by, data, seed)
    return seen


def flat(batches: list[list[int]]) -> list[int]:
    return list(chain.from_iterable(batches))


def test_digits_are_learned_far_above_chance() -> None:
    trained = learned()
    assert validation_accuracy(trained, LEARNS) > 0.6
    assert trained.losses[-1] < trained.losses[0] / 2
    assert (len(trained.losses), trained.diverged, trained.model.training) == (4, False, False)
    assert (trained.steps, trained.at_chance) == (100, False)


@pytest.mark.parametrize("precision", ["bfloat16", "bfloat16 except stem"])
def test_bfloat16_is_close_to_float32_and_keeps_float32_weights(precision: str) -> None:
    full = learned()
    half = train(network(12), LEARNS, digits(), seed=0, precision=precision)
    assert not equal(weights(full), weights(half))
    assert validation_accuracy(half, LEARNS) == pytest.approx(
        validation_accuracy(full, LEARNS), abs=0.1
    )
    assert half.losses == pytest.approx(full.losses, rel=0.1)
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


def scripted(monkeypatch: pytest.MonkeyPatch, losses: Iterable[float]) -> None:
    """Make every step nothing but the next of these losses."""
    script = iter(losses)
    monkeypatch.setattr(EagerSteps, "_step", lambda *_: torch.tensor(next(script)))


def watched(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    """Keep the loss of every step from now on."""
    real, losses = EagerSteps._step, list[float]()

    def look(steps: EagerSteps, chosen: Tensor) -> Tensor:
        loss = real(steps, chosen)
        losses.append(float(loss))
        return loss

    monkeypatch.setattr(EagerSteps, "_step", look)
    return losses


@pytest.mark.parametrize("bad", [float("nan"), float("inf")])
@pytest.mark.parametrize("step", [0, 3, 9, 16, 19])
def test_the_epoch_of_a_bad_loss_is_the_last_one(
    bad: float, step: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    scripted(monkeypatch, [0.5] * step + [bad] + [0.5] * 20)
    trained = train(network(), recipe(epochs=5), digits(), seed=0)
    epochs = step // 4 + 1
    assert (len(trained.losses), trained.steps) == (epochs, 4 * epochs)
    assert (trained.diverged, trained.at_chance) == (True, False)
    assert trained.losses[:-1] == [0.5] * (epochs - 1)


def test_losses_are_the_means_over_the_steps_of_an_epoch(monkeypatch: pytest.MonkeyPatch) -> None:
    steps = watched(monkeypatch)
    trained = train(network(), recipe(epochs=3), digits(), seed=0)
    assert (len(steps), trained.steps) == (12, 12)
    means = [sum(steps[start : start + 4]) / 4 for start in (0, 4, 8)]
    assert trained.losses == pytest.approx(means, rel=1e-6)


def shuffled(data: DataSet) -> DataSet:
    order = torch.randperm(len(data.train), generator=torch.Generator().manual_seed(1))
    return replace(data, train=Split(data.train.images, data.train.labels[order]))


def sigmoids() -> Architecture:
    """A network without normalisation whose signal is all but gone at its end."""
    return Architecture((1, 8, 8), (*(Convolution(2, 3, 2, 1), Sigmoid()) * 3, Linear(10)))


@pytest.mark.parametrize("steps", [1, 4, 6, 30])
@pytest.mark.parametrize(
    ("architecture", "data"),
    [(network(), shuffled), (sigmoids(), lambda data: data)],
    ids=["labels shuffled", "dying signal"],
)
def test_a_network_that_learns_nothing_stops_exactly_after_the_recipes_steps(
    architecture: Architecture, data: Any, steps: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    by = recipe(epochs=4, images=160, learning_rate=1e-5, chance_steps=steps)
    losses, told = watched(monkeypatch), list[int]()
    trained = train(architecture, by, data(digits()), seed=0, on_epoch=told.append)
    assert (trained.at_chance, trained.diverged) == (True, False)
    assert (trained.steps, len(losses)) == (steps, steps)
    epochs = [losses[start : start + 10] for start in range(0, steps, 10)]
    assert trained.losses == pytest.approx([sum(epoch) / len(epoch) for epoch in epochs])
    assert told == list(range(1, (steps - 1) // 10 + 1))
    assert not trained.model.training


def test_a_network_that_learns_goes_on_as_if_nothing_had_been_asked() -> None:
    by = LEARNS.model_copy(update={"epochs": 2})
    asked = train(network(), by.model_copy(update={"chance_steps": 40}), digits(), seed=0)
    free = train(network(), by, digits(), seed=0)
    assert (asked.at_chance, asked.steps) == (False, 50)
    assert equal(weights(asked), weights(free))
    assert asked.losses == free.losses


CHANCE = math.log(10)


@pytest.mark.parametrize(
    ("first", "second", "stops"),
    [
        (99.0, 0.979 * CHANCE, False),
        (0.1, 0.981 * CHANCE, True),
        (CHANCE, CHANCE, True),
        (CHANCE, 2 * CHANCE, True),
        (CHANCE, 0.0, False),
    ],
)
def test_only_the_second_half_of_the_first_steps_is_asked(
    first: float, second: float, stops: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    scripted(monkeypatch, [first] * 3 + [second] * 3 + [CHANCE] * 6)
    trained = train(network(), recipe(epochs=3, chance_steps=6), digits(), seed=0)
    assert trained.at_chance == stops
    assert trained.steps == (6 if stops else 12)


def test_a_network_is_asked_only_once(monkeypatch: pytest.MonkeyPatch) -> None:
    scripted(monkeypatch, [0.5] * 4 + [9.0] * 8)
    trained = train(network(), recipe(epochs=3, chance_steps=4), digits(), seed=0)
    assert (trained.at_chance, trained.losses) == (False, [0.5, 9.0, 9.0])


@pytest.mark.parametrize("chance_steps", [0, 13, 1000])
def test_nothing_is_asked_without_steps_or_after_the_end(
    chance_steps: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    scripted(monkeypatch, [9.0] * 12)
    trained = train(network(), recipe(epochs=3, chance_steps=chance_steps), digits(), seed=0)
    assert (trained.at_chance, trained.diverged, trained.steps) == (False, False, 12)


@pytest.mark.parametrize("chance_steps", [1, 3, 6])
def test_a_loss_that_is_not_finite_is_divergence_and_not_chance(chance_steps: int) -> None:
    by = recipe(**HALF, epochs=2, chance_steps=chance_steps)
    images = torch.full((1295, 1, 8, 8), float("nan"))
    data = replace(digits(), train=Split(images, digits().train.labels))
    trained = train(network(), by, data, seed=0)
    assert (trained.diverged, trained.at_chance) == (True, False)
    assert (trained.steps, len(trained.losses)) == (chance_steps, 1)


@pytest.mark.parametrize("most", [1, 3, 100])
def test_steps_made_a_few_at_a_time_are_those_of_a_training_in_one_go(most: int) -> None:
    by = recipe(epochs=3, chance_steps=6, learning_rate=0.05)
    training = begin(network(), by, digits(), seed=4)
    checks = []
    while not training.is_complete:
        if training.advance(most):
            checks.append(training.steps)
            assert training.verdict()
    whole = train(network(), by, digits(), seed=4)
    found = training.end()
    assert checks == [4, 6, 8, 12]
    assert (found.steps, found.losses, found.at_chance) == (12, whole.losses, False)
    assert equal(weights(found), weights(whole))


def test_twenty_steps_are_those_of_a_plain_loop(monkeypatch: pytest.MonkeyPatch) -> None:
    by = recipe(epochs=5, learning_rate=0.01, weight_decay=0.1, schedule="one_cycle")
    losses = watched(monkeypatch)
    trained = train(network(6), by, digits(), seed=11)
    expected, model = plain_loop(network(6), by, seed=11)
    assert len(expected) == 20
    assert losses == pytest.approx(expected, rel=1e-5)
    for name, value in model.named_parameters():
        # Nothing depends on a bias before BatchNorm: its gradient is rounding, and Adam scales it.
        if name != "block1.0.bias":
            assert (weights(trained)[name] - value).norm() < 1e-3 * value.norm(), name


def plain_loop(
    architecture: Architecture, by: TrainingRecipe, seed: int
) -> tuple[list[float], nn.Module]:
    """The losses of the same batches in the simplest loop, without augmentation and dropout."""
    model = build(architecture, seed).train()
    optimizer = torch.optim.AdamW(model.parameters(), weight_decay=by.weight_decay, fused=True)
    part, order = Part(by, digits()), torch.Generator().manual_seed(seed)
    losses: list[float] = []
    for _ in range(by.epochs):
        for chosen in part.order(order):
            optimizer.param_groups[0]["lr"] = by.learning_rate_at(len(losses), part.steps)
            loss = nn.functional.cross_entropy(
                model(part.batch(chosen, order).contiguous()), part.labels[chosen]
            )
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            losses.append(float(loss.detach()))
    return losses, model


@pytest.mark.parametrize("images", [64, None])
@pytest.mark.parametrize("normalization", ["half", "channel"])
def test_batches_are_the_chosen_images_normalised(images: int | None, normalization: str) -> None:
    by = recipe(images=images, normalization=normalization)
    part, data = Part(by, digits()), digits()
    chosen = torch.tensor([3, 0, 40])
    batch = part.batch(chosen, torch.Generator())
    assert (batch.dtype, tuple(batch.shape)) == (torch.float32, (3, 1, 8, 8))
    assert batch.is_contiguous(memory_format=torch.channels_last)
    mean, deviation = input_scaling(by, data)
    every = (data.train.images.double() / 255 - mean.view(1, -1, 1, 1)) / deviation.view(
        1, -1, 1, 1
    )
    for image, label in zip(batch, part.labels[chosen], strict=True):
        same = (every - image).flatten(1).abs().amax(1) < 1e-5
        assert label in data.train.labels[same]


def test_dropout_is_decided_by_the_seed_and_off_in_the_trained_network() -> None:
    layers = (*network().layers[:-1], Dropout(), Linear(10))
    architecture = Architecture((1, 8, 8), layers)
    one, other = (train(architecture, TINY, digits(), seed=2) for _ in range(2))
    assert equal(weights(one), weights(other))
    images = torch.randn(4, 1, 8, 8)
    assert torch.equal(one.model(images), one.model(images))
    without = train(network(), TINY, digits(), seed=2)
    assert one.losses != without.losses


# ------------------------------------------------------------------ weights to begin with


def test_a_training_begins_with_the_weights_that_the_recipe_names() -> None:
    start = {name: value.clone() for name, value in weights(learned()).items()}
    still = recipe(epochs=1, learning_rate=1e-12, images=400, start=digest_of(start))
    trained = train(network(12), still, digits(), seed=3, given=Given(start=start))
    assert trained.losses[0] < 0.6 * learned().losses[0]
    for name, value in weights(trained).items():
        if "running" not in name and "num_batches" not in name:
            assert torch.allclose(value, start[name], atol=1e-6)
    assert equal(start, weights(learned())), "what was given is left as it was"


def test_weights_other_than_the_recipes_are_refused() -> None:
    start = weights(learned())
    named = recipe(start=digest_of(start))
    for by, given in ((named, Given()), (recipe(), Given(start=start))):
        with pytest.raises(ValueError, match="the weights to begin with are not those"):
            train(network(12), by, digits(), seed=3, given=given)
