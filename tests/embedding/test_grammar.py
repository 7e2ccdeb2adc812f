"""The batched grammar against the architectures themselves."""

import pytest
import torch

from archpress.architectures.architecture import Architecture
from archpress.embedding.grammar import CONTEXT, MOST_SIDE, Prefixes, read
from archpress.embedding.population import Drawn, draw
from archpress.embedding.vocabulary import (
    FIELDS,
    KERNEL,
    NOTHING,
    PADDING,
    POSITIONS,
    SIZES,
    SKIP,
    STRIDE,
    TYPE,
    from_categories,
    has_field,
)
from tests.small_networks import generator


@pytest.mark.parametrize("space", ["blocks", "paper", "neighbourhood"])
def test_costs_and_context_are_those_of_the_network(space: str) -> None:
    random = generator(5)
    networks = [draw(space, random) for _ in range(40)]
    drawn = Drawn.of(networks)
    exact = [from_categories(c, n.input_shape, n.classes)
             for c, n in zip(drawn.categories, networks, strict=True)]  # fmt: skip
    found = drawn.read()
    for index, network in enumerate(exact):
        assert 10 ** float(found.log_parameters[index]) == pytest.approx(
            network.cost.parameters, rel=1e-4
        )
        assert 10 ** float(found.log_macs[index]) == pytest.approx(network.cost.macs, rel=1e-4)
    assert found.context.shape == (40, POSITIONS, CONTEXT)
    assert found.context.isfinite().all()


@pytest.mark.parametrize("space", ["blocks", "paper", "neighbourhood"])
def test_every_word_of_a_network_is_allowed(space: str) -> None:
    random = generator(6)
    drawn = Drawn.of([draw(space, random) for _ in range(40)])
    state = Prefixes.start(drawn.input_shapes, drawn.classes)
    every = torch.arange(40)
    for place in range(POSITIONS):
        said = drawn.categories[:, place]
        used = said[:, TYPE] != NOTHING
        has = has_field(said[:, TYPE])
        assert state.types()[every, said[:, TYPE]][used].all()
        for field, allowed in (
            (SKIP, state.skips(said)),
            (PADDING, state.paddings(said[:, TYPE], said[:, KERNEL])),
        ):
            which = used & has[:, field]
            assert allowed[every, said[:, field]][which].all(), FIELDS[field]
        state.advance(said)


def random_words(count: int, seed: int) -> torch.Tensor:
    """Words drawn evenly from what the grammar allows."""
    random = generator(seed)
    state = Prefixes.start(torch.tensor([[3, 32, 32]] * count), torch.full((count,), 10))
    result = torch.zeros(count, POSITIONS, len(FIELDS), dtype=torch.long)

    def one_of(allowed: torch.Tensor) -> torch.Tensor:
        weights = allowed.float().expand(count, -1)
        return torch.multinomial(weights, 1, generator=random)[:, 0]

    for place in range(POSITIONS):
        said = result[:, place]
        said[:, TYPE] = one_of(state.types())
        for field in range(1, len(FIELDS)):
            allowed = torch.ones(count, SIZES[field], dtype=torch.bool)
            if field in (KERNEL, STRIDE):
                allowed[:, 0] = False
            elif field == PADDING:
                allowed = state.paddings(said[:, TYPE], said[:, KERNEL])
            elif field == SKIP:
                allowed = state.skips(said)
            said[:, field] = one_of(allowed) * has_field(said[:, TYPE])[:, field]
        state.advance(said)
    return result


def test_whatever_is_allowed_is_a_network() -> None:
    for categories in random_words(400, 1):
        network = from_categories(categories, (3, 32, 32), 10)
        assert isinstance(network, Architecture)
        assert network.classes == 10


def test_padding_does_not_blow_images_up() -> None:
    for categories in random_words(200, 2):
        network = from_categories(categories, (3, 32, 32), 10)
        assert max(max(shape[1:], default=1) for shape in network.shapes) <= MOST_SIDE


def test_read_says_what_is_in_use() -> None:
    drawn = Drawn.of([draw("blocks", generator(2)) for _ in range(4)])
    found = read(drawn.categories, drawn.input_shapes, drawn.classes)
    lengths = (drawn.categories[..., TYPE] != NOTHING).sum(1)
    assert torch.equal(found.in_use.sum(1), lengths)
