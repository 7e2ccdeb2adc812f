"""Every table and figure of the paper at toy size, from real runs."""

import json
import re
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from shutil import copytree
from xml.etree import ElementTree

import pytest
import torch

from archpress.architectures.activations import Dropout, ReLU
from archpress.architectures.architecture import Architecture
from archpress.architectures.layers import BatchNorm, Convolution, Linear, MaxPool
from archpress.architectures.references import conv7, digits_cnn
from archpress.baselines import NAMES as RIVALS
from archpress.compression import runs
from archpress.compression.budget import Budget
from archpress.compression.joint.descent import mean_distance
from archpress.errors import (
    BudgetError,
    MissingExtraError,
    RunFolderError,
    SettingsError,
    TrainingError,
)
from archpress.reporting.page.space_map import principal
from archpress.reproduction import NAMES, find_experiment, table1
from archpress.reproduction.bench import Bench, Outcome
from archpress.reproduction.drawing import drawn
from archpress.reproduction.drift import HOLDS, STEPS, with_fine_tuning
from archpress.reproduction.extreme import vgg
from archpress.reproduction.figure4 import filters
from archpress.reproduction.motifs import MOTIFS, shares_of
from archpress.reproduction.paper_run import PaperRun
from archpress.reproduction.published import TABLE_1, TABLE_2
from archpress.reproduction.rows import TAUGHT, hours
from archpress.reproduction.scales import SCALES, flags_of
from archpress.reproduction.table2 import LEFT_OUT, PUBLISHED
from tests.reproduction.toy import SHARDS, bench, quick, write_data


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Bench]:
    """A bench whose two runs are finished."""
    with quick():
        there = bench(tmp_path_factory.mktemp("bench"))
        for method in ("paper", "archpress"):
            there.run(method)  # type: ignore[arg-type]
        yield there


@pytest.fixture(scope="module")
def outcomes(made: Bench) -> dict[str, Outcome]:
    """All experiments, written."""
    found = {name: find_experiment(name)(made) for name in NAMES}
    for name, outcome in found.items():
        made.write(name, outcome)
    return found


# ------------------------------------------------------------------ what is written


@pytest.mark.parametrize("name", NAMES)
def test_every_experiment_writes_its_facts_its_table_and_its_figures(
    name: str, outcomes: dict[str, Outcome], made: Bench
) -> None:
    facts = json.loads((made.folder / f"{name}.json").read_text())
    assert (facts["experiment"], facts["data"], facts["profile"]) == (name, "digits", "cpu")
    text = (made.folder / f"{name}.md").read_text()
    assert text.startswith(f"# {name}\n")
    assert "12 networks labelled (1,500), 1 epochs on 128 images (5 on all)" in text
    assert "archpress, and rivals that label: 9 labels, 1 epochs on 128 images" in text
    assert "Changed over that: space.networks = 12," in text
    for figure in outcomes[name].figures:
        svg = (made.folder / f"{figure}.svg").read_text()
        assert len(svg) < 300_000
        assert ElementTree.fromstring(svg).tag.endswith("svg")
        assert f"![{figure}]({figure}.svg)" in text
    expects_figures = not name.startswith("table")
    assert bool(outcomes[name].figures) is expects_figures


def test_figures_of_the_same_run_are_the_same_bytes(
    outcomes: dict[str, Outcome], made: Bench
) -> None:
    for name in ("figure2", "figure3", "motifs"):
        assert find_experiment(name)(made).figures == outcomes[name].figures


# ------------------------------------------------------------------ tables


def test_table_1_sets_both_methods_beside_each_other(
    outcomes: dict[str, Outcome], made: Bench
) -> None:
    lines = outcomes["table1"].markdown.splitlines()
    assert [line.split("|")[1].strip() for line in lines[2:4]] == [*table1.TITLES.values()]
    result = made.run("archpress")
    cells = [cell.strip() for cell in lines[3].split("|")[1:-1]]
    assert cells[2] == f"{result['base']['parameters']:,}"
    ratio = result["base"]["parameters"] / result["compressed"]["parameters"]
    assert cells[5] == f"{ratio:.2f}x"
    change = sum(result["compressed"]["test_accuracy"]) - sum(result["base"]["test_accuracy"])
    assert cells[4].startswith(f"{50 * change:+.2f} ± ")
    assert cells[6] == str(result["label_epochs"])


