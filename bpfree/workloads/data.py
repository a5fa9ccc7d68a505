"""Datasets as arrays: found on this machine or downloaded, checked by MD5, read with numpy.

Files are looked for in `--data-dir`, then `$BPFREE_DATA`, then the user cache, in torchvision's layout
(`MNIST/raw/train-images-idx3-ubyte.gz`, packed or not); what is found nowhere is downloaded into the cache.
"""

import gzip
import hashlib
import logging
import math
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
IDX_UNSIGNED_BYTES = 8
DIGITS_TEST_SAMPLES, DIGITS_DIVISION = 360, 0


@dataclass(frozen=True)
class Arrays:
    """Images (n, channels, height, width) as unsigned bytes, and labels (n,) as 64-bit integers; maybe read-only."""

    train_images: NDArray[np.uint8]
    train_labels: NDArray[np.int64]
    test_images: NDArray[np.uint8]
    test_labels: NDArray[np.int64]


@dataclass(frozen=True)
class IdxFile:
    """A file of the MNIST family: its name without `.gz`, MD5 packed and unpacked, and the shape it holds."""

    name: str
    packed_md5: str
    unpacked_md5: str
    shape: tuple[int, ...]


@dataclass(frozen=True)
class Dataset:
    """A row of the table. `white` is the value of the brightest pixel; `read` takes the row and the data folder."""

    name: str
    shape: tuple[int, int, int]
    """Channels, height and width of an image."""
    classes: int
    samples: tuple[int, int, int]
    """Training, validation and test samples."""
    white: int
    read: Callable[["Dataset", Path | None], Arrays]
    folder: str = ""
    files: Sequence[IdxFile] = ()
    mirrors: Sequence[str] = ()


def load(name: str, data_dir: Path | None = None) -> Arrays:
    """The arrays of a dataset.

    Raises
    ------
    DataError
        A file is damaged, or is nowhere and cannot be downloaded. The message has the path and the remedy.
    """
    dataset = DATASETS[name]
    return dataset.read(dataset, data_dir)


def read_digits(_: Dataset, __: Path | None) -> Arrays:
    """scikit-learn's digits, divided once and for all: 360 test images, stratified by label.

    A black border of one pixel is added, as MNIST's images have one: a label written over the first pixels hides
    nothing.
    """
    from sklearn.datasets import load_digits
    from sklearn.model_selection import train_test_split

    digits = load_digits()
    border = ((0, 0), (0, 0), (1, 1), (1, 1))
    images = np.pad(digits.images[:, None].astype(np.uint8), border)
    labels = digits.target.astype(np.int64)
    parts = train_test_split(
        images, labels, test_size=DIGITS_TEST_SAMPLES, stratify=labels, random_state=DIGITS_DIVISION
    )
    train_images, test_images, train_labels, test_labels = parts
    return Arrays(train_images, train_labels, test_images, test_labels)


def read_idx_dataset(dataset: Dataset, data_dir: Path | None) -> Arrays:
    """The four files of an MNIST-like dataset."""
    arrays = [read_idx(find(dataset, file, data_dir), file) for file in dataset.files]
    train_images, train_labels, test_images, test_labels = arrays
    return Arrays(
        train_images[:, None], train_labels.astype(np.int64), test_images[:, None], test_labels.astype(np.int64)
    )


def places(data_dir: Path | None) -> list[Path]:
    """Where files are looked for, in order; the last is the cache, which downloads go to."""
    named = [data_dir, os.environ.get("BPFREE_DATA")]
    # os.path: pathlib's own raises where there is no such home
    roots = [*(Path(os.path.expanduser(place)) for place in named if place), Path(pooch.os_cache("bpfree"))]
    return list(dict.fromkeys(roots))


def find(dataset: Dataset, file: IdxFile, data_dir: Path | None) -> Path:
    """The file, packed or not, in the first place that has it; downloaded if none has.

    Raises
    ------
    DataError
        It is nowhere and cannot be downloaded, or a place cannot be looked into.
    """
    roots = places(data_dir)
    for root in roots:
        for name in (f"{file.name}.gz", file.name):
            path = root / dataset.folder / name
            try:
                if path.is_file():
                    return path
            except OSError as error:
                raise unreadable(path, error) from None
    return download(dataset, file, roots)


def download(dataset: Dataset, file: IdxFile, roots: Sequence[Path]) -> Path:
    """Fetch a packed file into the cache, from the first mirror that gives it whole.

    pooch writes under a temporary name, checks the MD5 and renames, so an interrupted download leaves nothing behind.

    Raises
    ------
    DataError
        No mirror gives it, or the cache cannot be written.
    """
    folder, name = roots[-1] / dataset.folder, f"{file.name}.gz"
    check_writable(folder, name)
    pooch.get_logger().setLevel(logging.ERROR)
    fetch = pooch.HTTPDownloader(
        timeout=(CONNECT_SECONDS, READ_SECONDS), progressbar=sys.stderr.isatty(), chunk_size=CHUNK_BYTES
    )
    reasons = []
    for mirror in dataset.mirrors:
        try:
            known = f"md5:{file.packed_md5}"
            return Path(pooch.retrieve(mirror + name, known_hash=known, fname=name, path=folder, downloader=fetch))
        except (OSError, ValueError) as error:  # ValueError: pooch found another MD5
            reasons.append(f"{urlsplit(mirror).netloc}: {why(error)}")
    looked = ", ".join(str(root / dataset.folder) for root in roots)
    raise DataError(
        f"{name} of {dataset.name} is not in {looked} and cannot be downloaded ({'; '.join(reasons)}): put it there, "
        f"or name the folder that holds {dataset.folder} with --data-dir or BPFREE_DATA"
    )


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


