"""The guided search as a whole, with accuracies that are written down and trees left out.

The regressor is the Gaussian process alone, and the readout is fitted to few networks: what the
others add is shown where they are tested.
"""

import json
import shutil
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from archpress.architectures.architecture import Architecture
from archpress.architectures.layers import Convolution, DepthwiseConvolution, Linear
from archpress.compression.budget import Budget
from archpress.compression.guided import knowledge
from archpress.compression.guided import search as searching
from archpress.compression.guided.proposals import Proposal
from archpress.compression.guided.search import GuidedSearch
from archpress.compression.run_folder import RunFolder
from archpress.compression.searched import Searched
from archpress.compression.settings import load_settings
from archpress.compression.task import CompressionTask, Resources
from archpress.embedding.autoencoder import Autoencoder
from archpress.embedding.readout import Readout
from archpress.embedding.vocabulary import why_inexpressible
from archpress.errors import ArchpressError, EmbeddingError
from archpress.evaluation.archive import Archive
from archpress.evaluation.record import Evaluation, Job
from archpress.files import read_json_lines
from archpress.prediction import choice
from archpress.prediction.cross_validation import CrossValidated
from archpress.prediction.gaussian_process import GaussianProcess
from tests.compression.guided.fitted import readout
from tests.compression.tasks import Scripted, TimedByLayers, label_of, make_task, network_of

READOUT = GuidedSearch.__dict__["readout"]
SMALL = {
    "start": 8, "rounds": 2, "warm_rounds": 1, "batch": 6, "starts": 2, "steps": 2,
    "contenders": 0, "gradient": 0.5, "mutation": 0.3, "minutes": 0.0,
}  # fmt: skip
FILES = ("known.json", "begun.json", "proposals.jsonl", "regressors.jsonl", "descent.jsonl")


@pytest.fixture(scope="module", autouse=True)
def quick() -> Iterator[None]:
    """Fewer fits, and the readout fitted once."""
    with pytest.MonkeyPatch.context() as patch:
        process = CrossValidated(GaussianProcess(), 3)
        patch.setattr(choice, "rivals", lambda: {"gaussian_process": process})
        patch.setattr(GuidedSearch, "readout", property(lambda self: readout()))
        yield


def digests(searched: Searched) -> set[str]:
    """The networks that a search asked for a label of, or knew."""
    return {label.architecture.digest for label in searched.asked}


class BySize(Scripted):
    """Labels that grow with size: 0.1 an octave, 0.9 from ``enough`` parameters on."""

    def __init__(self, task: CompressionTask, enough: int = 4_000, failing: int = 0) -> None:
        super().__init__(task.data)
        self.enough, self.failing = enough, failing

    def run(self, jobs: Sequence[Job], *told: Any) -> Iterator[Evaluation]:
        for job in jobs:
            self.jobs.append(job)
            if self.failing and len(self.jobs) % self.failing == 0:
                yield Evaluation.of(job, "failed", reason="it is written so")
                continue
            octaves = np.log2(job.architecture.cost.parameters / self.enough)
            accuracy = float(np.clip(0.9 + 0.1 * octaves, 0.1, 0.9))
            yield Evaluation.of(job, "ok", validation_accuracy=accuracy, losses=(1.0,))


@dataclass
class Run:
    """What a search came to."""

    searched: Searched
    stage: GuidedSearch
    folder: Path
    jobs: list[Job]

    @property
    def proposals(self) -> list[dict[str, Any]]:
        return read_json_lines(self.folder / "proposals.jsonl")

    def sources(self, number: int) -> Counter[str]:
        return Counter(row["source"] for row in self.proposals if row["round"] == number)

    def files(self) -> list[bytes]:
        return [(self.folder / name).read_bytes() for name in FILES]


@pytest.fixture
def archive(tmp_path: Path) -> Iterator[Archive]:
    with Archive(tmp_path / "archive.sqlite") as archive:
        yield archive


