"""Stages of the pipeline that a whole run does not show in full."""

import json
from collections.abc import Iterator
from pathlib import Path

import pytest

from archpress.architectures.architecture import Architecture
from archpress.architectures.layers import Linear, ReLU
from archpress.architectures.spaces import Sample
from archpress.compression.budget import Budget
from archpress.compression.joint.candidates import Candidate, Candidates
from archpress.compression.joint.population import sampling_record
from archpress.compression.joint.search import JointSearch, Search, examples
from archpress.compression.run_folder import RunFolder
from archpress.compression.settings import RunSettings, load_settings
from archpress.compression.task import CompressionTask, Resources
from archpress.evaluation.archive import Archive
from tests.compression.tasks import Scripted, label_of, make_task, network_of

LONG = Architecture((1, 8, 8), (*[ReLU()] * 64, Linear(10)))


@pytest.fixture
def archive(tmp_path: Path) -> Iterator[Archive]:
    with Archive(tmp_path / "archive.sqlite") as archive:
        yield archive


def pipeline(archive: Archive, task: CompressionTask | None = None, **flags: object) -> JointSearch:
    dotted = {f"search.{name}": value for name, value in flags.items()}
    settings: RunSettings = load_settings("demo", flags={**dotted, "space.networks": 10})
    task = task or make_task()
    path = archive.path.parent / "run"
    folder = RunFolder(path, settings)
    folder.close()
    return JointSearch(settings, task, Resources(archive, Scripted(task.data), path), folder)


def candidate(network: Architecture, step: int = 0, start: int = 0) -> Candidate:
    return Candidate(network, 0, "origin", start, step, (), 0.0, 0.5, 1_000.0, "")


def test_the_best_new_candidates_are_labelled(archive: Archive) -> None:
    ranked = [candidate(network_of(width)) for width in (5, 3, 4, 2)]
    search = Search({network_of(5).digest: label_of(network_of(5), 0.5)})
    stage = pipeline(archive, candidates=2)
    assert stage._to_label(Candidates(ranked, {}), search) == ranked[1:3]  # type: ignore[arg-type]


def test_the_labelled_path_is_that_of_the_input_network_in_the_first_round(
    archive: Archive,
) -> None:
    """Each decoding where it was met first, and only what the embedding can read again."""
    wanted = [candidate(network_of(3), step=0), candidate(network_of(4), step=2)]
    others = [
        candidate(network_of(3), step=1),  # met before
        candidate(LONG, step=1),  # 65 layers
        candidate(network_of(6), step=3),  # beyond the steps wanted
        candidate(network_of(7), step=1, start=1),  # from another start
    ]
    search = Search({}, path=[(0, c) for c in (*wanted, *others)])
    search.path.append((1, candidate(network_of(8), step=0)))
    stage = pipeline(archive, label_path=2)
    stage.label = lambda networks, name: [label_of(network, 0.5) for network in networks]  # type: ignore[method-assign, assignment]
    assert [c for c, _ in stage._measure_path(search)] == wanted
    stage.settings = load_settings("demo", flags={"search.label_path": 0})
    assert stage._measure_path(search) == []


def test_descents_start_at_the_input_network_and_the_best_labelled_ones(archive: Archive) -> None:
    accuracies = {2: 0.5, 3: 0.9, 4: 0.7, 5: 0.8, 12: 1.0}  # the last is beyond the budget
    labels = [label_of(network_of(width), a) for width, a in accuracies.items()]
    stage = pipeline(archive, starts=3)
    search = Search({label.architecture.digest: label for label in labels})
    assert stage._starts(search) == [stage.task.network, network_of(3), network_of(5)]
    stage.settings = load_settings("demo", flags={"search.starts": 1})
    assert stage._starts(search) == [stage.task.network]


@pytest.mark.parametrize(("labelled", "widths"), [(True, [3, 5]), (False, [5, 4])])
def test_finalists_are_the_best_of_all_or_of_the_decoded_ones(
    labelled: bool, widths: list[int], archive: Archive
) -> None:
    labels = [label_of(network_of(w), a) for w, a in {2: 0.5, 3: 0.9, 4: 0.7, 5: 0.8}.items()]
    search = Search({label.architecture.digest: label for label in labels})
    search.found = {network_of(w).digest: candidate(network_of(w)) for w in (2, 4, 5)}
    stage = pipeline(archive, make_task(finalists=2), consider_labelled=labelled)
    finalists = [label.architecture for label in stage.finalists(search)]
    assert finalists == [network_of(width) for width in widths]


def test_the_population_is_drawn_once_and_kept(archive: Archive) -> None:
    stage = pipeline(archive)
    first = stage.sample()
    assert len(first) == 10
    assert all(stage.task.space.limits.violation(network.cost) is None for network in first)
    path = stage.folder.path / "architectures.jsonl"
    lines = path.read_text().splitlines()
    path.write_text("\n".join(lines[:4]) + "\n")
    assert stage.sample() == first[:4]


def test_a_sample_is_recorded_with_what_it_took() -> None:
    sample = Sample([network_of(2)], drawn=4)
    sample.rejected["too many MACs"] += 3
    sample.repaired["a rule"] += 1
    assert json.loads(json.dumps(sampling_record(sample))) == {
        "accepted": 1, "drawn": 4, "rejected": {"too many MACs": 3}, "repaired": {"a rule": 1}
    }  # fmt: skip


def test_what_could_not_be_trained_teaches_nothing_and_a_zero_does() -> None:
    found = examples([label_of(network_of(2), None), label_of(network_of(3), 0.0)])
    assert [(e.architecture, e.accuracy) for e in found] == [(network_of(3), 0.0)]


def test_half_of_the_population_is_within_bounds_that_the_space_does_not_stratify(
    archive: Archive,
) -> None:
    budget = Budget(macs=40_000, activation_bytes=3_000)
    stage = pipeline(archive, make_task(budget=budget))
    networks = stage.sample()
    assert [budget.allows(network) for network in networks[:5]] == [True] * 5
    assert len(set(networks)) == 10
    assert stage.sample() == networks


def test_the_descent_aims_at_the_size_of_what_is_within_the_other_bounds(archive: Archive) -> None:
    labels = [label_of(network_of(width), 0.5) for width in (2, 3, 4, 11)]
    search = Search({label.architecture.digest: label for label in labels})
    macs = network_of(4).cost.macs
    stage = pipeline(archive)
    for budget, target in (
        (Budget(7_562), 7_562),
        (Budget(), 0),
        (Budget(macs=macs), network_of(3).cost.parameters),
        (Budget(5_000, macs=macs), 5_000),
        (Budget(macs=1), 0),
    ):
        stage.task = make_task(budget=budget)
        assert stage._target(search) == target
