"""DoG and L-DoG (Ivgi, Hinder and Carmon, arXiv 2302.12022), DoWG (Khaled, Mishchenko and Jin, arXiv 2305.16284).

The step size is the distance gone from the first weights x₀ over the root of the summed squares of the gradients.

    g ← g + λ x
    DoG     r ← max(r, ‖x − x₀‖)      r = ρ (1 + ‖x₀‖) at first
            G ← G + ‖g‖²              G = ε at first
            η = r / √G
    L-DoG   the same with an r, G and η for each tensor
    DoWG    r² ← max(r², ‖x − x₀‖²)   r² = r₀² at first
            V ← V + r² ‖g‖²
            η = r² / (√V + ε)
    x ← x − γ η g

DoG's and DoWG's norms are over all parameters. γ is `group["lr"]`, 1 unless a schedule shapes it (c in DoG's paper).

r and G only grow: one wild gradient slows all later steps, and no step is small at the end. DoG's authors therefore
evaluate an average of the iterates, without which, they say, the method is under-rated. With `averaging` = a > 0

    x̄ ← x̄ + κ (x − x̄)                κ = (1 + a) / (t + a)

is kept (they use a = 8). As Schedule-Free, `eval()` puts x̄ in the parameters' place, to be evaluated or kept, `train()`
puts x back, and between them a step is refused. Running statistics of batch normalisation stay those of x; the authors'
averager averages them too. A decaying schedule on top of averaging is a method of its own.

Defaults: those of the authors' package `dog-optimizer` 1.0.3, ρ = 1e-6 (1e-4 is advised with batch normalisation),
whose λ is 0 and whose averager stands apart: off here. DoWG's are those of its authors' code and of optax, where one
number is both r₀² and ε. Not built: the package's `init_eta`, which sets the first step. One tensor of the parameters'
size: x₀; and x̄, if kept.
"""

from abc import abstractmethod
from collections.abc import Callable, Iterable
from typing import Annotated, Any

import torch
from pydantic import Field
from torch import Tensor

from bpfree.hyperparameters import Choice, HyperparameterSet, LogUniform
from bpfree.optimizers.base import (
    LEAST_DECAY,
    Epsilon,
    ForeachOptimizer,
    OptimizerEntry,
    WeightDecay,
    norm,
    scale_,
    scaled,
)

Averaging = Annotated[float, Field(ge=0, le=1000), Choice((0.0, 8.0))]


class Hyperparameters(HyperparameterSet):
    """ρ, λ, the averaging a and ε."""

    relative_initial_distance: Annotated[float, Field(gt=0, le=1), LogUniform(1e-8, 1e-3)] = 1e-6
    weight_decay: WeightDecay = LEAST_DECAY
    averaging: Averaging = 0.0
    epsilon: Epsilon = 1e-8


class DoWGHyperparameters(HyperparameterSet):
    """r₀², λ, the averaging a and ε."""

    initial_squared_distance: Annotated[float, Field(gt=0, le=1), LogUniform(1e-8, 1e-2)] = 1e-4
    weight_decay: WeightDecay = LEAST_DECAY
    averaging: Averaging = 0.0
    epsilon: Epsilon = 1e-4


