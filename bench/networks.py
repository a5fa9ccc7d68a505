"""Networks, data and training steps for the benchmarks: random data of a chosen size, so that no file is needed."""

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from bpfree import algorithms, assembly, optimizers, passes
from bpfree.algorithms import Algorithm
from bpfree.trainer import flops_of
from bpfree.workloads import Split
from bpfree.workloads.networks import mlp

METHODS: dict[str, tuple[str, dict[str, Any]]] = {
    "backprop": ("backprop", {}),
    "mono_forward": ("mono_forward", {}),
    "forward_forward": ("forward_forward", {}),
    "forward_forward, read-out": ("forward_forward", {"prediction": "readout"}),
    "cascaded_forward": ("cascaded_forward", {"schedule": "simultaneous"}),
    "deep_supervision": ("deep_supervision", {}),
}
INPUTS, CLASSES = 784, 10


def split(samples: int, device: str, inputs: int = INPUTS, classes: int = CLASSES) -> Split:
    """Random images and labels."""
    draw = torch.Generator().manual_seed(0)
    images, labels = torch.rand(samples, inputs, generator=draw), torch.randint(classes, (samples,), generator=draw)
    return Split(images.to(device), labels.to(device))


def method(
    name: str, device: str, widths: tuple[int, ...] = (1000,) * 3, classes: int = CLASSES, optimizer: str = "adamw"
) -> Algorithm:
    """A method of the table on a fresh network, its first stage begun."""
    algorithm, values = METHODS[name]
    torch.manual_seed(0)
    network, kind, entry = mlp(INPUTS, widths, classes), algorithms.find(algorithm), optimizers.find(optimizer)
    built = kind(
        [block.to(device) for block in network.blocks],
        network.head.to(device),
        kind.Hyperparameters(**values),
        lambda parameters, **overrides: entry.build(parameters, entry.hyperparameters().model_copy(update=overrides)),
        assembly.stream(0, "algorithm", device),
    )
    built.begin(built.stages()[0])
    return built


def epoch(algorithm: Algorithm, data: Split, batch: int) -> Callable[[], Tensor]:
    """One pass over the data as the trainer makes it: a new order, batches, steps, the loss added up."""
    order = assembly.stream(0, "order")

    def run() -> Tensor:
        loss = torch.zeros((), device=data.targets.device)
        for inputs, targets in passes.batches(data, batch, order):
            loss += algorithm.step(inputs, targets)
        return loss

    return run


def flops_of_step(algorithm: Algorithm, data: Split, batch: int) -> int:
    """Of one step, as torch counts them."""
    return flops_of(lambda: algorithm.step(data.inputs[:batch], data.targets[:batch]))


def autograd_epoch(data: Split, batch: int, widths: tuple[int, ...]) -> Callable[[], object]:
    """A plain loop as a tutorial has it: modules, loss.backward(), torch's fused AdamW."""
    torch.manual_seed(0)
    sizes = (data.inputs.shape[1], *widths)
    layers = [layer for pair in zip(sizes, widths, strict=False) for layer in (nn.Linear(*pair), nn.ReLU())]
    network = nn.Sequential(*layers, nn.Linear(widths[-1], CLASSES)).to(data.inputs.device)
    optimizer = torch.optim.AdamW(network.parameters(), fused=True)
    order = assembly.stream(0, "order")

    def run() -> Tensor:
        total = torch.zeros((), device=data.targets.device)
        permutation = torch.randperm(len(data), generator=order).to(data.targets.device)
        for index in permutation.split(batch):
            loss = F.cross_entropy(network(data.inputs[index]), data.targets[index])
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            total += loss.detach()
        return total

    return run
