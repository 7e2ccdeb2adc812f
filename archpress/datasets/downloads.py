"""Download of Fashion-MNIST, the one built-in data set that is fetched where it is missing."""

import hashlib
import os
import tempfile
import urllib.request
from http.client import HTTPException
from pathlib import Path

from archpress.datasets.files import IDX_STEMS
from archpress.errors import DataError

FASHION_MNIST_URL = "http://fashion-mnist.s3-website.eu-central-1.amazonaws.com/"
_SUMS = (
    "8d4fb7e6c68d591d4c3dfef9ec88bf0d",
    "25c81989df183df01b3e8a0aad5dffbe",
    "bef4ecab320f06d8554ea6380940ec79",
    "bb300cfdad3c16e7a12a480ee83cd310",
)
FASHION_MNIST_MD5 = dict(zip(IDX_STEMS, _SUMS, strict=True))


def download_fashion_mnist(folder: Path) -> None:
    """Download the files of Fashion-MNIST that `folder` lacks, each checked by its MD5 sum.

    Raises:
        DataError: If a file cannot be fetched or stored, or differs from the published one.
    """
    for stem, md5 in FASHION_MNIST_MD5.items():
        if not (folder / f"{stem}.gz").is_file():
            _download(f"{FASHION_MNIST_URL}{stem}.gz", folder / f"{stem}.gz", md5)


def _download(url: str, target: Path, md5: str) -> None:
    advice = (
        f"put the four Fashion-MNIST IDX files into {target.parent} by hand, or install the "
        "Debian package dataset-fashion-mnist"
    )
    try:
        with urllib.request.urlopen(url, timeout=30) as response:
            content = response.read()
        received = hashlib.md5(content, usedforsecurity=False).hexdigest()
        if received != md5:
            raise DataError(f"expected MD5 {md5} of {url}, received {received}; {advice}")
        _store(content, target)
    except (OSError, HTTPException) as error:
        reason = getattr(error, "reason", None) or error
        raise DataError(f"could not download {url} ({reason}); {advice}") from error


def _store(content: bytes, target: Path) -> None:
    target.parent.mkdir(parents=True, exist_ok=True)
    handle, temporary = tempfile.mkstemp(dir=target.parent)
    try:
        with os.fdopen(handle, "wb") as file:
            file.write(content)
        os.replace(temporary, target)
    except OSError:
        Path(temporary).unlink(missing_ok=True)
        raise
