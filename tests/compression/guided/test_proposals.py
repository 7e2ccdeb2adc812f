"""Proposals: by descent, by small changes, at random; a batch of them; and their record."""

import json
from collections.abc import Sequence

import numpy as np
import pytest
from numpy.typing import NDArray

from archpress.architectures.architecture import Architecture
from archpress.compression.admission import filled
from archpress.compression.drawing import drawn_within
from archpress.compression.guided.descent import Descent, Visit
from archpress.compression.guided.proposals import (
    Proposal,
    by_descent,
    by_mutation,
    choose,
)
from archpress.compression.task import CompressionTask
from tests.compression.guided.fitted import sampled
from tests.compression.tasks import BOUNDED as TASKS
from tests.compression.tasks import make_task, network_of
from tests.small_networks import PLAIN, SKIPS, generator


def by_size(networks: Sequence[Architecture]) -> NDArray[np.float64]:
    return np.array([float(network.cost.parameters) for network in networks])


def mutations(
    origins: Sequence[Architecture], task: CompressionTask, seed: int = 0
) -> list[Proposal]:
    starts = {network: network.digest for network in origins}
    return by_mutation(starts, task, by_size, lambda n: filled(n, task), generator(seed))


def valued(network: Architecture, value: float) -> Proposal:
    return Proposal(network, "gradient", "origin", value, 1)


def nothing(network: Architecture) -> bool:
    return False


DIFFERENT = sampled()[:6]


def test_the_most_valued_come_first() -> None:
    proposals = [valued(network, value) for value, network in enumerate(DIFFERENT)]
    assert choose(proposals, 4, nothing) == proposals[:1:-1]


def test_no_two_differ_in_widths_alone_while_others_are_left() -> None:
    same = [valued(network_of(width), 9.0 - width) for width in (2, 3, 4)]
    other = [valued(network, value / 10) for value, network in enumerate(DIFFERENT)]
    proposals = [*same, *other]
    assert choose(proposals, 7, nothing) == [same[0], *other[::-1]]
    assert choose(proposals, 9, nothing) == [same[0], *other[::-1], *same[1:]]
    assert choose(same, 2, nothing) == same[:2]


def test_what_is_taken_is_never_chosen() -> None:
    proposals = [valued(network_of(width), 9.0 - width) for width in (2, 3, 4)]
    taken = {network_of(2)}
    assert choose(proposals, 3, taken.__contains__) == proposals[1:]
    assert choose(proposals, 3, lambda network: True) == []


def test_what_is_taken_keeps_nothing_of_its_kind_from_being_chosen() -> None:
    proposals = [valued(network_of(2), 3.0), valued(network_of(3), 2.0), valued(DIFFERENT[0], 1.0)]
    assert choose(proposals, 1, lambda network: network == network_of(2)) == [proposals[1]]


def test_ties_go_to_the_digest_whatever_the_order() -> None:
    proposals = [valued(network, 1.0) for network in DIFFERENT]
    expected = sorted(proposals, key=lambda proposal: proposal.network.digest)[:3]
    assert choose(proposals, 3, nothing) == expected
    assert choose(proposals[::-1], 3, nothing) == expected


@pytest.mark.parametrize("count", [0, 1, 6, 99])
def test_no_more_are_chosen_than_asked_for_or_there_are(count: int) -> None:
    proposals = [valued(network, 1.0) for network in DIFFERENT]
    assert len(choose(proposals, count, nothing)) == min(count, 6)


ZOO = [*PLAIN.values(), *SKIPS.values(), *DIFFERENT]


def test_a_proposal_comes_back_from_its_record() -> None:
    for network in ZOO:
        proposal = Proposal(network, "mutation", "0123456789abcdef", -0.25, 3)
        record = json.loads(json.dumps({"round": 2, **proposal.to_json()}))
        assert Proposal.from_json(record) == proposal
        assert record["architecture"] == network.digest
        assert record["parameters"] == network.cost.parameters
        assert record["macs"] == network.cost.macs


def test_where_it_came_from_is_said_in_words() -> None:
    words = {s: Proposal(network_of(2), s, "abc", 0.0, 4).in_words for s in (
        "start", "gradient", "mutation", "random"
    )}  # fmt: skip
    assert len(set(words.values())) == 4
    assert "abc" in words["gradient"] and "step 4" in words["gradient"]
    assert "abc" in words["mutation"]
    assert "abc" not in words["start"] + words["random"]


def test_all_that_a_descent_came_upon_is_proposed() -> None:
    starts = [network_of(9), network_of(10)]
    visits = [Visit(network_of(2), 0, 1, 0.1, 0.5), Visit(network_of(3), 1, 2, 0.2, 0.7)]
    first = np.array([0.1, 0.2])
    descent = Descent(first, list(starts), np.zeros(2), ["", ""], visits)
    assert by_descent(descent, dict(zip(starts, ("one", "two"), strict=True))) == [
        Proposal(starts[0], "gradient", "one", 0.1, 0),
        Proposal(starts[1], "gradient", "two", 0.2, 0),
        Proposal(network_of(2), "gradient", "one", 0.5, 1),
        Proposal(network_of(3), "gradient", "two", 0.7, 2),
    ]


@pytest.mark.parametrize("task", TASKS.values(), ids=TASKS)
def test_small_changes_are_within_the_budget(task: CompressionTask) -> None:
    origins = DIFFERENT[:2]
    found = mutations(origins, task)
    assert len(found) > 4
    networks = [proposal.network for proposal in found]
    assert len(set(networks)) == len(networks)
    for proposal in found:
        assert task.affords(proposal.network)
        assert task.space.limits.violation(proposal.network.cost) in (None, "too few parameters")
        assert (proposal.source, proposal.step) == ("mutation", 0)
        assert proposal.origin in {origin.digest for origin in origins}
        assert proposal.value == proposal.network.cost.parameters


def test_they_depend_on_the_generator_alone() -> None:
    task, origins = TASKS["parameters"], DIFFERENT[:1]
    assert mutations(origins, task) == mutations(origins, task)
    assert mutations(origins, task) != mutations(origins, task, seed=1)


def test_several_of_them_change_more_than_widths() -> None:
    origin = DIFFERENT[1]
    kinds = [layer.kind for layer in origin.layers]
    found = mutations([origin], TASKS["parameters"])
    changed = [p for p in found if [layer.kind for layer in p.network.layers] != kinds]
    assert len(changed) >= 3


def test_nothing_is_made_of_nothing_or_where_nothing_is_admitted() -> None:
    task = TASKS["parameters"]
    assert mutations([], task) == []
    start = {DIFFERENT[0]: "one"}
    assert by_mutation(start, task, by_size, lambda network: None, generator(0)) == []


@pytest.mark.parametrize("bound", [100, 400])
def test_networks_below_the_sizes_of_the_space_are_changed_as_well(bound: int) -> None:
    task = make_task(bound)
    assert bound < task.space.limits.min_parameters
    origins = drawn_within(task, 2, generator(1))
    assert len(mutations(origins, task)) > 4
