"""Pruning: what is taken out, that the rest is as it was, and how the way to the budget goes."""

import re
from dataclasses import replace
from itertools import pairwise
from pathlib import Path

import pytest
import torch
from torch import Tensor

from archpress.architectures.architecture import Architecture
from archpress.architectures.building import build
from archpress.architectures.layers import (
    BatchNorm,
    Convolution,
    DepthwiseConvolution,
    GlobalAveragePool,
    Linear,
    Projection,
    ReLU,
    SqueezeExcite,
)
from archpress.architectures.references import digits_cnn
from archpress.architectures.spaces import BlocksSpace
from archpress.baselines import pruning
from archpress.baselines.filter_pruning import Criterion, Pruned, gradients_of, prune
from archpress.baselines.pruning import compress, recipe_between
from archpress.compression.budget import Budget
from archpress.compression.task import Resources
from archpress.errors import BudgetError, MissingExtraError, TrainingError
from archpress.evaluation.archive import Archive
from archpress.evaluation.executors import InProcess
from archpress.training.augmentation import input_scaling
from tests.compression.tasks import FINAL, LABEL, Scripted, make_task, tiny_data

PLAIN = Architecture(
    (1, 8, 8), (Convolution(6, 3, 1, 1), BatchNorm(), ReLU(), Convolution(5, 3), Linear(10))
)
RESIDUAL = Architecture(
    (1, 8, 8),
    (
        *(Convolution(12, 3, 1, 1), ReLU(), Convolution(12, 3, 1, 1), BatchNorm(skip=2)),
        *(Convolution(20, 3, 2, 1), BatchNorm(), ReLU(), Convolution(24, 1)),
        *(BatchNorm(skip=4, projection=Projection()), DepthwiseConvolution(3, 1, 1), ReLU()),
        *(SqueezeExcite(6), Convolution(16, 1), GlobalAveragePool(), Linear(10)),
    ),
)


def given(network: Architecture, seed: int = 0) -> Pruned:
    return Pruned(network, build(network, seed=seed).state_dict())


def gradients(network: Pruned, seed: int = 0) -> dict[str, Tensor]:
    generator = torch.Generator().manual_seed(seed)
    return dict(gradients_of(network, LABEL, tiny_data(), generator))


def within(share: float, network: Architecture) -> Budget:
    return Budget(int(share * network.cost.parameters))


def drawn() -> list[Architecture]:
    space = BlocksSpace((1, 8, 8), 10)
    return list(space.sample(8, torch.Generator().manual_seed(2)).architectures)


@pytest.mark.parametrize("criterion", ["taylor", "magnitude"])
@pytest.mark.parametrize("network", [PLAIN, RESIDUAL, digits_cnn(), *drawn()])
def test_what_is_left_is_a_network_within_the_budget_whose_weights_fit(
    network: Architecture, criterion: Criterion
) -> None:
    budget = within(0.4, network)
    before = given(network)
    after = prune(before, criterion, budget.allows, gradients(before))
    assert budget.allows(after.architecture)
    assert after.architecture.cost.parameters > 0.2 * network.cost.parameters
    kinds = [layer.kind for layer in network.layers]
    assert [layer.kind for layer in after.architecture.layers] == kinds
    model = build(after.architecture)
    model.load_state_dict(after.weights)
    assert model.eval()(torch.zeros(2, *network.input_shape)).shape == (2, 10)


@pytest.mark.parametrize("criterion", ["taylor", "magnitude"])
def test_filters_without_weight_go_first_and_the_function_stays(criterion: Criterion) -> None:
    """Three of six filters are zero, with their shift: nothing of the network's output is lost."""
    weights = build(PLAIN, seed=1).state_dict()
    zero = [0, 3, 4]
    for name in ("0.weight", "0.bias", "1.weight", "1.bias"):
        weights[f"block1.{name}"][zero] = 0.0
    slopes = gradients(Pruned(PLAIN, weights))
    target = replace(PLAIN.layers[0], out_channels=3)
    small = Architecture(PLAIN.input_shape, (target, *PLAIN.layers[1:]))
    after = prune(Pruned(PLAIN, weights), criterion, Budget(small.cost.parameters).allows, slopes)
    assert after.architecture == small
    images = torch.randn(4, 1, 8, 8)
    models = [build(PLAIN).eval(), build(small).eval()]
    models[0].load_state_dict(weights)
    models[1].load_state_dict(after.weights)
    one, other = (model(images) for model in models)
    assert torch.allclose(one, other, atol=1e-5)


