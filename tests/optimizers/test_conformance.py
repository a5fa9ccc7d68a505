"""What every optimizer of the table does, by being listed."""

import copy
import io
import json
from statistics import median

import pytest
import torch
from recording import READ_BACK, Recorder
from torch import nn

from bpfree import assembly, passes, workloads
from bpfree.optimizers import OPTIMIZERS

DTYPES = [torch.float32, torch.float64]
NAMES = (
    "sgd", "adam", "adamw", "nadamw", "schedule_free_adamw", "dadapt_adamw", "prodigy", "mechanic",
    "dog", "ldog", "dowg", "momo", "momo_adam", "cocob",
)  # fmt: skip
every = pytest.mark.parametrize("name", OPTIMIZERS)


class Problem:
    """A quadratic in two tensors, ½ Σ a (x − 1)², beside a parameter that never has a gradient."""

    def __init__(self, name, dtype=torch.float32, **values):
        draw = torch.Generator().manual_seed(0)
        shapes = (4, 3), (5,)
        self.x = [nn.Parameter(torch.randn(shape, generator=draw).to(dtype)) for shape in shapes]
        self.a = [(torch.rand(shape, generator=draw) + 0.5).to(dtype) for shape in shapes]
        self.idle = nn.Parameter(torch.ones(3, dtype=dtype))
        self.loss = torch.zeros((), dtype=dtype)
        entry = OPTIMIZERS[name]
        self.optimizer = entry.build([self.x[0], self.idle, self.x[1]], entry.hyperparameters(**values))

    def gradients(self, noise=0.0, step=0):
        """Always in the same memory."""
        draw = torch.Generator().manual_seed(step)
        self.loss.zero_()
        for x, a in zip(self.x, self.a, strict=True):
            self.loss += (a * (x.detach() - 1) ** 2).sum() / 2
            gradient = a * (x.detach() - 1) + noise * torch.randn(x.shape, generator=draw).to(x)
            x.grad = gradient if x.grad is None else x.grad.copy_(gradient)

    def steps(self, count, first=0):
        for step in range(first, first + count):
            self.gradients(0.1, step)
            self.optimizer.step(lambda: self.loss)
        return self

    def values(self):
        return [x.detach().clone() for x in self.x]


def same(one, other):
    return all(torch.equal(p, q) for p, q in zip(one.values(), other.values(), strict=True))


@every
@pytest.mark.parametrize("dtype", DTYPES)
def test_it_decreases_a_quadratic(name, dtype):
    problem = Problem(name, dtype)
    problem.gradients()
    first = problem.loss.item()
    for _ in range(300):
        problem.gradients()
        problem.optimizer.step(lambda: problem.loss)
    if hasattr(problem.optimizer, "eval"):
        problem.optimizer.eval()
    problem.gradients()
    assert problem.loss.item() < 0.9 * first
    assert all(x.dtype == dtype for x in problem.x)


@every
def test_a_parameter_without_gradient_is_left_alone(name):
    problem = Problem(name).steps(10)
    assert torch.equal(problem.idle, torch.ones(3))
    assert not same(problem, Problem(name))


@every
def test_gradients_are_left_as_they_are(name):
    problem = Problem(name).steps(3)
    problem.gradients()
    before = [x.grad.clone() for x in problem.x]
    problem.optimizer.step(lambda: problem.loss)
    assert all(torch.equal(x.grad, g) for x, g in zip(problem.x, before, strict=True))


@every
def test_it_is_deterministic(name):
    assert same(Problem(name).steps(20), Problem(name).steps(20))


@every
@pytest.mark.parametrize("dtype", DTYPES)
def test_a_saved_state_goes_on_bit_by_bit(name, dtype):
    begun = Problem(name, dtype).steps(10)
    file = io.BytesIO()
    torch.save(begun.optimizer.state_dict(), file)
    file.seek(0)
    loaded = Problem(name, dtype)
    for x, value in zip(loaded.x, begun.values(), strict=True):
        x.data.copy_(value)
    loaded.optimizer.load_state_dict(torch.load(file))
    assert same(begun.steps(10, first=10), loaded.steps(10, first=10))


@every
def test_a_copy_goes_on_bit_by_bit(name):
    begun = Problem(name).steps(10)
    copied = copy.deepcopy(begun)
    assert same(begun.steps(5, first=10), copied.steps(5, first=10))


@every
def test_a_step_reads_nothing_back(name):
    problem = Problem(name)
    for step in range(3):
        problem.gradients(0.1, step)
        with Recorder() as recorder:
            problem.optimizer.step(lambda: problem.loss)
        assert recorder.names
        assert not recorder.names & READ_BACK