class Averaged(ForeachOptimizer):
    """What DoG, L-DoG and DoWG share; `group["train_mode"]` says whether the parameters hold x."""

    def __init__(self, parameters: Iterable[Tensor], h: Any, **scalars: float) -> None:
        super().__init__(parameters, h, lr=1.0, t=0.0, **scalars)
        self.group["train_mode"] = True

    def step(self, closure: Callable[[], Any] | None = None) -> Any:
        """One update. Refused in evaluation mode."""
        if not self.group["train_mode"]:
            raise RuntimeError("the parameters hold the average of the iterates: call train() before a step")
        return super().step(closure)

    def update(self, x: list[Tensor], g: list[Tensor]) -> None:
        """One step, and its part in the average."""
        a, t = self.h.averaging, self.group["t"]
        decayed = list(torch._foreach_add(g, x, alpha=self.h.weight_decay))
        torch._foreach_sub_(x, self.steps(x, decayed))
        if a > 0:
            average = self.copies(x, "average", torch.clone)
            t += 1
            to_x = torch._foreach_sub(x, average)
            scale_(to_x, (1 + a) / (t + a))
            torch._foreach_add_(average, to_x)

    @abstractmethod
    def steps(self, x: list[Tensor], g: list[Tensor]) -> list[Tensor]:
        """γ η g."""

    def eval(self) -> None:
        """The parameters become x̄, to be evaluated or kept."""
        if self.group["train_mode"]:
            self.exchange()
        self.group["train_mode"] = False

    def train(self) -> None:
        """The parameters become x, at which the next gradient is taken."""
        if not self.group["train_mode"]:
            self.exchange()
        self.group["train_mode"] = True

    @torch.no_grad()
    def exchange(self) -> None:
        """x and x̄ change places, where there is an x̄."""
        x = [p for p in self.group["params"] if "average" in self.state[p]]
        if x:
            average, before = [self.state[p]["average"] for p in x], [p.clone() for p in x]
            torch._foreach_copy_(x, average)
            torch._foreach_copy_(average, before)


class DoG(Averaged):
    """One step size; `group["r"]` is the distance."""

    def __init__(self, parameters: Iterable[Tensor], h: Hyperparameters) -> None:
        super().__init__(parameters, h, G=h.epsilon)

    def steps(self, x: list[Tensor], g: list[Tensor]) -> list[Tensor]:
        """γ r / √G g."""
        x0, G = self.copies(x, "x0", torch.clone), self.group["G"]
        if "r" not in self.group:  # the first step, at x₀
            self.group["r"] = self.h.relative_initial_distance * (1 + norm(x))
        r = self.group["r"]
        torch.maximum(r, norm(torch._foreach_sub(x, x0)), out=r)
        G += norm(g) ** 2
        return scaled(g, self.group["lr"] * r / G.sqrt())


class LDoG(Averaged):
    """A step size for each tensor, from its own r and G."""

    separable = True

    def __init__(self, parameters: Iterable[Tensor], h: Hyperparameters) -> None:
        super().__init__(parameters, h)

    def steps(self, x: list[Tensor], g: list[Tensor]) -> list[Tensor]:
        """γ r / √G g."""
        x0 = self.copies(x, "x0", torch.clone)
        r = self.copies(x, "r", lambda p: self.h.relative_initial_distance * (1 + p.norm()))
        G = self.copies(x, "G", lambda p: torch.full_like(p.norm(), self.h.epsilon))
        torch._foreach_maximum_(r, torch._foreach_norm(torch._foreach_sub(x, x0)))
        lengths = torch._foreach_norm(g)
        torch._foreach_addcmul_(G, lengths, lengths)
        eta = torch._foreach_div(r, torch._foreach_sqrt(G))
        torch._foreach_mul_(eta, self.group["lr"])
        return list(torch._foreach_mul(g, eta))


class DoWG(Averaged):
    """One step size, from gradients weighted by the distance; `group["r2"]` is its square."""

    def __init__(self, parameters: Iterable[Tensor], h: DoWGHyperparameters) -> None:
        super().__init__(parameters, h, r2=h.initial_squared_distance, V=0.0)

    def steps(self, x: list[Tensor], g: list[Tensor]) -> list[Tensor]:
        """γ r² / (√V + ε) g."""
        x0, r2, V = self.copies(x, "x0", torch.clone), self.group["r2"], self.group["V"]
        torch.maximum(r2, norm(torch._foreach_sub(x, x0)) ** 2, out=r2)
        V += r2 * norm(g) ** 2
        return scaled(g, self.group["lr"] * r2 / (V.sqrt() + self.h.epsilon))


DOG = OptimizerEntry("dog", "arXiv 2302.12022", Hyperparameters, DoG)
LDOG = OptimizerEntry("ldog", "arXiv 2302.12022, layer-wise", Hyperparameters, LDoG)
DOWG = OptimizerEntry("dowg", "arXiv 2305.16284", DoWGHyperparameters, DoWG)
