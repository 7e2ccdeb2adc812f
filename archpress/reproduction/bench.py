"""Where an experiment works: run folders that it shares with the others, and what it writes."""

import tomllib
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any

from archpress.baselines import find_baseline
from archpress.compression.preparation import load_data
from archpress.compression.run_folder import read_record, require_same, seconds_by_stage
from archpress.compression.runs import Method, compress_in, rival_in
from archpress.compression.settings import RunSettings, load_settings
from archpress.compression.task import Progress, silent
from archpress.datasets.dataset import DataSet
from archpress.embedding.model import Embedding
from archpress.errors import BudgetError, SettingsError, TrainingError
from archpress.files import write_json, write_text
from archpress.reporting.page import write_report
from archpress.reproduction.scales import (
    METHODS,
    RunName,
    Scale,
    flags_of,
    in_figures,
    searched_in_figures,
)

FAILURES = (BudgetError, TrainingError)
"""What a method may come to that is a row of a table: nothing within the budget, or untrainable."""


@dataclass(frozen=True)
class Outcome:
    """What an experiment found.

    Attributes:
        facts: Figures, as JSON values.
        markdown: The paper's table or figure beside ours.
        figures: Name -> SVG.
    """

    facts: dict[str, Any]
    markdown: str
    figures: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True)
class Bench:
    """The runs behind tables and figures; each is made once, and continued where it was stopped.

    Attributes:
        folder: Holds ``paper/`` and ``archpress/``, run folders of the two methods, and what
            experiments write.
        data: Name of the data set.
        scale: ``paper``, ``gpu`` or ``cpu``.
        settings_file: A TOML file over the settings of every run; None for none.
        data_folder: Where the data lies; None for the usual places.
        workers: Processes; 0 for one per core.
        progress: Told how far each stage is.
    """

    folder: Path
    data: str
    scale: Scale
    settings_file: Path | None = None
    data_folder: str | None = None
    workers: int = 0
    progress: Progress = silent

    def settings(self, method: RunName) -> RunSettings:
        """Return the settings of a method's run: the profile's, the file's, flags over both.

        Raises:
            SettingsError: An unknown scale, or a file that says something wrong.
        """
        profile, flags = flags_of(self.data, self.scale, method)
        flags |= self.written
        flags |= {} if self.data_folder is None else {"data.folder": self.data_folder}
        flags |= {"execution.workers": self.workers} if self.workers else {}
        return load_settings(profile, flags=flags)

    @cached_property
    def written(self) -> dict[str, Any]:
        """What the settings file says, by dotted name."""
        if self.settings_file is None:
            return {}
        try:
            written = dict(_flat(tomllib.loads(self.settings_file.read_text())))
        except (OSError, UnicodeDecodeError, tomllib.TOMLDecodeError) as error:
            raise SettingsError(
                f"settings file {self.settings_file} cannot be read: {error}"
            ) from error
        if "data.name" in written:
            raise SettingsError(f"{self.settings_file} names the data: say it with --data")
        return written

    @cached_property
    def data_set(self) -> DataSet:
        """The data, loaded once."""
        return load_data(self.settings("paper"))

    def run(self, method: RunName) -> dict[str, Any]:
        """Return ``result.json`` of a method's run; made, or continued, where it is not there.

        Where the search came to nothing that can be trained, ``{"failed": why, "seconds": ...}``
        takes its place;
        with ``METHOD-failed.json`` deleted it is tried again.

        Raises:
            RunFolderError: The folder holds a run of other data, profile or settings.
        """
        path, settings = self.folder / method, self.settings(method)
        if there := (path / "run.toml").exists():
            require_same(path, settings)
        failure = self.folder / f"{method}-failed.json"
        if failure.exists():
            return read_record(failure, "failed")
        if not (path / "result.json").exists():
            try:
                compress_in(path, settings, there, self.progress, self.data_set)
            except FAILURES as error:
                return _failed(failure, error, seconds_by_stage(path))
        return read_record(path / "result.json", "base", "compressed", "rivals", "seconds")

    def rival(self, name: str, method: Method | None = None) -> dict[str, Any]:
        """Return the record of a rival at the task of our default method's run, or why it failed.

        Args:
            name: Of the rival.
            method: What it does; None for the baseline of that name.

        Raises:
            TrainingError: That run itself came to nothing.
        """
        ours, path = self.run("archpress"), self.folder / "archpress"
        if "failed" in ours:
            raise TrainingError(f"there is no task for rivals: {ours['failed']}")
        failure = self.folder / f"{name}-failed.json"
        if failure.exists():
            return read_record(failure, "failed")
        if name not in ours["rivals"]:
            try:
                solve = method or find_baseline(name)
                rival_in(path, name, solve, self.progress, self.data_set)
            except FAILURES as error:
                return _failed(failure, error)
        found: dict[str, Any] = self.run("archpress")["rivals"][name]
        return found

    def embedding(self) -> Embedding:
        """Return the embedding that the run of the paper's recipe has learned.

        It is there also where the search in it then came to nothing.
        """
        self.run("paper")
        return Embedding.load(self.folder / "paper")[0]

    def write_reports(self) -> list[Path]:
        """Write ``report.html`` of each run that there is; return the paths."""
        runs = (self.folder / method for method in METHODS)
        return [write_report(path) for path in runs if (path / "run.toml").exists()]

    def write(self, name: str, outcome: Outcome) -> list[Path]:
        """Write ``NAME.json``, ``NAME.md`` and figures; return the paths."""
        settings, ours = self.settings("paper"), self.settings("archpress")
        images = len(self.data_set.train)
        scaled = (
            f"Profile `{self.scale}`, data {self.data}, input network {settings.network}. The "
            "paper's recipe here, the paper's own numbers in brackets: "
            f"{in_figures(settings, images)}. {searched_in_figures(ours, images)}."
        )
        if self.written:
            changes = ", ".join(f"{name} = {value}" for name, value in self.written.items())
            scaled += f" Changed over that: {changes}."
        facts = {"experiment": name, "data": self.data, "profile": self.scale, **outcome.facts}
        pictures = "".join(f"![{figure}]({figure}.svg)\n" for figure in outcome.figures)
        text = "\n".join(filter(None, [f"# {name}\n", outcome.markdown, pictures, scaled]))
        return [
            write_json(self.folder / f"{name}.json", facts),
            write_text(self.folder / f"{name}.md", text + "\n"),
            *(
                write_text(self.folder / f"{figure}.svg", svg)
                for figure, svg in outcome.figures.items()
            ),
        ]


def _failed(
    file: Path, error: Exception, seconds: Mapping[str, float] | None = None
) -> dict[str, Any]:
    write_json(file, {"failed": str(error), **({"seconds": seconds} if seconds else {})})
    return read_record(file, "failed")


def _flat(values: Mapping[str, Any], prefix: str = "") -> list[tuple[str, Any]]:
    found: list[tuple[str, Any]] = []
    for key, value in values.items():
        inner = isinstance(value, Mapping)
        found += _flat(value, f"{prefix}{key}.") if inner else [(f"{prefix}{key}", value)]
    return found
