"""Graphed steps: the plain loop's numbers, from fixed places, and nothing left by the warm-up."""

import sys
from collections.abc import Iterator
from contextlib import contextmanager, nullcontext
from functools import partial
from typing import Any

import pytest
import torch
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode

from archpress.architectures.activations import Dropout
from archpress.architectures.architecture import Architecture
from archpress.architectures.building import build
from archpress.architectures.layers import BatchNorm, Convolution, Linear, ReLU
from archpress.training.acceleration import Accelerated
from archpress.training.graphed_steps import GraphedSteps, Graphing
from archpress.training.recipe import TrainingRecipe
from archpress.training.steps import EagerSteps, Learning, reproducible_cudnn
from archpress.training.training import Part, Trained, Training, _loss_of, begin, train
from tests.evaluation.tiny import ABSURD, digits, network, recipe

RANDOM = Architecture(
    (1, 8, 8),
    (Convolution(6, 3, padding=1), BatchNorm(), ReLU(), Dropout(rate=0.3), Linear(10)),
)
AUGMENTED = recipe(epochs=2, images=112, flip=True, crop_padding=1)
EXACT = recipe(epochs=2, images=112, learning_rate=2**-6, flip=True, crop_padding=1)
"""A rate that float32 holds exactly; 7 steps per epoch leave a remainder for all but 1 and 7."""
RECIPES = {
    "augmented": AUGMENTED,
    "one cycle": recipe(epochs=3, images=80, schedule="one_cycle", weight_decay=0.1),
    "milestones": recipe(epochs=3, images=80, milestones=(1, 2)),
    "stopped at chance": recipe(epochs=2, images=160, chance_steps=7, learning_rate=1e-7),
    "above chance": recipe(epochs=2, images=160, chance_steps=15, learning_rate=0.02),
    "chance at the end of an epoch": recipe(epochs=2, images=80, chance_steps=5),
}


