"""Whole runs in their folders: what they leave behind, stopped and repeated."""

import json
import shutil
import tomllib
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import pytest
import tomli_w
import torch
from safetensors.torch import load_file
from torch import Tensor

import archpress
from archpress.architectures.architecture import Architecture
from archpress.architectures.file_size import weights_file_bytes
from archpress.architectures.layers import Convolution, Linear, Tanh
from archpress.architectures.references import digits_cnn
from archpress.architectures.simplification import simplify
from archpress.baselines import NAMES, find_baseline
from archpress.compression import runs
from archpress.compression.budget import Budget
from archpress.compression.guided.proposals import Proposal
from archpress.compression.preparation import load_data, prepare
from archpress.compression.result import CompressionResult
from archpress.compression.run_folder import RunFolder, read_json_lines, read_settings
from archpress.compression.runs import compress_in, rival_in
from archpress.compression.settings import RunSettings, load_settings
from archpress.datasets.dataset import DataSet
from archpress.embedding.model import Embedding
from archpress.errors import ArchiveError, ArchpressError, BudgetError, RunFolderError
from archpress.evaluation.archive import Archive
from archpress.evaluation.executors import InProcess
from archpress.evaluation.record import Evaluation
from archpress.importing.networks import FoundNetwork
from archpress.reporting.run_view import RunView
from archpress.training.augmentation import input_scaling
from archpress.training.latency import Conditions, Timing
from archpress.training.scoring import accuracy
from tests.compression.tasks import Scripted, tiny_data, watched
from tests.tiny_runs import small_readout

BUDGET = 75_626 * 30 // 100
FEW = ("random_search", "surrogate_local_search", "width_scaling", "compound_scaling")
"""Rivals that train little; the contract suite has all of them."""
TINY = {
    "network": "digits-cnn",
    "data.name": "digits",
    "space.blocks": ["plain"],
    "label.epochs": 1, "label.images": 128, "label.seeds": 1,
    "search.target_parameters": "30%",
    "guided.start": 6, "guided.rounds": 2, "guided.batch": 3, "guided.starts": 3,
    "guided.steps": 3, "guided.contenders": 3, "guided.contender_epochs": 2,
    "final.epochs": 3, "final.images": 512, "final.seeds": 2, "final.finalists": 2,
    "execution.workers": 1, "execution.precision": "float32", "execution.onnx": False,
}  # fmt: skip
JOINT = {
    "search.method": "joint",
    "space.networks": 10,
    "embedding.size": 8, "embedding.channels": 8, "embedding.hidden": 16,
    "embedding.iterations": 60, "embedding.batch_size": 16, "embedding.unlabelled": 30,
    "embedding.learning_rate": 0.006,
    "search.steps": 6, "search.starts": 3,
    "search.candidates": 3, "search.rounds": 2, "search.fine_tune_iterations": 5,
}  # fmt: skip
LABELLING = (
    "random_search", "whole_space_random_search", "local_search", "surrogate_local_search",
    "evolution", "surrogate_evolution", "reinforcement",
)  # fmt: skip
"""The rivals that label networks."""
PAPER = {
    **TINY,
    **{name: value for name, value in JOINT.items() if name != "search.method"},
    "embedding.iterations": 20, "embedding.unlabelled": 0, "embedding.learning_rate": 0.02,
    "search.target_parameters": 0,
    "search.starts": 1, "search.rounds": 1, "search.fine_tune_iterations": 0,
    "space.max_macs": "20%", "final.images": 128, "final.seeds": 1, "final.finalists": 1,
}  # fmt: skip


METHODS = ("guided", "joint")
LABELS = 6 + 2 * 3
"""What the guided search labels: its start, and two batches."""

WRITTEN = {
    "guided": (
        "known.json", "begun.json", "proposals.jsonl", "regressors.jsonl", "descent.jsonl",
        "candidates.jsonl",
    ),
    "joint": (
        "known.json", "architectures.jsonl", "fit.jsonl", "descent.jsonl", "candidates.jsonl"
    ),
}  # fmt: skip
"""What a search writes that depends on nothing but the settings."""


