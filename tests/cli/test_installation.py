"""``archpress doctor``, ``archpress data ls``, completion, and ``python -m archpress``."""

import os
import resource
import subprocess
import sys
from pathlib import Path

import pytest

from archpress.datasets import sources
from archpress.datasets.dataset import load
from archpress.errors import EmbeddingError
from archpress.reporting import installation
from tests.datasets.test_datasets import write_cifar10, write_idx_folder
from tests.tiny_runs import ROOT, archpress


def call(*arguments: str, **environment: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "archpress", *arguments], capture_output=True, text=True,
        cwd=ROOT, env={**os.environ, **environment}, check=False,
    )  # fmt: skip


def test_a_sound_installation_is_told_in_under_five_seconds() -> None:
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    done = call("doctor")
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    assert (done.returncode, done.stderr) == (0, "")
    for name in ("archpress", "packages", "arithmetic", "processor", "pretrained", "this folder"):
        assert any(line.split(maxsplit=1)[1].startswith(name) for line in ok_lines(done.stdout))
    # Computing time, since a busy machine holds up the clock; as many threads as here have cores.
    assert after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime < 10


def ok_lines(text: str) -> list[str]:
    return [line for line in text.splitlines() if line.startswith("ok ")]


def test_what_is_broken_has_a_remedy_and_exit_status_1(monkeypatch: pytest.MonkeyPatch) -> None:
    def damaged() -> None:
        raise EmbeddingError("the pretrained embedding is damaged")

    monkeypatch.setattr("archpress.embedding.pretrained.shipped", damaged)
    monkeypatch.setattr(installation, "_version", lambda name: None if name == "scipy" else "1")
    done = archpress("doctor")
    assert done.exit_code == 1
    said = done.stdout.splitlines()
    for name, remedy in (
        ("packages            missing: scipy", "pip install scipy"),
        ("pretrained          the pretrained embedding is damaged", "install archpress anew"),
    ):
        place = next(k for k, line in enumerate(said) if name in line)
        assert said[place].startswith("broken")
        assert said[place + 1].strip() == remedy
    assert "archpress can work" not in done.stdout


def test_an_extra_that_is_not_there_is_no_fault(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(installation, "installed", lambda extra: extra != "ray")
    found = {one.name: one for one in installation.examine()}
    assert (found["extra ray"].state, found["extra onnx"].state) == ("absent", "ok")
    assert found["extra ray"].remedy == 'pip install "archpress[ray]"'


def test_data_ls_says_where_each_data_set_is_or_goes(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("ARCHPRESS_DATA", str(tmp_path))
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    write_cifar10(tmp_path / "cifar10")
    said = archpress("data", "ls").stdout.splitlines()
    rows = {line.split()[1]: (line.split()[0], below.strip()) for line, below in pairs(said)}
    assert set(rows) == set(sources.names())
    assert rows["cifar10"] == ("found", str(tmp_path / "cifar10"))
    assert rows["digits"][0] == "found"
    assert rows["svhn"][0] == "absent"
    assert "train_32x32.mat" in rows["svhn"][1]
    assert str(tmp_path / "home") in rows["svhn"][1]


def pairs(lines: list[str]) -> list[tuple[str, str]]:
    """Rows of two lines each."""
    rows = [line for line in lines if line.startswith(("found", "absent", " "))]
    return list(zip(rows[::2], rows[1::2], strict=True))


def test_where_a_data_set_is_found_it_is_read_from(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("ARCHPRESS_DATA", str(tmp_path))
    assert sources.where_found("cifar10") is None
    (tmp_path / "cifar10").mkdir()
    assert sources.where_found("cifar10") is None
    write_cifar10(tmp_path / "cifar10")
    assert sources.where_found("cifar10") == tmp_path / "cifar10"
    assert load("cifar10").name == "cifar10"
    write_idx_folder(tmp_path / "fashion-mnist", compressed=False)
    assert sources.where_found("fashion-mnist") == tmp_path / "fashion-mnist"


@pytest.mark.parametrize(
    ("words", "offered"),
    [
        ("archpress comp", "compress"),
        ("archpress baseline rand", "random_search"),
        ("archpress compress digits-", "digits-cnn"),
        ("archpress compress benchm", "benchmarks/"),
        ("archpress compress conv7 --data fash", "fashion-mnist"),
        ("archpress reproduce dri", "drift"),
    ],
)
def test_a_shell_is_offered_what_can_follow(words: str, offered: str) -> None:
    count = str(len(words.split()) - 1)
    done = call(_ARCHPRESS_COMPLETE="complete_bash", COMP_WORDS=words, COMP_CWORD=count)
    assert (done.returncode, done.stdout.split(), done.stderr) == (0, [offered], "")


def test_completion_can_be_installed() -> None:
    """What --install-completion installs; that looks for the shell that it is called from."""
    done = call(_ARCHPRESS_COMPLETE="source_bash")
    assert (done.returncode, done.stderr) == (0, "")
    assert "_ARCHPRESS_COMPLETE=complete_bash" in done.stdout
    for option in ("--show-completion", "--install-completion"):
        assert option in archpress("--help").stdout
