"""DoG and L-DoG against `dog-optimizer` 1.0.3, its averager too; DoWG against a plain loop; the golden vectors.

Largest relative deviation in 300 steps, seen here: 1e-15; of DoWG in one step 3e-16.
"""

import dog
import pytest
import torch

from bpfree.optimizers.dog import DoG, DoWG, DoWGHyperparameters, Hyperparameters, LDoG

LIMIT = 1e-10
KINDS = {"dog": (DoG, dog.DoG), "ldog": (LDoG, dog.LDoG)}
BOLD = {"relative_initial_distance": 1e-4, "weight_decay": 0.01, "epsilon": 1e-2}
SETTINGS = {"defaults": {"weight_decay": 0.0}, "bold": BOLD}
DOWG_SETTINGS = {
    "defaults": {"weight_decay": 0.0},
    "other": {"initial_squared_distance": 1e-6, "weight_decay": 0.01, "epsilon": 1e-3},
}
GOLDEN = {  # the points, and r where the fact sheet has it
    "dog 1e-6": (
        DoG,
        {"weight_decay": 0.0},
        {
            1: (0.999999413, -1.999995304, 2.999999706),
            2: (0.9999989979, -1.999991983, 2.999999499),
            10: (0.9999841834, -1.99987347, 2.999992092),
            100: (0.3782677406, -0.03513670313, 2.571977114),
        },
        {1: [4.741657387e-6], 2: [4.741657387e-6], 10: [9.70657614e-5], 100: [2.093622104]},
    ),
    "dog 1e-4": (
        DoG,
        {"weight_decay": 0.0, "relative_initial_distance": 1e-4},
        {
            1: (0.9999412998, -1.999530398, 2.99997065),
            2: (0.9998997901, -1.999198379, 2.999949894),
            10: (0.9984193674, -1.987380484, 2.999209284),
            100: (0.03333753494, -7.953332297e-7, 1.867881603),
        },
        {},
    ),
    "ldog 1e-4": (
        LDoG,
        {"weight_decay": 0.0, "relative_initial_distance": 1e-4},
        {
            1: (0.9999598615, -1.999678892, 2.9996),
            2: (0.9999314782, -1.999451853, 2.999317186),
            10: (0.9989189596, -1.991363627, 2.989246615),
            100: (0.05031191821, -5.304107946e-6, 1.000006156),
        },
        {1: [3.236067977e-4, 4e-4]},
    ),
}
DOWG_GOLDEN = {
    1: (0.9987635618, -1.990108494, 2.999381781),
    2: (0.9978879044, -1.983129252, 2.998943546),
    10: (0.6902272195, -0.2523526677, 2.831374256),
    100: (0.0, 0.0, 1.000146948),  # "about 0"
}


def ours(kind, **values):
    return lambda x: kind(x, (DoWGHyperparameters if kind is DoWG else Hyperparameters)(**values))


def official(kind, **values):
    h = Hyperparameters(**values)
    return lambda x: kind(x, reps_rel=h.relative_initial_distance, weight_decay=h.weight_decay, eps=h.epsilon)


def distances(optimizer):
    """r, one or one a tensor."""
    if isinstance(optimizer, DoG):
        return [float(optimizer.param_groups[0]["r"])]
    if isinstance(optimizer, LDoG):
        return [float(optimizer.state[p]["r"]) for p in optimizer.param_groups[0]["params"]]
    return optimizer.param_groups[0]["rbar"].flatten().tolist()


class PlainDoWG(torch.optim.Optimizer):
    """The paper's Algorithm 1 with the authors' ε, in Python's numbers."""

    def __init__(self, parameters, initial_squared_distance=1e-4, weight_decay=0.0, epsilon=1e-4):
        super().__init__(parameters, {"lr": 1.0})
        self.weight_decay, self.epsilon = weight_decay, epsilon
        self.x0 = [p.detach().clone() for p in parameters]
        self.r2, self.v = initial_squared_distance, 0.0

    @torch.no_grad()
    def step(self, closure=None):
        (group,) = self.param_groups
        x = group["params"]
        g = [p.grad + self.weight_decay * p for p in x]
        self.r2 = max(self.r2, sum(((p - q) ** 2).sum().item() for p, q in zip(x, self.x0, strict=True)))
        self.v += self.r2 * sum((gradient**2).sum().item() for gradient in g)
        for p, gradient in zip(x, g, strict=True):
            p -= group["lr"] * self.r2 / (self.v**0.5 + self.epsilon) * gradient


