"""The fit: it learns, it is the same for the same seed, and a stopped one continues exactly."""

import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors import safe_open
from safetensors.torch import save_file

from archpress.embedding import fitting
from archpress.embedding.fitting import Example, Examples, Fit, fine_tune, split_held_out
from archpress.embedding.model import Embedding
from archpress.embedding.settings import EmbeddingSettings
from archpress.errors import EmbeddingError
from tests.embedding.tiny import CONFIGURATIONS, TINY, TINY_PAPER, blocks, labelled

CHECKPOINT = "fit.checkpoint.safetensors"
every_configuration = pytest.mark.parametrize("name", CONFIGURATIONS)


@pytest.fixture(scope="module")
def examples() -> list[Example]:
    return labelled(12)


@pytest.fixture
def often(monkeypatch: pytest.MonkeyPatch) -> None:
    """Log and keep checkpoints every few iterations."""
    monkeypatch.setattr(fitting, "LOG_EVERY", 3)
    monkeypatch.setattr(fitting, "CHECKPOINT_EVERY", 4)


class StoppedError(Exception):
    """The user's Ctrl-C."""


def stop_at(iteration: int) -> Callable[[int, int], None]:
    def on_progress(done: int, total: int) -> None:
        if done >= iteration:
            raise StoppedError

    return on_progress


def same_weights(first: Embedding, second: Embedding) -> bool:
    ours, theirs = first.state_dict(), second.state_dict()
    return ours.keys() == theirs.keys() and all(torch.equal(ours[k], theirs[k]) for k in ours)


def stopped(examples: list[Example], settings: EmbeddingSettings, folder: Path, at: int) -> None:
    with pytest.raises(StoppedError):
        Fit(examples, settings, 7, folder).run(stop_at(at))


# ------------------------------------------------------------------ learning


