"""One job, start to end: train, score, and a record whatever happens."""

import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import torch
from torch import nn

from archpress.datasets.dataset import DataSet
from archpress.evaluation.record import Evaluation, Job, Status, circumstances
from archpress.files import write_tensors
from archpress.training.augmentation import input_scaling
from archpress.training.given import NOTHING
from archpress.training.precision import Precision
from archpress.training.scoring import accuracy
from archpress.training.steps import reproducible_cudnn
from archpress.training.training import Trained, train


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
        given = job.given or NOTHING
        trained = train(
            job.architecture, job.recipe, data, job.random_seed, precision, on_epoch, given
        )
        made = evaluation_of(job, trained, data)
    except (RuntimeError, MemoryError) as error:
        made = failure_of(job, error)
    facts = circumstances(precision, device_name(data.train.images.device))
    return replace(made, seconds=time.perf_counter() - start, circumstances=facts)


def device_name(device: torch.device) -> str:
    """Return the name of a GPU, or the kind of another device."""
    return torch.cuda.get_device_name(device) if device.type == "cuda" else device.type


def evaluation_of(job: Job, trained: Trained, data: DataSet) -> Evaluation:
    """Return the record of a training that came to an end, scored; its weights are kept."""
    status, reason = _outcome(trained)
    return Evaluation.of(
        job,
        status,
        reason=reason,
        validation_accuracy=_kept_and_scored(trained, job, data) if status == "ok" else None,
        losses=tuple(loss if loss == loss else float("inf") for loss in trained.losses),
        images=min(job.recipe.images or len(data.train), len(data.train)),
        steps=trained.steps,
    )


def failure_of(job: Job, error: BaseException) -> Evaluation:
    """Return the record of a job that ended with an error."""
    status: Status = "out_of_memory" if is_out_of_memory(error) else "failed"
    return Evaluation.of(job, status, reason=_first_line(error))


def _outcome(trained: Trained) -> tuple[Status, str]:
    if trained.diverged:
        return "diverged", f"loss not finite in epoch {len(trained.losses)}"
    if trained.at_chance:
        return "at_chance", f"nothing learned in {trained.steps} steps"
    return "ok", ""


def _kept_and_scored(trained: Trained, job: Job, data: DataSet) -> float:
    if job.weights_path:
        save_weights(trained.model, Path(job.weights_path))
    with reproducible_cudnn():
        return accuracy(trained.model, data.validation, input_scaling(job.recipe, data))


def save_weights(model: nn.Module, path: Path) -> None:
    """Write the state dict as safetensors; the file is there whole or not at all."""
    write_tensors(path, model.state_dict())


def load_weights(model: nn.Module, path: Path) -> nn.Module:
    """Load the state dict of :func:`save_weights` into ``model`` and return it."""
    from safetensors.torch import load_file

    model.load_state_dict(load_file(path))
    return model


_SHORTAGES = ("out of memory", "not enough memory", "allocate memory")


def is_out_of_memory(error: BaseException | None) -> bool:
    """Return whether an error is, or was raised while handling, a lack of memory."""
    while error is not None:
        text = str(error).lower()
        short = isinstance(error, MemoryError | torch.OutOfMemoryError)
        if short or any(words in text for words in _SHORTAGES):
            return True
        error = error.__context__
    return False


def _first_line(error: BaseException) -> str:
    lines = str(error).strip().splitlines()
    return f"{type(error).__name__}: {lines[0] if lines else 'no message'}"
