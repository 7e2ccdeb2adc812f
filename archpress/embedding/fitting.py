"""Joint training of encoder, decoder and regressors, with checkpoints."""

import hashlib
import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import torch
from torch import Tensor

from archpress.architectures.architecture import Architecture
from archpress.embedding.checkpoints import load_checkpoint, save_checkpoint
from archpress.embedding.losses import JointLoss, accuracy_loss, joint_loss, parameter_loss
from archpress.embedding.model import Embedding
from archpress.embedding.regressors import ParameterTarget
from archpress.embedding.settings import MIN_LABELLED, EmbeddingSettings
from archpress.embedding.tokens import to_tokens
from archpress.errors import EmbeddingError
from archpress.evaluation.archive_card import held_out
from archpress.training.machine import one_thread

LOG_EVERY = 50
CHECKPOINT_EVERY = 500
CHECKPOINT = "fit.checkpoint.safetensors"


@dataclass(frozen=True)
class Example:
    """An architecture to learn from; ``accuracy`` in [0, 1], or None without a label."""

    architecture: Architecture
    accuracy: float | None


@dataclass(frozen=True)
class Examples:
    """Examples as tensors: tokens ``[B, T, F]``, accuracies (NaN: none) and parameters ``[B]``."""

    tokens: Tensor
    accuracies: Tensor
    parameters: Tensor

    @classmethod
    def of(cls, examples: Sequence[Example]) -> "Examples":
        """Return the tensors of ``examples``."""
        nan = float("nan")
        return cls(
            to_tokens([e.architecture for e in examples]),
            torch.tensor([nan if e.accuracy is None else e.accuracy for e in examples]),
            torch.tensor([e.architecture.cost.parameters for e in examples]),
        )


def split_held_out(
    labelled: Sequence[Example], share: float
) -> tuple[list[Example], list[Example]]:
    """Return (learned from, held out); which is which depends on the networks alone."""
    kept = held_out((example.architecture for example in labelled), share)
    parts: tuple[list[Example], list[Example]] = ([], [])
    for example in labelled:
        parts[example.architecture in kept].append(example)
    return parts


