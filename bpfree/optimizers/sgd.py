"""Stochastic gradient descent with momentum (Polyak, 1964).

m ← μ m + (g + λ θ)
θ ← θ − η m
"""

from collections.abc import Iterable
from typing import Annotated

import torch
from pydantic import Field
from torch import Tensor

from bpfree.hyperparameters import HyperparameterSet, Uniform
from bpfree.optimizers.base import LearningRate, OptimizerEntry, WeightDecay


class Hyperparameters(HyperparameterSet):
    """η, μ and λ."""

    learning_rate: LearningRate = 1e-2
    momentum: Annotated[float, Field(ge=0, lt=1), Uniform(0.8, 0.99)] = 0.9
    weight_decay: WeightDecay = 1e-5


def build(parameters: Iterable[Tensor], h: Hyperparameters) -> torch.optim.SGD:
    """torch's, with its fused kernel."""
    return torch.optim.SGD(parameters, lr=h.learning_rate, momentum=h.momentum, weight_decay=h.weight_decay, fused=True)


SGD = OptimizerEntry("sgd", "Polyak 1964, Some methods of speeding up the convergence", Hyperparameters, build)
