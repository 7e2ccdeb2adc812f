"""The report page: what it says of finished, stopped, failed and empty runs, from files alone."""

import json
import shutil
from dataclasses import replace
from html.parser import HTMLParser
from pathlib import Path

import pytest

from archpress.compression.selection import front_of
from archpress.errors import RunFolderError
from archpress.evaluation.record import Label
from archpress.files import write_json, write_text
from archpress.reporting.page import report_page, write_report
from archpress.reporting.page.networks import Networks
from archpress.reporting.page.plots import script_json
from archpress.reporting.page.sections import SECTIONS
from archpress.reporting.page.warnings import warnings_of
from archpress.reporting.run_view import RunView
from tests.compression.tasks import network_of
from tests.tiny_runs import FinishedRun, archpress, finish_joint_run


class Page(HTMLParser):
    """What a page has: sections with their text, figures with their data, addresses."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.sections: dict[str, str] = {}
        self.figures: dict[str, dict[str, list[dict[str, object]]]] = {}
        self.addresses: list[str] = []
        self.networks: dict[str, dict[str, str]] = {}
        self._section, self._script = "", ""
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        given = dict(attrs)
        self.addresses += [v for k in ("src", "href") if (v := given.get(k))]
        if tag == "section":
            self._section = given["id"] or ""
            self.sections[self._section] = ""
        self._script = ""
        if tag == "script":
            self._script = given.get("data-for") or given.get("id") or "code"

    def handle_endtag(self, tag: str) -> None:
        self._script = "" if tag == "script" else self._script
        self._section = "" if tag == "section" else self._section

    def handle_data(self, data: str) -> None:
        if self._script == "networks":
            self.networks = json.loads(data)
        elif self._script and self._script != "code":
            self.figures[self._script] = json.loads(data)
        elif self._section and not self._script:
            self.sections[self._section] += data


@pytest.fixture(scope="module")
def joint_run(finished_run: FinishedRun, tmp_path_factory: pytest.TempPathFactory) -> FinishedRun:
    return finish_joint_run(tmp_path_factory.mktemp("joint"), finished_run)


@pytest.fixture
def copied(finished_run: FinishedRun, tmp_path: Path) -> Path:
    return Path(shutil.copytree(finished_run.folder, tmp_path / "run"))


def unfinished(folder: Path, *more: str) -> Path:
    for name in ("result.json", *more):
        (folder / name).unlink()
    return folder


# ------------------------------------------------------------------ finished runs


@pytest.mark.parametrize("which", ["guided", "joint"])
def test_every_section_of_a_finished_run_has_something_to_say(
    which: str, finished_run: FinishedRun, joint_run: FinishedRun
) -> None:
    run = finished_run if which == "guided" else joint_run
    page = Page(report_page(run.folder))
    assert list(page.sections) == [section.name for section in SECTIONS]
    result = json.loads((run.folder / "result.json").read_text())
    said = page.sections["answer"]
    assert f"{result['compressed']['parameters']:,}" in said
    assert f"{result['base']['parameters'] / result['compressed']['parameters']:.1f} times" in said
    expected = {"front-plot", "costs-base", "costs-compressed", "descent-plot"}
    expected |= {"space-accuracy", "space-size"}
    own = {"guided": {"predicted-accuracy"}, "joint": {"objective-plot", "losses-plot"}}
    assert page.figures.keys() == expected | own[which]
    if which == "joint":  # no decoding of so small a search was labelled
        assert "No network was proposed by regressors yet" in page.sections["predictions"]
    for figure in page.figures.values():
        assert any(len(trace["x"]) for trace in figure["traces"])  # type: ignore[arg-type]
    assert len(page.sections["ledger"]) > 50
    assert "label-digits" in page.sections["ledger"]


def test_nothing_is_asked_of_any_network(finished_run: FinishedRun) -> None:
    page = Page(report_page(finished_run.folder))
    assert all(address.startswith(("#", "data:")) for address in page.addresses)


def test_every_labelled_network_is_a_point_that_can_be_clicked(finished_run: FinishedRun) -> None:
    page = Page(report_page(finished_run.folder))
    view = RunView.of(finished_run.folder)
    points = {
        digest
        for trace in page.figures["front-plot"]["traces"]
        for digest in trace.get("customdata", [])  # type: ignore[attr-defined]
    }
    assert {label.architecture.digest for label in view.labels} <= points
    assert points <= page.networks.keys()
    entry = page.networks[view.labels[0].architecture.digest]
    assert str(view.labels[0].architecture) == entry["layers"]
    assert "<svg" in entry["diagram"] and "class Network" in entry["source"]


def test_the_page_is_under_8_mb_and_written_into_the_folder(copied: Path) -> None:
    path = write_report(copied)
    assert path == copied / "report.html"
    assert 4_000_000 < path.stat().st_size < 8_000_000
    assert write_report(copied).read_bytes() == path.read_bytes()


def test_milliseconds_are_told_of_both_networks_and_their_layers(finished_run: FinishedRun) -> None:
    page = Page(report_page(finished_run.folder))
    assert "milliseconds (cpu, 1 thread, batches of 1)" in page.sections["answer"]
    names = [trace["name"] for trace in page.figures["costs-base"]["traces"]]
    assert names == ["parameters", "MACs", "milliseconds"]
    times = page.figures["costs-base"]["traces"][2]["x"]
    assert sum(times) == pytest.approx(100, abs=0.1)  # type: ignore[arg-type]
    (copied_times,) = [json.loads((finished_run.folder / "timings.json").read_text())]
    network = RunView.of(finished_run.folder).input_network
    assert network is not None
    assert len(copied_times["base"]["layers"]) == len(network.layers)


def test_what_a_user_wrote_is_no_markup(copied: Path) -> None:
    record = json.loads((copied / "network.json").read_text())
    record |= {"name": "<b>x", "notes": ["</script><i>note</i>"]}
    write_json(copied / "network.json", record)
    text = report_page(copied)
    assert "<b>x" not in text and "<i>note</i>" not in text
    assert "&lt;b&gt;x" in text
    assert "</script" not in script_json({"a": "</script>"})


# ------------------------------------------------------------------ others


def test_labels_are_those_of_the_runs_own_recipe(finished_run: FinishedRun) -> None:
    view = RunView.of(finished_run.folder)
    recipe = view.settings.label.resolve()
    assert {run.recipe for label in view.labels for run in label.evaluations} == {recipe}
    other = recipe.model_copy(update={"epochs": recipe.epochs + 1})
    known = [
        replace(run, recipe=other, key=f"{run.key}{n}")
        for n in range(5)
        for run in view.runs
        if run.recipe == recipe
    ]
    assert replace(view, runs=[*view.runs, *known]).labels == view.labels


def test_labels_of_other_data_or_arithmetic_are_not_mixed_in(finished_run: FinishedRun) -> None:
    view = RunView.of(finished_run.folder)
    recipe = view.settings.label.resolve()
    some = [run for run in view.runs if run.recipe == recipe][:3]
    gpu = {"precision": "float32", "device": "NVIDIA H200"}
    many = [run for run in view.runs if run.recipe == recipe]
    others = [
        *(replace(run, data_digest="o", key=f"{run.key}-{n}") for n in range(3) for run in many),
        *(replace(run, circumstances=gpu, key=f"{run.key}-gpu") for run in some),
    ]
    assert replace(view, runs=[*others, *view.runs]).labels == view.labels


def test_the_recipe_that_the_run_has_kept_decides_whose_labels_are_shown(
    finished_run: FinishedRun,
) -> None:
    """The default recipe has more epochs on few images, which settings alone do not tell."""
    view = RunView.of(finished_run.folder)
    other = view.settings.label.resolve().model_copy(update={"epochs": 88})
    (first, *rest) = view.runs
    runs = [replace(first, recipe=other), *rest]
    environment = {**view.environment, "label_recipe": other.digest}
    (label,) = replace(view, runs=runs, environment=environment).labels
    assert label.architecture == first.architecture


def test_what_was_predicted_is_an_accuracy_also_without_a_bound(finished_run: FinishedRun) -> None:
    view = RunView.of(finished_run.folder)
    assert view.limits is not None and view.limits.bounds and view.input_network is not None
    half = view.input_network.cost.parameters / 2
    assert view.predicted({"value": 0.5, "parameters": half}) == 0.5
    assert view.predicted({"value": 0.0, "parameters": half}) is None
    search = view.settings.search.model_copy(update={"target_parameters": 0})
    free = replace(view, settings=view.settings.model_copy(update={"search": search}))
    assert free.limits is not None and not free.limits.bounds
    for bound in ({"latency_ms": "0.7ms"}, {"max_accuracy_drop": 0.005}):
        constraints = view.settings.constraints.model_copy(update=bound)
        bounded = free.settings.model_copy(update={"constraints": constraints})
        row = {"value": 0.91, "parameters": half}
        assert replace(free, settings=bounded).predicted(row) == 0.91, "accuracy is what counted"
    objective = 0.9 - 1 - free.limits.weight * 0.5
    assert free.predicted({"value": objective, "parameters": half}) == pytest.approx(0.9)


def test_an_unfinished_run_is_a_page_that_says_so(copied: Path) -> None:
    page = Page(report_page(unfinished(copied)))
    assert "The run was stopped" in page.sections["answer"]
    assert "front-plot" in page.figures
    assert "There is no result to compare yet." in page.sections["comparison"]
    done = archpress("report", copied)
    assert done.exit_code == 0
    assert f"the run in {copied} is not finished" in " ".join(done.stdout.split())
    assert (copied / "report.html").exists()


def test_a_failed_run_says_why(copied: Path) -> None:
    write_json(copied / "failure.json", {"reason": "nothing could be <trained>"})
    page = Page(report_page(unfinished(copied)))
    assert "It said: nothing could be <trained>" in page.sections["answer"]


def test_an_empty_run_is_a_page_too(finished_run: FinishedRun, tmp_path: Path) -> None:
    write_text(tmp_path / "run.toml", (finished_run.folder / "run.toml").read_text())
    page = Page(report_page(tmp_path))
    assert "The run has not begun" in page.sections["answer"]
    assert page.figures == {}
    assert list(page.sections) == [section.name for section in SECTIONS]
    assert all(text.strip() for text in page.sections.values())


def test_a_run_that_ends_with_an_error_leaves_the_reason_until_it_ends_well(
    finished_run: FinishedRun, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*given: object) -> None:
        raise RunFolderError("it cannot be")

    with monkeypatch.context() as patch:
        patch.setattr("archpress.compression.runs.compress", fail)
        assert finished_run.compress(tmp_path / "run").exit_code == 2
    page = Page(report_page(tmp_path / "run"))
    assert "It said: it cannot be" in page.sections["answer"]
    assert "costs-base" in page.figures, "the input network is known"
    assert finished_run.compress(tmp_path / "run", "--resume").exit_code == 0
    assert not (tmp_path / "run" / "failure.json").exists()


def test_a_folder_that_is_no_run_is_refused(tmp_path: Path) -> None:
    with pytest.raises(RunFolderError, match="no run folder"):
        report_page(tmp_path)


@pytest.mark.parametrize("name", ["network.json", "environment.json", "timings.json"])
def test_a_damaged_file_is_named(name: str, copied: Path) -> None:
    (copied / name).write_text("{")
    with pytest.raises(RunFolderError, match=f"{name} is damaged"):
        report_page(copied)


# ------------------------------------------------------------------ warnings


def warned(run: FinishedRun, **changes: object) -> str:
    view = RunView.of(run.folder)
    assert view.result is not None
    compressed = {**view.result["compressed"], **changes}
    rivals = changes.pop("rivals", {})
    timings = changes.pop("timings", view.timings)
    result = {**view.result, "compressed": compressed, "rivals": rivals}
    return " ".join(warnings_of(replace(view, result=result, timings=timings)))  # type: ignore[arg-type]


def test_warnings_are_given_where_they_are_due(finished_run: FinishedRun) -> None:
    rival = {"test_accuracy": [0.99, 0.99]}
    slow = {"base": {"median": 1.0}, "compressed": {"median": 1.2}, "conditions": "cpu"}
    cases = {
        "The budget is missed: 999,999 parameters": {"parameters": 999_999},
        "2 of the final trainings failed": {"failed_seeds": 2},
        "within the noise of the seeds": {"test_accuracy": [0.2, 0.99]},
        "One seed alone": {"test_accuracy": [0.5]},
        "learned from the input network's outputs": {"teacher": "0123"},
        "random search is more accurate by": {
            "test_accuracy": [0.5, 0.51], "rivals": {"random_search": rival}
        },
        "but not faster here: 1.20 ms in place of 1.00 ms": {"timings": slow, "macs": 1},
    }  # fmt: skip
    for words, changes in cases.items():
        assert words in warned(finished_run, **changes), words
    worse = {"random_search": {"test_accuracy": [0.1, 0.11]}}
    quick = {**slow, "compressed": {"median": 0.5}}
    fine = warned(finished_run, test_accuracy=[0.30, 0.31], rivals=worse, timings=quick)
    assert "more accurate" not in fine and "faster" not in fine and "One seed" not in fine
    assert "noise" not in warned(finished_run, test_accuracy=[0.5])


# ------------------------------------------------------------------ parts


def test_the_front_is_what_no_smaller_network_equals() -> None:
    labels = [Label(network_of(n), accuracy, None, ()) for n, accuracy in
              ((3, 0.5), (4, 0.4), (5, 0.7), (6, 0.7), (7, 0.8))]  # fmt: skip
    assert [label.accuracy for label in front_of(labels[::-1])] == [0.5, 0.7, 0.8]
    equal = [Label(network_of(3), accuracy, None, ()) for accuracy in (0.5, 0.6)]
    assert [label.accuracy for label in front_of(equal)] == [0.6]
    assert front_of([]) == []


def test_diagrams_are_of_the_first_networks_and_listings_of_more(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("archpress.reporting.page.networks.DRAWN", 2)
    monkeypatch.setattr("archpress.reporting.page.networks.LISTED", 3)
    networks = Networks()
    digests = [networks.add(network_of(n), "about", drawn=True) for n in range(3, 8)]
    entries = [networks.entries[digest] for digest in digests]
    assert ["diagram" in entry for entry in entries] == [True, True, False, False, False]
    assert ["layers" in entry for entry in entries] == [True, True, True, False, False]
    assert all(entry["about"] == "about" for entry in entries)
