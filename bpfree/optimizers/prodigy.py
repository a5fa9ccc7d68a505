"""Prodigy (Mishchenko and Defazio, Prodigy: An Expeditiously Adaptive Parameter-Free Learner, arXiv 2306.06101).

D-Adaptation with an estimate d of the distance that grows faster. x₀ are the first weights, d₀ the first estimate.

    η = d γ b                        b = 1, or √(1 − β₂ᵗ) / (1 − β₁ᵗ) with `bias_correction`
    a = (d / d₀) η ⟨g, x₀ − x⟩
    m ← β₁ m + (1 − β₁) d g          v ← β₂ v + (1 − β₂) d² g²
    s ← β₃ s + (d / d₀) η g          q ← β₃ q + a               (`safeguard_warmup`: d in the place of η in s)
    d̂ = coefficient · q / ‖s‖₁       if d = d₀: d ← max(d, d̂)
    d_max ← max(d_max, d̂)            d ← min(d_max, growth · d)
    x ← (1 − λ η) x − η m / (√v + d ε)        with the new d in d ε, the old in η

⟨·,·⟩ and ‖·‖₁ are over all parameters. γ is `group["lr"]`, 1 unless a schedule shapes it.

Defaults: those of the authors' package `prodigyopt` 1.1.2, whose λ is 0. They advise to tune the coefficient, if
anything; to raise d₀ to 1e-5 or 1e-4 where d stays tiny; and `safeguard_warmup` with a linear warm-up, for which alone
it is made, so that it has no search range. β₃ is √β₂ unless set. Not built: the package's coupled decay and `slice_p`,
which keeps parts of s and x₀. As D-Adapt AdamW, it counts t on where all gradients so far are 0.

Four tensors of the parameters' size: m, v, s and x₀.
"""

import math
from collections.abc import Iterable
from typing import Annotated

import torch
from pydantic import Field
from torch import Tensor

from bpfree.hyperparameters import HyperparameterSet, LogUniform
from bpfree.optimizers.base import (
    LEAST_DECAY,
    Beta1,
    Beta2,
    Epsilon,
    FixedBeta,
    ForeachOptimizer,
    OptimizerEntry,
    WeightDecay,
    inner,
    norm,
    scale_,
    scaled,
)
from bpfree.optimizers.dadapt import BiasCorrection, Growth, InitialEstimate


class Hyperparameters(HyperparameterSet):
    """d₀, the coefficient, λ, β₁, β₂, β₃, ε, whether the bias is corrected, the safeguard and the growth."""

    initial_estimate: InitialEstimate = 1e-6
    estimate_coefficient: Annotated[float, Field(gt=0, le=1000), LogUniform(0.3, 3)] = 1.0
    weight_decay: WeightDecay = LEAST_DECAY
    beta1: Beta1 = 0.9
    beta2: Beta2 = 0.999
    beta3: FixedBeta | None = None
    epsilon: Epsilon = 1e-8
    bias_correction: BiasCorrection = False
    safeguard_warmup: bool = False
    growth: Growth = None


class Prodigy(ForeachOptimizer):
    """`group["d"]` is the estimate."""

    def __init__(self, parameters: Iterable[Tensor], h: Hyperparameters) -> None:
        super().__init__(parameters, h, lr=1.0, t=0.0, d=h.initial_estimate, d_max=h.initial_estimate, q=0.0)

    def update(self, x: list[Tensor], g: list[Tensor]) -> None:
        """One step."""
        h, t, d, q = self.h, self.group["t"], self.group["d"], self.group["q"]
        m, v, s = self.copies(x, "m"), self.copies(x, "v"), self.copies(x, "s")
        x0 = self.copies(x, "x0", torch.clone)
        beta3 = math.sqrt(h.beta2) if h.beta3 is None else h.beta3
        d0 = h.initial_estimate
        t += 1
        eta = d * self.group["lr"]
        if h.bias_correction:
            eta = eta * (1 - h.beta2**t).sqrt() / (1 - h.beta1**t)

        a = d / d0 * eta * inner(g, torch._foreach_sub(x0, x))
        d_g = scaled(g, d)
        torch._foreach_lerp_(m, d_g, weight=1 - h.beta1)
        torch._foreach_mul_(v, h.beta2)
        torch._foreach_addcmul_(v, d_g, d_g, value=1 - h.beta2)
        torch._foreach_mul_(s, beta3)
        torch._foreach_add_(s, scaled(g, d / d0 * (d if h.safeguard_warmup else eta)))
        q.mul_(beta3).add_(a)
        self.estimate(h.estimate_coefficient * q / norm(s, 1))

        denominator = torch._foreach_sqrt(v)
        torch._foreach_add_(denominator, (d * h.epsilon).to(x[0].dtype), alpha=1)  # without alpha it is read back
        scale_(x, 1 - h.weight_decay * eta)
        torch._foreach_addcdiv_(x, scaled(m, -eta), denominator)

    def estimate(self, found: Tensor) -> None:
        """The new d from d̂; fmax passes over the NaN of 0 / 0."""
        d, d_max = self.group["d"], self.group["d_max"]
        d_max.copy_(torch.fmax(d_max, found))
        if self.h.growth is None:
            d.copy_(d_max)
            return
        first = torch.where(d == self.h.initial_estimate, torch.fmax(d, found), d)
        d.copy_(torch.minimum(d_max, self.h.growth * first))


PRODIGY = OptimizerEntry("prodigy", "arXiv 2306.06101", Hyperparameters, Prodigy)
