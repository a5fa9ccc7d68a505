"""COCOB, continuous coin betting (Orabona and Tommasi, arXiv 1705.07795): Algorithm 2, "COCOB-Backprop".

Each coordinate bets a part of its wealth on the sign of its next gradient; x − x₀ is the bet.

    g ← γ (g + λ x)
    L ← max(L, |g|)                  the largest gradient so far, ε at first
    C ← C − g                        G ← G + |g|
    R ← max(R − g (x − x₀), 0)       what the bets have won
    x ← x₀ + C (L + R) / (L max(G + L, α L))

All products are elementwise; C, G and R are 0 at first. The first step is 1/α in each coordinate whatever the scale of
the gradient, and for about α steps the bets stay small. x hangs on x₀, so λ is coupled: a decay of x itself has no
meaning.

γ is `group["lr"]`, 1 unless a schedule shapes it. The authors' package `parameterfree` 0.0.1 has no such factor; where
it enters is optax's choice. Bets have no scale, so a constant γ changes nothing, and a falling one lets later gradients
count less.

Defaults: α = 100 is the paper's; ε is the package's, as is its λ, 0. Five tensors of the parameters' size: L, C, G, R
and x₀, the most of all methods.
"""

from collections.abc import Iterable
from typing import Annotated

import torch
from pydantic import Field
from torch import Tensor

from bpfree.hyperparameters import HyperparameterSet, LogUniform
from bpfree.optimizers.base import LEAST_DECAY, Epsilon, ForeachOptimizer, OptimizerEntry, WeightDecay


class Hyperparameters(HyperparameterSet):
    """α, λ and ε."""

    alpha: Annotated[float, Field(gt=0, le=1e6), LogUniform(10, 1000)] = 100.0
    weight_decay: WeightDecay = LEAST_DECAY
    epsilon: Epsilon = 1e-8


class COCOB(ForeachOptimizer):
    """`group["lr"]` is γ."""

    separable = True

    def __init__(self, parameters: Iterable[Tensor], h: Hyperparameters) -> None:
        super().__init__(parameters, h, lr=1.0)

    def update(self, x: list[Tensor], g: list[Tensor]) -> None:
        """One step."""
        h = self.h
        x0, L = self.copies(x, "x0", torch.clone), self.copies(x, "L", lambda p: torch.full_like(p, h.epsilon))
        C, G, R = self.copies(x, "C"), self.copies(x, "G"), self.copies(x, "R")
        decayed = torch._foreach_add(g, x, alpha=h.weight_decay)
        torch._foreach_mul_(decayed, self.group["lr"])
        size = torch._foreach_abs(decayed)
        torch._foreach_maximum_(L, size)
        torch._foreach_sub_(C, decayed)
        torch._foreach_add_(G, size)
        torch._foreach_addcmul_(R, decayed, torch._foreach_sub(x, x0), value=-1)
        torch._foreach_clamp_min_(R, 0)

        denominator = torch._foreach_add(G, L)
        torch._foreach_maximum_(denominator, torch._foreach_mul(L, h.alpha))
        torch._foreach_mul_(denominator, L)
        bet = torch._foreach_add(L, R)
        torch._foreach_mul_(bet, C)
        torch._foreach_div_(bet, denominator)
        torch._foreach_copy_(x, x0)
        torch._foreach_add_(x, bet)


COCOB_ENTRY = OptimizerEntry("cocob", "arXiv 1705.07795", Hyperparameters, COCOB)
