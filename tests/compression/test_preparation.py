"""Preparation: from settings to a task, or to one sentence before anything expensive happens."""

from dataclasses import replace

import pytest

from archpress.architectures.architecture import Architecture
from archpress.architectures.layers import Convolution, Linear, ReLU
from archpress.architectures.references import digits_cnn
from archpress.architectures.spaces import BlocksSpace, Limits, PaperSpace
from archpress.compression.budget import Budget
from archpress.compression.preparation import load_data, prepare
from archpress.compression.settings import load_settings
from archpress.compression.task import CompressionTask
from archpress.errors import (
    ArchpressError,
    BudgetError,
    DataError,
    SettingsError,
    UnknownNetworkError,
)
from archpress.importing.networks import FoundNetwork
from tests.compression.tasks import tiny_data

SIZE, SMALLEST = 75_626, 66


def prepared(architecture: Architecture | None = None, **flags: object) -> CompressionTask:
    dotted = {name.replace("__", "."): value for name, value in flags.items()}
    found = FoundNetwork(architecture) if architecture else None
    return prepare(load_settings("demo", flags=dotted), tiny_data(), found)


def test_every_amount_becomes_a_number_of_the_input_network() -> None:
    task = prepared(seed=3, space__min_parameters="2%", space__max_parameters=50_000)
    cost = digits_cnn().cost
    assert task.network == digits_cnn()
    assert task.budget == Budget(SIZE // 10, 1.0)
    limits = Limits(SIZE * 2 // 100, 50_000, cost.macs, cost.activation_bytes)
    assert task.space == BlocksSpace((1, 8, 8), 10, limits)
    assert (task.labels, task.finalists, task.seed) == (24 + 3 * 8, 2, 3)
    assert (task.label_recipe.epochs, task.final_recipe.epochs) == (6, 20)


def test_a_rival_may_label_as_many_networks_as_the_search_that_is_chosen() -> None:
    guided = {"guided__start": 7, "guided__rounds": 5, "guided__batch": 2}
    assert prepared(**guided).labels == 7 + 5 * 2
    joint = {"search__method": "joint", "search__candidates": 4, "search__rounds": 3}
    assert prepared(**joint, **guided).labels == 48 + 4 * 3


def test_the_contest_is_the_guided_searchs_and_longer_than_a_label_in_nothing_else() -> None:
    task = prepared(guided__contenders=4, guided__contender_epochs=5)
    assert task.contenders == 4
    label, contest = task.label_recipe, task.contest_recipe
    assert contest.epochs == 5 * label.epochs
    assert contest.name == "label-digits-contest"
    same = {"epochs": label.epochs, "name": label.name}
    assert contest.model_copy(update=same) == label
    assert prepared(search__method="joint", guided__contenders=4).contenders == 0


def test_finalists_are_taught_where_the_settings_say_so() -> None:
    assert prepared().distillation == 0.0
    task = prepared(final__distillation=0.6, final__temperature=2.0)
    lessons = task.taught_recipe("0123").distillation
    assert lessons is not None
    assert (lessons.teacher, lessons.weight, lessons.temperature) == ("0123", 0.6, 2.0)
    assert task.taught_recipe("0123").seeds == task.final_recipe.seeds
    assert task.final_recipe.distillation is None


def test_the_space_is_the_one_asked_for() -> None:
    assert isinstance(prepared(space__name="paper").space, PaperSpace)


@pytest.mark.parametrize(
    ("target", "budget"),
    [("10%", 7_562), (SMALLEST, SMALLEST), (SIZE - 1, SIZE - 1), (0, None), ("0%", None)],
)
def test_the_target_is_the_budget_and_zero_is_none(target: int | str, budget: int | None) -> None:
    assert prepared(search__target_parameters=target).budget.parameters == budget


@pytest.mark.parametrize("target", [SMALLEST - 1, 1, "0.01%", "0.0001%"])
def test_a_target_below_the_smallest_network_is_refused_with_its_size(target: int | str) -> None:
    """A 1 x 1 convolution of four channels, BatchNorm, their means, the classifier: 16 + 50."""
    with pytest.raises(BudgetError, match="below the smallest reachable network, which has 66 "):
        prepared(search__target_parameters=target)


@pytest.mark.parametrize("target", [SIZE, "100%", "250%", 10**9])
def test_a_target_as_large_as_the_input_network_is_no_compression(target: int | str) -> None:
    with pytest.raises(BudgetError, match="is no compression: the input network has 75,626"):
        prepared(search__target_parameters=target)


@pytest.mark.parametrize(
    "name", ["search.target_parameters", "space.min_parameters", "space.max_macs"]
)
def test_a_wrong_amount_is_named(name: str) -> None:
    with pytest.raises(SettingsError, match=f"{name} is 'tiny', expected a count"):
        prepared(**{name.replace(".", "__"): "tiny"})


def test_limits_that_contradict_each_other_are_refused() -> None:
    with pytest.raises(BudgetError, match="no network has 60,500 to 7,562 parameters"):
        prepared(space__min_parameters="80%", space__max_parameters="10%")


@pytest.mark.parametrize(
    ("name", "complaint"),
    [
        ("digits-cn", "unknown network 'digits-cn'; did you mean 'digits-cnn'"),
        ("conv10", r"conv10 cannot take \(1, 8, 8\) images"),
        ("none.json", r"network file none\.json does not exist"),
    ],
)
def test_a_network_that_is_not_found_or_does_not_fit_is_refused(name: str, complaint: str) -> None:
    with pytest.raises(UnknownNetworkError, match=complaint):
        prepared(network=name)


@pytest.mark.parametrize("network", [digits_cnn((1, 12, 12)), digits_cnn(classes=7)])
def test_an_architecture_of_another_task_is_refused(network: Architecture) -> None:
    with pytest.raises(UnknownNetworkError, match=r"the data has \(1, 8, 8\) and 10"):
        prepared(network)


@pytest.mark.parametrize(
    ("method", "layer", "complaint"),
    [
        ("joint", (Convolution(8, 3), *[ReLU()] * 63), "65 layers exceeds the 64 positions"),
        ("guided", (Convolution(8, 3), *[ReLU()] * 65), "66 words exceeds the 64 positions"),
        ("joint", (Convolution(8, 11, padding=5),), "kernel 11, the embedding reaches 10"),
        ("guided", (Convolution(8, 11, padding=5),), "kernel 11, the embedding reaches 10"),
    ],
)
def test_a_network_that_the_embedding_cannot_express_is_no_start(
    method: str, layer: tuple[Convolution, ...], complaint: str
) -> None:
    network = Architecture((1, 8, 8), (*layer, Linear(10)))
    (note,) = prepared(network, search__method=method).notes
    assert note.startswith("the search starts from labelled networks alone: ")
    assert complaint in note
    with pytest.raises(SettingsError, match="the neighbourhood cannot be searched: "):
        prepared(network, space__name="neighbourhood")


def test_an_architecture_goes_before_the_name() -> None:
    network = digits_cnn()
    other = replace(network, layers=(*network.layers[:-1], ReLU(), Linear(10)))
    assert prepared(other, network="no such network").network == other


def test_the_data_are_split_as_the_settings_say() -> None:
    parts = [
        load_data(load_settings("demo", flags={"seed": seed, "data.validation_fraction": share}))
        for seed, share in ((0, 0.2), (0, 0.2), (1, 0.2), (0, 0.4))
    ]
    assert parts[0].digest == parts[1].digest
    assert len({part.digest for part in parts}) == 3
    assert len(parts[3].validation) == pytest.approx(2 * len(parts[0].validation), rel=0.02)


def test_unknown_data_are_refused_as_a_fault_of_the_user() -> None:
    with pytest.raises(DataError, match="digit"):
        load_data(load_settings("demo", flags={"data.name": "digist"}))
    assert issubclass(DataError, ArchpressError)
