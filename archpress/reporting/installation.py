"""Whether everything that archpress needs is in place, and what else it could use."""

import os
import platform
import re
import shutil
from collections.abc import Callable
from dataclasses import dataclass
from importlib.metadata import PackageNotFoundError, requires, version
from typing import Literal

from archpress import __version__
from archpress.datasets.sources import EXPECTED_FILES, names, searched_folders, where_found
from archpress.errors import ArchpressError
from archpress.optional import EXTRAS, installed

State = Literal["ok", "absent", "broken"]
ROOM_GB = 1.0


@dataclass(frozen=True)
class Finding:
    """One thing that was looked at.

    Attributes:
        name: What.
        state: ``ok``; ``absent`` where archpress works without it; ``broken`` where it does not.
        found: What is there, in words.
        remedy: What to do about it; empty where there is nothing to do.
    """

    name: str
    state: State
    found: str
    remedy: str = ""


def examine() -> list[Finding]:
    """Return what is there; takes some seconds, most of them to load and to probe PyTorch."""
    checks: tuple[Callable[[], list[Finding]], ...] = (
        _versions, _arithmetic, _devices, _package, _extras, _data, _room,
    )  # fmt: skip
    return [finding for check in checks for finding in check()]


def _versions() -> list[Finding]:
    own = Finding("archpress", "ok", f"{__version__}, Python {platform.python_version()}")
    found = {name: _version(name) for name in _needed()}
    if missing := [name for name, found_version in found.items() if found_version is None]:
        remedy = f"pip install {' '.join(missing)}"
        return [own, Finding("packages", "broken", f"missing: {', '.join(missing)}", remedy)]
    there = ", ".join(f"{name} {found_version}" for name, found_version in found.items())
    return [own, Finding("packages", "ok", there)]


def _needed() -> list[str]:
    """Return the packages that archpress requires, extras apart."""
    lines = [line for line in requires("archpress") or [] if "extra ==" not in line]
    return [re.split(r"[^A-Za-z0-9._-]", line, maxsplit=1)[0] for line in lines]


def _version(package: str) -> str | None:
    try:
        return version(package)
    except PackageNotFoundError:
        return None


def _arithmetic() -> list[Finding]:
    try:
        from archpress.training.precision import choose_precision

        precision = choose_precision("auto")
    except (ImportError, OSError, RuntimeError) as error:
        remedy = "install PyTorch anew: pip install --force-reinstall 'torch>=2.8'"
        return [Finding("PyTorch", "broken", f"does not work: {error}", remedy)]
    return [Finding("arithmetic", "ok", f"trains in {precision.replace(',', ', ')}")]


def _devices() -> list[Finding]:
    try:
        import torch
    except (ImportError, OSError):
        return []
    from archpress.evaluation.executors import available_cores
    from archpress.training.machine import processor

    cores = available_cores()
    found = [Finding("processor", "ok", f"{processor()}, {cores} cores, one worker each")]
    if not torch.cuda.is_available():
        return [*found, Finding("GPU", "absent", "none that PyTorch can use")]
    gpus = [torch.cuda.get_device_name(k) for k in range(torch.cuda.device_count())]
    return [*found, Finding("GPU", "ok", ", ".join(gpus))]


def _package() -> list[Finding]:
    from archpress.embedding.pretrained import shipped
    from archpress.evaluation.shipped import shipped_names

    try:
        shipped()
    except (ArchpressError, OSError) as error:
        return [Finding("pretrained", "broken", str(error), "install archpress anew")]
    found = f"embedding; archives {', '.join(shipped_names())}"
    return [Finding("pretrained", "ok", found)]


def _extras() -> list[Finding]:
    found = []
    for extra, modules in EXTRAS.items():
        if installed(extra):
            found.append(Finding(f"extra {extra}", "ok", ", ".join(modules)))
        else:
            remedy = f'pip install "archpress[{extra}]"'
            found.append(Finding(f"extra {extra}", "absent", "not installed", remedy))
    return found


def _data() -> list[Finding]:
    found = []
    for name in names():
        folder = where_found(name)
        if folder is not None:
            found.append(Finding(f"data {name}", "ok", str(folder)))
        else:
            found.append(Finding(f"data {name}", "absent", "not found", data_remedy(name)))
    return found


def data_remedy(name: str) -> str:
    """Return what to do about a built-in data set that is not there."""
    if name == "digits":
        return "pip install scikit-learn"
    downloaded = " (downloaded at first use, where there is a network)"
    where = searched_folders(name, None)[-1]
    return f"put {EXPECTED_FILES[name]} into {where}" + (
        downloaded if name == "fashion-mnist" else ""
    )


def _room() -> list[Finding]:
    free = shutil.disk_usage(".").free / 1e9
    if not os.access(".", os.W_OK):
        remedy = "go to a folder that you may write in, or name one with --out"
        return [Finding("this folder", "broken", "cannot be written", remedy)]
    if free < ROOM_GB:
        return [Finding("this folder", "broken", f"{free:.1f} GB free", "make room")]
    return [Finding("this folder", "ok", f"can be written, {free:.0f} GB free")]
