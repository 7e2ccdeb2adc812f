"""What a guided search knows: labels, whose they are, and which of them it learns from."""

import math
from collections.abc import Sequence, Set
from dataclasses import dataclass, field
from pathlib import Path

from archpress.architectures.architecture import Architecture
from archpress.compression.guided.proposals import Proposal
from archpress.compression.known import KNOWN, read_known
from archpress.compression.run_folder import read_record, read_records
from archpress.compression.task import CompressionTask, Resources
from archpress.errors import ArchpressError, RunFolderError
from archpress.evaluation.record import Label, labels_of

BEGUN = "begun.json"
PROPOSALS, DESCENT, REGRESSORS = "proposals.jsonl", "descent.jsonl", "regressors.jsonl"
FIELDS = {"source", "origin", "value", "step", "network"}
MOST_KNOWN = 600
"""Labels of an archive that are learned from: regressors cost up to the cube of their number."""
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

    def learned(self, task: CompressionTask) -> list[Label]:
        """Return the labels that the regressors learn from, in the order of `usable`.

        All of the search's own; of an archive that holds very many those nearest to the budget, or
        of all sizes where there is none or the smallest within an accuracy drop is sought.
        """
        theirs = [x for x in self.usable if x.architecture.digest not in self.proposed]
        left_out = {x.architecture.digest for x in theirs} - {
            x.architecture.digest for x in _most_telling(theirs, task)
        }
        return [x for x in self.usable if x.architecture.digest not in left_out]


def _most_telling(labels: Sequence[Label], task: CompressionTask) -> Sequence[Label]:
    if len(labels) <= MOST_KNOWN:
        return labels
    if not task.budget.bounds or task.max_accuracy_drop is not None:
        by_size = sorted(labels, key=lambda x: x.architecture.cost.parameters)
        return [by_size[place * len(labels) // MOST_KNOWN] for place in range(MOST_KNOWN)]

    def distance(label: Label) -> float:
        return abs(math.log(max(1e-9, task.budget.share_used(label.architecture, task.latency))))

    return sorted(labels, key=distance)[:MOST_KNOWN]


def check_kept(folder: Path) -> None:
    """Refuse damaged files of a stopped search before anything is written.

    Raises:
        RunFolderError: One is damaged.
    """
    read_proposals(folder / PROPOSALS)
    for name in (REGRESSORS, DESCENT):
        read_records(folder / name, {"round"}, f"delete it and {PROPOSALS}, and it is made again")
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


def labels_asked(folder: Path) -> int | None:
    """Return how many labels a finished search asked for; None where it began with known ones.

    Then it needed fewer of its own than a search does that knows none.
    """
    if (folder / KNOWN).exists() and read_known(folder / KNOWN):
        return None
    return len(read_proposals(folder / PROPOSALS)) or None


def known_before(task: CompressionTask, resources: Resources, known: Set[str]) -> dict[str, Label]:
    """Return the labels that the archive held for this task when the search began, by digest.

    Of all but the input network, in this run's arithmetic, with all seeds of the recipe.

    Args:
        task: Gives data and recipe.
        resources: Archive, and the arithmetic.
        known: Keys of the runs that the archive held then.
    """
    comparable = ("", resources.executor.arithmetic)
    runs = [
        run for run in resources.archive
        if run.key in known
        and run.recipe.digest == task.label_recipe.digest
        and run.data_digest == task.data.digest
        and run.arithmetic in comparable
        and run.architecture != task.network
    ]  # fmt: skip
    whole = [x for x in labels_of(runs) if len(x.evaluations) >= task.label_recipe.seeds]
    return {label.architecture.digest: label for label in whole}
