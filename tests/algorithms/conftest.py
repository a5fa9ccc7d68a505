"""Algorithms on tiny networks in float64."""

from collections.abc import Callable, Iterable
from typing import Any

import pytest
import torch
from torch import Tensor

from bpfree.algorithms import ALGORITHMS, Algorithm
from bpfree.workloads.networks import Network, cnn, mlp

CLASSES = 3


class Frozen(torch.optim.Optimizer):
    """Keeps gradients and changes nothing, so that a step can be compared with a loss at the same weights."""

    def __init__(self, parameters: Iterable[Tensor], **_: Any) -> None:
        super().__init__(list(parameters), {})
        self.steps = 0

    def step(self, closure: Any = None) -> None:  # type: ignore[override]
        self.steps += 1


def network(architecture: str, inputs: int) -> Network:
    torch.manual_seed(0)
    net = mlp(inputs, (7, 6, 5), CLASSES) if architecture == "mlp" else cnn(2, 8, (4, 3), CLASSES)
    for module in (*net.blocks, net.head):
        module.double()
        with torch.no_grad():
            for parameter in module.parameters():
                parameter += 0.1 * torch.randn_like(parameter)  # biases too are in play
    return net


@pytest.fixture
def make() -> Callable[..., Algorithm]:
    def build(
        name: str, architecture: str = "mlp", optimizer: Any = Frozen, inputs: int = 12, **values: Any
    ) -> Algorithm:
        net, cls = network(architecture, inputs), ALGORITHMS[name]
        generator = torch.Generator().manual_seed(1)
        algorithm = cls(net.blocks, net.head, cls.Hyperparameters(**values), optimizer, generator)
        for stage in algorithm.stages():
            for module in stage.modules:
                module.double()
        return algorithm

    return build


@pytest.fixture
def batch() -> Callable[..., tuple[Tensor, Tensor]]:
    def draw(architecture: str, inputs: int = 12) -> tuple[Tensor, Tensor]:
        generator = torch.Generator().manual_seed(2)
        shape = (9, inputs) if architecture == "mlp" else (9, 2, 8, 8)
        labels = torch.randint(CLASSES, (9,), generator=generator)
        return torch.rand(shape, generator=generator, dtype=torch.float64), labels

    return draw
