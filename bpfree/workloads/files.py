"""Files of datasets: found on this machine or downloaded, and checked when they are read.

They are looked for in `--data-dir`, then `$BPFREE_DATA`, then the user cache, each in the folder of its dataset; what
is found nowhere is downloaded into the cache.
"""

import gzip
import hashlib
import logging
import os
import sys
import tempfile
import zlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import urlsplit

import numpy as np
import pooch
from numpy.typing import NDArray

from bpfree.errors import DataError

CONNECT_SECONDS, READ_SECONDS = 4, 10
"""Patience with a mirror: for each of its addresses, and for each packet."""
CHUNK_BYTES = 1 << 16
CHECKSUMS = {"md5": "MD5", "sha256": "SHA-256"}


@dataclass(frozen=True)
class Arrays:
    """Inputs as unsigned bytes and targets as 64-bit integers, maybe read-only; validation samples end the first two.

    Images (n, channels, height, width) with labels (n,); or windows of text (n, positions) with the characters that
    come next (n, positions).
    """

    train_inputs: NDArray[np.uint8]
    train_targets: NDArray[np.int64]
    test_inputs: NDArray[np.uint8]
    test_targets: NDArray[np.int64]


@dataclass(frozen=True)
class Package:
    """What the mirrors have: one file, packed by gzip or not, or an archive of several; its checksum as `md5:…`."""

    name: str
    checksum: str

    @property
    def is_archive(self) -> bool:
        """Whether it is unpacked at once, rather than kept packed and read so."""
        return self.name.endswith(".tar.gz")


@dataclass(frozen=True)
class DataFile:
    """A file of a dataset: its name unpacked, the shape of its bytes, its checksum and what it is downloaded in."""

    name: str
    shape: tuple[int, ...]
    checksum: str | None
    """`md5:…` or `sha256:…`; None where no published one is known."""
    package: Package


@dataclass(frozen=True)
class Dataset:
    """A row of the table; `read` takes the row and the data folder."""

    name: str
    shape: tuple[int, ...]
    """Channels, height and width of an image; positions of a window of text."""
    classes: int
    """Labels of images, or different characters of a text."""
    samples: tuple[int, int, int]
    """Training, validation and test samples."""
    white: int | None
    """The value of the brightest pixel; None where inputs are characters."""
    read: Callable[["Dataset", Path | None], Arrays]
    folder: str = ""
    files: Sequence[DataFile] = ()
    mirrors: Sequence[str] = ()


def places(data_dir: Path | None) -> list[Path]:
    """Where files are looked for, in order; the last is the cache, which downloads go to."""
    named = [data_dir, os.environ.get("BPFREE_DATA")]
    # os.path: pathlib's own raises where there is no such home
    roots = [*(Path(os.path.expanduser(place)) for place in named if place), Path(pooch.os_cache("bpfree"))]
    return list(dict.fromkeys(roots))


def find(dataset: Dataset, file: DataFile, data_dir: Path | None) -> Path:
    """The file, packed by gzip or not, in the first place that has it; downloaded if none has.

    Raises
    ------
    DataError
        It is nowhere and cannot be downloaded, or a place cannot be looked into.
    """
    roots = places(data_dir)
    names = (file.name,) if file.package.is_archive else (file.package.name, file.name)
    for root in roots:
        for name in names:
            path = root / dataset.folder / name
            try:
                if path.is_file():
                    return path
            except OSError as error:
                raise unreadable(path, error) from None
    return download(dataset, file, roots)


def download(dataset: Dataset, file: DataFile, roots: Sequence[Path]) -> Path:
    """Fetch a file's package into the cache, from the first mirror that gives it whole.

    Raises
    ------
    DataError
        No mirror gives it, or the cache cannot be written.
    """
    folder, package = roots[-1] / dataset.folder, file.package
    check_writable(folder, package.name)
    reasons = []
    for mirror in dataset.mirrors:
        try:
            return fetch(mirror, dataset, file, folder)
        except (OSError, ValueError) as error:  # ValueError: pooch found another MD5
            reasons.append(f"{urlsplit(mirror).netloc}: {why(error)}")
    looked = ", ".join(str(root / dataset.folder) for root in roots)
    if package.is_archive:
        absent, remedy = f"{file.name} of {dataset.name} is not in {looked} and {package.name}", "put its files there"
    else:
        absent, remedy = f"{package.name} of {dataset.name} is not in {looked} and", "put it there"
    raise DataError(
        f"{absent} cannot be downloaded ({'; '.join(reasons)}): {remedy}, "
        f"or name the folder that holds {dataset.folder} with --data-dir or BPFREE_DATA"
    )


