"""Flips and crops against padding, slicing and flipping one way at a time."""

from itertools import product

import pytest
import torch
from torch import Tensor
from torch.nn import functional as F

from bpfree import workloads
from bpfree.workloads.augmentation import flip_and_crop

OFFSETS, FLIPS = range(9), (False, True)
WAYS = list(product(OFFSETS, OFFSETS, FLIPS))


def seeded(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def images(samples: int, *shape: int, dtype: torch.dtype = torch.float32) -> Tensor:
    return torch.randint(256, (samples, *shape), generator=seeded(1)).to(dtype)


def one_way(image: Tensor, top: int, left: int, flip: bool) -> Tensor:
    _, height, width = image.shape
    cropped = F.pad(image, (4, 4, 4, 4), mode="reflect")[:, top : top + height, left : left + width]
    return cropped.flip(2) if flip else cropped


def ways_of(inputs: Tensor, outputs: Tensor) -> list[tuple[int, int, bool]]:
    """In which way each output was made from the input at its place; of 10 pixels and more, exactly one must fit."""
    found = []
    for image, output in zip(inputs, outputs, strict=True):
        fitting = [way for way in WAYS if torch.equal(one_way(image, *way), output)]
        assert len(fitting) == 1
        found += fitting
    return found


@pytest.mark.parametrize("shape", [(3, 32, 32), (1, 10, 10), (2, 11, 16)])
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64, torch.uint8])
def test_each_image_is_one_crop_of_itself(shape: tuple[int, ...], dtype: torch.dtype) -> None:
    inputs = images(16, *shape, dtype=dtype)
    before = inputs.clone()
    outputs = flip_and_crop(inputs, seeded())
    assert (outputs.shape, outputs.dtype) == (inputs.shape, dtype)
    assert len(set(ways_of(inputs, outputs))) > 8, "samples differ in how they are cropped"
    assert torch.equal(inputs, before)


def test_the_smallest_images_that_reflection_can_pad() -> None:
    inputs = images(16, 1, 5, 5)
    for image, output in zip(inputs, flip_and_crop(inputs, seeded()), strict=True):
        assert any(torch.equal(one_way(image, *way), output) for way in WAYS)


def test_every_offset_and_flip_occurs_about_equally_often() -> None:
    samples = 900
    inputs = images(samples, 1, 10, 11)
    tops, lefts, flips = zip(*ways_of(inputs, flip_and_crop(inputs, seeded())), strict=True)
    for drawn, choices in ((tops, OFFSETS), (lefts, OFFSETS), (flips, FLIPS)):
        expected = samples / len(choices)
        # Five standard deviations of a binomial count
        bound = 5 * (expected * (1 - 1 / len(choices))) ** 0.5
        assert all(abs(drawn.count(choice) - expected) < bound for choice in choices)
    for one, other in ((tops, lefts), (tops, flips), (lefts, flips)):
        pairs = torch.tensor([one, other], dtype=torch.float64)
        assert abs(torch.corrcoef(pairs)[0, 1]) < 5 / samples**0.5, "they are drawn apart"


def test_a_generators_state_decides_and_advances() -> None:
    inputs, generator = images(16, 3, 8, 8), seeded()
    first, second = flip_and_crop(inputs, generator), flip_and_crop(inputs, generator)
    again = seeded()
    torch.rand(5)  # the global generator has no part
    assert torch.equal(flip_and_crop(inputs, again), first)
    assert torch.equal(flip_and_crop(inputs, again), second)
    assert not torch.equal(first, second)


def test_it_stays_on_the_images_device() -> None:
    outputs = flip_and_crop(torch.empty((4, 3, 8, 8), device="meta"), seeded())
    assert (outputs.device.type, outputs.shape) == ("meta", (4, 3, 8, 8))


# In workloads


@pytest.mark.parametrize("name", ["cifar10-mlp", "cifar100-cnn"])
def test_workloads_augment_flat_and_square_batches(name: str) -> None:
    workload, inputs = workloads.find(name), images(8, 3, 32, 32)
    batch = inputs.flatten(1) if workload.architecture == "mlp" else inputs
    outputs = workload.transform(batch, seeded())
    assert outputs.shape == batch.shape
    assert torch.equal(outputs.view_as(inputs), flip_and_crop(inputs, seeded()))


def test_others_leave_batch_and_generator_alone() -> None:
    batch, generator = images(8, 784), seeded()
    before = generator.get_state()
    assert workloads.find("fashion-mlp").transform(batch, generator) is batch
    assert torch.equal(generator.get_state(), before)


def test_cifar_is_augmented_and_nothing_else() -> None:
    assert {row.dataset for row in workloads.WORKLOADS.values()} > {"cifar10", "cifar100"}
    assert all(row.augment == row.dataset.startswith("cifar") for row in workloads.WORKLOADS.values())
