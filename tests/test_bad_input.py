"""Bad input through the command line: one sentence, exit status 2, and no file has changed."""

import fcntl
import json
import os
import re
import shlex
import shutil
import subprocess
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import pytest

from archpress.architectures.references import conv7, digits_cnn
from archpress.compression.run_folder import RunFolder, read_settings
from archpress.evaluation.archive import Archive
from archpress.files import write_json, write_text
from tests.tiny_runs import (
    FinishedRun,
    archpress,
    archpress_process,
    finish_joint_run,
    refusal,
    refused,
    snapshot,
    write_images,
)

Damage = Callable[[Path], object]


@contextmanager
def untouched(folder: Path) -> Iterator[None]:
    """Make sure that below a folder nothing is changed, added or removed."""
    before = snapshot(folder)
    assert before
    yield
    assert snapshot(folder) == before


@pytest.fixture
def place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The current folder, with files of the user in it; his home is empty."""
    folder = tmp_path / "place"
    folder.mkdir()
    (tmp_path / "home").mkdir()
    (folder / "notes.txt").write_text("mine\n")
    monkeypatch.chdir(folder)
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    monkeypatch.delenv("ARCHPRESS_DATA", raising=False)
    return folder


@pytest.fixture
def copied(finished_run: FinishedRun, place: Path) -> Path:
    """A copy of the finished run, to be damaged."""
    return Path(shutil.copytree(finished_run.folder, place / "run"))


@pytest.fixture
def furnished(place: Path) -> Path:
    """The current folder with one file of every kind that a command may be pointed at."""
    write_text(place / "torn.json", '{"format": "archpress.architecture", "vers')
    write_json(place / "list.json", [1, 2])
    network = digits_cnn((1, 8, 8), 4).to_json()
    write_json(place / "network.json", network)
    write_json(place / "cut.json", {**network, "layers": network["layers"][:-1]})
    write_json(place / "newer.json", {**network, "version": 99})
    write_json(place / "large.json", conv7((3, 32, 32), 10).to_json())
    write_text(place / "empty.jsonl", "")
    lines = [json.dumps(network), json.dumps(network)[:50]]
    write_text(place / "torn.jsonl", "\n".join(lines) + "\n")
    write_text(place / "large.jsonl", json.dumps(conv7().to_json()) + "\n")
    write_text(place / "good.jsonl", json.dumps(network) + "\n")
    write_text(place / "no-archive.sqlite", "no archive at all, but long enough to be looked at\n")
    Archive(place / "empty.sqlite").close()
    return place


# ------------------------------------------------------------------ arguments

ARGUMENTS = [
    # networks
    ("compress conv8 --data {data}", "unknown network 'conv8'; did you mean 'conv7'?"),
    (
        "compress '[/red]' --data {data}",
        "unknown network '[/red]'; valid: conv10, conv10-eighth, con",
    ),
    ("compress absent.json --data {data}", "network file absent.json does not exist"),
    ("compress torn.json --data {data}", "torn.json is not readable JSON"),
    ("compress list.json --data {data}", "list.json: expected a JSON object"),
    ("compress cut.json --data {data}", "cut.json: the last layer must be linear"),
    ("compress newer.json --data {data}", "format version 99 is not known, expected 1"),
    ("compress large.json --data {data}", "large.json takes (3, 32, 32) images and 10 classes, th"),
    ("inspect digits-cn", "unknown network 'digits-cn'; did you mean 'digits-cnn'?"),
    ("inspect torn.json", "torn.json is not readable JSON"),
    ("inspect absent.json", "network file absent.json does not exist"),
    ("inspect conv7 --input-shape 1,2,2", "conv7 cannot take (1, 2, 2) images: layer"),
    ("inspect conv7 --input-shape 28,28", "'28,28' is not three numbers such as 1,28,28"),
    # data
    ("compress conv7 --data fashon-mnist", "'fashon-mnist'; did you mean 'fashion-mnist'?"),
    ("compress conv7 --data x[b]y", "unknown data set 'x[b]y'; valid: cifar10, cifar100, digits"),
    ("compress conv7 --data nowhere/data.npz", "nowhere/data.npz, which does not exist"),
    ("evaluate good.jsonl --data digit --archive a.sqlite", "'digit'; did you mean 'digits'?"),
    # settings by flag
    ("compress conv7 --profile paperr", "unknown profile 'paperr'; did you mean 'paper'?"),
    ("compress {network} --data {data} --target-parameters abc", "target_parameters is 'abc', exp"),
    ("compress {network} --data {data} --target-parameters 1.5", "is '1.5', expected a count such"),
    ("compress {network} --data {data} --target-parameters=-5", "is '-5', expected a count such a"),
    ("compress {network} --data {data} --target-parameters 200%", "is no compression: the input n"),
    ("compress {network} --data {data} --target-parameters 35", "network, which has 36"),
    ("compress {network} --data {data} --target-parameters 0.001%", "network, which has 36"),
    ("compress {network} --data {data} --constraint macs=1", "network, which has"),
    ("compress {network} --data {data} --constraint macs=100%", "is no compression: the input n"),
    ("compress {network} --data {data} --constraint macs", "is not METRIC=AMOUNT such as macs=5%"),
    ("compress {network} --data {data} --constraint mac=5%", "did you mean 'macs'"),
    ("compress {network} --data {data} --constraint macs=few", "constraints.macs is 'few', expect"),
    (
        "compress {network} --data {data} --constraint macs=5% --constraint macs=9%",
        "constraint 'macs' is given twice",
    ),
    # archives of other runs
    ("compress {network} --settings {settings} --archive absent.sqlite", "no archive absent.sqlit"),
    ("compress {network} --settings {settings} --archive no-archive.sqlite", "not a usable archiv"),
    ("compress {network} --settings {settings} --archive notes.txt", "notes.txt is not a usable"),
    ("compress {network} --settings {settings} --archive .", "there is no archive ."),
    # run folders
    ("compress {network} --settings {settings} --out .", "holds other files: name a new or an em"),
    ("compress {network} --settings {settings} --out notes.txt", "notes.txt is a file, expected a"),
    ("compress {network} --settings {settings} --out notes.txt/run", "notes.txt/run cannot be wr"),
    ("report .", "is no run folder: it has no run.toml"),
    ("report nowhere", "nowhere is no run folder"),
    ("baseline random_search nowhere", "nowhere is no run folder"),
    ("baseline random_serch nowhere", "'random_serch'; did you mean 'random_search'?"),
    # sample
    ("reproduce tabel1", "unknown experiment 'tabel1'; did you mean 'table1'?"),
    ("reproduce table1 --profile cpus", "unknown profile 'cpus'; did you mean 'cpu'?"),
    ("reproduce table1 --data digit", "unknown data set 'digit'; did you mean 'digits'?"),
    ("reproduce table1 --settings none.toml", "settings file none.toml cannot be read"),
    ("sample --space block", "unknown space 'block'; did you mean 'blocks'?"),
    ("sample --input-shape 1,28", "input shape '1,28' is not three numbers such as 1,28,28"),
    ("sample --input-shape 1,x,28", "input shape '1,x,28' is not three numbers"),
    ("sample --input-shape 1,0,28", "input shape '1,0,28' has a side below 1"),
    ("sample --min-parameters 500 --max-parameters 400", "no network has 500 to 400 parameters"),
    ("sample --count 1 --out .", "Is a directory: "),
    ("sample --count 1 --out notes.txt/a.jsonl", "notes.txt"),
    # evaluate
    ("evaluate absent.jsonl --data {data} --archive a.sqlite", "absent.jsonl cannot be read"),
    ("evaluate empty.jsonl --data {data} --archive a.sqlite", "empty.jsonl holds no architecture"),
    ("evaluate torn.jsonl --data {data} --archive a.sqlite", "torn.jsonl, line 2: "),
    ("evaluate large.jsonl --data {data} --archive a.sqlite", "sample networks with --input-shape"),
    ("evaluate good.jsonl --data {data} --archive notes.txt", "notes.txt is not a usable archive"),
    (
        "evaluate good.jsonl --data {data} --archive a.sqlite --recipe label-smal",
        "unknown recipe 'label-smal'; did you mean 'label-small'?",
    ),
    (
        "evaluate good.jsonl --data {data} --archive a.sqlite --precision half",
        "precision is 'half', expected auto, float32 or bfloat16",
    ),
    # fit
    ("fit absent.sqlite --out embedding", "there is no archive absent.sqlite"),
    ("fit empty.sqlite --out embedding", "empty.sqlite holds no evaluation"),
    ("fit no-archive.sqlite --out embedding", "no-archive.sqlite is not a usable archive"),
    ("fit empty.sqlite --out embedding --configuration papr", "did you mean 'paper'?"),
    ("fit {run}/archive.sqlite --out notes.txt", "File exists: notes.txt"),
    ("fit {run}/archive.sqlite --out {run}", "holds a run: name another folder"),
    # archive
    ("archive export absent.sqlite out.jsonl", "there is no archive absent.sqlite"),
    ("archive export no-archive.sqlite out.jsonl", "no-archive.sqlite is not a usable archive"),
    ("archive export {run}/archive.sqlite .", "Is a directory: "),
    ("archive import new.sqlite absent.jsonl", "absent.jsonl cannot be read"),
    ("archive import new.sqlite torn.jsonl", "torn.jsonl, line 1: an evaluation is incomplete"),
    ("archive import new.sqlite notes.txt", "notes.txt, line 1: "),
    ("archive import no-archive.sqlite empty.jsonl", "no-archive.sqlite is not a usable archive"),
]


@pytest.mark.parametrize(("command", "words"), ARGUMENTS, ids=[c for c, _ in ARGUMENTS])
def test_a_wrong_argument_is_refused_in_one_sentence(
    command: str, words: str, furnished: Path, finished_run: FinishedRun
) -> None:
    run = finished_run
    names = {"run": run.folder, "data": run.data, "settings": run.settings, "network": run.network}
    with untouched(furnished), untouched(run.folder):
        assert words in refused(*(part.format(**names) for part in shlex.split(command)))


@pytest.mark.parametrize(
    ("command", "words"),
    [
        ("report nowhere", "nowhere is no run folder"),
        ("compress conv8 --data digits", "did you mean 'conv7'?"),
    ],
)
def test_a_process_of_its_own_refuses_likewise(command: str, words: str, place: Path) -> None:
    with untouched(place):
        process = archpress_process(*shlex.split(command))
        printed, errors = process.communicate(timeout=100)
        assert words in refusal(process.returncode, errors)
        assert printed == ""


# ------------------------------------------------------------------ settings files

SETTINGS = [
    ("[search]\nstep_sise = 1", "wrong.toml: unknown key 'search.step_sise'; did you mean 'step_s"),
    ("[serch]\nsteps = 1", "unknown key 'serch'; did you mean 'search'?"),
    ("[embedding]\nconfigration = 'paper'", "'embedding.configration'; did you mean 'configurati"),
    ("[embedding]\nconfiguration = ['paper']", "unknown embedding configuration ['paper']"),
    ("[label]\nepochs = 0", "'label.epochs' is 0: Input should be greater than or equal to 1"),
    ("[final]\nseeds = 0", "'final.seeds' is 0: Input should be greater than or equal to 1"),
    ("[final]\nrecipe = 'final-digit'", "recipe 'final-digit'; did you mean 'final-digits'?"),
    ("[space]\nnetworks = 3", "'space.networks' is 3: Input should be greater than or equal to 10"),
    ("[space]\nname = 'chains'", "'space.name' is 'chains': Input should be 'paper', 'blocks' or"),
    ("[space]\nmax_activation_bytes = 'all'", "space.max_activation_bytes is 'all', expected a c"),
    ("[space]\nmax_parameters = '0%'", " to 0 parameters, expected 1 <= min_parameters <= "),
    ("[space]\nmax_macs = 'many'", "space.max_macs is 'many', expected a count such as 70000"),
    ("[data]\nname = 5", "'data.name' is 5: Input should be a valid string"),
    ("data = 5", "'data' is 5: "),
    ("[data\n", "settings file wrong.toml cannot be read: "),
    ("\x00", "settings file wrong.toml cannot be read: "),
]


@pytest.mark.parametrize(("text", "words"), SETTINGS, ids=[text for text, _ in SETTINGS])
def test_a_wrong_settings_file_is_refused_with_the_key(
    text: str, words: str, place: Path, finished_run: FinishedRun
) -> None:
    (place / "wrong.toml").write_text(text)
    data = [] if "data" in text else ["--data", finished_run.data]
    with untouched(place):
        assert words in refused("compress", finished_run.network, "--settings", "wrong.toml", *data)


def test_a_settings_file_of_bytes_is_refused(place: Path) -> None:
    (place / "wrong.toml").write_bytes(b"\xff\xfe\x00")
    with untouched(place):
        sentence = refused("compress", "conv7", "--settings", "wrong.toml")
    assert "settings file wrong.toml cannot be read" in sentence


@pytest.mark.parametrize("name", ["absent.toml", "."])
def test_a_settings_file_that_is_not_there_is_refused(name: str, place: Path) -> None:
    with untouched(place):
        sentence = refused("compress", "conv7", "--settings", name)
    assert f"settings file {name} cannot be read" in sentence


# ------------------------------------------------------------------ data


def folder_without_images(folder: Path) -> Path:
    (folder / "data").mkdir()
    return folder / "data"


def images_of_two_sizes(folder: Path) -> Path:
    image = pytest.importorskip("PIL.Image")
    for index in range(6):
        path = folder / "data" / f"class{index % 2}" / f"{index}.png"
        path.parent.mkdir(parents=True, exist_ok=True)
        image.new("L", (8, 8 if index < 5 else 9)).save(path)
    return folder / "data"


def images_of_one_class(folder: Path) -> Path:
    return write_images(folder / "data.npz", y_train=np.zeros(160, int), y_test=np.zeros(80, int))


def images_with_nan(folder: Path) -> Path:
    images = np.zeros((160, 8, 8), np.float32)
    images[7, 3, 3] = np.nan
    return write_images(folder / "data.npz", x_train=images, x_test=np.zeros((80, 8, 8), "f4"))


def fewer_labels_than_images(folder: Path) -> Path:
    return write_images(folder / "data.npz", y_train=np.arange(159) % 4)


def half_an_archive(folder: Path) -> Path:
    path = write_images(folder / "data.npz")
    path.write_bytes(path.read_bytes()[:900])
    return path


def a_text_file(folder: Path) -> Path:
    return write_text(folder / "data.txt", "pixels\n")


DATA: list[tuple[Callable[[Path], Path], str]] = [
    (folder_without_images, "received none; put images at"),
    (images_of_two_sizes, "expected images of one size, received 8x8"),
    (images_of_one_class, "expected at least two classes, received one; add images of another"),
    (images_with_nan, "NaN or infinite pixels in 1 images; repair or remove those images"),
    (fewer_labels_than_images, "received 160 images and 159 labels; make them match"),
    (half_an_archive, "is damaged, truncated or unreadable"),
    (a_text_file, "convert it with numpy.savez"),
]


@pytest.mark.parametrize(("make", "words"), DATA, ids=[make.__name__ for make, _ in DATA])
def test_unfit_data_are_refused_with_what_to_do(
    make: Callable[[Path], Path], words: str, furnished: Path
) -> None:
    data = make(furnished)
    with untouched(furnished):
        sentence = refused("compress", "digits-cnn", "--data", data)
        assert words in sentence
        assert str(data) in sentence
        evaluate = ("evaluate", "good.jsonl", "--data", data, "--archive", "new.sqlite")
        assert refused(*evaluate) == sentence


@pytest.mark.parametrize("name", ["cifar10", "cifar100", "svhn"])
def test_a_data_folder_without_data_is_refused_with_the_files_expected(
    name: str, place: Path
) -> None:
    (place / "data").mkdir()
    with untouched(place):
        sentence = refused("compress", "conv10", "--data", name, "--data-folder", "data")
    assert f"data set '{name}' was not found in {place / 'data'}; put " in sentence


# ------------------------------------------------------------------ run folders


def test_a_run_is_not_continued_unasked(copied: Path, finished_run: FinishedRun) -> None:
    with untouched(copied):
        result = finished_run.compress(copied)
    assert "holds this run already: add --resume" in refusal(result.exit_code, result.stderr)


def test_the_folder_of_another_run_is_refused_with_the_difference(
    copied: Path, finished_run: FinishedRun
) -> None:
    with untouched(copied):
        result = finished_run.compress(copied, "--resume", "--seed", 1)
    sentence = refusal(result.exit_code, result.stderr)
    assert "holds another run (its seed is 0, not 1): name another folder" in sentence


@pytest.mark.parametrize("command", ["compress", "baseline"])
def test_a_folder_that_another_process_works_in_is_refused(
    command: str, copied: Path, finished_run: FinishedRun
) -> None:
    with (copied / "run.lock").open("w") as lock, untouched(copied):
        fcntl.flock(lock, fcntl.LOCK_EX)
        if command == "compress":
            result = finished_run.compress(copied, "--resume")
        else:
            result = archpress("baseline", "width_scaling", copied)
    sentence = refusal(result.exit_code, result.stderr)
    assert f"run folder {copied}: another process is working in it" in sentence


def test_a_run_whose_data_have_changed_is_not_continued(
    copied: Path, finished_run: FinishedRun
) -> None:
    path = copied / "environment.json"
    record = json.loads(path.read_text())
    write_json(path, {**record, "data_digest": "0" * 16})
    with untouched(copied):
        result = finished_run.compress(copied, "--resume")
    assert "the data has changed since the run" in refusal(result.exit_code, result.stderr)


def write(text: str) -> Damage:
    return lambda path: path.write_text(text)


def cut_in_a_table(path: Path) -> None:
    path.write_text(path.read_text().partition("[embed")[0] + "[embed")


def tear(path: Path) -> None:
    """Cut the last line short, wherever lines end."""
    path.write_bytes(path.read_bytes()[:-15])


def halve(path: Path) -> None:
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])


def drop_last_line(path: Path) -> None:
    path.write_text("".join(path.read_text().splitlines(keepends=True)[:-1]))


def append(text: str) -> Damage:
    return lambda path: path.write_text(path.read_text() + text)


def without(name: str) -> Damage:
    def damage(path: Path) -> None:
        record = json.loads(path.read_text())
        del record[name]
        write_json(path, record)

    return damage


JOINT_DAMAGES: list[tuple[str, Damage, str]] = [
    ("embedding.safetensors", halve, "delete its two files to fit it again"),
    ("embedding.safetensors", write(""), "delete its two files to fit it again"),
    ("embedding.safetensors", Path.unlink, "delete its two files to fit it again"),
    ("embedding.json", halve, "delete its two files to fit it again"),
    ("embedding.json", write("[]"), "delete its two files to fit it again"),
    ("embedding.json", without("settings"), "delete its two files to fit it again"),
    ("architectures.jsonl", halve, "architectures.jsonl, line "),
    ("architectures.jsonl", write(""), "architectures.jsonl holds no architecture"),
    ("architectures.jsonl", drop_last_line, "it holds 9 networks, not 10; delete it and"),
    ("architectures.jsonl", write("{}\n"), "architectures.jsonl, line 1: expected a JSON object"),
]

AGAIN = "; delete it and the same networks are proposed again"
DAMAGES: list[tuple[str, Damage, str]] = [
    ("archive.sqlite", write("garbage " * 200), "archive.sqlite is not a usable archive"),
    ("archive.sqlite", halve, "archive.sqlite is "),
    ("proposals.jsonl", halve, AGAIN),
    ("proposals.jsonl", write("{}\n"), AGAIN),
    ("proposals.jsonl", write("[]\n"), AGAIN),
    ("proposals.jsonl", write("\x00"), AGAIN),
    ("proposals.jsonl", append('{"round": 1, "network": {}}\n'), AGAIN),
    ("regressors.jsonl", halve, "regressors.jsonl is damaged: "),
    ("descent.jsonl", tear, "descent.jsonl is damaged: "),
    ("descent.jsonl", append("7\n"), "descent.jsonl is damaged: "),
    ("known.json", write(""), "known.json is damaged: "),
    ("known.json", write('{"a": 1}'), "known.json is damaged: "),
    ("known.json", write("[1, 2]"), "known.json is damaged: "),
    ("environment.json", halve, "environment.json is damaged: "),
    ("environment.json", write("[]"), "environment.json is damaged: "),
    ("environment.json", without("precision"), "expected a JSON object with data_digest, precisio"),
    ("run.toml", cut_in_a_table, "run.toml is damaged: "),
    ("run.toml", append("[later]\n"), "run.toml: unknown key 'later'"),
    ("run.toml", append("\x00"), "run.toml is damaged: "),
    ("results/base.json", halve, "results/base.json is damaged: "),
    ("results/archpress.json", write("7"), "results/archpress.json is damaged: "),
    ("weights/*.safetensors", halve, "delete it and the network is trained again"),
]


@pytest.fixture(scope="module")
def joint_run(finished_run: FinishedRun, tmp_path_factory: pytest.TempPathFactory) -> FinishedRun:
    """A run of the joint search, on the same network and data."""
    return finish_joint_run(tmp_path_factory.mktemp("joint"), finished_run)


@pytest.mark.parametrize(("name", "damage", "words"), JOINT_DAMAGES)
def test_a_damaged_folder_of_a_joint_search_is_not_continued(
    name: str, damage: Damage, words: str, place: Path, joint_run: FinishedRun
) -> None:
    copied = Path(shutil.copytree(joint_run.folder, place / "run"))
    damage(copied / name)
    with untouched(copied):
        result = joint_run.compress(copied, "--resume")
    sentence = refusal(result.exit_code, result.stderr)
    assert words in sentence
    assert str(copied) in sentence


@pytest.mark.parametrize(("name", "damage", "words"), DAMAGES)
def test_a_damaged_run_folder_is_not_continued(
    name: str, damage: Damage, words: str, copied: Path, finished_run: FinishedRun
) -> None:
    for path in list(copied.glob(name)):
        damage(path)
    with untouched(copied):
        result = finished_run.compress(copied, "--resume")
    sentence = refusal(result.exit_code, result.stderr)
    assert words in sentence
    assert str(copied) in sentence


def test_what_a_refusal_says_to_delete_can_be_deleted(
    place: Path, finished_run: FinishedRun, joint_run: FinishedRun
) -> None:
    kept = {
        "guided": ("proposals.jsonl", "regressors.jsonl", "descent.jsonl", "candidates.jsonl"),
        "joint": ("architectures.jsonl",),
    }
    for run, searched in zip((finished_run, joint_run), kept.values(), strict=True):
        copied = Path(shutil.copytree(run.folder, place / f"run{len(searched)}"))
        for name in (*searched, "environment.json", "results/base.json", "result.json"):
            (copied / name).unlink()
        assert run.compress(copied, "--resume").exit_code == 0
        for name in (*searched, "results/base.json", "results/archpress.json"):
            assert (copied / name).read_bytes() == (run.folder / name).read_bytes()


@pytest.mark.parametrize("name", ["random_search", "width_scaling"])
def test_a_rival_of_an_unfinished_run_is_refused(name: str, copied: Path) -> None:
    (copied / "results" / "archpress.json").unlink()
    with untouched(copied):
        sentence = refused("baseline", name, copied)
    assert f"the run in {copied} is not finished" in sentence


def test_a_rival_of_a_damaged_result_is_refused(copied: Path) -> None:
    halve(copied / "results" / "archpress.json")
    with untouched(copied):
        assert "archpress.json is damaged" in refused("baseline", "width_scaling", copied)


@pytest.mark.parametrize(
    "damage",
    [halve, write(""), write("[]"), write("{}"), write("null"), without("rivals"), without("base")],
)
def test_a_report_of_a_damaged_result_is_refused(damage: Damage, copied: Path) -> None:
    damage(copied / "result.json")
    with untouched(copied):
        sentence = refused("report", copied)
    assert f"{copied / 'result.json'} is damaged" in sentence
    assert "with --resume, which writes it again" in sentence


def test_a_folder_with_only_a_torn_start_is_taken_as_empty(
    place: Path, finished_run: FinishedRun
) -> None:
    folder = place / "run"
    write_text(folder / ".run.toml.123.part", "[da")
    (folder / "run.lock").touch()
    RunFolder(folder, read_settings(finished_run.folder)).close()
    assert (folder / "run.toml").exists()


# ------------------------------------------------------------------ no room


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Callable[[int], Path]]:
    """Make a disk of so many KiB; skips where nothing can be mounted."""
    mounted: list[Path] = []

    def make(size: int) -> Path:
        path = tmp_path / f"disk{size}"
        path.mkdir()
        if os.geteuid() != 0 or not shutil.which("mount"):
            pytest.skip("only root can mount a small disk")
        command = ["mount", "-t", "tmpfs", "-o", f"size={size}k", "tmpfs", str(path)]
        if subprocess.run(command, capture_output=True, check=False).returncode != 0:
            pytest.skip("a small disk cannot be mounted here")
        mounted.append(path)
        return path

    yield make
    for path in mounted:
        subprocess.run(["umount", "-l", str(path)], check=True)


@pytest.mark.parametrize("size", [4, 40, 120, 400])
def test_a_disk_too_small_for_what_is_known_already_is_refused(
    size: int, small_disk: Callable[[int], Path], finished_run: FinishedRun
) -> None:
    disk = small_disk(size)
    (disk / "notes.txt").write_text("mine\n")
    known = finished_run.folder / "archive.sqlite"
    result = finished_run.compress(disk / "run", "--archive", known)
    sentence = refusal(result.exit_code, result.stderr)
    assert str(disk) in sentence
    # SQLite calls it an I/O error where its shared memory finds no room
    assert re.search("No space left|disk is full|disk I/O error", sentence)
    assert (disk / "notes.txt").read_text() == "mine\n"


def test_a_run_that_filled_its_disk_is_continued_where_there_is_room(
    small_disk: Callable[[int], Path], joint_run: FinishedRun, place: Path
) -> None:
    # Labels without the weights beside them: a worker trains again, and cannot save.
    known = shutil.copy(joint_run.folder / "archive.sqlite", place)
    disk = small_disk(450)
    result = joint_run.compress(disk / "run", "--archive", known)
    sentence = refusal(result.exit_code, result.stderr)
    assert f"{disk / 'run' / 'weights'}/" in sentence
    assert "make room and call again (compress: with --resume)" in sentence
    moved = shutil.copytree(disk / "run", place / "moved")
    assert (moved / "embedding.json").exists()
    assert joint_run.compress(moved, "--resume").exit_code == 0
    for name in ("base.json", "archpress.json"):
        ours, theirs = (
            json.loads((f / "results" / name).read_text()) for f in (moved, joint_run.folder)
        )
        free = {"labels": 0, "label_epochs": 0} if "labels" in theirs else {}
        assert ours == {**theirs, **free}


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="there is no /dev/full")
def test_a_sample_without_room_is_refused_and_the_device_stays_one(place: Path) -> None:
    with untouched(place):
        sentence = refused("sample", "--count", 1, "--out", "/dev/full")
    assert "No space left on device: /dev/full; make room" in sentence
    assert Path("/dev/full").is_char_device()