def test_table_2_has_a_row_for_every_method_with_figures_of_real_runs(
    outcomes: dict[str, Outcome], made: Bench
) -> None:
    rows = {
        line.split("|")[1].strip(): [cell.strip() for cell in line.split("|")[2:-1]]
        for line in outcomes["table2"].markdown.splitlines()[2:]
        if line.startswith("|")
    }
    names = [name.replace("_", " ") for name in (*PUBLISHED, *LEFT_OUT)]
    assert {"input network", "archpress", "archpress, taught", *names} <= rows.keys()
    assert len(rows) == len(names) + 4
    assert rows["archpress, taught"][3:5] == rows["archpress"][3:5], "the same network"
    assert rows["archpress, taught"][6:] == [rows["archpress"][6], "yes"]
    records = made.run("archpress")["rivals"]
    for name in (*PUBLISHED, *LEFT_OUT):
        row = rows[name.replace("_", " ")]
        assert row[3] == f"{records[name]['parameters']:,}"
        budget = made.run("archpress")["base"]["parameters"] // 10
        assert records[name]["parameters"] <= budget
        assert re.fullmatch(r"\d+\.\d\d ± \d+\.\d\d", row[2])
        assert row[7] == ("yes" if name in ("fitnets", "reinforcement", "distillation") else "")
    assert rows["fitnets"][:2] == ["91.33", "1.2M"]
    assert {*PUBLISHED, *LEFT_OUT} <= {*RIVALS}
    assert {*PUBLISHED, "paper"} == TABLE_2.keys()


def test_a_search_that_comes_to_nothing_is_a_row_that_says_so(
    made: Bench, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*given: object, **named: object) -> None:
        raise BudgetError("nothing within the budget")

    there = replace(made, folder=tmp_path)
    with monkeypatch.context() as patch:
        patch.setattr("archpress.reproduction.bench.compress_in", fail)
        assert there.run("paper") == {"failed": "nothing within the budget"}
    assert there.run("paper") == {"failed": "nothing within the budget"}, "and is not tried again"
    (tmp_path / "archpress").symlink_to(made.folder / "archpress")
    text = table1.run(there).markdown
    assert "nothing within the budget" in text and table1.TITLES["archpress"] in text


def test_a_rival_that_fails_is_a_row_and_stays_one(
    made: Bench, outcomes: dict[str, Outcome], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*given: object) -> None:
        raise TrainingError("every run failed")

    there = replace(made, folder=tmp_path)
    for method in ("paper", "archpress"):
        copytree(made.folder / method, tmp_path / method)
    file = tmp_path / "archpress" / "result.json"
    record = json.loads(file.read_text())
    del record["rivals"]["pruning"]
    file.write_text(json.dumps(record))
    with monkeypatch.context() as patch:
        patch.setattr("archpress.reproduction.bench.rival_in", fail)
        text = find_experiment("table2")(there).markdown
    assert "| pruning | 91.06 | 2.3M | every run failed |" in text
    assert there.rival("pruning") == {"failed": "every run failed"}


def test_table_2_knows_its_rivals_and_what_they_took_the_first_time(
    outcomes: dict[str, Outcome], made: Bench
) -> None:
    facts = outcomes["table2"].facts
    assert {*facts["archpress"]["rivals"]} == {*PUBLISHED, *LEFT_OUT, TAUGHT}
    seconds = made.run("archpress")["seconds"]
    assert {*PUBLISHED, *LEFT_OUT} <= seconds.keys()
    assert facts == find_experiment("table2")(made).facts
    own = sum(value for stage, value in seconds.items() if stage not in (*RIVALS, TAUGHT))
    assert hours(made.run("archpress")) == pytest.approx(own / 3_600)
    assert find_experiment("table1")(made).markdown == outcomes["table1"].markdown


@pytest.mark.parametrize("changes", [{"data": "cifar10"}, {"more": "seed"}])
def test_a_folder_of_other_data_or_settings_is_refused(
    made: Bench, changes: dict[str, str], tmp_path: Path
) -> None:
    there = made
    if "more" in changes:
        settings = tmp_path / "other.toml"
        settings.write_text("seed = 3\n" + made.settings_file.read_text())  # type: ignore[union-attr]
        there = replace(made, settings_file=settings)
    else:
        there = replace(made, **changes)  # type: ignore[arg-type]
    with pytest.raises(RunFolderError, match="holds another run"):
        there.run("archpress")


# ------------------------------------------------------------------ figures


def test_the_path_of_figure_2_begins_at_the_input_network(made: Bench) -> None:
    paper = PaperRun.of(made)
    walk = paper.walk()
    assert len(walk.points) == len(walk.decoded) == made.settings("paper").search.steps + 1
    assert torch.equal(walk.points[:1], paper.embedding.encode([digits_cnn()]))
    for (network, _), again in zip(walk.decoded, walk.again, strict=True):
        assert torch.allclose(again, paper.embedding.encode([network])[0])


