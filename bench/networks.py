"""Networks, data and training steps for the benchmarks: random data of a chosen size, so that no file is needed."""

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from bpfree import algorithms, assembly, optimizers, passes
from bpfree.algorithms import Algorithm
from bpfree.execution import mode_of, step_of
from bpfree.records import Execution
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
INPUTS, CLASSES, WIDTHS = 784, 10, (1000,) * 3


def split(samples: int, device: str, inputs: int = INPUTS, classes: int = CLASSES) -> Split:
    """Random images and labels."""
    draw = torch.Generator().manual_seed(0)
    images, labels = torch.rand(samples, inputs, generator=draw), torch.randint(classes, (samples,), generator=draw)
    return Split(images.to(device), labels.to(device))


def method(name: str, device: str, widths: tuple[int, ...] = WIDTHS, classes: int = CLASSES) -> Algorithm:
    """A method of the table on a fresh network, its first stage begun."""
    algorithm, values = METHODS[name]
    built = build(algorithm, values, device, widths, classes)
    built.begin(built.stages()[0])
    return built


def build(
    algorithm: str, values: dict[str, Any], device: str, widths: tuple[int, ...] = WIDTHS, classes: int = CLASSES
) -> Algorithm:
    """An algorithm on a fresh network, with AdamW."""
    torch.manual_seed(0)
    network, kind, entry = mlp(INPUTS, widths, classes), algorithms.find(algorithm), optimizers.find("adamw")
    return kind(
        [block.to(device) for block in network.blocks],
        network.head.to(device),
        kind.Hyperparameters(**values),
        lambda parameters, **overrides: entry.build(parameters, entry.hyperparameters().model_copy(update=overrides)),
        assembly.stream(0, "algorithm", device),
    )


def epoch(algorithm: Algorithm, data: Split, batch: int, level: Execution = "eager") -> Callable[[], Tensor]:
    """One pass over the data as the trainer makes it: a new order, batches, steps, the loss added up."""
    order, launch = assembly.stream(0, "order", data.targets.device), step_of(algorithm, level)

    def run() -> Tensor:
        with mode_of(algorithm, level):
            loss = torch.zeros((), device=data.targets.device)
            for inputs, targets in passes.batches(data, batch, order):
                loss += launch(inputs, targets)
        return loss

    return run


def flops_of_step(algorithm: Algorithm, data: Split, batch: int) -> int:
    """Of one step, as torch counts them."""
    return flops_of(lambda: algorithm.step(data.inputs[:batch], data.targets[:batch]))


def autograd_epoch(data: Split, batch: int, widths: tuple[int, ...] = WIDTHS) -> Callable[[], Tensor]:
    """A plain loop as a tutorial has it: modules, loss.backward(), torch's fused AdamW."""
    torch.manual_seed(0)
    sizes = (data.inputs.shape[1], *widths)
    layers = [layer for pair in zip(sizes, widths, strict=False) for layer in (nn.Linear(*pair), nn.ReLU())]
    network = nn.Sequential(*layers, nn.Linear(widths[-1], CLASSES)).to(data.inputs.device)
    optimizer = torch.optim.AdamW(network.parameters(), fused=True)
    order = assembly.stream(0, "order", data.targets.device)

    def run() -> Tensor:
        total = torch.zeros((), device=data.targets.device)
        permutation = torch.randperm(len(data), generator=order, device=order.device)
        for index in torch.split(permutation, batch):
            loss = F.cross_entropy(network(data.inputs[index]), data.targets[index])
            optimizer.zero_grad()
            torch.autograd.backward(loss)
            optimizer.step()
            total += loss.detach()
        return total

    return run
