"""Many trainings at once: everybody's own numbers, whatever runs beside; what does not fit waits.

The scheduling runs on CPUs too, without streams; tests of a GPU are skipped where there is none.
"""

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch

from archpress.architectures.architecture import Architecture
from archpress.architectures.building import build
from archpress.architectures.layers import Convolution, Linear, MaxPool, ReLU
from archpress.errors import SettingsError
from archpress.evaluation import cuda_executor, cuda_tuning
from archpress.evaluation.cuda_executor import (
    CudaExecutor,
    Verdict,
)
from archpress.evaluation.cuda_tuning import (
    TrainingTime,
    most_at_once,
    quickest_graphing,
    timed_training,
)
from archpress.evaluation.record import Evaluation, Job
from archpress.evaluation.running import is_out_of_memory, load_weights, run_job
from archpress.training.augmentation import input_scaling
from archpress.training.graphed_steps import GraphedSteps, Graphing
from archpress.training.precision import precision_on_gpu
from archpress.training.scoring import accuracy
from archpress.training.training import Training
from tests.evaluation.tiny import ABSURD, digits, job, network, recipe

CHANCE = recipe(epochs=2, images=160, chance_steps=7, learning_rate=1e-7)
JOBS = [
    job(0, by=recipe(epochs=3)), job(1), job(0, width=6), job(0, by=ABSURD),
    job(0, by=recipe(flip=True, crop_padding=1)), job(2, by=CHANCE),
]  # fmt: skip
on_gpu = pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a GPU")


