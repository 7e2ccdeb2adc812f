"""Encoder and decoder before any training: what must hold whatever the weights, and learning."""

import math
from functools import cache

import pytest
import torch

from archpress.architectures.architecture import Architecture
from archpress.embedding.autoencoder import SPANS, Autoencoder
from archpress.embedding.population import Drawn, drawn_from
from archpress.embedding.reconstruction import decodings_of_prior, measure
from archpress.embedding.vocabulary import (
    ACTIVATION,
    FRACTION,
    NORM,
    TYPE,
    WIDTH,
    from_categories,
    has_field,
)
from tests.small_networks import generator

TASK = ((1, 28, 28), 10)


def small(seed: int = 0) -> Autoencoder:
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        return Autoencoder(channels=16, width=4, hidden=24).eval()


def some(count: int, space: str = "blocks", seed: int = 1) -> Drawn:
    return drawn_from({space: 1.0}, count, generator(seed))


def test_an_embedding_does_not_depend_on_the_others_in_the_batch() -> None:
    model, drawn = small(), Drawn.of_all([some(6), some(3, "paper")])
    together = model.encoder(drawn.read())
    for index in range(9):
        alone = model.encoder(drawn[index : index + 1].read())
        torch.testing.assert_close(alone[0], together[index], rtol=1e-4, atol=1e-4)


def test_spans_after_the_end_are_zero_and_others_are_on_the_sphere() -> None:
    model, drawn = small(), some(8)
    read = drawn.read()
    spans = model.encoder(read).view(8, SPANS, -1)
    for lengths, of_network in zip(read.in_use.sum(1).tolist(), spans, strict=True):
        alive = math.ceil(lengths / 8)
        assert not of_network[alive:].any()
        norms = of_network[:alive].square().mean(1)
        torch.testing.assert_close(norms, torch.ones(alive), rtol=1e-2, atol=1e-2)


@pytest.mark.parametrize("task", [TASK, ((3, 32, 32), 100), ((2, 7, 12), 3)])
def test_every_point_decodes_to_a_network(task: tuple[tuple[int, int, int], int]) -> None:
    networks, invalid = decodings_of_prior(small(), 300, task)
    assert invalid == 0 and len(networks) == 300
    assert all(n.input_shape == task[0] and n.classes == task[1] for n in networks)


def test_teacher_forcing_and_decoding_agree() -> None:
    """What is said word by word is what the parallel pass finds likeliest, given those words."""
    model, learned = trained(), some(12)
    y = model.encoder(learned.read())
    said = model.decoder.decode(y, learned.input_shapes, learned.classes)
    read = Drawn(said, learned.input_shapes, learned.classes).read()
    logits = model.decoder.logits(y, read)
    words = said[read.in_use]
    for field in (WIDTH, FRACTION, NORM, ACTIVATION):  # no rule of the grammar is about these
        has = has_field(words[:, TYPE])[:, field]
        assert has.any()
        assert torch.equal(logits[field].argmax(1)[has], words[has, field])


@cache
def trained() -> Autoencoder:
    model, drawn = small().train(), some(12)
    read = drawn.read()
    optimizer = torch.optim.Adam(model.parameters(), lr=1e-2)
    for _ in range(250):
        optimizer.zero_grad()
        losses = model.losses(read, torch.zeros(12, model.size))
        losses.total.backward()
        optimizer.step()
    return model.eval()


def test_learns_to_say_a_few_networks() -> None:
    model, drawn = trained(), some(12)
    read, found = drawn.read(), measure(model, drawn)
    assert found["networks"] == 12
    assert found["exact"] >= 0.75 and found["within_5"] >= 0.8
    predicted = model.costs(model.encoder(read))
    assert (predicted[:, 0] - read.log_parameters).abs().mean() < 0.3


def test_measure_tells_errors_apart() -> None:
    model = small()
    found = measure(model, some(30))
    assert found["exact"] <= min(found["type"], found["kernel"], found["skip"]) < 1


def test_decodings_are_the_networks_of_their_categories() -> None:
    model = small(3)
    y = torch.randn(5, model.size, generator=generator(4))
    categories = model.decoder.decode(y, torch.tensor([TASK[0]] * 5), torch.full((5,), 10))
    for each in categories:
        assert isinstance(from_categories(each, *TASK), Architecture)
