"""Problems in float64 on which an optimizer and its official package are compared step by step."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional as F

STEPS = 300
BATCH = 16


@dataclass(frozen=True)
class Problem:
    """First parameters, and the loss of them on the batch of a step."""

    first: Callable[[], list[nn.Parameter]]
    loss: Callable[[Sequence[Tensor], int], Tensor]


def drawn(*shapes: tuple[int, ...], seed: int = 0) -> list[Tensor]:
    generator = torch.Generator().manual_seed(seed)
    return [torch.randn(shape, generator=generator, dtype=torch.float64) for shape in shapes]


def parameters(*shapes: tuple[int, ...]) -> list[nn.Parameter]:
    return [nn.Parameter(tensor / tensor.shape[-1] ** 0.5) for tensor in drawn(*shapes)]


def quadratic() -> Problem:
    """The fact sheet's: f = ½ (w₀² + 4 w₁²) + ⅛ (v − 1)²."""

    def first() -> list[nn.Parameter]:
        w, v = ([1.0, -2.0], [3.0])
        return [nn.Parameter(torch.tensor(values, dtype=torch.float64)) for values in (w, v)]

    def loss(x: Sequence[Tensor], step: int) -> Tensor:
        w, v = x
        return (w[0] ** 2 + 4 * w[1] ** 2) / 2 + (v - 1).square().sum() / 8

    return Problem(first, loss)


def logistic() -> Problem:
    """Convex: softmax regression on batches of noisy labels."""
    data, noise = drawn((160, 20), (160, 5), seed=1)
    labels = (data[:, :5] + noise).argmax(1)

    def loss(x: Sequence[Tensor], step: int) -> Tensor:
        rows = torch.arange(step * BATCH, (step + 1) * BATCH) % len(data)
        return F.cross_entropy(F.linear(data[rows], *x), labels[rows])

    return Problem(lambda: parameters((5, 20), (5,)), loss)


def mlp() -> Problem:
    """Not convex: two hidden layers, one of them rectified."""
    data, noise = drawn((160, 20), (160, 5), seed=1)
    labels = (data[:, :5] * data[:, 5:10] + noise / 2).argmax(1)

    def loss(x: Sequence[Tensor], step: int) -> Tensor:
        rows = torch.arange(step * BATCH, (step + 1) * BATCH) % len(data)
        hidden = F.linear(data[rows], x[0], x[1]).tanh()
        hidden = F.linear(hidden, x[2], x[3]).relu()
        return F.cross_entropy(F.linear(hidden, x[4]), labels[rows])

    return Problem(lambda: parameters((16, 20), (16,), (12, 16), (12,), (5, 12)), loss)


@pytest.fixture(params=[logistic, mlp], ids=["logistic", "mlp"])
def problem(request: pytest.FixtureRequest) -> Problem:
    return request.param()


@pytest.fixture
def golden_problem() -> Problem:
    """That of the fact sheet's golden vectors."""
    return quadratic()


@pytest.fixture
def schedule(case: str) -> Callable[[int], float] | None:
    """Factor on the learning rate, up over 20 steps and down to nearly 0; the defaults are run without."""
    return None if case == "defaults" else lambda step: min((step + 1) / 20, 1 - step / (STEPS + 1))


def set_gradients(problem: Problem, x: Sequence[nn.Parameter], step: int) -> Tensor:
    loss = problem.loss(x, step)
    for p, gradient in zip(x, torch.autograd.grad(loss, list(x)), strict=True):
        p.grad = gradient
    return loss.detach()


@pytest.fixture
def gradients() -> Callable[..., Tensor]:
    """Sets the parameters' gradients in a step; returns its loss."""
    return set_gradients


@pytest.fixture
def trajectory() -> Callable[..., tuple[Tensor, list[Any]]]:
    """All parameters, flat, after every step, and what `at` says of the optimizer then."""

    def follow(
        problem: Problem,
        build: Callable[[list[nn.Parameter]], torch.optim.Optimizer],
        steps: int = STEPS,
        schedule: Callable[[int], float] | None = None,
        at: Callable[[Any], Any] = lambda optimizer: None,
    ) -> tuple[Tensor, list[Any]]:
        x = problem.first()
        optimizer = build(x)
        points, found = [], []
        for step in range(steps):
            loss = set_gradients(problem, x, step)
            for group in optimizer.param_groups if schedule else ():
                group["lr"] = group.setdefault("initial_lr", group["lr"]) * schedule(step)
            optimizer.step(lambda loss=loss: loss)
            points.append(torch.cat([p.detach().flatten() for p in x]))
            found.append(at(optimizer))
        return torch.stack(points), found

    return follow


@pytest.fixture
def deviation() -> Callable[[Tensor, Tensor], float]:
    """The largest difference in any step, relative to the largest parameter then."""

    def largest(ours: Tensor, theirs: Tensor) -> float:
        assert (theirs[-1] - theirs[0]).abs().max() > 1e-3, "the oracle must have gone somewhere"
        return ((ours - theirs).abs().amax(1) / theirs.abs().amax(1)).max().item()

    return largest
