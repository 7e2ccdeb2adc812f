"""``archpress archive``: what it lists and shows, what it merges, and what it finds wrong."""

import json
import os
import pty
import re
import shutil
import sqlite3
import subprocess
import sys
from collections.abc import Callable
from contextlib import closing
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from archpress.evaluation.archive import Archive
from archpress.evaluation.record import Evaluation, Job
from tests.evaluation.tiny import TINY, network, recipe
from tests.tiny_runs import ROOT, archpress, plain, refused, snapshot

OLD = Path(__file__).parents[1] / "evaluation" / "old_formats" / "archive_v1.sqlite"
LONG = recipe(name="long", epochs=3)


def run(
    width: int, seed: int, accuracy: float | None, by: Any = TINY, status: Any = "ok"
) -> Evaluation:
    return Evaluation.of(
        Job(network(width), by, seed, "d1"), status, validation_accuracy=accuracy,
        losses=(1.0,) * by.epochs, images=64, seconds=450.0,
    )  # fmt: skip


RUNS = [
    run(4, 0, 0.5), run(4, 1, 0.75), run(5, 0, 0.25), run(5, 1, None, status="diverged"),
    run(4, 0, 0.875, LONG), run(6, 0, None, LONG, "out_of_memory"),
]  # fmt: skip


@pytest.fixture
def archive(tmp_path: Path) -> Path:
    return archive_of(tmp_path / "archive.sqlite", RUNS)


def archive_of(path: Path, runs: list[Evaluation]) -> Path:
    with Archive(path) as store:
        assert store.merge(runs).added == len(runs)
    return path


def rows(text: str) -> list[list[str]]:
    return [line.split("\t") for line in text.splitlines()]


def ends_well(*arguments: object) -> str:
    done = archpress("archive", *arguments)
    assert (done.exit_code, done.stderr) == (0, "")
    return done.stdout


# ------------------------------------------------------------------ ls


def test_ls_sums_up_each_recipe_with_tabs_where_no_terminal_is(archive: Path) -> None:
    assert rows(ends_well("ls", archive)) == [
        ["data", "recipe", "digest", "networks", "runs", "by status", "epochs", "hours",
         "accuracy, %"],
        ["d1", "tiny", TINY.digest, "2", "4", "ok 3, diverged 1", "4", "0.50", "25.00 to 75.00"],
        ["d1", "long", LONG.digest, "2", "2", "ok 1, out_of_memory 1", "6", "0.25",
         "87.50 to 87.50"],
    ]  # fmt: skip


def test_ls_as_json_has_the_same_figures(archive: Path) -> None:
    first, second = json.loads(ends_well("ls", archive, "--json"))
    assert first == {
        "data": "d1", "recipe": TINY.digest, "recipe_name": "tiny", "networks": 2, "runs": 4,
        "statuses": {"ok": 3, "diverged": 1}, "epochs": 4, "seconds": 1800.0,
        "accuracies": [0.25, 0.75],
    }  # fmt: skip
    assert second["accuracies"] == [0.875, 0.875]


def test_ls_of_an_empty_archive_has_no_row(tmp_path: Path) -> None:
    path = archive_of(tmp_path / "empty.sqlite", [])
    assert len(rows(ends_well("ls", path))) == 1
    assert json.loads(ends_well("ls", path, "--json")) == []


def test_ls_draws_a_table_on_a_terminal(archive: Path) -> None:
    ours, theirs = pty.openpty()
    process = subprocess.Popen(
        [sys.executable, "-m", "archpress", "archive", "ls", str(archive)],
        stdout=theirs, cwd=ROOT, env={**os.environ, "COLUMNS": "160", "TERM": "xterm"},
    )  # fmt: skip
    os.close(theirs)
    text = b""
    try:
        while piece := os.read(ours, 10_000):
            text += piece
    except OSError:  # the other end is closed
        pass
    os.close(ours)
    assert process.wait() == 0
    assert "┃" in text.decode()
    said = plain(text.decode())
    assert f"d1 tiny {TINY.digest} 2 4 ok 3, diverged 1 4 0.50 25.00 to 75.00" in said


