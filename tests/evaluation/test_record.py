"""Jobs, evaluations and labels: what decides a seed, what is kept, what a mean says."""

import json
from dataclasses import replace
from itertools import combinations
from pathlib import Path
from typing import Any

import pytest

from archpress.errors import ArchiveError
from archpress.evaluation.record import Evaluation, Job, Label, labels_of
from tests.evaluation.tiny import ABSURD, TINY, network, recipe

JOB = Job(network(), TINY, 0, "d1")
RELATED = {
    "itself": JOB,
    "architecture": replace(JOB, architecture=network(5)),
    "recipe": replace(JOB, recipe=ABSURD),
    "seed": replace(JOB, seed=1),
    "data": replace(JOB, data_digest="d2"),
}
PAIRS = list(combinations(RELATED, 2))


def outcome(accuracy: float | None = 0.5, status: Any = "ok", **values: Any) -> Evaluation:
    return Evaluation.of(JOB, status, validation_accuracy=accuracy, **values)


@pytest.mark.parametrize(("one", "other"), PAIRS, ids=[f"{a}-{b}" for a, b in PAIRS])
def test_jobs_that_differ_in_anything_have_other_keys_and_seeds(one: str, other: str) -> None:
    assert RELATED[one].key != RELATED[other].key
    assert RELATED[one].random_seed != RELATED[other].random_seed


@pytest.mark.parametrize(
    "same",
    [
        replace(JOB, weights_path="elsewhere.safetensors"),
        replace(JOB, recipe=recipe(name="renamed")),
        replace(JOB, recipe=recipe(seeds=5)),
        replace(JOB, architecture=network()),
    ],
    ids=["place of the weights", "name of the recipe", "number of seeds", "equal network"],
)
def test_what_cannot_change_a_result_changes_neither_key_nor_seed(same: Job) -> None:
    assert (same.key, same.random_seed) == (JOB.key, JOB.random_seed)


def test_random_seeds_are_the_same_on_every_machine_and_day() -> None:
    known = Job(network(), TINY, 3, "0123456789abcdef")
    assert known.key == "ccbf7959fdcafc9b-7126c2cd2e7f0f58-3-0123456789abcdef"
    assert known.random_seed == 61_644_431_161_017_715


def test_random_seeds_of_many_jobs_do_not_meet() -> None:
    seeds = {replace(JOB, seed=seed).random_seed for seed in range(2000)}
    assert len(seeds) == 2000
    assert all(0 <= seed < 2**63 for seed in seeds)
    assert max(seeds) > 2**54


@pytest.mark.parametrize(
    "evaluation",
    [
        outcome(
            0.25, losses=(2.0, 1 / 3), images=64, steps=8, seconds=0.1, circumstances={"torch": "2"}
        ),
        outcome(None, "diverged", reason="loss not finite in epoch 1", losses=(float("inf"),)),
        outcome(None, "at_chance", reason="nothing learned in 7 steps", steps=7, losses=(2.3,)),
        outcome(None, "timed_out", reason="no answer in 60 s"),
        outcome(None, "out_of_memory", reason="no memory"),
    ],
    ids=lambda evaluation: evaluation.status,
)
def test_evaluations_survive_json(evaluation: Evaluation) -> None:
    assert Evaluation.from_json(json.loads(json.dumps(evaluation.to_json()))) == evaluation


def old_records() -> list[Any]:
    lines = (Path(__file__).parent / "old_formats" / "archive_v1.jsonl").read_text().splitlines()
    return [json.loads(line) for line in lines]


def test_records_of_version_1_are_read_with_steps_not_known() -> None:
    old = old_records()
    assert {record["version"] for record in old} == {1}
    assert {record["status"] for record in old} == {"ok", "diverged", "out_of_memory", "failed"}
    for record in old:
        found = Evaluation.from_json(record)
        assert (found.steps, found.recipe.chance_steps) == (0, 0)
        assert (found.key, found.status, found.images, found.seconds, found.reason) == tuple(
            record[name] for name in ("key", "status", "images", "seconds", "reason")
        )
        assert found.validation_accuracy == record["validation_accuracy"]
        assert list(found.losses) == record["losses"]
        again = Job(found.architecture, found.recipe, found.seed, found.data_digest)
        assert again.key == found.key