@pytest.fixture(autouse=True)
def one_thread() -> Iterator[None]:
    """Sums of several threads differ in their last bits."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


def graphed(architecture: Architecture, by: TrainingRecipe, count: int = 4) -> Training:
    return begin(
        architecture, by, digits(), 7, "float32",
        partial(GraphedSteps, graphing=Graphing(count)),
    )  # fmt: skip


def trained(training: Training, epochs: int) -> Trained:
    for _ in range(epochs):
        if not training.epoch():
            break
    return training.end()


def equal(one: Trained, other: Trained) -> bool:
    a, b = one.model.state_dict(), other.model.state_dict()
    return one.losses == other.losses and all(torch.equal(a[name], b[name]) for name in a)


@pytest.mark.parametrize("by", RECIPES.values(), ids=RECIPES)
@pytest.mark.parametrize("architecture", [network(), RANDOM], ids=["plain", "dropout"])
def test_the_losses_are_the_plain_loops(architecture: Architecture, by: TrainingRecipe) -> None:
    expected = train(architecture, by, digits(), 7)
    found = trained(graphed(architecture, by), by.epochs)
    assert found.losses == pytest.approx(expected.losses, rel=1e-5)
    assert (found.steps, found.at_chance) == (expected.steps, expected.at_chance)


def test_the_recipes_of_this_test_reach_both_outcomes_of_the_chance_check() -> None:
    stopped, above = RECIPES["stopped at chance"], RECIPES["above chance"]
    assert trained(graphed(network(), stopped), 2).steps == 7
    assert trained(graphed(network(), above), 2).steps == 20
    at_end = recipe(epochs=2, images=112, chance_steps=7, learning_rate=1e-7)
    assert trained(graphed(network(), at_end), 2).steps == 7


@pytest.mark.parametrize("count", [1, 3, 4, 7, 16])
def test_exact_rates_give_the_plain_loops_weights_bit_by_bit(count: int) -> None:
    expected = train(RANDOM, EXACT, digits(), 7)
    assert equal(trained(graphed(RANDOM, EXACT, count), 2), expected)


def test_steps_per_replay_change_no_bit() -> None:
    one = trained(graphed(RANDOM, AUGMENTED, 1), 2)
    assert all(equal(trained(graphed(RANDOM, AUGMENTED, n), 2), one) for n in (2, 5, 7))


@pytest.mark.parametrize("most", [1, 2, 3, None])
def test_chunks_of_any_size_change_no_bit(most: int | None) -> None:
    by = recipe(epochs=2, images=112, chance_steps=5)
    training = graphed(RANDOM, by, 2)
    while not training.is_complete:
        due = training.advance(most)
        assert due is (training.steps in (5, 7, 14))
        assert not due or bool(training.verdict())
    assert equal(training.end(), trained(graphed(RANDOM, by, 2), 2))


def test_a_loss_that_is_not_finite_ends_the_training() -> None:
    by = ABSURD.model_copy(update={"epochs": 3})
    found = trained(graphed(network(), by), 3)
    assert (found.diverged, len(found.losses)) == (True, 1)


def parts(steps: GraphedSteps) -> dict[str, Tensor]:
    """All that a capture bakes addresses of in: what steps read and write."""
    model = steps._learning.network
    held = {k: v for k, v in vars(steps).items() if isinstance(v, Tensor)}
    state = steps._optimizer.state.values()
    moments = {f"{i} {k}": v for i, of in enumerate(state) for k, v in of.items()}
    return held | moments | dict(model.named_parameters()) | dict(model.named_buffers())


def steps_of(training: Training) -> GraphedSteps:
    assert isinstance(training._runner, GraphedSteps)
    return training._runner


def test_the_warm_up_is_undone() -> None:
    training = graphed(RANDOM, AUGMENTED)
    steps = steps_of(training)
    before = {name: part.clone() for name, part in parts(steps).items()}
    drawn = training._generator.get_state()
    steps._warm_up(torch.arange(16))
    after = parts(steps)
    moments = after.keys() - before.keys() - {"_chosen"}
    learned = [p for p in steps._learning.network.parameters() if p.grad is not None]
    assert len(moments) == 3 * len(learned)
    assert not any(after[name].any() for name in moments)
    assert all(torch.equal(after[name], before[name]) for name in before.keys() - {"_rate"})
    assert torch.equal(training._generator.get_state(), drawn)
    assert steps.set_up_seconds > 0


def test_the_warm_up_does_what_steps_do() -> None:
    """Else it would not make what capture must find made."""
    seen: list[Tensor] = []
    training = graphed(network(), EXACT)
    steps = steps_of(training)
    weight = next(steps._learning.network.parameters())
    weight.register_post_accumulate_grad_hook(lambda p: seen.append(p.grad.clone()))
    fresh = weight.detach().clone()
    steps._warm_up(torch.arange(16))
    assert len(seen) == 1 and seen[0].any()
    assert torch.equal(weight, fresh)


def test_all_that_steps_read_and_write_stays_in_its_place() -> None:
    training = graphed(RANDOM, recipe(epochs=3, images=112, chance_steps=5))
    training.advance(1)
    places = {name: part.data_ptr() for name, part in parts(steps_of(training)).items()}
    while not training.is_complete:
        training.advance()
    assert {name: part.data_ptr() for name, part in parts(steps_of(training)).items()} == places
    assert int(steps_of(training)._counter) == training.steps == 21


class FakeCaptures(TorchDispatchMode):
    """What CUDA graphs do, on a CPU: a capture records calls and has no effect; replays repeat.

    A replay runs every recorded call on the recorded tensors and writes results where the capture
    put them. So a number that the host reads, or a tensor made anew for each step, shows.
    """

    def __init__(self) -> None:
        super().__init__()
        self.calls: list[tuple[Any, Any, Any, Any]] = []
        self.generators: list[tuple[torch.Generator, Tensor]] = []
        self.replays = 0
        self._before: list[tuple[Tensor, Tensor]] = []

    def register_generator_state(self, generator: torch.Generator) -> None:
        self.generators.append((generator, generator.get_state()))

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        assert func is not torch.ops.aten._local_scalar_dense.default, "asks the device"
        given = [value for arg in args for value in (arg if isinstance(arg, list) else [arg])]
        self._before += [(value, value.clone()) for value in given if isinstance(value, Tensor)]
        result = func(*args, **(kwargs or {}))
        self.calls.append((func, args, kwargs or {}, result))
        return result

    def undo(self) -> None:
        for tensor, old in reversed(self._before):
            tensor.copy_(old)
        for generator, state in self.generators:
            generator.set_state(state)

    def replay(self) -> None:
        self.replays += 1
        with torch._C._AutoDispatchBelowAutograd():
            for func, args, kwargs, recorded in self.calls:
                again = func(*args, **kwargs)
                several = isinstance(again, tuple | list)
                pairs = zip(recorded, again, strict=True) if several else [(recorded, again)]
                for old, new in pairs:
                    if isinstance(old, Tensor) and old.data_ptr() != new.data_ptr():
                        old.copy_(new)


@pytest.fixture
def captures(monkeypatch: pytest.MonkeyPatch) -> list[FakeCaptures]:
    """The graphs that were made, with capture as if this were a GPU."""
    made: list[FakeCaptures] = []

    def new() -> FakeCaptures:
        made.append(FakeCaptures())
        return made[-1]

    @contextmanager
    def capture(graph: FakeCaptures, pool: object, stream: object) -> Iterator[None]:
        assert pool == "pool"
        with graph:
            yield
        with torch.no_grad():
            graph.undo()

    monkeypatch.setattr(GraphedSteps, "_captures", property(lambda self: True))
    monkeypatch.setattr(torch.cuda, "CUDAGraph", new)
    monkeypatch.setattr(torch.cuda, "graph", capture)
    monkeypatch.setattr(torch.cuda, "graph_pool_handle", lambda: "pool")
    return made


@pytest.mark.parametrize("by", [*RECIPES.values(), EXACT], ids=[*RECIPES, "exact"])
def test_replays_of_recorded_steps_are_the_plain_loop(
    by: TrainingRecipe, captures: list[FakeCaptures]
) -> None:
    expected = train(RANDOM, by, digits(), 7)
    found = trained(graphed(RANDOM, by), by.epochs)
    assert found.losses == pytest.approx(expected.losses, rel=1e-5)
    assert captures
    assert equal(found, expected) or by is not EXACT


def test_one_graph_for_whole_replays_and_one_for_the_remainder(
    captures: list[FakeCaptures],
) -> None:
    training = graphed(network(), EXACT, 3)
    trained(training, 2)
    many, one = captures
    assert (many.replays, one.replays) == (4, 2)  # 7 = 2 x 3 + 1, twice
    assert len(many.calls) > 2 * len(one.calls)
    assert [g for g, _ in many.generators + one.generators] == [training._generator] * 2


def test_no_gradient_outlives_a_capture(captures: list[FakeCaptures]) -> None:
    training = graphed(network(), EXACT, 7)
    training.advance()
    assert all(p.grad is None for p in steps_of(training)._learning.network.parameters())


def test_the_recorder_finds_numbers_of_the_host(captures: list[FakeCaptures]) -> None:
    """With a rate that Python hands over, replays repeat the first step's."""
    by = RECIPES["one cycle"]

    def host_rate(learning: Learning) -> GraphedSteps:
        steps = GraphedSteps(learning, Graphing(1))
        inner = steps._step

        def step(chosen: Tensor) -> None:
            steps._optimizer.param_groups[0]["lr"] = learning.rate(steps._queued)
            inner(chosen)

        steps._step = step  # type: ignore[method-assign]
        return steps

    expected = train(network(), by, digits(), 7)
    wrong = trained(begin(network(), by, digits(), 7, "float32", host_rate), by.epochs)
    assert wrong.losses != pytest.approx(expected.losses, rel=1e-3)


