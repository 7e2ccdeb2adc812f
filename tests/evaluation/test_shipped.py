"""Archives of any form are opened alike."""

import shutil
from pathlib import Path

import pytest

from archpress.errors import ArchiveError
from archpress.evaluation import shipped
from archpress.evaluation.archive import Archive
from archpress.evaluation.shipped import open_archive, shipped_names

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


def test_what_is_not_there_is_refused_with_the_names_in_the_package() -> None:
    with pytest.raises(ArchiveError, match=r"there is no archive nowhere \(in the package: "):
        open_archive("nowhere")
