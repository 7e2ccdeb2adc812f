"""The run of the paper's recipe, open again: its labels, its embedding, descents in it."""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cached_property

import torch
from torch import Tensor

from archpress.architectures.architecture import Architecture
from archpress.architectures.architecture_files import read_architectures
from archpress.compression.joint.descent import descend, mean_distance
from archpress.compression.joint.objective import Objective
from archpress.compression.joint.repair import Repaired, repair
from archpress.compression.labelling import label_networks
from archpress.compression.preparation import prepare
from archpress.compression.runs import opened
from archpress.compression.settings import RunSettings
from archpress.compression.task import CompressionTask, Resources
from archpress.embedding.model import Embedding
from archpress.embedding.tokens import why_inexpressible
from archpress.evaluation.record import Label
from archpress.reproduction.bench import Bench


@dataclass(frozen=True)
class Walk:
    """A descent from one network.

    Attributes:
        points: Embeddings, ``[S, D]``, the start first.
        decoded: What each decodes to, made to build.
        again: Embeddings of those decodings, ``[S, D]``; as ``points`` where one has none.
        accuracies: Predicted at each point, ``[S]``.
        parameters: Predicted at each point as a count, ``[S]``.
    """

    points: Tensor
    decoded: list[Repaired]
    again: Tensor
    accuracies: Tensor
    parameters: Tensor


@dataclass(frozen=True)
class PaperRun:
    """A finished run of the paper's recipe.

    Attributes:
        bench: Where it lies.
        settings: Its settings.
        task: Its task.
        embedding: What it has learned.
    """

    bench: Bench
    settings: RunSettings
    task: CompressionTask
    embedding: Embedding

    @classmethod
    def of(cls, bench: Bench) -> "PaperRun":
        """Return the run of a bench; made, or continued, where it is not finished."""
        bench.run("paper")
        settings = bench.settings("paper")
        return cls(bench, settings, prepare(settings, bench.data_set), bench.embedding())

    @property
    def start(self) -> Architecture:
        """The input network."""
        return self.task.network

    def population(self) -> list[Architecture]:
        """Return the random networks that were labelled."""
        return read_architectures(self.bench.folder / "paper" / "architectures.jsonl")

    def labels(self) -> list[Label]:
        """Return the labels that the embedding was learned from; they are in the archive."""
        with self.resources() as resources:
            return self.label([self.start, *self.population()], resources)

    def label(self, networks: list[Architecture], resources: Resources) -> list[Label]:
        """Return labels by the run's recipe; what its archive has is not made again."""
        return label_networks(networks, self.task, resources, "labels")

    @contextmanager
    def resources(self) -> Iterator[Resources]:
        """Open the run's archive and workers."""
        path = self.bench.folder / "paper"
        with opened(path, self.settings, True, self.task, self.bench.progress) as (_, resources):
            yield resources

    def objective(self, weight: float | None = None) -> Objective:
        """Return L_c of the run, or with another weight of the parameters."""
        table = self.settings.search
        weight = table.parameter_weight if weight is None else weight
        target = self.task.budget.parameters or 0
        return Objective(self.embedding, table.target_accuracy, target, weight)

    @cached_property
    def step_size(self) -> float:
        """eta, as the run's search has it: in units of the embedding where steps are normalised."""
        table = self.settings.search
        if table.step != "normalised":
            return table.step_size
        networks = [self.start, *self.population()]
        usable = [network for network in networks if not why_inexpressible(network)]
        return table.step_size * mean_distance(self.embedding.encode(usable))

    def walk(
        self,
        start: Architecture | None = None,
        steps: int | None = None,
        weight: float | None = None,
    ) -> Walk:
        """Return the descent from a network, the input network by default."""
        table, origin = self.settings.search, start or self.start
        path = list(
            descend(
                self.objective(weight), self.embedding.encode([origin]), steps or table.steps,
                self.step_size, table.step == "normalised",
            )
        )  # fmt: skip
        points = torch.cat([step.embedding for step in path])
        tokens = self.embedding.decode(points)
        kinds = self.embedding.codec.kinds
        decoded = [repair(row, origin.input_shape, origin.classes, kinds) for row in tokens]
        counts = self.embedding.parameter_target.parameters(
            torch.cat([step.objective.parameters for step in path])
        )
        return Walk(
            points,
            decoded,
            self._again(points, decoded),
            torch.cat([step.objective.accuracy for step in path]),
            counts,
        )

    def _again(self, points: Tensor, decoded: list[Repaired]) -> Tensor:
        again = points.clone()
        for place, (network, _) in enumerate(decoded):
            if not why_inexpressible(network):
                again[place] = self.embedding.encode([network])[0]
        return again
