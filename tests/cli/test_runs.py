"""The command line where all goes well, its help, and Ctrl-C."""

import json
import os
import re
import resource
import shutil
import signal
import sqlite3
import statistics
import subprocess
import sys
import time
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest
import typer

import archpress as package
from archpress.architectures.architecture import Architecture
from archpress.architectures.architecture_files import read_architectures
from archpress.architectures.file_size import weights_file_bytes
from archpress.architectures.layers import Convolution, Linear
from archpress.architectures.references import conv7
from archpress.cli import app
from archpress.cli.options import name_of
from archpress.embedding.model import Embedding
from archpress.evaluation.archive import Archive
from archpress.files import write_json
from tests.tiny_runs import (
    LABELLED,
    ROOT,
    START,
    FinishedRun,
    archpress,
    archpress_process,
    finish_joint_run,
    plain,
    refused,
    small_readout,
    snapshot,
)


def read(path: Path) -> Any:
    return json.loads(path.read_text())


def records(path: Path) -> list[Any]:
    return [json.loads(line) for line in path.read_text().splitlines()]


def networks_of(run: FinishedRun) -> list[Any]:
    """The networks that a search proposed, as JSON values."""
    return [row["network"] for row in records(run.folder / "proposals.jsonl")]


@pytest.fixture(scope="module")
def joint_run(finished_run: FinishedRun, tmp_path_factory: pytest.TempPathFactory) -> FinishedRun:
    """A run of the joint search, on the same network and data."""
    return finish_joint_run(tmp_path_factory.mktemp("joint"), finished_run)


def row_of(name: str, row: dict[str, Any], base: dict[str, Any]) -> str:
    """What the closing table says of a network, without its frame."""
    scores = [100 * accuracy for accuracy in row["test_accuracy"]]
    accuracy = f"{statistics.mean(scores):.2f}"
    if len(scores) > 1:
        accuracy += f" ± {statistics.stdev(scores):.2f}"
    compression = base["parameters"] / row["parameters"]
    costs = f"{row['parameters']:,} {row['macs']:,} {compression:.2f}x"
    return f"{name} {costs} {accuracy} {len(scores)}"


# ------------------------------------------------------------------ compress and report


def test_compress_ends_with_costs_compression_and_test_accuracy(finished_run: FinishedRun) -> None:
    record, said = read(finished_run.folder / "result.json"), plain(finished_run.output)
    heads = "network parameters MACs compression test accuracy, % (mean ± s.d.) seeds"
    assert heads in said
    assert row_of("input", record["base"], record["base"]) in said
    assert row_of("compressed", record["compressed"], record["base"]) in said
    assert f"comes from: {record['compressed']['origin']}" in said
    assert record["base"]["parameters"] > record["compressed"]["parameters"]


def test_compress_shows_how_far_each_stage_is(finished_run: FinishedRun) -> None:
    for stage in ("labels", "round 1", "contest", "final training", "test set"):
        assert f"{stage}: 100 %" in finished_run.output


def test_compress_names_the_files_that_it_leaves(finished_run: FinishedRun) -> None:
    said = plain(finished_run.output)
    for name in (
        "compressed/model.py",
        "compressed/weights.safetensors",
        "compressed/architecture.json",
        "result.json",
        "archive.sqlite",
    ):
        assert name in said
        assert (finished_run.folder / name).stat().st_size > 0


def test_a_report_is_what_compress_ended_with_however_often_it_is_called(
    finished_run: FinishedRun,
) -> None:
    before = snapshot(finished_run.folder)
    first, second = (archpress("report", finished_run.folder) for _ in range(2))
    assert (first.exit_code, first.stderr) == (0, "")
    assert first.stdout == second.stdout
    assert finished_run.output.endswith(first.stdout)
    assert snapshot(finished_run.folder) == before