def fetch(mirror: str, dataset: Dataset, file: DataFile, folder: Path) -> Path:
    """Download a file's package into the folder of its dataset. Returns where the file is, if need be still packed.

    pooch writes under a temporary name, checks the MD5 and renames; out of an archive, files are moved when they are
    whole. So an interrupted download never leaves a part of a file under its name.
    """
    package = file.package
    if not package.is_archive:
        retrieve(mirror, package, folder)
        return folder / package.name
    with tempfile.TemporaryDirectory(dir=folder) as scratch:
        retrieve(mirror, package, Path(scratch), pooch.Untar(extract_dir="."))
        for each in dataset.files:
            (Path(scratch) / dataset.folder / each.name).replace(folder / each.name)
    return folder / file.name


def retrieve(mirror: str, package: Package, folder: Path, processor: Callable[..., object] | None = None) -> None:
    """Download with pooch: quietly, checked, with a progress bar on a terminal.

    Raises
    ------
    OSError, ValueError
        The mirror does not give it, or gives something else.
    """
    pooch.get_logger().setLevel(logging.ERROR)
    downloader = pooch.HTTPDownloader(
        timeout=(CONNECT_SECONDS, READ_SECONDS), progressbar=sys.stderr.isatty(), chunk_size=CHUNK_BYTES
    )
    pooch.retrieve(
        mirror + package.name, known_hash=package.checksum, fname=package.name, path=folder,
        downloader=downloader, processor=processor,
    )  # fmt: skip


def check_writable(folder: Path, name: str) -> None:
    """Tell a full or locked cache from a mirror's failure.

    Raises
    ------
    DataError
        The folder cannot be made or written.
    """
    try:
        folder.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryFile(dir=folder):
            pass
    except OSError as error:
        raise DataError(
            f"{name} cannot be downloaded to {folder} ({error.strerror}): make that folder writable, "
            "or name one that holds the data with --data-dir or BPFREE_DATA"
        ) from None


def why(error: OSError | ValueError) -> str:
    """In a few words, why a mirror did not give a file; the exceptions are those of pooch and requests."""
    response = getattr(error, "response", None)
    if response is not None:
        return f"HTTP status {response.status_code}"
    kind = type(error).__name__
    if "Timeout" in kind:
        return "no answer in time"
    if kind == "ValueError":
        return "the file there has another MD5"
    return getattr(error, "strerror", None) or "no connection, or it broke"


def read(path: Path, checksum: str | None, parse: Callable[[bytes], NDArray[np.uint8]]) -> NDArray[np.uint8]:
    """What `parse` makes of a file's bytes, which are checked first where their checksum is known.

    Raises
    ------
    DataError
        The file is damaged (also if `parse` raises ValueError or meets broken gzip) or cannot be read.
    """
    try:
        content = path.read_bytes()
        if checksum is not None:
            check(content, checksum)
        return parse(content)
    except (EOFError, zlib.error, gzip.BadGzipFile, ValueError) as error:
        raise damaged(path, str(error)) from None
    except OSError as error:
        raise unreadable(path, error) from None


def check(content: bytes, checksum: str) -> None:
    """Compare with `md5:…` or `sha256:…`.

    Raises
    ------
    ValueError
        It is another.
    """
    algorithm, expected = checksum.split(":")
    digest = hashlib.new(algorithm, content, usedforsecurity=False).hexdigest()
    if digest != expected:
        raise ValueError(f"{CHECKSUMS[algorithm]} {digest} instead of {expected}")


def damaged(path: Path, reason: str) -> DataError:
    """The error for a file that is not what it should be."""
    return DataError(f"{path} is damaged ({reason}): delete it and it will be downloaded again")


def unreadable(path: Path, error: OSError) -> DataError:
    """The error for a file that the system does not give."""
    return DataError(f"{path} cannot be read ({error.strerror}): check its permissions")