def test_an_archive_of_the_first_version_is_listed_and_left_as_it_was(tmp_path: Path) -> None:
    shutil.copy(OLD, tmp_path)
    before = snapshot(tmp_path)
    listed = rows(ends_well("ls", tmp_path / OLD.name))
    assert sum(int(row[4]) for row in listed[1:]) == 6
    assert ends_well("verify", tmp_path / OLD.name).endswith("nothing wrong\n")
    assert snapshot(tmp_path) == before


# ------------------------------------------------------------------ show


def test_show_prints_layers_costs_and_labels(archive: Path) -> None:
    shown = network(4)
    said = ends_well("show", archive, shown.digest[:6].upper())
    assert said.startswith(
        f"{shown.digest}: {shown.cost.parameters:,} parameters, {shown.cost.macs:,} MACs\n"
    )
    assert shown.summary() in said
    labels = {row[1]: row[2:] for row in rows(said) if len(row) == 8}
    # (0.75 - 0.5)^2 / 2 is the variance, over two runs
    assert labels["tiny"] == [TINY.digest, "62.50", "12.50", "2", "ok 2", "900.0"]
    assert labels["long"] == [LONG.digest, "87.50", "", "1", "ok 1", "450.0"]


def test_show_counts_a_run_that_diverged_as_chance_and_one_without_memory_as_nothing(
    archive: Path,
) -> None:
    said = ends_well("show", archive, network(5).digest)
    assert rows(said)[-1][3:7] == ["17.50", "7.50", "2", "diverged 1, ok 1"]
    said = ends_well("show", archive, network(6).digest)
    assert rows(said)[-1][3:7] == ["none", "", "1", "out_of_memory 1"]


def test_show_wants_one_network(archive: Path, tmp_path: Path) -> None:
    digest = network(4).digest
    wrong = digest[:5] + "xyz"
    sentence = refused("archive", "show", archive, wrong)
    assert f"no network whose digest begins with '{wrong}'; the nearest is {digest}" in sentence
    sentence = refused("archive", "show", archive, "")
    assert "holds 3 networks whose digests begin with ''" in sentence
    empty = archive_of(tmp_path / "empty.sqlite", [])
    assert "begins with 'a': it is empty" in refused("archive", "show", empty, "a")
    shipped = refused("archive", "show", "fashion-mnist-blocks", "zz")
    assert "fashion-mnist-blocks holds no network whose digest begins with 'zz'" in shipped


@pytest.mark.parametrize("name", ["all.jsonl", "all.jsonl.gz", "all.jsonl.xz"])
def test_an_archive_is_not_made_under_the_name_of_an_export(
    name: str, archive: Path, tmp_path: Path
) -> None:
    sentence = refused("archive", "merge", tmp_path / name, archive)
    assert f"{name} has the name of an export, which is only read" in sentence
    assert not (tmp_path / name).exists()


# ------------------------------------------------------------------ merge, export, import


def test_merge_takes_archives_and_exports_and_lists_what_contradicts(
    archive: Path, tmp_path: Path
) -> None:
    changed = replace(RUNS[0], validation_accuracy=0.125)
    other = archive_of(tmp_path / "other.sqlite", [changed, RUNS[1], run(7, 0, 0.5)])
    export = tmp_path / "third.jsonl.xz"
    ends_well("export", archive_of(tmp_path / "third.sqlite", [run(8, 0, 0.5)]), export)
    assert ends_well("merge", archive, other, export).splitlines() == [
        f"{other}: 1 added, 1 the same, 1 in conflict",
        f"  kept what was there: {changed.key}",
        f"{export}: 1 added, 0 the same, 0 in conflict",
    ]
    with Archive(archive) as store:
        assert {e.key: e for e in store} == {
            e.key: e for e in (*RUNS, run(7, 0, 0.5), run(8, 0, 0.5))
        }


