"""Prodigy against `prodigyopt` 1.1.2, its estimate d too, and the golden vectors.

Largest relative deviation in 300 steps, seen here: 2e-10, on the network; the growth of d enlarges rounding.
"""

import prodigyopt
import pytest

from bpfree.optimizers.prodigy import Hyperparameters, Prodigy

LIMIT = 1e-7
SAFE = {"weight_decay": 0.1, "bias_correction": True, "safeguard_warmup": True}
SETTINGS = {
    "defaults": {"weight_decay": 0.0},
    "safe": SAFE,
    "growth": {"growth": 1.05, "beta1": 0.8, "beta2": 0.98, "beta3": 0.97, "initial_estimate": 1e-4},
    "coefficient": {"estimate_coefficient": 0.5, "initial_estimate": 1e-5, "weight_decay": 0.01},
}
GOLDEN = {  # the point and d
    "defaults": (
        {"weight_decay": 0.0},
        {
            1: (0.9999968377, -1.999996838, 2.999996838, 1e-6),
            2: (0.9999925881, -1.999992588, 2.999992588, 1.581532773e-6),
            10: (0.9889480804, -1.988950638, 2.988950654, 0.003873695751),
            100: (0.02274418995, 0.002108518385, 0.9978876758, 0.8962674858),
        },
    ),
    "safe": (
        SAFE,
        {
            1: (0.9999989684, -1.999998937, 2.999998905, 1e-6),
            2: (0.9999979448, -1.99999789, 2.999997835, 1e-6),
            10: (0.99998981, -1.99998962, 2.99998943, 1e-6),
            100: (0.1377707239, -0.0289558965, 1.0189192, 0.2383180825),
        },
    ),
}


def ours(**values):
    return lambda x: Prodigy(x, Hyperparameters(**values))


def official(**values):
    h = Hyperparameters(**values)
    return lambda x: prodigyopt.Prodigy(
        x, betas=(h.beta1, h.beta2), beta3=h.beta3, eps=h.epsilon, weight_decay=h.weight_decay,
        use_bias_correction=h.bias_correction, safeguard_warmup=h.safeguard_warmup, d0=h.initial_estimate,
        d_coef=h.estimate_coefficient, growth_rate=h.growth or float("inf"),
    )  # fmt: skip


def estimate(optimizer):
    return float(optimizer.param_groups[0]["d"])


@pytest.mark.parametrize("case", GOLDEN)
def test_the_golden_vectors(golden_problem, trajectory, case):
    values, golden = GOLDEN[case]
    points, d = trajectory(golden_problem, ours(**values), steps=100, at=estimate)
    for step, expected in golden.items():
        assert [*points[step - 1].tolist(), d[step - 1]] == pytest.approx(expected, rel=1e-9)


@pytest.mark.parametrize("case", SETTINGS)
def test_the_official_package(problem, trajectory, deviation, schedule, case):
    values = SETTINGS[case]
    points, d = trajectory(problem, ours(**values), schedule=schedule, at=estimate)
    theirs, their_d = trajectory(problem, official(**values), schedule=schedule, at=estimate)
    assert deviation(points, theirs) < LIMIT
    assert d == pytest.approx(their_d, rel=LIMIT)
    assert d[-1] > 10 * d[0], "the estimate must have grown"
