"""A round of proposals: where descents start, and what a batch is made of."""

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
import pytest
from numpy.typing import NDArray

from archpress.architectures.architecture import Architecture
from archpress.architectures.layers import Convolution, DepthwiseConvolution, Linear
from archpress.architectures.simplification import simplify
from archpress.compression.admission import filled
from archpress.compression.budget import Budget
from archpress.compression.guided.knowledge import Knowledge
from archpress.compression.guided.proposals import Proposal
from archpress.compression.guided.proposing import Proposer
from archpress.compression.guided.settings import GuidedSettings
from archpress.compression.task import CompressionTask
from archpress.embedding.pretrained import shipped
from archpress.embedding.vocabulary import why_inexpressible
from archpress.prediction.choice import Chosen
from archpress.prediction.stacking import FittedStack
from archpress.prediction.surrogate import Surrogate
from tests.compression.guided.fitted import readout, sampled, slopes
from tests.compression.tasks import label_of, make_task, network_of
from tests.small_networks import generator


@dataclass(frozen=True)
class BySize(Surrogate):
    """Thinks a network the better, the more parameters it has; in millions."""

    def lower_bounds(self, networks: Sequence[Architecture], caution: float) -> NDArray[np.float64]:
        return np.array([network.cost.parameters / 1e6 - caution for network in networks])


def proposer(
    known: Sequence[Architecture] = (), task: CompressionTask | None = None, **flags: float
) -> Proposer:
    fitted = slopes()
    judge = Chosen(fitted.scale, FittedStack({}, {}, {}, 1.0, fitted.held_out))
    return Proposer(
        GuidedSettings(**{"starts": 3, "steps": 1, "batch": 6, **flags}),  # type: ignore[arg-type]
        task or make_task(),
        Knowledge({network.digest: label_of(network, 0.5) for network in known}),
        BySize(judge, fitted, len(known)),
        shipped(),
        readout(),
    )


def widths(*of: int) -> list[Architecture]:
    return [network_of(width) for width in of]


def test_descents_start_at_the_input_network_and_at_what_is_thought_best() -> None:
    task = make_task(network_of(4).cost.parameters)
    found = list(proposer([*sampled()[:6], *widths(2)], task).starts())
    assert len(found) == 3
    own = task.network
    assert [layer.kind for layer in found[0].layers] == [layer.kind for layer in own.layers]
    within = [network for network in (*sampled()[:6], *widths(2)) if task.affords(network)]
    best = max(within, key=lambda network: network.cost.parameters)
    assert found[1] == filled(simplify(best), task)
    assert all(task.affords(network) for network in found)


def test_starts_that_become_one_network_count_once() -> None:
    """All are one convolution, as wide as the budget allows: 11 channels or a few less."""
    found = list(proposer(widths(5, 7, 11), starts=9).starts())
    assert found[1:] == widths(11)


def test_what_the_embedding_cannot_express_is_no_start_and_is_not_admitted() -> None:
    deep = (*[DepthwiseConvolution(1) for _ in range(70)], Convolution(60, 3, 1, 1), Linear(10))
    network = Architecture((1, 8, 8), deep)
    assert why_inexpressible(network)
    found = proposer(widths(11), make_task(network=network))
    assert found.admit(network) is None
    assert list(found.starts()) == widths(11)


def test_without_a_start_all_is_drawn_at_random() -> None:
    deep = (*[DepthwiseConvolution(1) for _ in range(70)], Convolution(60, 3, 1, 1), Linear(10))
    task = make_task(network=Architecture((1, 8, 8), deep))
    found = proposer([], task).propose(generator(0))
    assert found.descent is None and found.starts == {}
    assert {proposal.source for proposal in found.batch} == {"random"}


@pytest.mark.parametrize(
    ("gradient", "mutation", "expected"),
    [
        (0.5, 0.3, {"gradient": 3, "mutation": 2, "random": 1}),
        (0.0, 0.5, {"mutation": 3, "random": 3}),
        (1.0, 0.0, {"gradient": 6}),
        (0.0, 0.0, {"random": 6}),
    ],
)
def test_every_source_has_its_share(
    gradient: float, mutation: float, expected: dict[str, int]
) -> None:
    known = sampled()[:9]
    found = proposer(known, gradient=gradient, mutation=mutation)
    batch = found.propose(generator(0)).batch
    assert Counter(proposal.source for proposal in batch) == expected
    networks = [proposal.network for proposal in batch]
    assert len({*networks, *known}) == 6 + len(known)
    assert [p.value for p in batch] == pytest.approx(found.judge(networks).tolist())


def test_the_judge_is_the_lower_bound_and_without_a_bound_size_counts() -> None:
    bounded = proposer(caution=0.25).judge(widths(2, 5))
    sizes = np.array([network.cost.parameters for network in widths(2, 5)])
    assert bounded == pytest.approx(sizes / 1e6 - 0.25)
    free = proposer(task=make_task(Budget(weight=3.0)), caution=0.25).judge(widths(2, 5))
    assert free == pytest.approx(bounded - 1 - 3 * sizes / make_task().network.cost.parameters)


def test_what_a_source_lacks_is_drawn_at_random() -> None:
    changed = [Proposal(network, "mutation", "o", 1.0) for network in widths(2, 3)]
    batch = proposer(widths(2))._batch([], changed, generator(1))
    sources = Counter(proposal.source for proposal in batch)
    assert sources == {"mutation": 1, "random": 5}  # one was labelled before


def test_a_network_that_two_sources_propose_counts_once() -> None:
    downhill = [Proposal(n, "gradient", "o", float(v)) for v, n in enumerate(sampled()[:2])]
    changed = [replace(proposal, source="mutation") for proposal in downhill]
    batch = proposer(batch=4)._batch(downhill, changed, generator(1))
    assert Counter(p.source for p in batch) == {"gradient": 2, "random": 2}


@pytest.mark.parametrize(("gradient", "mutation", "size"), [(0.5, 0.5, 3), (0.7, 0.3, 4)])
def test_a_batch_is_never_exceeded(gradient: float, mutation: float, size: int) -> None:
    downhill = [Proposal(network, "gradient") for network in sampled()[:9]]
    changed = [Proposal(network, "mutation") for network in sampled()[9:18]]
    found = proposer(batch=size, gradient=gradient, mutation=mutation)
    assert len(found._batch(downhill, changed, generator(1))) == size


def test_the_input_network_is_a_start_where_it_is_within_the_bounds() -> None:
    """As in the first rounds towards a small accuracy drop."""
    task = make_task(75_626)
    kinds = [layer.kind for layer in task.network.layers]
    found = proposer(sampled()[:5], task, starts=9).starts()
    assert kinds in [[layer.kind for layer in network.layers] for network in found]