@every
@pytest.mark.parametrize("dtype", DTYPES)
def test_a_captured_step_can_be_replayed(name, dtype):
    """What a CUDA graph would replay is recorded here, and must do what steps do: nothing changes behind its back."""
    eager, captured = Problem(name, dtype).steps(3), Problem(name, dtype).steps(3)
    eager.steps(1, first=3)
    captured.gradients(0.1, 3)
    with Recorder() as recorder:
        captured.optimizer.step(lambda: captured.loss)
    for step in range(4, 30):
        eager.steps(1, first=step)
        captured.gradients(0.1, step)
        recorder.replay()
        assert same(eager, captured)
    assert not same(eager, Problem(name, dtype))


@every
def test_a_captured_step_follows_a_schedule(name):
    """With a learning rate on the device."""
    eager, captured = Problem(name).steps(3), Problem(name).steps(3)
    rate = eager.optimizer.param_groups[0]["lr"]
    captured.optimizer.param_groups[0]["lr"] = on_device = torch.tensor(rate, dtype=torch.float64)
    eager.steps(1, first=3)
    captured.gradients(0.1, 3)
    with Recorder() as recorder:
        captured.optimizer.step(lambda: captured.loss)
    for step in range(4, 30):
        eager.optimizer.param_groups[0]["lr"] = rate * (1 - step / 30)
        on_device.fill_(rate * (1 - step / 30))
        eager.steps(1, first=step)
        captured.gradients(0.1, step)
        recorder.replay()
        for x, y in zip(eager.x, captured.x, strict=True):
            torch.testing.assert_close(x, y, rtol=1e-5, atol=1e-7)


@every
def test_blocks_share_one_where_that_changes_nothing(name):
    """Bit by bit. Where norms, sums or losses are over all parameters, it would change much."""
    values = {"learning_rate_cap": 10.0} if name == "momo_adam" else {}  # at its default the cap decides every step

    def trained(*parts):
        problem, entry = Problem(name), OPTIMIZERS[name]
        optimizers = [entry.build([problem.x[i] for i in p], entry.hyperparameters(**values)) for p in parts]
        for step in range(20):
            problem.gradients(0.1, step)
            for optimizer in optimizers:
                optimizer.step(lambda: problem.loss)
        return problem

    assert same(trained([0], [1]), trained([0, 1])) == Problem(name).optimizer.separable


@every
def test_a_local_algorithm_learns_with_it(name):
    workload = workloads.find("digits-mlp")
    values = assembly.resolve("mono_forward", name, {})
    algorithm = assembly.build(workload, "mono_forward", name, values, seed=0, device="cpu")
    (stage,) = algorithm.stages()
    algorithm.begin(stage)
    assert len(algorithm.optimizers) == (1 if type(algorithm.optimizers[0]).separable else len(algorithm.blocks))
    data = workload.load("cpu")
    orders = [assembly.stream(epoch, "order") for epoch in range(3)]
    first, *later = (
        median(algorithm.step(*batch).item() for batch in passes.batches(data.train, 32, order)) for order in orders
    )
    assert min(later) < first  # of an epoch each: DoWG's steps grow so long here that it unlearns what it has learnt


@pytest.mark.parametrize("name", OPTIMIZERS)
def test_overrides_of_knobs_that_it_lacks_do_no_harm(name):
    """Forward-Forward's read-out asks for a learning rate of its own, which few learning-rate-free optimizers have."""
    entry = OPTIMIZERS[name]
    h = entry.hyperparameters().model_copy(update={"learning_rate": 0.01, "weight_decay": 0.0})
    assert entry.build([torch.zeros(1)], h).param_groups[0]["lr"] in (0.01, 1.0)


def test_the_list_names_all_with_paper_knobs_and_ranges(bpfree):
    listed = {entry["name"]: entry for entry in json.loads(bpfree("list", "optimizers", "--json").stdout)}
    assert set(listed) == set(NAMES)
    for name, entry in listed.items():
        assert entry["paper"]
        knobs = entry["hyperparameters"]
        assert set(knobs) == set(OPTIMIZERS[name].hyperparameters.model_fields)
        assert knobs["weight_decay"]["range"] == "1e-06 to 0.01 (log)"
    assert listed["prodigy"]["hyperparameters"]["initial_estimate"] == {
        "default": 1e-6,
        "range": "1e-07 to 0.001 (log)",
    }
