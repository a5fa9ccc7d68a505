"""D-Adapt AdamW (Defazio and Mishchenko, Learning-Rate-Free Learning by D-Adaptation, arXiv 2301.07733, third version).

A lower bound d on the distance from the first weights to the solution is the learning rate.

    η = d γ b                        b = 1, or √(1 − β₂ᵗ) / (1 − β₁ᵗ) with `bias_correction`
    a = η ⟨g, s / (√v + ε)⟩          with s and v of before the step
    m ← β₁ m + (1 − β₁) η g          v ← β₂ v + (1 − β₂) g²
    s ← √β₂ s + (1 − √β₂) η g        q ← √β₂ q + (1 − √β₂) a
    d̂ = q / ((1 − √β₂) ‖s‖₁)         d ← max(d, min(d̂, growth · d))
    x ← (1 − λ η) x − m / (√v + ε)

⟨·,·⟩ and ‖·‖₁ are over all parameters. γ is `group["lr"]`, 1 unless a schedule shapes it. d never shrinks: an early
overestimate is for good. While d is at its first value, hardly any weight decays.

Defaults: those of the authors' package `dadaptation` 3.2, but for two. Weight decay is decoupled here, as the W says:
there only on request, and λ is 0. The correction of the bias is off there and so here; it is tuned, since much hangs
on it. Where it matters little, this differs: the package takes no step while all gradients so far are 0 (here t counts
on), and with γ = 0 it keeps m and goes on stepping by it (here m fades).

Three tensors of the parameters' size: m, v and s.
"""

import math
from collections.abc import Iterable
from typing import Annotated

import torch
from pydantic import Field
from torch import Tensor

from bpfree.hyperparameters import Choice, HyperparameterSet, LogUniform
from bpfree.optimizers.base import (
    LEAST_DECAY,
    Beta1,
    Beta2,
    Epsilon,
    ForeachOptimizer,
    OptimizerEntry,
    WeightDecay,
    inner,
    norm,
    scale_,
    scaled,
)

InitialEstimate = Annotated[float, Field(gt=0, le=1), LogUniform(1e-7, 1e-3)]
BiasCorrection = Annotated[bool, Choice((False, True))]
Growth = Annotated[float, Field(gt=1)] | None
"""The most that d may grow by in a step; None is no limit."""


class Hyperparameters(HyperparameterSet):
    """d at first, λ, β₁, β₂, ε, whether the bias is corrected, and the growth."""

    initial_estimate: InitialEstimate = 1e-6
    weight_decay: WeightDecay = LEAST_DECAY
    beta1: Beta1 = 0.9
    beta2: Beta2 = 0.999
    epsilon: Epsilon = 1e-8
    bias_correction: BiasCorrection = False
    growth: Growth = None


class DAdaptAdamW(ForeachOptimizer):
    """`group["d"]` is the estimate."""

    def __init__(self, parameters: Iterable[Tensor], h: Hyperparameters) -> None:
        super().__init__(parameters, h, lr=1.0, t=0.0, d=h.initial_estimate, q=0.0)

    def update(self, x: list[Tensor], g: list[Tensor]) -> None:
        """One step."""
        h, t, d, q = self.h, self.group["t"], self.group["d"], self.group["q"]
        m, v, s = self.copies(x, "m"), self.copies(x, "v"), self.copies(x, "s")
        root = math.sqrt(h.beta2)
        t += 1
        eta = d * self.group["lr"]
        if h.bias_correction:
            eta = eta * (1 - h.beta2**t).sqrt() / (1 - h.beta1**t)

        denominator = torch._foreach_sqrt(v)
        torch._foreach_add_(denominator, h.epsilon)
        a = eta * inner(g, torch._foreach_div(s, denominator))
        eta_g = scaled(g, eta)
        torch._foreach_lerp_(m, eta_g, weight=1 - h.beta1)
        torch._foreach_mul_(v, h.beta2)
        torch._foreach_addcmul_(v, g, g, value=1 - h.beta2)
        torch._foreach_lerp_(s, eta_g, weight=1 - root)
        q.lerp_(a, 1 - root)

        estimate = q / ((1 - root) * norm(s, 1))
        if h.growth is not None:
            estimate = torch.minimum(estimate, h.growth * d)
        d.copy_(torch.fmax(d, estimate))  # fmax passes over the NaN of 0 / 0
        denominator = torch._foreach_sqrt(v)
        torch._foreach_add_(denominator, h.epsilon)
        scale_(x, 1 - h.weight_decay * eta)
        torch._foreach_addcdiv_(x, m, denominator, value=-1)


DADAPT_ADAMW = OptimizerEntry("dadapt_adamw", "arXiv 2301.07733", Hyperparameters, DAdaptAdamW)
