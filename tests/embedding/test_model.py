"""The embedding's two files: written, read back, and refused with the folder named."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch

from archpress.embedding.model import Embedding
from archpress.embedding.tokens import to_tokens
from archpress.errors import EmbeddingError
from tests.embedding.tiny import CONFIGURATIONS, TINY, blocks, random_embedding

JSON, WEIGHTS = "embedding.json", "embedding.safetensors"


@pytest.mark.parametrize("name", CONFIGURATIONS)
def test_a_loaded_embedding_predicts_bit_for_bit_the_same(name: str, tmp_path: Path) -> None:
    embedding = random_embedding(CONFIGURATIONS[name], sigma=321.5)
    embedding.save(tmp_path, {"labelled": 9, "held_out": {"networks": 0}})
    loaded, record = Embedding.load(tmp_path)
    tokens = to_tokens(blocks(4))
    for ours, theirs in zip(embedding(tokens), loaded(tokens), strict=True):
        assert torch.equal(ours, theirs)
    assert (loaded.settings, loaded.parameter_target) == (
        embedding.settings, embedding.parameter_target
    )  # fmt: skip
    assert not loaded.training
    assert (record["labelled"], record["held_out"]) == (9, {"networks": 0})


def test_saving_leaves_no_other_file_behind(tmp_path: Path) -> None:
    random_embedding().save(tmp_path, {})
    assert sorted(path.name for path in tmp_path.iterdir()) == [JSON, WEIGHTS]


def changed(**values: Any) -> Callable[[Path], object]:
    """A change of embedding.json; None removes the key."""

    def change(folder: Path) -> None:
        record = {**json.loads((folder / JSON).read_text()), **values}
        kept = {key: value for key, value in record.items() if value is not None}
        (folder / JSON).write_text(json.dumps(kept))

    return change


def cut_short(folder: Path) -> None:
    whole = (folder / WEIGHTS).read_bytes()
    (folder / WEIGHTS).write_bytes(whole[: len(whole) // 2])


def of_another_size(folder: Path) -> None:
    other = folder / "other"
    other.mkdir()
    random_embedding(TINY.model_copy(update={"size": 9})).save(other, {})
    (other / WEIGHTS).replace(folder / WEIGHTS)


DAMAGES: dict[str, Callable[[Path], object]] = {
    "no json": lambda folder: (folder / JSON).unlink(),
    "no weights": lambda folder: (folder / WEIGHTS).unlink(),
    "json cut short": lambda folder: (folder / JSON).write_text('{"format": '),
    "json empty": lambda folder: (folder / JSON).write_text(""),
    "json of another kind": lambda folder: (folder / JSON).write_text("[1, 2]"),
    "json not text": lambda folder: (folder / JSON).write_bytes(b"\xff\xfe\x00"),
    "weights cut short": cut_short,
    "weights not safetensors": lambda folder: (folder / WEIGHTS).write_bytes(b"weights"),
    "weights of another size": of_another_size,
    "another format": changed(format="archpress.architecture"),
    "an earlier version": changed(version=1),
    "a later version": changed(version=3),
    "no version": changed(version=None),
    "no settings": changed(settings=None),
    "unknown setting": changed(settings={"depth": 3}),
    "no sigma": changed(sigma=None),
    "sigma no number": changed(sigma="large"),
}


@pytest.mark.parametrize("damage", DAMAGES.values(), ids=DAMAGES)
def test_a_damaged_embedding_is_refused_with_its_folder_named(
    damage: Callable[[Path], object], tmp_path: Path
) -> None:
    random_embedding().save(tmp_path, {})
    damage(tmp_path)
    with pytest.raises(EmbeddingError, match=str(tmp_path)):
        Embedding.load(tmp_path)
