"""The precision probe: classes of layers, the text that says them, and what is chosen when."""

import time
from collections.abc import Callable
from itertools import combinations

import pytest
import torch
from torch import Tensor

from archpress.errors import SettingsError
from archpress.training import precision
from archpress.training.precision import (
    CLASSES,
    LayerClass,
    PrecisionChoice,
    choose_precision,
    class_of,
    in_bfloat16,
)

Measured = tuple[tuple[Tensor, ...], float]
EVERY = frozenset(CLASSES)


def pretend(error: float, seconds: float) -> Callable[..., Measured]:
    """A measurement: bfloat16 is off by `error` of the norm and takes `seconds`, float32 1 s."""

    def timed(layer: LayerClass, images: Tensor, weights: Tensor, bfloat16: bool) -> Measured:
        factor = 1 + error if bfloat16 else 1.0
        return (images * factor, weights * factor), seconds if bfloat16 else 1.0

    return timed


def chosen(monkeypatch: pytest.MonkeyPatch, **gains: float) -> str:
    """What is chosen where bfloat16 is so many times as fast, and twice as fast elsewhere."""
    by_layer = {layer: gains.get(name, 2.0) for name, layer in CLASSES.items()}
    monkeypatch.setattr(precision, "_gain", by_layer.__getitem__)
    return choose_precision("auto")


@pytest.mark.parametrize(
    ("kernel", "stride", "channels", "side", "groups", "expected"),
    [
        (3, 1, 1, 28, 1, "stem"), (3, 1, 3, 32, 1, "stem"), (1, 1, 4, 7, 1, "stem"),
        (5, 2, 4, 28, 1, "stem"),
        (3, 1, 5, 14, 1, "dense"), (3, 2, 64, 14, 1, "dense"), (7, 1, 32, 2, 1, "dense"),
        (1, 1, 5, 14, 1, "pointwise"), (1, 2, 64, 7, 1, "pointwise"),
        (3, 1, 32, 14, 32, "depthwise"), (3, 1, 2, 4, 2, "depthwise"),
        (1, 1, 32, 14, 32, "depthwise"),
        (3, 1, 32, 3, 32, "depthwise_small"), (3, 1, 32, 1, 32, "depthwise_small"),
        (5, 1, 32, 14, 32, "depthwise_large"), (4, 1, 32, 2, 32, "depthwise_large"),
        (3, 2, 32, 14, 32, "depthwise_strided"), (7, 3, 2, 2, 2, "depthwise_strided"),
    ],
)  # fmt: skip
def test_every_convolution_has_a_class(
    kernel: int, stride: int, channels: int, side: int, groups: int, expected: str
) -> None:
    assert class_of(kernel, stride, channels, side, groups) == expected


@pytest.mark.parametrize("name", sorted(EVERY - {"linear"}))
def test_the_shape_measured_for_a_class_is_one_of_it(name: str) -> None:
    shape = CLASSES[name]
    groups = shape.channels if shape.depthwise else 1
    assert class_of(shape.kernel, shape.stride, shape.channels, shape.side, groups) == name


def test_a_text_says_which_classes_are_in_bfloat16() -> None:
    assert in_bfloat16("float32") == frozenset()
    assert in_bfloat16("bfloat16") == EVERY
    assert in_bfloat16("bfloat16 except stem") == EVERY - {"stem"}
    assert in_bfloat16("bfloat16 except stem,linear") == EVERY - {"stem", "linear"}


