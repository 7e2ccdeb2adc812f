"""Diagnostics: predictors whose figures are known in advance."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import pytest
import torch
from torch import Tensor

from archpress.architectures.architecture import Architecture
from archpress.architectures.layers import BatchNorm, Convolution, Linear, MaxPool, ReLU
from archpress.embedding.codecs import ScaledFields
from archpress.embedding.diagnostics import diagnose
from archpress.embedding.fitting import Example
from archpress.embedding.model import Prediction
from archpress.embedding.regressors import ParameterTarget
from tests.embedding.tiny import labelled, random_embedding

TRUE = (0.1, 0.4, 0.2, 0.9)
HELD_OUT = [
    Example(
        Architecture(
            (1, 8, 8), (Convolution(8 * n, 3), BatchNorm(), ReLU(), MaxPool(2, 2), Linear(10))
        ),
        accuracy,
    )
    for n, accuracy in enumerate(TRUE, 1)
]


@dataclass
class Oracle:
    """Stands in for an embedding: says the truth, changed as told."""

    accuracy: Tensor
    factor: float = 1.0
    change: Callable[[Tensor], object] = lambda tokens: None
    codec = ScaledFields()
    parameter_target = ParameterTarget(True, 1.0)
    evaluating = False

    def eval(self) -> None:
        self.evaluating = True

    def __call__(self, tokens: Tensor) -> Prediction:
        assert self.evaluating
        said = tokens.clone()
        self.change(said)
        networks = [example.architecture.cost.parameters for example in HELD_OUT]
        counts = torch.tensor(networks[: len(tokens)]) * self.factor
        return Prediction(
            torch.empty(0), self.codec.encode(said), self.accuracy, counts.log10().float()
        )


def figures(accuracy: tuple[float, ...] = TRUE, **changes: object) -> dict[str, Any]:
    oracle = Oracle(torch.tensor(accuracy), **changes)  # type: ignore[arg-type]
    return diagnose(oracle, HELD_OUT)  # type: ignore[arg-type]


def test_a_perfect_embedding_has_perfect_figures() -> None:
    found = figures()
    assert found["networks"] == 4
    fields = ("type", "kernel", "channels", "stride", "padding")
    assert found["reconstruction"] == dict.fromkeys(fields, 1.0)
    for share in ("type_sequences", "whole_networks", "valid_decodings"):
        assert found[share] == 1.0
    assert (found["spearman"], found["kendall"]) == (pytest.approx(1), pytest.approx(1))
    assert found["accuracy_error"] == 0.0
    assert found["parameter_factor"] == pytest.approx(1.0, rel=1e-4)


def test_a_reversed_order_correlates_by_minus_one() -> None:
    found = figures(tuple(1 - a for a in TRUE))
    assert (found["spearman"], found["kendall"]) == (pytest.approx(-1), pytest.approx(-1))
    errors = [abs(1 - 2 * a) for a in TRUE]
    assert found["accuracy_error"] == pytest.approx(sum(errors) / 4)


def test_one_swapped_pair_correlates_as_by_hand() -> None:
    """Ranks 1 3 2 4 against 1 2 3 4: rho = 1 - 6 * 2 / 60, tau = (5 - 1) / 6."""
    found = figures((0.1, 0.2, 0.4, 0.9))
    assert found["spearman"] == pytest.approx(0.8)
    assert found["kendall"] == pytest.approx(4 / 6)


def test_a_constant_has_no_correlation() -> None:
    found = figures((0.5, 0.5, 0.5, 0.5))
    assert (found["spearman"], found["kendall"], found["accuracy_error"]) == (None, None, None)


@pytest.mark.parametrize("factor", [2.0, 0.5])
def test_the_parameter_factor_is_the_same_above_and_below(factor: float) -> None:
    assert figures(factor=factor)["parameter_factor"] == pytest.approx(2.0, rel=1e-3)


def test_wrong_fields_count_where_the_layer_has_them() -> None:
    def change(tokens: Tensor) -> None:
        tokens[0, 0, 1] = 5  # the kernel of one of eight windowed layers
        tokens[1, 2, 1] = 5  # a ReLU has none

    found = figures(change=change)
    assert found["reconstruction"]["kernel"] == pytest.approx(7 / 8)
    assert found["reconstruction"]["type"] == 1.0
    assert (found["type_sequences"], found["whole_networks"]) == (1.0, 0.75)
    assert found["valid_decodings"] == 1.0


def test_a_wrong_type_and_a_lengthened_network_are_not_the_same_sequence() -> None:
    def change(tokens: Tensor) -> None:
        tokens[0, 1, 0] = ReLU.code
        tokens[1, 5] = torch.tensor([Linear.code, 0, 10, 0, 0, 0])

    found = figures(change=change)
    assert found["reconstruction"]["type"] == pytest.approx(19 / 20)
    assert (found["type_sequences"], found["whole_networks"]) == (0.5, 0.5)


def test_decodings_that_are_no_network_are_counted() -> None:
    def change(tokens: Tensor) -> None:
        tokens[0] = 0
        tokens[1, 0, 1] = 9  # a kernel larger than the images
        tokens[2, 4, 2] = 11  # another number of classes

    assert figures(change=change)["valid_decodings"] == 0.25


def test_fewer_than_three_labels_say_nothing_of_order() -> None:
    held_out = [*HELD_OUT[:2], *(Example(e.architecture, None) for e in HELD_OUT[2:])]
    oracle = Oracle(torch.tensor(TRUE))
    found = diagnose(oracle, held_out)  # type: ignore[arg-type]
    assert (found["networks"], found["spearman"]) == (4, None)


def test_nothing_held_out_is_said() -> None:
    assert diagnose(random_embedding(), []) == {"networks": 0}


def test_a_real_embedding_is_diagnosed_without_being_changed() -> None:
    embedding = random_embedding().train()
    before = {key: value.clone() for key, value in embedding.state_dict().items()}
    found = diagnose(embedding, labelled(5))
    assert found["networks"] == 5
    assert 0 <= found["accuracy_error"] <= 1
    assert found["parameter_factor"] >= 1
    for key, value in embedding.state_dict().items():
        assert torch.equal(value, before[key])
