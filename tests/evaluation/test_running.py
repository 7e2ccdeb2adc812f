"""One job: its record where all goes well, and a record, not an exception, where it does not."""

from pathlib import Path

import pytest
import torch

from archpress.architectures.building import build
from archpress.evaluation import running
from archpress.evaluation.running import load_weights, run_job
from archpress.training.augmentation import input_scaling
from archpress.training.scoring import accuracy
from tests.evaluation.tiny import ABSURD, TINY, digits, job, network, recipe


def test_a_run_is_recorded_with_what_it_depends_on() -> None:
    by = recipe(epochs=2)
    record = run_job(job(3, by=by), digits(), "bfloat16")
    assert (record.key, record.seed, record.recipe) == (job(3, by=by).key, 3, by)
    assert (record.status, record.reason, record.images) == ("ok", "", 64)
    assert record.validation_accuracy is not None
    assert (len(record.losses), record.steps, record.seconds > 0) == (2, 8, True)
    assert record.circumstances["precision"] == "bfloat16"
    assert record.circumstances["torch"] == torch.__version__


@pytest.mark.parametrize(("limit", "used"), [(64, 64), (10_000, 1295), (None, 1295)])
def test_the_images_recorded_are_those_that_were_seen(limit: int | None, used: int) -> None:
    assert len(digits().train) == 1295
    record = run_job(job(by=recipe(images=limit, batch_size=1000)), digits(), "float32")
    assert record.images == used


def test_the_validation_part_is_scored_and_the_test_part_is_not_needed() -> None:
    whole, part = (run_job(job(), data, "float32") for data in (digits(), digits().without_test()))
    assert whole.validation_accuracy == part.validation_accuracy


def test_saved_weights_give_the_recorded_accuracy(tmp_path: Path) -> None:
    path = tmp_path / "weights" / "run.safetensors"
    record = run_job(job(weights=str(path)), digits(), "float32")
    model = load_weights(build(network(), seed=99), path)
    scaling = input_scaling(TINY, digits())
    assert accuracy(model, digits().validation, scaling) == record.validation_accuracy
    assert [file.name for file in path.parent.iterdir()] == ["run.safetensors"]


def test_a_run_that_diverges_says_in_which_epoch_and_keeps_no_weights(tmp_path: Path) -> None:
    path = tmp_path / "run.safetensors"
    record = run_job(job(by=ABSURD, weights=str(path)), digits(), "float32")
    assert (record.status, record.validation_accuracy) == ("diverged", None)
    assert record.reason == "loss not finite in epoch 1"
    assert record.losses == (float("inf"),)
    assert record.steps == 4
    assert not path.exists()


def test_a_run_that_learns_nothing_is_recorded_at_chance_and_keeps_no_weights(
    tmp_path: Path,
) -> None:
    path = tmp_path / "run.safetensors"
    by = recipe(epochs=3, learning_rate=1e-9, chance_steps=6)
    record = run_job(job(by=by, weights=str(path)), digits(), "float32")
    assert (record.status, record.reason) == ("at_chance", "nothing learned in 6 steps")
    assert (record.validation_accuracy, record.steps, record.epochs_trained) == (None, 6, 2)
    assert record.losses == pytest.approx((2.4, 2.4), abs=0.3)
    assert not path.exists()


def test_the_steps_of_a_run_that_failed_are_not_known(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(running, "accuracy", _no_memory)
    record = run_job(job(), digits(), "float32")
    assert (record.status, record.steps) == ("out_of_memory", 0)


def _no_memory(*_: object) -> float:
    raise MemoryError


@pytest.mark.parametrize(
    ("error", "status", "reason"),
    [
        (RuntimeError("[enforce fail] DefaultCPUAllocator: not enough memory: you tried\nat c10"),
         "out_of_memory",
         "RuntimeError: [enforce fail] DefaultCPUAllocator: not enough memory: you tried"),
        (torch.OutOfMemoryError("CUDA out of it"), "out_of_memory",
         "OutOfMemoryError: CUDA out of it"),
        (MemoryError(), "out_of_memory", "MemoryError: no message"),
        (RuntimeError("could not create a primitive"), "failed",
         "RuntimeError: could not create a primitive"),
    ],
    ids=["allocator", "device", "python", "something else"],
)  # fmt: skip
def test_a_network_that_cannot_be_trained_is_a_record_with_the_reason(
    error: Exception, status: str, reason: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*_: object) -> None:
        raise error

    monkeypatch.setattr(running, "train", fail)
    record = run_job(job(), digits(), "float32")
    assert (record.key, record.status, record.reason) == (job().key, status, reason)
    assert (record.validation_accuracy, record.losses) == (None, ())


def test_weights_that_cannot_be_written_say_nothing_about_the_network(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("in the way")
    with pytest.raises(OSError, match="file"):
        run_job(job(weights=str(tmp_path / "file" / "run.safetensors")), digits(), "float32")
