"""Pretraining of encoder and decoder on architectures without labels, resumable."""

import json
import math
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor

from archpress.embedding.autoencoder import Autoencoder, Losses
from archpress.embedding.checkpoints import load_checkpoint, save_checkpoint
from archpress.embedding.population import CHUNK, Drawn, chunks
from archpress.training.machine import one_thread

CHECKPOINT = "pretraining.safetensors"
CHUNKS_PER_SEED = 1_000_000
LOG_EVERY = 100
CHECKPOINT_EVERY = 500


@dataclass(frozen=True)
class Schedule:
    """How long and how fast.

    Attributes:
        iterations: Gradient steps.
        batch_size: Architectures per step.
        learning_rate: The highest; it rises over the first fiftieth and falls along a cosine.
        noise: Standard deviation of what is added to the standardised embeddings.
        clip: Largest norm of a gradient.
        seed: Decides initial weights, noise and which networks are drawn.
    """

    iterations: int = 18_000
    batch_size: int = 128
    learning_rate: float = 2e-3
    noise: float = 0.1
    clip: float = 1.0
    seed: int = 0

    def rate(self, iteration: int) -> float:
        """Return the learning rate of an iteration."""
        rise = max(1, self.iterations // 50)
        if iteration < rise:
            return self.learning_rate * (iteration + 1) / rise
        along = (iteration - rise) / max(1, self.iterations - rise)
        return self.learning_rate * 0.5 * (1 + math.cos(math.pi * along))


class Pretraining:
    """One pretraining, continued from its folder where it was stopped.

    Args:
        model: What to train.
        schedule: The schedule.
        folder: Where log and checkpoint go.

    Attributes:
        iteration: Steps made.
        step_seconds: Processor time of each step made by this object, drawing not counted.
    """

    def __init__(self, model: Autoencoder, schedule: Schedule, folder: Path) -> None:
        self.model, self.schedule, self.folder = model, schedule, folder
        self.optimizer = torch.optim.AdamW(model.parameters(), fused=True, weight_decay=1e-4)
        self.iteration = 0
        self.step_seconds: list[float] = []
        if (folder / CHECKPOINT).exists():
            self.iteration = load_checkpoint(
                folder / CHECKPOINT, model, self.optimizer, schedule.seed
            )

    @one_thread()
    def run(self, on_progress: Callable[[int, int], None] = lambda done, total: None) -> None:
        """Train to the last iteration; the model is then in evaluation mode."""
        self.model.train()
        batches = self._batches()
        while self.iteration < self.schedule.iterations:
            batch, start = next(batches), time.process_time()
            losses = self.step(batch)
            self.step_seconds.append(time.process_time() - start)
            if self.iteration % LOG_EVERY == 0:
                self._log(losses)
                on_progress(self.iteration, self.schedule.iterations)
            if self.iteration % CHECKPOINT_EVERY == 0:
                self._checkpoint()
        self._checkpoint()
        self.model.eval()

    def step(self, batch: Drawn) -> Losses:
        """Take one gradient step; return the losses before it."""
        self.optimizer.param_groups[0]["lr"] = self.schedule.rate(self.iteration)
        losses = self.model.losses(batch.read(), self._noise(len(batch.classes)))
        self.optimizer.zero_grad(set_to_none=True)
        losses.total.backward()
        torch.nn.utils.clip_grad_norm_(self.model.parameters(), self.schedule.clip)
        self.optimizer.step()
        self.iteration += 1
        return losses

    def _noise(self, count: int) -> Tensor:
        generator = torch.Generator().manual_seed(1_000_003 * self.schedule.seed + self.iteration)
        return self.schedule.noise * torch.randn(count, self.model.size, generator=generator)

    def _batches(self) -> Iterator[Drawn]:
        """Yield batches from the iteration on; a chunk that was begun is drawn again."""
        size = self.schedule.batch_size
        per_chunk = CHUNK // size
        first, skipped = divmod(self.iteration, per_chunk)
        for chunk in chunks(first + CHUNKS_PER_SEED * self.schedule.seed, CHUNK):
            for index in range(skipped, per_chunk):
                yield chunk[size * index : size * (index + 1)]
            skipped = 0

    def _log(self, losses: Losses) -> None:
        line: dict[str, float] = {"iteration": self.iteration}
        line |= {name: round(float(v.detach()), 5) for name, v in losses._asdict().items()}
        with (self.folder / "pretraining.jsonl").open("a") as file:
            file.write(json.dumps(line) + "\n")

    def _checkpoint(self) -> None:
        save_checkpoint(
            self.folder / CHECKPOINT, self.model, self.optimizer, self.iteration,
            self.schedule.seed,
        )  # fmt: skip
