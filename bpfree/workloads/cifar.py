"""The reader of CIFAR-10 and CIFAR-100 in the official binary form (the Python form is pickled, and never opened).

A file is a row of records: one label byte (CIFAR-10) or a coarse and a fine one (CIFAR-100), then the image's red,
green and blue pixels, each colour row by row. The last label counts.
"""

import math
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from bpfree.workloads import files
from bpfree.workloads.files import Arrays, DataFile, Dataset

COARSE_CLASSES = 20


def read(dataset: Dataset, data_dir: Path | None) -> Arrays:
    """The arrays of a dataset whose last file is the test set, and whose others are the training set in order.

    Raises
    ------
    DataError
        A file is damaged, or is nowhere and cannot be downloaded.
    """
    *train, test = (read_file(files.find(dataset, file, data_dir), file, dataset) for file in dataset.files)
    return Arrays(*images_and_labels(np.concatenate(train), dataset), *images_and_labels(test, dataset))


def read_file(path: Path, file: DataFile, dataset: Dataset) -> NDArray[np.uint8]:
    """The records of a file, checked against its SHA-256 if that is known, its size and the range of its labels.

    Raises
    ------
    DataError
        The file is damaged or cannot be read.
    """
    return files.read(path, file.checksum, lambda content: parse(content, file.shape, dataset))


def parse(content: bytes, shape: tuple[int, ...], dataset: Dataset) -> NDArray[np.uint8]:
    """The records of a file, shape (records, labels and pixels), with labels in range.

    Raises
    ------
    ValueError
        It has another size, or a label is too high.
    """
    if len(content) != math.prod(shape):
        raise ValueError(f"{len(content)} bytes instead of {math.prod(shape)}")
    records = np.frombuffer(content, dtype=np.uint8).reshape(shape)
    limits = (COARSE_CLASSES, dataset.classes)[-label_bytes(records, dataset) :]
    for column, classes in enumerate(limits):
        highest = int(records[:, column].max())
        if highest >= classes:
            raise ValueError(f"label {highest} where {classes - 1} is the highest")
    return records


def label_bytes(records: NDArray[np.uint8], dataset: Dataset) -> int:
    """Labels before the pixels of a record: one or two."""
    return int(records.shape[1]) - math.prod(dataset.shape)


def images_and_labels(records: NDArray[np.uint8], dataset: Dataset) -> tuple[NDArray[np.uint8], NDArray[np.int64]]:
    """Images (n, channels, height, width) and their labels (n,)."""
    labels = label_bytes(records, dataset)
    return records[:, labels:].reshape(-1, *dataset.shape), records[:, labels - 1].astype(np.int64)
