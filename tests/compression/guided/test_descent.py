"""The descent: what is decoded is judged, and only what is better is moved to."""

from collections.abc import Callable, Sequence

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from torch import Tensor

from archpress.architectures.architecture import Architecture
from archpress.architectures.simplification import simplify
from archpress.compression.guided.descent import LENGTHS, Descent, descend, direction_of
from archpress.embedding.pretrained import shipped
from archpress.embedding.readout import decode, encode
from tests.compression.guided.fitted import readout, sampled
from tests.small_networks import generator

WANTED = 3_000
STARTS = sampled()[:3]


def judge(networks: Sequence[Architecture]) -> NDArray[np.float64]:
    """How near the size is to the wanted one, in octaves; 0 at best."""
    sizes = np.array([network.cost.parameters for network in networks], np.float64)
    return -np.abs(np.log2(sizes / WANTED))


def loss(y: Tensor) -> Tensor:
    """The same of what the readout tells."""
    return (readout()(y)[:, 0] - np.log2(WANTED)).square()


def flat(y: Tensor) -> Tensor:
    return (0 * y).sum(1)


def anything(network: Architecture) -> Architecture | None:
    return network


def of_one_kernel(network: Architecture) -> Architecture | None:
    """An odd rule: an even number of layers."""
    return None if len(network.layers) % 2 else network


def descent(
    steps: int = 4,
    reach: float = 0.6,
    judge: Callable[[Sequence[Architecture]], NDArray[np.float64]] = judge,
    loss: Callable[[Tensor], Tensor] = loss,
    admit: Callable[[Architecture], Architecture | None] = anything,
) -> Descent:
    return descend(shipped(), loss, STARTS, judge, admit, steps, reach)


@pytest.fixture(scope="module")
def found() -> Descent:
    return descent()


def test_no_start_gets_worse_and_some_get_better(found: Descent) -> None:
    before = judge(STARTS)
    assert (found.values >= before).all()
    assert (found.values > before + 0.1).any()


def test_a_start_stands_at_the_best_it_came_upon(found: Descent) -> None:
    assert judge(found.networks) == pytest.approx(found.values)
    for index, start in enumerate(STARTS):
        own = [visit for visit in found.visits if visit.start == index]
        best = max([visit.value for visit in own], default=-np.inf)
        assert found.values[index] == max(best, judge([start])[0])


def test_visits_are_new_and_are_what_the_judge_says(found: Descent) -> None:
    networks = [visit.network for visit in found.visits]
    assert len(networks) > 10
    assert len({*networks, *STARTS}) == len(networks) + len(STARTS)
    assert [visit.value for visit in found.visits] == pytest.approx(judge(networks).tolist())
    assert all(network == simplify(network) for network in networks)
    assert {(n.input_shape, n.classes) for n in networks} == {((1, 8, 8), 10)}


def test_visits_come_in_order_of_the_steps_and_within_the_radius(found: Descent) -> None:
    steps = [visit.step for visit in found.visits]
    assert steps == sorted(steps)
    assert set(steps) <= {1, 2, 3, 4}
    first = {visit.length for visit in found.visits if visit.step == 1}
    assert first <= {share * 0.6 for share in LENGTHS}
    assert max(visit.length for visit in found.visits) <= 0.6


def test_only_what_is_admitted_is_visited() -> None:
    visits = descent(admit=of_one_kernel).visits
    assert visits
    assert all(len(visit.network.layers) % 2 == 0 for visit in visits)


def test_what_is_made_to_fit_is_what_is_judged() -> None:
    made = sampled()[9]
    visits = descent(admit=lambda network: made).visits
    assert [(visit.network, visit.step, visit.start) for visit in visits] == [(made, 1, 0)]
    assert visits[0].value == judge([made])[0]


def test_with_nothing_admitted_all_stays_and_the_radius_shrinks_until_it_ends() -> None:
    refused = descent(steps=9, admit=lambda network: None)
    assert refused.networks == STARTS
    assert refused.visits == []
    assert refused.stopped == ["no better network within the least radius"] * 3


@pytest.mark.parametrize(("steps", "ended"), [(3, False), (4, True)])
def test_a_radius_is_halved_four_times(steps: int, ended: bool) -> None:
    reason = "no better network within the least radius" if ended else "last step"
    assert descent(steps=steps, admit=lambda network: None).stopped == [reason] * 3


def test_each_failure_halves_the_lengths() -> None:
    tried: list[float] = []

    def constant(networks: Sequence[Architecture]) -> NDArray[np.float64]:
        return np.zeros(len(networks))

    visits = descent(steps=4, judge=constant).visits
    for step in (1, 2, 3, 4):
        tried.append(max([v.length for v in visits if v.step == step], default=0.0))
        assert tried[-1] <= 0.6 / 2 ** (step - 1) + 1e-12
    assert tried[0] > 0.3


def test_what_still_moves_ends_with_the_last_step() -> None:
    count = iter(range(10**6))

    def always_better(networks: Sequence[Architecture]) -> NDArray[np.float64]:
        return np.array([float(next(count)) for _ in networks])

    found = descent(steps=2, judge=always_better)
    assert found.stopped == ["last step"] * 3
    assert all(network not in STARTS for network in found.networks)


def test_a_start_that_has_stopped_is_left_alone() -> None:
    """The first start refuses all; the others go on."""
    first = judge(STARTS)[0]

    def never_from_the_first(networks: Sequence[Architecture]) -> NDArray[np.float64]:
        return np.minimum(judge(networks), first)

    found = descent(steps=6, judge=never_from_the_first)
    stopped = [r == "no better network within the least radius" for r in found.stopped]
    assert stopped[0]
    assert max(visit.step for visit in found.visits if visit.start == 0) <= 4


def test_nothing_moves_where_there_is_no_slope() -> None:
    y = encode(shipped(), STARTS)
    assert not direction_of(flat, y).any()
    same = decode(shipped(), y, (1, 8, 8), 10)
    allowed = {simplify(network) for network in same} | set(STARTS)
    found = descent(loss=flat)
    assert {visit.network for visit in found.visits} <= allowed


def test_no_start_moves_up_or_down_where_the_slope_is_not_a_number() -> None:
    y = encode(shipped(), STARTS)
    assert not direction_of(lambda y: (y - y.detach()).sqrt().sum(1) * float("nan"), y).any()


def test_directions_are_unit_vectors_down_the_slope() -> None:
    y = encode(shipped(), sampled()[:8])
    direction = direction_of(loss, y)
    assert direction.norm(dim=1).tolist() == pytest.approx([1.0] * 8, rel=1e-5)
    assert (loss(y + 1e-3 * direction) < loss(y)).all()
    assert not direction.requires_grad


def test_where_there_is_no_network_nothing_moves() -> None:
    y = encode(shipped(), sampled()[:8])
    empty = y == 0
    assert empty.any(1).all()
    assert not direction_of(loss, y)[empty].any()
    leaf = y.clone().requires_grad_()
    (gradient,) = torch.autograd.grad(loss(leaf).sum(), leaf)
    assert gradient[empty].any()  # the slope alone would have moved it


def test_the_same_descent_comes_upon_the_same(found: Descent) -> None:
    again = descent()
    assert again.visits == found.visits
    assert again.stopped == found.stopped


def test_starts_and_embeddings_are_left_as_they_were() -> None:
    before = list(STARTS)
    y = torch.randn(2, shipped().size, generator=generator(0))
    kept = y.clone()
    direction_of(loss, y)
    descent(steps=1)
    assert before == STARTS
    assert torch.equal(y, kept) and not y.requires_grad