def stage_in(
    home: Path, archive: Archive, task: CompressionTask, executor: Scripted, **flags: float
) -> GuidedSearch:
    dotted = {f"guided.{name}": value for name, value in {**SMALL, **flags}.items()}
    dotted["seed"] = dotted.pop("guided.seed", 0)
    settings = load_settings("demo", flags=dotted)
    folder = RunFolder(home / "run", settings, resume=True)
    folder.close()
    return GuidedSearch(settings, task, Resources(archive, executor, home / "run"), folder)


def run(
    home: Path,
    task: CompressionTask | None = None,
    executor: Scripted | None = None,
    **flags: float,
) -> Run:
    """A search in a folder of its own, or continued there."""
    task = task or make_task()
    executor = executor or BySize(task)
    with Archive(home / "archive.sqlite") as archive:
        stage = stage_in(home, archive, task, executor, **flags)
        return Run(stage.run(), stage, home / "run", executor.jobs)


@pytest.fixture(scope="module")
def plain(tmp_path_factory: pytest.TempPathFactory) -> Run:
    """A search that nothing disturbed; copy its folder before changing it."""
    return run(tmp_path_factory.mktemp("plain"))


def copied(plain: Run, home: Path) -> Path:
    shutil.copytree(plain.folder.parent, home, dirs_exist_ok=True)
    return home


# ------------------------------------------------------------------ a whole search


def test_as_many_labels_are_made_as_the_settings_say(plain: Run) -> None:
    assert len(plain.jobs) == len(digests(plain.searched)) == len(plain.proposals) == 20
    assert Counter(row["round"] for row in plain.proposals) == {0: 8, 1: 6, 2: 6}
    assert {job.recipe for job in plain.jobs} == {make_task().label_recipe}
    assert {job.architecture.digest for job in plain.jobs} == digests(plain.searched)


def test_sources_have_their_shares_of_every_batch(plain: Run) -> None:
    assert plain.sources(0) == {"start": 8}
    for number in (1, 2):
        assert plain.sources(number) == {"gradient": 3, "mutation": 2, "random": 1}


def test_all_that_is_labelled_is_new_and_within_the_budget(plain: Run) -> None:
    task = make_task()
    networks = [Proposal.from_json(row).network for row in plain.proposals]
    assert len(set(networks)) == len(networks)
    assert all(task.affords(network) for network in networks)
    assert task.network not in networks
    assert networks[0].cost.parameters > 0.95 * 7_562  # the input network, thinned


def test_labels_get_better_by_the_rounds(plain: Run) -> None:
    accuracies = {x.architecture.digest: x.accuracy or 0 for x in plain.stage.known.usable}

    def mean(number: int, *sources: str) -> float:
        rows = [r for r in plain.proposals if r["round"] == number and r["source"] in sources]
        return float(np.mean([accuracies[row["architecture"]] for row in rows]))

    assert mean(2, "gradient", "mutation") > mean(0, "start") + 0.05


def test_what_is_proposed_has_a_value_and_an_origin(plain: Run) -> None:
    starts = {row["origin"] for row in read_json_lines(plain.folder / "descent.jsonl")}
    for row in plain.proposals:
        if row["source"] in ("start", "random"):
            assert row["step"] == 0
        elif row["source"] == "gradient":
            assert row["origin"] in starts and row["step"] in (0, 1, 2)
    drawn = [row["origin"] for row in plain.proposals if row["source"] in ("start", "random")]
    assert drawn == [make_task().network.digest, *[""] * (len(drawn) - 1)]


def test_descents_and_regressors_are_written_down(plain: Run) -> None:
    regressors = read_json_lines(plain.folder / "regressors.jsonl")
    assert [(row["round"], row["labels"]) for row in regressors] == [(1, 8), (2, 14)]
    rows = read_json_lines(plain.folder / "descent.jsonl")
    assert {row["round"] for row in rows} == {1, 2}
    assert {row["start"] for row in rows} == {0, 1}
    assert all(row["parameters"] <= 7_562 and row["stopped"] for row in rows)
    gradient = {r["architecture"] for r in plain.proposals if r["source"] == "gradient"}
    assert gradient <= {row["architecture"] for row in rows}


