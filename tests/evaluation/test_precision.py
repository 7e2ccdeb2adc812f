"""The precision probe: what is chosen for which outcome of its two measurements."""

from collections.abc import Callable

import pytest
import torch
from torch import Tensor

from archpress.evaluation import precision
from archpress.evaluation.precision import PrecisionChoice, choose_precision

Measured = tuple[tuple[Tensor, Tensor], float]


def pretend(error: float, seconds: float) -> Callable[..., Measured]:
    """A measurement: bfloat16 is off by `error` of the norm and takes `seconds`, float32 1 s."""

    def timed(images: Tensor, weights: Tensor, bfloat16: bool) -> Measured:
        factor = 1 + error if bfloat16 else 1.0
        return (images * factor, weights * factor), seconds if bfloat16 else 1.0

    return timed


@pytest.mark.parametrize("choice", ["float32", "bfloat16"])
def test_an_explicit_choice_is_not_probed(
    choice: PrecisionChoice, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(precision, "_timed", None)
    assert choose_precision(choice) == choice


def test_the_probe_gives_one_of_two_and_leaves_the_generator_alone() -> None:
    before = torch.get_rng_state()
    assert choose_precision("auto") in ("float32", "bfloat16")
    assert torch.equal(torch.get_rng_state(), before)


@pytest.mark.parametrize(
    ("error", "seconds", "expected"),
    [
        (0.01, 0.5, "bfloat16"),
        (0.01, 1.5, "float32"),
        (0.10, 0.5, "float32"),
        (float("nan"), 0.5, "float32"),
    ],
    ids=["right and faster", "slower", "wrong", "not finite"],
)
def test_bfloat16_is_chosen_only_where_it_is_right_and_faster(
    error: float, seconds: float, expected: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(precision, "_timed", pretend(error, seconds))
    assert choose_precision("auto") == expected


def test_float32_is_chosen_where_bfloat16_does_not_run(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(images: Tensor, weights: Tensor, bfloat16: bool) -> Measured:
        if bfloat16:
            raise RuntimeError("could not create a primitive")
        return (images, weights), 1.0

    monkeypatch.setattr(precision, "_timed", refuse)
    assert choose_precision("auto") == "float32"