@pytest.fixture(autouse=True, scope="module")
def one_thread() -> Iterator[None]:
    """Sums of several threads are not the same bit for bit."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)


@pytest.fixture(autouse=True, scope="module")
def quick() -> Iterator[None]:
    with small_readout():
        yield


def tiny_settings(method: str = "guided", **changes: Any) -> RunSettings:
    flags = {name.replace("__", "."): value for name, value in changes.items()}
    return load_settings("demo", flags={**TINY, **(JOINT if method == "joint" else {}), **flags})


@dataclass
class Run:
    """A finished run."""

    path: Path
    settings: RunSettings
    result: CompressionResult

    def json(self, name: str) -> Any:
        return json.loads((self.path / name).read_text())

    def lines(self, name: str) -> list[Any]:
        return read_json_lines(self.path / name)

    @property
    def method(self) -> str:
        return self.settings.search.method

    def evaluations(self) -> list[Evaluation]:
        """What the archive holds, without the seconds."""
        with Archive(self.path / "archive.sqlite") as archive:
            return [replace(e, seconds=0.0, circumstances={}) for e in archive]

    def archived(self) -> int:
        return len(self.evaluations())

    def searched(self) -> dict[str, bytes]:
        """What the search wrote."""
        return {name: (self.path / name).read_bytes() for name in WRITTEN[self.method]}

    def lasting(self) -> dict[str, Any]:
        """result.json without the seconds, which differ from call to call."""
        record = self.json("result.json")
        return {name: value for name, value in record.items() if name != "seconds"}


def finished(method: str, path: Path) -> Run:
    """A whole run on the digits, in a worker process."""
    settings = tiny_settings(method)
    return Run(path, settings, compress_in(path, settings))


@pytest.fixture(scope="module")
def guided_run(tmp_path_factory: pytest.TempPathFactory) -> Run:
    return finished("guided", tmp_path_factory.mktemp("runs") / "guided")


@pytest.fixture(scope="module")
def joint_run(tmp_path_factory: pytest.TempPathFactory) -> Run:
    return finished("joint", tmp_path_factory.mktemp("runs") / "joint")


@pytest.fixture(params=METHODS)
def run(request: pytest.FixtureRequest) -> Run:
    """A finished run by each way to search."""
    found: Run = request.getfixturevalue(f"{request.param}_run")
    return found


@pytest.fixture
def copied(run: Run, tmp_path: Path) -> Run:
    shutil.copytree(run.path, tmp_path / "copy")
    return Run(tmp_path / "copy", run.settings, run.result)


Executors = list[Any]


@pytest.fixture
def here(monkeypatch: pytest.MonkeyPatch) -> Executors:
    """Train in this process; gives the executors that were made, with the jobs of each."""
    made: Executors = []

    class Here(InProcess):
        def run(self, jobs: Any, *told: Any) -> Any:
            made.append(list(jobs))
            return super().run(jobs, *told)

    def make(data: DataSet, precision: Any, workers: int | None) -> InProcess:
        return Here(data.without_test(), precision)

    monkeypatch.setattr(runs, "ProcessPool", make)
    return made


@pytest.fixture
def scripted(monkeypatch: pytest.MonkeyPatch) -> list[Scripted]:
    """Train nothing: every network has an accuracy of its own, between 0 and 1."""

    class Chance(dict[str, float]):
        def get(self, digest: str, default: Any = None) -> float:
            return int(digest[:8], 16) / 16**8

    made: list[Scripted] = []

    def make(data: DataSet, precision: Any, workers: int | None) -> Scripted:
        made.append(Scripted(data, Chance()))  # type: ignore[arg-type]
        return made[-1]

    monkeypatch.setattr(runs, "ProcessPool", make)
    return made


# ------------------------------------------------------------------ what a run leaves behind


def test_a_run_leaves_every_promised_file(run: Run) -> None:
    own = {
        "guided": set(),
        "joint": {
            "sampling.json", "embedding.json", "embedding.safetensors", "refused.json", "path.jsonl"
        },
    }[run.method]  # fmt: skip
    assert {path.name for path in run.path.iterdir()} == {
        "run.toml", "run.lock", "environment.json", "ledger.jsonl", "archive.sqlite", "weights",
        "results", "result.json", "compressed", "network.json", "timings.json", "progress.json",
        *WRITTEN[run.method], *own,
    }  # fmt: skip
    names = {path.name for path in (run.path / "compressed").iterdir()}
    assert names == {"architecture.json", "model.py", "weights.safetensors", "README.md"}
    assert not list(run.path.rglob("*.part"))


def test_result_json_has_the_documented_form(run: Run) -> None:
    record = run.json("result.json")
    assert set(record) == {
        "base", "compressed", "rivals", "labels", "label_epochs", "seconds", "hardware", "commit"
    }  # fmt: skip
    for side, architecture in (
        ("base", run.result.base.architecture),
        ("compressed", run.result.architecture),
    ):
        part = record[side]
        assert part["parameters"] == architecture.cost.parameters
        assert part["macs"] == architecture.cost.macs
        assert part["final_epochs"] == TINY["final.epochs"]
        assert len(part["test_accuracy"]) == len(part["validation_accuracy"]) == 2
        assert all(0 <= a <= 1 for a in (*part["test_accuracy"], *part["validation_accuracy"]))
        assert Architecture.from_json(part["architecture"]) == architecture
        assert part["digest"] == architecture.digest
    assert record["base"]["parameters"] == 75_626
    assert record["rivals"] == {}
    stages = {
        "guided": ["label", "search", "contest"],
        "joint": ["sample", "label", "fit", "search"],
    }
    assert list(record["seconds"]) == [*stages[run.method], "final training"]
    assert "float32" in record["hardware"]
    assert record["commit"] == run.json("environment.json")["commit"]


def test_labels_and_their_epochs_are_those_in_the_archive(run: Run) -> None:
    recipe, final = run.settings.label.resolve().digest, run.settings.final.resolve().digest
    runs = run.evaluations()
    labels = [e for e in runs if e.recipe.digest == recipe]
    contest = [e for e in runs if e.recipe.digest not in (recipe, final)]
    found = {record["architecture"] for record in run.lines("candidates.jsonl")}
    assert run.result.labels == len(labels) == run.json("result.json")["labels"]
    epochs = sum(e.epochs_trained for e in (*labels, *contest))
    assert run.result.label_epochs == epochs == run.json("result.json")["label_epochs"]
    if run.method == "joint":
        assert run.result.labels == 1 + 10 + len(found), "input network, population, decodings"
        assert len(found) >= 3
        assert contest == []
    else:
        assert run.result.labels == len(found) == LABELS
        assert [(e.recipe.epochs, e.epochs_trained) for e in contest] == [(2, 2)] * 3
        assert {e.architecture.digest for e in contest} <= found


def test_the_result_keeps_to_the_budget_by_exact_count(run: Run) -> None:
    counted = sum(parameter.numel() for parameter in run.result.model.parameters())
    assert counted == run.result.architecture.cost.parameters <= BUDGET
    assert run.result.compression == 75_626 / counted > 3


def test_the_result_says_what_was_allowed_and_what_it_has(run: Run) -> None:
    record = run.json("result.json")["compressed"]
    assert record["bounds"] == {"parameters": [BUDGET, run.result.architecture.cost.parameters]}


def test_the_model_is_trained_and_as_accurate_as_reported(run: Run) -> None:
    data, compressed = load_data(run.settings), run.result.compressed
    scaling = input_scaling(run.settings.final.resolve(), data)
    best = max(range(2), key=compressed.validation_accuracy.__getitem__)
    model = run.result.model
    assert not model.training
    assert accuracy(model, data.test, scaling) == compressed.test_accuracy[best] > 0.2
    assert accuracy(model, data.validation, scaling) == compressed.validation_accuracy[best]


def test_the_product_gives_the_same_outputs_without_archpress(run: Run) -> None:
    folder = run.path / "compressed"
    source = (folder / "model.py").read_text()
    assert "archpress" not in source
    namespace: dict[str, Any] = {}
    exec(compile(source, "model.py", "exec"), namespace)
    model = namespace["Network"]()
    model.load_state_dict(load_file(folder / "weights.safetensors"))
    images = torch.randn(5, 1, 8, 8, generator=torch.Generator().manual_seed(0))
    with torch.no_grad():
        ours, theirs = run.result.model(images), model.eval()(images)
    assert ours.shape == (5, 10)
    assert torch.equal(ours, theirs)
    assert Architecture.load(folder / "architecture.json") == run.result.architecture


def test_the_product_says_how_its_inputs_are_normalised(run: Run) -> None:
    mean, deviation = input_scaling(run.settings.final.resolve(), load_data(run.settings))
    source = (run.path / "compressed" / "model.py").read_text()
    assert f"subtract {float(mean):.6f}; divide by {float(deviation):.6f}" in source


def test_every_decoding_and_every_labelled_one_is_recorded(joint_run: Run) -> None:
    run = joint_run
    descent, candidates = run.lines("descent.jsonl"), run.lines("candidates.jsonl")
    rounds = [[record for record in descent if record["round"] == n] for n in (0, 1)]
    for path in rounds:
        assert {record["start"] for record in path} == {0, 1, 2}
        assert path[0]["origin"] == run.result.base.architecture.digest
        assert max(record["step"] for record in path) <= 6
    known = {record["architecture"] for record in descent}
    for record in candidates:
        network = Architecture.from_json(record["network"])
        assert record["architecture"] == network.digest in known
        assert record["parameters"] == network.cost.parameters <= BUDGET
        assert any(isinstance(layer, Convolution) for layer in network.layers)
        assert record["status"] == "ok"
    assert len({record["architecture"] for record in candidates}) == len(candidates) <= 6
    for refused, path in zip(run.json("refused.json"), rounds, strict=True):
        distinct = {record["architecture"] for record in path}
        assert 0 <= sum(refused.values()) < len(distinct)


def test_the_embedding_is_diagnosed_on_networks_it_did_not_learn_from(joint_run: Run) -> None:
    run = joint_run
    embedding, record = Embedding.load(run.path)
    assert embedding.settings == run.settings.embedding
    assert record["labelled"] + record["held_out"]["networks"] == 11
    assert record["held_out"]["networks"] == 2


# ------------------------------------------------------------------ the guided search


def test_every_proposal_is_recorded_with_its_network_and_where_it_came_from(
    guided_run: Run,
) -> None:
    rows = guided_run.lines("proposals.jsonl")
    assert [row["round"] for row in rows] == [0] * 6 + [1] * 3 + [2] * 3
    digests = [row["architecture"] for row in rows]
    assert len(set(digests)) == LABELS
    for place, row in enumerate(rows):
        network = Architecture.from_json(row["network"])
        assert network.digest == row["architecture"]
        cost = network.cost
        assert (row["parameters"], row["macs"]) == (cost.parameters, cost.macs)
        assert cost.parameters <= BUDGET
        assert (row["source"] == "start") == (row["round"] == 0)
        made = row["source"] in ("gradient", "mutation")
        assert bool(row["origin"]) == (made or place == 0)  # the first is the input, thinned
        assert row["step"] == 0 or row["source"] == "gradient"
        known = {guided_run.result.base.architecture.digest, *digests[:place]}
        assert not made or row["source"] == "mutation" or row["step"] <= 3
        assert Proposal.from_json(row).to_json() == {k: v for k, v in row.items() if k != "round"}
        assert row["architecture"] not in known


def test_every_label_stands_beside_what_was_thought_of_its_network(guided_run: Run) -> None:
    recipe = guided_run.settings.label.resolve()
    labels = {
        e.architecture.digest: e.validation_accuracy
        for e in guided_run.evaluations() if e.recipe == recipe
    }  # fmt: skip
    rows = guided_run.lines("candidates.jsonl")
    assert {row["architecture"]: row["accuracy"] for row in rows} == labels
    assert {row["status"] for row in rows} == {"ok"}
    proposals = guided_run.lines("proposals.jsonl")
    assert [row["value"] for row in rows] == [row["value"] for row in proposals]


def test_the_thinned_input_network_is_labelled_first_as_large_as_the_budget_allows(
    guided_run: Run,
) -> None:
    first = guided_run.lines("proposals.jsonl")[0]
    kinds = [type(layer) for layer in Architecture.from_json(first["network"]).layers]
    assert kinds == [type(layer) for layer in simplify(digits_cnn()).layers]
    assert 0.9 * BUDGET < first["parameters"] <= BUDGET


def test_the_regressors_of_a_round_know_the_labels_before_it(guided_run: Run) -> None:
    rows = guided_run.lines("regressors.jsonl")
    assert [(row["round"], row["labels"]) for row in rows] == [(1, 6), (2, 9)]
    for row in rows:
        assert row["weights"].keys() == row["rank_correlation"].keys()
        assert sum(row["weights"].values()) == pytest.approx(1)
        assert all(-1 <= value <= 1 for value in row["rank_correlation"].values())


def test_everything_that_a_descent_came_upon_is_recorded(guided_run: Run) -> None:
    rows = guided_run.lines("descent.jsonl")
    assert {row["round"] for row in rows} == {1, 2}
    assert {row["start"] for row in rows} <= {0, 1, 2}
    assert all(0 <= row["step"] <= 3 and 0 <= row["length"] <= 0.6 for row in rows)
    assert all((row["step"] == 0) == (row["length"] == 0) for row in rows)
    assert all(row["parameters"] <= BUDGET and row["stopped"] for row in rows)
    found = {(row["round"], row["architecture"]): row for row in rows}
    assert len(found) == len(rows), "each network once in a round"
    by_gradient = [p for p in guided_run.lines("proposals.jsonl") if p["source"] == "gradient"]
    assert by_gradient
    for proposal in by_gradient:
        row = found[proposal["round"], proposal["architecture"]]
        assert (row["origin"], row["step"]) == (proposal["origin"], proposal["step"])
        assert row["value"] == pytest.approx(proposal["value"], abs=1e-9)


def test_a_search_that_knows_nothing_before_says_so(guided_run: Run) -> None:
    assert guided_run.json("known.json") == []


def test_the_origin_of_the_result_is_its_proposals(guided_run: Run) -> None:
    (row,) = [
        row for row in guided_run.lines("proposals.jsonl")
        if row["architecture"] == guided_run.result.architecture.digest
    ]  # fmt: skip
    assert guided_run.result.origin == Proposal.from_json(row).in_words


def test_finalists_are_the_best_of_the_contest(guided_run: Run) -> None:
    recipes = {guided_run.settings.label.resolve(), guided_run.settings.final.resolve()}
    runs = guided_run.evaluations()
    contest = [e for e in runs if e.recipe not in recipes]
    contest.sort(key=lambda e: -(e.validation_accuracy or 0))
    final = {e.architecture for e in runs if e.recipe == guided_run.settings.final.resolve()}
    assert final == {digits_cnn(), *(e.architecture for e in contest[:2])}


def test_where_there_is_no_contest_the_best_labelled_are_trained_finally(
    scripted: list[Scripted], tmp_path: Path
) -> None:
    settings = tiny_settings(guided__contenders=0, guided__rounds=1)
    result = compress_in(tmp_path / "run", settings, data=tiny_data())
    recipes = {job.recipe for job in scripted[0].jobs}
    assert recipes == {settings.label.resolve(), settings.final.resolve()}
    assert (result.labels, result.label_epochs) == (9, 9)


def test_no_round_begins_when_the_time_is_over(scripted: list[Scripted], tmp_path: Path) -> None:
    settings = tiny_settings(guided__minutes=1e-6)
    result = compress_in(tmp_path / "run", settings, data=tiny_data())
    assert result.labels == 6
    assert result.origin == "the stratified start"


def test_a_finished_run_stays_what_it_is_also_when_its_time_is_over(
    scripted: list[Scripted], tmp_path: Path
) -> None:
    settings = tiny_settings(guided__minutes=60)
    first = Run(tmp_path, settings, compress_in(tmp_path, settings, data=tiny_data()))
    before = first.lasting()
    with (tmp_path / "ledger.jsonl").open("a") as file:
        file.write(json.dumps({"stage": "search", "seconds": 7_200.0}) + "\n")
    compress_in(tmp_path, settings, True, data=tiny_data())
    assert first.lasting() == before


# ------------------------------------------------------------------ what an archive knows


def test_a_second_run_labels_fewer_networks_by_those_that_an_archive_knows(
    guided_run: Run, here: Executors, tmp_path: Path
) -> None:
    settings = tiny_settings(search__target_parameters="20%", guided__warm_rounds=1)
    known = {row["architecture"]: row for row in guided_run.lines("proposals.jsonl")}
    budget = 75_626 * 20 // 100
    affordable = sum(row["parameters"] <= budget for row in known.values())
    assert 0 < affordable < LABELS
    result = compress_in(tmp_path, settings, known=guided_run.path / "archive.sqlite")
    second = Run(tmp_path, settings, result)
    assert len(second.json("known.json")) >= LABELS
    rows = second.lines("proposals.jsonl")
    start = [row for row in rows if row["round"] == 0]
    assert len(start) == max(0, 6 - affordable)
    assert {row["architecture"] for row in rows} & known.keys() == set()
    assert result.labels == len(rows) < LABELS
    assert second.lines("regressors.jsonl")[0]["labels"] == LABELS + len(start)
    assert result.architecture.cost.parameters <= budget
    trained = [job for jobs in here for job in jobs]
    assert len([job for job in trained if job.recipe == settings.label.resolve()]) == len(rows)
    assert digits_cnn() not in {job.architecture for job in trained}, "its training is known too"


def test_a_run_that_knows_its_whole_start_has_fewer_rounds_and_contenders(
    guided_run: Run, here: Executors, tmp_path: Path
) -> None:
    settings = tiny_settings(
        search__target_parameters="35%", guided__warm_rounds=1, guided__contenders=9,
        guided__warm_contenders=4, guided__contender_epochs=4,
    )  # fmt: skip
    known = guided_run.path / "archive.sqlite"
    result = compress_in(tmp_path / "a", settings, known=known)
    undisturbed = Run(tmp_path / "a", settings, result)
    assert [row["round"] for row in undisturbed.lines("proposals.jsonl")] == [1] * 3
    assert result.labels == 3
    recipes = (settings.label.resolve(), settings.final.resolve())
    trained = [job.architecture for jobs in here for job in jobs if job.recipe not in recipes]
    assert len(trained) == len(set(trained)) == 4

    def stop(told: str, done: int, total: int) -> None:
        if told == "round 1":
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        compress_in(tmp_path / "b", settings, False, stop, known=known)
    again = compress_in(tmp_path / "b", settings, True)
    continued = Run(tmp_path / "b", settings, again)
    assert continued.searched() == undisturbed.searched()
    assert continued.lasting() == undisturbed.lasting()
    assert continued.evaluations() == undisturbed.evaluations()


def test_an_archive_that_is_named_when_a_run_is_continued_spares_it_labels(
    guided_run: Run, here: Executors, tmp_path: Path
) -> None:
    def stop(told: str, done: int, total: int) -> None:
        if told == "round 1":
            raise KeyboardInterrupt

    settings = guided_run.settings
    with pytest.raises(KeyboardInterrupt):
        compress_in(tmp_path, settings, False, stop)
    made = Run(tmp_path, settings, guided_run.result).archived()
    known = guided_run.path / "archive.sqlite"
    result = compress_in(tmp_path, settings, True, known=known)
    assert result.architecture == guided_run.result.architecture, "it searches as it would have"
    assert 0 < result.labels == made < guided_run.result.labels
    trained = {run.key for run in RunView.of(tmp_path).own_runs}
    assert len(trained) == made, "the report counts so too"


def test_what_the_contest_costs_is_counted_on_networks_known_before_too(
    guided_run: Run, here: Executors, tmp_path: Path
) -> None:
    """Their labels cost nothing, nor does a contest that the archive holds already."""
    settings = tiny_settings(
        guided__warm_rounds=1, guided__contenders=12, guided__warm_contenders=12
    )
    result = compress_in(tmp_path, settings, known=guided_run.path / "archive.sqlite")
    made = [job for jobs in here for job in jobs if job.recipe != settings.final.resolve()]
    contest = [job for job in made if job.recipe != settings.label.resolve()]
    proposed = {
        row["architecture"] for row in Run(tmp_path, settings, result).lines("proposals.jsonl")
    }
    assert not {job.architecture.digest for job in contest} <= proposed
    assert result.labels == len(made) - len(contest)
    assert result.label_epochs == sum(job.recipe.epochs for job in made)


# ------------------------------------------------------------------ again, and elsewhere


def test_a_finished_run_called_again_changes_and_trains_nothing(
    copied: Run, here: Executors
) -> None:
    before, archived = copied.lasting(), copied.archived()
    weights = (copied.path / "compressed" / "weights.safetensors").read_bytes()
    result = compress_in(copied.path, copied.settings, resume=True)
    assert [job for jobs in here for job in jobs] == []
    assert copied.archived() == archived
    assert copied.lasting() == before
    assert (copied.path / "compressed" / "weights.safetensors").read_bytes() == weights
    assert result.to_json() == copied.result.to_json()


def test_the_same_seed_gives_the_same_result_in_another_folder(
    run: Run, here: Executors, tmp_path: Path
) -> None:
    """In this process in place of a worker, and by way of the Python interface."""
    table = {**TINY, **(JOINT if run.method == "joint" else {})}
    flags = {name.replace(".", "__"): value for name, value in table.items() if "." in name}
    data = flags.pop("data__name")
    result = archpress.compress("digits-cnn", data, out=tmp_path / "r", profile="demo", **flags)
    other = Run(tmp_path / "r", run.settings, result)
    assert sum(len(jobs) for jobs in here) == other.archived()
    assert other.evaluations() == run.evaluations()
    assert other.lasting() == run.lasting()
    assert other.searched() == run.searched()
    for value, expected in zip(
        result.model.parameters(), run.result.model.parameters(), strict=True
    ):
        assert torch.equal(value, expected)


def test_another_seed_draws_another_population(joint_run: Run) -> None:
    run = joint_run
    populations = [
        prepare(settings, tiny_data()).space.sample(
            3, torch.Generator().manual_seed(settings.seed)
        ).architectures
        for settings in (tiny_settings("joint"), tiny_settings("joint", seed=1))
    ]  # fmt: skip
    kept = [Architecture.from_json(line) for line in run.lines("architectures.jsonl")]
    assert kept[:3] == populations[0] != populations[1]


def test_another_seed_makes_another_search(scripted: list[Scripted], tmp_path: Path) -> None:
    drawn = []
    for seed in (0, 1):
        settings = tiny_settings(seed=seed, guided__rounds=1)
        path = tmp_path / str(seed)
        run = Run(path, settings, compress_in(path, settings, data=tiny_data()))
        drawn.append({row["architecture"] for row in run.lines("proposals.jsonl")})
    assert len(drawn[0] & drawn[1]) <= 2, "the thinned input network, and a tiny one by chance"


STAGES = {
    "guided": ["labels", "round 1", "round 2", "contest", "final training", "test set"],
    "joint": [
        "labels", "embedding", "candidates 1", "candidates 2", "final training", "test set"
    ],
}  # fmt: skip


@pytest.mark.parametrize("method", METHODS)
def test_a_run_stopped_in_every_stage_ends_as_the_undisturbed_one(
    method: str, scripted: list[Scripted], tmp_path: Path
) -> None:
    settings = tiny_settings(method)
    undisturbed = Run(
        tmp_path / "a", settings, compress_in(tmp_path / "a", settings, data=tiny_data())
    )
    whole = [job.key for job in scripted[0].jobs]
    for number, stage in enumerate(STAGES[method]):

        def stop(told: str, done: int, total: int, stage: str = stage) -> None:
            if told == stage:
                raise KeyboardInterrupt

        with pytest.raises(KeyboardInterrupt):
            compress_in(tmp_path / "b", settings, number > 0, stop, tiny_data())
    result = compress_in(tmp_path / "b", settings, True, data=tiny_data())
    stopped = Run(tmp_path / "b", settings, result)
    assert stopped.lasting() == undisturbed.lasting()
    assert stopped.searched() == undisturbed.searched()
    assert stopped.evaluations() == undisturbed.evaluations()
    parts = [job.key for executor in scripted[1:] for job in executor.jobs]
    assert sorted(parts) == sorted(whole), "nothing is trained twice"


@pytest.mark.parametrize("name", ["proposals.jsonl", "regressors.jsonl", "descent.jsonl"])
def test_what_a_search_proposed_is_proposed_again_where_it_was_deleted(
    name: str, scripted: list[Scripted], tmp_path: Path
) -> None:
    settings = tiny_settings(guided__rounds=1)
    run = Run(tmp_path, settings, compress_in(tmp_path, settings, data=tiny_data()))
    before, searched = run.lasting(), run.searched()
    (tmp_path / "proposals.jsonl").unlink()
    (tmp_path / name).unlink(missing_ok=True)
    compress_in(tmp_path, settings, True, data=tiny_data())
    assert run.lasting() == before
    assert run.searched() == searched
    assert [job for executor in scripted[1:] for job in executor.jobs] == []


@pytest.mark.parametrize("method", METHODS)
def test_the_test_set_is_not_looked_at_before_the_end(
    method: str, scripted: list[Scripted], tmp_path: Path
) -> None:
    data, reads = watched(tiny_data())
    seen: dict[str, int] = {}

    def progress(stage: str, done: int, total: int) -> None:
        seen.setdefault(stage, len(reads))

    reads.clear()
    compress_in(tmp_path, tiny_settings(method), progress=progress, data=data)
    handed_over = seen["labels"]
    assert handed_over == 2, "shape and kind, for the empty test part of the executor"
    assert {stage: count for stage, count in seen.items() if count > handed_over} == {
        "test set": handed_over + 1
    }
    assert len(reads) == handed_over + 2 * 2


def test_evaluations_of_another_run_are_taken_over_with_their_weights(
    joint_run: Run, here: Executors, tmp_path: Path
) -> None:
    run = joint_run
    result = compress_in(tmp_path / "new", run.settings, known=run.path / "archive.sqlite")
    assert [job for jobs in here for job in jobs] == []
    free = {"labels": 0, "label_epochs": 0}
    assert result.to_json() == {**run.result.to_json(), **free}


def test_a_known_archive_that_is_not_there_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ArchiveError, match=r"no archive .*none\.sqlite"):
        compress_in(tmp_path / "new", tiny_settings(), known=tmp_path / "none.sqlite")


# ------------------------------------------------------------------ refusals


def contents(folder: Path) -> dict[str, bytes]:
    return {str(p.relative_to(folder)): p.read_bytes() for p in folder.rglob("*") if p.is_file()}


@pytest.mark.parametrize(
    ("changes", "resume", "complaint"),
    [
        ({}, False, "holds this run already: add --resume"),
        ({"seed": 1}, True, "holds another run .its seed is 0, not 1"),
        ({"guided__steps": 9}, True, "its guided.steps is 3, not 9"),
        ({"search__method": "joint"}, True, "its search.method is 'guided', not 'joint'"),
    ],
)
def test_a_folder_of_a_run_is_refused_untouched(
    changes: dict[str, Any], resume: bool, complaint: str, guided_run: Run, tmp_path: Path
) -> None:
    copied = replace(guided_run, path=tmp_path / "copy")
    shutil.copytree(guided_run.path, copied.path)
    before = contents(copied.path)
    with pytest.raises(RunFolderError, match=complaint):
        compress_in(copied.path, tiny_settings(**changes), resume)
    assert contents(copied.path) == before


def test_data_that_have_changed_are_not_mixed_with_the_old(copied: Run, here: Executors) -> None:
    with pytest.raises(RunFolderError, match="the data has changed since the run in"):
        compress_in(copied.path, copied.settings, True, data=tiny_data())
    assert here == []


def test_a_target_that_nothing_meets_is_refused_before_a_folder_is_made(tmp_path: Path) -> None:
    with pytest.raises(BudgetError, match="below the smallest reachable network"):
        compress_in(tmp_path / "run", tiny_settings(search__target_parameters=5))
    assert not (tmp_path / "run").exists()


def test_a_folder_from_before_there_was_a_choice_holds_a_joint_search(tmp_path: Path) -> None:
    RunFolder(tmp_path, tiny_settings("joint")).close()
    values = tomllib.loads((tmp_path / "run.toml").read_text())
    del values["guided"], values["search"]["method"]
    (tmp_path / "run.toml").write_text(tomli_w.dumps(values))
    assert read_settings(tmp_path).search == tiny_settings("joint").search
    with pytest.raises(RunFolderError, match=r"its search\.method is 'joint', not 'guided'"):
        RunFolder(tmp_path, tiny_settings("joint", search__method="guided"), resume=True)


@pytest.mark.parametrize("start", [0, 3])
def test_labels_too_few_to_learn_from_are_refused(
    start: int, scripted: list[Scripted], tmp_path: Path
) -> None:
    with pytest.raises(ArchpressError, match=f"{start} labels are too few to learn from"):
        compress_in(tmp_path / "run", tiny_settings(guided__start=start), data=tiny_data())


@pytest.mark.parametrize("name", NAMES)
def test_a_rival_needs_a_finished_run(name: str, copied: Run, tmp_path: Path) -> None:
    method = find_baseline(name)
    with pytest.raises(RunFolderError, match="is no run folder"):
        rival_in(tmp_path / "none", name, method)
    (copied.path / "results" / "archpress.json").unlink()
    with pytest.raises(RunFolderError, match="is not finished: continue it first"):
        rival_in(copied.path, name, method)


# ------------------------------------------------------------------ constraints


def test_a_run_keeps_to_every_constraint_and_so_do_its_rivals(
    tmp_path: Path, here: Executors
) -> None:
    constraints = {"macs": "10%", "file_bytes": 60_000}
    flags = {**TINY, "constraints": constraints}
    del flags["search.target_parameters"]
    settings = load_settings("demo", flags=flags)
    budget = Budget(macs=digits_cnn().cost.macs // 10, file_bytes=60_000)
    results = [compress_in(tmp_path / "run", settings)]
    results += [rival_in(tmp_path / "run", name, find_baseline(name)) for name in FEW]
    assert all(budget.allows(result.architecture) for result in results)
    written = tmp_path / "run" / "compressed" / "weights.safetensors"
    assert written.stat().st_size == weights_file_bytes(results[0].architecture) <= 60_000
    record = json.loads((tmp_path / "run" / "result.json").read_text())["compressed"]
    macs = results[0].architecture.cost.macs
    assert record["bounds"] == {
        "macs": [budget.macs, macs], "file_bytes": [60_000, written.stat().st_size]
    }  # fmt: skip
    again = compress_in(tmp_path / "run", settings, resume=True)
    assert again.architecture == results[0].architecture


def test_a_run_within_a_latency_measures_once_and_keeps_what_it_measured(
    tmp_path: Path, here: Executors, monkeypatch: pytest.MonkeyPatch
) -> None:
    """On a device that takes a nanosecond for a MAC and 0.01 ms for a layer."""
    timed: list[str] = []

    def measure(network: Architecture, conditions: Conditions) -> Timing:
        timed.append(network.digest)
        median = network.cost.macs / 1e6 + 0.01 * len(network.layers)
        return Timing(median, 0.9 * median, 1.1 * median, 10)

    monkeypatch.setattr("archpress.training.latency.measure", measure)
    flags = {**TINY, "constraints.latency_ms": "0.3ms", "latency.networks": 12}
    del flags["search.target_parameters"]
    settings = load_settings("demo", flags=flags)
    result = compress_in(tmp_path / "run", settings)
    kept = json.loads((tmp_path / "run" / "latency.json").read_text())
    assert kept["timings"][result.architecture.digest]["median"] <= 0.3
    assert kept["predictor"]["spread"] < 1.05
    assert len(timed) == len(set(timed)) == len(kept["timings"])
    timed.clear()
    again = compress_in(tmp_path / "run", settings, resume=True)
    assert (again.architecture, timed) == (result.architecture, [])
    (note,) = [n for n in Run(tmp_path / "run", settings, result).json("network.json")["notes"]]
    assert note.startswith("a forward pass takes 1.64 ms (1.48 to 1.81, 10 repeats; cpu, 1 thread")
    for name in (*FEW, "magnitude_pruning"):
        rival = rival_in(tmp_path / "run", name, find_baseline(name)).architecture
        assert measure(rival, Conditions()).median <= 0.3


def test_a_run_for_the_smallest_within_a_drop_gives_its_rivals_the_size_that_it_found(
    tmp_path: Path, here: Executors
) -> None:
    flags = {**TINY, "constraints.max_accuracy_drop": 0.9, "guided.rounds": 1}
    del flags["search.target_parameters"]
    settings = load_settings("demo", flags=flags)
    result = compress_in(tmp_path / "run", settings)
    runs = Run(tmp_path / "run", settings, result).evaluations()
    final, label = settings.final.resolve(), settings.label.resolve()
    sizes = [e.architecture.cost.parameters for e in runs if e.recipe == final]
    assert result.labels == len([e for e in runs if e.recipe == label])
    assert result.label_epochs == sum(e.epochs_trained for e in runs if e.recipe != final)
    assert result.architecture.cost.parameters == min(sizes), "any accuracy is near enough"
    for name in FEW:
        rival = rival_in(tmp_path / "run", name, find_baseline(name))
        assert rival.architecture.cost.parameters <= result.architecture.cost.parameters


# ------------------------------------------------------------------ rivals


def test_rivals_keep_to_the_budget_and_stand_beside_the_result(
    copied: Run, here: Executors
) -> None:
    before = copied.lasting()
    names = (*FEW, "distillation") if copied.method == "guided" else FEW
    for name in names:
        result = rival_in(copied.path, name, find_baseline(name))
        assert result.method == name
        assert result.architecture.cost.parameters <= BUDGET
        assert result.base.to_json() == copied.result.base.to_json()
    after = copied.lasting()
    rivals = after.pop("rivals")
    assert after == {key: value for key, value in before.items() if key != "rivals"}
    assert list(rivals) == sorted(names)
    for rival in rivals.values():
        assert rival["parameters"] <= BUDGET
        assert rival["final_epochs"] == TINY["final.epochs"]
        assert len(rival["test_accuracy"]) == 2
    assert rivals["width_scaling"]["labels"] == rivals["width_scaling"]["label_epochs"] == 0
    most = {"guided": LABELS, "joint": 10 + 2 * 3}[copied.method]
    for name in names:
        least, top = (most - 2, most) if name in LABELLING else (0, 0)
        assert least <= rivals[name]["labels"] <= top, "as many as ours may label, or none"
    assert {*names} <= set(copied.json("result.json")["seconds"])
    # What learns from the input network begins with it.
    plain = [j for jobs in here for j in jobs if not (j.recipe.start or j.recipe.distillation)]
    assert all(job.architecture.cost.parameters <= BUDGET for job in plain)
    here.clear()
    rival_in(copied.path, "random_search", find_baseline("random_search"))
    assert [job for jobs in here for job in jobs] == [], "a rival too is never trained twice"
    assert copied.lasting() == {**after, "rivals": rivals}


def test_a_rival_of_a_run_that_ended_early_labels_as_many_networks(
    here: Executors, tmp_path: Path
) -> None:
    settings = tiny_settings(guided__minutes=1e-9)
    result = compress_in(tmp_path, settings)
    assert result.labels < settings.guided.labels
    rival = rival_in(tmp_path, "random_search", find_baseline("random_search"))
    assert rival.labels == result.labels


# ------------------------------------------------------------------ settings of the search


@pytest.fixture
def searched(
    joint_run: Run, scripted: list[Scripted], tmp_path: Path
) -> Callable[..., tuple[Run, Scripted]]:
    """A run by other search settings on the embedding and the population of ``joint_run``."""

    def searched(**changes: Any) -> tuple[Run, Scripted]:
        path = tmp_path / f"run{len(scripted)}"
        settings = tiny_settings("joint", **changes)
        RunFolder(path, settings).close()
        for name in ("architectures.jsonl", "embedding.json", "embedding.safetensors"):
            shutil.copy(joint_run.path / name, path)
        return Run(path, settings, compress_in(path, settings, resume=True)), scripted[-1]

    return searched


def digests(run: Run, name: str, wanted: Callable[[Any], bool] = lambda record: True) -> set[str]:
    return {record["architecture"] for record in run.lines(name) if wanted(record)}


def test_the_path_from_the_input_network_is_labelled_where_wanted(
    searched: Callable[..., tuple[Run, Scripted]],
) -> None:
    plain, _ = searched(search__label_path=0, search__candidates=1)
    measured, _ = searched(search__label_path=4, search__candidates=1)

    def first_steps(record: Any) -> bool:
        return record["round"] == 0 and record["start"] == 0 and record["step"] <= 4

    path = digests(plain, "descent.jsonl", first_steps)
    assert digests(measured, "descent.jsonl", first_steps) == path
    assert len(path) > 1
    assert not path <= digests(plain, "candidates.jsonl")
    assert path == digests(measured, "path.jsonl")
    assert digests(measured, "candidates.jsonl") == digests(plain, "candidates.jsonl")


def test_fine_tuning_changes_the_predictions_of_later_rounds(
    searched: Callable[..., tuple[Run, Scripted]],
) -> None:
    def predictions(run: Run) -> list[Tensor]:
        return [
            torch.tensor([
                r["predicted_accuracy"] for r in run.lines("descent.jsonl")
                if (r["round"], r["start"], r["step"]) == (number, 0, 0)
            ])
            for number in (0, 1)
        ]  # fmt: skip

    first, second = predictions(searched(search__fine_tune_iterations=0)[0])
    assert torch.equal(first, second)
    again, tuned = predictions(searched(search__fine_tune_iterations=5)[0])
    assert torch.equal(first, again)
    assert not torch.equal(first, tuned)


def test_networks_labelled_for_the_fit_are_chosen_only_where_they_may_be(
    searched: Callable[..., tuple[Run, Scripted]],
) -> None:
    free, _ = searched(search__consider_labelled=True, search__candidates=1)
    decoded, executor = searched(search__consider_labelled=False, search__candidates=1)
    found = digests(decoded, "candidates.jsonl")
    assert decoded.result.architecture.digest in found
    assert decoded.result.origin.startswith("descent from ")
    final = decoded.settings.final.resolve()
    trained = {job.architecture.digest for job in executor.jobs if job.recipe == final}
    assert trained - {decoded.result.base.architecture.digest} <= found
    assert free.result.architecture.digest not in digests(free, "candidates.jsonl")
    assert free.result.origin == "labelled before the search proposed any"


def test_one_start_and_one_round_do_what_they_say(
    searched: Callable[..., tuple[Run, Scripted]],
) -> None:
    run, _ = searched(search__starts=1, search__rounds=1, search__candidates=2)
    descent = run.lines("descent.jsonl")
    assert [(r["round"], r["start"]) for r in descent] == [(0, 0)] * 7
    assert [r["step"] for r in descent] == list(range(7))
    assert descent[-1]["stopped"] == "last step"
    assert len(run.lines("candidates.jsonl")) <= 2
    assert len(run.json("refused.json")) == 1


# ------------------------------------------------------------------ the paper


def test_the_papers_configuration_and_space_work_from_end_to_end(
    here: Executors, tmp_path: Path
) -> None:
    settings = load_settings("paper", flags=PAPER)
    assert (settings.embedding.codec, settings.space.name) == ("scaled", "paper")
    assert settings.search.method == "joint"
    result = compress_in(tmp_path / "run", settings)
    run = Run(tmp_path / "run", settings, result)
    assert result.origin.startswith("descent from the input network")
    assert result.architecture.cost.parameters <= 75_626
    assert result.model(torch.zeros(2, 1, 8, 8)).shape == (2, 10)
    sampling = run.json("sampling.json")
    assert sampling["accepted"] == 10
    assert sampling["drawn"] == 10 + sum(sampling["rejected"].values())
    rival = rival_in(run.path, "width_scaling", find_baseline("width_scaling"))
    ours = result.architecture.cost.parameters
    assert rival.architecture.cost.parameters <= ours, "without a budget, the size of the result"


@pytest.mark.parametrize("method", METHODS)
def test_a_network_too_long_for_the_embedding_is_compressed_from_labelled_ones(
    method: str, here: Executors, tmp_path: Path
) -> None:
    layers = (Convolution(64, 3, 1, 1), *[Tanh()] * 70, Linear(10))
    found = FoundNetwork(Architecture((1, 8, 8), layers))
    limits = {"space__max_parameters": 20_000, "space__max_macs": 2_000_000}
    settings = tiny_settings(method, **limits)
    path = tmp_path / "run"
    run = Run(path, settings, compress_in(path, settings, network=found))
    assert run.result.base.architecture == found.architecture
    rows = run.lines("descent.jsonl")
    assert rows
    assert found.architecture.digest not in {row["origin"] for row in rows}
    if method == "joint":
        assert 0 not in {row["start"] for row in rows}
        assert run.lines("path.jsonl") == []
    (note,) = run.json("network.json")["notes"]
    length = {"joint": "72 layers", "guided": "71 words"}[method]
    assert f"{length} exceeds the 64 positions" in note
    again = compress_in(path, settings, resume=True, network=found)
    assert again.compressed == run.result.compressed
