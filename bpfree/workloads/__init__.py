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
from bpfree.workloads import data
from bpfree.workloads.architectures import ARCHITECTURES
from bpfree.workloads.augmentation import flip_and_crop
from bpfree.workloads.files import Dataset
from bpfree.workloads.metrics import (
    ACCURACY,
    BITS_PER_CHARACTER,
    SQUARED_ERROR,
    Metric,
    next_character_loss,
    squared_error,
)
from bpfree.workloads.networks import Network


@dataclass(frozen=True)
class Split:
    """Inputs (n, …) as the network takes them, images float32 in 0-1 and symbols integers; and targets (n, …)."""

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
class Workload:
    """A named task: a dataset, a network, a metric and a loss."""

    name: str
    dataset: str
    architecture: Literal["mlp", "cnn", "autoencoder", "transformer", "recurrent"]
    widths: tuple[int, ...]
    """Units of each dense, transformer or recurrent block, or channels of each convolutional one."""
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
        augmented = ", flipped and cropped at random" if self.augment else ""
        layers = ARCHITECTURES[self.architecture].layers
        return f"{self.source.name}, {layers} {', '.join(map(str, self.widths))}{augmented}"

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
        kind, white = ARCHITECTURES[self.architecture], self.source.white

        def split(inputs: NDArray[Any], targets: NDArray[Any]) -> Split:
            raw = torch.tensor(inputs).to(device)
            seen = kind.view(raw.float() / white if white else raw.long())
            return Split(seen, seen if kind.reconstructs else torch.tensor(targets).to(device))

        train = self.source.samples[0]
        return Data(
            train=split(arrays.train_inputs[:train], arrays.train_targets[:train]),
            validation=split(arrays.train_inputs[train:], arrays.train_targets[train:]),
            test=split(arrays.test_inputs, arrays.test_targets),
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
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(seed)
            return ARCHITECTURES[self.architecture].build(self.source, self.widths)


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
        Workload("fashion-mlp-small", "fashion", "mlp", (256, 128)),
        Workload("fashion-cnn-small", "fashion", "cnn", (16, 32)),
        Workload("digits-cnn", "digits", "cnn", (16, 32)),
        Workload("digits-recurrent", "digits", "recurrent", (64,)),
        Workload("digits-autoencoder", "digits", "autoencoder", (64, 16, 64), SQUARED_ERROR, squared_error),
        Workload("fashion-autoencoder", "fashion", "autoencoder", (128, 32, 128), SQUARED_ERROR, squared_error),
        Workload(
            "shakespeare-transformer", "shakespeare", "transformer", (64, 64), BITS_PER_CHARACTER, next_character_loss
        ),
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


__all__ = ["ACCURACY", "ARCHITECTURES", "Data", "Metric", "Split", "Target", "WORKLOADS", "Workload", "find"]
