"""Recipes: the paper's numbers, what the digest covers, and the schedules by hand."""

import json
import math
from pathlib import Path
from typing import Any

import pytest
from pydantic import ValidationError

from archpress.errors import SettingsError
from archpress.training.recipe import (
    DEFAULT_RECIPE,
    LEAST_SEEN,
    RECIPES,
    Distillation,
    TrainingRecipe,
    default_recipe,
    find_recipe,
    recipe_for,
)
from tests.evaluation.tiny import TINY, recipe

CIFAR = {
    "epochs": 150, "batch_size": 128, "learning_rate": 0.001, "schedule": "step",
    "milestones": (80, 120), "flip": True, "crop_padding": 4, "normalization": "half",
    "images": None, "weight_decay": 0.0,
}  # fmt: skip
PAPER: dict[str, dict[str, Any]] = {
    "paper-fashion-mnist": {
        "epochs": 50, "batch_size": 64, "learning_rate": 0.01, "schedule": "step",
        "milestones": (30,), "flip": False, "crop_padding": 0, "images": None,
        "weight_decay": 0.0,
    },
    "paper-cifar10": CIFAR,
    "paper-cifar100": CIFAR,
    "paper-svhn": {**CIFAR, "flip": False, "crop_padding": 0},
}  # fmt: skip

CHANGES: dict[str, Any] = {
    "epochs": 7, "batch_size": 32, "learning_rate": 0.02, "schedule": "one_cycle",
    "milestones": (1,), "weight_decay": 0.1, "normalization": "half", "flip": True,
    "crop_padding": 1, "images": 65, "chance_steps": 7,
    "distillation": Distillation(teacher="another", weight=0.5), "start": "0123",
}  # fmt: skip


@pytest.mark.parametrize(("name", "numbers"), PAPER.items(), ids=PAPER)
def test_presets_of_the_paper_have_its_numbers(name: str, numbers: dict[str, Any]) -> None:
    values = find_recipe(name).model_dump()
    assert {field: values[field] for field in numbers} == numbers


@pytest.mark.parametrize("name", ["label", "label-augmented", "label-fashion-mnist"])
def test_the_papers_label_is_five_epochs_from_five_seeds(name: str) -> None:
    chosen = find_recipe(name)
    assert (chosen.epochs, chosen.seeds) == (5, 5)
    assert [chosen.learning_rate_at(s, 10) for s in (0, 49)] == [chosen.learning_rate] * 2


def test_every_preset_is_found_by_its_own_name() -> None:
    assert {name: found.name for name, found in RECIPES.items()} == {n: n for n in RECIPES}


def test_an_unknown_recipe_is_refused_with_the_nearest_name() -> None:
    with pytest.raises(SettingsError, match=r"'papr-cifar10'; did you mean 'paper-cifar10'\?"):
        find_recipe("papr-cifar10")


def test_the_changes_tried_cover_every_field_of_the_digest() -> None:
    assert CHANGES.keys() | {"name", "seeds"} == TrainingRecipe.model_fields.keys()


@pytest.mark.parametrize(("field", "value"), CHANGES.items(), ids=CHANGES)
def test_the_digest_changes_with_everything_that_can_change_a_result(
    field: str, value: Any
) -> None:
    assert getattr(TINY, field) != value
    assert recipe(**{field: value}).digest != TINY.digest


@pytest.mark.parametrize(
    ("name", "digest"),
    [
        ("paper-cifar10", "73ba9d59abbfb1bd"), ("label", "704951c44ab8f14b"),
        ("label-small", "a9e52cda386002df"), ("final-digits", "a3f9811a2739f1e2"),
    ],
)  # fmt: skip
def test_digests_of_recipes_are_those_of_the_first_archives(name: str, digest: str) -> None:
    values = find_recipe(name).model_dump(exclude={"chance_steps"})
    assert TrainingRecipe.model_validate(values).digest == digest


