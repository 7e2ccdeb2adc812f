"""A fit from an archive: which evaluations become labels, and what lands in the folder."""

import json
from collections.abc import Sequence
from pathlib import Path

import pytest
import torch

from archpress.architectures.architecture import Architecture
from archpress.architectures.layers import ReLU
from archpress.embedding import fitting
from archpress.embedding.archive_fit import fit_archive, labelled_examples
from archpress.embedding.fitting import Fit, split_held_out
from archpress.embedding.model import Embedding
from archpress.embedding.settings import CONFIGURATIONS
from archpress.embedding.tokens import why_inexpressible
from archpress.errors import ArchiveError, EmbeddingError, SettingsError
from archpress.evaluation.archive import Archive
from archpress.evaluation.record import Evaluation, Job, Status
from archpress.training.recipe import find_recipe
from tests.embedding.tiny import SIZES, blocks

RECIPE, OTHER = find_recipe("label-small"), find_recipe("label-medium")


def evaluation(
    network: Architecture,
    accuracy: float | None,
    seed: int = 0,
    recipe: str = "label-small",
    data: str = "data",
    status: Status = "ok",
) -> Evaluation:
    job = Job(network, find_recipe(recipe), seed, data)
    return Evaluation.of(job, status, validation_accuracy=accuracy, losses=(1.0,))


def archive_of(path: Path, evaluations: Sequence[Evaluation]) -> Archive:
    archive = Archive(path)
    assert archive.merge(evaluations).added == len(evaluations)
    return archive


@pytest.fixture
def stored(tmp_path: Path) -> Path:
    """An archive of 14 labels of one recipe and 5 of another."""
    path = tmp_path / "archive.sqlite"
    runs = [evaluation(n, 0.3 + i / 40) for i, n in enumerate(blocks(14))]
    runs += [evaluation(n, 0.9, recipe="label-medium") for n in blocks(5)]
    archive_of(path, runs).close()
    return path


@pytest.fixture(autouse=True)
def small_configurations(monkeypatch: pytest.MonkeyPatch) -> None:
    for name, settings in CONFIGURATIONS.items():
        monkeypatch.setitem(CONFIGURATIONS, name, settings.model_copy(update=SIZES))


# ------------------------------------------------------------------ labels


@pytest.mark.parametrize("other", [{"recipe": "label-medium"}, {"data": "other data"}], ids=str)
@pytest.mark.parametrize("more", [True, False])
def test_the_most_frequent_recipe_and_data_give_the_labels(
    other: dict[str, str], more: bool, tmp_path: Path
) -> None:
    networks = blocks(5)
    ours, theirs = (networks[:2], networks[2:]) if more else (networks[:3], networks[3:])
    runs = [evaluation(n, 0.9) for n in ours]
    runs += [evaluation(n, 0.2, **other) for n in theirs]  # type: ignore[arg-type]
    with archive_of(tmp_path / "a.sqlite", runs) as archive:
        examples = labelled_examples(archive)
    expected = theirs if more else ours
    assert {e.architecture.digest for e in examples} == {n.digest for n in expected}
    assert [e.accuracy for e in examples] == [0.2 if more else 0.9] * 3


def test_a_label_is_the_mean_over_seeds(tmp_path: Path) -> None:
    network, other = blocks(2)
    runs = [evaluation(network, a, seed) for seed, a in enumerate((0.5, 0.6, 0.7))]
    with archive_of(tmp_path / "a.sqlite", [*runs, evaluation(other, 0.1)]) as archive:
        found = {e.architecture.digest: e.accuracy for e in labelled_examples(archive)}
    assert found == {network.digest: pytest.approx(0.6), other.digest: 0.1}


def test_divergence_is_chance_and_failure_is_no_label(tmp_path: Path) -> None:
    diverged, failed, nothing_right = blocks(3)
    runs = [
        evaluation(diverged, None, status="diverged"),
        evaluation(failed, None, status="out_of_memory"),
        evaluation(nothing_right, 0.0),
    ]
    with archive_of(tmp_path / "a.sqlite", runs) as archive:
        found = {e.architecture.digest: e.accuracy for e in labelled_examples(archive)}
    assert found == {diverged.digest: 0.1, nothing_right.digest: 0.0}


def test_an_empty_archive_is_refused(tmp_path: Path) -> None:
    with (
        Archive(tmp_path / "a.sqlite") as archive,
        pytest.raises(EmbeddingError, match=r"a\.sqlite holds no evaluation"),
    ):
        labelled_examples(archive)


# ------------------------------------------------------------------ the folder