def test_what_is_walked_again_is_the_descent_of_the_run(made: Bench) -> None:
    paper = PaperRun.of(made)
    rows = map(json.loads, (made.folder / "paper" / "descent.jsonl").read_text().splitlines())
    first = [row for row in rows if (row["round"], row["start"]) == (0, 0)]
    predicted = [row["predicted_accuracy"] for row in first]
    assert paper.walk().accuracies.tolist() == pytest.approx(predicted, abs=1e-5)
    search = paper.settings.search.model_copy(update={"step": "normalised", "step_size": 0.5})
    changed = replace(paper, settings=paper.settings.model_copy(update={"search": search}))
    networks = [paper.start, *paper.population()]
    assert changed.step_size == 0.5 * mean_distance(paper.embedding.encode(networks))
    bounded = replace(paper, task=replace(paper.task, budget=Budget(1_234)))
    assert bounded.objective().parameters == 1_234


def test_principal_axes_are_those_of_the_largest_variance() -> None:
    points = torch.zeros(200, 4)
    points[:, 2] = 5 * torch.randn(200, generator=torch.Generator().manual_seed(0))
    points[:, 0] = torch.randn(200, generator=torch.Generator().manual_seed(1))
    axes, share = principal(points)
    assert axes.shape == (4, 2)
    assert abs(float(axes[2, 0])) > 0.99 and abs(float(axes[0, 1])) > 0.99
    assert share == pytest.approx(1.0)


def test_figure_3_ends_with_the_losses_of_the_log(
    outcomes: dict[str, Outcome], made: Bench
) -> None:
    log = (made.folder / "paper" / "fit.jsonl").read_text().splitlines()
    last = json.loads(log[-1])
    facts = outcomes["figure3"].facts
    assert facts["iterations"] == last["iteration"] == 60
    mean = sum(json.loads(line)["L"] for line in log[-10:]) / len(log[-10:])
    assert facts["last"]["L"] == pytest.approx(mean)


def test_figure_4_shows_the_first_layers(made: Bench) -> None:
    embedding = made.embedding()
    encoder = filters(embedding.encoder, transposed=False)
    assert torch.equal(encoder, next(p for p in embedding.encoder.parameters() if p.dim() == 3))
    decoder = filters(embedding.decoder, transposed=True)
    assert decoder.shape[:2] == (16, 16)


def test_a_vgg_keeps_as_many_pools_as_the_images_allow() -> None:
    for side, pools in ((32, 5), (28, 4), (8, 3)):
        network = vgg((3, side, side), 10)
        assert sum(isinstance(layer, MaxPool) for layer in network.layers) == pools
        assert network.shapes[-1] == (10,)


def test_the_extreme_is_shown_before_and_after_simplification(
    outcomes: dict[str, Outcome],
) -> None:
    facts = outcomes["extreme"].facts
    assert facts["output"]["parameters"] < facts["input"]["parameters"]
    assert facts["simplified"]["layers"] <= facts["output"]["layers"]
    network = Architecture.from_json(facts["output_network"])
    assert str(network) in outcomes["extreme"].markdown


def test_patterns_are_found_where_they_are() -> None:
    head = (Convolution(4, 3), Linear(3))
    with_pattern = {
        "ReLU after ReLU": (ReLU(), ReLU(), *head),
        "an activation after an activation": (ReLU(), ReLU(), *head),
        "BatchNorm after BatchNorm": (BatchNorm(), BatchNorm(), *head),
        "BatchNorm before the first convolution": (ReLU(), BatchNorm(), *head),
        "a 1 x 1 pool": (MaxPool(1, 1), *head),
        "Dropout": (Dropout(rate=0.5), *head),
        "any idle layer": (ReLU(), ReLU(), *head),
    }
    assert with_pattern.keys() == MOTIFS.keys()
    for motif, layers in with_pattern.items():
        assert MOTIFS[motif](Architecture((1, 8, 8), layers)), motif
        assert not MOTIFS[motif](conv7()), motif
    half = [conv7(), Architecture((1, 8, 8), with_pattern["Dropout"])]
    assert shares_of(half)["Dropout"] == 0.5
    assert set(shares_of([]).values()) == {0.0}


def test_drift_measures_what_was_predicted_on_both_paths(
    outcomes: dict[str, Outcome], made: Bench
) -> None:
    paths = outcomes["drift"].facts["paths"]
    assert list(paths) == ["as fitted", "fine-tuned every 5 steps"]
    for path in paths.values():
        assert [point["step"] for point in path] == list(range(STEPS + 1))
        trained = [point for point in path if point["accuracy"] is not None]
        assert trained
        assert all(0 <= point["accuracy"] <= 1 for point in trained)
    plain, tuned = paths.values()
    assert plain[: HOLDS + 1] == tuned[: HOLDS + 1], "the same until the first fine-tuning"
    assert plain[HOLDS + 1 :] != tuned[HOLDS + 1 :]
    paper = PaperRun.of(made)
    kept = {name: value.clone() for name, value in paper.embedding.state_dict().items()}
    with paper.resources() as resources:
        labels = paper.label([paper.start, *paper.population()], resources)
        with_fine_tuning(paper, labels, resources)
    after = paper.embedding.state_dict()
    assert all(torch.equal(after[name], kept[name]) for name in kept), "the run's own stays"


