"""Data sets: known figures, the split, the digest, and one clear sentence for every fault."""

import contextlib
import gzip
import hashlib
import importlib.util
import io
import os
import pickle
import re
import struct
import sys
import tarfile
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from archpress.datasets import cifar_files, downloads
from archpress.datasets import dataset as datasets
from archpress.datasets import sources as dataset_sources
from archpress.datasets.dataset import DataSet, from_tensors, load, names
from archpress.datasets.files import IDX_STEMS
from archpress.errors import DataError, MissingExtraError, SettingsError

FASHION = Path("/usr/share/datasets/fashion-mnist")
SHARDS = Path(__file__).parents[2].parent / "shared" / "data" / "cifar10"


@pytest.fixture(autouse=True)
def empty_home(tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Keep the user's own data folders out of the tests, and the tests out of them."""
    home = tmp_path_factory.mktemp("home")
    monkeypatch.setenv("HOME", str(home))
    monkeypatch.delenv("ARCHPRESS_DATA", raising=False)
    return home


def distinct_images(n: int, classes: int = 4) -> tuple[torch.Tensor, torch.Tensor]:
    """Images whose first two pixels are their number, so that parts can be told apart."""
    images = torch.zeros(n, 1, 2, 3, dtype=torch.uint8)
    images[:, 0, 0, 0] = torch.arange(n) // 256
    images[:, 0, 0, 1] = torch.arange(n) % 256
    return images, torch.arange(n) % classes


def numbers(split: datasets.Split) -> list[int]:
    pixels = split.images[:, 0, 0].long()
    return (pixels[:, 0] * 256 + pixels[:, 1]).tolist()


def idx_bytes(array: np.ndarray) -> bytes:
    shape = struct.pack(f">{array.ndim}I", *array.shape)
    return bytes([0, 0, 8, array.ndim]) + shape + array.astype(np.uint8).tobytes()


def write_idx_folder(folder: Path, compressed: bool = True) -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    rng = np.random.default_rng(0)
    for stem in IDX_STEMS:
        n = 40 if stem.startswith("train") else 10
        array = rng.integers(0, 256, (n, 5, 6)) if "images" in stem else np.arange(n) % 5
        content = idx_bytes(array)
        name = f"{stem}.gz" if compressed else stem
        (folder / name).write_bytes(gzip.compress(content) if compressed else content)
    return folder


def cifar_batch(n: int, seed: int, label_key: str = "labels", classes: int = 4) -> dict[Any, Any]:
    data = np.random.default_rng(seed).integers(0, 256, (n, 3072)).astype(np.uint8)
    return {"data": data, label_key: [k % classes for k in range(n)], "batch_label": "b"}


def write_cifar10(folder: Path) -> Path:
    inner = folder / "cifar-10-batches-py"
    inner.mkdir(parents=True)
    for k, name in enumerate(cifar_files.CIFAR10.members):
        protocol = 4 + k % 2  # numpy pickles an array in another way from protocol 5 on
        (inner / name).write_bytes(pickle.dumps(cifar_batch(8, k), protocol))
    return inner


def write_npz(path: Path, **arrays: Any) -> Path:
    np.savez(path, **arrays)
    return path


def small_npz(path: Path, n: int = 40, shape: tuple[int, ...] = (4, 5), **changes: Any) -> Path:
    pixels = np.random.default_rng(0).integers(0, 256, (n, *shape)).astype(np.uint8)
    return write_npz(path, **{"x_train": pixels, "y_train": np.arange(n) % 2, **changes})


def fails(sentence: str, action: Callable[[], object]) -> str:
    """The action raises DataError with this text in one sentence."""
    with pytest.raises(DataError, match=re.escape(sentence)) as caught:
        action()
    message = str(caught.value)
    assert "\n" not in message
    assert not re.search(r"\. [A-Z]", message)
    return message


# --- Built-in data sets --------------------------------------------------------------------------


def test_names() -> None:
    assert names() == ("digits", "fashion-mnist", "cifar10", "cifar100", "svhn")


def test_digits() -> None:
    data = load("digits")
    assert (data.name, data.classes, data.input_shape) == ("digits", 10, (1, 8, 8))
    assert len(data.train) + len(data.validation) + len(data.test) == 1797
    assert abs(len(data.test) - 359) <= 5
    assert data.train.images.dtype == torch.uint8
    assert data.train.labels.dtype == torch.int64
    every = torch.cat([data.train.images, data.validation.images, data.test.images])
    assert set(every.unique().tolist()) == {round(k * 255 / 16) for k in range(17)}
    assert every.double().mean().item() == pytest.approx(4.884165 * 255 / 16, abs=0.05)


@pytest.mark.skipif(
    not (FASHION / "train-images-idx3-ubyte.gz").is_file(), reason="Fashion-MNIST is not here"
)
def test_fashion_mnist() -> None:
    data = load("fashion-mnist")
    assert [len(p) for p in (data.train, data.validation, data.test)] == [54000, 6000, 10000]
    assert (data.classes, data.input_shape) == (10, (1, 28, 28))
    assert data.train.labels.bincount().tolist() == [5400] * 10
    assert data.test.labels.bincount().tolist() == [1000] * 10
    mean, deviation = data.channel_statistics()
    assert mean.item() == pytest.approx(0.2860, abs=1e-3)
    assert deviation.item() == pytest.approx(0.3530, abs=1e-3)
    assert data.test.labels[:5].tolist() == [9, 2, 1, 1, 6]


@pytest.mark.skipif(not (SHARDS / "test_1.med.xz").is_file(), reason="CIFAR-10 is not here")
def test_real_cifar10_from_npz(tmp_path: Path) -> None:
    spec = importlib.util.spec_from_file_location("shards", SHARDS / "shards.py")
    assert spec is not None
    assert spec.loader is not None
    shards = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(shards)
    x, y = shards.unpack((SHARDS / "test_1.med.xz").read_bytes())
    write_npz(tmp_path / "cifar10.npz", x_train=x, y_train=y, x_test=x, y_test=y[:, None])
    data = load("cifar10", folder=tmp_path)
    assert (data.name, data.classes, data.input_shape) == ("cifar10", 10, (3, 32, 32))
    assert data.train.labels.bincount().tolist() == [900] * 10
    assert data.validation.labels.bincount().tolist() == [100] * 10
    assert data.test.labels[:5].tolist() == [3, 8, 8, 0, 6]
    assert torch.equal(data.test.images[7], torch.from_numpy(x[7]).permute(2, 0, 1))
    mean, deviation = data.channel_statistics()
    # Known figures of the 10,000 test images; 9,000 of them are the training part here.
    torch.testing.assert_close(mean, torch.tensor([0.4942, 0.4851, 0.4504]), atol=2e-3, rtol=0)
    torch.testing.assert_close(deviation, torch.tensor([0.2467, 0.2429, 0.2616]), atol=2e-3, rtol=0)


@pytest.mark.parametrize("python", [2, 3])
def test_cifar10_batches(tmp_path: Path, python: int) -> None:
    inner = write_cifar10(tmp_path)
    if python == 2:
        rewrite_as_python_2(inner)
    data = load("cifar10", folder=tmp_path)
    assert (len(data.train) + len(data.validation), len(data.test)) == (40, 8)
    expected = cifar_batch(8, 5)["data"].reshape(8, 3, 32, 32)
    assert np.array_equal(data.test.images.numpy(), expected)
    assert load("cifar10", folder=inner).digest == data.digest
    assert load(tmp_path).digest == data.digest
    assert load(tmp_path).name == "cifar10"


def rewrite_as_python_2(folder: Path) -> None:
    """Write the batches as Python 2 did: byte strings where Python 3 has text and bytes."""
    for name in cifar_files.CIFAR10.members:
        batch = pickle.loads((folder / name).read_bytes())
        data, labels = batch["data"], batch["labels"]

        def short(text: bytes) -> bytes:
            return b"U" + bytes([len(text)]) + text

        def integer(value: int) -> bytes:
            return b"J" + struct.pack("<i", value)

        dtype = b"cnumpy\ndtype\n" + short(b"u1") + integer(0) + integer(1) + b"\x87R"
        shape = integer(data.shape[0]) + integer(data.shape[1]) + b"\x86"
        pixels = b"T" + struct.pack("<i", data.nbytes) + data.tobytes()
        array = (
            b"cnumpy.core.multiarray\n_reconstruct\ncnumpy\nndarray\n" + integer(0) + b"\x85"
            + short(b"b") + b"\x87R(" + integer(1) + shape + dtype + b"\x89" + pixels + b"tb"
        )  # fmt: skip
        values = b"](" + b"".join(integer(k) for k in labels) + b"e"
        content = b"}(" + short(b"data") + array + short(b"labels") + values + b"u."
        (folder / name).write_bytes(b"\x80\x02" + content)


def test_cifar10_tar(tmp_path: Path) -> None:
    inner = write_cifar10(tmp_path / "unpacked")
    with tarfile.open(tmp_path / "cifar-10-python.tar.gz", "w:gz") as tar:
        tar.add(inner, "cifar-10-batches-py")
    from_tar = load("cifar10", folder=tmp_path)
    assert from_tar.digest == load("cifar10", folder=inner).digest


def test_cifar100_takes_fine_labels(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = tmp_path / "cifar100" / "cifar-100-python"
    folder.mkdir(parents=True)
    for k, name in enumerate(("train", "test")):
        batch = {b"coarse_labels": [0] * 60, **cifar_batch(60, k, "fine_labels", 20)}
        (folder / name).write_bytes(pickle.dumps(batch))
    monkeypatch.setenv("ARCHPRESS_DATA", str(tmp_path))
    assert load("cifar100").classes == 20


def test_svhn(tmp_path: Path) -> None:
    scipy_io = pytest.importorskip("scipy.io")
    pixels = np.random.default_rng(0).integers(0, 256, (32, 32, 3, 40)).astype(np.uint8)
    labels = (np.arange(40) % 10 + 1).astype(np.uint8)[:, None]
    for part in ("train", "test"):
        scipy_io.savemat(tmp_path / f"{part}_32x32.mat", {"X": pixels, "y": labels})
    data = load("svhn", folder=tmp_path)
    assert data.classes == 10
    assert data.test.labels.tolist() == [k % 10 for k in labels[:, 0].tolist()]
    assert np.array_equal(data.test.images[3].numpy(), pixels[..., 3].transpose(2, 0, 1))


@pytest.mark.parametrize("compressed", [True, False])
def test_idx_folder(tmp_path: Path, compressed: bool) -> None:
    folder = write_idx_folder(tmp_path / "mine", compressed)
    data = load(folder)
    assert (data.name, data.input_shape, data.classes) == ("mine", (1, 5, 6), 5)
    assert data.test.labels.tolist() == [k % 5 for k in range(10)]
    assert load("fashion-mnist", folder=folder).digest == data.digest


def test_given_folder_comes_before_all_others(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    write_idx_folder(tmp_path / "fashion-mnist")
    monkeypatch.setenv("ARCHPRESS_DATA", str(tmp_path))
    assert load("fashion-mnist").input_shape == (1, 5, 6)
    fails("not found in /nowhere;", lambda: load("fashion-mnist", folder=Path("/nowhere")))


# --- Download ------------------------------------------------------------------------------------


@pytest.fixture
def site(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A stand-in for the authors' site, and no other copy of Fashion-MNIST in reach."""
    folder = write_idx_folder(tmp_path / "site")
    monkeypatch.setattr(downloads, "FASHION_MNIST_URL", f"{folder.as_uri()}/")
    monkeypatch.setattr(
        dataset_sources, "searched_folders", lambda name, _: [dataset_sources.cache_folder(name)]
    )
    sums = {s: hashlib.md5((folder / f"{s}.gz").read_bytes()) for s in IDX_STEMS}
    md5 = {stem: value.hexdigest() for stem, value in sums.items()}
    monkeypatch.setattr(downloads, "FASHION_MNIST_MD5", md5)
    return folder


def test_download_fills_the_cache_once(site: Path, empty_home: Path) -> None:
    first = load("fashion-mnist")
    cache = empty_home / ".cache" / "archpress" / "fashion-mnist"
    assert sorted(p.name for p in cache.iterdir()) == sorted(f"{s}.gz" for s in IDX_STEMS)
    for path in site.iterdir():
        path.unlink()
    assert load("fashion-mnist").digest == first.digest


def test_download_with_wrong_checksum_is_refused(site: Path, empty_home: Path) -> None:
    (site / f"{IDX_STEMS[1]}.gz").write_bytes(gzip.compress(b"other"))
    fails("expected MD5", lambda: load("fashion-mnist"))
    cache = empty_home / ".cache" / "archpress" / "fashion-mnist"
    assert [p.name for p in cache.iterdir()] == [f"{IDX_STEMS[0]}.gz"]


def test_download_offline_says_what_to_do(site: Path) -> None:
    (site / f"{IDX_STEMS[0]}.gz").unlink()
    message = fails("could not download file:", lambda: load("fashion-mnist"))
    assert "by hand, or install the Debian package dataset-fashion-mnist" in message


# --- Paths: .npz and folders of images -----------------------------------------------------------


@pytest.mark.parametrize(
    ("shape", "expected"),
    [
        ((4, 5), (1, 4, 5)),
        ((4, 5, 3), (3, 4, 5)),
        ((6, 5, 1), (1, 6, 5)),
        ((3, 6, 7), (3, 6, 7)),
        ((2, 6, 4), (4, 2, 6)),
    ],
)
def test_npz_layouts(tmp_path: Path, shape: tuple[int, ...], expected: tuple[int, ...]) -> None:
    path = small_npz(tmp_path / "mine.npz", shape=shape)
    data = load(path)
    assert (data.name, data.input_shape) == ("mine", expected)
    assert load(str(path)).digest == data.digest


def test_npz_of_doubles_becomes_float32_on_its_own_scale(tmp_path: Path) -> None:
    pixels = np.random.default_rng(0).normal(5, 2, (400, 8, 8, 3))
    data = load(small_npz(tmp_path / "a.npz", 400, x_train=pixels))
    assert data.train.images.dtype == torch.float32
    mean, deviation = data.channel_statistics()
    torch.testing.assert_close(mean, torch.full((3,), 5.0), atol=0.1, rtol=0)
    torch.testing.assert_close(deviation, torch.full((3,), 2.0), atol=0.1, rtol=0)


def write_images(folder: Path, classes: tuple[str, ...], n: int, mode: str = "RGB") -> None:
    image_module = pytest.importorskip("PIL.Image")
    rng = np.random.default_rng(0)
    for k, name in enumerate(classes):
        (folder / name).mkdir(parents=True)
        for i in range(n):
            pixels = rng.integers(0, 256, (5, 7, 3)).astype(np.uint8)
            pixels[0, 0] = k
            image_module.fromarray(pixels).convert(mode).save(folder / name / f"{i}.png")


def test_image_folder_with_test_part(tmp_path: Path) -> None:
    write_images(tmp_path / "train", ("ant", "bee"), 10)
    write_images(tmp_path / "test", ("ant", "bee"), 3)
    data = load(tmp_path)
    assert [len(p) for p in (data.train, data.validation, data.test)] == [18, 2, 6]
    assert data.input_shape == (3, 5, 7)
    assert torch.equal(data.test.images[:, 1, 0, 0].long(), data.test.labels)


def test_image_folder_without_test_part_in_grey(tmp_path: Path) -> None:
    write_images(tmp_path, ("ant", "bee"), 10, "L")
    data = load(tmp_path)
    assert [len(p) for p in (data.train, data.validation, data.test)] == [14, 2, 4]
    assert data.input_shape == (1, 5, 7)
    assert torch.equal(data.train.images[:, 0, 0, 0].long(), data.train.labels)


def test_image_folder_mixed_grey_and_colour_is_colour(tmp_path: Path) -> None:
    write_images(tmp_path / "train", ("ant",), 5, "L")
    write_images(tmp_path / "train", ("bee",), 5)
    data = load(tmp_path)
    grey = data.train.images[data.train.labels == 0]
    assert data.input_shape == (3, 5, 7)
    assert torch.equal(grey[:, 0], grey[:, 2])


def test_image_folder_faults(tmp_path: Path) -> None:
    image_module = pytest.importorskip("PIL.Image")
    write_images(tmp_path / "train", ("ant", "bee"), 5)
    odd = tmp_path / "train" / "bee" / "9.png"
    image_module.new("RGB", (4, 6)).save(odd)
    first = tmp_path / "train" / "ant" / "0.png"
    fails(f"received 7x5 in {first} and 4x6 in {odd};", lambda: load(tmp_path))
    image_module.new("I;16", (7, 5)).save(odd)
    fails(f"expected 8 bits per channel in {odd}, received mode I;16", lambda: load(tmp_path))
    odd.write_bytes(first.read_bytes()[:60])
    fails(f"expected an image at {odd}, but it is damaged", lambda: load(tmp_path))
    odd.unlink()
    write_images(tmp_path / "test", ("cat",), 1)
    fails("received 'cat' (0.png)", lambda: load(tmp_path))


def test_image_folder_with_too_few_images_names_the_class(tmp_path: Path) -> None:
    write_images(tmp_path, ("ant",), 5)
    write_images(tmp_path, ("bee",), 2)
    fails("at least 3 images of each class to split, received 2 of class 'bee'",
          lambda: load(tmp_path))  # fmt: skip


def test_image_folder_without_pillow_says_how_to_install(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("ant", "bee"):
        (tmp_path / name).mkdir()
        (tmp_path / name / "0.png").write_bytes(b"not read")
    monkeypatch.setitem(sys.modules, "PIL", None)
    monkeypatch.setitem(sys.modules, "PIL.Image", None)
    with pytest.raises(MissingExtraError, match=r'pip install "archpress\[vision\]"'):
        load(tmp_path)


def test_folder_without_data(tmp_path: Path) -> None:
    fails(f"expected a folder of images for each class in {tmp_path}", lambda: load(tmp_path))
    (tmp_path / "ant").mkdir()
    fails(f"expected images of one class in {tmp_path / 'ant'}", lambda: load(tmp_path))


# --- Split, digest and the data set's own methods ------------------------------------------------


def test_split_is_disjoint_complete_and_stratified() -> None:
    data = from_tensors(distinct_images(400), validation_fraction=0.25)
    parts = [numbers(p) for p in (data.train, data.validation, data.test)]
    assert sorted(k for part in parts for k in part) == list(range(400))
    assert [p.labels.bincount().tolist() for p in (data.train, data.validation, data.test)] == [
        [60] * 4, [20] * 4, [20] * 4,
    ]  # fmt: skip
    for part, split in zip(parts, (data.train, data.validation, data.test), strict=True):
        assert [k % 4 for k in part] == split.labels.tolist()


def test_seed_fixes_the_validation_part_and_never_moves_the_test_part() -> None:
    once, again, other = (from_tensors(distinct_images(400), seed=s) for s in (3, 3, 4))
    assert numbers(once.validation) == numbers(again.validation)
    assert once.digest == again.digest
    assert numbers(once.validation) != numbers(other.validation)
    assert numbers(once.test) == numbers(other.test)


def test_given_test_part_is_kept_as_it_is() -> None:
    images, labels = distinct_images(60)
    data = from_tensors((images[:40], labels[:40]), (images[40:], labels[40:]))
    assert numbers(data.test) == list(range(40, 60))
    assert sorted(numbers(data.train) + numbers(data.validation)) == list(range(40))


def test_digest_follows_content_and_split_but_not_the_name() -> None:
    images, labels = distinct_images(80)
    digest = from_tensors((images, labels)).digest
    assert re.fullmatch(r"[0-9a-f]{16}", digest)
    assert from_tensors((images, labels), name="other").digest == digest
    assert from_tensors((images, labels), seed=1).digest != digest
    assert from_tensors((images, labels), validation_fraction=0.3).digest != digest
    changed = images.clone()
    changed[17, 0, 1, 2] = 1
    assert from_tensors((changed, labels)).digest != digest
    relabelled = [from_tensors((images, labels), (images, k)).digest for k in (labels, 3 - labels)]
    assert relabelled[0] != relabelled[1]


def test_tensors_are_copied_and_left_alone() -> None:
    images, labels = distinct_images(80)
    data = from_tensors((images[:40], labels[:40]), (images[40:], labels[40:]))
    images.zero_()
    assert numbers(data.test) == list(range(40, 80))


def test_sparse_labels_become_contiguous() -> None:
    images, labels = distinct_images(80, classes=3)
    sparse = torch.tensor([5, 70, 9])[labels]
    data = from_tensors((images[:60], sparse[:60]), (images[60:], sparse[60:]))
    assert data.classes == 3
    assert data.test.labels.tolist() == torch.tensor([0, 2, 1])[labels[60:]].tolist()


def test_channel_statistics_are_on_the_unit_scale_for_bytes() -> None:
    images = torch.zeros(10_000, 2, 1, 2, dtype=torch.uint8)
    images[:, 0, 0, 0] = 255
    images[:, 1] = 51
    mean, deviation = from_tensors((images, torch.arange(10_000) % 2)).channel_statistics()
    assert (mean.dtype, mean.shape) == (torch.float32, (2,))
    torch.testing.assert_close(mean, torch.tensor([0.5, 0.2]))
    torch.testing.assert_close(deviation, torch.tensor([0.5, 0.0]))


def test_pickle_round_trip_holds_no_torch_storage() -> None:
    data = from_tensors(distinct_images(80))
    content = pickle.dumps(data)
    assert b"torch" not in content
    back = pickle.loads(content)
    assert isinstance(back, DataSet)
    assert (back.name, back.classes, back.digest) == (data.name, data.classes, data.digest)
    for part in ("train", "validation", "test"):
        before, after = getattr(data, part), getattr(back, part)
        assert torch.equal(before.images, after.images)
        assert torch.equal(before.labels, after.labels)


def test_to_moves_every_part() -> None:
    data = from_tensors(distinct_images(80)).to("meta")
    tensors = [t for p in (data.train, data.validation, data.test) for t in (p.images, p.labels)]
    assert {t.device.type for t in tensors} == {"meta"}
    assert (data.classes, data.input_shape) == (4, (1, 2, 3))


def test_without_test_only_empties_the_test_part() -> None:
    data = from_tensors(distinct_images(80))
    images, labels = data.test.images, data.test.labels
    blind = data.without_test()
    assert (blind.train, blind.validation) == (data.train, data.validation)
    assert (blind.name, blind.classes, blind.digest) == (data.name, data.classes, data.digest)
    for copy in (blind, pickle.loads(pickle.dumps(blind))):
        assert len(copy.test) == 0
        assert (copy.test.images.shape, copy.test.labels.shape) == ((0, 1, 2, 3), (0,))
        assert (copy.test.images.dtype, copy.test.labels.dtype) == (images.dtype, labels.dtype)
    # A slice of length 0 would still lead to the pixels by way of its storage.
    assert blind.test.images.untyped_storage().nbytes() == 0
    assert blind.test.labels.untyped_storage().nbytes() == 0
    assert len(data.test) == len(images) > 0


# --- Faults --------------------------------------------------------------------------------------


def test_unknown_names_and_paths(tmp_path: Path) -> None:
    fails("unknown data set 'cifar-10'; did you mean 'cifar10'?", lambda: load("cifar-10"))
    fails("valid: cifar10, cifar100, digits", lambda: load("qqqq"))
    fails("received list; write arrays into an .npz", lambda: load([1]))  # type: ignore[arg-type]
    fails("expected a folder or an .npz file at images", lambda: load("./images"))
    missing = tmp_path / "gone.npz"
    for source in (missing, str(missing)):
        fails(f"{missing}, which does not exist", partial(load, source))
    other = tmp_path / "a.csv"
    other.write_text("1,2")
    fails(f"expected a folder or an .npz file, received {other}", lambda: load(other))


@pytest.mark.parametrize("name", ["cifar10", "cifar100", "svhn"])
def test_absent_data_set_names_folders_and_files(
    name: str, tmp_path: Path, empty_home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("ARCHPRESS_DATA", str(tmp_path))
    cache = empty_home / ".cache" / "archpress" / name
    message = fails(f"'{name}' was not found in {tmp_path / name}, {cache}", lambda: load(name))
    assert dataset_sources.EXPECTED_FILES[name] in message


@pytest.mark.parametrize("fraction", [0.0, 1.0, -0.1, float("nan")])
def test_validation_fraction_out_of_range(fraction: float) -> None:
    with pytest.raises(SettingsError, match="validation fraction between 0 and 1, received"):
        from_tensors(distinct_images(80), validation_fraction=fraction)


IMAGES, LABELS = distinct_images(40)
CONTENT_FAULTS = {
    "empty": (IMAGES[:0], LABELS[:0], "expected images, received none (shape [0, 1, 2, 3])"),
    "one class": (IMAGES, LABELS * 0, "expected at least two classes, received one"),
    "nan": (IMAGES / 0.0, LABELS, "received NaN or infinite pixels in 40 images"),
    "mismatch": (IMAGES, LABELS[:39], "received 40 images and 39 labels"),
    "negative": (IMAGES, LABELS - 1, "expected labels from 0 up, received -1"),
    "float labels": (IMAGES, LABELS / 2, "received torch.float32 of shape [40]"),
    "one-hot": (IMAGES, torch.eye(4, dtype=torch.int64)[LABELS], "int64 of shape [40, 4]"),
    "flat": (IMAGES.flatten(1), LABELS, "received the shape [40, 6]"),
    "dtype": (IMAGES.long(), LABELS, "expected uint8 or floating images, received torch.int64"),
    "few": (IMAGES[:10], LABELS[:10], "at least 3 images of each class to split, received 2"),
}


@pytest.mark.parametrize("fault", CONTENT_FAULTS)
def test_content_faults(fault: str) -> None:
    images, labels, sentence = CONTENT_FAULTS[fault]
    fails(sentence, lambda: from_tensors((images, labels)))


def test_faults_of_the_test_part() -> None:
    train = distinct_images(40)
    fails("data set 'tensors' (test): expected images like those for training, [1, 2, 3] of torch.u"
          "int8, received [1, 3, 2] of torch.uint8",
          lambda: from_tensors(train, (IMAGES.transpose(2, 3), LABELS)))  # fmt: skip
    fails("expected only classes with training images, received classes [4]",
          lambda: from_tensors(train, (IMAGES, LABELS + 1)))  # fmt: skip


def test_smallest_classes_that_can_be_split() -> None:
    for fraction in (0.01, 0.99):
        data = from_tensors(distinct_images(12), validation_fraction=fraction)
        assert [len(p) for p in (data.train, data.validation, data.test)] == [4, 4, 4]


def test_npz_faults(tmp_path: Path) -> None:
    path = write_npz(tmp_path / "a.npz", x_train=np.zeros((4, 2, 2), np.uint8))
    fails(f"expected an array y_train in {path}, received x_train", lambda: load(path))
    small_npz(path, x_test=np.zeros((4, 4, 5), np.uint8))
    fails("expected an array y_test", lambda: load(path))
    small_npz(path, y_train=np.array([{}] * 40, object))
    fails(f"expected an .npz file of plain arrays at {path}", lambda: load(path))
    small_npz(path, y_train=np.array(["ant", "bee"] * 20))
    fails(f"{path} (train): expected numeric arrays", lambda: load(path))
    small_npz(path, x_train=np.full((40, 4, 5), np.inf))
    fails(f"{path} (train): expected finite pixels", lambda: load(path))


def damaged(path: Path, keep: float = 0.6) -> Path:
    content = path.read_bytes()
    path.write_bytes(content[: int(len(content) * keep)])
    return path


@pytest.mark.parametrize("content", [b"", b"PK\x03\x04", b"\x93NUMPY\x01\x00", b"text"])
def test_npz_of_nonsense(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "a.npz"
    path.write_bytes(content)
    fails(f"at {path}, but it is damaged, truncated or unreadable", lambda: load(path))


def test_damaged_npz(tmp_path: Path) -> None:
    path = small_npz(tmp_path / "a.npz")
    whole = bytearray(path.read_bytes())
    whole[200] ^= 0xFF
    path.write_bytes(whole)
    fails(f"at {path}, but it is damaged", lambda: load(path))
    fails(f"at {path}, but it is damaged", lambda: load(damaged(path)))


@pytest.mark.parametrize("compressed", [True, False])
@pytest.mark.parametrize("keep", [0.0, 0.0005, 0.01, 0.6])
def test_damaged_idx(tmp_path: Path, compressed: bool, keep: float) -> None:
    write_idx_folder(tmp_path, compressed)
    path = tmp_path / (IDX_STEMS[0] + (".gz" if compressed else ""))
    damaged(path, keep)
    fails(f"expected an IDX file of unsigned bytes at {path}", lambda: load(tmp_path))


def test_idx_of_another_type_or_with_flipped_bytes(tmp_path: Path) -> None:
    write_idx_folder(tmp_path)
    path = tmp_path / f"{IDX_STEMS[0]}.gz"
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 0xFF
    path.write_bytes(content)
    fails(f"at {path}, but it is damaged", lambda: load(tmp_path))
    path.write_bytes(b"\x00\x00\x0d\x03" + bytes(12))
    fails(f"at {path}, but it is damaged", lambda: load(tmp_path))


def test_damaged_mat(tmp_path: Path) -> None:
    scipy_io = pytest.importorskip("scipy.io")
    for part in ("train", "test"):
        scipy_io.savemat(tmp_path / f"{part}_32x32.mat", {"X": np.zeros((32, 32, 3, 9)), "y": 1})
    path = damaged(tmp_path / "train_32x32.mat")
    fails(f"expected an SVHN .mat file with X and y at {path}", lambda: load(tmp_path))


def test_damaged_cifar_tar(tmp_path: Path) -> None:
    inner = write_cifar10(tmp_path / "unpacked")
    archive = tmp_path / "cifar-10-python.tar.gz"
    with tarfile.open(archive, "w:gz") as tar:
        tar.add(inner, "cifar-10-batches-py")
    whole = archive.read_bytes()
    damaged(archive)
    fails(f"at {archive}, but it is damaged", lambda: load(tmp_path))
    one_pixel = bytearray(gzip.compress(gzip.decompress(whole), 0))
    one_pixel[len(one_pixel) // 4] ^= 1
    archive.write_bytes(one_pixel)
    fails(f"at {archive}, but it is damaged", lambda: load(tmp_path))
    archive.write_bytes(b"nonsense")
    fails(f"at {archive}, but it is damaged", lambda: load(tmp_path))


def test_damaged_or_missing_cifar_batch(tmp_path: Path) -> None:
    inner = write_cifar10(tmp_path)
    path = damaged(inner / "data_batch_3")
    fails(f"expected a pickled CIFAR batch at {path}", lambda: load("cifar10", folder=tmp_path))
    path.write_bytes(pickle.dumps({"labels": [1, 2]}))
    fails(f"expected a pickled CIFAR batch at {path}", lambda: load("cifar10", folder=tmp_path))
    path.unlink()
    fails("expected the batch data_batch_3", lambda: load("cifar10", folder=tmp_path))


class Malicious:
    """Creates a file when unpickled by the ordinary unpickler."""

    def __init__(self, target: Path) -> None:
        self.target = target

    def __reduce__(self) -> tuple[Any, tuple[str]]:
        return os.mkdir, (str(self.target),)


def test_malicious_cifar_batch_does_not_execute(tmp_path: Path) -> None:
    target = tmp_path / "executed"
    batch = cifar_batch(8, 0) | {"extra": Malicious(target)}
    (write_cifar10(tmp_path) / "test_batch").write_bytes(pickle.dumps(batch))
    fails("received a reference to posix.mkdir", lambda: load("cifar10", folder=tmp_path))
    assert not target.exists()
    with contextlib.closing(io.BytesIO(pickle.dumps(batch))) as stream:
        pickle.load(stream)
    assert target.exists()  # so the batch was able to do harm


def test_batch_cannot_reach_other_functions_of_numpy() -> None:
    read = partial(cifar_files._cifar_batch, Path("b"), label_key="labels")
    for reference in (b"numpy\nsave", b"numpy.core.multiarray\nfromfile", b"evil\ndtype"):
        fails("which was not executed", partial(read, b"c" + reference + b"\n."))


def test_paths_are_made_absolute_and_names_are_kept(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    for name in ("mine.npz", "digits"):
        (tmp_path / name).touch()
    assert dataset_sources.absolute("mine.npz") == str(tmp_path / "mine.npz")
    assert dataset_sources.absolute("digits") == "digits"
    assert dataset_sources.absolute("absent.npz") == "absent.npz"
