"""D-Adapt AdamW against `dadaptation` 3.2, its estimate d too, and the golden vectors.

Largest relative deviation in 300 steps, seen here: 6e-14. The package is asked for decoupled decay,
which it has off by default.
"""

import dadaptation
import pytest

from bpfree.optimizers.dadapt import DAdaptAdamW, Hyperparameters

LIMIT = 1e-9
DECAYED = {"weight_decay": 0.1, "bias_correction": True}
SETTINGS = {
    "defaults": {"weight_decay": 0.0},
    "decayed": DECAYED,
    "growth": {"growth": 1.05, "beta1": 0.8, "beta2": 0.98, "initial_estimate": 1e-4},
}
GOLDEN = {  # the point and d
    "defaults": (
        {"weight_decay": 0.0},
        {
            1: (0.9999968377, -1.999996838, 2.999996838, 1e-6),
            2: (0.9999925881, -1.999992588, 2.999992588, 1.581532773e-5),
            10: (0.7398484299, -1.734188103, 2.734188153, 0.4612126398),
            100: (-0.006772680652, 0.01044692241, 0.9895530142, 3.911628956),
        },
    ),
    "decayed": (
        DECAYED,
        {
            1: (0.9999989684, -1.999998937, 2.999998905, 1e-6),
            2: (0.999997782, -1.999997727, 2.999997672, 4.267726759e-6),
            10: (0.9997479721, -1.999737538, 2.99972711, 4.260632829e-4),
            100: (-0.001677109457, 0.004383248613, 0.9616709356, 2.019871958),
        },
    ),
}


def ours(**values):
    return lambda x: DAdaptAdamW(x, Hyperparameters(**values))


def official(**values):
    h = Hyperparameters(**values)
    return lambda x: dadaptation.DAdaptAdam(
        x, betas=(h.beta1, h.beta2), eps=h.epsilon, weight_decay=h.weight_decay, decouple=True,
        use_bias_correction=h.bias_correction, d0=h.initial_estimate, growth_rate=h.growth or float("inf"),
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
