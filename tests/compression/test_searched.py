"""What a search has cost: the labels that it asked for, and its contest."""

from archpress.compression.contest import Contest
from archpress.compression.searched import Searched
from archpress.evaluation.record import Evaluation, Job, Label
from tests.compression.tasks import FINAL, LABEL, network_of


def run(width: int, seed: int = 0, epochs: int = 3, recipe: object = LABEL) -> Evaluation:
    job = Job(network_of(width), recipe, seed, "data")  # type: ignore[arg-type]
    return Evaluation.of(job, "ok", validation_accuracy=0.5, losses=(1.0,) * epochs)


def found(asked: list[Label], contested: list[Label] | None = None) -> Searched:
    return Searched(Contest([], contested or []), asked)


def test_runs_of_labels_and_contest_count_each_once() -> None:
    asked = [Label.of([run(1), run(1, seed=1)]), Label.of([run(2)])]
    contested = [Label.of([run(1, epochs=9, recipe=FINAL)])]
    assert found(asked).spent() == (2, 3 * 3)
    assert found(asked, contested).spent() == (2, 3 * 3 + 9)
    assert found([*asked, *asked], contested).spent() == (2, 3 * 3 + 9)
    same_recipe = [Label.of([run(1), run(1, seed=1)])]
    assert found(asked, same_recipe).spent() == (2, 3 * 3)


def test_what_was_known_costs_nothing() -> None:
    first, second, third = run(1), run(1, seed=1), run(2)
    asked = [Label.of([first, second]), Label.of([third])]
    assert found(asked).spent({first.key}) == (2, 6)
    assert found(asked).spent({first.key, second.key}) == (1, 3)
    assert found(asked).spent({first.key, second.key, third.key}) == (0, 0)


def test_a_contest_of_known_networks_costs_epochs_and_no_label() -> None:
    known = run(1)
    contest = [Label.of([run(1, epochs=9, recipe=FINAL)])]
    assert found([Label.of([known])], contest).spent({known.key}) == (0, 9)


def test_a_search_that_could_label_nothing_has_spent_nothing() -> None:
    assert found([Label(network_of(1), None, None, ())]).spent() == (0, 0)
