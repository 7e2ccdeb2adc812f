"""Settings: profiles, a file over them, flags over both, and one sentence for every fault."""

import math
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from archpress.compression.settings import (
    PROFILES,
    RunSettings,
    load_settings,
    parse_settings,
    read_amount,
)
from archpress.embedding.settings import PAPER, EmbeddingSettings
from archpress.errors import SettingsError

ROOT = Path(__file__).parents[2]


@pytest.fixture
def write(tmp_path: Path) -> Callable[[str], Path]:
    def write(text: str) -> Path:
        path = tmp_path / "settings.toml"
        path.write_text(text)
        return path

    return write


# ------------------------------------------------------------------ profiles


@pytest.mark.parametrize("profile", PROFILES)
def test_every_profile_loads(profile: str) -> None:
    settings = load_settings(profile)
    assert settings.label.resolve().epochs >= 1
    assert settings.final.resolve().epochs > settings.label.resolve().epochs
    assert settings.seed == 0


def test_the_paper_profile_has_the_numbers_of_the_paper() -> None:
    settings = load_settings("paper")
    label, final = settings.label.resolve(), settings.final.resolve()
    assert (settings.network, settings.space.name, settings.space.networks) == (
        "conv10", "paper", 1_500
    )  # fmt: skip
    assert (label.epochs, label.seeds) == (5, 5)
    assert (final.epochs, final.batch_size, final.learning_rate) == (150, 128, 0.001)
    assert settings.embedding == PAPER
    search = settings.search
    assert search.method == "joint"
    assert (search.target_parameters, search.target_accuracy) == (0, 1.0)
    assert (search.step, search.starts, search.rounds) == ("gradient", 1, 1)
    assert (search.fine_tune_iterations, search.consider_labelled) == (0, False)


def test_profiles_of_our_own_use_our_configuration() -> None:
    assert load_settings("cpu").embedding == EmbeddingSettings()
    demo = load_settings("demo").embedding
    assert demo == EmbeddingSettings(iterations=1_200, decay_period=500, unlabelled=2_000)


def test_profiles_of_our_own_search_in_the_pretrained_embedding() -> None:
    assert RunSettings(network="conv7").search.method == "guided"
    for profile, labels in (("cpu", 100), ("demo", 48)):
        settings = load_settings(profile)
        assert settings.search.method == "guided"
        assert settings.guided.labels == labels
        assert settings.guided.contenders > settings.final.finalists


def test_an_unknown_profile_names_the_nearest() -> None:
    with pytest.raises(SettingsError, match="unknown profile 'demos'; did you mean 'demo'"):
        load_settings("demos")


# ------------------------------------------------------------------ what goes over what


def test_a_file_goes_over_the_profile_and_flags_over_the_file(write: Callable[[str], Path]) -> None:
    file = write('network = "conv7"\nseed = 4\n[search]\nsteps = 7\nrounds = 3\n')
    flags = {"search.steps": 9, "seed": None, "data.name": "svhn", "final.epochs": 2}
    settings = load_settings("demo", file, flags)
    assert (settings.network, settings.seed, settings.data.name) == ("conv7", 4, "svhn")
    assert (settings.search.steps, settings.search.rounds) == (9, 3)
    assert settings.search.candidates == load_settings("demo").search.candidates == 6
    assert settings.data.validation_fraction == 0.2
    assert (settings.final.resolve().epochs, settings.final.resolve().batch_size) == (2, 32)


@pytest.mark.parametrize(
    "file", sorted((ROOT / "experiments").glob("*/settings.toml")), ids=lambda p: p.parent.name
)
def test_the_settings_of_records_can_still_be_read(file: Path) -> None:
    profile = "paper" if "paper" in file.parent.name else "cpu"
    assert load_settings(profile, file).network == "conv7"


def test_loading_changes_no_later_loading() -> None:
    before = load_settings("demo")
    load_settings("demo", flags={"search.steps": 1, "embedding.configuration": "paper"})
    assert load_settings("demo") == before


def test_the_paper_configuration_can_be_chosen_with_changes_over_it(
    write: Callable[[str], Path],
) -> None:
    file = write('[embedding]\nconfiguration = "paper"\niterations = 50\nmomentum = 0.9\n')
    settings = load_settings("cpu", file)
    assert settings.embedding == PAPER.model_copy(update={"iterations": 50, "momentum": 0.9})
    again = load_settings("paper", file, {"embedding.configuration": "default"})
    assert again.embedding == EmbeddingSettings(iterations=50, momentum=0.9)


