"""Candidates: what a descent decodes to, once each, affordable, and valued by what it really is."""

import json
from collections.abc import Sequence

import pytest
import torch

from archpress.architectures.architecture import Architecture
from archpress.architectures.layers import BatchNorm, Convolution, Layer, Linear, ReLU
from archpress.architectures.simplification import simplify
from archpress.architectures.spaces import Limits
from archpress.compression.joint.candidates import (
    Candidate,
    decode_path,
    rank,
    reencoded_objective,
)
from archpress.compression.joint.descent import descend
from archpress.compression.joint.objective import Objective
from archpress.compression.joint.repair import repair
from archpress.compression.task import CompressionTask
from archpress.embedding.fitting import Fit
from tests.compression.tasks import make_task, network_of
from tests.embedding.tiny import CONFIGURATIONS, blocks, labelled, random_embedding


def objective_on(name: str = "default") -> Objective:
    return Objective(random_embedding(CONFIGURATIONS[name], sigma=2_000.0), 1.0, 7_562, 1.0)


def candidate(architecture: Architecture, step: int = 0, objective: float = 0.0) -> Candidate:
    return Candidate(architecture, 0, "origin", 0, step, (), objective, 0.5, 1_000.0, "")


def ranked(architectures: Sequence[Architecture], task: CompressionTask) -> list[Architecture]:
    found = rank([candidate(a) for a in architectures], task, objective_on())
    return [c.architecture for c in found.ranked]


def of_layers(*layers: Layer) -> Architecture:
    return Architecture((1, 8, 8), (*layers, Linear(10)))


# ------------------------------------------------------------------ the path


@pytest.fixture(scope="module")
def fitted() -> Objective:
    """An embedding that has learned enough to decode to various networks."""
    settings = CONFIGURATIONS["default"].model_copy(update={"iterations": 60})
    return Objective(Fit(labelled(12), settings, 0).run(), 1.0, 7_562, 1.0)


def test_every_start_is_decoded_at_every_step(fitted: Objective) -> None:
    starts = blocks(3)
    steps = list(descend(fitted, fitted.embedding.encode(starts), 4, 0.3, normalised=True))
    path = decode_path(steps, starts, fitted)
    assert [(c.step, c.start) for c in path] == [(s, i) for s in range(5) for i in range(3)]
    for found in path:
        step = steps[found.step]
        tokens = fitted.embedding.decode(step.embedding)[found.start]
        expected = repair(tokens, (1, 8, 8), 10)
        assert found.repairs == expected.rules
        assert found.architecture == simplify(expected.architecture)
        assert found.idle == len(expected.architecture.layers) - len(found.architecture.layers)
        assert found.origin == starts[found.start].digest
        assert found.objective == float(step.objective.value[found.start])
        assert found.predicted_accuracy == float(step.objective.accuracy[found.start])
        count = 10 ** float(step.objective.parameters[found.start])
        assert found.predicted_parameters == pytest.approx(count, rel=1e-4)
        assert found.stopped == ("last step" if found.step == 4 else "")


def test_a_candidate_is_recorded_with_its_exact_cost() -> None:
    record = candidate(network_of(3), step=2, objective=0.25).to_json()
    assert json.loads(json.dumps(record)) == record
    expected = {
        "start": 0, "origin": "origin", "step": 2, "objective": 0.25,
        "architecture": network_of(3).digest, "layers": 4,
        "idle_layers": 0, "parameters": 652 * 3 + 10, "macs": 3 * 64 * 9 + 10 * 3 * 64,
        "repairs": [], "predicted_accuracy": 0.5, "predicted_parameters": 1_000.0, "stopped": "",
    }  # fmt: skip
    assert record == expected


# ------------------------------------------------------------------ the ranking


def test_a_decoding_met_twice_is_one_candidate_and_the_first() -> None:
    path = [candidate(network_of(w), step) for step, w in enumerate((3, 2, 3, 3, 2))]
    found = rank(path, make_task(), objective_on())
    assert sorted((c.architecture.cost.parameters, c.step) for c in found.ranked) == [
        (network_of(2).cost.parameters, 1), (network_of(3).cost.parameters, 0)
    ]  # fmt: skip
    assert not found.refused


def test_candidates_keep_to_the_budget_by_exact_count() -> None:
    networks = [network_of(w) for w in (11, 12, 2)]
    size = networks[0].cost.parameters
    assert set(ranked(networks, make_task(size))) == {networks[0], networks[2]}
    assert ranked(networks, make_task(size - 1)) == [networks[2]]


def test_every_refusal_is_counted_once_for_its_reason() -> None:
    task = make_task(10_000, space=make_task().space.__class__((1, 8, 8), 10, Limits(1, 9_000)))
    padded = of_layers(Convolution(1, 1), *[ReLU()] * 64)
    refused = {
        "the input network itself": [task.network],
        "no convolution": [of_layers(), of_layers(BatchNorm(), ReLU())],
        "beyond the budget": [network_of(16), network_of(17), network_of(40)],
        "beyond the limits of the space": [network_of(14), padded],
    }
    path = [candidate(a) for group in refused.values() for a in (*group, *group)]
    found = rank([*path, candidate(network_of(3))], task, objective_on())
    assert [c.architecture for c in found.ranked] == [network_of(3)]
    assert found.refused == {reason: len(group) for reason, group in refused.items()}


def test_a_path_without_any_usable_network_gives_no_candidate() -> None:
    found = rank([candidate(of_layers())], make_task(), objective_on())
    assert found.ranked == []
    assert found.refused == {"no convolution": 1}


@pytest.mark.parametrize("name", CONFIGURATIONS)
def test_candidates_are_ranked_by_what_they_encode_to_and_cost(name: str) -> None:
    """Not by the objective of the embedding that they were decoded from."""
    objective, networks = objective_on(name), [network_of(w) for w in (2, 5, 8, 11)]
    embedding = objective.embedding
    by_hand = []
    with torch.no_grad():
        for network in networks:
            accuracy = embedding.accuracy_regressor(embedding.encode([network]))
            exact = embedding.parameter_target.of(torch.tensor([network.cost.parameters]))
            by_hand.append(float(objective.combine(accuracy, exact)))
    assert reencoded_objective(networks, objective).tolist() == pytest.approx(by_hand, rel=1e-4)
    path = [candidate(n, objective=float(i)) for i, n in enumerate(networks)]
    order = sorted(range(4), key=by_hand.__getitem__)
    assert order != [0, 1, 2, 3]
    found = rank(path, make_task(), objective).ranked
    assert [c.architecture for c in found] == [networks[i] for i in order]


@pytest.mark.parametrize(
    ("limits", "allowed"),
    [
        (Limits(), True),
        (Limits(min_parameters=10_000), True),  # smaller than any sample is no fault
        (Limits(max_parameters=1_965), False),
        (Limits(max_macs=3_647), False),
        (Limits(max_activation_bytes=1_500), False),
    ],
)
def test_a_decoding_keeps_to_the_upper_limits_of_the_space(limits: Limits, allowed: bool) -> None:
    network = network_of(3)
    assert (network.cost.parameters, network.cost.macs) == (1_966, 3_648)
    assert network.cost.activation_bytes > 1_500
    task = make_task(space=make_task().space.__class__((1, 8, 8), 10, limits))
    assert ranked([network], task) == ([network] if allowed else [])
