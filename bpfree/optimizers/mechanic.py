"""Mechanic (Cutkosky, Defazio and Mehta, Mechanic: A Learning Rate Tuner, arXiv 2306.00144).

A base optimizer with learning rate 1 proposes steps u; an online learner finds their scale Σ s. x₁ are the first
weights.

    u = what the base changes x by                      Δ = (x − x₁) / (Σ s + ε), before the base's step
    h = ⟨Δ, g + λ (Σ s) (‖g‖ / (‖x‖ + ε)) x⟩            with x of after the base's step
    for each β of 0.9, 0.99, … 0.999999, n = 6 of them:
        M ← max(β M, |h|)     V ← β² V + h²     R ← max(0, β R − s h)
        s ← (M s₀ / n + R) / (√V + ε)
    x ← x₁ + (Σ s) (Δ + u)

⟨·,·⟩ and ‖·‖ are over all parameters. `group["lr"]` is the base's, 1 unless a schedule shapes it. The base's decoupled
weight decay is part of u, and so scaled by Σ s too; λ is a decay of Mechanic's own.

`Mechanic` takes any optimizer whose steps need gradients alone. The table offers as `base` those that want a learning
rate, for that is what Mechanic finds; not Schedule-Free, of whose two points it would move one. Of the base's knobs
`weight_decay`, `momentum`, `beta1` and `beta2` are Mechanic's too, as far as the base has them; the others have their
defaults. `momentum` has no search range here, since the default base has none.

Defaults: those of the authors' package `mechanic-pytorch` 0.0.1 around torch's AdamW, but for its weight decay; M is
1e-6 and s is 0 at first. optax's version, from which the paper's figures come, differs: other first values, h clipped,
the decay at x of before the base's step. In float32 Δ is coarse while Σ s is near 1e-6, in the package as here.

One tensor of the parameters' size beside the base's: x₁.
"""

from collections.abc import Iterable
from typing import Annotated, Any, Literal

import torch
from pydantic import Field
from torch import Tensor
from torch.optim import Optimizer

from bpfree.hyperparameters import Choice, HyperparameterSet, LogUniform
from bpfree.optimizers.adam import ADAM, ADAMW
from bpfree.optimizers.base import (
    LEAST_DECAY,
    Beta1,
    Beta2,
    FixedBeta,
    ForeachOptimizer,
    OptimizerEntry,
    WeightDecay,
    inner,
    norm,
    scale_,
    scaled,
)
from bpfree.optimizers.nadamw import NADAMW
from bpfree.optimizers.sgd import SGD_ENTRY

BASES = {entry.name: entry for entry in (SGD_ENTRY, ADAM, ADAMW, NADAMW)}
BETAS = (0.9, 0.99, 0.999, 0.9999, 0.99999, 0.999999)
EPSILON = 1e-8


class Hyperparameters(HyperparameterSet):
    """The base, s₀, λ, and the base's knobs."""

    base: Literal["sgd", "adam", "adamw", "nadamw"] = "adamw"
    initial_scale: Annotated[float, Field(gt=0, le=1), LogUniform(1e-8, 1e-4)] = 1e-8
    scale_decay: Annotated[float, Field(ge=0, le=1), Choice((0.0, 1e-3, 1e-2, 1e-1))] = 1e-2
    weight_decay: WeightDecay = LEAST_DECAY
    momentum: FixedBeta = 0.9
    beta1: Beta1 = 0.9
    beta2: Beta2 = 0.999


class Mechanic(ForeachOptimizer):
    """Scales the steps of `base`, an optimizer of the same parameters with learning rate 1."""

    def __init__(self, base: Optimizer, h: Hyperparameters) -> None:
        self.base = base
        zeros, (group,) = [0.0] * len(BETAS), base.param_groups
        super().__init__(group["params"], h, lr=1.0, betas=BETAS, M=[1e-6] * len(BETAS), V=zeros, R=zeros, s=zeros)

    def update(self, x: list[Tensor], g: list[Tensor]) -> None:
        """One step of the base, and its scale."""
        h, group = self.h, self.group
        beta, M, V, R, s = (group[name] for name in ("betas", "M", "V", "R", "s"))
        x1 = self.copies(x, "x1", torch.clone)
        before = torch._foreach_clone(x)
        self.base.param_groups[0]["lr"] = group["lr"]
        self.base.step()
        u = torch._foreach_sub(x, before)

        scale = s.sum()
        delta = scaled(torch._foreach_sub(before, x1), 1 / (scale + EPSILON))
        decay = h.scale_decay * scale * norm(g) / (norm(x) + EPSILON)
        product = inner(delta, g) + decay * inner(delta, x)  # h
        M.copy_(torch.maximum(beta * M, product.abs()))
        V.mul_(beta**2).add_(product**2)
        R.mul_(beta).sub_(s * product).clamp_(min=0)
        s.copy_((M * h.initial_scale / len(BETAS) + R) / (V.sqrt() + EPSILON))

        torch._foreach_add_(delta, u)
        scale_(delta, s.sum())
        torch._foreach_copy_(x, x1)
        torch._foreach_add_(x, delta)

    def state_dict(self) -> dict[str, Any]:
        """With the base's."""
        return {**super().state_dict(), "base": self.base.state_dict()}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """With the base's."""
        super().load_state_dict(state_dict)
        self.base.load_state_dict(state_dict["base"])

    def __getstate__(self) -> dict[str, Any]:
        return {**super().__getstate__(), "base": self.base}


def build(parameters: Iterable[Tensor], h: Hyperparameters) -> Mechanic:
    """Mechanic around its base, which has learning rate 1 and those of h's knobs that it knows."""
    entry = BASES[h.base]
    shared = h.model_dump(include=set(entry.hyperparameters.model_fields))
    return Mechanic(entry.build(parameters, entry.hyperparameters(**{**shared, "learning_rate": 1.0})), h)


MECHANIC = OptimizerEntry("mechanic", "arXiv 2306.00144", Hyperparameters, build)