def test_what_a_profile_sets_itself_stays_over_a_chosen_configuration() -> None:
    settings = load_settings("demo", flags={"embedding.configuration": "paper"})
    expected = {"iterations": 1_200, "decay_period": 500, "unlabelled": 2_000}
    assert settings.embedding == PAPER.model_copy(update=expected)


# ------------------------------------------------------------------ faults


@pytest.mark.parametrize(
    ("name", "nearest"),
    [
        ("sead", "seed"),
        ("serch.steps", "search"),
        ("data.nme", "name"),
        ("space.network", "networks"),
        ("label.epoch", "epochs"),
        ("embedding.configuratoin", "configuration"),
        ("embedding.lamda_1", "lambda_1"),
        ("search.target_parameter", "target_parameters"),
        ("guided.rouns", "rounds"),
        ("guided.contender", "contenders"),
        ("final.finalist", "finalists"),
        ("execution.worker", "workers"),
    ],
)
def test_an_unknown_key_names_the_nearest_of_its_table(name: str, nearest: str) -> None:
    key = name if "serch" not in name else "serch"
    expected = f"settings: unknown key '{key}'; did you mean '{nearest}'?"
    with pytest.raises(SettingsError, match=re.escape(expected)):
        load_settings("demo", flags={name: 1})


def test_a_key_that_is_like_no_other_is_answered_with_all_of_them() -> None:
    with pytest.raises(
        SettingsError, match=r"unknown key 'execution\.zzz'; valid: device, onnx, precision"
    ):
        load_settings("demo", flags={"execution.zzz": 1})


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("seed", -1),
        ("seed", 2**32),
        ("data.validation_fraction", 0),
        ("data.validation_fraction", 1),
        ("space.name", "papers"),
        ("space.networks", 9),
        ("search.method", "guide"),
        ("guided.start", -1),
        ("guided.rounds", 0),
        ("guided.warm_rounds", -1),
        ("guided.batch", 0),
        ("guided.minutes", -1),
        ("guided.gradient", 1.1),
        ("guided.mutation", -0.1),
        ("guided.caution", -1),
        ("guided.starts", 0),
        ("guided.steps", 0),
        ("guided.reach", 0),
        ("guided.contenders", -1),
        ("guided.warm_contenders", -1),
        ("guided.contender_epochs", 0),
        ("search.target_accuracy", 1.1),
        ("search.parameter_weight", -1),
        ("search.steps", 0),
        ("search.step_size", 0),
        ("search.step", "newton"),
        ("search.starts", 0),
        ("search.candidates", 0),
        ("search.rounds", 0),
        ("search.fine_tune_iterations", -1),
        ("search.label_path", -1),
        ("embedding.learning_rate", 0),
        ("embedding.codec", "binary"),
        ("label.epochs", 0),
        ("label.seeds", 0),
        ("final.batch_size", 1),
        ("final.finalists", 0),
        ("final.distillation", 1.1),
        ("final.distillation", -0.1),
        ("final.temperature", 0),
        ("execution.workers", -1),
        ("execution.precision", "float16"),
        ("search.steps", "many"),
        ("search.target_parameters", [1]),
        ("constraints.macs", [1]),
    ],
)
def test_a_value_out_of_range_is_named_with_its_key(name: str, value: object) -> None:
    key = name.split(".")[-1]
    with pytest.raises(
        SettingsError, match=rf"settings: '[\w.]*{key}' is {re.escape(repr(value))}"
    ):
        load_settings("demo", flags={name: value})


@pytest.mark.parametrize(
    ("flags", "complaint"),
    [
        ({"label.recipe": "label-digit"}, "unknown recipe 'label-digit'; did you mean 'label-dig"),
        ({"embedding.configuration": "papre"}, "configuration 'papre'; did you mean 'paper'"),
        ({"search": 5}, "'search' is 5"),
        (
            {"search.method": "joint", "space.networks": 160, "embedding.held_out": 0.96},
            "leaves 6 of 161 networks to learn from, expected at least 8",
        ),
        ({"embedding": 5}, "'embedding' is 5"),
    ],
)
def test_other_faults_are_one_sentence(flags: dict[str, Any], complaint: str) -> None:
    with pytest.raises(SettingsError, match=complaint) as caught:
        load_settings("demo", flags=flags)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("content", [b"seed = ", b"\xff\xfe", None], ids=["torn", "binary", "none"])
def test_a_file_that_cannot_be_read_is_named(content: bytes | None, tmp_path: Path) -> None:
    file = tmp_path / "settings.toml"
    if content is not None:
        file.write_bytes(content)
    with pytest.raises(SettingsError, match=f"settings file {file} cannot be read"):
        load_settings("demo", file)


