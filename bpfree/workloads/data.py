"""Datasets as arrays: the table, and the one that comes with scikit-learn.

The folders are those of torchvision for MNIST and Fashion-MNIST, those in the official binary archives for CIFAR, and
that of the repository which tiny Shakespeare comes from.
"""

from pathlib import Path

import numpy as np

from bpfree.workloads import cifar, idx, text
from bpfree.workloads.files import Arrays, DataFile, Dataset, Package

DIGITS_TEST_SAMPLES, DIGITS_DIVISION = 360, 0


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


MNIST_SHAPES = ((60000, 28, 28), (60000,), (10000, 28, 28), (10000,))
MNIST_NAMES = ("train-images-idx3-ubyte", "train-labels-idx1-ubyte", "t10k-images-idx3-ubyte", "t10k-labels-idx1-ubyte")


def mnist_files(*digests: tuple[str, str]) -> tuple[DataFile, ...]:
    """The four files of an MNIST-like dataset from their MD5s, packed and unpacked."""
    rows = zip(MNIST_NAMES, MNIST_SHAPES, digests, strict=True)
    return tuple(
        DataFile(name, shape, f"md5:{unpacked}", Package(f"{name}.gz", f"md5:{packed}"))
        for name, shape, (packed, unpacked) in rows
    )


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
CIFAR10_PACKAGE = Package("cifar-10-binary.tar.gz", "md5:c32a1d4ab5d03f1284b67883e8d87530")
CIFAR10_SHA256 = {
    "data_batch_1.bin": "cee916563c9f80d84e3cc88e17fdc0941787f1244f00a67874d45b261883ada5",
    "data_batch_2.bin": "a591ca11fa1708a91ee40f54b3da4784ccd871ecf2137de63f51ada8b3fa57ed",
    "data_batch_3.bin": "bbe8596564c0f86427f876058170b84dac6670ddf06d79402899d93ceea26f67",
    "data_batch_4.bin": "014e562d6e23c72197cc727519169a60359f5eccd8945ad5a09d710285ff4e48",
    "data_batch_5.bin": "755304fc0b379caeae8c14f0dac912fbc7d6cd469eb67a1029a08a39453a9add",
    "test_batch.bin": "8e2eb146ae340b09e24670f29cabc6326dba54da8789dab6768acf480273f65b",
}
CIFAR10_FILES = tuple(
    DataFile(name, (10_000, 1 + 3072), f"sha256:{digest}", CIFAR10_PACKAGE) for name, digest in CIFAR10_SHA256.items()
)
# We know of no published checksum of the unpacked files: their size and labels are checked.
CIFAR100_PACKAGE = Package("cifar-100-binary.tar.gz", "md5:03b5dce01913d631647c71ecec9e9cb8")
CIFAR100_FILES = (
    DataFile("train.bin", (50_000, 2 + 3072), None, CIFAR100_PACKAGE),
    DataFile("test.bin", (10_000, 2 + 3072), None, CIFAR100_PACKAGE),
)
CIFAR_MIRRORS = ("https://www.cs.toronto.edu/~kriz/",)

# We know of no published checksum: these are of the file in its author's repository.
SHAKESPEARE_FILES = (
    DataFile(
        "input.txt", (1_115_394,), "sha256:86c4e6aa9db7c042ec79f339dcb96d42b0075e16b8fc2e86bf0ca57e2dc565ed",
        Package("input.txt", "md5:6fb458f1232090904fb40fe944165e91"),
    ),
)  # fmt: skip
SHAKESPEARE_MIRRORS = ("https://raw.githubusercontent.com/karpathy/char-rnn/master/data/tinyshakespeare/",)

MNIST_SAMPLES = (50_000, 10_000, 10_000)
CIFAR_SAMPLES = (45_000, 5_000, 10_000)

DATASETS = {
    "digits": Dataset("scikit-learn's digits", (1, 10, 10), 10, (1149, 288, 360), 16, read_digits),
    "mnist": Dataset(
        "MNIST", (1, 28, 28), 10, MNIST_SAMPLES, 255, idx.read, "MNIST/raw", MNIST_FILES, MNIST_MIRRORS
    ),
    "fashion": Dataset(
        "Fashion-MNIST", (1, 28, 28), 10, MNIST_SAMPLES, 255, idx.read, "FashionMNIST/raw", FASHION_FILES,
        FASHION_MIRRORS,
    ),
    "cifar10": Dataset(
        "CIFAR-10", (3, 32, 32), 10, CIFAR_SAMPLES, 255, cifar.read, "cifar-10-batches-bin", CIFAR10_FILES,
        CIFAR_MIRRORS,
    ),
    "cifar100": Dataset(
        "CIFAR-100", (3, 32, 32), 100, CIFAR_SAMPLES, 255, cifar.read, "cifar-100-binary", CIFAR100_FILES,
        CIFAR_MIRRORS,
    ),
    "shakespeare": Dataset(
        "tiny Shakespeare", (64,), 65, (15_685, 871, 871), None, text.read, "tinyshakespeare", SHAKESPEARE_FILES,
        SHAKESPEARE_MIRRORS,
    ),
}  # fmt: skip
