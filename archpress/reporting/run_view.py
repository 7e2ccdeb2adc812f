"""What a run folder holds, read once; what is not there yet is None or empty."""

import json
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any

from archpress.architectures.architecture import Architecture
from archpress.compression.budget import LATENCY, Budget
from archpress.compression.guided.knowledge import BEGUN
from archpress.compression.known import costless
from archpress.compression.preparation import make_budget
from archpress.compression.progress_file import PROGRESS
from archpress.compression.run_folder import is_held, read_settings, seconds_by_stage
from archpress.compression.runs import FAILURE, TIMINGS
from archpress.compression.selection import front_of
from archpress.compression.settings import RunSettings
from archpress.errors import ArchiveError, RunFolderError
from archpress.evaluation.archive import Archive
from archpress.evaluation.record import Evaluation, Label, labels_of
from archpress.files import read_json_lines


@dataclass(frozen=True)
class RunView:
    """One run, to be shown.

    Attributes:
        folder: Where it lies.
        settings: Its settings.
        result: ``result.json``; None where the run is not finished.
        failure: Why it ended; empty where it did not fail.
        environment: Versions, processor, precision.
        network: What was found about the input network.
        proposals: Networks labelled by a search, with their labels.
        descent: What the descents came upon.
        fit: Losses of the joint fit.
        regressors: How well regressors told labels that they had not seen, by round.
        seconds: By stage.
        progress: Stages of the process that works in the folder, or did last: what is done, what
            there is in all, seconds so far, and what was done when these began.
        held: Whether a process is working in the folder.
        timings: Milliseconds of input network and result, and of their layers.
        runs: All trainings in the archive.
    """

    folder: Path
    settings: RunSettings
    result: dict[str, Any] | None
    failure: str
    environment: dict[str, Any]
    network: dict[str, Any]
    proposals: list[dict[str, Any]]
    descent: list[dict[str, Any]]
    fit: list[dict[str, Any]]
    regressors: list[dict[str, Any]]
    seconds: dict[str, float]
    progress: dict[str, list[float]]
    held: bool
    timings: dict[str, Any]
    runs: list[Evaluation] = field(repr=False)

    @classmethod
    def of(cls, folder: Path) -> "RunView":
        """Read a run folder.

        Raises:
            RunFolderError: It is none, or a file is damaged.
        """
        held = is_held(folder)  # first: of a run that ends meanwhile all that is read is then there
        settings = read_settings(folder)
        lines = {
            name: read_json_lines(folder / f"{name}.jsonl")
            for name in ("candidates", "descent", "fit", "regressors")
        }
        return cls(
            folder,
            settings,
            _record(folder / "result.json"),
            (_record(folder / FAILURE) or {}).get("reason", ""),
            _record(folder / "environment.json") or {},
            _record(folder / "network.json") or {},
            lines["candidates"],
            lines["descent"],
            lines["fit"],
            lines["regressors"],
            seconds_by_stage(folder),
            _record(folder / PROGRESS) or {},
            held,
            _record(folder / TIMINGS) or {},
            _runs(folder / "archive.sqlite"),
        )

    @property
    def state(self) -> str:
        """``finished``, ``running``, ``failed``, ``stopped`` or ``empty``."""
        if self.result is not None:
            return "finished"
        if self.held:
            return "running"
        if self.failure:
            return "failed"
        started = bool(self.runs or self.seconds or (self.folder / BEGUN).exists())
        return "stopped" if started else "empty"

    @cached_property
    def input_network(self) -> Architecture | None:
        """The input network; None where the run has not come to it."""
        if self.result is not None:
            return self.architecture(self.result["base"])
        return self.architecture(self.network) if "architecture" in self.network else None

    @cached_property
    def compressed(self) -> Architecture | None:
        """The network that is the result."""
        return None if self.result is None else self.architecture(self.result["compressed"])

    def architecture(self, record: dict[str, Any]) -> Architecture:
        """Return the network of a result's record."""
        return Architecture.from_json(record["architecture"])

    @cached_property
    def labels(self) -> list[Label]:
        """The labels of networks that learned anything, by the run's own recipe of labels.

        Where no training has that one, by the recipe that most have. Trainings on other data, or
        another split of it, are left out, and those in another arithmetic than most.
        """
        groups: dict[tuple[str, str], list[Evaluation]] = {}
        data = self.environment.get("data_digest")
        for run in (run for run in self.runs if data in (None, run.data_digest)):
            groups.setdefault((run.recipe.digest, run.arithmetic), []).append(run)
        recipe = self.environment.get("label_recipe", self.settings.label.resolve().digest)
        own = [runs for key, runs in groups.items() if key[0] == recipe]
        chosen = max(own or groups.values(), key=len, default=[])
        return [label for label in labels_of(chosen) if label.accuracy is not None]

    @cached_property
    def front(self) -> list[Label]:
        """The labels that no smaller network equals, smallest first."""
        return front_of(self.labels)

    @cached_property
    def limits(self) -> Budget | None:
        """The budget but for latency, which is measured; None where the input is not known yet."""
        if self.input_network is None:
            return None
        constraints = self.settings.constraints.model_copy(update={LATENCY: None})
        counted = self.settings.model_copy(update={"constraints": constraints})
        return make_budget(counted, self.input_network)

    @property
    def budget(self) -> int | None:
        """The bound of parameters, where there is one and the size of the input is known."""
        return None if self.limits is None else self.limits.parameters

    def predicted(self, row: dict[str, Any]) -> float | None:
        """Return the accuracy that was predicted of a proposal or of a decoding of the descent.

        Of a guided search it is what the network is expected to reach at least; where nothing is
        bounded its record has the objective (`selection.worth`), of which the size is taken out.
        """
        if self.settings.search.method == "joint":
            return row.get("predicted_accuracy")
        value = row.get("value")
        if not value:  # nothing was: it is of the start
            return None
        asked = self.settings.constraints
        by_accuracy = asked.given or asked.max_accuracy_drop is not None
        if by_accuracy or not self.limits or self.limits.bounds or not self.input_network:
            return float(value)
        share = row["parameters"] / self.input_network.cost.parameters
        return float(value + 1 + self.limits.weight * share)

    def allows(self, network: Architecture) -> bool:
        """Return whether a network is within the budget, as far as it is counted."""
        return self.limits is None or self.limits.allows(network)

    @cached_property
    def own_runs(self) -> list[Evaluation]:
        """The trainings of this run: those that cost it nothing are left out."""
        free = costless(self.folder)
        return [run for run in self.runs if run.key not in free]


def _record(path: Path) -> dict[str, Any] | None:
    if not path.exists():
        return None
    try:
        record = json.loads(path.read_text())
    except (OSError, ValueError) as error:
        raise RunFolderError(f"{path} is damaged: {error}") from error
    if not isinstance(record, dict):
        raise RunFolderError(f"{path} is damaged: expected a JSON object")
    return record


def _runs(path: Path) -> list[Evaluation]:
    if not path.exists():
        return []
    try:
        with Archive.open_readonly(path) as archive:
            return list(archive)
    except ArchiveError:
        return []  # a page without labels says more than none
