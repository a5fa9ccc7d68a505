"""The reader of MNIST and its like: four IDX files, packed by gzip or not, in torchvision's layout.

IDX: two zero bytes, type, number of dimensions, big-endian sizes, then the values.
"""

import gzip
import math
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from bpfree.workloads import files
from bpfree.workloads.files import Arrays, DataFile, Dataset

UNSIGNED_BYTES = 8


def read(dataset: Dataset, data_dir: Path | None) -> Arrays:
    """The arrays of a dataset whose files are training images, training labels, test images and test labels.

    Raises
    ------
    DataError
        A file is damaged, or is nowhere and cannot be downloaded.
    """
    arrays = [read_file(files.find(dataset, file, data_dir), file) for file in dataset.files]
    train_images, train_labels, test_images, test_labels = arrays
    return Arrays(
        train_images[:, None], train_labels.astype(np.int64), test_images[:, None], test_labels.astype(np.int64)
    )


def read_file(path: Path, file: DataFile) -> NDArray[np.uint8]:
    """The array of an IDX file, checked against the MD5 and the shape that it is known to have.

    Raises
    ------
    DataError
        The file is damaged or cannot be read.
    """
    if path.suffix == ".gz":
        return files.read(path, file.package.checksum, lambda content: parse(gzip.decompress(content), file.shape))
    return files.read(path, file.checksum, lambda content: parse(content, file.shape))


def parse(content: bytes, shape: tuple[int, ...]) -> NDArray[np.uint8]:
    """The array in an IDX document.

    Raises
    ------
    ValueError
        It is not an IDX document of unsigned bytes of this shape.
    """
    header = 4 + 4 * len(shape)
    if content[:4] != bytes([0, 0, UNSIGNED_BYTES, len(shape)]):
        raise ValueError("not an IDX file of unsigned bytes")
    sizes = tuple(int(size) for size in np.frombuffer(content[4:header], dtype=">u4"))
    if sizes != shape or len(content) != header + math.prod(shape):
        raise ValueError(f"{len(content)} bytes of shape {sizes} instead of {header + math.prod(shape)} of {shape}")
    return np.frombuffer(content, dtype=np.uint8, offset=header).reshape(shape)
