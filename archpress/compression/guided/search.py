"""Rounds of labels: what was labelled is learned from, and says what to label next."""

from collections.abc import Callable, Sequence
from dataclasses import replace
from functools import cached_property
from typing import Any

import torch

from archpress.architectures.architecture import Architecture
from archpress.architectures.simplification import simplify
from archpress.compression.admission import filled, refusal
from archpress.compression.contest import held
from archpress.compression.drawing import drawn_within
from archpress.compression.guided.descent import Visit
from archpress.compression.guided.knowledge import (
    BEGUN,
    DESCENT,
    PROPOSALS,
    REGRESSORS,
    Knowledge,
    known_before,
    read_proposals,
)
from archpress.compression.guided.proposals import Proposal
from archpress.compression.guided.proposing import Proposer, Round
from archpress.compression.guided.shrinking import working_task
from archpress.compression.known import known_at_start
from archpress.compression.labelling import (
    check_given_weights,
    label_networks,
    labelled_record,
)
from archpress.compression.run_folder import RunFolder, read_record, seconds_by_stage
from archpress.compression.searched import Searched
from archpress.compression.selection import best
from archpress.compression.settings import RunSettings
from archpress.compression.task import CompressionTask, Resources
from archpress.embedding.pretrained import shipped
from archpress.embedding.readout import Readout, fit_readout
from archpress.embedding.vocabulary import why_inexpressible
from archpress.evaluation.record import Label
from archpress.files import read_json_lines
from archpress.prediction.surrogate import Surrogate
from archpress.training.machine import one_thread

CANDIDATES = "candidates.jsonl"
READ, FEWEST_READ, READOUT = 1_500, 100, 999
"""Networks that the readout is fitted to, how few may do, and which draw they are."""

LABEL, SEARCH = "label", "search"
"""Stages of the ledger."""


