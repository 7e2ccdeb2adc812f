"""Label random networks, learn an embedding of them, descend in it, decode, label, again."""

import json
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field, replace
from statistics import median

import torch

from archpress.architectures.architecture import Architecture
from archpress.architectures.spaces import Limits
from archpress.compression.budget import Budget
from archpress.compression.contest import Contest
from archpress.compression.joint.candidates import Candidate, Candidates, decode_path, rank
from archpress.compression.joint.descent import descend, mean_distance
from archpress.compression.joint.objective import Objective
from archpress.compression.joint.population import draw_population, sampling_record
from archpress.compression.labelling import (
    check_given_weights,
    label_networks,
    labelled_record,
)
from archpress.compression.run_folder import RunFolder
from archpress.compression.searched import Searched
from archpress.compression.selection import best, to_train_finally
from archpress.compression.settings import RunSettings
from archpress.compression.task import CompressionTask, Resources, trainable
from archpress.embedding.diagnostics import diagnose
from archpress.embedding.fitting import (
    CHECKPOINT,
    Example,
    Fit,
    fine_tune,
    split_held_out,
)
from archpress.embedding.model import Embedding
from archpress.embedding.tokens import why_inexpressible
from archpress.evaluation.record import Label
from archpress.training.machine import one_thread

UNLABELLED_SEED = 1_000_000
PATH_MACS = 4
PATH_MEMORY = 16
"""What a decoding measured along the path may cost, in multiples of the input network's cost."""


@dataclass
class Search:
    """What the rounds of a search have come to.

    Attributes:
        labelled: Digest -> label of every network labelled so far.
        found: Digest -> candidate of every decoding labelled so far.
        measured: Decodings along the path labelled to measure the regressors; never chosen.
        path: Every decoding of every round, by round.
        refused: Per round, how many distinct decodings were refused, by reason.
    """

    labelled: dict[str, Label]
    found: dict[str, Candidate] = field(default_factory=dict)
    measured: list[tuple[Candidate, Label]] = field(default_factory=list)
    path: list[tuple[int, Candidate]] = field(default_factory=list)
    refused: list[dict[str, int]] = field(default_factory=list)


