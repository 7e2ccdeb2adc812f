"""What a guided search knows: labels, whose they are, and which of them it learns from."""

import json
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

from archpress.architectures.architecture import Architecture
from archpress.compression.guided.proposals import Proposal
from archpress.compression.run_folder import RunFolder, read_record, read_records
from archpress.compression.task import CompressionTask, Resources
from archpress.errors import ArchpressError, RunFolderError
from archpress.evaluation.record import Evaluation, Label
from archpress.training.precision import family

KNOWN, BEGUN = "known.json", "begun.json"
PROPOSALS, DESCENT, REGRESSORS = "proposals.jsonl", "descent.jsonl", "regressors.jsonl"
FIELDS = {"source", "origin", "value", "step", "network"}
AGAIN = "delete it and the same networks are proposed again"


@dataclass
class Knowledge:
    """Labels by digest, and which network was proposed by what.

    Attributes:
        labels: Digest -> label; those of an archive and the search's own.
        proposed: Digest -> proposal of every network that the search asked a label of.
    """

    labels: dict[str, Label] = field(default_factory=dict)
    proposed: dict[str, Proposal] = field(default_factory=dict)

    def has(self, network: Architecture) -> bool:
        """Return whether a network has been labelled, or tried in vain."""
        return network.digest in self.labels

    def add(self, proposals: Sequence[Proposal], labels: Sequence[Label]) -> None:
        """Take in what a round labelled."""
        for proposal, label in zip(proposals, labels, strict=True):
            self.labels[proposal.network.digest] = label
            self.proposed.setdefault(proposal.network.digest, proposal)

    @property
    def usable(self) -> list[Label]:
        """Labels that something can be learned from, in a fixed order."""
        return [label for _, label in sorted(self.labels.items()) if label.accuracy is not None]


def check_kept(folder: Path) -> None:
    """Refuse damaged files of a stopped search before anything is written.

    Raises:
        RunFolderError: One is damaged.
    """
    read_proposals(folder / PROPOSALS)
    for name in (REGRESSORS, DESCENT):
        read_records(folder / name, {"round"}, f"delete it and {PROPOSALS}, and it is made again")
    if (folder / KNOWN).exists():
        read_known(folder / KNOWN)
    if (folder / BEGUN).exists():
        read_record(folder / BEGUN, "labels", "rounds")


def read_proposals(path: Path) -> list[tuple[int, Proposal]]:
    """Return (round, proposal) of every network proposed so far.

    Raises:
        RunFolderError: The file is damaged.
    """
    rows = read_records(path, {"round", *FIELDS}, AGAIN)
    try:
        return [(row["round"], Proposal.from_json(row)) for row in rows]
    except ArchpressError as error:
        raise RunFolderError(f"{path} is damaged: {error}; {AGAIN}") from error


def read_known(path: Path) -> list[str]:
    """Return the keys of the runs that the search knew when it began.

    Raises:
        RunFolderError: The file is damaged.
    """
    try:
        kept = json.loads(path.read_text())
    except ValueError:
        kept = None
    if not isinstance(kept, list) or not all(isinstance(key, str) for key in kept):
        raise RunFolderError(
            f"{path} is damaged: expected a JSON list of run keys; put a copy back, or begin anew "
            f"in another folder with this one's archive as --archive"
        )
    return kept


def known_before(
    task: CompressionTask, resources: Resources, folder: RunFolder
) -> tuple[frozenset[str], dict[str, Label]]:
    """Return what the archive held for this task when the search began: run keys, and labels.

    Labels are by digest, of all but the input network, in this run's arithmetic, with all seeds of
    the recipe. Which runs those were is written down, so that a search that is continued knows no
    more.
    """
    recipes = {task.label_recipe.digest, task.contest_recipe.digest}
    comparable = ("", family(resources.executor.precision))
    runs = {
        run.key: run for run in resources.archive
        if run.recipe.digest in recipes
        and run.data_digest == task.data.digest
        and run.arithmetic in comparable
    }  # fmt: skip
    file = folder.path / KNOWN
    if not file.exists():
        folder.write_json(KNOWN, sorted(runs))
    kept = read_known(file)
    labels: dict[str, list[Evaluation]] = {}
    for run in (runs[key] for key in kept if key in runs):
        if run.recipe.digest == task.label_recipe.digest and run.architecture != task.network:
            labels.setdefault(run.architecture.digest, []).append(run)
    by_seed = {digest: sorted(own, key=lambda run: run.seed) for digest, own in labels.items()}
    seeds = task.label_recipe.seeds
    whole = {d: Label.of(own) for d, own in by_seed.items() if len(own) >= seeds}
    return frozenset(kept), whole