def test_finalists_are_labelled_networks_and_their_origins_are_told(plain: Run) -> None:
    (finalist,) = plain.searched.finalists
    assert finalist.architecture.digest in digests(plain.searched)
    assert set(plain.searched.origins) == set(digests(plain.searched))
    measured = [label.accuracy or 0 for label in plain.stage.known.usable]
    own = {x.architecture.digest: x.accuracy for x in plain.stage.known.usable}
    assert (own[finalist.architecture.digest] or 0) >= np.quantile(measured, 0.7)


def test_the_time_of_every_stage_is_kept(plain: Run) -> None:
    stages = [row["stage"] for row in read_json_lines(plain.folder / "ledger.jsonl")]
    assert stages == ["label", *["search", "label"] * 3, "search", "contest"]


def test_of_very_many_known_labels_a_part_is_learned_from_and_all_may_be_chosen(
    plain: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    home = copied(plain, tmp_path / "known")
    shutil.rmtree(home / "run")
    monkeypatch.setattr(knowledge, "MOST_KNOWN", 12)
    few = run(home)
    (regressors,) = read_json_lines(few.folder / "regressors.jsonl")
    assert regressors["labels"] == 12
    assert len(few.stage.known.labels) == 20 + 6
    judged = few.stage.judged()
    assert {label.architecture.digest for label in judged} == set(few.stage.known.labels)
    left_out = set(few.stage.known.labels) - {
        label.architecture.digest for label in few.stage.known.learned(few.stage.task)
    }
    assert len(left_out) == 8
    given = {x.architecture.digest: x.accuracy or 0 for x in few.stage.known.usable}
    drawn = {x.architecture.digest: x.accuracy or 0 for x in judged}
    errors = [abs(drawn[digest] - given[digest]) for digest in left_out]
    assert 0 < max(errors) < 0.1, "drawn toward what is expected, which here is nearly right"


# ------------------------------------------------------------------ again, and continued


def test_the_same_seed_proposes_the_same(plain: Run, tmp_path: Path) -> None:
    again = run(tmp_path)
    assert again.files() == plain.files()
    assert again.searched == plain.searched


def test_another_seed_proposes_others(plain: Run, tmp_path: Path) -> None:
    other = run(tmp_path, seed=1, rounds=1)
    ours = {row["architecture"] for row in plain.proposals}
    theirs = {row["architecture"] for row in other.proposals}
    assert len(ours & theirs) <= 2  # the input network thinned to the budget is one


@pytest.mark.parametrize("rounds", [0, 1])
def test_a_search_that_was_stopped_goes_on_as_if_it_had_not_been(
    plain: Run, tmp_path: Path, rounds: int
) -> None:
    """The archive knows all labels by then; what was not proposed yet is no knowledge."""
    home = copied(plain, tmp_path)
    for name in FILES[2:]:
        lines = (home / "run" / name).read_text().splitlines(keepends=True)
        kept = [line for line in lines if json.loads(line)["round"] <= rounds]
        (home / "run" / name).write_text("".join(kept))
    resumed = run(home)
    assert resumed.files() == plain.files()
    assert resumed.searched == plain.searched
    assert not resumed.jobs


def test_proposals_of_a_round_that_was_begun_are_kept(plain: Run, tmp_path: Path) -> None:
    """Also where they would be others now."""
    home = copied(plain, tmp_path)
    path = home / "run" / "proposals.jsonl"
    rows = [row for row in plain.proposals if row["round"] < 2]
    rows.append({"round": 2, **Proposal(network_of(5), "random").to_json()})
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    resumed = run(home)
    assert resumed.proposals == rows
    assert [job.architecture for job in resumed.jobs] == [network_of(5)]


def test_an_archive_that_knows_enough_makes_the_start_unnecessary(
    plain: Run, tmp_path: Path
) -> None:
    shutil.copy(plain.folder.parent / "archive.sqlite", tmp_path)
    later = run(tmp_path)
    assert later.sources(0) == {}
    assert later.sources(1) == {"gradient": 3, "mutation": 2, "random": 1}
    assert not {row["architecture"] for row in later.proposals} & digests(plain.searched)
    assert len(later.jobs) == 6
    (row,) = read_json_lines(later.folder / "regressors.jsonl")
    assert row["labels"] == 20


@pytest.mark.parametrize("seed", [0, 1])
def test_an_archive_that_knows_some_leaves_the_rest_to_label(
    plain: Run, tmp_path: Path, seed: int
) -> None:
    shutil.copy(plain.folder.parent / "archive.sqlite", tmp_path)
    with Archive(tmp_path / "archive.sqlite") as archive:
        task = make_task()
        stage = stage_in(tmp_path, archive, task, BySize(task), start=23, seed=seed)
        stage.prepare()
        stage.start()
    rows = read_json_lines(tmp_path / "run" / "proposals.jsonl")
    assert 2 <= len(rows) <= 3  # the thinned input network is known
    assert not {row["architecture"] for row in rows} & digests(plain.searched)


# ------------------------------------------------------------------ bounds of time, size, latency


def test_no_round_begins_after_the_minutes(tmp_path: Path) -> None:
    short = run(tmp_path, minutes=1e-9)
    assert len(short.jobs) == 8
    assert short.sources(1) == {}
    assert len(short.searched.finalists) == 1


@pytest.mark.parametrize(
    ("label", "search", "in_time"),
    [(0, 599, True), (0, 601, False), (400, 190, True), (400, 210, False)],
)
def test_the_minutes_are_of_labels_and_search_earlier_parts_included(
    archive: Archive, label: float, search: float, in_time: bool
) -> None:
    stage = stage_in(archive.path.parent, archive, make_task(), BySize(make_task()), minutes=10)
    rows = [("label", label), ("search", search), ("final training", 9_999.0)]
    lines = [json.dumps({"stage": name, "seconds": seconds}) for name, seconds in rows]
    stage.folder.write_text("ledger.jsonl", "\n".join(lines) + "\n")
    assert stage.in_time == in_time


def test_rounds_that_were_made_count_when_time_is_over(plain: Run, tmp_path: Path) -> None:
    home = copied(plain, tmp_path)
    with (home / "run" / "ledger.jsonl").open("a") as file:
        file.write('{"stage": "search", "seconds": 60000}\n')
    task = make_task()
    with Archive(home / "archive.sqlite") as archive:
        stage = stage_in(home, archive, task, BySize(task))
        stage.settings = stage.settings.model_copy(update={"minutes": 1_000.0})
        assert stage.run() == plain.searched


def test_a_drop_asks_for_smaller_networks_round_by_round(tmp_path: Path) -> None:
    """0.85 is within 0.05 of the input network's 0.9; it takes some 2,830 parameters."""
    task = make_task(Budget(), max_accuracy_drop=0.05)
    found = run(tmp_path, task, rounds=4, batch=4, mutation=0.25)
    assert found.stage.reference == pytest.approx(0.9)
    assert task.network in {job.architecture for job in found.jobs}
    assert task.network.digest in digests(found.searched)
    bounds = found.stage.bounds
    assert len(bounds) == 4
    assert bounds[0] < 75_626  # the start had some within the drop
    for number, bound in enumerate(bounds, 1):
        sizes = [row["parameters"] for row in found.proposals if row["round"] == number]
        assert max(sizes) <= bound
    (finalist,) = found.searched.finalists
    least = 4_000 * 2**-0.5
    assert finalist.parameters < 2 * least
    within = [x for x in found.stage.known.usable if (x.accuracy or 0) >= 0.85 - 1e-9]
    assert all(label.parameters >= least for label in within)


def test_a_bound_of_latency_is_kept(tmp_path: Path) -> None:
    task = make_task(Budget(latency_ms=0.9), latency=TimedByLayers())
    found = run(tmp_path, task, rounds=1)
    networks = [Proposal.from_json(row).network for row in found.proposals]
    assert len(networks) >= 12
    assert max(len(network.layers) for network in networks) <= 9


def test_without_any_bound_size_counts(tmp_path: Path) -> None:
    task = make_task(Budget(weight=20.0))
    found = run(tmp_path, task, rounds=1)
    known = found.stage.known.usable
    smaller = sum(x.parameters < found.searched.finalists[0].parameters for x in known)
    assert smaller < len(known) / 2


# ------------------------------------------------------------------ what may go wrong


def test_networks_that_fail_teach_nothing_and_are_not_tried_again(tmp_path: Path) -> None:
    task = make_task()
    found = run(tmp_path, task, BySize(task, failing=3))
    assert len(found.jobs) == len({job.key for job in found.jobs}) == 20
    assert len(found.stage.known.usable) == 14
    rows = read_json_lines(found.folder / "regressors.jsonl")
    assert [row["labels"] for row in rows] == [6, 10]


def test_equal_labels_are_searched_through(tmp_path: Path) -> None:
    task = make_task()
    found = run(tmp_path, task, Scripted(task.data), rounds=1)
    assert len(found.jobs) == 14
    assert found.searched.finalists[0].accuracy == pytest.approx(0.5, abs=1e-6)


def test_an_input_network_that_the_embedding_cannot_express_is_searched(tmp_path: Path) -> None:
    deep = (*[DepthwiseConvolution(1) for _ in range(70)], Convolution(60, 3, 1, 1), Linear(10))
    task = make_task(network=Architecture((1, 8, 8), deep))
    assert why_inexpressible(task.network)
    found = run(tmp_path, task, rounds=1)
    assert found.sources(1)["gradient"] == 3


def test_too_few_labels_are_refused(tmp_path: Path) -> None:
    with pytest.raises(EmbeddingError, match="4 labels are too few to learn from"):
        run(tmp_path, start=4)


@pytest.mark.parametrize("flags", [{"start": 0}, {}])
def test_no_label_at_all_is_refused(tmp_path: Path, flags: dict[str, float]) -> None:
    task = make_task()
    with pytest.raises(ArchpressError):
        run(tmp_path, task, BySize(task, failing=1), **flags)


# ------------------------------------------------------------------ parts


@pytest.mark.parametrize("drop", [None, 0.05])
def test_without_a_bound_the_input_network_is_a_start_as_well(
    archive: Archive, drop: float | None
) -> None:
    task = make_task(Budget(), max_accuracy_drop=drop)
    stage = stage_in(archive.path.parent, archive, task, BySize(task))
    kinds = [layer.kind for layer in task.network.layers]
    start = stage._stratified(8)
    assert [layer.kind for layer in start[0].network.layers] == kinds


def test_a_lucky_label_loses_half_of_its_luck(archive: Archive) -> None:
    networks = [network_of(width) for width in range(2, 12)]
    task = make_task()
    stage = stage_in(archive.path.parent, archive, task, BySize(task))
    values = {network_of(w).digest: 0.3 + 0.02 * w for w in range(2, 12)}
    values[network_of(3).digest] = 0.9
    stage.known.labels = {n.digest: label_of(n, values[n.digest]) for n in networks}
    ranked = stage.judged()
    found = {label.architecture: label.accuracy or 0.0 for label in ranked}
    assert set(found) == set(networks)
    assert 0.45 < found[network_of(3)] < 0.85
    assert list(found.values()) == sorted(found.values(), reverse=True)


def test_the_readout_is_of_networks_such_as_the_budget_allows(
    archive: Archive, monkeypatch: pytest.MonkeyPatch
) -> None:
    seen: list[Architecture] = []

    def fit(model: Autoencoder, networks: list[Architecture], seed: int) -> Readout:
        seen.extend(networks)
        return readout()

    monkeypatch.setattr(searching, "READ", 30)
    monkeypatch.setattr(searching, "FEWEST_READ", 30)
    monkeypatch.setattr(searching, "fit_readout", fit)
    stage = stage_in(archive.path.parent, archive, make_task(), BySize(make_task()))
    assert READOUT.func(stage) is readout()
    assert len(set(seen)) == 30
    assert all(stage.task.affords(network) for network in seen)
