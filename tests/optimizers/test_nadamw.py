"""NadamW against the fact sheet's golden vectors (AlgoPerf's code on a quadratic) and a plain loop of its equations.

Largest relative deviation from the loop in 300 steps, seen here: 7e-16.
"""

import pytest
import torch

from bpfree.optimizers.nadamw import Hyperparameters, NadamW

LIMIT = 1e-12
CALIBRATED = {
    "learning_rate": 1.7486387539278373e-3,
    "beta1": 1 - 0.06733926164,
    "beta2": 0.9955159689799007,
    "weight_decay": 0.08121616522670176,
}
SETTINGS = {
    "defaults": {},
    "other": {"weight_decay": 0.1, "learning_rate": 1e-2, "beta1": 0.8, "beta2": 0.95},
}
GOLDEN = {
    "defaults": (
        {},
        {
            1: (0.99809, -1.99808, 2.99807),
            2: (0.9966542517, -1.996633979, 2.99661398),
            10: (0.9875827427, -1.987477827, 2.98737787),
            100: (0.8982142873, -1.896273858, 2.895283558),
        },
    ),
    "calibrated": (
        CALIBRATED,
        {
            1: (0.9964784568, -1.996336439, 2.996194421),
            2: (0.9938029595, -1.993518131, 2.99323415),
            10: (0.9767403725, -1.975308503, 2.973890002),
            100: (0.811766865, -1.795284407, 2.781367723),
        },
    ),
}


def ours(**values):
    return lambda x: NadamW(x, Hyperparameters(**values))


class PlainLoop(torch.optim.Optimizer):
    """The equations, one parameter after the other, in Python's numbers where they are numbers."""

    def __init__(self, parameters, learning_rate=1e-3, weight_decay=1e-2, beta1=0.9, beta2=0.999, epsilon=1e-8):
        super().__init__(parameters, {"lr": learning_rate})
        self.rest = weight_decay, beta1, beta2, epsilon
        self.t = 0

    @torch.no_grad()
    def step(self, closure=None):
        decay, beta1, beta2, epsilon = self.rest
        self.t += 1
        rate = self.param_groups[0]["lr"]
        for p in self.param_groups[0]["params"]:
            state = self.state[p]
            state["m"] = beta1 * state.get("m", 0) + (1 - beta1) * p.grad
            state["v"] = beta2 * state.get("v", 0) + (1 - beta2) * p.grad**2
            nesterov = (beta1 * state["m"] + (1 - beta1) * p.grad) / (1 - beta1**self.t)
            denominator = (state["v"] / (1 - beta2**self.t)).sqrt() + epsilon
            p.copy_((1 - rate * decay) * p - rate * nesterov / denominator)


@pytest.mark.parametrize("case", GOLDEN)
def test_the_golden_vectors(golden_problem, trajectory, case):
    values, golden = GOLDEN[case]
    points, _ = trajectory(golden_problem, ours(**values), steps=100)
    for step, expected in golden.items():
        assert points[step - 1].tolist() == pytest.approx(expected, rel=1e-9)


@pytest.mark.parametrize("case", SETTINGS)
def test_the_plain_loop(problem, trajectory, deviation, schedule, case):
    values = SETTINGS[case]
    own, _ = trajectory(problem, ours(**values), schedule=schedule)
    loop, _ = trajectory(problem, lambda x: PlainLoop(x, **values), schedule=schedule)
    assert deviation(own, loop) < LIMIT


def test_it_is_neither_adamw_nor_torchs_nadam(golden_problem, trajectory):
    own, _ = trajectory(golden_problem, ours(), steps=10)
    for other in (
        lambda x: torch.optim.AdamW(x, lr=1e-3, weight_decay=1e-2),
        lambda x: torch.optim.NAdam(x, lr=1e-3, weight_decay=1e-2, decoupled_weight_decay=True),
    ):
        theirs, _ = trajectory(golden_problem, other, steps=10)
        assert (own - theirs).abs().max() > 1e-4
