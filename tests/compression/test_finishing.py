"""Final training: who is chosen, and that the test set is read for two networks, once."""

import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file

from archpress.architectures.architecture import Architecture
from archpress.architectures.building import build
from archpress.compression import finishing
from archpress.compression.finishing import Finished, finish
from archpress.compression.result import CompressionResult
from archpress.compression.task import CompressionTask, Resources, TrainedNetwork
from archpress.errors import ArchpressError, BudgetError
from archpress.evaluation.archive import Archive
from archpress.training.distillation import Teacher
from tests.compression.tasks import (
    FINAL,
    Scripted,
    label_of,
    make_task,
    network_of,
    tiny_data,
    watched,
)

NETWORKS = [network_of(width) for width in (3, 4, 5)]
ACCURACIES: dict[str, float | None] = {
    NETWORKS[0].digest: 0.6, NETWORKS[1].digest: 0.8, NETWORKS[2].digest: 0.7
}  # fmt: skip


@dataclass
class Bench:
    """A task with a watched test part, and what works on it."""

    task: CompressionTask
    resources: Resources
    executor: Scripted
    reads: list[int]
    reported: list[tuple[str, int, int]] = field(default_factory=list)

    def finish(self, networks: Sequence[Architecture] = NETWORKS) -> tuple[Finished, Finished]:
        return finish(self.task, [label_of(n, 0.5) for n in networks], self.resources)


@pytest.fixture
def bench(tmp_path: Path) -> Iterator[Bench]:
    data, reads = watched(tiny_data())
    task = make_task(data=data)
    executor = Scripted(data, dict(ACCURACIES))
    with Archive(tmp_path / "archive.sqlite") as archive:
        bench = Bench(task, Resources(archive, executor, tmp_path), executor, reads)
        bench.resources = replace(
            bench.resources, progress=lambda *call: bench.reported.append(call)
        )
        reads.clear()
        yield bench


def test_the_finalist_that_validates_best_over_seeds_is_chosen(bench: Bench) -> None:
    base, chosen = bench.finish()
    assert base.architecture == bench.task.network
    assert chosen.architecture == NETWORKS[1]
    assert chosen.validation_accuracy == pytest.approx((0.80, 0.81))
    assert base.validation_accuracy == pytest.approx((0.50, 0.51))


def test_the_smallest_finalist_within_the_drop_of_the_input_network_is_chosen(
    bench: Bench,
) -> None:
    """The input network validates at 0.505: 0.6, 0.8 and 0.7 are all above."""
    bench.task = replace(bench.task, max_accuracy_drop=0.0)
    assert bench.finish()[1].architecture == NETWORKS[0]
    bench.executor.accuracies[bench.task.network.digest] = 0.69
    with Archive.in_memory() as archive:
        bench.resources = replace(bench.resources, archive=archive)
        assert bench.finish()[1].architecture == NETWORKS[1]


def test_nothing_is_tested_where_no_finalist_is_within_the_drop(bench: Bench) -> None:
    bench.task = replace(bench.task, max_accuracy_drop=0.05)
    bench.executor.accuracies[bench.task.network.digest] = 0.9
    with pytest.raises(BudgetError, match="no finalist is within 5 points"):
        bench.finish()
    assert bench.reads == []


