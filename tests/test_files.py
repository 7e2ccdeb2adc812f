"""Files are written whole or not at all."""

import errno
import json
import os
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file

from archpress.files import read_json_lines, write_json, write_tensors, write_text


def names_in(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


def test_a_text_is_written_with_its_folders_and_nothing_beside_it(tmp_path: Path) -> None:
    path = tmp_path / "a" / "b" / "text.txt"
    assert write_text(path, "öne\n") == path
    assert path.read_text() == "öne\n"
    assert names_in(path.parent) == ["text.txt"]


def test_a_text_replaces_what_was_there(tmp_path: Path) -> None:
    path = tmp_path / "text.txt"
    write_text(path, "a long first text\n")
    write_text(path, "short\n")
    assert path.read_text() == "short\n"


def test_a_text_that_finds_no_room_leaves_the_old_one_and_names_the_file(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = write_text(tmp_path / "text.txt", "old\n")

    def write_half(self: Path, content: bytes) -> int:
        with self.open("wb") as file:
            file.write(content[:2])
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(Path, "write_bytes", write_half)
    with pytest.raises(OSError, match="No space left on device") as caught:
        write_text(path, "new\n")
    assert (caught.value.errno, caught.value.filename) == (errno.ENOSPC, str(path))
    assert path.read_text() == "old\n"
    assert names_in(tmp_path) == ["text.txt"]


def test_an_interrupted_text_leaves_the_old_one(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = write_text(tmp_path / "text.txt", "old\n")

    def interrupt(self: Path, target: Path) -> Path:
        raise KeyboardInterrupt

    monkeypatch.setattr(Path, "replace", interrupt)
    with pytest.raises(KeyboardInterrupt):
        write_text(path, "new\n")
    assert path.read_text() == "old\n"
    assert names_in(tmp_path) == ["text.txt"]


@pytest.mark.parametrize("name", [".", "folder"])
def test_a_folder_is_not_written_over(
    name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "folder").mkdir()
    with pytest.raises(IsADirectoryError) as caught:
        write_text(Path(name), "text")
    assert caught.value.filename == name
    assert names_in(tmp_path) == ["folder"]


def test_a_device_stays_one(tmp_path: Path) -> None:
    pipe = tmp_path / "pipe"
    os.mkfifo(pipe)
    reader = os.open(pipe, os.O_RDONLY | os.O_NONBLOCK)
    write_text(pipe, "through\n")
    assert os.read(reader, 100) == b"through\n"
    os.close(reader)
    assert pipe.is_fifo()
    assert names_in(tmp_path) == ["pipe"]


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="there is no /dev/full")
def test_a_full_device_is_named() -> None:
    with pytest.raises(OSError, match="No space left") as caught:
        write_text(Path("/dev/full"), "text")
    assert caught.value.filename == "/dev/full"
    assert Path("/dev/full").is_char_device()


def test_json_is_read_back_as_it_was(tmp_path: Path) -> None:
    record = {"name": "x", "values": [1, 2.5, None, True], "table": {"é": "ü"}}
    path = write_json(tmp_path / "record.json", record)
    assert json.loads(path.read_text()) == record
    assert path.read_text().endswith("}\n")


def test_tensors_are_read_back_as_they_were(tmp_path: Path) -> None:
    weights = torch.arange(12.0, requires_grad=True).reshape(3, 4)
    tensors = {"a": weights, "turned": weights.t(), "count": torch.tensor(7)}
    path = write_tensors(tmp_path / "new" / "w.safetensors", tensors, {"seed": "3"})
    read = load_file(path)
    assert set(read) == set(tensors)
    assert all(torch.equal(read[name], tensors[name]) for name in tensors)
    assert names_in(path.parent) == ["w.safetensors"]


def test_tensors_that_cannot_be_written_leave_the_old_ones(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from safetensors import SafetensorError

    path = write_tensors(tmp_path / "w.safetensors", {"a": torch.ones(2)})

    def fail(tensors: object, file: Path, metadata: object) -> None:
        Path(file).write_bytes(b"half")
        raise SafetensorError("I/O error: No space left on device (os error 28)")

    monkeypatch.setattr("safetensors.torch.save_file", fail)
    with pytest.raises(OSError, match="No space left") as caught:
        write_tensors(path, {"a": torch.zeros(2)})
    assert (caught.value.errno, caught.value.filename) == (errno.ENOSPC, str(path))
    assert torch.equal(load_file(path)["a"], torch.ones(2))
    assert names_in(tmp_path) == ["w.safetensors"]


@pytest.mark.parametrize(
    ("content", "values"),
    [
        (b"", []),
        (b'{"a": 1}\n[2]\n', [{"a": 1}, [2]]),
        (b'{"a": 1}\n{"a": 2', [{"a": 1}]),
        (b'{"a": 1}\nnothing\n{"a": 3}\n', [{"a": 1}, {"a": 3}]),
        (b'{"a": 1}\n\xff\xfe\x00\n', [{"a": 1}]),
    ],
    ids=["empty", "whole", "torn", "damaged", "bytes"],
)
def test_json_lines_are_read_without_damaged_ones(
    content: bytes, values: list[object], tmp_path: Path
) -> None:
    (tmp_path / "lines.jsonl").write_bytes(content)
    assert read_json_lines(tmp_path / "lines.jsonl") == values


def test_absent_json_lines_are_none(tmp_path: Path) -> None:
    assert read_json_lines(tmp_path / "lines.jsonl") == []