class JointSearch:
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
        self.settings, self.task = settings, task
        self.resources, self.folder = resources, folder

    def run(self) -> Searched:
        """Return what was found; continues where an earlier call was stopped."""
        with self.folder.timed("sample"):
            population = self.sample()
        with self.folder.timed("label"):
            check_given_weights(self.task, self.resources)
            labels = self.label([self.task.network, *population])
        with self.folder.timed("fit"):
            embedding = self.fit(labels)
        with self.folder.timed("search"):
            search = self.search(embedding, labels)
        return Searched(
            Contest(self.finalists(search)),
            [*search.labelled.values(), *(label for _, label in search.measured)],
            {digest: _origin(candidate) for digest, candidate in search.found.items()},
        )

    def sample(self) -> list[Architecture]:
        """Return the population to label, drawn once and kept in ``architectures.jsonl``."""
        path = self.folder.path / "architectures.jsonl"
        if path.exists():
            lines = path.read_text().splitlines()
            return [Architecture.from_json(json.loads(line)) for line in lines]
        generator = torch.Generator().manual_seed(self.settings.seed)
        count = self.settings.space.networks
        networks, sample = draw_population(self.task, count, generator)
        self.folder.write_json("sampling.json", sampling_record(sample))
        self.folder.write_json_lines("architectures.jsonl", [a.to_json() for a in networks])
        return networks

    def label(self, architectures: Sequence[Architecture], stage: str = "labels") -> list[Label]:
        """Return the expected accuracy of architectures (Algorithm 1, line 3)."""
        return label_networks(architectures, self.task, self.resources, stage)

    def fit(self, labels: Sequence[Label]) -> Embedding:
        """Return the embedding, learned jointly (Algorithm 1, TRAIN) or loaded."""
        if (self.folder.path / "embedding.json").exists():
            return Embedding.load(self.folder.path)[0]
        learned, held_out = split_held_out(examples(labels), self.settings.embedding.held_out)
        fit = Fit(
            [*learned, *self._unlabelled()], self.settings.embedding, self.settings.seed,
            self.folder.path,
        )  # fmt: skip
        embedding = fit.run(self.resources.reporter("embedding"))
        facts = {"labelled": len(learned), "held_out": diagnose(embedding, held_out)}
        embedding.save(self.folder.path, facts)
        (self.folder.path / CHECKPOINT).unlink(missing_ok=True)
        return embedding

    def _unlabelled(self) -> list[Example]:
        count = self.settings.embedding.unlabelled
        generator = torch.Generator().manual_seed(self.settings.seed + UNLABELLED_SEED)
        drawn = self.task.space.sample(count, generator).architectures
        return [Example(architecture, None) for architecture in drawn]

    @one_thread()
    def search(self, embedding: Embedding, labels: Sequence[Label]) -> Search:
        """Descend, decode and label, round after round (Algorithm 1, COMPRESS)."""
        table = self.settings.search
        search = Search({label.architecture.digest: label for label in labels})
        for number in range(table.rounds):
            if number and table.fine_tune_iterations:
                embedding = fine_tune(
                    embedding, examples(search.labelled.values()),
                    table.fine_tune_iterations, table.fine_tune_learning_rate,
                )  # fmt: skip
            candidates = self._descend(embedding, search, number)
            chosen = self._to_label(candidates, search)
            labelled = self.label([c.architecture for c in chosen], f"candidates {number + 1}")
            for candidate, label in zip(chosen, labelled, strict=True):
                search.labelled.setdefault(label.architecture.digest, label)
                search.found.setdefault(label.architecture.digest, candidate)
        search.measured = self._measure_path(search)
        self._record(search)
        return search

    def _descend(self, embedding: Embedding, search: Search, number: int) -> Candidates:
        table = self.settings.search
        objective = Objective(
            embedding, table.target_accuracy, self._target(search),
            table.parameter_weight,
        )  # fmt: skip
        starts = self._starts(search)
        labelled = [label.architecture for label in search.labelled.values()]
        everything = embedding.encode([a for a in labelled if not why_inexpressible(a)])
        normalised = table.step == "normalised"
        eta = table.step_size * (mean_distance(everything) if normalised else 1.0)
        steps = descend(objective, embedding.encode(starts), table.steps, eta, normalised)
        first = int(starts[0] != self.task.network)
        path = decode_path(steps, starts, objective, first)
        candidates = rank(path, self.task, objective)
        search.path += [(number, candidate) for candidate in path]
        search.refused.append(dict(candidates.refused))
        return candidates

    def _target(self, search: Search) -> int:
        """Return p_0: the bound of parameters, or what usually goes with the other bounds.

        That is the median size of labelled networks within them; 0 without any.
        """
        budget = self.task.budget
        if budget.parameters is not None or not budget.bounds:
            return budget.parameters or 0
        within = best(search.labelled.values(), self.task, len(search.labelled))
        sizes = [label.architecture.cost.parameters for label in within]
        return int(median(sizes)) if sizes else 0

    def _starts(self, search: Search) -> list[Architecture]:
        """Return the input network, where the embedding takes it, and the best labelled ones.

        The labelled ones are within the budget; where none is, they are the best of any size.
        """
        own = [] if why_inexpressible(self.task.network) else [self.task.network]
        wanted = self.settings.search.starts - len(own)
        known = [e for e in search.labelled.values() if not why_inexpressible(e.architecture)]
        others = best(known, self.task, wanted)
        if not own and not others:
            others = best(known, replace(self.task, budget=Budget(None)), wanted)
        return [*own, *(label.architecture for label in others)]

    def _to_label(self, candidates: Candidates, search: Search) -> list[Candidate]:
        """Return the best candidates that have no label yet."""
        new = [c for c in candidates.ranked if c.architecture.digest not in search.labelled]
        return new[: self.settings.search.candidates]

    def _measure_path(self, search: Search) -> list[tuple[Candidate, Label]]:
        """Label the first decodings from the input network, refused or not (section 5.3)."""
        cost, steps = self.task.network.cost, self.settings.search.label_path
        if not steps:
            return []
        limits = Limits(
            max_macs=PATH_MACS * cost.macs, max_activation_bytes=PATH_MEMORY * cost.activation_bytes
        )
        distinct: dict[str, Candidate] = {}
        for number, candidate in search.path:
            on_path = (number, candidate.start) == (0, 0)
            if on_path and candidate.step <= steps:
                distinct.setdefault(candidate.architecture.digest, candidate)
        path = [c for c in distinct.values() if trainable(limits, c.architecture)]
        return list(zip(path, self.label([c.architecture for c in path], "path"), strict=True))

    def finalists(self, search: Search) -> list[Label]:
        """Return the best labelled networks, decoded ones only unless settings say otherwise."""
        pool = search.labelled
        if not self.settings.search.consider_labelled:
            pool = {digest: label for digest, label in pool.items() if digest in search.found}
        own = search.labelled.get(self.task.network.digest)
        return to_train_finally(pool.values(), self.task, own.accuracy if own else None)

    def _record(self, search: Search) -> None:
        """Write every decoding, the labelled candidates, and what was measured along the path."""
        self.folder.write_json_lines(
            "descent.jsonl", [{"round": number, **c.to_json()} for number, c in search.path]
        )
        self.folder.write_json("refused.json", search.refused)
        found = [(candidate, search.labelled[d]) for d, candidate in search.found.items()]
        for name, pairs in (("candidates", found), ("path", search.measured)):
            self.folder.write_json_lines(
                f"{name}.jsonl",
                [labelled_record(candidate.to_json(), label) for candidate, label in pairs],
            )


def examples(labels: Iterable[Label]) -> list[Example]:
    """Return what the embedding can learn from labels.

    Those without an accuracy say nothing, and networks that it cannot express cannot be shown.
    """
    return [
        Example(label.architecture, label.accuracy)
        for label in labels
        if label.accuracy is not None and not why_inexpressible(label.architecture)
    ]


def _origin(candidate: Candidate) -> str:
    """Return in words where a candidate came from."""
    start = "the input network" if candidate.start == 0 else f"labelled network {candidate.origin}"
    return f"descent from {start}, step {candidate.step}"