@pytest.mark.parametrize("count", [0, 1, 2, 7])
def test_the_text_that_is_chosen_says_the_classes_that_were_not_slower(
    count: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    others = sorted(EVERY - {"dense"})
    for slower in list(combinations(others, count))[:10]:
        text = chosen(monkeypatch, **dict.fromkeys(slower, 0.5))
        assert in_bfloat16(text) == EVERY - set(slower)
        assert choose_precision(text) == text


@pytest.mark.parametrize(
    "text",
    [
        "", "float16", "Float32", "bfloat16 ", "bfloat16 except", "bfloat16 except ",
        "bfloat16 except dense,", "bfloat16 except dense, stem", "bfloat16 except everything",
        "float32 except dense",
    ],
)  # fmt: skip
def test_other_texts_are_refused_with_what_is_expected(text: str) -> None:
    for read in (in_bfloat16, choose_precision):
        with pytest.raises(SettingsError, match=f"'{text}', expected auto, float32 or bfloat16"):
            read(text)


@pytest.mark.parametrize("choice", ["float32", "bfloat16", "bfloat16 except depthwise_strided"])
def test_an_explicit_choice_is_not_probed(
    choice: PrecisionChoice, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(precision, "_timed", None)
    assert choose_precision(choice) == choice


def test_the_probe_gives_a_valid_text_soon_and_leaves_the_generator_alone() -> None:
    before = torch.get_rng_state()
    start = time.thread_time()  # of this thread: other processes do not count
    found = choose_precision("auto")
    assert time.thread_time() - start < 3
    assert torch.equal(torch.get_rng_state(), before)
    assert in_bfloat16(found) <= EVERY


@pytest.mark.parametrize(
    ("error", "seconds", "expected"),
    [
        (0.01, 0.5, "bfloat16"),
        (0.049, 0.99, "bfloat16"),
        (0.01, 1.5, "float32"),
        (0.01, 1.0, "float32"),
        (0.051, 0.5, "float32"),
        (float("nan"), 0.5, "float32"),
        (float("inf"), 0.5, "float32"),
    ],
    ids=["right and faster", "just so", "slower", "as fast", "wrong", "not a number", "infinite"],
)
def test_bfloat16_is_chosen_only_where_it_is_right_and_faster(
    error: float, seconds: float, expected: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(precision, "_timed", pretend(error, seconds))
    assert choose_precision("auto") == expected


@pytest.mark.parametrize("wrong", [0, 1, 2])
def test_output_and_both_gradients_must_agree(wrong: int, monkeypatch: pytest.MonkeyPatch) -> None:
    def timed(layer: LayerClass, images: Tensor, weights: Tensor, bfloat16: bool) -> Measured:
        results = [torch.ones(3), torch.ones(4), torch.ones(5)]
        results[wrong] *= 1.1 if bfloat16 else 1
        return tuple(results), 0.5 if bfloat16 else 1.0

    monkeypatch.setattr(precision, "_timed", timed)
    assert choose_precision("auto") == "float32"


def test_classes_that_float32_does_much_faster_are_excepted(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    assert chosen(monkeypatch) == "bfloat16"
    assert chosen(monkeypatch, depthwise_strided=0.1) == "bfloat16 except depthwise_strided"
    assert chosen(monkeypatch, linear=0.79, stem=0.0) == "bfloat16 except stem,linear"


def test_classes_that_are_about_as_fast_stay_in_bfloat16(monkeypatch: pytest.MonkeyPatch) -> None:
    assert chosen(monkeypatch, stem=0.81, linear=1.0, depthwise=0.95) == "bfloat16"


@pytest.mark.parametrize("gain", [0.0, 0.9, 1.0])
def test_without_a_gain_for_dense_convolutions_all_is_float32(
    gain: float, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert chosen(monkeypatch, dense=gain) == "float32"


def test_a_class_that_does_not_run_in_bfloat16_is_excepted(monkeypatch: pytest.MonkeyPatch) -> None:
    faster = pretend(0.0, 0.5)

    def refuse(layer: LayerClass, images: Tensor, weights: Tensor, bfloat16: bool) -> Measured:
        if bfloat16 and layer == CLASSES["depthwise_large"]:
            raise RuntimeError("could not create a primitive")
        return faster(layer, images, weights, bfloat16)

    monkeypatch.setattr(precision, "_timed", refuse)
    assert choose_precision("auto") == "bfloat16 except depthwise_large"


def test_float32_is_chosen_where_bfloat16_does_not_run(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(layer: LayerClass, images: Tensor, weights: Tensor, bfloat16: bool) -> Measured:
        if bfloat16:
            raise RuntimeError("could not create a primitive")
        return (images, weights), 1.0

    monkeypatch.setattr(precision, "_timed", refuse)
    assert choose_precision("auto") == "float32"