def test_nothing_is_merged_where_a_source_cannot_be_read(archive: Path, tmp_path: Path) -> None:
    (tmp_path / "torn.jsonl").write_text('{"version"')
    (tmp_path / "notes.txt").write_text("mine " * 300)
    before = snapshot(tmp_path)
    for source, words in (
        ("torn.jsonl", "torn.jsonl, line 1: "),
        ("notes.txt", "notes.txt is not a usable archive"),
        ("absent.sqlite", "there is no archive "),
    ):
        for target in ("archive.sqlite", "new.sqlite"):
            files = (tmp_path / name for name in (target, "archive.sqlite", source))
            assert words in refused("archive", "merge", *files)
    assert snapshot(tmp_path) == before


def test_merge_and_import_wait_for_no_other_writer(archive: Path, tmp_path: Path) -> None:
    export = tmp_path / "export.jsonl"
    ends_well("export", archive, export)
    with Archive(archive) as store, store.writing():
        for command in ("merge", "import"):
            assert "is writing to it" in refused("archive", command, archive, export)
        assert len(rows(ends_well("ls", archive))) == 3
        assert ends_well("verify", archive).startswith("6 evaluations in ")


@pytest.mark.parametrize("name", ["export.jsonl", "export.jsonl.gz", "export.jsonl.xz"])
def test_an_export_comes_back_as_it_was(name: str, archive: Path, tmp_path: Path) -> None:
    export, new = tmp_path / name, tmp_path / "new.sqlite"
    assert ends_well("export", archive, export) == f"6 evaluations in {export}\n"
    assert ends_well("import", new, export) == f"6 evaluations added to {new}\n"
    with Archive(archive) as one, Archive(new) as other:
        assert list(one) == list(other)


# ------------------------------------------------------------------ verify


def changed_record(**changes: Any) -> Callable[[Path], None]:
    """Write the first run's record otherwise, as a program that knows checksums would."""

    def damage(path: Path) -> None:
        text = json.dumps({**RUNS[0].to_json(), **changes}, sort_keys=True)
        status = changes.get("status", RUNS[0].status)
        change(path, "UPDATE evaluations SET record = ?, status = ? WHERE key = ?", text, status)
        change(path, "DELETE FROM checksums")

    return damage


def change(path: Path, statement: str, *values: str) -> None:
    with closing(sqlite3.connect(path)) as database, database:
        database.execute("DROP TRIGGER IF EXISTS append_only_update")
        database.execute(statement, (*values, RUNS[0].key) if values else ())


def changed_text(path: Path) -> None:
    change(path, "UPDATE evaluations SET record = ? WHERE key = ?", json.dumps(RUNS[1].to_json()))


def torn_text(path: Path) -> None:
    change(path, "UPDATE evaluations SET record = ? WHERE key = ?", '{"version": 2')


def other_status(path: Path) -> None:
    change(path, "UPDATE evaluations SET status = ? WHERE key = ?", "failed")


FINDINGS: list[tuple[Callable[[Path], None], list[str]]] = [
    (changed_text, [
        "the record is not what was written", f"the record says that its key is {RUNS[1].key}",
    ]),
    (torn_text, ["the record is not what was written", "the record cannot be read: "]),
    (other_status, ["the record is not what", "status is 'ok', the table's 'failed'"]),
    (changed_record(validation_accuracy=1.5), ["accuracy is 1.5, expected a number in [0, 1]"]),
    (changed_record(validation_accuracy="0.5"), ["accuracy is '0.5', expected a number in"]),
    (changed_record(validation_accuracy=float("nan")), ["accuracy is nan, expected a number"]),
    (changed_record(validation_accuracy=None), ["status 'ok' with validation accuracy None"]),
    (changed_record(status="failed"), ["status 'failed' with validation accuracy 0.5"]),
    (changed_record(status="fine"), ["unknown status 'fine'", "status 'fine' with validation"]),
    (changed_record(seed=7), [f"make the key {Job(network(4), TINY, 7, 'd1').key}"]),
    (changed_record(seconds=-1.0), ["seconds is -1.0, expected a number from 0"]),
    (changed_record(losses=[1.0, 1.0]), ["2 epochs trained by a recipe of 1"]),
    (changed_record(version=9), ["cannot be read: expected an evaluation of format version 2"]),
]  # fmt: skip