class Elsewhere:
    """A generator that says it is on the device without content, where there is none."""

    device = torch.device("meta")


def part_elsewhere(by: TrainingRecipe) -> Part:
    part = Part.__new__(Part)
    part._recipe, part.scaling = by, (torch.zeros(1), torch.ones(1))
    part._images = torch.empty(112, 8, 8, 1, dtype=torch.uint8)
    part.labels = torch.empty(112, dtype=torch.int64)
    return part


def test_a_step_mixes_no_devices_and_asks_its_device_nothing(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """On the device without content, to ask for a value is an error, and so are CPU tensors."""
    monkeypatch.setattr(torch, "autocast", lambda *_, **__: nullcontext())  # there is none there
    with torch.device("meta"):
        part, model = part_elsewhere(AUGMENTED), build(RANDOM)
    loss_of = _loss_of(part, Accelerated(model, "float32", None), None, None, None)
    steps = GraphedSteps(Learning(model, loss_of, Elsewhere(), AUGMENTED, 7))
    monkeypatch.setattr(steps._optimizer, "step", lambda: None)  # has no fused form there
    steps._step(torch.zeros(16, dtype=torch.int64, device="meta"))
    assert {each.device.type for each in parts(steps).values()} == {"meta"}
    assert all(each.grad is not None for each in model.parameters())


def test_bfloat16_steps_keep_no_cast_weights_and_learn_the_same() -> None:
    cached: list[bool] = []
    make_steps = partial(GraphedSteps, graphing=Graphing(4))
    training = begin(network(), AUGMENTED, digits(), 7, "bfloat16", make_steps)
    last = [each for each in training._network.modules() if isinstance(each, torch.nn.Linear)][-1]
    last.register_forward_hook(lambda *_: cached.append(torch.is_autocast_cache_enabled()))
    found = trained(training, 2)
    expected = train(network(), AUGMENTED, digits(), 7, "bfloat16")
    assert found.losses == pytest.approx(expected.losses, rel=1e-3)
    assert len(cached) == 15 and not any(cached)
    assert torch.is_autocast_cache_enabled()


def test_cudnn_may_not_choose_by_timing_and_gets_its_settings_back() -> None:
    cudnn = torch.backends.cudnn
    before = cudnn.deterministic, cudnn.benchmark
    with pytest.raises(ValueError, match="within"), reproducible_cudnn():
        assert (cudnn.deterministic, cudnn.benchmark) == (True, False)
        raise ValueError("within")
    assert (cudnn.deterministic, cudnn.benchmark) == before


def test_on_a_cpu_steps_are_eager_and_all_of_cuda_stays_untouched(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.delitem(sys.modules, "archpress.training.graphed_steps")
    initialised = torch.cuda.is_initialized()
    training = begin(network(), EXACT, digits(), 7)
    assert isinstance(training._runner, EagerSteps)
    assert "archpress.training.graphed_steps" not in sys.modules
    trained(graphed(network(), EXACT), 2)
    assert torch.cuda.is_initialized() is initialised
