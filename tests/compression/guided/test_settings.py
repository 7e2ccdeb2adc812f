"""The table ``[guided]``: what it counts and what it refuses."""

import pytest
from pydantic import ValidationError

from archpress.compression.guided.settings import GuidedSettings
from archpress.compression.settings import load_settings


@pytest.mark.parametrize(
    ("start", "rounds", "batch", "labels"), [(40, 4, 15, 100), (0, 1, 1, 1), (24, 3, 8, 48)]
)
def test_labels_are_those_of_the_start_and_of_all_rounds(
    start: int, rounds: int, batch: int, labels: int
) -> None:
    assert GuidedSettings(start=start, rounds=rounds, batch=batch).labels == labels


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("start", -1), ("rounds", 0), ("batch", 0), ("minutes", -1.0), ("minutes", float("nan")),
        ("gradient", 1.1), ("mutation", -0.1), ("caution", -1.0), ("caution", float("inf")),
        ("starts", 0), ("steps", 0), ("reach", 0.0), ("contenders", -1), ("contender_epochs", 0),
        ("round", 3),
    ],
)  # fmt: skip
def test_what_means_nothing_is_refused(name: str, value: float) -> None:
    with pytest.raises(ValidationError, match=name):
        GuidedSettings(**{name: value})


def test_they_cannot_be_changed() -> None:
    settings = GuidedSettings()
    with pytest.raises(ValidationError, match="frozen"):
        settings.start = 3  # type: ignore[misc]


def test_a_run_takes_them_from_profile_and_flags() -> None:
    settings = load_settings("demo", flags={"guided.rounds": 5})
    assert (settings.guided.start, settings.guided.rounds, settings.guided.batch) == (24, 5, 8)
    assert settings.guided.labels == 64