def test_a_report_shows_the_descent_where_asked_to(joint_run: FinishedRun) -> None:
    short = archpress("report", joint_run.folder)
    long = archpress("report", joint_run.folder, "--path")
    assert long.exit_code == 0
    assert long.stdout.startswith(short.stdout)
    lines = (joint_run.folder / "descent.jsonl").read_text().splitlines()
    steps = [line for line in map(json.loads, lines) if line["start"] == 0]
    said = plain(long.stdout.removeprefix(short.stdout))
    assert len(steps) == 4  # the input network decoded, and three steps
    for step in steps:
        assert f"{step['parameters']:,} " in said


def test_a_report_shows_the_best_network_of_each_guided_step(finished_run: FinishedRun) -> None:
    long = archpress("report", finished_run.folder, "--path")
    assert (long.exit_code, long.stderr) == (0, "")
    said = plain(long.stdout.removeprefix(archpress("report", finished_run.folder).stdout))
    path = [row for row in records(finished_run.folder / "descent.jsonl") if row["start"] == 0]
    steps = {row["step"] for row in path}
    assert steps
    for step in steps:
        best = max((row for row in path if row["step"] == step), key=lambda row: row["value"])
        assert f"{step} {best['length']:.2f} {100 * best['value']:.1f} " in said
        assert f"{best['parameters']:,} {best['macs']:,}" in said


def test_a_report_in_a_narrow_terminal_loses_no_figure(finished_run: FinishedRun) -> None:
    record = read(finished_run.folder / "result.json")
    said = plain(archpress("report", finished_run.folder, columns=80).stdout)
    assert row_of("compressed", record["compressed"], record["base"]) in said


def test_a_finished_run_called_again_changes_no_result(
    finished_run: FinishedRun, tmp_path: Path
) -> None:
    folder = shutil.copytree(finished_run.folder, tmp_path / "run")
    again = finished_run.compress(folder, "--resume")
    assert (again.exit_code, again.stderr) == (0, "")
    before, after = snapshot(finished_run.folder), snapshot(folder)
    assert {name for name in before if before[name] != after[name]} <= {
        "ledger.jsonl",
        "result.json",
        "archive.sqlite",
        "report.html",  # has the seconds of the ledger
        "progress.json",
    }
    ours, theirs = (read(f / "result.json") for f in (folder, finished_run.folder))
    assert {**ours, "seconds": None} == {**theirs, "seconds": None}


@pytest.mark.usefixtures("in_process")
def test_rivals_stand_beside_the_result(finished_run: FinishedRun, tmp_path: Path) -> None:
    folder = shutil.copytree(finished_run.folder, tmp_path / "run")
    for name in ("width_scaling", "random_search"):
        done = archpress("baseline", name, folder)
        assert (done.exit_code, done.stderr) == (0, "")
        record = read(folder / "result.json")
        rival = record["rivals"][name]
        assert row_of(name.replace("_", " "), rival, record["base"]) in plain(done.stdout)
        assert rival["parameters"] <= 0.4 * record["base"]["parameters"]
    assert set(record["rivals"]) == {"random_search", "width_scaling"}
    assert record["compressed"] == read(finished_run.folder / "result.json")["compressed"]


