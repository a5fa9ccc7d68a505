"""Schedule-Free AdamW against `schedulefree` 1.4.1, at y in every step and at x at the end, and the golden vectors.

Largest relative deviation in 300 steps, seen here: 2e-15.
"""

import pytest
import schedulefree
import torch

from bpfree.optimizers.schedule_free import Hyperparameters, ScheduleFreeAdamW

LIMIT = 1e-12
POLYNOMIAL = {"weight_decay": 0.1, "warmup_steps": 5, "averaging_power": 0.75}
SETTINGS = {
    "defaults": {"weight_decay": 0.0},
    "polynomial": POLYNOMIAL,
    "other": {"beta1": 0.95, "beta2": 0.98, "learning_rate": 2e-2, "averaging_rate_power": 1.0, "warmup_steps": 30},
}
GOLDEN = {  # at x
    "defaults": (
        {"weight_decay": 0.0},
        {
            1: (0.9975, -1.9975, 2.9975),
            2: (0.9962515647, -1.996250782, 2.996250782),
            10: (0.9862818694, -1.986265907, 2.986265907),
            100: (0.8766710667, -1.875192318, 2.87519232),
        },
    ),
    "polynomial": (
        POLYNOMIAL,
        {
            1: (0.99945, -1.9994, 2.99935),
            2: (0.9984926421, -1.998355479, 2.998218436),
            10: (0.9852407393, -1.983874911, 2.982531159),
            100: (0.8355430216, -1.817628639, 2.802438862),
        },
    ),
}


def ours(**values):
    return lambda x: ScheduleFreeAdamW(x, Hyperparameters(**values))


def official(**values):
    h = Hyperparameters(**values)

    def build(x):
        optimizer = schedulefree.AdamWScheduleFree(
            x, lr=h.learning_rate, betas=(h.beta1, h.beta2), eps=h.epsilon, weight_decay=h.weight_decay,
            warmup_steps=h.warmup_steps, r=h.averaging_power, weight_lr_power=h.averaging_rate_power,
        )  # fmt: skip
        optimizer.train()
        return optimizer

    return build


def evaluated(optimizer):
    """x, between two steps."""
    optimizer.eval()
    x = torch.cat([p.detach().flatten() for p in optimizer.param_groups[0]["params"]])
    optimizer.train()
    return x


@pytest.mark.parametrize("case", GOLDEN)
def test_the_golden_vectors(golden_problem, trajectory, case):
    values, golden = GOLDEN[case]
    _, x = trajectory(golden_problem, ours(**values), steps=100, at=evaluated)
    for step, expected in golden.items():
        assert x[step - 1].tolist() == pytest.approx(expected, rel=1e-9)


@pytest.mark.parametrize("case", SETTINGS)
def test_the_official_package(problem, trajectory, deviation, schedule, case):
    values = SETTINGS[case]
    y, x = trajectory(problem, ours(**values), schedule=schedule, at=evaluated)
    their_y, their_x = trajectory(problem, official(**values), schedule=schedule, at=evaluated)
    assert deviation(y, their_y) < LIMIT
    assert deviation(torch.stack(x), torch.stack(their_x)) < LIMIT
    assert (y - torch.stack(x)).abs().max() > 1e-3, "the two points must differ"


def test_evaluation_mode_holds_x_and_refuses_steps(problem, gradients):
    x = problem.first()
    optimizer = ours(weight_decay=0.01)(x)
    first = [p.detach().clone() for p in x]
    optimizer.eval()  # before the first step the two points are one
    assert all(torch.equal(p, q) for p, q in zip(x, first, strict=True))
    with pytest.raises(RuntimeError, match="call train"):
        optimizer.step()
    optimizer.train()
    for step in range(5):
        gradients(problem, x, step)
        optimizer.step()
    y = [p.detach().clone() for p in x]
    optimizer.eval()
    optimizer.eval()  # a second call changes nothing
    for p, q in zip(x, y, strict=True):
        torch.testing.assert_close(p.detach(), (q - 0.1 * optimizer.state[p]["z"]) / 0.9)
    optimizer.train()
    optimizer.train()
    for p, q in zip(x, y, strict=True):
        torch.testing.assert_close(p.detach(), q)


def test_no_learning_rate_yet_is_no_step(golden_problem, trajectory):
    points, _ = trajectory(golden_problem, ours(), steps=2, schedule=lambda step: float(step))
    assert points[0].tolist() == [1.0, -2.0, 3.0]
    assert points[1].isfinite().all()
    assert points[1].tolist() != [1.0, -2.0, 3.0]
