"""Settings of the embedding: the paper's numbers, and what is refused."""

import pytest
from pydantic import ValidationError

from archpress.embedding.settings import CONFIGURATIONS, PAPER, EmbeddingSettings


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("codec", "scaled"),
        ("parameter_target", "scaled"),
        ("optimizer", "sgd"),
        ("momentum", 0.5),
        ("learning_rate", 0.003),
        ("decay_factor", 1 / 5),
        ("iterations", 80_000),
        ("lambda_1", 1.0),
        ("lambda_2", 1.0),
        ("unlabelled", 0),
    ],
)
def test_the_paper_configuration_has_the_numbers_of_the_paper(name: str, value: object) -> None:
    assert getattr(CONFIGURATIONS["paper"], name) == value


def test_the_paper_decays_twice_within_its_iterations() -> None:
    assert PAPER.iterations // PAPER.decay_period == 2


def test_our_defaults_depart_from_the_paper_where_the_decisions_say_so() -> None:
    ours = CONFIGURATIONS["default"]
    assert ours == EmbeddingSettings()
    assert (ours.codec, ours.parameter_target) == ("categorical", "log10")


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("codec", "binary"),
        ("parameter_target", "log2"),
        ("size", 0),
        ("learning_rate", 0.0),
        ("momentum", 1.0),
        ("decay_factor", 1.5),
        ("batch_size", 1),
        ("held_out", 1.0),
        ("lambda_1", -0.1),
        ("iteration", 5),
    ],
)
def test_values_out_of_range_and_unknown_names_are_refused(name: str, value: object) -> None:
    with pytest.raises(ValidationError, match=name):
        EmbeddingSettings.model_validate({name: value})
