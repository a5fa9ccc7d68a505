"""Adam (Kingma and Ba, arXiv 1412.6980) and AdamW (Loshchilov and Hutter, arXiv 1711.05101).

    m ← β₁ m + (1 − β₁) g            v ← β₂ v + (1 − β₂) g²
    θ ← θ − η m̂ / (√v̂ + ε)           m̂ = m / (1 − β₁ᵗ), v̂ = v / (1 − β₂ᵗ)

Adam adds λ θ to g; AdamW takes η λ θ off θ itself.
"""

from collections.abc import Iterable
from typing import Annotated

import torch
from pydantic import Field
from torch import Tensor

from bpfree.hyperparameters import HyperparameterSet
from bpfree.optimizers.base import LearningRate, OptimizerEntry, WeightDecay


class Hyperparameters(HyperparameterSet):
    """η, λ, β₁, β₂ and ε; the last three at the papers' values and not tuned."""

    learning_rate: LearningRate = 1e-3
    weight_decay: WeightDecay = 1e-5
    beta1: Annotated[float, Field(ge=0, lt=1)] = 0.9
    beta2: Annotated[float, Field(ge=0, lt=1)] = 0.999
    epsilon: Annotated[float, Field(gt=0, le=1)] = 1e-8


def build_adam(parameters: Iterable[Tensor], h: Hyperparameters) -> torch.optim.Adam:
    """torch's Adam, with its fused kernel."""
    return torch.optim.Adam(
        parameters, lr=h.learning_rate, betas=(h.beta1, h.beta2), eps=h.epsilon, weight_decay=h.weight_decay, fused=True
    )


def build_adamw(parameters: Iterable[Tensor], h: Hyperparameters) -> torch.optim.AdamW:
    """torch's AdamW, with its fused kernel."""
    return torch.optim.AdamW(
        parameters, lr=h.learning_rate, betas=(h.beta1, h.beta2), eps=h.epsilon, weight_decay=h.weight_decay, fused=True
    )


ADAM = OptimizerEntry("adam", "arXiv 1412.6980", Hyperparameters, build_adam)
ADAMW = OptimizerEntry("adamw", "arXiv 1711.05101", Hyperparameters, build_adamw)
