"""Workloads: a dataset with its splits, a network, a loss, a metric and a target. One table.

A new workload is one line in `WORKLOADS`. Validation samples are the last ones of the training set, in the files' own
order, the same for every seed.
"""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn import functional as F

from bpfree import errors
from bpfree.targets import TARGETS, Target
from bpfree.workloads import data, networks
from bpfree.workloads.augmentation import flip_and_crop
from bpfree.workloads.files import Dataset
from bpfree.workloads.networks import Network


@dataclass(frozen=True)
class Split:
    """Inputs (n, features) or (n, channels, height, width), float32 in 0-1, and targets (n,), on one device."""

    inputs: Tensor
    targets: Tensor

    def __len__(self) -> int:
        return len(self.targets)


@dataclass(frozen=True)
class Data:
    """The three parts of a dataset. The test set is read once, at the end of a run."""

    train: Split
    validation: Split
    test: Split


@dataclass(frozen=True)
class Metric:
    """What decides when to stop and what is reported: the mean of `of(scores, targets)` over samples."""

    name: str
    higher_is_better: bool
    of: Callable[[Tensor, Tensor], Tensor]

    def better(self, new: float, old: float, by: float = 0.0) -> bool:
        """Whether `new` improves on `old` by more than `by`."""
        return new - old > by if self.higher_is_better else old - new > by

    @property
    def worst(self) -> float:
        """What any value improves on."""
        return float("-inf") if self.higher_is_better else float("inf")


def accuracy(scores_BC: Tensor, labels_B: Tensor) -> Tensor:
    """Share of samples whose highest score is that of their label."""
    return (scores_BC.argmax(1) == labels_B).float().mean()


ACCURACY = Metric("accuracy", higher_is_better=True, of=accuracy)


@dataclass(frozen=True)
class Workload:
    """A named task: a dataset, a network, a metric and a loss."""

    name: str
    dataset: str
    architecture: Literal["mlp", "cnn"]
    widths: tuple[int, ...]
    """Units of each dense block, or channels of each convolutional one."""
    metric: Metric = ACCURACY
    loss: Callable[[Tensor, Tensor], Tensor] = F.cross_entropy
    augment: bool = False
    """Whether training images are flipped and cropped at random, anew in every epoch."""

    @property
    def source(self) -> Dataset:
        """The dataset's row: name, sizes, where it comes from."""
        return data.DATASETS[self.dataset]

    @property
    def description(self) -> str:
        """Dataset and network in a few words."""
        kind = "dense layers" if self.architecture == "mlp" else "convolutional blocks"
        augmented = ", flipped and cropped at random" if self.augment else ""
        return f"{self.source.name}, {kind} of {', '.join(map(str, self.widths))}{augmented}"

    @property
    def target(self) -> Target | None:
        """The validation metric that it is to reach, with its provenance, if one has been derived."""
        return TARGETS.get(self.name)

    def load(self, device: torch.device | str, data_dir: Path | None = None) -> Data:
        """All data, on the device.

        Raises
        ------
        DataError
            A file is absent and cannot be downloaded, or is damaged.
        """
        arrays = data.load(self.dataset, data_dir)
        flat = self.architecture == "mlp"

        def split(images: NDArray[Any], labels: NDArray[Any]) -> Split:
            inputs = torch.tensor(images).to(device).float() / self.source.white
            return Split(inputs.flatten(1) if flat else inputs, torch.tensor(labels).to(device))

        train = self.source.samples[0]
        return Data(
            train=split(arrays.train_images[:train], arrays.train_labels[:train]),
            validation=split(arrays.train_images[train:], arrays.train_labels[train:]),
            test=split(arrays.test_images, arrays.test_labels),
        )

    def transform(self, inputs_B: Tensor, generator: torch.Generator) -> Tensor:
        """A training batch as a step sees it, of the same shape: augmented where this workload says so.

        The generator is on the batch's device; it is left alone where nothing is augmented.
        """
        if not self.augment:
            return inputs_B
        images_BCHW = inputs_B.reshape(-1, *self.source.shape)  # an MLP's are flat
        return flip_and_crop(images_BCHW, generator).reshape(inputs_B.shape)

    def network(self, seed: int) -> Network:
        """A freshly initialised network on the CPU; the same for a seed whatever ran before."""
        channels, height, width = self.source.shape
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(seed)
            if self.architecture == "mlp":
                return networks.mlp(channels * height * width, self.widths, self.source.classes)
            return networks.cnn(channels, height, self.widths, self.source.classes)


# The sizes of the published study (arXiv 2511.01061).
MLP_SIZES = {"2x1000": (1000,) * 2, "3x1000": (1000,) * 3, "3x2000": (2000,) * 3, "4x2000": (2000,) * 4}
# The channels of Cascaded-Forward (arXiv 2303.09728).
CNN_CHANNELS = (32, 128, 512)

WORKLOADS: dict[str, Workload] = {
    row.name: row
    for row in (
        Workload("digits-mlp", "digits", "mlp", (256, 256)),
        Workload("fashion-mlp", "fashion", "mlp", MLP_SIZES["2x1000"]),
        Workload("mnist-mlp", "mnist", "mlp", MLP_SIZES["2x1000"]),
        Workload("fashion-cnn", "fashion", "cnn", CNN_CHANNELS),
        Workload("mnist-cnn", "mnist", "cnn", CNN_CHANNELS),
        *(Workload(f"mnist-mlp-{size}", "mnist", "mlp", widths) for size, widths in MLP_SIZES.items()),
        *(Workload(f"fashion-mlp-{size}", "fashion", "mlp", widths) for size, widths in MLP_SIZES.items()),
        Workload("cifar10-mlp", "cifar10", "mlp", MLP_SIZES["3x2000"], augment=True),
        Workload("cifar10-mlp-3x2000", "cifar10", "mlp", MLP_SIZES["3x2000"], augment=True),
        Workload("cifar10-cnn", "cifar10", "cnn", CNN_CHANNELS, augment=True),
        Workload("cifar100-mlp", "cifar100", "mlp", MLP_SIZES["3x2000"], augment=True),
        Workload("cifar100-mlp-3x2000", "cifar100", "mlp", MLP_SIZES["3x2000"], augment=True),
        Workload("cifar100-cnn", "cifar100", "cnn", CNN_CHANNELS, augment=True),
    )
}


def find(name: str) -> Workload:
    """The workload of that name.

    Raises
    ------
    RequestError
        There is none; the message suggests the nearest.
    """
    return errors.find("workload", name, WORKLOADS)
