"""MoMo and MoMo-Adam against `momo-opt` 0.1.0, their learned bound too, and the golden vectors; how the loss gets in.

Largest relative deviation in 300 steps, seen here: 4e-13.
"""

import momo
import pytest
import torch

from bpfree.optimizers.momo import Hyperparameters, MoMo, MoMoAdam, MoMoAdamHyperparameters

LIMIT = 1e-9
SETTINGS = {
    "defaults": (MoMo, {"weight_decay": 0.0}),
    "decay": (MoMo, {"weight_decay": 0.1, "beta1": 0.8, "lower_bound": 0.2}),
    "corrected": (MoMo, {"weight_decay": 0.01, "bias_correction": True, "learning_rate_cap": 3.0}),
    "learned": (MoMo, {"weight_decay": 0.01, "estimate_lower_bound": True, "lower_bound": -10.0}),
    "learned, corrected": (MoMo, {"estimate_lower_bound": True, "bias_correction": True, "learning_rate_cap": 0.1}),
    "Adam's defaults": (MoMoAdam, {"weight_decay": 0.0}),
    "Adam's decay": (MoMoAdam, {"weight_decay": 0.1, "learning_rate_cap": 0.05, "beta1": 0.8, "beta2": 0.98}),
    "Adam's learned": (MoMoAdam, {"weight_decay": 0.1, "estimate_lower_bound": True, "epsilon": 1e-4}),
}
GOLDEN = {
    "MoMo": (
        MoMo,
        {"weight_decay": 0.0},
        {
            1: (0.8620689655, -0.8965517241, 2.931034483),
            2: (0.857936275, -0.8648773972, 2.928946463),
            10: (0.8175819474, -0.6103617642, 2.907686889),
            100: (0.0173079252, -0.006797675955, 1.233648222),
        },
        {},
    ),
    "MoMo, decay": (
        MoMo,
        {"weight_decay": 0.1},
        {
            1: (0.7969348659, -0.9209334727, 2.671194706),
            2: (0.7244862417, -0.8372122479, 2.428358823),
            10: (0.3379781786, -0.3905656924, 1.132847313),
            100: (-2.993393125e-4, 0.001203830186, 0.7161140203),
        },
        {},
    ),
    "MoMo-Adam": (
        MoMoAdam,
        {"weight_decay": 0.0},
        {
            1: (0.9900000001, -1.99, 2.99),
            2: (0.9800027461, -1.980001338, 2.980001338),
            10: (0.9003496545, -1.900167767, 2.900167769),
            100: (0.2244460485, -1.098448375, 2.098448392),
        },
        {},
    ),
    "MoMo-Adam, learned": (
        MoMoAdam,
        {"weight_decay": 0.1, "estimate_lower_bound": True},
        {
            1: (0.9890109891, -1.988011988, 2.987012987),
            2: (0.978035986, -1.976037563, 2.974040698),
            10: (0.8909875982, -1.880858907, 2.870931402),
            100: (0.1916363384, -0.97312809, 1.890513021),
        },
        {1: 8.9525, 2: 8.839479563, 10: 7.961440629, 100: 1.998633013},
    ),
}


@pytest.fixture(autouse=True)
def _double_by_default():
    """The package keeps some of its averages in torch's default type."""
    torch.set_default_dtype(torch.float64)
    yield
    torch.set_default_dtype(torch.float32)


def hyperparameters(kind, values):
    return (Hyperparameters if kind is MoMo else MoMoAdamHyperparameters)(**values)


def ours(kind, **values):
    return lambda x: kind(x, hyperparameters(kind, values))


def official(kind, **values):
    h = hyperparameters(kind, values)
    given = {"lr": h.learning_rate_cap, "weight_decay": h.weight_decay, "lb": h.lower_bound}
    given["use_fstar"] = h.estimate_lower_bound
    if kind is MoMo:
        return lambda x: momo.Momo(x, beta=h.beta1, bias_correction=h.bias_correction, **given)
    return lambda x: momo.MomoAdam(x, betas=(h.beta1, h.beta2), eps=h.epsilon, **given)


def bound(optimizer):
    own = isinstance(optimizer, MoMo)
    return float(optimizer.param_groups[0]["f_star"] if own else optimizer.lb)


@pytest.mark.parametrize("case", GOLDEN)
def test_the_golden_vectors(trajectory, golden_problem, case):
    kind, values, golden, golden_bound = GOLDEN[case]
    points, bounds = trajectory(golden_problem, ours(kind, **values), steps=100, at=bound)
    for step, expected in golden.items():
        assert points[step - 1].tolist() == pytest.approx(expected, rel=1e-9)
    for step, expected in golden_bound.items():
        assert bounds[step - 1] == pytest.approx(expected, rel=1e-9)


@pytest.mark.parametrize("case", SETTINGS)
def test_the_official_package(trajectory, deviation, problem, case, schedule):
    kind, values = SETTINGS[case]
    own, bounds = trajectory(problem, ours(kind, **values), schedule=schedule, at=bound)
    theirs, their_bounds = trajectory(problem, official(kind, **values), schedule=schedule, at=bound)
    assert deviation(own, theirs) < LIMIT
    torch.testing.assert_close(torch.tensor(bounds), torch.tensor(their_bounds), rtol=LIMIT, atol=LIMIT)
    assert (len(set(bounds)) > 10) == values.get("estimate_lower_bound", False)


@pytest.mark.parametrize("kind", [MoMo, MoMoAdam])
def test_the_loss_is_set_before_each_step(gradients, problem, kind):
    by_closure, by_attribute = problem.first(), problem.first()
    first, second = ours(kind)(by_closure), ours(kind)(by_attribute)
    with pytest.raises(ValueError, match="set the optimizer's `loss`"):
        second.step()
    for step in range(5):
        loss = gradients(problem, by_closure, step)
        first.step(lambda loss=loss: loss)
        second.loss = gradients(problem, by_attribute, step)
        second.step()
    assert all(torch.equal(p, q) for p, q in zip(by_closure, by_attribute, strict=True))
    with pytest.raises(ValueError, match="set the optimizer's `loss`"):
        second.step()  # not by an old one


@pytest.mark.parametrize("kind", [MoMo, MoMoAdam])
def test_no_gradient_is_no_step(problem, kind):
    x = problem.first()
    before = [p.detach().clone() for p in x]
    optimizer = ours(kind, weight_decay=0.0)(x)
    for p in x:
        p.grad = torch.zeros_like(p)
    optimizer.step(lambda: torch.tensor(0.5))
    assert all(torch.equal(p, q) for p, q in zip(x, before, strict=True))