def test_old_records_are_written_in_the_new_version() -> None:
    for record in old_records():
        written = Evaluation.from_json(record).to_json()
        assert (written["version"], written["steps"]) == (2, 0)
        assert Evaluation.from_json(written) == Evaluation.from_json(record)


def test_epochs_trained_are_those_with_a_loss() -> None:
    assert outcome(losses=(1.0, 0.5, 0.2)).epochs_trained == 3
    assert outcome(None, "failed").epochs_trained == 0


def damaged(**changes: Any) -> Any:
    record = json.loads(json.dumps(outcome().to_json()))
    for name, value in changes.items():
        if value is None:
            del record[name]
        else:
            record[name] = value
    return record


@pytest.mark.parametrize(
    ("record", "sentence"),
    [
        (damaged(version=3), "expected an evaluation of format version 2 or older"),
        (damaged(version=None), "expected an evaluation of format version 2"),
        ([1, 2], "expected an evaluation of format version 2"),
        (damaged(key=None), "incomplete.*key"),
        (damaged(architecture=None), "incomplete.*architecture"),
        (damaged(architecture={"format": "other"}), "incomplete.*archpress.architecture"),
        (damaged(recipe={"name": "short"}), "incomplete.*epochs"),
        (damaged(losses=3), "incomplete"),
        (damaged(colour="red"), "incomplete.*colour"),
    ],
    ids=[
        "newer version", "no version", "a list", "no key", "no architecture",
        "no real architecture", "half a recipe", "losses that are none", "unknown field",
    ],
)  # fmt: skip
def test_what_is_no_evaluation_is_refused_in_one_sentence(record: Any, sentence: str) -> None:
    with pytest.raises(ArchiveError, match=f"(?s){sentence}"):
        Evaluation.from_json(record)


@pytest.mark.parametrize(
    ("facts", "expected"),
    [
        ({}, ""),
        ({"precision": "float32"}, "float32"),
        ({"precision": "bfloat16 except linear", "engine": "2"}, "bfloat16"),
        ({"precision": "bfloat16"}, "bfloat16 of engine 1"),
        ({"precision": "float32", "device": "cpu"}, "float32"),
        ({"precision": "float32", "device": "NVIDIA H200"}, "float32 on a GPU"),
    ],
)
def test_arithmetic_is_the_kind_of_numbers_and_where_they_were_made(
    facts: dict[str, str], expected: str
) -> None:
    assert outcome(circumstances=facts).arithmetic == expected


def test_labels_are_made_of_runs_by_network_and_seed() -> None:
    first, second = outcome(0.5), outcome(0.7)
    later = replace(second, seed=1)
    (label,) = labels_of([later, first])
    assert label.evaluations == (first, later)
    assert labels_of([]) == []


def test_a_label_is_the_mean_with_its_standard_error() -> None:
    label = Label.of([outcome(0.5), outcome(0.7), outcome(0.9)])
    assert label.accuracy == pytest.approx(0.7)
    assert label.standard_error == pytest.approx(0.2 / 3**0.5)
    assert label.architecture == network()


def test_one_run_has_no_standard_error() -> None:
    label = Label.of([outcome(0.5)])
    assert (label.accuracy, label.standard_error) == (0.5, None)


@pytest.mark.parametrize("status", ["diverged", "at_chance"])
def test_a_run_that_learned_nothing_counts_as_chance(status: str) -> None:
    label = Label.of([outcome(0.9), outcome(None, status)])
    assert label.accuracy == pytest.approx((0.9 + 0.1) / 2)
    assert label.standard_error == pytest.approx(0.4)


@pytest.mark.parametrize("status", ["failed", "out_of_memory", "timed_out"])
def test_runs_without_an_outcome_say_nothing(status: str) -> None:
    assert Label.of([outcome(0.9), outcome(None, status)]).accuracy == 0.9
    label = Label.of([outcome(None, status)] * 2)
    assert (label.accuracy, label.standard_error, len(label.evaluations)) == (None, None, 2)
