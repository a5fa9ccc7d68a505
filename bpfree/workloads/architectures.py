"""Kinds of networks: how each is built for a dataset and how it sees the inputs. One table."""

import math
from collections.abc import Callable
from dataclasses import dataclass

from torch import Tensor

from bpfree.workloads.files import Dataset
from bpfree.workloads.networks import Network, cnn, mlp
from bpfree.workloads.sequences import recurrent, transformer


@dataclass(frozen=True)
class Architecture:
    """A kind of network."""

    layers: str
    """What it consists of, in words that its widths follow."""
    build: Callable[[Dataset, tuple[int, ...]], Network]
    """From a dataset's row and the widths, freshly initialised."""
    view: Callable[[Tensor], Tensor]
    """The inputs as the first block takes them."""
    reconstructs: bool = False
    """Whether its targets are its inputs, in the place of labels."""


def flat(images_BCHW: Tensor) -> Tensor:
    """An image as one row of pixels."""
    return images_BCHW.flatten(1)


def rows(images_BCHW: Tensor) -> Tensor:
    """An image as a sequence of its rows."""
    return images_BCHW.flatten(1, 2)


def unchanged(inputs: Tensor) -> Tensor:
    """As they are."""
    return inputs


def pixels(source: Dataset) -> int:
    """Values of an image."""
    return math.prod(source.shape)


ARCHITECTURES: dict[str, Architecture] = {
    "mlp": Architecture("dense layers of", lambda source, widths: mlp(pixels(source), widths, source.classes), flat),
    "cnn": Architecture(
        "convolutional blocks of",
        lambda source, widths: cnn(source.shape[0], source.shape[1], widths, source.classes), unchanged,
    ),
    "autoencoder": Architecture(
        "autoencoder with dense layers of",
        lambda source, widths: mlp(pixels(source), widths, pixels(source)), flat, reconstructs=True,
    ),
    "transformer": Architecture(
        "transformer layers of",
        lambda source, widths: transformer(source.classes, source.shape[0], widths), unchanged,
    ),
    "recurrent": Architecture(
        "row by row, gated recurrent unit of",
        lambda source, widths: recurrent(source.shape[2], widths, source.classes), rows,
    ),
}  # fmt: skip