class Fit:
    """One fit, resumable from its folder.

    Args:
        examples: What to learn from, labelled or not.
        settings: Configuration and schedule.
        seed: Decides initial weights and batches; batch ``i`` depends on the seed and ``i`` alone,
            so a resumed fit is the undisturbed one.
        folder: Where ``fit.jsonl`` and the checkpoint go; None for nowhere.

    Raises:
        EmbeddingError: Fewer than eight labelled examples.
    """

    def __init__(
        self,
        examples: Sequence[Example],
        settings: EmbeddingSettings,
        seed: int,
        folder: Path | None = None,
    ) -> None:
        labelled = sum(e.accuracy is not None for e in examples)
        if labelled < MIN_LABELLED:
            raise EmbeddingError(
                f"a fit needs at least {MIN_LABELLED} labelled networks, there are {labelled}"
            )
        self.settings, self.seed, self.folder = settings, seed, folder
        self.data = Examples.of(examples)
        counts = self.data.parameters.float()
        target = ParameterTarget(settings.parameter_target == "log10", float(counts.std()))
        self.targets = target.of(counts)
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(seed)
            self.embedding = Embedding(settings, target)
        self.embedding.parameter_regressor.start_at(float(self.targets.mean()))
        self.optimizer = make_optimizer(self.embedding, settings)
        self.iteration = 0

    @one_thread()  # sums, hence fits, differ with the number of threads
    def run(self, on_progress: Callable[[int, int], None] = lambda done, total: None) -> Embedding:
        """Train to the last iteration; return the embedding in evaluation mode."""
        self._resume()
        self.embedding.train()
        while self.iteration < self.settings.iterations:
            losses = self.step()
            if self.iteration % LOG_EVERY == 0 or self.iteration == self.settings.iterations:
                self._log(losses)
                on_progress(self.iteration, self.settings.iterations)
            if self.iteration % CHECKPOINT_EVERY == 0:
                self._checkpoint()
        return self.embedding.eval()

    def step(self) -> JointLoss:
        """Take one gradient step on one batch; return the losses before it."""
        settings = self.settings
        chosen = self._batch(self.iteration)
        decay = settings.decay_factor ** (self.iteration // settings.decay_period)
        self.optimizer.param_groups[0]["lr"] = settings.learning_rate * decay
        losses = batch_losses(self.embedding, self.data, self.targets, chosen)
        self.optimizer.zero_grad(set_to_none=True)
        losses.total.backward()
        self.optimizer.step()
        self.iteration += 1
        return losses

    def _batch(self, iteration: int) -> Tensor:
        """Return indices of a batch; half of it labelled where unlabelled examples take part."""
        generator = torch.Generator().manual_seed(self.seed * 1_000_003 + iteration)
        labelled = (~self.data.accuracies.isnan()).nonzero().squeeze(1)
        size = self.settings.batch_size
        if len(labelled) == len(self.data.accuracies):
            return torch.randint(len(labelled), (size,), generator=generator)
        some = labelled[torch.randint(len(labelled), (size // 2,), generator=generator)]
        any_of = torch.randint(len(self.data.accuracies), (size - size // 2,), generator=generator)
        return torch.cat([some, any_of])

    def _log(self, losses: JointLoss) -> None:
        if self.folder is None:
            return
        line = {"iteration": self.iteration, "L": float(losses.total.detach())}
        for name, value in zip(("L_d", "L_a", "L_p"), losses[1:], strict=True):
            line[name] = float(value.detach())
        with (self.folder / "fit.jsonl").open("a") as file:
            file.write(json.dumps(line) + "\n")

    @cached_property
    def _task(self) -> str:
        """Digest of what is learned, from what: all but for how long."""
        settings = self.settings.model_dump_json(exclude={"iterations"})
        tensors = (self.data.tokens, self.data.accuracies, self.data.parameters)
        whole = b"".join(tensor.numpy().tobytes() for tensor in tensors)
        return hashlib.sha256(settings.encode() + whole).hexdigest()

    def _checkpoint(self) -> None:
        if self.folder is not None:
            path = self.folder / CHECKPOINT
            save_checkpoint(
                path, self.embedding, self.optimizer, self.iteration, self.seed, self._task
            )

    def _resume(self) -> None:
        """Load the checkpoint of the folder, if one is there, and cut the log back to it."""
        if self.folder is None:
            return
        path = self.folder / CHECKPOINT
        if path.exists():
            self.iteration = load_checkpoint(
                path, self.embedding, self.optimizer, self.seed, self._task
            )
        log = self.folder / "fit.jsonl"
        lines = log.read_text().splitlines() if log.exists() else []
        kept = [line for line in lines if _iteration_of(line) <= self.iteration]
        log.write_text("".join(line + "\n" for line in kept))


def _iteration_of(line: str) -> float:
    try:
        return int(json.loads(line)["iteration"])
    except (json.JSONDecodeError, KeyError):
        return float("inf")


def make_optimizer(embedding: Embedding, settings: EmbeddingSettings) -> torch.optim.Optimizer:
    """Return Nesterov SGD or Adam over all parameters."""
    if settings.optimizer == "adam":
        return torch.optim.Adam(embedding.parameters(), lr=settings.learning_rate)
    return torch.optim.SGD(
        embedding.parameters(), lr=settings.learning_rate, momentum=settings.momentum,
        nesterov=settings.momentum > 0,
    )  # fmt: skip


def batch_losses(
    embedding: Embedding, data: Examples, targets: Tensor, chosen: Tensor
) -> JointLoss:
    """Return L and its terms on the examples at indices ``chosen`` ``[B]``."""
    tokens = data.tokens[chosen]
    prediction = embedding(tokens)
    return joint_loss(
        embedding.codec.loss(prediction.output, tokens),
        accuracy_loss(prediction.accuracy, data.accuracies[chosen]),
        parameter_loss(prediction.parameters, targets[chosen]),
        embedding.settings.lambda_1,
        embedding.settings.lambda_2,
    )


def fine_tune(
    embedding: Embedding, examples: Sequence[Example], iterations: int, learning_rate: float
) -> Embedding:
    """Train on newly labelled networks for a few small steps (ICML version, section 5.3).

    Batch statistics stay as they were fitted; the embedding is changed in place and returned in
    evaluation mode.
    """
    data = Examples.of(examples)
    targets = embedding.parameter_target.of(data.parameters)
    optimizer = torch.optim.SGD(
        embedding.parameters(), lr=learning_rate, momentum=0.5, nesterov=True
    )
    everything = torch.arange(len(examples))
    embedding.eval()
    for _ in range(iterations):
        losses = batch_losses(embedding, data, targets, everything)
        optimizer.zero_grad(set_to_none=True)
        losses.total.backward()
        optimizer.step()
    return embedding
