"""Passes over data: batches in random order, evaluation, and the outputs of finished blocks where they are kept."""

import os
from collections.abc import Callable, Iterator
from dataclasses import replace

import torch
from torch import Tensor

from bpfree.algorithms import Algorithm
from bpfree.workloads import Data, Split, Workload

EVALUATION_BATCH = 1000

Batch = tuple[Tensor, Tensor]
"""Inputs and targets of a step."""


def batches(data: Split, size: int, generator: torch.Generator) -> Iterator[Batch]:
    """One epoch in a new random order, drawn where data and generator are.

    The last, partial batch is left out: every step has the same shape.
    """
    n = len(data)
    order = torch.randperm(n, generator=generator, device=generator.device)
    for start in range(0, n - n % size, size):
        index = order[start : start + size]
        yield data.inputs[index], data.targets[index]


def endless(data: Split, size: int, generator: torch.Generator) -> Iterator[Batch]:
    """Epoch after epoch; an order is drawn when its first batch is asked for."""
    while True:
        yield from batches(data, size, generator)


@torch.no_grad()
def evaluate(algorithm: Algorithm, workload: Workload, data: Split) -> tuple[float, float]:
    """Metric and loss over a split, in evaluation mode; read from the device once."""

    def of_batch(inputs: Tensor, targets: Tensor) -> list[Tensor]:
        scores = algorithm.predict(inputs)
        return [workload.metric.of(scores, targets), workload.loss(scores, targets)]

    metric, loss = means(algorithm, data, of_batch)
    return metric, loss


@torch.no_grad()
def evaluate_blocks(algorithm: Algorithm, workload: Workload, data: Split) -> list[float]:
    """Metric over a split by each block's own prediction, where blocks make one."""

    def of_batch(inputs: Tensor, targets: Tensor) -> list[Tensor]:
        return [workload.metric.of(scores, targets) for scores in algorithm.block_scores(inputs)]

    return means(algorithm, data, of_batch)


def means(algorithm: Algorithm, data: Split, of_batch: Callable[[Tensor, Tensor], list[Tensor]]) -> list[float]:
    """Over a split, of the figures of each large batch; in evaluation mode, read from the device once."""
    algorithm.evaluation_mode()
    parts = []
    for start in range(0, len(data), EVALUATION_BATCH):
        targets = data.targets[start : start + EVALUATION_BATCH]
        if values := of_batch(data.inputs[start : start + EVALUATION_BATCH], targets):
            parts.append(torch.stack(values).double() * len(targets))
    algorithm.training_mode()
    found: list[float] = (sum(parts[1:], parts[0]) / len(data)).tolist() if parts else []
    return found


@torch.no_grad()
def keeps(algorithm: Algorithm, workload: Workload, inputs: Tensor, samples: int) -> bool:
    """Whether the outputs of finished blocks for so many samples like these are to be kept.

    They are where the algorithm asks for it and half of the free memory is enough. Where it is not, or the inputs are
    augmented anew in every epoch, steps go on computing them.
    """
    if workload.augment or not algorithm.caches:
        return False
    return algorithm.prefix(inputs[:1]).nbytes * samples <= free_bytes(inputs.device) / 2


@torch.no_grad()
def carried(algorithm: Algorithm, data: Data) -> Data:
    """The training set as the first block in training sees it, which steps then enter at that block."""
    inputs, size = data.train.inputs, EVALUATION_BATCH
    parts = [algorithm.prefix(inputs[start : start + size]) for start in range(0, len(inputs), size)]
    algorithm.entry = algorithm.stage.blocks.start
    return replace(data, train=Split(torch.cat(parts), data.train.targets))


def free_bytes(device: torch.device) -> int:
    """Memory that a tensor on this device may still take."""
    if device.type == "cuda":
        return int(torch.cuda.mem_get_info(device)[0])
    return os.sysconf("SC_AVPHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