@pytest.fixture(scope="module", autouse=True)
def one_thread() -> Iterator[None]:
    """Sums of several threads differ in their last bits."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


def executor(at_once: int = 3, device: str = "cpu") -> CudaExecutor:
    return CudaExecutor(digits(), "float32", device, Graphing(4), at_once)


def ordered(evaluations: Iterator[Evaluation]) -> list[Evaluation]:
    """In order of key, without what differs from run to run."""
    found = [replace(each, seconds=0.0, circumstances={}) for each in evaluations]
    return sorted(found, key=lambda each: each.key)


def test_every_job_gets_the_evaluation_that_it_gets_alone() -> None:
    expected = ordered(run_job(each, digits(), "float32") for each in JOBS)
    found = ordered(executor().run(JOBS))
    assert {each.status for each in expected} == {"ok", "diverged", "at_chance"}
    for one, other in zip(found, expected, strict=True):
        assert one.losses == pytest.approx(other.losses, rel=1e-5)
        assert one.validation_accuracy == pytest.approx(other.validation_accuracy, abs=0.01)
        known = {"losses": (), "validation_accuracy": None}
        assert replace(one, **known) == replace(other, **known)


@pytest.mark.parametrize("at_once", [2, 5, 32])
def test_neither_order_nor_company_changes_a_bit(at_once: int) -> None:
    alone = ordered(executor(1).run(JOBS))
    assert ordered(executor(at_once).run(JOBS)) == alone
    assert ordered(executor(at_once).run(JOBS[::-1])) == alone


def test_what_it_depended_on_is_recorded() -> None:
    (found,) = executor().run([job()])
    expected = run_job(job(), digits(), "float32").circumstances
    assert found.circumstances.items() > expected.items()
    assert found.circumstances["device"] == "cpu"
    assert 0 < float(found.circumstances["set_up_seconds"]) < found.seconds


def test_jobs_begin_in_the_order_given_and_no_more_than_so_many_at_once(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    begun, alive, most = list[int](), set[int](), list[int]()
    real = cuda_executor.begin

    def begin(*args: Any) -> Training:
        begun.append(args[3])
        alive.add(args[3])
        most.append(len(alive))
        return real(*args)

    monkeypatch.setattr(cuda_executor, "begin", begin)
    for evaluation in executor(3).run(JOBS):
        alive -= {each.random_seed for each in JOBS if each.key == evaluation.key}
    assert begun == [each.random_seed for each in JOBS]
    assert max(most) == 3


def test_turns_go_round_and_every_epoch_is_told() -> None:
    told: list[int] = []
    long, short = recipe(epochs=6), recipe(epochs=3)
    jobs = [job(1, by=long), job(2, by=short)]
    ended = [e.seed for e in executor(2).run(jobs, lambda each: told.append(each.seed))]
    assert told == [1, 2, 1, 2, 1, 2, 1, 1, 1]
    assert ended == [2, 1]


def test_an_epoch_that_diverged_is_not_told() -> None:
    told: list[Job] = []
    (found,) = executor().run([job(by=ABSURD)], told.append)
    assert (found.status, found.reason, told) == ("diverged", "loss not finite in epoch 1", [])


def test_an_error_of_who_is_told_is_not_the_networks() -> None:
    def fail(_: Job) -> None:
        raise RuntimeError("the display is broken")

    with pytest.raises(RuntimeError, match="display"):
        list(executor().run([job()], fail))


def test_no_jobs_give_no_evaluations() -> None:
    assert list(CudaExecutor(digits(), device="cpu").run([])) == []


def test_trained_weights_are_kept_and_give_the_recorded_accuracy(tmp_path: Path) -> None:
    path = tmp_path / "run.safetensors"
    (found,) = executor().run([job(weights=str(path))])
    model = load_weights(build(network()), path)
    scaling = input_scaling(job().recipe, digits())
    assert accuracy(model, digits().validation, scaling) == found.validation_accuracy


def test_weights_that_cannot_be_written_reach_the_caller(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("in the way")
    with pytest.raises(OSError, match="file"):
        list(executor().run([job(weights=str(tmp_path / "file" / "run.safetensors"))]))


class Memory:
    """Too little for more than `room` trainings at once; some jobs never fit."""

    def __init__(self, room: int, never: tuple[int, ...] = ()) -> None:
        self.room, self.never, self.refused = room, never, 0
        self.asked: list[int] = []
        self.flights: list[cuda_executor.Flight] = []
        self._real = cuda_executor.Flight._begun

    def begun(self, flight: cuda_executor.Flight) -> Training:
        self.asked.append(flight.job.seed)
        alive = [each for each in self.flights if each._training is not None]
        if len(alive) >= self.room or flight.job.seed in self.never:
            self.refused += 1
            raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2 MiB")
        self.flights.append(flight)
        return self._real(flight)


@pytest.mark.parametrize("room", [1, 2])
def test_what_does_not_fit_beside_others_is_trained_later(
    room: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    alone = ordered(executor(1).run(JOBS))
    memory, crowded = Memory(room), executor(4)
    monkeypatch.setattr(cuda_executor.Flight, "_begun", lambda flight: memory.begun(flight))
    assert ordered(crowded.run(JOBS)) == alone
    assert memory.refused > 0
    assert crowded.at_once == room


def test_what_did_not_fit_comes_before_later_jobs(monkeypatch: pytest.MonkeyPatch) -> None:
    memory = Memory(1)
    monkeypatch.setattr(cuda_executor.Flight, "_begun", lambda flight: memory.begun(flight))
    assert [each.seed for each in executor(2).run([job(seed) for seed in range(4)])] == [0, 1, 2, 3]
    assert memory.asked == [0, 1, 1, 2, 3]


def test_what_does_not_fit_alone_is_recorded_as_such(monkeypatch: pytest.MonkeyPatch) -> None:
    memory = Memory(9, never=(1,))
    monkeypatch.setattr(cuda_executor.Flight, "_begun", lambda flight: memory.begun(flight))
    found = {each.seed: each for each in executor(2).run([job(0), job(1), job(2)])}
    assert [found[seed].status for seed in (0, 1, 2)] == ["ok", "out_of_memory", "ok"]
    assert found[1].reason == "OutOfMemoryError: CUDA out of memory. Tried to allocate 2 MiB"


def test_one_network_that_cannot_be_trained_is_a_record(monkeypatch: pytest.MonkeyPatch) -> None:
    real = Training.advance

    def advance(training: Training, most: int | None = None) -> bool:
        if training._recipe.name == "broken":
            raise RuntimeError("cuDNN error: CUDNN_STATUS_NOT_SUPPORTED\nmore")
        return real(training, most)

    monkeypatch.setattr(Training, "advance", advance)
    jobs = [job(0), job(1, by=recipe(name="broken")), job(2)]
    found = {each.seed: each for each in executor().run(jobs)}
    assert [found[seed].status for seed in (0, 1, 2)] == ["ok", "failed", "ok"]
    assert found[1].reason == "RuntimeError: cuDNN error: CUDNN_STATUS_NOT_SUPPORTED"


def test_an_error_of_the_device_reaches_the_caller(monkeypatch: pytest.MonkeyPatch) -> None:
    def advance(*_: object) -> bool:
        raise torch.AcceleratorError("CUDA error: an illegal memory access was encountered")

    monkeypatch.setattr(Training, "advance", advance)
    with pytest.raises(torch.AcceleratorError, match="illegal"):
        list(executor().run([job(0), job(1)]))


class Slow(Verdict):
    """Known only when waited for, or asked for the fifth time."""

    waits = 0

    def __init__(self, value: torch.Tensor) -> None:
        super().__init__(value)
        self.asked, self.told = 0, False

    def is_known(self) -> bool:
        self.asked += 1
        return self.told or self.asked >= 5

    def wait(self) -> None:
        Slow.waits += 1
        self.told = True

    @property
    def value(self) -> bool:
        assert self.told or self.asked >= 5, "read before it is known"
        return super().value


def test_verdicts_that_come_late_change_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    expected = ordered(executor().run(JOBS))
    monkeypatch.setattr(cuda_executor, "Verdict", Slow)
    assert ordered(executor().run(JOBS)) == expected
    assert Slow.waits > 0


@pytest.mark.parametrize(
    ("error", "short"),
    [
        (torch.OutOfMemoryError("x"), True),
        (MemoryError(), True),
        (RuntimeError("CUDA error: out of memory"), True),
        (RuntimeError("an illegal memory access was encountered"), False),
        (RuntimeError("x"), False),
    ],
)
def test_what_counts_as_out_of_memory(error: Exception, short: bool) -> None:
    assert is_out_of_memory(error) is short
    try:
        try:
            raise error
        finally:
            raise RuntimeError("capture could not be ended")
    except RuntimeError as later:
        assert is_out_of_memory(later) is short


@pytest.mark.skipif(torch.cuda.is_available(), reason="there is a GPU")
def test_without_a_gpu_the_default_says_so() -> None:
    with pytest.raises(SettingsError, match="expected a GPU as 'cuda', received none"):
        CudaExecutor(digits())


def test_at_least_one_training_at_once() -> None:
    with pytest.raises(SettingsError, match="received 0"):
        executor(0)


def test_precision_is_never_chosen_by_the_clock() -> None:
    assert [precision_on_gpu(each) for each in ("auto", "bfloat16")] == ["float32", "bfloat16"]


def pretend(monkeypatch: pytest.MonkeyPatch, timings: dict[int, TrainingTime | Exception]) -> None:
    def timed(begin_one: Any, first: int, data: object) -> TrainingTime:
        found = timings[first]
        if isinstance(found, Exception):
            raise found
        return found

    monkeypatch.setattr(cuda_tuning, "_timed", timed)


@pytest.mark.parametrize(
    ("epochs", "expected"), [(1, 1), (10, 4), (100, 16)], ids=["short", "medium", "long"]
)
def test_longer_captures_are_for_longer_trainings(
    epochs: int, expected: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """4 steps per epoch."""
    pretend(
        monkeypatch, {1: TrainingTime(1, 0.5), 4: TrainingTime(4, 0.2), 16: TrainingTime(16, 0.1)}
    )
    found = quickest_graphing(job(by=recipe(epochs=epochs)), digits(), "float32")
    assert found == Graphing(expected)


def test_what_cannot_be_captured_is_not(monkeypatch: pytest.MonkeyPatch) -> None:
    error = torch.AcceleratorError("operation not permitted when stream is capturing")
    pretend(monkeypatch, {1: error, 4: TrainingTime(1, 1), 16: error})
    assert quickest_graphing(job(), digits(), "float32") == Graphing(4)
    pretend(monkeypatch, dict.fromkeys((1, 4, 16), error))
    assert quickest_graphing(job(), digits(), "float32") == Graphing(1, capture=False)


@pytest.mark.parametrize(
    ("rates", "expected"),
    [([10, 10.5], 1), ([10, 18, 30, 31], 4), ([1, 2, 4, 8, 16, 32], 32), ([0, 0], 1)],
)
def test_more_run_at_once_only_while_it_pays(
    rates: list[float], expected: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    told, asked = iter(rates), list[int]()

    def rate(trials: list[object], *_: object) -> float:
        asked.append(len(trials))
        return next(told)

    monkeypatch.setattr(cuda_tuning, "_steps_per_second", rate)
    assert most_at_once(job(), digits(), "float32", Graphing(4)) == expected
    assert asked == [2**power for power in range(len(rates))]


def test_only_as_many_as_fit_run_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    free = iter([1000, 850])  # one takes 150: five fit into 80 %, so four
    monkeypatch.setattr(cuda_tuning, "_free_memory", lambda _: next(free))
    monkeypatch.setattr(cuda_tuning, "_steps_per_second", lambda trials, *_: 2.0 ** len(trials))
    assert most_at_once(job(), digits(), "float32", Graphing(4)) == 4


def test_tuning_measures_real_steps_and_decides_no_number() -> None:
    tuned = CudaExecutor(digits(), device="cpu")
    assert ordered(tuned.run(JOBS)) == ordered(executor(1).run(JOBS))
    assert tuned.graphing in [Graphing(count) for count in (1, 4, 16)]
    assert tuned.at_once is not None and 1 <= tuned.at_once <= 32


def test_a_single_job_does_not_decide_how_many_run_at_once_later() -> None:
    tuned = CudaExecutor(digits(), device="cpu")
    list(tuned.run([job()]))
    assert tuned.graphing is not None and tuned.at_once is None


def test_the_benchmark_trains_the_same_with_graphs_and_without() -> None:
    one, without = timed_training(job(by=recipe(epochs=2)), digits(), "cpu", None)
    other, with_graphs = timed_training(job(by=recipe(epochs=2)), digits(), "cpu", Graphing(3))
    assert one.losses == pytest.approx(other.losses, rel=1e-5)
    assert without.set_up_seconds == 0 < with_graphs.set_up_seconds
    assert without.step_seconds > 0 < with_graphs.step_seconds
    assert with_graphs.total(8) > with_graphs.set_up_seconds


@on_gpu
def test_on_a_gpu_graphs_change_no_bit() -> None:
    found = [
        ordered(CudaExecutor(digits(), "float32", "cuda", graphing, 1).run(JOBS))
        for graphing in (Graphing(1, capture=False), Graphing(1), Graphing(4), Graphing(16))
    ]
    assert all(each == found[0] for each in found)
    assert "failed" not in {each.status for each in found[0]}


@on_gpu
@pytest.mark.parametrize("precision", ["float32", "bfloat16"])
def test_on_a_gpu_neither_order_nor_company_changes_a_bit(precision: str) -> None:
    alone = ordered(CudaExecutor(digits(), precision, "cuda", Graphing(4), 1).run(JOBS))
    crowd = CudaExecutor(digits(), precision, "cuda", Graphing(4), 6)
    assert ordered(crowd.run(JOBS[::-1])) == alone
    assert {each.status for each in alone} == {"ok", "diverged", "at_chance"}


@on_gpu
def test_on_a_gpu_overlapping_pools_repeat_themselves() -> None:
    pools = (Convolution(32, 3, padding=1), ReLU(), MaxPool(3, 1, padding=1), MaxPool(3, 2))
    each = replace(
        job(by=recipe(epochs=3)), architecture=Architecture((1, 8, 8), (*pools, Linear(10)))
    )
    one, *others = [ordered(executor(1, "cuda").run([each])) for _ in range(4)]
    assert one[0].status == "ok"
    assert all(other == one for other in others)


@on_gpu
def test_on_a_gpu_one_job_in_process_gets_the_executors_numbers() -> None:
    (expected,) = ordered(executor(1, "cuda").run([job()]))
    (found,) = ordered(iter([run_job(job(), digits().to("cuda"), "float32")]))
    assert found == expected


@on_gpu
@pytest.mark.parametrize("normalization", ["half", "channel"])
def test_on_a_gpu_digits_are_learned(normalization: str) -> None:
    by = recipe(epochs=4, images=400, learning_rate=0.02, normalization=normalization)
    found = list(executor(3, "cuda").run([job(seed, 12, by) for seed in range(3)]))
    assert all((each.validation_accuracy or 0) > 0.6 for each in found)
    assert all(float(each.circumstances["set_up_seconds"]) > 0 for each in found)


@on_gpu
def test_on_a_gpu_captured_steps_are_made() -> None:
    training = cuda_executor.begin(network(), job().recipe, digits().to("cuda"), 1)
    training.epoch()
    assert isinstance(training._runner, GraphedSteps)
    assert training._runner._graphs.keys() == {4}
