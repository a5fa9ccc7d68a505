"""What the table knows of an optimizer, the knobs that many share, and the base of those that are written here."""

from abc import abstractmethod
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import Annotated, Any, ClassVar

import torch
from pydantic import Field
from torch import Tensor
from torch.optim import Optimizer

from bpfree.gradients import without_gradients
from bpfree.hyperparameters import Choice, HyperparameterSet, LogUniform

# A shared knob has the same search range for every optimizer that has it.
LearningRate = Annotated[float, Field(gt=0, le=10), LogUniform(1e-4, 1e-1)]
WeightDecay = Annotated[float, Field(ge=0, le=1), LogUniform(1e-6, 1e-2)]
LEAST_DECAY = 1e-6
"""The default where the method's own is 0: tuning begins at the default, and a range of magnitudes cannot hold 0."""

# What matters of β is 1 − β, in orders of magnitude.
Beta1 = Annotated[float, Field(ge=0, lt=1), Choice((0.8, 0.9, 0.95, 0.98, 0.99))]
Beta2 = Annotated[float, Field(ge=0, lt=1), Choice((0.9, 0.95, 0.98, 0.99, 0.995, 0.999))]
FixedBeta = Annotated[float, Field(ge=0, lt=1)]
Epsilon = Annotated[float, Field(gt=0, le=1)]


@dataclass(frozen=True)
class OptimizerEntry:
    """A row of the table: `build(parameters, hyperparameters)` gives the optimizer."""

    name: str
    paper: str
    hyperparameters: type[HyperparameterSet]
    build: Callable[[Iterable[Tensor], Any], Optimizer]
    scheduled: bool = True
    """Whether a schedule may shape its steps; a method that does without one still has a warm-up."""


class ForeachOptimizer(Optimizer):
    """All parameters are one group, updated together; a step reads nothing back from their device.

    A CUDA graph replays the kernels of the step that it captured. So whatever changes from one step to the next, the
    counter t among it, is a tensor on the parameters' device that changes in place, and Python branches depend on
    hyperparameters alone. Scalars are float64: 1 − βᵗ loses digits in float32.

    Parameters
    ----------
    parameters
        What is updated. One without gradient is left alone.
    h
        The method's hyperparameters.
    lr
        `group["lr"]` at first: a learning rate, or 1 where the method finds its own and a schedule only shapes it.
        A float, or a tensor on the device for a schedule within a CUDA graph.
    scalars
        First values of what the method keeps beside its tensors of the parameters' size, in `group`.
    """

    separable: ClassVar[bool] = False
    """Whether a tensor's update hangs on its own gradients alone, so that blocks may share one optimizer."""

    def __init__(self, parameters: Iterable[Tensor], h: Any, lr: float, **scalars: float | Sequence[float]) -> None:
        super().__init__(parameters, {"lr": lr})
        self.h = h
        self.keep()
        device = self.group["params"][0].device
        for name, value in scalars.items():
            self.group[name] = torch.tensor(value, dtype=torch.float64, device=device)

    def keep(self) -> None:
        """Keep at hand what every step needs: Python that runs between products of matrices finds its cache cold."""
        (self.group,) = self.param_groups  # the only one: norms and step sizes are over all parameters
        self.complete: dict[str, list[Tensor]] = {}

    @without_gradients
    def step(self, closure: Callable[[], Any] | None = None) -> Any:
        """One update. Returns what the closure, if any, returns."""
        loss = None
        if closure is not None:
            with torch.enable_grad():
                loss = closure()
        x: list[Tensor] = self.group["params"]
        g = [gradient for p in x if (gradient := p.grad) is not None]
        if len(g) < len(x):
            x = [p for p in x if p.grad is not None]
        if g:
            self.update(x, g)
        return loss

    # Tells torch that the wrapper which announces steps to its profiler is there already: it costs 20 µs, much beside
    # the update of a small network.
    step.hooked = True  # type: ignore[attr-defined]

    @abstractmethod
    def update(self, x: list[Tensor], g: list[Tensor]) -> None:
        """Change the parameters x in place by their gradients g, which are left as they are."""

    def copies(self, x: list[Tensor], name: str, first: Callable[[Tensor], Tensor] = torch.zeros_like) -> list[Tensor]:
        """A tensor for each parameter, made in the first step in which it has a gradient."""
        complete = len(x) == len(self.group["params"])
        if complete and name in self.complete:
            return self.complete[name]
        found = []
        for p in x:
            state = self.state[p]
            if name not in state:
                state[name] = first(p).detach()
            found.append(state[name])
        if complete:
            self.complete[name] = found
        return found

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """As torch's, which leaves what is in the group on the device that it was saved from."""
        super().load_state_dict(state_dict)
        device = self.group["params"][0].device
        for name, value in self.group.items():
            if isinstance(value, Tensor):
                self.group[name] = value.to(device)

    def __getstate__(self) -> dict[str, Any]:
        return {**super().__getstate__(), "h": self.h}

    def __setstate__(self, state: dict[str, Any]) -> None:
        super().__setstate__(state)
        self.keep()


def scaled(tensors: Sequence[Tensor], factor: Tensor) -> list[Tensor]:
    """factor · tensors, in new memory."""
    return list(torch._foreach_mul(list(tensors), factor.to(tensors[0].dtype)))  # of another type: a kernel a tensor


def scale_(tensors: Sequence[Tensor], factor: Tensor | float) -> None:
    """tensors ← factor · tensors."""
    if isinstance(factor, Tensor):
        torch._foreach_mul_(list(tensors), factor.to(tensors[0].dtype))
    else:
        torch._foreach_mul_(list(tensors), factor)


def inner(a: Sequence[Tensor], b: Sequence[Tensor]) -> Tensor:
    """⟨a, b⟩ over all parameters."""
    return torch.stack([torch.dot(p.flatten(), q.flatten()) for p, q in zip(a, b, strict=True)]).double().sum()


def norm(a: Sequence[Tensor], order: float = 2) -> Tensor:
    """‖a‖ of that order over all parameters."""
    each = torch.stack(list(torch._foreach_norm(list(a), order))).double()
    return torch.linalg.vector_norm(each, order)  # type: ignore[no-any-return]
