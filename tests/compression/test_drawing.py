"""Networks drawn within the budget, and small changes of networks."""

import pytest

from archpress.architectures.simplification import idle_layers
from archpress.architectures.spaces import BlocksSpace, Limits
from archpress.compression import drawing
from archpress.compression.admission import filled
from archpress.compression.drawing import changes_of, drawn_within
from archpress.compression.task import CompressionTask
from tests.compression.tasks import BOUNDED as TASKS
from tests.compression.tasks import make_task
from tests.small_networks import generator


@pytest.mark.parametrize("task", TASKS.values(), ids=TASKS)
def test_random_networks_are_distinct_canonical_and_within_the_budget(
    task: CompressionTask,
) -> None:
    networks = drawn_within(task, 12, generator(0))
    assert len(set(networks)) == len(networks) == 12
    assert all(task.affords(network) for network in networks)
    assert not any(idle_layers(network) for network in networks)
    assert networks == drawn_within(task, 12, generator(0))


def test_random_networks_that_are_taken_are_made_up_for() -> None:
    taken = set(drawn_within(make_task(), 6, generator(0)))
    found = drawn_within(make_task(), 6, generator(0), taken.__contains__)
    assert len(found) == 6
    assert taken.isdisjoint(found)


def test_a_small_space_gives_what_it_has(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(drawing, "BARREN", 2)  # patience takes seconds
    space = BlocksSpace((1, 8, 8), 10, Limits(1, 75_626), blocks=("plain",), max_blocks=1)
    found = drawn_within(make_task(250, space=space), 300, generator(0))
    assert 20 < len(set(found)) == len(found) < 300


def test_no_random_network_takes_no_random_number() -> None:
    random = generator(0)
    before = random.get_state()
    assert drawn_within(make_task(), 0, random) == []
    assert (random.get_state() == before).all()


def test_changes_are_as_many_as_are_drawn_at_most_and_none_where_none_is_admitted() -> None:
    task = TASKS["parameters"]
    (network,) = drawn_within(task, 1, generator(3))
    found = changes_of(network, task, lambda n: filled(n, task), generator(0), 20)
    assert 5 < len(found) == len(set(found)) <= 20
    assert all(task.affords(changed) for changed in found)
    assert changes_of(network, task, lambda n: None, generator(0), 20) == []