# ------------------------------------------------------------------ runs behind them


def test_runs_are_shared_and_made_once(made: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(runs, "ProcessPool", None)  # whoever trains fails
    for name in ("table1", "figure3", "figure4"):
        find_experiment(name)(made)


def test_reports_are_written_of_both_runs(made: Bench) -> None:
    assert [path.parent.name for path in made.write_reports()] == ["paper", "archpress"]


def test_a_run_that_was_stopped_goes_on(made: Bench, tmp_path: Path) -> None:
    def stop(told: str, done: int, total: int) -> None:
        if told == "embedding":
            raise KeyboardInterrupt

    there = bench(tmp_path, progress=stop)
    with quick():
        with pytest.raises(KeyboardInterrupt):
            there.run("paper")
        again = replace(there, progress=lambda *told: None).run("paper")
    assert again["compressed"]["digest"] == made.run("paper")["compressed"]["digest"]


@pytest.mark.parametrize("scale", SCALES)
@pytest.mark.parametrize("data", ["fashion-mnist", "cifar10", "cifar100", "svhn", "digits"])
def test_every_profile_is_valid_for_every_data_set(scale: str, data: str, tmp_path: Path) -> None:
    there = Bench(tmp_path, data, scale)  # type: ignore[arg-type]
    paper, ours = there.settings("paper"), there.settings("archpress")
    assert (paper.search.method, ours.search.method) == ("joint", "guided")
    assert paper.final.resolve() == ours.final.resolve()
    assert paper.network == ours.network
    if scale == "paper" and data in TABLE_1:
        assert paper.space.networks == 1500
        assert paper.label.resolve().seeds == paper.label.resolve().epochs == 5
        assert paper.final.resolve().epochs == (50 if data == "fashion-mnist" else 150)
        assert paper.embedding.iterations == (100_000 if data.startswith("cifar") else 80_000)


def test_ours_has_the_compression_that_the_paper_reports() -> None:
    _, flags = flags_of("cifar10", "cpu", "archpress")
    assert flags["search.target_parameters"] == f"{100 / 20.33:.3f}%"
    assert flags["network"] == "conv10-eighth"


def test_unknown_names_are_refused_with_the_nearest(tmp_path: Path) -> None:
    with pytest.raises(SettingsError, match="did you mean 'table1'"):
        find_experiment("tabel1")
    with pytest.raises(SettingsError, match="did you mean 'cpu'"):
        Bench(tmp_path, "digits", "cpus").settings("paper")  # type: ignore[arg-type]
    settings = tmp_path / "named.toml"
    settings.write_text('[data]\nname = "svhn"')
    with pytest.raises(SettingsError, match="names the data: say it with --data"):
        Bench(tmp_path, "digits", "cpu", settings).settings("paper")
    with pytest.raises(SettingsError, match="cannot be read"):
        Bench(tmp_path, "digits", "cpu", tmp_path / "none.toml").settings("paper")


def test_figures_without_the_extra_say_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(__import__("sys").modules, "matplotlib", None)
    with pytest.raises(MissingExtraError, match=r"archpress\[figures\]"):
        drawn(lambda figure, axes: None)


# ------------------------------------------------------------------ other data

CIFAR = pytest.mark.skipif(not (SHARDS / "test_1.med.xz").is_file(), reason="CIFAR-10 is not here")


@pytest.mark.parametrize("data", [pytest.param("cifar10", marks=CIFAR), "cifar100", "svhn"])
def test_table_1_runs_on_other_data_in_a_shortened_form(data: str, tmp_path: Path) -> None:
    folder = write_data(data, tmp_path / "data")
    with quick():
        there = bench(tmp_path, data, data_folder=str(folder))
        outcome = find_experiment("table1")(there)
    published = outcome.markdown.splitlines()[2]
    assert f"{TABLE_1[data].accuracy:.2f}" in published
    result = outcome.facts["archpress"]
    assert result["base"]["parameters"] == (391_924 if data == "cifar100" else 383_194)
    limit = result["base"]["parameters"] / TABLE_1[data].compression
    assert result["compressed"]["parameters"] <= limit
    assert len(result["compressed"]["test_accuracy"]) == 2
