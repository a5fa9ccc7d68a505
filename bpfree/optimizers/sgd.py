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
from bpfree.optimizers.base import ForeachOptimizer, LearningRate, OptimizerEntry, WeightDecay


class Hyperparameters(HyperparameterSet):
    """η, μ and λ."""

    learning_rate: LearningRate = 1e-2
    momentum: Annotated[float, Field(ge=0, lt=1), Uniform(0.8, 0.99)] = 0.9
    weight_decay: WeightDecay = 1e-5


class SGD(ForeachOptimizer):
    """`group["lr"]` is η. One tensor of the parameters' size: m. By torch's fused kernel."""

    separable = True

    def __init__(self, parameters: Iterable[Tensor], h: Hyperparameters) -> None:
        super().__init__(parameters, h, lr=h.learning_rate)

    def update(self, theta: list[Tensor], g: list[Tensor]) -> None:
        """One step; the first one's m is g + λ θ, since m begins at 0."""
        h, eta = self.h, self.group["lr"]
        torch._fused_sgd_(
            theta, g, self.copies(theta, "m") if h.momentum else [], lr=eta.float() if isinstance(eta, Tensor) else eta,
            momentum=h.momentum, weight_decay=h.weight_decay,
            dampening=0.0, nesterov=False, maximize=False, is_first_step=False,
        )  # fmt: skip


SGD_ENTRY = OptimizerEntry("sgd", "Polyak 1964, Some methods of speeding up the convergence", Hyperparameters, SGD)