def read_idx(path: Path, file: IdxFile) -> NDArray[np.uint8]:
    """The array of an IDX file, checked against the MD5 and the shape that it is known to have.

    Raises
    ------
    DataError
        The file is damaged or cannot be read.
    """
    packed = path.suffix == ".gz"
    try:
        content = path.read_bytes()
        digest = hashlib.md5(content, usedforsecurity=False).hexdigest()
        expected = file.packed_md5 if packed else file.unpacked_md5
        if digest != expected:
            raise damaged(path, f"MD5 {digest} instead of {expected}")
        return parse_idx(gzip.decompress(content) if packed else content, file.shape)
    except (EOFError, zlib.error, gzip.BadGzipFile, ValueError) as error:
        raise damaged(path, str(error)) from None
    except OSError as error:
        raise unreadable(path, error) from None


def parse_idx(content: bytes, shape: tuple[int, ...]) -> NDArray[np.uint8]:
    """The array in an IDX document: two zero bytes, type, number of dimensions, big-endian sizes, then the values.

    Raises
    ------
    ValueError
        It is not an IDX document of unsigned bytes of this shape.
    """
    header = 4 + 4 * len(shape)
    if content[:4] != bytes([0, 0, IDX_UNSIGNED_BYTES, len(shape)]):
        raise ValueError("not an IDX file of unsigned bytes")
    sizes = tuple(int(size) for size in np.frombuffer(content[4:header], dtype=">u4"))
    if sizes != shape or len(content) != header + math.prod(shape):
        raise ValueError(f"{len(content)} bytes of shape {sizes} instead of {header + math.prod(shape)} of {shape}")
    return np.frombuffer(content, dtype=np.uint8, offset=header).reshape(shape)


def damaged(path: Path, reason: str) -> DataError:
    """The error for a file that is not what it should be."""
    return DataError(f"{path} is damaged ({reason}): delete it and it will be downloaded again")


def unreadable(path: Path, error: OSError) -> DataError:
    """The error for a file that the system does not give."""
    return DataError(f"{path} cannot be read ({error.strerror}): check its permissions")


MNIST_SHAPES = ((60000, 28, 28), (60000,), (10000, 28, 28), (10000,))
MNIST_NAMES = ("train-images-idx3-ubyte", "train-labels-idx1-ubyte", "t10k-images-idx3-ubyte", "t10k-labels-idx1-ubyte")


def mnist_files(*digests: tuple[str, str]) -> tuple[IdxFile, ...]:
    """The four files of an MNIST-like dataset from their MD5s, packed and unpacked."""
    rows = zip(MNIST_NAMES, digests, MNIST_SHAPES, strict=True)
    return tuple(IdxFile(name, packed, unpacked, shape) for name, (packed, unpacked), shape in rows)


# The packed MD5s are those that torchvision publishes.
MNIST_FILES = mnist_files(
    ("f68b3c2dcbeaaa9fbdd348bbdeb94873", "6bbc9ace898e44ae57da46a324031adb"),
    ("d53e105ee54ea40749a09fcbcd1e9432", "a25bea736e30d166cdddb491f175f624"),
    ("9fb629c4189551a2d022fa330f9573f3", "2646ac647ad5339dbf082846283269ea"),
    ("ec29112dd5afa0611ce80d1b7f02629c", "27ae3e4e09519cfbb04c329615203637"),
)
FASHION_FILES = mnist_files(
    ("8d4fb7e6c68d591d4c3dfef9ec88bf0d", "f4a8712d7a061bf5bd6d2ca38dc4d50a"),
    ("25c81989df183df01b3e8a0aad5dffbe", "9018921c3c673c538a1fc5bad174d6f9"),
    ("bef4ecab320f06d8554ea6380940ec79", "8181f5470baa50b63fa0f6fddb340f0a"),
    ("bb300cfdad3c16e7a12a480ee83cd310", "15d484375f8d13e6eb1aabb0c3f46965"),
)
MNIST_MIRRORS = (
    "https://ossci-datasets.s3.amazonaws.com/mnist/",
    "https://storage.googleapis.com/cvdf-datasets/mnist/",
)
FASHION_MIRRORS = (
    "http://fashion-mnist.s3-website.eu-central-1.amazonaws.com/",
    "https://github.com/zalandoresearch/fashion-mnist/raw/master/data/fashion/",
)
SIZES = (50_000, 10_000, 10_000)

DATASETS = {
    "digits": Dataset("scikit-learn's digits", (1, 10, 10), 10, (1149, 288, 360), 16, read_digits),
    "mnist": Dataset(
        "MNIST", (1, 28, 28), 10, SIZES, 255, read_idx_dataset, "MNIST/raw", MNIST_FILES, MNIST_MIRRORS
    ),
    "fashion": Dataset(
        "Fashion-MNIST", (1, 28, 28), 10, SIZES, 255, read_idx_dataset, "FashionMNIST/raw", FASHION_FILES,
        FASHION_MIRRORS,
    ),
}  # fmt: skip
