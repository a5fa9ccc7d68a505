"""Adam (Kingma and Ba, arXiv 1412.6980) and AdamW (Loshchilov and Hutter, arXiv 1711.05101).

    m ← β₁ m + (1 − β₁) g            v ← β₂ v + (1 − β₂) g²
    θ ← θ − η m̂ / (√v̂ + ε)           m̂ = m / (1 − β₁ᵗ), v̂ = v / (1 − β₂ᵗ)

Adam adds λ θ to g; AdamW takes η λ θ off θ itself. One call of torch's fused kernel does it all; `torch.optim.AdamW`
calls the same one, but takes longer to get there, which shows in small networks.
"""

from collections.abc import Callable, Iterable
from typing import Annotated, Any

import torch
from pydantic import Field
from torch import Tensor

from bpfree.hyperparameters import HyperparameterSet
from bpfree.optimizers.base import ForeachOptimizer, LearningRate, OptimizerEntry, WeightDecay


class Hyperparameters(HyperparameterSet):
    """η, λ, β₁, β₂ and ε; the last three at the papers' values and not tuned."""

    learning_rate: LearningRate = 1e-3
    weight_decay: WeightDecay = 1e-5
    beta1: Annotated[float, Field(ge=0, lt=1)] = 0.9
    beta2: Annotated[float, Field(ge=0, lt=1)] = 0.999
    epsilon: Annotated[float, Field(gt=0, le=1)] = 1e-8


class Adam(ForeachOptimizer):
    """`group["lr"]` is η. Two tensors of the parameters' size: m and v."""

    separable = True
    kernel: Callable[..., Any] = torch._fused_adam_

    def __init__(self, parameters: Iterable[Tensor], h: Hyperparameters) -> None:
        super().__init__(parameters, h, lr=h.learning_rate)
        device = self.group["params"][0].device
        self.group["t"] = torch.zeros((), device=device)  # the kernel wants float32, which counts up to 2²⁴

    def update(self, theta: list[Tensor], g: list[Tensor]) -> None:
        """One step."""
        h, t, eta = self.h, self.group["t"], self.group["lr"]
        t += 1
        type(self).kernel(
            theta, g, self.copies(theta, "m"), self.copies(theta, "v"), [], [t] * len(theta),
            lr=eta.float() if isinstance(eta, Tensor) else eta, beta1=h.beta1, beta2=h.beta2,
            weight_decay=h.weight_decay, eps=h.epsilon, amsgrad=False, maximize=False,
        )  # fmt: skip


class AdamW(Adam):
    """As Adam, with decoupled weight decay."""

    kernel = torch._fused_adamw_


ADAM = OptimizerEntry("adam", "arXiv 1412.6980", Hyperparameters, Adam)
ADAMW = OptimizerEntry("adamw", "arXiv 1711.05101", Hyperparameters, AdamW)