def test_taylor_looks_at_gradients_and_magnitude_does_not() -> None:
    before, budget = given(digits_cnn()), within(0.3, digits_cnn())
    one, other = gradients(before, 0), {n: g.flip(0) for n, g in gradients(before).items()}
    results = {
        criterion: [prune(before, criterion, budget.allows, g).weights for g in (one, other)]
        for criterion in ("taylor", "magnitude")
    }  # type: ignore[misc]
    same = {
        criterion: all(
            one[n].shape == other[n].shape and torch.equal(one[n], other[n]) for n in one
        )
        for criterion, (one, other) in results.items()
    }
    assert same == {"taylor": False, "magnitude": True}


def test_gradients_are_those_of_the_training_loss_in_evaluation_mode() -> None:
    network = given(PLAIN)
    found = gradients(network)
    assert found.keys() == dict(build(PLAIN).named_parameters()).keys()
    assert all(value.abs().sum() > 0 for name, value in found.items() if "0.bias" not in name)
    assert all(torch.equal(value, gradients(network)[name]) for name, value in found.items())


def test_a_skip_that_comes_to_join_equal_widths_is_never_left_with_weights_of_its_projection() -> (
    None
):
    """Projections are there only while widths differ; some budgets would make them equal."""
    layers = (
        *(Convolution(6, 3, 1, 1), ReLU(), Convolution(8, 3, 1, 1)),
        *(BatchNorm(skip=2, projection=Projection()), ReLU(), GlobalAveragePool(), Linear(10)),
    )
    network = Architecture((1, 8, 8), layers)
    widths = set()
    for seed in range(12):
        before = given(network, seed)
        for share in (0.3, 0.5, 0.7):
            after = prune(before, "magnitude", within(share, network).allows, {})
            build(after.architecture).load_state_dict(after.weights)
            first, second = (after.architecture.layers[n] for n in (0, 2))
            widths.add(first.out_channels == second.out_channels)  # type: ignore[attr-defined]
    assert widths == {False}


def test_gradients_are_of_pixels_as_the_weights_expect_them() -> None:
    """By the recipe's own scaling nothing changes, by another one everything does."""
    network = given(PLAIN)
    generator = torch.Generator().manual_seed(0)
    scaling = input_scaling(LABEL, tiny_data())
    same = gradients_of(network, LABEL, tiny_data(), generator, scaling)
    assert all(torch.allclose(same[n], g, atol=1e-6) for n, g in gradients(network).items())
    other = (scaling[0] + 0.1, 2 * scaling[1])
    moved = gradients_of(
        network, LABEL, tiny_data(), torch.Generator().manual_seed(0), other
    )  # fmt: skip
    assert not torch.allclose(moved["block1.0.weight"], same["block1.0.weight"])


def test_trainings_in_between_see_pixels_as_the_final_one_does() -> None:
    task = make_task(final_recipe=FINAL.model_copy(update={"normalization": "half"}))
    between = recipe_between(task)
    assert between.normalization == "half" != task.label_recipe.normalization
    assert between.epochs == task.label_recipe.epochs


