"""Embeddings on the way -> distinct, buildable, affordable networks, best first."""

from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

import torch

from archpress.architectures.architecture import Architecture
from archpress.architectures.simplification import simplify
from archpress.compression.admission import refusal
from archpress.compression.joint.descent import Step
from archpress.compression.joint.objective import Objective
from archpress.compression.joint.repair import repair
from archpress.compression.task import CompressionTask


@dataclass(frozen=True)
class Candidate:
    """A decoded network and where it came from.

    Attributes:
        architecture: The network in canonical form (`simplify`).
        idle: Layers of the decoding that simplification took away.
        origin: Digest of the network that the descent started from.
        start: Number of that start; 0 is the input network.
        step: Steps taken from there.
        repairs: Rules that the decoding needed; none where it was valid as decoded.
        objective: L_c predicted at the embedding.
        predicted_accuracy: a_hat at the embedding.
        predicted_parameters: p_hat at the embedding, as a count.
        stopped: Why the descent ended here; empty elsewhere.
    """

    architecture: Architecture
    idle: int
    origin: str
    start: int
    step: int
    repairs: tuple[str, ...]
    objective: float
    predicted_accuracy: float
    predicted_parameters: float
    stopped: str

    def to_json(self) -> dict[str, Any]:
        """Return the candidate as JSON values, with exact cost in place of layers."""
        cost = self.architecture.cost
        return {
            "start": self.start,
            "origin": self.origin,
            "step": self.step,
            "architecture": self.architecture.digest,
            "layers": len(self.architecture.layers),
            "idle_layers": self.idle,
            "parameters": cost.parameters,
            "macs": cost.macs,
            "repairs": list(self.repairs),
            "objective": self.objective,
            "predicted_accuracy": self.predicted_accuracy,
            "predicted_parameters": self.predicted_parameters,
            "stopped": self.stopped,
        }


def decode_path(
    steps: Iterable[Step], starts: Sequence[Architecture], objective: Objective, first: int = 0
) -> list[Candidate]:
    """Return the simplified decodings of all starts at all steps; step 0 is the start re-read.

    Starts are numbered from ``first``.
    """
    input_shape, classes = starts[0].input_shape, starts[0].classes
    target = objective.embedding.parameter_target
    path = []
    for step in steps:
        tokens = objective.embedding.decode(step.embedding)
        counts = target.parameters(step.objective.parameters)
        for index, start in enumerate(starts):
            decoded, rules = repair(
                tokens[index], input_shape, classes, objective.embedding.codec.kinds
            )
            architecture = simplify(decoded)
            path.append(
                Candidate(
                    architecture, len(decoded.layers) - len(architecture.layers),
                    start.digest, first + index, step.number, rules,
                    float(step.objective.value[index]), float(step.objective.accuracy[index]),
                    float(counts[index]), step.stopped[index],
                )
            )  # fmt: skip
    return path


@dataclass(frozen=True)
class Candidates:
    """The distinct candidates of a descent.

    Attributes:
        ranked: Those that may be labelled, best first.
        refused: Reason -> number of distinct decodings refused for it.
    """

    ranked: list[Candidate]
    refused: Counter[str]


def rank(path: Iterable[Candidate], task: CompressionTask, objective: Objective) -> Candidates:
    """Return the distinct decodings within budget and limits, by L_c of what they re-encode to.

    The accuracy is the regressor's word on the decoded network encoded again, not on the embedding
    it was decoded from; the parameter count is exact.
    """
    distinct: dict[str, Candidate] = {}
    for candidate in path:
        distinct.setdefault(candidate.architecture.digest, candidate)
    refused: Counter[str] = Counter()
    usable = []
    for candidate in distinct.values():
        reason = refusal(candidate.architecture, task)
        if reason:
            refused[reason] += 1
        else:
            usable.append(candidate)
    if not usable:
        return Candidates([], refused)
    architectures = [candidate.architecture for candidate in usable]
    values = reencoded_objective(architectures, objective).tolist()
    order = sorted(range(len(usable)), key=values.__getitem__)
    return Candidates([usable[index] for index in order], refused)


@torch.no_grad()
def reencoded_objective(architectures: list[Architecture], objective: Objective) -> torch.Tensor:
    """Return L_c ``[B]`` of networks: accuracy from their encodings, parameters by exact count."""
    embedding = objective.embedding
    accuracy = embedding.accuracy_regressor(embedding.encode(architectures))
    counts = torch.tensor([a.cost.parameters for a in architectures])
    return objective.combine(accuracy, embedding.parameter_target.of(counts))
