"""The reader of a text: windows of characters, each with the characters that come next.

A text is divided by position, once and for all: the first 90 % are for training, the next 5 % for validation, the last
5 % for the test. Windows do not overlap and none crosses a division; what does not fill one is left out.
"""

import math
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from bpfree.workloads import files
from bpfree.workloads.files import Arrays, Dataset

TRAIN_PERCENT, VALIDATION_PERCENT = 90, 5

Windows = tuple[NDArray[np.uint8], NDArray[np.int64]]


def read(dataset: Dataset, data_dir: Path | None) -> Arrays:
    """The windows of a dataset whose one file is a text.

    Raises
    ------
    DataError
        The file is damaged, or is nowhere and cannot be downloaded.
    """
    (file,) = dataset.files
    path = files.find(dataset, file, data_dir)
    symbols = files.read(path, file.checksum, lambda content: parse(content, file.shape, dataset.classes))
    (context,) = dataset.shape
    train, validation, test = (windows(part, context) for part in divided(symbols))
    inputs, following = (np.concatenate((train[0], validation[0])), np.concatenate((train[1], validation[1])))
    return Arrays(inputs, following, *test)


def parse(content: bytes, shape: tuple[int, ...], symbols: int) -> NDArray[np.uint8]:
    """Each character's index among those that occur, in the order of their codes.

    Raises
    ------
    ValueError
        It has another length, or other than so many different characters.
    """
    if len(content) != math.prod(shape):
        raise ValueError(f"{len(content)} bytes instead of {math.prod(shape)}")
    found, indices = np.unique(np.frombuffer(content, dtype=np.uint8), return_inverse=True)
    if len(found) != symbols:
        raise ValueError(f"{len(found)} different characters instead of {symbols}")
    return indices.astype(np.uint8)


def divided(text: NDArray[np.uint8]) -> list[NDArray[np.uint8]]:
    """The parts for training, validation and test."""
    ends = (len(text) * TRAIN_PERCENT // 100, len(text) * (TRAIN_PERCENT + VALIDATION_PERCENT) // 100)
    return np.split(text, ends)


def windows(text: NDArray[np.uint8], context: int) -> Windows:
    """Consecutive windows (n, T), and for each of their characters the next one."""
    n = (len(text) - 1) // context
    inputs, following = text[: n * context], text[1 : n * context + 1]
    return inputs.reshape(n, context), following.reshape(n, context).astype(np.int64)