def test_the_test_set_is_read_for_the_input_network_and_the_chosen_one_only(
    bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    scored: list[int] = []
    real = finishing.accuracy

    def counted(model: torch.nn.Module, part: object, scaling: object) -> float:
        assert part is bench.task.data.test
        scored.append(sum(p.numel() for p in model.parameters()))
        return real(model, part, scaling)  # type: ignore[arg-type]

    monkeypatch.setattr(finishing, "accuracy", counted)
    bench.finish()
    sizes = [bench.task.network.cost.parameters, NETWORKS[1].cost.parameters]
    assert scored == [sizes[0]] * 2 + [sizes[1]] * 2
    assert len(bench.reads) == 4, "one batch of images for each network and seed"
    assert len(bench.executor.jobs) == 4 * 2, "all four are trained"
    assert not any(len(bench.executor.data.test) for _ in bench.executor.jobs)


def test_a_second_call_reads_and_trains_nothing(bench: Bench) -> None:
    first = bench.finish()
    bench.reads.clear()
    bench.executor.jobs.clear()
    assert bench.finish() == first
    assert (bench.reads, bench.executor.jobs) == ([], [])


def test_a_score_that_is_missing_is_read_and_no_other(bench: Bench) -> None:
    first = bench.finish()
    path = bench.resources.folder / "results" / f"test-{NETWORKS[1].digest}.json"
    scores = json.loads(path.read_text())
    assert list(scores.values()) == list(first[1].test_accuracy)
    missing = scores.pop(list(scores)[1])
    kept = next(iter(scores))
    path.write_text(json.dumps({kept: 0.123}))
    bench.reads.clear()
    assert bench.finish()[1].test_accuracy == (0.123, missing)
    assert len(bench.reads) == 1


def test_scores_are_the_share_of_right_answers_of_the_kept_weights(bench: Bench) -> None:
    _, chosen = bench.finish()
    mean, deviation = (values.tolist() for values in chosen.scaling)
    test = tiny_data().test
    images = (test.images / 255 - mean[0]) / deviation[0]
    for path, score in zip(chosen.weights, chosen.test_accuracy, strict=True):
        model = build(NETWORKS[1])
        model.load_state_dict(load_file(path))
        with torch.no_grad():
            right = model.eval()(images).argmax(1) == test.labels
        assert score == pytest.approx(float(right.float().mean()))


def test_the_scaling_is_that_of_the_training_images(bench: Bench) -> None:
    mean, deviation = (values.tolist() for values in bench.finish()[1].scaling)
    pixels = tiny_data().train.images.double() / 255
    assert mean == pytest.approx([float(pixels.mean())])
    assert deviation == pytest.approx([float(pixels.std(correction=0))])


def test_the_model_is_the_seed_that_validates_best(bench: Bench) -> None:
    _, chosen = bench.finish()
    model = chosen.model()
    best = load_file(chosen.weights[1])
    assert not model.training
    assert all(torch.equal(value, best[key]) for key, value in model.state_dict().items())
    turned = replace(chosen, validation_accuracy=chosen.validation_accuracy[::-1])
    first = load_file(chosen.weights[0])
    for key, value in turned.model().state_dict().items():
        assert torch.equal(value, first[key])


def test_a_network_after_final_training_is_recorded_in_full(bench: Bench) -> None:
    _, chosen = bench.finish()
    record = chosen.to_json()
    assert json.loads(json.dumps(record)) == record
    assert Architecture.from_json(record.pop("architecture")) == NETWORKS[1]
    assert record == {
        "parameters": 652 * 4 + 10,
        "macs": NETWORKS[1].cost.macs,
        "test_accuracy": list(chosen.test_accuracy),
        "validation_accuracy": [0.80, 0.81],
        "final_epochs": FINAL.epochs,
        "failed_seeds": 0,
        "digest": NETWORKS[1].digest,
    }


# ------------------------------------------------------------------ learning from the input network


def test_finalists_learn_from_the_input_network_that_is_trained_by_labels_alone(
    bench: Bench,
) -> None:
    bench.task = replace(bench.task, distillation=0.7, temperature=3.0)
    base, chosen = bench.finish()
    own, others = bench.executor.jobs[:2], bench.executor.jobs[2:]
    assert {job.architecture for job in own} == {bench.task.network}
    assert {job.recipe.digest for job in own} == {FINAL.digest}
    assert all(job.given is None for job in own)
    assert {job.architecture for job in others} == {*NETWORKS}
    assert len({id(job.given) for job in others}) == 1
    assert others[0].given is not None
    teacher = others[0].given.teacher
    assert teacher is not None and teacher.architecture == bench.task.network
    best = load_file(base.weights[1])  # of the seed that validates best
    assert all(torch.equal(teacher.weights[name], best[name]) for name in best)
    for job in others:
        lessons = job.recipe.distillation
        assert lessons is not None
        assert (lessons.teacher, lessons.weight, lessons.temperature) == (teacher.digest, 0.7, 3.0)
    assert (base.teacher, chosen.teacher) == ("", teacher.digest)
    assert "teacher" not in base.to_json()
    assert chosen.to_json()["teacher"] == teacher.digest
    assert chosen.architecture == NETWORKS[1]


def test_a_second_call_finds_the_same_teacher_and_trains_nothing(bench: Bench) -> None:
    bench.task = replace(bench.task, distillation=0.7)
    first = bench.finish()
    bench.executor.jobs.clear()
    assert bench.finish() == first
    assert bench.executor.jobs == []


def test_an_input_network_that_came_trained_teaches_with_its_own_weights(bench: Bench) -> None:
    weights = build(bench.task.network, seed=5).state_dict()
    scaling = (torch.tensor([0.4]), torch.tensor([0.2]))
    given = TrainedNetwork(weights, 0.77, scaling)
    bench.task = replace(bench.task, distillation=0.5, trained=given)
    base, chosen = bench.finish()
    assert base.validation_accuracy == (0.77,)
    assert {job.architecture for job in bench.executor.jobs} == {*NETWORKS}
    expected = Teacher(bench.task.network, weights, scaling).digest
    taught = [job.given.teacher for job in bench.executor.jobs if job.given]
    assert {teacher.digest for teacher in taught if teacher} == {expected}
    assert chosen.teacher == expected


def test_an_input_network_that_fails_teaches_nobody(bench: Bench) -> None:
    bench.task = replace(bench.task, distillation=0.5)
    bench.executor.accuracies[bench.task.network.digest] = None
    with pytest.raises(ArchpressError, match="failed for every seed: it is written so"):
        bench.finish()
    assert {job.architecture for job in bench.executor.jobs} == {bench.task.network}


# ------------------------------------------------------------------ what may go wrong


def test_without_a_finalist_nothing_is_trained(bench: Bench) -> None:
    with pytest.raises(BudgetError, match="no candidate within the budget"):
        bench.finish([])
    assert (bench.executor.jobs, bench.reads) == ([], [])


def test_finalists_that_all_fail_leave_the_test_set_unread(bench: Bench) -> None:
    for network in NETWORKS:
        bench.executor.accuracies[network.digest] = None
    with pytest.raises(ArchpressError, match="no finalist could be trained"):
        bench.finish()
    assert bench.reads == []


def test_a_finalist_that_fails_is_passed_over(bench: Bench) -> None:
    bench.executor.accuracies[NETWORKS[1].digest] = None
    assert bench.finish()[1].architecture == NETWORKS[2]


def test_an_input_network_that_fails_is_said_with_its_reason(bench: Bench) -> None:
    bench.executor.accuracies[bench.task.network.digest] = None
    with pytest.raises(ArchpressError, match="failed for every seed: it is written so"):
        bench.finish()


def test_progress_is_told_by_stage(bench: Bench) -> None:
    bench.finish()
    stages = [stage for stage, _, _ in bench.reported]
    assert stages == ["final training"] * 8 + ["test set"] * 4
    assert [call[1:] for call in bench.reported[-4:]] == [(1, 2), (2, 2)] * 2
    done, total = bench.reported[7][1:]
    assert done == total > 0


# ------------------------------------------------------------------ results


def test_compression_is_the_ratio_of_exact_counts(bench: Bench) -> None:
    base, chosen = bench.finish()
    result = CompressionResult("name", base, chosen, "somewhere", 5, 7, bench.resources.folder)
    assert result.compression == 75_626 / (652 * 4 + 10)
    assert result.architecture == NETWORKS[1]
    assert result.model is result.model, "it is loaded once"
    extra = {"origin": "somewhere", "labels": 5, "label_epochs": 7}
    assert result.to_json() == {**chosen.to_json(), **extra}