@pytest.mark.parametrize("configuration", ["default", "paper"])
def test_a_fit_writes_embedding_history_and_diagnostics(
    configuration: str, stored: Path, tmp_path: Path
) -> None:
    folder = tmp_path / "deep" / "folder"
    reported: list[tuple[int, int]] = []
    facts = fit_archive(
        stored, folder, configuration, iterations=6, seed=2,
        on_progress=lambda *progress: reported.append(progress),
    )  # fmt: skip
    assert sorted(p.name for p in folder.iterdir()) == [
        "embedding.json", "embedding.safetensors", "fit.jsonl"
    ]  # fmt: skip
    assert reported == [(6, 6)]
    embedding, record = Embedding.load(folder)
    assert facts["labelled"] == record["labelled"] == 12
    assert facts["held_out"]["networks"] == record["held_out"]["networks"] == 2
    expected = {"iterations": 6, "unlabelled": 0}
    assert embedding.settings == CONFIGURATIONS[configuration].model_copy(update=expected)
    assert json.loads((folder / "fit.jsonl").read_text())["iteration"] == 6


def test_networks_that_no_embedding_expresses_are_left_out_and_counted(
    stored: Path, tmp_path: Path
) -> None:
    first = blocks(1)[0]
    deep = Architecture(first.input_shape, (*[ReLU()] * 64, *first.layers))
    assert why_inexpressible(deep)
    with Archive(stored) as archive:
        archive.merge([evaluation(deep, 0.9)])
        assert len(labelled_examples(archive)) == 15
    facts = fit_archive(stored, tmp_path / "fit", iterations=1)
    assert (facts["labelled"], facts["left_out"]) == (12, 1)


def test_it_is_the_fit_of_the_learned_part(stored: Path, tmp_path: Path) -> None:
    fit_archive(stored, tmp_path / "fit", iterations=3, seed=2)
    with Archive(stored) as archive:
        learned, _ = split_held_out(labelled_examples(archive), 0.15)
    embedding, _ = Embedding.load(tmp_path / "fit")
    expected = Fit(learned, embedding.settings, 2).run().state_dict()
    for key, value in embedding.state_dict().items():
        assert torch.equal(value, expected[key])


def test_a_stopped_fit_is_continued_and_its_checkpoint_removed(
    stored: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(fitting, "LOG_EVERY", 3)
    monkeypatch.setattr(fitting, "CHECKPOINT_EVERY", 2)

    def stop(done: int, total: int) -> None:
        raise KeyboardInterrupt

    fit_archive(stored, tmp_path / "whole", iterations=6)
    with pytest.raises(KeyboardInterrupt):
        fit_archive(stored, tmp_path / "parts", iterations=6, on_progress=stop)
    assert (tmp_path / "parts" / "fit.checkpoint.safetensors").exists()
    fit_archive(stored, tmp_path / "parts", iterations=6)
    for name in ("embedding.json", "embedding.safetensors", "fit.jsonl"):
        assert (tmp_path / "parts" / name).read_bytes() == (tmp_path / "whole" / name).read_bytes()
    assert not (tmp_path / "parts" / "fit.checkpoint.safetensors").exists()


def test_a_folder_with_an_embedding_is_refused_and_left_alone(stored: Path, tmp_path: Path) -> None:
    folder = tmp_path / "fit"
    fit_archive(stored, folder, iterations=2)
    before = (folder / "embedding.json").read_bytes()
    with pytest.raises(EmbeddingError, match=f"{folder} holds an embedding already"):
        fit_archive(stored, folder, iterations=2, seed=5)
    assert (folder / "embedding.json").read_bytes() == before


def test_an_unknown_configuration_names_the_nearest(stored: Path, tmp_path: Path) -> None:
    with pytest.raises(SettingsError, match="unknown configuration 'papre'; did you mean 'paper'"):
        fit_archive(stored, tmp_path / "fit", "papre")
    assert not (tmp_path / "fit").exists()


def test_a_missing_archive_is_named(tmp_path: Path) -> None:
    with pytest.raises(ArchiveError, match=r"no archive .*none\.sqlite"):
        fit_archive(tmp_path / "none.sqlite", tmp_path / "fit")
    assert not (tmp_path / "none.sqlite").exists()


def test_an_archive_of_too_few_labels_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "a.sqlite"
    archive_of(path, [evaluation(n, 0.5) for n in blocks(8)]).close()
    with pytest.raises(EmbeddingError, match="at least 8 labelled networks, there are 7"):
        fit_archive(path, tmp_path / "fit", iterations=2)
