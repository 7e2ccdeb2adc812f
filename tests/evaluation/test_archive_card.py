"""The card of an archive, from runs of which everything is known."""

from archpress.architectures.architecture import Architecture
from archpress.architectures.layers import Convolution, DepthwiseConvolution, Linear
from archpress.evaluation.archive_card import HELD_OUT, card, held_out, main_labels
from archpress.evaluation.record import Evaluation, Job
from tests.evaluation.tiny import TINY, network, recipe

LONG = recipe(name="long", epochs=3)


def run(width: int, seed: int, accuracy: float | None, **values: object) -> Evaluation:
    job = Job(network(width), values.pop("by", TINY), seed, "d1")  # type: ignore[arg-type]
    facts = {"losses": (1.0,), "images": 64, "seconds": 1800.0, **values}
    status = "ok" if accuracy is not None else "diverged"
    return Evaluation.of(job, status, validation_accuracy=accuracy, **facts)


RUNS = [
    run(4, 0, 0.5), run(4, 1, 0.75), run(5, 0, 0.25), run(3, 0, None), run(7, 0, 0.9, by=LONG),
]  # fmt: skip


def row(text: str, name: str) -> list[str]:
    (line,) = [line for line in text.splitlines() if line.startswith(f"| {name} |")]
    return [cell.strip() for cell in line.strip("|").split("|")]


def test_the_labels_of_an_archive_are_those_with_the_most_runs() -> None:
    found = main_labels(RUNS)
    assert found is not None
    assert (found.data, found.recipe.digest) == ("d1", TINY.digest)
    assert [len(label.values) for label in found.labels] == [2, 1, 1]
    assert len(found.runs) == 4
    assert main_labels([]) is None


def test_arithmetics_are_kept_apart() -> None:
    half = run(4, 2, 0.9, circumstances={"precision": "bfloat16", "engine": "2"})
    found = main_labels([*RUNS, half])
    assert found is not None and half not in found.runs


def test_the_card_says_how_and_what() -> None:
    found = main_labels(RUNS)
    assert found is not None
    text = card(found)
    assert row(text, "networks for")[1] == "1x8x8, 10 classes"
    assert row(text, "networks")[1].startswith("3, of which 0 are held out")
    assert row(text, "runs")[1] == "ok 3, diverged 1"
    assert "2.00 worker hours" in row(text, "spent")[1]
    assert row(text, "precision")[1] == "unknown (4)"
    assert "of 1 networks with several" in row(text, "spread of one run")[1]
    sizes = [label.parameters for label in found.labels]
    assert all(316 <= size <= 1000 for size in sizes)
    # accuracies 0.625 (mean of two), 0.25, and chance for the one that diverged
    assert row(text, "316 to 1,000") == [
        "316 to 1,000", "3", "10.00", "17.50", "25.00", "43.75", "62.50",
    ]  # fmt: skip
    assert row(text, "layers")[1:] == ["5"] * 5
    assert "Networks with skips 0 %" in text


def test_kinds_of_networks_are_counted() -> None:
    layers = (Convolution(4, 3), DepthwiseConvolution(3, 1, 1, skip=1), Linear(10))
    job = Job(Architecture((1, 8, 8), layers), TINY, 0, "d1")
    found = main_labels([*RUNS[2:4], Evaluation.of(job, "ok", validation_accuracy=0.5)])
    assert found is not None
    text = card(found)
    assert "skips 33 %, depthwise convolutions 33 %, global average pooling 0 %" in text


def test_a_tenth_is_held_out_whatever_the_order() -> None:
    networks = [network(width) for width in range(2, 42)]
    kept = held_out(networks)
    assert len(kept) == round(HELD_OUT * 40)
    assert held_out(reversed(networks)) == kept
    largest = max(n.digest for n in kept)
    assert all(n.digest > largest for n in networks if n not in kept)
