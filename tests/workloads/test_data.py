"""The table of datasets against the real files, and the splits of workloads."""

import gzip
import hashlib
from pathlib import Path

import numpy as np
import pytest
import torch

from bpfree import workloads
from bpfree.errors import RequestError
from bpfree.workloads import data


def md5(content: bytes) -> str:
    return hashlib.md5(content, usedforsecurity=False).hexdigest()


def test_digits_are_divided_once_and_for_all() -> None:
    arrays = data.load("digits")
    assert arrays.train_inputs.shape == (1437, 1, 10, 10)
    assert arrays.test_inputs.shape == (360, 1, 10, 10)
    assert arrays.train_inputs.dtype == arrays.test_inputs.dtype == np.uint8
    assert arrays.train_targets.dtype == arrays.test_targets.dtype == np.int64
    assert arrays.train_inputs.max() == data.DATASETS["digits"].white
    assert set(np.bincount(arrays.test_targets)) <= {35, 36, 37}
    for images in (arrays.train_inputs, arrays.test_inputs):
        assert images.sum() == images[:, :, 1:-1, 1:-1].sum(), "the border is black"
    assert (
        md5(inner(arrays.train_inputs).tobytes() + arrays.train_targets.tobytes()) == "32febb4aecd3e5f788304c570d445164"
    )
    assert (
        md5(inner(arrays.test_inputs).tobytes() + arrays.test_targets.tobytes()) == "2aefadba76fe951410e648f40aa16c97"
    )


def inner(images: np.ndarray) -> np.ndarray:
    return np.ascontiguousarray(images[:, :, 1:-1, 1:-1])


def test_digits_training_and_test_sets_are_apart() -> None:
    from sklearn.datasets import load_digits

    arrays = data.load("digits")
    images = np.concatenate([inner(arrays.train_inputs), inner(arrays.test_inputs)])
    parts = images.reshape(-1, 64).tolist()
    assert sorted(parts) == sorted(load_digits().data.astype(int).tolist())


@pytest.mark.parametrize("name", ["mnist", "fashion", "cifar10", "cifar100"])
def test_rows_agree_with_themselves(name: str) -> None:
    row = data.DATASETS[name]
    assert row.mirrors
    assert all(mirror.endswith("/") for mirror in row.mirrors)
    train, validation, test = row.samples
    counts = [file.shape[0] for file in row.files]
    if name.startswith("cifar"):
        assert (sum(counts[:-1]), counts[-1]) == (train + validation, test)
    else:
        assert counts == [train + validation] * 2 + [test] * 2
    lengths = {"md5": 32, "sha256": 64}
    for checksum in [file.checksum for file in row.files if file.checksum] + [f.package.checksum for f in row.files]:
        algorithm, digest = checksum.split(":")
        assert len(digest) == lengths[algorithm]


CLASS_SIZES = {
    "mnist": (
        [5923, 6742, 5958, 6131, 5842, 5421, 5918, 6265, 5851, 5949],
        [980, 1135, 1032, 1010, 982, 892, 958, 1028, 974, 1009],
    ),
    "fashion": ([6000] * 10, [1000] * 10),
}


@pytest.mark.parametrize("name", CLASS_SIZES)
def test_real_files(name: str, data_dir: Path) -> None:
    row, read = data.DATASETS[name], data.load(name, data_dir)
    assert read.train_inputs.shape == (60_000, 1, 28, 28)
    assert read.test_inputs.shape == (10_000, 1, 28, 28)
    assert read.train_inputs.max() == row.white
    sizes = np.bincount(read.train_targets).tolist(), np.bincount(read.test_targets).tolist()
    assert sizes == CLASS_SIZES[name]
    for file in row.files:
        packed = (data_dir / row.folder / file.package.name).read_bytes()
        assert f"md5:{md5(gzip.decompress(packed))}" == file.checksum


@pytest.mark.parametrize(("name", "shape"), [("fashion-mlp", (784,)), ("fashion-cnn", (1, 28, 28))])
def test_validation_is_the_end_of_the_training_set(name: str, shape: tuple[int, ...], data_dir: Path) -> None:
    parts, read = workloads.find(name).load("cpu", data_dir), data.load("fashion", data_dir)
    for split, samples in ((parts.train, 50_000), (parts.validation, 10_000), (parts.test, 10_000)):
        assert split.inputs.shape == (samples, *shape)
        assert split.inputs.dtype == torch.float32
        assert (split.inputs.min(), split.inputs.max()) == (0, 1)
    labels = torch.cat((parts.train.targets, parts.validation.targets)).numpy()
    np.testing.assert_array_equal(labels, read.train_targets, strict=True)
    np.testing.assert_array_equal(parts.test.targets.numpy(), read.test_targets, strict=True)


def test_the_splits_of_digits() -> None:
    loaded = workloads.find("digits-mlp").load("cpu")
    parts = (loaded.train, loaded.validation, loaded.test)
    assert [len(part) for part in parts] == [1149, 288, 360]
    assert all(part.inputs.shape == (len(part), 100) for part in parts)
    assert all((part.inputs.min(), part.inputs.max()) == (0, 1) for part in parts)
    assert loaded.validation.targets.bincount(minlength=10).min() > 15, "every class is in the validation set"
    samples = [{tuple(row) for row in part.inputs.tolist()} for part in parts]
    assert sum(map(len, samples)) == len(set.union(*samples)) == 1797, "no sample is in two splits"


def test_an_unknown_workload_suggests_the_nearest() -> None:
    with pytest.raises(RequestError, match="unknown workload 'fashion-mpl': did you mean fashion-mlp"):
        workloads.find("fashion-mpl")


def test_all_sizes_of_the_published_study_are_there() -> None:
    for name in ("mnist", "fashion"):
        for size, widths in workloads.MLP_SIZES.items():
            depth, width = map(int, size.split("x"))
            assert workloads.find(f"{name}-mlp-{size}").widths == widths == (width,) * depth
    for name, classes in (("cifar10", 10), ("cifar100", 100)):
        for network in ("mlp", "mlp-3x2000"):
            assert workloads.find(f"{name}-{network}").widths == (2000,) * 3
        assert workloads.find(f"{name}-cnn").source.classes == classes
