"""Schedule-Free AdamW (Defazio et al., The Road Less Scheduled, arXiv 2405.15682).

    γ = η min(1, t / warm-up)        v ← β₂ v + (1 − β₂) g²,  g the gradient at y
    u = g / (√(v / (1 − β₂ᵗ)) + ε) + λ y
    z ← z − γ u
    x ← (1 − c) x + c z              c = w / Σ w,  w = tʳ (the largest γ so far)ᵖ
    y = (1 − β₁) z + β₁ x

An average of the iterates does what a decaying learning rate does elsewhere, so that the end need not be known. It is
free of the schedule, not of the learning rate.

There are two points: gradients are taken at y, and the trained network is x. The parameters hold y while training;
`eval()` turns them into x = y + (1 − 1/β₁) (z − y) and `train()` back into y. Who evaluates, or keeps weights, calls
`eval()` before and `train()` after; between them a step is refused. x is never stored:

    y ← (1 − c) y + c z + (β₁ (1 − c) − 1) γ u,  with z of before the step

Running statistics of batch normalisation belong to y.

Defaults: those of the authors' package `schedulefree` 1.4.1, whose λ is 0; they advise a warm-up, and an η of 1 to 10
times that of a scheduled AdamW. As the package, but its optimizer must be put into training mode before the first step,
and this one begins in it; and it leaves the gradients as they are. The warm-up is in steps and has no search range: its
best value goes with the length of the run. Two tensors of the parameters' size: z and v.
"""

from collections.abc import Callable, Iterable
from typing import Annotated, Any

import torch
from pydantic import Field
from torch import Tensor

from bpfree.hyperparameters import HyperparameterSet, Uniform
from bpfree.optimizers.base import (
    LEAST_DECAY,
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
    """η, λ, β₁, β₂, ε, the warm-up, r and p."""

    learning_rate: LearningRate = 2.5e-3
    weight_decay: WeightDecay = LEAST_DECAY
    beta1: Annotated[Beta1, Field(gt=0)] = 0.9  # x is found by a division by β₁
    beta2: Beta2 = 0.999
    epsilon: Epsilon = 1e-8
    warmup_steps: Annotated[int, Field(ge=0, le=1_000_000)] = 0
    averaging_power: Annotated[float, Field(ge=0, le=10), Uniform(0, 1)] = 0.0
    averaging_rate_power: Annotated[float, Field(ge=0, le=10)] = 2.0


class ScheduleFreeAdamW(ForeachOptimizer):
    """`group["lr"]` is η; `group["train_mode"]` says whether the parameters hold y."""

    separable = True

    def __init__(self, parameters: Iterable[Tensor], h: Hyperparameters) -> None:
        super().__init__(parameters, h, lr=h.learning_rate, t=0.0, largest_gamma=0.0, weight_sum=0.0)
        self.group["train_mode"] = True

    def eval(self) -> None:
        """The parameters become x, to be evaluated or kept."""
        if self.group["train_mode"]:
            self.move(1 - 1 / self.h.beta1)
        self.group["train_mode"] = False

    def train(self) -> None:
        """The parameters become y, at which the next gradient is taken."""
        if not self.group["train_mode"]:
            self.move(1 - self.h.beta1)
        self.group["train_mode"] = True

    @torch.no_grad()
    def move(self, weight: float) -> None:
        """Go that part of the way to z; before its first step a parameter is z."""
        begun = [p for p in self.group["params"] if self.state[p]]
        if begun:
            torch._foreach_lerp_(begun, [self.state[p]["z"] for p in begun], weight=weight)

    def step(self, closure: Callable[[], Any] | None = None) -> Any:
        """One update. Refused in evaluation mode."""
        if not self.group["train_mode"]:
            raise RuntimeError("the parameters hold x, the point to evaluate: call train() before a step")
        return super().step(closure)

    def update(self, y: list[Tensor], g: list[Tensor]) -> None:
        """One step, from y to y."""
        h, group = self.h, self.group
        t, largest_gamma, weight_sum = group["t"], group["largest_gamma"], group["weight_sum"]
        z, v = self.copies(y, "z", torch.clone), self.copies(y, "v")
        t += 1
        gamma = group["lr"] * (t / max(1, h.warmup_steps)).clamp(max=1)
        largest_gamma.copy_(torch.maximum(largest_gamma, gamma))
        w = t**h.averaging_power * largest_gamma**h.averaging_rate_power
        weight_sum += w
        c = (w / weight_sum).nan_to_num(0.0)  # 0 / 0 while a schedule has given no learning rate yet

        torch._foreach_mul_(v, h.beta2)
        torch._foreach_addcmul_(v, g, g, value=1 - h.beta2)
        denominator = torch._foreach_sqrt(v)
        scale_(denominator, (1 - h.beta2**t).rsqrt())
        torch._foreach_add_(denominator, h.epsilon)
        u = torch._foreach_div(g, denominator)
        torch._foreach_add_(u, y, alpha=h.weight_decay)
        scale_(u, gamma)

        to_z = torch._foreach_sub(z, y)
        scale_(to_z, c)
        torch._foreach_add_(y, to_z)
        torch._foreach_sub_(z, u)
        scale_(u, h.beta1 * (1 - c) - 1)
        torch._foreach_add_(y, u)


SCHEDULE_FREE_ADAMW = OptimizerEntry(
    "schedule_free_adamw", "arXiv 2405.15682", Hyperparameters, ScheduleFreeAdamW, scheduled=False
)
