"""Data files: found, downloaded, checked, read; whatever is wrong with one gives a line with path and remedy."""

import gzip
import hashlib
import struct
from collections import Counter
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from threading import Thread

import numpy as np
import pooch
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from bpfree import workloads
from bpfree.errors import DataError
from bpfree.workloads import data

SHAPES = ((20, 4, 4), (20,), (6, 4, 4), (6,))


def idx(array, magic=(0, 0, 8)):
    return bytes([*magic, array.ndim]) + struct.pack(f">{array.ndim}I", *array.shape) + array.tobytes()


def md5(content):
    return hashlib.md5(content).hexdigest()


@pytest.fixture
def arrays():
    generator = np.random.default_rng(0)
    return [generator.integers(0, 256 if len(shape) > 1 else 3, shape, dtype=np.uint8) for shape in SHAPES]


@pytest.fixture
def packed(arrays):
    """Name to packed content of the four files."""
    return {name: gzip.compress(idx(array), mtime=0) for name, array in zip(data.MNIST_NAMES, arrays, strict=True)}


@pytest.fixture
def dataset(monkeypatch, tmp_path, packed):
    """The row `tiny`, whose files are nowhere yet; no cache, no environment and no mirror but the test's."""
    files = tuple(
        data.IdxFile(name, md5(content), md5(gzip.decompress(content)), shape)
        for (name, content), shape in zip(packed.items(), SHAPES, strict=True)
    )
    row = data.Dataset("Tiny", (1, 4, 4), 3, (15, 5, 6), 255, data.read_idx_dataset, "Tiny/raw", files)
    monkeypatch.setitem(data.DATASETS, "tiny", row)
    monkeypatch.setattr(pooch, "os_cache", lambda _: tmp_path / "cache")
    monkeypatch.delenv("BPFREE_DATA", raising=False)
    monkeypatch.setenv("NO_PROXY", "127.0.0.1")
    return row


def put(root, packed, *, unpack=False):
    folder = root / "Tiny" / "raw"
    folder.mkdir(parents=True)
    for name, content in packed.items():
        (folder / (name if unpack else f"{name}.gz")).write_bytes(gzip.decompress(content) if unpack else content)
    return folder


def refused(root=None):
    """The message of the error, which is one line."""
    with pytest.raises(DataError) as caught:
        data.load("tiny", root)
    message = str(caught.value)
    assert "\n" not in message
    return message


@pytest.mark.parametrize("unpack", [False, True])
def test_files_are_read_packed_or_not(tmp_path, dataset, packed, arrays, unpack):
    put(tmp_path, packed, unpack=unpack)
    read = data.load("tiny", tmp_path)
    assert read.train_images.shape == (20, 1, 4, 4)
    assert read.test_images.shape == (6, 1, 4, 4)
    assert read.train_images.dtype == np.uint8
    assert read.train_labels.dtype == np.int64
    for got, expected in zip(
        (read.train_images[:, 0], read.train_labels, read.test_images[:, 0], read.test_labels), arrays, strict=True
    ):
        np.testing.assert_array_equal(got, expected)


@given(st.lists(st.integers(0, 5), min_size=1, max_size=3).map(tuple), st.randoms(use_true_random=False))
def test_idx_round_trip(shape, random):
    array = np.array([random.randrange(256) for _ in range(int(np.prod(shape)))], dtype=np.uint8).reshape(shape)
    np.testing.assert_array_equal(data.parse_idx(idx(array), shape), array)


@given(st.binary(max_size=40))
def test_no_bytes_but_idx_are_taken(content):
    with pytest.raises(ValueError, match=r"IDX|shape|buffer"):
        data.parse_idx(content, (7, 7))


def flip(content):
    middle = len(content) // 2
    return content[:middle] + bytes([content[middle] ^ 1]) + content[middle + 1 :]


def replaced(monkeypatch, dataset, content, *, packed=True):
    """The row with its first file known by the MD5 of other content, so that only the reader can refuse it."""
    first = dataset.files[0]
    digests = (md5(content), first.unpacked_md5) if packed else (first.packed_md5, md5(content))
    files = (data.IdxFile(first.name, *digests, first.shape), *dataset.files[1:])
    row = (
        data.Dataset(*(getattr(dataset, name) for name in dataset.__dataclass_fields__ if name != "files")[:0])
        if 0
        else None
    )
    return files, row


@pytest.mark.parametrize("spoil", [lambda c: c[:-9], flip, lambda c: b"", lambda c: c + b"x"])
@pytest.mark.parametrize("unpack", [False, True])
def test_a_spoilt_file_is_refused(tmp_path, dataset, packed, spoil, unpack):
    folder = put(tmp_path, packed, unpack=unpack)
    path = folder / (data.MNIST_NAMES[2] + ("" if unpack else ".gz"))
    path.write_bytes(spoil(path.read_bytes()))
    message = refused(tmp_path)
    assert message.startswith(f"{path} is damaged (MD5 ")
    assert message.endswith("delete it and it will be downloaded again")
