"""One job, start to end: train, score, and a record whatever happens."""

import time
from collections.abc import Callable
from pathlib import Path

import torch
from torch import nn

from archpress.evaluation.augmentation import input_scaling
from archpress.evaluation.datasets import DataSet
from archpress.evaluation.precision import Precision
from archpress.evaluation.record import Evaluation, Job, Status, circumstances
from archpress.evaluation.scoring import accuracy
from archpress.evaluation.training import Trained, train
from archpress.files import write_tensors


def run_job(
    job: Job,
    data: DataSet,
    precision: Precision,
    on_epoch: Callable[[int], None] = lambda epoch: None,
) -> Evaluation:
    """Train and score one architecture; a failure is a record with its reason.

    Raises:
        OSError: The trained weights cannot be written; that says nothing about the network.
    """
    start = time.perf_counter()
    try:
        trained = train(job.architecture, job.recipe, data, job.random_seed, precision, on_epoch)
        score = _score(trained, job, data)
    except (RuntimeError, MemoryError) as error:
        return Evaluation.of(
            job, _status_of(error), reason=_first_line(error),
            seconds=time.perf_counter() - start, circumstances=circumstances(precision),
        )  # fmt: skip
    status, reason = _outcome(trained)
    return Evaluation.of(
        job,
        status,
        reason=reason,
        validation_accuracy=score,
        losses=tuple(loss if loss == loss else float("inf") for loss in trained.losses),
        images=min(job.recipe.images or len(data.train), len(data.train)),
        steps=trained.steps,
        seconds=time.perf_counter() - start,
        circumstances=circumstances(precision),
    )


def _outcome(trained: Trained) -> tuple[Status, str]:
    if trained.diverged:
        return "diverged", f"loss not finite in epoch {len(trained.losses)}"
    if trained.at_chance:
        return "at_chance", f"nothing learned in {trained.steps} steps"
    return "ok", ""


def _score(trained: Trained, job: Job, data: DataSet) -> float | None:
    if trained.diverged or trained.at_chance:
        return None
    if job.weights_path:
        save_weights(trained.model, Path(job.weights_path))
    return accuracy(trained.model, data.validation, input_scaling(job.recipe, data))


def save_weights(model: nn.Module, path: Path) -> None:
    """Write the state dict as safetensors; the file is there whole or not at all."""
    write_tensors(path, model.state_dict())


def load_weights(model: nn.Module, path: Path) -> nn.Module:
    """Load the state dict of :func:`save_weights` into ``model`` and return it."""
    from safetensors.torch import load_file

    model.load_state_dict(load_file(path))
    return model


def _status_of(error: Exception) -> Status:
    text = str(error).lower()
    short = isinstance(error, MemoryError | torch.OutOfMemoryError)
    return "out_of_memory" if short or "memory" in text else "failed"


def _first_line(error: Exception) -> str:
    lines = str(error).strip().splitlines()
    return f"{type(error).__name__}: {lines[0] if lines else 'no message'}"