@every_configuration
def test_the_loss_falls_clearly(
    name: str, examples: list[Example], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(fitting, "LOG_EVERY", 1)
    settings = CONFIGURATIONS[name].model_copy(update={"iterations": 120})
    embedding = Fit(examples, settings, 0, tmp_path).run()
    log = [json.loads(line) for line in (tmp_path / "fit.jsonl").read_text().splitlines()]
    assert [line["iteration"] for line in log] == list(range(1, 121))
    first, last = (sum(line["L"] for line in part) for part in (log[:10], log[-10:]))
    assert last < 0.5 * first
    assert not embedding.training
    for line in log[::40]:
        total = line["L_d"] + settings.lambda_1 * line["L_a"] + settings.lambda_2 * line["L_p"]
        assert line["L"] == pytest.approx(total, rel=1e-5)


def test_the_same_seed_gives_the_same_weights_and_another_seed_others(
    examples: list[Example],
) -> None:
    settings = TINY.model_copy(update={"iterations": 3})
    first = Fit(examples, settings, 3).run()
    torch.rand(5)
    assert same_weights(first, Fit(examples, settings, 3).run())
    assert not same_weights(first, Fit(examples, settings, 4).run())


def test_a_fit_leaves_the_global_generator_as_it_was(examples: list[Example]) -> None:
    before = torch.get_rng_state()
    Fit(examples, TINY.model_copy(update={"iterations": 2}), 3).run()
    assert torch.equal(torch.get_rng_state(), before)


def test_the_learning_rate_is_cut_to_a_fifth_every_period(examples: list[Example]) -> None:
    changes = {"learning_rate": 0.01, "decay_factor": 0.2, "decay_period": 2, "iterations": 5}
    fit = Fit(examples, TINY_PAPER.model_copy(update=changes), 0)
    rates = []
    for _ in range(5):
        fit.step()
        rates.append(fit.optimizer.param_groups[0]["lr"])
    assert rates == pytest.approx([0.01, 0.01, 0.002, 0.002, 0.0004])


def test_the_paper_is_fitted_by_nesterov_sgd_and_ours_by_adam(examples: list[Example]) -> None:
    paper = Fit(examples, TINY_PAPER, 0).optimizer
    assert isinstance(paper, torch.optim.SGD)
    assert paper.defaults["nesterov"] is True
    assert paper.defaults["momentum"] == 0.5
    assert isinstance(Fit(examples, TINY, 0).optimizer, torch.optim.Adam)


@every_configuration
def test_the_parameter_regressor_starts_at_the_mean_target(
    name: str, examples: list[Example]
) -> None:
    fit = Fit(examples, CONFIGURATIONS[name], 0)
    counts = [e.architecture.cost.parameters for e in examples]
    if name == "paper":
        mean = sum(counts) / len(counts)
        sigma = (sum((c - mean) ** 2 for c in counts) / (len(counts) - 1)) ** 0.5
        assert fit.embedding.parameter_target.sigma == pytest.approx(sigma, rel=1e-5)
        expected = mean / sigma
    else:
        expected = float(torch.tensor(counts).double().log10().mean())
    bias = fit.embedding.parameter_regressor.last.bias.detach()
    assert float(bias) == pytest.approx(expected, rel=1e-5)


def test_half_of_every_batch_is_labelled_where_unlabelled_networks_take_part() -> None:
    unlabelled = [Example(network, None) for network in blocks(72, seed=5)]
    fit = Fit([*unlabelled, *labelled(8)], TINY, 0)
    batches = [fit._batch(i) for i in range(40)]
    for batch in batches:
        assert batch.shape == (16,)
        assert int((batch[:8] >= 72).sum()) == 8
    seen = torch.cat(batches)
    assert len(seen[seen < 72].unique()) > 60, "unlabelled networks are drawn as well"
    assert torch.equal(fit._batch(3), Fit([*unlabelled, *labelled(8)], TINY, 0)._batch(3))
    assert not torch.equal(fit._batch(3), Fit([*unlabelled, *labelled(8)], TINY, 1)._batch(3))


def test_unlabelled_networks_teach_the_decoder() -> None:
    """With them a network that no label was given for is reconstructed better."""
    settings = TINY.model_copy(update={"iterations": 60})
    others = blocks(60, seed=5)
    new = Examples.of([Example(network, None) for network in blocks(30, seed=6)])
    losses = []
    for extra in ([], [Example(network, None) for network in others]):
        embedding = Fit([*labelled(8), *extra], settings, 0).run()
        loss = embedding.codec.loss(embedding(new.tokens).output, new.tokens)
        losses.append(float(loss.detach()))
    assert losses[1] < 0.9 * losses[0]


@pytest.mark.parametrize(("count", "enough"), [(8, True), (7, False), (0, False)])
def test_eight_labels_are_the_fewest(count: int, enough: bool) -> None:
    examples = labelled(count) + [Example(network, None) for network in blocks(20)]
    if enough:
        assert Fit(examples, TINY, 0).iteration == 0
        return
    with pytest.raises(EmbeddingError, match=f"at least 8 labelled networks, there are {count}"):
        Fit(examples, TINY, 0)


def test_an_accuracy_of_zero_is_a_label() -> None:
    examples = [Example(e.architecture, 0.0) for e in labelled(8)]
    assert Fit(examples, TINY, 0).data.accuracies.tolist() == [0.0] * 8


# ------------------------------------------------------------------ held out


def test_the_held_out_share_is_apart_and_depends_on_the_networks_alone() -> None:
    examples = labelled(20)
    learned, held_out = split_held_out(examples, 0.15)
    assert (len(learned), len(held_out)) == (17, 3)
    digests = [e.architecture.digest for e in (*learned, *held_out)]
    assert sorted(digests) == sorted(e.architecture.digest for e in examples)
    again = split_held_out(examples[::-1], 0.15)
    assert set(again[1]) == set(held_out)
    assert split_held_out(examples, 0.0)[1] == []


# ------------------------------------------------------------------ stopped and continued


@pytest.mark.usefixtures("often")
@every_configuration
@pytest.mark.parametrize("stops", [[6], [3], [9, 15]], ids=str)
def test_a_stopped_fit_continues_to_the_undisturbed_one(
    name: str, stops: list[int], examples: list[Example], tmp_path: Path
) -> None:
    """Stopped once after a checkpoint, once before the first, and twice."""
    settings = CONFIGURATIONS[name].model_copy(update={"iterations": 18, "decay_period": 7})
    whole, parts = tmp_path / "whole", tmp_path / "parts"
    whole.mkdir()
    parts.mkdir()
    undisturbed = Fit(examples, settings, 7, whole).run()
    for iteration in stops:
        stopped(examples, settings, parts, iteration)
        assert (parts / CHECKPOINT).exists() is (iteration > 4)
    continued = Fit(examples, settings, 7, parts)
    reported: list[int] = []
    assert same_weights(continued.run(lambda done, total: reported.append(done)), undisturbed)
    kept = 4 * (stops[-1] // 4)
    assert reported == [i for i in (3, 6, 9, 12, 15, 18) if i > kept]
    assert (parts / "fit.jsonl").read_bytes() == (whole / "fit.jsonl").read_bytes()


@pytest.mark.usefixtures("often")
def test_a_torn_last_line_of_the_log_is_left_out(examples: list[Example], tmp_path: Path) -> None:
    stopped(examples, TINY, tmp_path, 12)
    log = tmp_path / "fit.jsonl"
    log.write_text(log.read_text() + '{"iteration": 1')
    Fit(examples, TINY, 7, tmp_path).run()
    iterations = [json.loads(line)["iteration"] for line in log.read_text().splitlines()]
    assert iterations == [3, 6, 9, 12, 15, 18, 20]


@pytest.mark.usefixtures("often")
def test_a_finished_fit_takes_no_further_step(examples: list[Example], tmp_path: Path) -> None:
    first = Fit(examples, TINY, 7, tmp_path).run()
    again = Fit(examples, TINY, 7, tmp_path)
    again.step = lambda: pytest.fail("it takes a step")  # type: ignore[method-assign]
    assert same_weights(again.run(), first)


def rewritten(path: Path, change: Callable[[dict[str, Any], dict[str, Any]], object]) -> None:
    with safe_open(path, "pt") as file:
        metadata = dict(file.metadata())
        tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
    change(tensors, metadata)
    save_file(tensors, path, metadata or None)


DAMAGES: dict[str, Callable[[Path], object]] = {
    "not safetensors": lambda path: path.write_bytes(b"not safetensors at all"),
    "empty": lambda path: path.write_bytes(b""),
    "cut short": lambda path: path.write_bytes(path.read_bytes()[:-100]),
    "no metadata": lambda path: rewritten(path, lambda _, metadata: metadata.clear()),
    "no iteration": lambda path: rewritten(path, lambda _, m: m.pop("iteration")),
    "no number": lambda path: rewritten(path, lambda _, m: m.update(iteration="many")),
    "a tensor missing": lambda path: rewritten(
        path, lambda t, _: t.pop("model.accuracy_regressor.last.bias")
    ),
    "a shape changed": lambda path: rewritten(
        path, lambda t, _: t.update({"model.accuracy_regressor.last.bias": torch.zeros(2)})
    ),
    "another name": lambda path: rewritten(path, lambda t, _: t.update(other=torch.zeros(2))),
}


@pytest.mark.usefixtures("often")
@pytest.mark.parametrize("damage", DAMAGES.values(), ids=DAMAGES)
def test_a_damaged_checkpoint_is_named(
    damage: Callable[[Path], object], examples: list[Example], tmp_path: Path
) -> None:
    stopped(examples, TINY, tmp_path, 6)
    damage(tmp_path / CHECKPOINT)
    with pytest.raises(EmbeddingError, match=f"{CHECKPOINT} is damaged; delete it"):
        Fit(examples, TINY, 7, tmp_path).run()


@pytest.mark.usefixtures("often")
def test_a_checkpoint_of_another_seed_is_not_continued(
    examples: list[Example], tmp_path: Path
) -> None:
    stopped(examples, TINY, tmp_path, 6)
    with pytest.raises(EmbeddingError, match="seed 7, not 8"):
        Fit(examples, TINY, 8, tmp_path).run()


@pytest.mark.usefixtures("often")
@pytest.mark.parametrize("other", ["labels", "networks", "codec"])
def test_a_checkpoint_of_another_task_is_not_continued(
    other: str, examples: list[Example], tmp_path: Path
) -> None:
    stopped(examples, TINY, tmp_path, 6)
    settings = TINY.model_copy(update={"codec": "scaled"}) if other == "codec" else TINY
    given = examples[1:] if other == "networks" else examples
    if other == "labels":
        place = next(i for i, e in enumerate(examples) if e.accuracy is not None)
        given = [replace(e, accuracy=0.123) if i == place else e for i, e in enumerate(examples)]
    with pytest.raises(EmbeddingError, match="is of a fit to other labels or of another config"):
        Fit(given, settings, 7, tmp_path).run()


@pytest.mark.usefixtures("often")
def test_a_checkpoint_that_does_not_say_of_what_task_it_is_is_continued(
    examples: list[Example], tmp_path: Path
) -> None:
    stopped(examples, TINY, tmp_path, 6)
    rewritten(tmp_path / CHECKPOINT, lambda _, metadata: metadata.pop("task"))
    assert Fit(examples, TINY, 7, tmp_path).run()


# ------------------------------------------------------------------ fine-tuning


def loss_on(embedding: Embedding, examples: list[Example]) -> float:
    data = Examples.of(examples)
    targets = embedding.parameter_target.of(data.parameters)
    everything = torch.arange(len(examples))
    with torch.no_grad():
        return float(fitting.batch_losses(embedding, data, targets, everything).total)


@pytest.mark.parametrize(("name", "share"), [("default", 0.7), ("paper", 0.97)])
def test_fine_tuning_lowers_the_loss_on_new_labels(
    name: str, share: float, examples: list[Example]
) -> None:
    embedding = Fit(examples, CONFIGURATIONS[name], 0).run()
    new = [Example(e.architecture, 1.0) for e in labelled(10, seed=3)]
    before = loss_on(embedding, new)
    statistics = {k: v.clone() for k, v in embedding.state_dict().items() if "running" in k}
    tuned = fine_tune(embedding, new, iterations=20, learning_rate=0.003)
    assert tuned is embedding
    assert not tuned.training
    assert loss_on(tuned, new) < share * before
    for key, value in statistics.items():
        assert torch.equal(tuned.state_dict()[key], value)


def test_fine_tuning_moves_predictions_toward_the_labels(examples: list[Example]) -> None:
    embedding = Fit(examples, TINY, 0).run()
    networks = blocks(6, seed=9)
    with torch.no_grad():
        before = embedding.accuracy_regressor(embedding.encode(networks))
    fine_tune(embedding, [Example(network, 1.0) for network in networks], 20, 0.003)
    with torch.no_grad():
        after = embedding.accuracy_regressor(embedding.encode(networks))
    assert (after > before).all()