@pytest.mark.parametrize("case", GOLDEN)
def test_the_golden_vectors(trajectory, golden_problem, case):
    kind, values, golden, golden_r = GOLDEN[case]
    points, r = trajectory(golden_problem, ours(kind, **values), steps=100, at=distances)
    for step, expected in golden.items():
        assert points[step - 1].tolist() == pytest.approx(expected, rel=1e-9)
    for step, expected in golden_r.items():
        assert r[step - 1] == pytest.approx(expected, rel=1e-9)


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("case", SETTINGS)
def test_the_official_package(trajectory, deviation, problem, kind, case, schedule):
    (own_kind, their_kind), values = KINDS[kind], SETTINGS[case]
    own, r = trajectory(problem, ours(own_kind, **values), schedule=schedule, at=distances)
    theirs, their_r = trajectory(problem, official(their_kind, **values), schedule=schedule, at=distances)
    assert deviation(own, theirs) < LIMIT
    torch.testing.assert_close(torch.tensor(r), torch.tensor(their_r), rtol=LIMIT, atol=0.0)
    assert max(r[-1]) > 10 * max(r[0]), "the distance must have grown"


def test_dowgs_golden_vector(trajectory, golden_problem):
    points, _ = trajectory(golden_problem, ours(DoWG, weight_decay=0.0), steps=100)
    for step, expected in DOWG_GOLDEN.items():
        assert points[step - 1].tolist() == pytest.approx(expected, rel=1e-9, abs=1e-6 if step == 100 else 0.0)


@pytest.mark.parametrize("case", DOWG_SETTINGS)
def test_dowgs_plain_loop(gradients, problem, case, schedule):
    """From the loop's point in every step: on the network DoWG goes wild, and carries a rounding error to 1e-3."""
    values = DOWG_SETTINGS[case]
    x, y = problem.first(), problem.first()
    optimizer, loop = ours(DoWG, **values)(x), PlainDoWG(y, **values)
    for step in range(300):
        gradients(problem, x, step)
        for p, q in zip(x, y, strict=True):
            q.grad = p.grad
        optimizer.param_groups[0]["lr"] = loop.param_groups[0]["lr"] = schedule(step) if schedule else 1.0
        optimizer.step()
        loop.step()
        for p, q in zip(x, y, strict=True):
            torch.testing.assert_close(p, q, rtol=LIMIT, atol=LIMIT)
            p.data.copy_(q)
    group = optimizer.param_groups[0]
    assert [float(group["r2"]), float(group["V"])] == pytest.approx([loop.r2, loop.v], rel=LIMIT)
    assert loop.r2 > 10 * DoWGHyperparameters(**values).initial_squared_distance, "the distance must have grown"


def averaged(optimizer):
    """x̄, between two steps."""
    optimizer.eval()
    average = torch.cat([p.detach().flatten() for p in optimizer.param_groups[0]["params"]])
    optimizer.train()
    return average


def test_the_official_averager(trajectory, deviation, problem):
    own, average = trajectory(problem, ours(DoG, averaging=8.0, **BOLD), at=averaged)
    averager = None

    def build(x):
        nonlocal averager
        averager = dog.PolynomialDecayAverager(torch.nn.ParameterList(x), gamma=8.0)
        return official(dog.DoG, **BOLD)(x)

    def at(optimizer):
        averager.step()
        return torch.cat([p.detach().flatten() for p in averager.averaged_model])

    theirs, their_average = trajectory(problem, build, at=at)
    average, their_average = torch.stack(average), torch.stack(their_average)
    assert deviation(own, theirs) < LIMIT
    assert deviation(average, their_average) < LIMIT
    assert (own - average)[20:].abs().max() > 1e-3, "the two points must differ"


@pytest.mark.parametrize("kind", [DoG, LDoG, DoWG])
def test_averaging_leaves_the_iterates_alone(trajectory, problem, kind):
    plain, _ = trajectory(problem, ours(kind), steps=30)
    own, average = trajectory(problem, ours(kind, averaging=8.0), steps=30, at=averaged)
    assert torch.equal(plain, own)
    assert torch.equal(average[0], own[0]), "the first average is the first iterate"


def test_evaluation_mode_refuses_steps(gradients, problem):
    x = problem.first()
    optimizer = ours(DoG, averaging=8.0)(x)
    optimizer.eval()  # there is no average yet
    optimizer.train()
    for step in range(5):
        gradients(problem, x, step)
        optimizer.step()
    before = [p.detach().clone() for p in x]
    optimizer.eval()
    optimizer.eval()  # a second call changes nothing
    assert not any(torch.equal(p, q) for p, q in zip(x, before, strict=True))
    with pytest.raises(RuntimeError, match="call train"):
        optimizer.step()
    optimizer.train()
    assert all(torch.equal(p, q) for p, q in zip(x, before, strict=True))
