"""COCOB against `parameterfree` 0.0.1, its golden vector, and with a schedule, which the package lacks, a plain loop.

Largest relative deviation in 300 steps, seen here: 0 from the package, 1e-12 from the loop.
"""

import parameterfree
import pytest
import torch

from bpfree.optimizers.cocob import COCOB, Hyperparameters

LIMIT = 1e-10
SETTINGS = {
    "defaults": {"weight_decay": 0.0},
    "decay": {"weight_decay": 0.1},
    "bold": {"alpha": 10.0, "epsilon": 1e-3, "weight_decay": 0.01},
}
GOLDEN = {
    1: (0.99, -1.99, 2.99),
    2: (0.97990299, -1.979851497, 2.979851497),
    10: (0.8595557932, -1.852733645, 2.852733645),
    100: (0.0, 0.0, 1.0),  # the fact sheet has "about 0"
}


def ours(**values):
    return lambda x: COCOB(x, Hyperparameters(**values))


def official(alpha=100.0, weight_decay=0.0, epsilon=1e-8):
    return lambda x: parameterfree.COCOB(x, alpha=alpha, eps=epsilon, weight_decay=weight_decay)


class PlainLoop(torch.optim.Optimizer):
    """The equations, γ among them, one parameter after the other."""

    def __init__(self, parameters, alpha=100.0, weight_decay=0.0, epsilon=1e-8):
        super().__init__(parameters, {"lr": 1.0})
        self.alpha, self.weight_decay = alpha, weight_decay
        self.kept = [(p.detach().clone(), epsilon * torch.ones_like(p), 0.0, 0.0, 0.0) for p in parameters]

    @torch.no_grad()
    def step(self, closure=None):
        (group,) = self.param_groups
        for i, p in enumerate(group["params"]):
            x0, L, C, G, R = self.kept[i]
            g = group["lr"] * (p.grad + self.weight_decay * p)
            L, C, G = torch.maximum(L, g.abs()), C - g, G + g.abs()
            R = (R - g * (p - x0)).clamp(min=0)
            p.copy_(x0 + C * (L + R) / (L * torch.maximum(G + L, self.alpha * L)))
            self.kept[i] = x0, L, C, G, R


def test_the_golden_vector(trajectory, golden_problem):
    points, _ = trajectory(golden_problem, ours(weight_decay=0.0), steps=100)
    for step, expected in GOLDEN.items():
        assert points[step - 1].tolist() == pytest.approx(expected, rel=1e-9, abs=1e-6 if step == 100 else 0.0)


@pytest.mark.parametrize("case", SETTINGS)
def test_the_official_package(trajectory, deviation, problem, case):
    own, _ = trajectory(problem, ours(**SETTINGS[case]))
    theirs, _ = trajectory(problem, official(**SETTINGS[case]))
    assert deviation(own, theirs) < LIMIT


@pytest.mark.parametrize("case", SETTINGS)
def test_the_plain_loop(trajectory, deviation, problem, case, schedule):
    own, _ = trajectory(problem, ours(**SETTINGS[case]), schedule=schedule)
    loop, _ = trajectory(problem, lambda x: PlainLoop(x, **SETTINGS[case]), schedule=schedule)
    assert deviation(own, loop) < LIMIT


def test_a_schedule_matters(trajectory, deviation, problem):
    constant, _ = trajectory(problem, ours())
    decaying, _ = trajectory(problem, ours(), schedule=lambda step: 1 / (1 + step))
    assert deviation(decaying, constant) > 0.1


def test_a_constant_factor_changes_nothing(trajectory, deviation, problem):
    values = {"weight_decay": 0.0, "epsilon": 1e-300}  # ε alone has a scale
    own, _ = trajectory(problem, ours(**values))
    scaled, _ = trajectory(problem, ours(**values), schedule=lambda step: 0.125)
    assert deviation(own, scaled) < LIMIT