def test_a_run_that_fails_is_given_up_and_only_all_of_them_are_an_error(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(pruning, "STEPS", 2)
    task = make_task()

    class Failing(Scripted):
        def __init__(self, which: range) -> None:
            super().__init__(task.data)
            self.which, self.seen = which, 0

        def run(self, jobs, *told):  # type: ignore[no-untyped-def]
            for evaluation in super().run(jobs, *told):
                pruned = evaluation.recipe.name.endswith("pruned")
                self.seen += pruned
                fails = pruned and self.seen in self.which
                yield replace(evaluation, status="diverged", reason="x") if fails else evaluation

    with Archive(tmp_path / "a" / "archive.sqlite") as archive:
        result = compress(task, Resources(archive, Failing(range(1, 3)), tmp_path / "a"))
    assert "the best of 3 runs: " in result.origin
    best, mean = (float(x) for x in re.findall(r"([\d.]+) %", result.origin))
    assert mean <= best
    with (
        Archive(tmp_path / "b" / "archive.sqlite") as archive,
        pytest.raises(TrainingError, match="pruning: every run failed: x"),
    ):
        compress(task, Resources(archive, Failing(range(99)), tmp_path / "b"))


def test_a_distillation_of_the_task_is_kept_in_the_final_training(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(pruning, "STEPS", 1)
    task = make_task(distillation=0.4)
    executor = Scripted(task.data)
    with Archive(tmp_path / "archive.sqlite") as archive:
        result = compress(task, Resources(archive, executor, tmp_path))
    final = executor.jobs[-1]
    assert final.recipe.distillation is not None and final.recipe.distillation.weight == 0.4
    assert final.recipe.start and final.given and final.given.teacher and final.given.start
    assert result.compressed.teacher == final.recipe.distillation.teacher


def test_a_budget_that_filters_alone_cannot_meet_is_refused() -> None:
    with pytest.raises(BudgetError, match="98 % of the filters pruned"):
        prune(given(PLAIN), "magnitude", Budget(30).allows, {})


def test_the_way_to_the_budget_is_even_in_logarithms(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(pruning, "STEPS", 4)
    monkeypatch.setattr(pruning, "RUNS", 2)
    task = make_task()
    executor = Scripted(task.data)
    with Archive(tmp_path / "archive.sqlite") as archive:
        result = compress(task, Resources(archive, executor, tmp_path))
    labelled = [job for job in executor.jobs if "label" in job.recipe.name]
    assert len(labelled) == 4 * 2
    sizes = [job.architecture.cost.parameters for job in labelled[::2]]
    bounds = [75_626 * 0.1 ** (step / 4) for step in range(1, 5)]
    for size, bound, (before, after) in zip(sizes, bounds, pairwise([75_626, *sizes]), strict=True):
        assert 0.7 * bound < size <= bound
        assert after < before
    assert (result.labels, result.label_epochs) == (0, 8 * LABEL.epochs)
    final = [job for job in executor.jobs if job.architecture == result.architecture][-2:]
    assert {job.recipe.epochs for job in final} == {task.final_recipe.epochs}
    assert final[0].recipe.start == final[1].recipe.start != ""
    starts = [job.given.start for job in final if job.given]
    assert starts[0] is starts[1] is not None


def test_the_run_that_validates_best_is_the_result(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(pruning, "STEPS", 1)
    task = make_task()

    class Favouring(Scripted):
        def run(self, jobs, *told):  # type: ignore[no-untyped-def]
            for number, job in enumerate(jobs):
                if "label" in job.recipe.name:
                    self.accuracies[job.architecture.digest] = 0.9 if number == 3 else 0.1
            yield from super().run(jobs, *told)

    executor = Favouring(task.data)
    with Archive(tmp_path / "archive.sqlite") as archive:
        result = compress(task, Resources(archive, executor, tmp_path))
    labelled = [job for job in executor.jobs if "label" in job.recipe.name]
    assert len(labelled) == pruning.RUNS
    assert result.architecture == labelled[3].architecture


def test_real_training_from_pruned_weights_goes_on_where_it_was_stopped(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(pruning, "STEPS", 2)
    monkeypatch.setattr(pruning, "RUNS", 1)
    task = make_task()

    def stop(told: str, done: int, total: int) -> None:
        if (told, done) == ("pruning", 1):
            raise KeyboardInterrupt

    with InProcess(task.data) as executor:
        with Archive(tmp_path / "a" / "archive.sqlite") as archive:
            whole = compress(task, Resources(archive, executor, tmp_path / "a"))
        with Archive(tmp_path / "b" / "archive.sqlite") as archive:
            there = Resources(archive, executor, tmp_path / "b")
            with pytest.raises(KeyboardInterrupt):
                compress(task, replace(there, progress=stop))
            before = len(archive)
            again = compress(task, there)
            assert len(archive) == before + 1 + task.final_recipe.seeds
    assert again.to_json() == whole.to_json()


def test_without_the_extra_it_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(__import__("sys").modules, "torch_pruning", None)
    with pytest.raises(MissingExtraError, match=r"archpress\[bench\]"):
        prune(given(PLAIN), "magnitude", Budget(300).allows, {})