@pytest.mark.usefixtures("in_process")
def test_what_another_run_knows_is_not_trained_again(
    joint_run: FinishedRun, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(*arguments: object) -> None:
        raise AssertionError("everything is known already")

    monkeypatch.setattr("archpress.evaluation.executors.run_job", refuse)
    known = joint_run.folder / "archive.sqlite"
    done = joint_run.compress(tmp_path / "run", "--archive", known)
    assert (done.exit_code, done.stderr) == (0, "")
    ours, theirs = (f / "results" / "base.json" for f in (tmp_path / "run", joint_run.folder))
    assert ours.read_bytes() == theirs.read_bytes()


@pytest.mark.usefixtures("in_process")
def test_a_guided_search_goes_on_from_what_another_run_knows(
    finished_run: FinishedRun, tmp_path: Path
) -> None:
    folder = tmp_path / "run"
    known = finished_run.folder / "archive.sqlite"
    with small_readout():
        done = finished_run.compress(
            folder, "--archive", known, "--target-parameters", "50%",
        )  # fmt: skip
    assert (done.exit_code, done.stderr) == (0, "")
    before = {row["architecture"] for row in records(finished_run.folder / "proposals.jsonl")}
    proposed = records(folder / "proposals.jsonl")
    assert {row["architecture"] for row in proposed} & before == set()
    assert {row["source"] for row in proposed} & {"start"} == set()
    record = read(folder / "result.json")
    assert record["labels"] == len(proposed) < LABELLED
    assert len(read(folder / "known.json")) >= len(before)
    assert record["base"] == read(finished_run.folder / "result.json")["base"]


# ------------------------------------------------------------------ the stages one by one


def test_a_sample_is_decided_by_its_seed_and_keeps_its_limits(tmp_path: Path) -> None:
    files = [tmp_path / f"{number}.jsonl" for number in range(3)]
    for file, seed in zip(files, (1, 1, 2), strict=True):
        done = archpress(
            "sample", "--count", 12, "--input-shape", "1,8,8", "--classes", 4, "--seed", seed,
            "--min-parameters", 500, "--max-parameters", 5_000, "--max-activation-bytes", 3_000,
            "--out", file,
        )  # fmt: skip
        assert (done.exit_code, done.stderr) == (0, "")
        assert done.stdout.startswith(f"12 networks in {file}, ")
    first, again, other = (file.read_text() for file in files)
    assert first == again != other
    for line in first.splitlines():
        network = Architecture.from_json(json.loads(line))
        assert (network.input_shape, network.classes) == ((1, 8, 8), 4)
        assert 500 <= network.cost.parameters <= 5_000
        assert network.cost.activation_bytes <= 3_000


@pytest.mark.usefixtures("in_process")
def test_networks_are_labelled_once(finished_run: FinishedRun, tmp_path: Path) -> None:
    lines = [json.dumps(network) for network in networks_of(finished_run)]
    (tmp_path / "two.jsonl").write_text("\n".join(lines[:2]) + "\n")
    archive = tmp_path / "new" / "archive.sqlite"
    command = (
        "evaluate", tmp_path / "two.jsonl", "--data", finished_run.data, "--archive", archive,
        "--recipe", "label-digits", "--precision", "float32",
    )  # fmt: skip
    first, second = archpress(*command), archpress(*command)
    assert (first.exit_code, second.exit_code) == (0, 0)
    said = f"2 labels in {archive}: {{}} runs made now, 0 networks without an accuracy\n"
    assert said.format(2) in first.stdout
    assert second.stdout == "no run to be made\n" + said.format(0)
    with Archive(archive) as store:
        runs = list(store)
    assert [run.recipe.name for run in runs] == ["label-digits"] * 2
    assert {run.architecture for run in runs} == {
        Architecture.from_json(json.loads(line)) for line in lines[:2]
    }


def test_an_embedding_is_fitted_to_an_archive(finished_run: FinishedRun, tmp_path: Path) -> None:
    done = archpress(
        "fit", finished_run.folder / "archive.sqlite", "--out", tmp_path, "--iterations", 2
    )
    assert (done.exit_code, done.stderr) == (0, "")
    facts = json.loads(done.stdout[done.stdout.index("{") :])
    labels = read(finished_run.folder / "result.json")["labels"]
    assert facts["labelled"] + facts["held_out"]["networks"] == labels
    embedding, record = Embedding.load(tmp_path)
    assert record["labelled"] == facts["labelled"]
    assert embedding.settings.iterations == 2


def test_an_archive_survives_export_and_import(finished_run: FinishedRun, tmp_path: Path) -> None:
    old, new = finished_run.folder / "archive.sqlite", tmp_path / "new.sqlite"
    files = [tmp_path / "old.jsonl", tmp_path / "new.jsonl"]
    exported = archpress("archive", "export", old, files[0])
    count = len(files[0].read_text().splitlines())
    assert exported.stdout == f"{count} evaluations in {files[0]}\n"
    for added in (count, 0):
        imported = archpress("archive", "import", new, files[0])
        assert imported.stdout == f"{added} evaluations added to {new}\n"
    assert archpress("archive", "export", new, files[1]).exit_code == 0
    assert files[0].read_bytes() == files[1].read_bytes()
    assert count > LABELLED


def test_inspect_lists_every_layer_of_a_reference() -> None:
    said = plain(archpress("inspect", "digits-cnn", "--input-shape", "1,8,8").stdout)
    assert "digits-cnn: 75,626 parameters, 1,503,232 MACs" in said
    assert "0 Conv2d(1, 32, 3, padding=1) 32x8x8 320 18,432" in said
    assert "13 Linear(1024, 10) 10 10,250 10,240" in said
    assert "counted for images" not in said


def test_inspect_says_which_images_it_took_where_none_were_named() -> None:
    said = plain(archpress("inspect", "digits-cnn").stdout)
    assert "note: counted for images of 1,28,28; --input-shape C,H,W says otherwise" in said


@pytest.mark.parametrize(
    ("network", "name"),
    [
        ("conv7", "conv7"),
        ("models/mine.py:small", "mine"),
        ("torchvision.models:resnet18", "torchvision.models"),
        ("a/net.onnx", "net"),
        ("v1.2/architecture.json", "architecture"),
    ],
)
def test_a_network_is_called_by_its_file_or_module(network: str, name: str) -> None:
    assert name_of(network) == name


def test_inspect_refuses_a_shape_that_a_file_contradicts(finished_run: FinishedRun) -> None:
    file = finished_run.folder / "compressed" / "architecture.json"
    done = archpress("inspect", file, "--input-shape", "3,64,64")
    assert "images, not (3, 64, 64)" in plain(done.stderr)


def test_inspect_reads_what_compress_wrote(finished_run: FinishedRun) -> None:
    result = read(finished_run.folder / "result.json")["compressed"]
    done = archpress("inspect", finished_run.folder / "compressed" / "architecture.json")
    assert (done.exit_code, done.stderr) == (0, "")
    assert f"{result['parameters']:,} parameters, {result['macs']:,} MACs" in plain(done.stdout)


# ------------------------------------------------------------------ profile


def row_of_profile(said: str, metric: str) -> list[str]:
    (line,) = [line for line in said.splitlines() if line.startswith(metric)]
    return plain(line).split()[1:]


def test_profile_says_by_every_metric_what_can_be_reached_and_what_shares_mean() -> None:
    done = archpress("profile", "conv7", columns=80)
    assert (done.exit_code, done.stderr) == (0, "")
    shares = ["354,229", "70,845", "35,422"]
    assert row_of_profile(done.stdout, "parameters") == ["708,458", "66", *shares]
    assert row_of_profile(done.stdout, "macs")[0] == f"{conv7().cost.macs:,}"
    cost = conv7().cost
    held = row_of_profile(done.stdout, "activation_bytes")
    assert held[0] == f"{cost.activation_bytes:,}"
    assert held[2] == f"{cost.activation_bytes // 2:,}"
    size = row_of_profile(done.stdout, "file_bytes")
    whole = weights_file_bytes(conv7())
    assert [size[0], size[-1]] == [f"{whole:,}", f"{whole // 20:,}"]
    assert all(int(row[1].replace(",", "")) > 0 for row in (held, size))


def test_profile_takes_the_data_that_settings_name() -> None:
    said = archpress("profile", "digits-cnn", "--profile", "demo").stdout
    assert row_of_profile(said, "parameters")[0] == "75,626"  # for the digits' 8x8
    assert "for images of" not in said
    assert "for images of 1,28,28: --data or --input-shape says others" in (
        archpress("profile", "digits-cnn").stdout
    )
    refusal = archpress("profile", "conv7", "--data", "digits", "--input-shape", "1,8,8")
    assert "--data says the input shape" in plain(refusal.stderr)


def test_profile_measures_where_asked_to() -> None:
    done = archpress("profile", "digits-cnn", "--input-shape", "1,8,8", "--latency")
    row = row_of_profile(done.stdout, "latency_ms")
    assert float(row[0]) > 0
    assert float(row[1]) > 0
    assert "cpu, 1 thread, batches of 1" in done.stdout
    assert "latency_ms" not in archpress("profile", "conv7").stdout


def test_profile_takes_shape_and_classes_from_data_and_shows_what_is_out_of_reach(
    finished_run: FinishedRun, tmp_path: Path
) -> None:
    done = archpress("profile", finished_run.network, "--data", finished_run.data)
    own = Architecture.load(finished_run.network).cost.parameters
    assert row_of_profile(done.stdout, "parameters")[:2] == [f"{own:,}", "36"]
    small = Architecture((1, 8, 8), (Convolution(4, 3), Linear(4)))  # of 620 parameters
    write_json(tmp_path / "small.json", small.to_json())
    said = archpress("profile", tmp_path / "small.json", "--data", finished_run.data).stdout
    assert row_of_profile(said, "parameters") == ["620", "36", "310", "62", "no"]


# ------------------------------------------------------------------ help


def commands() -> dict[str, Any]:
    """Every command by the words that call it."""
    found: dict[str, Any] = {}
    for name, command in typer.main.get_command(app).commands.items():  # type: ignore[attr-defined]
        inner = getattr(command, "commands", {})
        found |= {f"{name} {below}": c for below, c in inner.items()} or {name: command}
    return found


def test_there_is_a_command_for_every_stage() -> None:
    stages = ["compress", "baseline", "report", "inspect", "profile", "sample", "evaluate", "fit"]
    stages += ["reproduce", "watch", "doctor", "data ls"]
    archives = ("ls", "show", "card", "merge", "export", "import", "verify")
    assert set(commands()) == {*stages, *(f"archive {name}" for name in archives)}


@pytest.mark.parametrize("name", commands())
def test_the_help_of_a_command_explains_every_argument(name: str) -> None:
    done = archpress(*name.split(), "--help")
    assert (done.exit_code, done.stderr) == (0, "")
    said = plain(done.stdout)
    command = commands()[name]
    assert command.params or name in ("doctor", "data ls")
    for parameter in command.params:
        shown = parameter.opts[0] if parameter.opts[0].startswith("--") else parameter.name
        assert shown in said
        assert len(parameter.help) > 5
        assert parameter.help.split(".")[0].split(";")[0] in said


def test_the_help_has_every_command() -> None:
    helped = archpress("--help")
    assert helped.exit_code == 0
    said = plain(helped.stdout)
    for name in commands():
        assert re.search(rf" {name.split()[0]} [A-Z]", said)


def test_alone_it_says_where_to_start_by_calls_that_the_commands_take() -> None:
    alone = archpress()
    assert (alone.exit_code, alone.stderr) == (0, "")
    calls = [
        line.partition("#")[0].split()[1:]
        for line in alone.stdout.splitlines()
        if line.startswith("  archpress")
    ]
    assert len(calls) >= 6
    for call in calls:
        assert archpress(*call, "--help").exit_code == 0, call


def test_the_version_is_the_packages() -> None:
    done = archpress("--version")
    assert (done.exit_code, done.stdout) == (0, f"archpress {package.__version__}\n")


def test_the_help_is_there_at_once() -> None:
    seconds = []
    for _ in range(5):
        before = resource.getrusage(resource.RUSAGE_CHILDREN)
        command = [sys.executable, "-m", "archpress", "--help"]
        subprocess.run(command, check=True, capture_output=True, cwd=ROOT)
        after = resource.getrusage(resource.RUSAGE_CHILDREN)
        seconds.append(after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime)
    print(f"archpress --help: {min(seconds):.2f} to {max(seconds):.2f} s of computing")
    # Not the clock, which a busy machine holds up; twice what it takes beside one other process.
    assert min(seconds) < 0.6


# ------------------------------------------------------------------ Ctrl-C


def seconds_in_queue(pid: int) -> float:
    """Return how long a process has been ready to run without being given a core."""
    try:
        return int(Path(f"/proc/{pid}/schedstat").read_text().split()[1]) / 1e9
    except OSError:
        return 0.0


def workers_of(pid: int) -> list[int]:
    """Return the worker processes that a process has started."""
    found = []
    for path in Path("/proc").glob("[0-9]*/cmdline"):
        try:
            words = path.read_bytes().split(b"\0")
        except OSError:
            continue
        if b"archpress.evaluation.worker" in words and str(pid).encode() in words:
            found.append(int(path.parent.name))
    return found


def wait_for_line(process: subprocess.Popen[str], beginning: str) -> None:
    assert process.stdout
    for line in process.stdout:
        if line.startswith(beginning):
            return
    raise AssertionError(f"it ended before {beginning}: {process.communicate()}")


def labels_in(archive: Path) -> int:
    with closing(sqlite3.connect(archive)) as database:
        return int(database.execute("SELECT count(*) FROM evaluations").fetchone()[0])


def assert_ends_saved_soon(process: subprocess.Popen[str]) -> None:
    """Press Ctrl-C; seconds in which other processes had the cores do not count."""
    before, start = seconds_in_queue(process.pid), time.monotonic()
    os.killpg(process.pid, signal.SIGINT)
    os.waitid(os.P_PID, process.pid, os.WEXITED | os.WNOWAIT)
    seconds = time.monotonic() - start
    queued = seconds_in_queue(process.pid) - before
    _, errors = process.communicate()
    assert process.returncode == 130, errors
    assert "Traceback" not in errors
    assert errors.startswith("interrupted; what was finished is saved")
    assert len(errors.splitlines()) == 1
    print(f"ended {seconds:.2f} s after Ctrl-C, {queued:.2f} s of them without a core")
    assert seconds - queued < 5


@pytest.mark.usefixtures("can_interrupt")
@pytest.mark.skipif(not Path("/proc/self/cmdline").exists(), reason="looks for workers in /proc")
def test_a_run_interrupted_in_two_stages_ends_as_the_undisturbed_one(
    finished_run: FinishedRun, tmp_path: Path
) -> None:
    folder = tmp_path / "run"
    settings = ("--settings", finished_run.settings, "--out", folder)
    command = ("compress", finished_run.network, *settings)

    labelling = archpress_process(*command)
    wait_for_line(labelling, "labels: ")
    workers = workers_of(labelling.pid)
    while not labels_in(folder / "archive.sqlite"):
        time.sleep(0.005)
    assert_ends_saved_soon(labelling)
    assert len(workers) == 1
    assert not workers_of(labelling.pid)
    assert 0 < labels_in(folder / "archive.sqlite") < START

    searching = archpress_process(*command, "--resume")
    wait_for_line(searching, "round 1: ")
    assert_ends_saved_soon(searching)
    assert START <= labels_in(folder / "archive.sqlite") <= LABELLED
    assert not (folder / "results").exists()

    done = finished_run.compress(folder, "--resume")
    assert (done.exit_code, done.stderr) == (0, "")
    searched = ("known.json", "proposals.jsonl", "regressors.jsonl", "descent.jsonl")
    for name in (*searched, "results/base.json", "results/archpress.json"):
        assert (folder / name).read_bytes() == (finished_run.folder / name).read_bytes()


@pytest.mark.usefixtures("can_interrupt")
@pytest.mark.skipif(not Path("/proc/self/cmdline").exists(), reason="looks for workers in /proc")
def test_ctrl_c_while_workers_start_leaves_none_behind(
    finished_run: FinishedRun, tmp_path: Path
) -> None:
    settings = ("--settings", finished_run.settings, "--out", tmp_path / "run")
    starting = archpress_process("compress", finished_run.network, *settings)
    while not workers_of(starting.pid):
        assert starting.poll() is None
        time.sleep(0.005)
    assert_ends_saved_soon(starting)
    deadline = time.monotonic() + 60
    while workers_of(starting.pid) and time.monotonic() < deadline:
        time.sleep(0.05)
    assert not workers_of(starting.pid)


# ------------------------------------------------------------------ networks of the user's own


@pytest.fixture
def models(tmp_path: Path) -> Path:
    """A user's file with networks that can be captured, cannot be, and are too long to search."""
    file = tmp_path / "models.py"
    file.write_text(
        "from torch import nn\n"
        "def small():\n"
        "    return nn.Sequential(nn.Conv2d(1, 4, 3), nn.Dropout2d(), nn.Flatten(),\n"
        "                         nn.Linear(144, 10))\n"
        "def dilated():\n"
        "    return nn.Sequential(nn.Conv2d(3, 4, 3), nn.Conv2d(4, 4, 3, dilation=2))\n"
        "def long():\n"
        "    return nn.Sequential(*[nn.Conv2d(3, 3, 1) for _ in range(70)], nn.Flatten(),\n"
        "                         nn.Linear(3072, 10))\n"
    )
    return file


def test_inspect_shows_a_users_network_and_its_coverage(models: Path) -> None:
    said = plain(archpress("inspect", f"{models}:small", "--input-shape", "1,8,8").stdout)
    assert "Conv2d(1, 4, 3)" in said
    assert "the whole network can be searched, 1,490 of 1,490 parameters (100.0 %)" in said
    assert "note: 1 (dropout2d) has become Dropout of single values" in said


def test_inspect_shows_what_stands_in_the_way_and_the_trunk_beside_it(models: Path) -> None:
    said = plain(archpress("inspect", f"{models}:dilated").stdout)
    assert "1 (conv2d): dilation (2, 2) cannot be expressed" in said
    assert "a trunk of 1 layers can be searched, 112 of 260 parameters (43.1 %)" in said


def test_inspect_says_where_compress_cannot_start(models: Path) -> None:
    said = plain(archpress("inspect", f"{models}:long").stdout)
    assert "note: compress searches from labelled networks alone: a network of 71 layers" in said


def test_sample_draws_from_the_neighbourhood_of_a_network(models: Path, tmp_path: Path) -> None:
    file = tmp_path / "near.jsonl"
    result = archpress(
        "sample", "--space", "neighbourhood", "--network", f"{models}:small", "--count", 5,
        "--input-shape", "1,8,8", "--min-parameters", 100, "--out", file,
    )  # fmt: skip
    assert result.exit_code == 0
    drawn = read_architectures(file)
    assert len(set(drawn)) == 5
    assert all(100 <= network.cost.parameters <= 1_490 for network in drawn)


def test_sample_wants_a_network_for_a_neighbourhood_and_only_then(tmp_path: Path) -> None:
    words = "--network and --space neighbourhood need each other"
    assert words in refused("sample", "--space", "neighbourhood", "--out", tmp_path / "a.jsonl")
    assert words in refused("sample", "--network", "conv7", "--out", tmp_path / "a.jsonl")


def test_mean_and_deviation_go_together(tmp_path: Path) -> None:
    sentence = refused("compress", "conv7", "--mean", "0.5", "--out", tmp_path / "run")
    assert "--mean and --deviation go together" in sentence
    sentence = refused(
        "compress", "conv7", "--mean", "a", "--deviation", "1", "--out", tmp_path / "run"
    )
    assert "mean 'a' is not numbers such as 0.5,0.5,0.5" in sentence
