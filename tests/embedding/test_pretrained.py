"""The file of an autoencoder, and the one that comes with the package."""

import json
from pathlib import Path

import pytest
import torch

from archpress.embedding.autoencoder import Autoencoder
from archpress.embedding.population import drawn_from
from archpress.embedding.pretrained import load, save, shipped
from archpress.embedding.reconstruction import decodings_of_prior, distinct, measure
from archpress.errors import EmbeddingError
from tests.small_networks import generator


def tiny() -> Autoencoder:
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        return Autoencoder(channels=8, width=4, hidden=8)


def test_comes_back_in_half_precision_with_its_facts(tmp_path: Path) -> None:
    model = tiny()
    save(model, tmp_path / "one", {"iterations": 7})
    found, record = load(tmp_path / "one")
    assert not found.training
    assert record["iterations"] == 7
    for name, value in model.state_dict().items():
        torch.testing.assert_close(found.state_dict()[name], value, rtol=1e-3, atol=1e-3)
    again = tmp_path / "two"
    save(found, again, {})
    assert (again.with_suffix(".safetensors").read_bytes()) == (
        (tmp_path / "one.safetensors").read_bytes()
    )


def test_loading_leaves_the_global_generator_alone(tmp_path: Path) -> None:
    save(tiny(), tmp_path / "one", {})
    before = torch.get_rng_state()
    load(tmp_path / "one")
    assert torch.equal(torch.get_rng_state(), before)


@pytest.mark.parametrize("what", ["missing", "cut", "other", "no json"])
def test_a_bad_file_is_refused_in_one_sentence(tmp_path: Path, what: str) -> None:
    path = tmp_path / "one"
    save(tiny(), path, {})
    if what == "missing":
        path.with_suffix(".safetensors").unlink()
    elif what == "cut":
        whole = path.with_suffix(".safetensors").read_bytes()
        path.with_suffix(".safetensors").write_bytes(whole[: len(whole) // 2])
    elif what == "other":
        record = json.loads(path.with_suffix(".json").read_text())
        path.with_suffix(".json").write_text(json.dumps({**record, "version": 99}))
    else:
        path.with_suffix(".json").write_text("{")
    with pytest.raises(EmbeddingError, match="one"):
        load(path)


@pytest.mark.parametrize("space", ["blocks", "neighbourhood"])
def test_the_shipped_one_says_what_it_reads(space: str) -> None:
    found = measure(shipped(), drawn_from({space: 1.0}, 300, generator(11)))
    assert found["exact"] >= 0.93
    assert found["within_5"] >= 0.95


def test_points_of_the_prior_decode_to_distinct_networks() -> None:
    networks, invalid = decodings_of_prior(shipped(), 200, ((1, 28, 28), 10), seed=5)
    assert invalid == 0
    assert distinct(networks) >= 0.95
