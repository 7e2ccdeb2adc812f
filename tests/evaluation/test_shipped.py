"""Archives of any form are opened alike."""

import shutil
from importlib.resources import files
from pathlib import Path

import pytest

from archpress.architectures.layers import DepthwiseConvolution
from archpress.errors import ArchiveError
from archpress.evaluation import shipped
from archpress.evaluation.archive import Archive
from archpress.evaluation.archive_card import card, held_out, main_labels
from archpress.evaluation.shipped import open_archive, shipped_names
from archpress.training.recipe import DEFAULT_RECIPE

OLD = Path(__file__).parent / "old_formats"


def test_files_exports_and_names_are_opened_alike(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    shutil.copy(OLD / "archive_v1.sqlite", tmp_path / "some.sqlite")
    (tmp_path / "pretrained").mkdir()
    with Archive(tmp_path / "some.sqlite") as archive:
        archive.export(tmp_path / "some.jsonl.gz")
        archive.export(tmp_path / "pretrained" / f"small{shipped.SUFFIX}")
        expected = list(archive)
    monkeypatch.setattr(shipped, "files", lambda package: tmp_path)
    assert shipped_names() == ["small"]
    for source in (tmp_path / "some.sqlite", str(tmp_path / "some.jsonl.gz"), "small"):
        with open_archive(source) as opened:
            assert list(opened) == expected


def test_what_comes_with_the_package_is_not_written_over_by_an_empty_file(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    (name, *_) = shipped_names()
    with pytest.raises(ArchiveError, match=f"{name} comes with the package"):
        Archive(Path(name))
    assert list(tmp_path.iterdir()) == []
    Archive(tmp_path / name).close()  # a path that is not the name alone is a file like any other


def test_what_is_not_there_is_refused_with_the_names_in_the_package() -> None:
    with pytest.raises(ArchiveError, match=r"there is no archive nowhere \(in the package: "):
        open_archive("nowhere")


def test_the_archive_that_comes_with_the_package_is_large_diverse_and_as_its_card_says() -> None:
    with open_archive("fashion-mnist-blocks") as archive:
        found = main_labels(archive)
        runs = list(archive)
    assert found is not None and len(found.runs) == len(runs)
    assert found.recipe.name == DEFAULT_RECIPE
    assert all(run.status in ("ok", "at_chance") for run in runs)
    networks = [label.architecture for label in found.labels]
    assert len(networks) >= 600
    sizes = sorted(network.cost.parameters for network in networks)
    assert sizes[30] * 80 < sizes[-30]
    for has in (
        lambda network: any(layer.skip for layer in network.layers),
        lambda network: any(isinstance(layer, DepthwiseConvolution) for layer in network.layers),
    ):
        assert sum(map(has, networks)) > len(networks) / 10
    repeated = {label.architecture for label in found.labels if len(label.values) > 1}
    assert repeated == held_out(networks)
    beside = files("archpress") / "pretrained" / "fashion-mnist-blocks.md"
    assert card(found) in beside.read_text(encoding="utf-8")
