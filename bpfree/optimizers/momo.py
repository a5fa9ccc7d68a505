"""MoMo and MoMo-Adam (Schaipp, Ohana, Eickenberg, Defazio and Gower, arXiv 2305.07583).

A step goes to where the average of the loss's linear models meets the loss's lower bound f*, but no further than a cap
allows. f is the loss of the step, g its gradient at x, α the cap.

    f̄ ← β f̄ + (1 − β) f              γ̄ ← β γ̄ + (1 − β) ⟨g, x⟩
    m ← β m + (1 − β) g
    s = 1 + α λ                       n = ⟨m, D⁻¹ m⟩
    h = s (f̄ − γ̄) + ⟨m, x⟩
    τ = min(α / ρ, max(h − s ρ f*, 0) / n)        the quotient is ∞ where m = 0
    x ← (x − τ D⁻¹ m) / s

    MoMo        D = 1, ρ = 1;  f̄, γ̄, m begin at their first values, with `bias_correction` at 0, and then ρ = 1 − βᵗ
    MoMo-Adam   v ← β₂ v + (1 − β₂) g²,  D = √(v / (1 − β₂ᵗ)) + ε;  f̄, γ̄, m begin at 0, ρ = 1 − βᵗ

f* is the given bound b, or with `estimate_lower_bound` learned and never less than b:

    before τ    if h < s ρ f*:  f* ← max(b, h / (2 s ρ))
    after τ     f* ← max(b, (f̄ − γ̄ + ⟨m, x⟩ − τ n / 2) / ρ)

The loss is a tensor on the device. Who calls `step()` sets the attribute `loss` to it before, or passes a closure that
returns it; a local algorithm gives each block's optimizer that block's own. It must be the loss whose gradient g is,
without any other term. A step uses it up, so that none is taken by an old one.

⟨·,·⟩ is over all parameters; which of them have a gradient must not change on the way. α is `group["lr"]`, and a
schedule on it acts where the cap does, and on the decay.

Defaults: those of the authors' package `momo-opt` 0.1.0, whose λ is 0. As a cap, the learning rate has a range of its
own; β is `beta1`. b = 0 is loose where the loss cannot come near 0 (label smoothing, language models): learn it there.
Not built: the package's decay of MoMo-Adam as AdamW has it (`divide=False`).

One tensor of the parameters' size, m; two with MoMo-Adam, m and v.
"""

import math
from collections.abc import Callable, Iterable, Sequence
from typing import Annotated, Any, ClassVar

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
    scale_,
    scaled,
)

LearningRateCap = Annotated[float, Field(gt=0, le=100), LogUniform(1e-3, 10)]
LowerBound = Annotated[float, Field(ge=-1e9, le=1e9)]
EstimateLowerBound = Annotated[bool, Choice((False, True))]


class Hyperparameters(HyperparameterSet):
    """α, λ, β, b, whether f* is learned, and whether the bias is corrected."""

    learning_rate_cap: LearningRateCap = 1.0
    weight_decay: WeightDecay = LEAST_DECAY
    beta1: Beta1 = 0.9
    lower_bound: LowerBound = 0.0
    estimate_lower_bound: EstimateLowerBound = False
    bias_correction: bool = False


class MoMoAdamHyperparameters(HyperparameterSet):
    """α, λ, β, β₂, ε, b, and whether f* is learned."""

    learning_rate_cap: LearningRateCap = 1e-2
    weight_decay: WeightDecay = LEAST_DECAY
    beta1: Beta1 = 0.9
    beta2: Beta2 = 0.999
    epsilon: Epsilon = 1e-8
    lower_bound: LowerBound = 0.0
    estimate_lower_bound: EstimateLowerBound = False
    bias_correction: ClassVar[bool] = True


class MoMo(ForeachOptimizer):
    """`group["lr"]` is α, `group["f_star"]` is f*."""

    loss: Tensor | None = None
    """f, to be set before each step."""

    def __init__(self, parameters: Iterable[Tensor], h: Hyperparameters | MoMoAdamHyperparameters) -> None:
        super().__init__(parameters, h, lr=h.learning_rate_cap, t=0.0, f_star=h.lower_bound)

    def step(self, closure: Callable[[], Any] | None = None) -> Any:
        """One update. Returns the loss that it used."""
        if closure is not None:
            with torch.enable_grad():
                self.loss = closure()
        if self.loss is None:
            raise ValueError(f"{type(self).__name__} needs the loss: set the optimizer's `loss` before each step()")
        super().step()
        loss, self.loss = self.loss, None
        return loss

    def update(self, x: list[Tensor], g: list[Tensor]) -> None:
        """One step."""
        assert self.loss is not None
        h, group, alpha = self.h, self.group, self.group["lr"]
        f, gx = self.loss.double(), inner(g, x)
        first = torch.zeros_like if h.bias_correction else torch.clone
        if "f_bar" not in group:
            group["f_bar"], group["gamma_bar"] = first(f), first(gx)
        t, f_bar, gamma_bar, f_star = (group[name] for name in ("t", "f_bar", "gamma_bar", "f_star"))
        m = self.copies(x, "m", lambda p: first(p.grad))  # type: ignore[arg-type]  # x are those with a gradient
        t += 1
        rho = 1 - h.beta1**t if h.bias_correction else 1.0
        f_bar.lerp_(f, 1 - h.beta1)
        gamma_bar.lerp_(gx, 1 - h.beta1)
        torch._foreach_lerp_(m, g, weight=1 - h.beta1)

        direction = self.direction(x, g, m)
        mx, n, s = inner(m, x), inner(m, direction), 1 + alpha * h.weight_decay
        height = s * (f_bar - gamma_bar) + mx
        if h.estimate_lower_bound:
            lower = (height / (2 * s * rho)).clamp(min=h.lower_bound)
            f_star.copy_(torch.where(height < s * rho * f_star, lower, f_star))
        quotient = torch.where(n > 0, (height - s * rho * f_star).clamp(min=0) / n, math.inf)
        tau = quotient.clamp(max=alpha / rho)
        if h.estimate_lower_bound:
            f_star.copy_(((f_bar - gamma_bar + mx - tau * n / 2) / rho).clamp(min=h.lower_bound))
        torch._foreach_sub_(x, scaled(direction, tau))
        torch._foreach_div_(x, s)

    def direction(self, x: list[Tensor], g: list[Tensor], m: list[Tensor]) -> Sequence[Tensor]:  # noqa: ARG002
        """D⁻¹ m."""
        return m


class MoMoAdam(MoMo):
    """MoMo in Adam's metric."""

    def direction(self, x: list[Tensor], g: list[Tensor], m: list[Tensor]) -> Sequence[Tensor]:
        """D⁻¹ m, with the step's v."""
        h, v = self.h, self.copies(x, "v")
        torch._foreach_mul_(v, h.beta2)
        torch._foreach_addcmul_(v, g, g, value=1 - h.beta2)
        D = torch._foreach_sqrt(v)
        scale_(D, (1 - h.beta2 ** self.group["t"]).rsqrt())
        torch._foreach_add_(D, h.epsilon)
        return torch._foreach_div(m, D)


MOMO = OptimizerEntry("momo", "arXiv 2305.07583", Hyperparameters, MoMo)
MOMO_ADAM = OptimizerEntry("momo_adam", "arXiv 2305.07583, Adam's metric", MoMoAdamHyperparameters, MoMoAdam)
