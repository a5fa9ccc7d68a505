"""NadamW as AlgoPerf has it (Dahl et al., arXiv 2306.07179): Adam with Nesterov's momentum (Dozat, 2016).

    m ← β₁ m + (1 − β₁) g            v ← β₂ v + (1 − β₂) g²
    m̃ = β₁ m + (1 − β₁) g
    θ ← (1 − η λ) θ − η (m̃ / (1 − β₁ᵗ)) / (√(v / (1 − β₂ᵗ)) + ε)

Not `torch.optim.NAdam`, whose momentum follows a schedule of its own, nor optax's `nadamw`, which corrects the bias of
m by t + 1: the correction here is Adam's. The first step is therefore η (1 + β₁) sign g, larger than Adam's.

Defaults: those of AlgoPerf's code. Two tensors of the parameters' size: m and v.
"""

from collections.abc import Iterable

import torch
from torch import Tensor

from bpfree.hyperparameters import HyperparameterSet
from bpfree.optimizers.base import (
    Beta1,
    Beta2,
    Epsilon,
    ForeachOptimizer,
    LearningRate,
    OptimizerEntry,
    WeightDecay,
    scale_,
)


class Hyperparameters(HyperparameterSet):
    """η, λ, β₁, β₂ and ε."""

    learning_rate: LearningRate = 1e-3
    weight_decay: WeightDecay = 1e-2
    beta1: Beta1 = 0.9
    beta2: Beta2 = 0.999
    epsilon: Epsilon = 1e-8


class NadamW(ForeachOptimizer):
    """The baseline of learning-rate-free methods: `group["lr"]` is η."""

    separable = True

    def __init__(self, parameters: Iterable[Tensor], h: Hyperparameters) -> None:
        super().__init__(parameters, h, lr=h.learning_rate, t=0.0)

    def update(self, theta: list[Tensor], g: list[Tensor]) -> None:
        """One step."""
        h, t, eta = self.h, self.group["t"], self.group["lr"]
        m, v = self.copies(theta, "m"), self.copies(theta, "v")
        t += 1
        torch._foreach_lerp_(m, g, weight=1 - h.beta1)
        torch._foreach_mul_(v, h.beta2)
        torch._foreach_addcmul_(v, g, g, value=1 - h.beta2)
        nesterov = torch._foreach_lerp(m, g, weight=1 - h.beta1)
        scale_(nesterov, -eta / (1 - h.beta1**t))
        denominator = torch._foreach_sqrt(v)
        scale_(denominator, (1 - h.beta2**t).rsqrt())
        torch._foreach_add_(denominator, h.epsilon)
        scale_(theta, 1 - eta * h.weight_decay)
        torch._foreach_addcdiv_(theta, nesterov, denominator)


NADAMW = OptimizerEntry("nadamw", "arXiv 2306.07179 (AlgoPerf), after Dozat 2016", Hyperparameters, NadamW)