class GuidedSearch:
    """The search of one run; each stage is a method, called in order by :meth:`run`.

    Args:
        settings: The run's settings.
        task: What to compress, on what, within which budget.
        resources: Archive, executor and run folder.
        folder: The run folder, to write in.
    """

    def __init__(
        self, settings: RunSettings, task: CompressionTask, resources: Resources, folder: RunFolder
    ) -> None:
        self.settings, self.seed, self.task = settings.guided, settings.seed, task
        self.resources, self.folder = resources, folder
        self.known = Knowledge()
        self.own: Label | None = None
        self.reference: float | None = None
        self.bounds: list[int] = []
        self.rounds = self.settings.rounds
        self.contenders = task.contenders

    def run(self) -> Searched:
        """Return what was found; continues where an earlier call was stopped."""
        self.prepare()
        self.start()
        for number in range(1, self.rounds + 1):
            if self.in_time or self._kept_of(number):
                self.round(number)
        with self.folder.timed(SEARCH), one_thread():
            ranked = self.judged()
        with self.folder.timed("contest"):
            task = replace(self.task, contenders=self.contenders)
            contest = held(ranked, task, self.resources, self.reference)
        proposed = self.known.proposed
        origins = {digest: proposal.in_words for digest, proposal in proposed.items()}
        asked = [*self.known.labels.values(), *([self.own] if self.own else [])]
        return Searched(contest, asked, origins)

    @property
    def in_time(self) -> bool:
        """Whether another round may begin."""
        spent = seconds_by_stage(self.folder.path)
        minutes = (spent.get(LABEL, 0.0) + spent.get(SEARCH, 0.0)) / 60
        return not self.settings.minutes or minutes < self.settings.minutes

    # ------------------------------------------------------------------ labels

    def prepare(self) -> None:
        """See what the archive knows; label the input network where its accuracy is needed."""
        with self.folder.timed(LABEL):
            known = known_at_start(self.resources.archive, self.folder)
            self.known.labels = known_before(self.task, self.resources, known)
            check_given_weights(self.task, self.resources)
            by_drop = self.task.max_accuracy_drop is not None
            if by_drop or self.task.trained is not None:
                labelled = label_networks([self.task.network], self.task, self.resources, "labels")
                self.own = labelled[0]
                self.reference = self.own.accuracy if by_drop else None

    def start(self) -> None:
        """Label a stratified start: the input network thinned to the budget, and random ones.

        What an archive knows within the budget need not be labelled for it; where that is all,
        rounds and contenders are fewer too.
        """
        file = self.folder.path / BEGUN
        if not file.exists():
            known = sum(not refusal(label.architecture, self.task) for label in self.known.usable)
            missing = max(0, self.settings.start - known)
            warm = known > 0 and not missing
            rounds = self.settings.warm_rounds if warm else self.settings.rounds
            most = self.settings.warm_contenders if warm else self.contenders
            begun = {"labels": missing, "rounds": rounds, "contenders": most}
            self.folder.write_json(BEGUN, begun)
        begun = read_record(file, "labels", "rounds")
        self.rounds, missing = begun["rounds"], begun["labels"]
        self.contenders = min(self.contenders, begun.get("contenders", self.contenders))
        self._label(0, lambda: self._stratified(missing), "labels")

    def _stratified(self, count: int) -> list[Proposal]:
        thinned = filled(simplify(self.task.network), self.task)
        own = [] if thinned is None else [thinned]
        new = [network for network in own[:count] if not self.known.has(network)]

        def taken(network: Architecture) -> bool:
            return network in new or self.known.has(network)

        drawn = drawn_within(self.task, count - len(new), self._generator(0), taken)
        digest = self.task.network.digest
        return [
            *(Proposal(network, "start", digest) for network in new),
            *(Proposal(network, "start") for network in drawn),
        ]

    def _label(self, number: int, propose: Callable[[], list[Proposal]], stage: str) -> None:
        """Label what a round proposes; the proposals of a round that was begun are kept."""
        proposals = self._kept_of(number)
        if not proposals:
            with self.folder.timed(SEARCH), one_thread():
                proposals = propose()
            self._append(PROPOSALS, [{"round": number, **p.to_json()} for p in proposals])
        with self.folder.timed(LABEL):
            networks = [proposal.network for proposal in proposals]
            labels = label_networks(networks, self.task, self.resources, stage)
        self.known.add(proposals, labels)
        self._record()

    def _kept_of(self, number: int) -> list[Proposal]:
        """Return what a round proposed when it was begun; nothing where it was not."""
        kept = read_proposals(self.folder.path / PROPOSALS)
        return [proposal for its_round, proposal in kept if its_round == number]

    def _generator(self, number: int) -> torch.Generator:
        return torch.Generator().manual_seed(1_000 * self.seed + number)

    # ------------------------------------------------------------------ rounds

    def round(self, number: int) -> None:
        """Fit the regressors, propose networks and label them."""
        task = working_task(self.task, self.known.usable, self.bounds, self.reference)
        if task is None:
            return
        self.bounds.append(task.budget.parameters or 0)
        self._label(number, lambda: self._proposed(number, task), f"round {number}")

    def _proposed(self, number: int, task: CompressionTask) -> list[Proposal]:
        """Return the batch of a round, its regressors and descent written down."""
        surrogate = self.surrogate(number, self.known.learned(self.task))
        proposer = Proposer(self.settings, task, self.known, surrogate, shipped(), self.readout)
        found = proposer.propose(self._generator(number))
        self._append(REGRESSORS, [{"round": number, **surrogate.to_json()}])
        self._append(DESCENT, descent_rows(number, found, self.task.network.digest))
        return found.batch

    @cached_property
    def readout(self) -> Readout | None:
        """Features as a function of y, for networks such as the budget allows; None for few."""
        drawn = drawn_within(self.task, READ, self._generator(READOUT))
        read = [network for network in drawn if not why_inexpressible(network)]
        return fit_readout(shipped(), read, self.seed) if len(read) >= FEWEST_READ else None

    def surrogate(self, number: int, labels: Sequence[Label]) -> Surrogate:
        """Return the regressors of labels, for a round.

        Raises:
            EmbeddingError: They are too few.
        """
        accuracies = [label.accuracy or 0.0 for label in labels]
        networks = [label.architecture for label in labels]
        return Surrogate.fit(networks, accuracies, 1_000 * self.seed + number)

    def judged(self) -> list[Label]:
        """Return the labels within the budget, each drawn toward what was expected without it.

        A lucky label so loses what it owes to noise.
        """
        learned = self.known.learned(self.task)
        surrogate = self.surrogate(self.rounds + 1, learned)
        held_out = surrogate.judge.held_out.mean.tolist()
        expected = {x.architecture: mean for x, mean in zip(learned, held_out, strict=True)}
        within = [x for x in self.known.usable if not refusal(x.architecture, self.task)]
        others = [x.architecture for x in within if x.architecture not in expected]
        expected |= zip(others, surrogate.means(others).tolist(), strict=True)
        drawn = [
            replace(label, accuracy=((label.accuracy or 0.0) + expected[label.architecture]) / 2)
            for label in within
        ]
        return best(drawn, self.task, len(drawn))

    # ------------------------------------------------------------------ files

    def _record(self) -> None:
        """Write what was proposed so far, each with what its label said."""
        proposed = self.known.proposed.items()
        self.folder.write_json_lines(
            CANDIDATES, [labelled_record(p.to_json(), self.known.labels[d]) for d, p in proposed]
        )

    def _append(self, name: str, records: Sequence[dict[str, Any]]) -> None:
        """Add records to a file, in place of those of the same round."""
        numbers = {record["round"] for record in records}
        rows = read_json_lines(self.folder.path / name)
        kept = [row for row in rows if row["round"] not in numbers]
        self.folder.write_json_lines(name, [*kept, *records])


def descent_rows(number: int, found: Round, own: str) -> list[dict[str, Any]]:
    """Return what ``descent.jsonl`` keeps of a round: the starts, and all that was come upon.

    Args:
        number: Number of the round.
        found: The round.
        own: Digest of the input network.
    """
    if found.descent is None:
        return []
    origins, stopped = list(found.starts.values()), found.descent.stopped
    first = zip(found.starts, found.descent.first.tolist(), strict=True)
    visits = [Visit(network, place, 0, 0.0, v) for place, (network, v) in enumerate(first)]
    return [
        {
            "round": number,
            "start": visit.start,
            "origin": origins[visit.start],
            "from_input": origins[visit.start] == own,
            "step": visit.step,
            "length": round(visit.length, 4),
            "value": visit.value,
            "architecture": visit.network.digest,
            "parameters": visit.network.cost.parameters,
            "macs": visit.network.cost.macs,
            "stopped": stopped[visit.start],
        }
        for visit in (*visits, *found.descent.visits)
    ]
