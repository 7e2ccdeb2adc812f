"""A file of architectures, one JSON object a line, comes back whole or not at all."""

import json
from pathlib import Path

import pytest

from archpress.architectures.architecture_files import read_architectures
from archpress.errors import InvalidArchitectureError
from tests.small_networks import ZOO

GOOD = json.dumps(ZOO["one pixel"].to_json())


def test_a_file_gives_the_architectures_back_in_order(tmp_path: Path) -> None:
    path = tmp_path / "architectures.jsonl"
    path.write_text("".join(json.dumps(network.to_json()) + "\n" for network in ZOO.values()))
    assert read_architectures(path) == list(ZOO.values())


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (f"{GOOD}\n{GOOD[:-9]}\n", r"mine\.jsonl, line 2: "),
        (f"{GOOD}\n{GOOD}\n[]\n", r"mine\.jsonl, line 3: expected a JSON object"),
        (f"{GOOD}\n".replace("linear", "lineal"), r"line 1: layer 2: layer kind 'lineal'"),
        ("", r"mine\.jsonl holds no architecture"),
    ],
)
def test_a_damaged_file_is_refused_with_its_line(
    tmp_path: Path, content: str, message: str
) -> None:
    path = tmp_path / "mine.jsonl"
    path.write_text(content)
    with pytest.raises(InvalidArchitectureError, match=message):
        read_architectures(path)


def test_a_missing_or_unreadable_file_is_refused_by_name(tmp_path: Path) -> None:
    with pytest.raises(InvalidArchitectureError, match=r"absent\.jsonl cannot be read"):
        read_architectures(tmp_path / "absent.jsonl")
    (tmp_path / "binary.jsonl").write_bytes(b"\xff\xfe\x00")
    with pytest.raises(InvalidArchitectureError, match=r"binary\.jsonl cannot be read"):
        read_architectures(tmp_path / "binary.jsonl")
