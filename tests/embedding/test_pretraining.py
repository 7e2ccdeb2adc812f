"""Pretraining on tiny models: the same however often it is stopped, on new networks each time."""

import json
from functools import partial
from itertools import count, islice
from pathlib import Path

import pytest
import torch

from archpress.embedding import pretraining
from archpress.embedding.autoencoder import Autoencoder
from archpress.embedding.population import Drawn, chunk, chunks
from archpress.embedding.pretraining import CHECKPOINT, Pretraining, Schedule
from archpress.errors import EmbeddingError


def tiny(seed: int = 0) -> Autoencoder:
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        return Autoencoder(channels=8, width=4, hidden=8)


@pytest.fixture(autouse=True)
def _small_chunks(monkeypatch: pytest.MonkeyPatch) -> None:
    """Chunks of 16, drawn in this process."""
    monkeypatch.setattr(pretraining, "CHUNK", 16)

    monkeypatch.setattr(
        pretraining, "chunks", lambda first, size: map(partial(chunk, size=size), count(first))
    )
    monkeypatch.setattr(pretraining, "LOG_EVERY", 1)
    monkeypatch.setattr(pretraining, "CHECKPOINT_EVERY", 1)


def weights(folder: Path, iterations: int, stops: tuple[int, ...] = ()) -> dict[str, torch.Tensor]:
    folder.mkdir(exist_ok=True)
    for stop in (*stops, iterations):
        run = Pretraining(tiny(), Schedule(iterations=iterations, batch_size=8), folder)
        batches = run._batches()
        run.model.train()
        while run.iteration < stop:
            run.step(next(batches))
        run._checkpoint()
    return {name: value.clone() for name, value in run.model.state_dict().items()}


@pytest.mark.parametrize("stops", [(2,), (1, 3)])
def test_a_stopped_pretraining_ends_as_the_undisturbed_one(
    tmp_path: Path, stops: tuple[int, ...]
) -> None:
    whole, parts = weights(tmp_path / "a", 4), weights(tmp_path / "b", 4, stops)
    assert all(torch.equal(whole[name], parts[name]) for name in whole)


def test_run_logs_and_ends_in_evaluation_mode(tmp_path: Path) -> None:
    told: list[tuple[int, int]] = []
    run = Pretraining(tiny(), Schedule(iterations=3, batch_size=8), tmp_path)
    run.run(lambda done, total: told.append((done, total)))
    assert told == [(1, 3), (2, 3), (3, 3)]
    assert not run.model.training
    lines = [json.loads(line) for line in (tmp_path / "pretraining.jsonl").read_text().splitlines()]
    assert [line["iteration"] for line in lines] == [1, 2, 3]
    assert all(line["total"] > 0 for line in lines)


def test_another_seed_is_refused(tmp_path: Path) -> None:
    weights(tmp_path, 1)
    with pytest.raises(EmbeddingError, match="seed 0, not 1"):
        Pretraining(tiny(), Schedule(seed=1), tmp_path)
    (tmp_path / CHECKPOINT).write_bytes(b"x" * 20)
    with pytest.raises(EmbeddingError, match="damaged"):
        Pretraining(tiny(), Schedule(), tmp_path)


def test_chunks_differ_and_are_the_same_again() -> None:
    first, second = chunk(0, 20), chunk(1, 20)
    assert not torch.equal(first.categories, second.categories)
    assert torch.equal(first.categories, chunk(0, 20).categories)


def test_another_seed_draws_other_networks(tmp_path: Path) -> None:
    firsts = [
        next(Pretraining(tiny(), Schedule(seed=seed, batch_size=16), tmp_path)._batches())
        for seed in (0, 1)
    ]
    assert torch.equal(firsts[0].categories, chunk(0, 16).categories)
    assert not torch.equal(firsts[0].categories, firsts[1].categories)


def test_chunks_are_drawn_ahead_in_order() -> None:
    found: list[Drawn] = list(islice(chunks(3, 8), 2))
    for number, drawn in enumerate(found, 3):
        assert torch.equal(drawn.categories, chunk(number, 8).categories)


def test_the_rate_rises_then_falls() -> None:
    schedule = Schedule(iterations=100, learning_rate=1.0)
    rates = [schedule.rate(i) for i in range(100)]
    assert rates[0] == 0.5 and max(rates) == 1.0 and rates[-1] < 0.01