def test_a_fault_in_a_file_names_the_file(write: Callable[[str], Path]) -> None:
    file = write("[search]\nsteps = 0\n")
    with pytest.raises(SettingsError, match=f"{file}: 'search.steps' is 0"):
        load_settings("demo", file)


def test_the_fewest_networks_that_an_embedding_learns_from_are_accepted() -> None:
    flags = {"search.method": "joint", "space.networks": 10, "embedding.held_out": 0.3}
    assert load_settings("demo", flags=flags).embedding.held_out == 0.3
    with pytest.raises(SettingsError, match="leaves 7 of 11 networks"):
        load_settings("demo", flags={**flags, "embedding.held_out": 0.35})


# ------------------------------------------------------------------ amounts


@pytest.mark.parametrize(
    ("amount", "count"),
    [
        ("10%", 7_562),
        ("0.5%", 378),
        ("100%", 75_626),
        (" 10 % ", 7_562),
        ("0%", 0),
        (70_000, 70_000),
        ("70000", 70_000),
        ("7e4", 70_000),
        (0, 0),
        (0.1, 7_562),
        ("0.005", 378),
        (70_000.0, 70_000),
    ],
)
def test_an_amount_is_a_count_or_a_share_rounded_down(amount: float | str, count: int) -> None:
    assert read_amount(amount, 75_626, "x") == count


@pytest.mark.parametrize(
    "amount", ["abc", "-5", -5, "-1%", "inf", "inf%", "nan", "", "%", "5 k", 1.5, "1.5"]
)
def test_what_is_no_amount_is_refused_by_name(amount: float | str) -> None:
    expected = f"search.target_parameters is {amount!r}, expected a count such as 70000"
    with pytest.raises(SettingsError, match=re.escape(expected)):
        read_amount(amount, 75_626, "search.target_parameters")


# ------------------------------------------------------------------ kept and compared


@pytest.mark.parametrize("profile", PROFILES)
def test_settings_survive_being_written_and_read(profile: str) -> None:
    settings = load_settings(profile, flags={"search.target_parameters": "12.5%", "seed": 3})
    assert parse_settings(settings.model_dump(mode="json"), "again") == settings


def test_how_fast_a_run_is_makes_it_no_other_run() -> None:
    plain = RunSettings(network="conv7")
    fast = parse_settings({"network": "conv7", "execution": {"workers": 2}}, "x")
    other = parse_settings({"network": "conv7", "search": {"steps": 2}}, "x")
    assert plain.comparable() == fast.comparable() != other.comparable()


def test_recipes_are_changed_by_name() -> None:
    table = {
        "recipe": "final-digits",
        "epochs": 3,
        "seeds": 2,
        "images": 50,
        "finalists": 4,
        "distillation": 0.5,
    }
    recipe = parse_settings({"network": "conv7", "final": table}, "x").final.resolve()
    unchanged = RunSettings(network="conv7", final=table | {"epochs": None}).final.resolve()
    assert (recipe.epochs, recipe.seeds, recipe.images, recipe.batch_size) == (3, 2, 50, 32)
    assert unchanged.epochs == 20
    assert math.isclose(recipe.learning_rate, 0.004)


# ------------------------------------------------------------------ constraints


def test_constraints_replace_the_target_of_the_profile(write: Callable[[str], Path]) -> None:
    assert load_settings("cpu").search.target_parameters == "10%"
    for settings in (
        load_settings("cpu", flags={"constraints": {"macs": 0.05}}),
        load_settings("cpu", flags={"constraints.macs": 0.05}),
        load_settings("cpu", write("[constraints]\nmacs = 0.05")),
    ):
        assert settings.search.target_parameters == 0
        assert settings.constraints.given == {"macs": 0.05}


def test_a_target_that_is_asked_for_stands_beside_constraints(write: Callable[[str], Path]) -> None:
    file = write('[search]\ntarget_parameters = "20%"')
    settings = load_settings("cpu", file, {"constraints": {"macs": "5%", "file_bytes": 100_000}})
    assert settings.search.target_parameters == "20%"
    assert settings.constraints.given == {"macs": "5%", "file_bytes": 100_000}


def test_an_unknown_constraint_names_the_nearest() -> None:
    with pytest.raises(SettingsError, match=r"'constraints.mac'; did you mean 'macs'"):
        load_settings("cpu", flags={"constraints": {"mac": 5}})