@pytest.mark.parametrize(("damage", "words"), FINDINGS)
def test_verify_has_a_line_for_each_thing_that_is_wrong(
    damage: Callable[[Path], None], words: list[str], archive: Path
) -> None:
    assert ends_well("verify", archive) == f"6 evaluations in {archive}, nothing wrong\n"
    damage(archive)
    done = archpress("archive", "verify", archive)
    assert (done.exit_code, done.stderr) == (1, "")
    lines = done.stdout.splitlines()
    assert len(lines) == len(words)
    for line, expected in zip(lines, words, strict=True):
        assert line.startswith(f"{RUNS[0].key}: ")
        assert expected in line
    as_json = archpress("archive", "verify", archive, "--json")
    assert as_json.exit_code == 1
    assert json.loads(as_json.stdout) == {"evaluations": 6, "findings": lines}


def test_verify_reads_exports_and_what_comes_with_the_package(
    archive: Path, tmp_path: Path
) -> None:
    export = tmp_path / "all.jsonl"
    ends_well("export", archive, export)
    assert ends_well("verify", export) == f"6 evaluations in {export}, nothing wrong\n"
    lines = export.read_text().splitlines()
    record = json.loads(lines[2]) | {"seed": 77}
    export.write_text("\n".join([*lines[:2], json.dumps(record), *lines[3:]]) + "\n")
    done = archpress("archive", "verify", export)
    assert done.exit_code == 1
    assert record["key"] in done.output and "make the key" in done.output
    said = ends_well("verify", "fashion-mnist-blocks")
    assert said.endswith("evaluations in fashion-mnist-blocks, nothing wrong\n")


def test_verify_tells_of_a_file_that_lost_pages(tmp_path: Path) -> None:
    path = archive_of(tmp_path / "archive.sqlite", [run(4, seed, 0.5) for seed in range(200)])
    content = path.read_bytes()
    for damaged in (
        content[: len(content) // 2],
        *(content[: 4096 * page] + bytes(4096) + content[4096 * (page + 1) :]
          for page in range(1, len(content) // 4096, 7)),
    ):  # fmt: skip
        path.write_bytes(damaged)
        done = archpress("archive", "verify", path)
        assert (done.exit_code, done.stderr) == (1, "")
        assert re.search("the file is damaged|cannot be read|not what was written", done.stdout)


def test_verify_refuses_what_is_no_archive(tmp_path: Path) -> None:
    (tmp_path / "notes.txt").write_text("mine " * 300)
    assert "notes.txt is not a usable archive" in refused(
        "archive", "verify", tmp_path / "notes.txt"
    )
    assert "there is no archive absent" in refused("archive", "verify", "absent.sqlite")
    assert "is not a usable archive" in refused("archive", "ls", tmp_path / "notes.txt")


def test_the_help_of_the_archive_commands_loads_no_torch() -> None:
    code = (
        "import sys; from archpress.cli import app\n"
        "try: app(['archive', '--help'])\n"
        "finally: print('torch' in sys.modules)"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True
    )
    assert done.stdout.splitlines()[-1] == "False"


def test_card_is_markdown_about_most_labels(archive: Path, tmp_path: Path) -> None:
    text = ends_well("card", archive)
    assert "| runs | ok 3, diverged 1 |" in text.splitlines()
    with Archive(tmp_path / "empty.sqlite"):
        pass
    assert ends_well("card", tmp_path / "empty.sqlite") == "no evaluation\n"