def test_old_records_have_their_recipes_digest_in_their_key() -> None:
    old = Path(__file__).parents[1] / "evaluation" / "old_formats" / "archive_v1.jsonl"
    records = [json.loads(line) for line in old.read_text().splitlines()]
    digests = {record["key"].split("-")[1] for record in records}
    assert len(digests) > 1
    for record in records:
        found = TrainingRecipe.model_validate(record["recipe"])
        assert found.digest == record["key"].split("-")[1]
        assert found.chance_steps == 0


def test_the_full_label_takes_no_shortcut() -> None:
    full, paper = find_recipe("label-full"), find_recipe("label")
    assert (full.images, full.chance_steps) == (None, 0)
    assert (full.epochs, full.seeds) == (paper.epochs, paper.seeds) == (5, 5)
    assert full.schedule == "one_cycle"


def test_the_digest_ignores_name_and_number_of_seeds() -> None:
    assert recipe(name="other", seeds=9).digest == TINY.digest


@pytest.mark.parametrize(
    "wrong",
    [
        {"epochs": 0}, {"batch_size": 1}, {"learning_rate": 0.0}, {"weight_decay": -0.1},
        {"crop_padding": -1}, {"images": 1}, {"chance_steps": -1}, {"seeds": 0},
        {"schedule": "cosine"}, {"normalization": "none"}, {"momentum": 0.9},
    ],
    ids=lambda wrong: next(iter(wrong)),
)  # fmt: skip
def test_values_out_of_range_and_unknown_fields_are_refused(wrong: dict[str, Any]) -> None:
    with pytest.raises(ValidationError, match=next(iter(wrong))):
        recipe(**wrong)


def test_step_schedule_falls_to_a_tenth_after_each_milestone() -> None:
    paper = find_recipe("paper-cifar10")
    steps = [0, 80 * 7 - 1, 80 * 7, 120 * 7 - 1, 120 * 7, 150 * 7 - 1]
    rates = [paper.learning_rate_at(step, 7) for step in steps]
    assert rates == pytest.approx([1e-3, 1e-3, 1e-4, 1e-4, 1e-5, 1e-5])


def test_one_cycle_rises_over_a_fifth_and_falls_along_a_cosine() -> None:
    cycle = recipe(schedule="one_cycle", epochs=4, learning_rate=0.8)
    rates = [cycle.learning_rate_at(step, 5) for step in range(20)]
    assert rates[:5] == pytest.approx([0.2, 0.4, 0.6, 0.8, 0.8])
    assert rates[12] == pytest.approx(0.4)
    assert rates[19] == pytest.approx(0.4 * (1 + math.cos(math.pi * 15 / 16)))
    assert rates[4:] == sorted(rates[4:], reverse=True)


@pytest.mark.parametrize("steps", [1, 2, 3])
def test_one_cycle_of_very_few_steps_still_trains(steps: int) -> None:
    cycle = recipe(schedule="one_cycle", epochs=1, learning_rate=0.8)
    rates = [cycle.learning_rate_at(step, steps) for step in range(steps)]
    assert max(rates) == 0.8
    assert min(rates) > 0


def test_the_default_shows_small_data_sets_more_often() -> None:
    preset = find_recipe(DEFAULT_RECIPE)
    assert recipe_for(DEFAULT_RECIPE, 2_000) == default_recipe(2_000)
    assert recipe_for("label-small", 2_000) == find_recipe("label-small")
    assert default_recipe(54_000) == preset
    few = default_recipe(2_000)
    assert few.epochs * 2_000 >= LEAST_SEEN > (few.epochs - 1) * 2_000
    assert few.model_copy(update={"epochs": preset.epochs}) == preset


def test_a_schedule_in_fewer_epochs_keeps_its_form() -> None:
    paper = find_recipe("paper-cifar10")
    short = paper.lasting(30)
    assert (short.epochs, short.milestones) == (30, (16, 24))
    rates = [short.learning_rate_at(30 * share, 10) for share in range(11)]
    assert rates == [paper.learning_rate_at(150 * share, 10) for share in range(11)]
    assert paper.lasting(150) == paper
