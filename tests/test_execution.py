"""Execution levels: a replayed or compiled step does what the eager one does, and no step waits for its device.

There is no CUDA graph on a CPU. Here the operators of a step are recorded as they are dispatched and done again in the
same memory, which is what a graph does: whatever a step keeps in Python shows.
"""

import contextlib
import os
import shutil
from functools import cache, partial
from itertools import islice
from unittest import mock

import pytest
import torch
from recording import READ_BACK, Recorder
from specs import spec
from test_golden_curves import VARIANTS
from torch._dynamo.utils import counters
from torch.profiler import ProfilerActivity, profile

from bpfree import assembly, execution, passes, trainer
from bpfree.algorithms import ALGORITHMS, Algorithm
from bpfree.algorithms.backprop import Backprop
from bpfree.errors import RequestError
from bpfree.optimizers import OPTIMIZERS
from bpfree.workloads import Split, Workload
from bpfree.workloads.metrics import SQUARED_ERROR, squared_error

SMALL = {
    row.architecture: row
    for row in (
        Workload("small-mlp", "digits", "mlp", (24, 16)),
        Workload("small-cnn", "digits", "cnn", (4, 6)),
        Workload("small-autoencoder", "digits", "autoencoder", (16, 8), SQUARED_ERROR, squared_error),
        Workload("small-recurrent", "digits", "recurrent", (8,)),
    )
}
CASES = [
    (architecture, variant)
    for architecture in SMALL
    for variant, (algorithm, _) in VARIANTS.items()
    if architecture in ALGORITHMS[algorithm].architectures
]
VARIED = ("adamw", "sgd", "schedule_free_adamw", "momo", "mechanic", "prodigy")
REPLAYED = [(*case, name) for case in CASES for name in (VARIED if case[0] == "mlp" else ("adamw", "momo"))]
RATE = 2**-7
"""Exact in float32 too, in which the fused kernels take it where it is a tensor."""
STEPS, BATCH = 9, 16
CXX = os.environ.get("CXX", "g++")
every_case = pytest.mark.parametrize(("architecture", "variant"), CASES, ids=map("-".join, CASES))


class Graph:
    """Stands in for a CUDA graph. What is captured has been computed by then, so the first replay does nothing."""

    def __init__(self):
        self.recorder, self.generators, self.replays = Recorder(), [], 0

    def register_generator_state(self, generator):
        self.generators.append(generator)

    def replay(self):
        if self.replays:
            self.recorder.replay()
        self.replays += 1

    @contextlib.contextmanager
    def captured(self):
        """What a capture would refuse is refused: values read or sent, draws that the graph does not know of."""
        sent = AssertionError("a value is sent to the device")
        with self.recorder, mock.patch.object(torch, "tensor", side_effect=sent):
            yield
        assert not self.recorder.names & READ_BACK
        drawn_from = {
            kwargs["generator"].initial_seed() for *_, kwargs, _ in self.recorder.calls if "generator" in kwargs
        }
        assert drawn_from <= {generator.initial_seed() for generator in self.generators}


class Stream:
    """Stands in for a CUDA stream: all is done in order."""

    def wait_stream(self, other):
        pass


@pytest.fixture
def graphs(monkeypatch):
    """CUDA graphs on the CPU; those that are made."""
    made = []

    def make():
        made.append(Graph())
        return made[-1]

    monkeypatch.setattr(torch.cuda, "CUDAGraph", make)
    monkeypatch.setattr(torch.cuda, "graph", Graph.captured)
    monkeypatch.setattr(torch.cuda, "Stream", Stream)
    monkeypatch.setattr(torch.cuda, "current_stream", Stream)
    monkeypatch.setattr(torch.cuda, "stream", lambda stream: contextlib.nullcontext())
    return made


@pytest.fixture
def compiler(monkeypatch):
    """torch.compile up to its code generator, which needs a C++ compiler and many seconds; its counters."""
    torch._dynamo.reset()
    counters.clear()
    monkeypatch.setattr(torch, "compile", partial(torch.compile, backend="aot_eager"))
    yield counters
    torch._dynamo.reset()


@cache
def digits(architecture, device):
    return SMALL[architecture].load(device)


def build(architecture, variant, optimizer="adamw", device="cpu", **more):
    """An algorithm on a small network, with learning rates that are exact, where there are any."""
    algorithm, settings = VARIANTS[variant]
    knobs = {"learning_rate": RATE} if "learning_rate" in OPTIMIZERS[optimizer].hyperparameters.model_fields else {}
    if algorithm == "forward_forward":
        knobs["readout_learning_rate"] = RATE
    values = assembly.resolve(algorithm, optimizer, {**knobs, **settings, **more})
    return assembly.build(SMALL[architecture], algorithm, optimizer, values, seed=0, device=device)


def trained(algorithm, architecture, level, device="cpu"):
    """All that a few steps a stage leave behind, with an evaluation on the way."""
    data = digits(architecture, device)
    few = Split(data.validation.inputs[:50], data.validation.targets[:50])
    batches, left = passes.endless(data.train, BATCH, assembly.stream(0, "order", device)), []
    for stage in algorithm.stages():
        algorithm.begin(stage)
        launch = execution.step_of(algorithm, level)
        for part in (5, STEPS - 5):
            left += [launch(*batch).clone() for batch in islice(batches, part)]
            with algorithm.averaged():
                left.append(torch.tensor(passes.evaluate(algorithm, SMALL[architecture], few)))
        algorithm.end(None)
        left += [value for module in stage.modules for value in module.state_dict().values()]
    drawn_next = torch.rand(3, generator=algorithm.generator, device=device)
    return [*left, *getattr(algorithm, "m", []), algorithm.predict(few.inputs), drawn_next]


def assert_same(one, other, **tolerance):
    for a, b in zip(one, other, strict=True):
        torch.testing.assert_close(a, b, **tolerance)


@pytest.mark.parametrize(("architecture", "variant", "optimizer"), REPLAYED, ids=map("-".join, REPLAYED))
def test_a_replayed_step_is_the_eager_one(graphs, architecture, variant, optimizer):
    """Bit by bit: weights, batch statistics, sums, draws and losses."""
    eager = trained(build(architecture, variant, optimizer), architecture, "eager")
    algorithm = build(architecture, variant, optimizer)
    assert_same(trained(algorithm, architecture, "cuda_graph"), eager, rtol=0, atol=0)
    assert [graph.replays for graph in graphs] == [STEPS - execution.EAGER_STEPS] * len(algorithm.stages())


@pytest.mark.parametrize(
    ("variant", "optimizer"),
    [*((variant, name) for variant in VARIANTS for name in VARIED), *(("mono_forward", name) for name in OPTIMIZERS)],
)
def test_inference_mode_changes_nothing(variant, optimizer):
    """Bit by bit; and what is left can be evaluated when the mode has ended, as the test set is."""
    plain = trained(build("mlp", variant, optimizer), "mlp", "eager")
    algorithm = build("mlp", variant, optimizer)
    with execution.mode_of(algorithm, "eager"):
        assert torch.is_inference_mode_enabled()
        found = trained(algorithm, "mlp", "eager")
    assert_same(found, plain, rtol=0, atol=0)
    few = digits("mlp", "cpu").validation.inputs[:50]
    torch.testing.assert_close(algorithm.predict(few), plain[-2], rtol=0, atol=0)


@pytest.mark.parametrize(
    ("architecture", "level", "inference"),
    [
        ("mlp", "eager", True),
        ("mlp", "compiled", False),
        ("cnn", "eager", False),  # autograd differentiates its blocks
        ("autoencoder", "eager", False),  # and the loss of this one
        ("recurrent", "eager", False),
    ],
)
def test_inference_mode_is_for_eager_steps_without_autograd(architecture, level, inference):
    with execution.mode_of(build(architecture, "backprop"), level):
        assert torch.is_inference_mode_enabled() == inference
        assert not torch.is_grad_enabled()


def test_an_algorithm_need_not_know_of_inference_mode(monkeypatch):
    """One that leaves a gradient to autograd learns in a run as it does by itself."""

    def step(self, inputs, labels_B):
        with torch.enable_grad():
            a = inputs
            for block in self.blocks:
                a = block(a)
            loss = torch.nn.functional.cross_entropy(self.head(a), labels_B)
            loss.backward()
        self.advance(lambda _: loss)
        for optimizer in self.optimizers.values():
            optimizer.zero_grad()
        return loss.detach()

    def run():
        return [e.train_loss for e in trainer.run(spec("backprop", epochs=2), "cpu").history]

    by_formula = run()
    monkeypatch.setattr(Backprop, "step", step)
    monkeypatch.setattr(Backprop, "build", Algorithm.build)
    assert run() == pytest.approx(by_formula, rel=1e-4)


def test_what_is_kept_in_python_would_be_seen(graphs, monkeypatch):
    """The test above can fail."""
    advance = ALGORITHMS["backprop"].advance

    def counting(self, loss):
        self.count = getattr(self, "count", 0) + 1
        self.head.bias.grad.mul_(self.count)
        advance(self, loss)

    monkeypatch.setattr(ALGORITHMS["backprop"], "advance", counting)
    eager, replayed = (trained(build("mlp", "backprop"), "mlp", level) for level in ("eager", "cuda_graph"))
    with pytest.raises(AssertionError):
        assert_same(replayed, eager)


@pytest.mark.parametrize(("algorithm", "schedule"), [("mono_forward", "linear_cooldown"), ("backprop", "cosine")])
def test_a_run_of_replays_is_the_eager_run(graphs, algorithm, schedule):
    """Learning rates on the device follow the schedule: all at once, or step by step."""

    def run(level):
        wanted = spec(algorithm, epochs=4, learning_rate=RATE)
        wanted.training.execution, wanted.training.schedule = level, schedule
        return [x for e in trainer.run(wanted, "cpu").history for x in (e.train_loss, e.validation_loss)]

    eager = run("eager")
    assert not graphs
    assert run("cuda_graph") == pytest.approx(eager, rel=1e-5)
    assert max(graph.replays for graph in graphs) == 4 * 35 - execution.EAGER_STEPS


@pytest.mark.parametrize("level", ["eager", "cuda_graph"])
def test_sums_grow_over_all_evaluations_of_a_stage(graphs, level):
    """What is solved for is the same however often it is evaluated on the way."""

    def run(evaluations):
        wanted = spec("cascaded_forward", loss="squared_error", schedule="simultaneous")
        wanted.training = wanted.training.model_copy(
            update={"max_steps": 30, "evaluate_every": 30 // evaluations, "restore": "last", "execution": level}
        )
        return trainer.run(wanted, "cpu").metrics

    assert run(3) == run(1)


def test_kept_weights_are_not_solved_for_again():
    data = digits("mlp", "cpu").train
    algorithm = build("mlp", "cascaded_forward_squared_error", schedule="simultaneous")
    (stage,) = algorithm.stages()
    algorithm.begin(stage)
    kept = [{name: value.clone() for name, value in module.state_dict().items()} for module in stage.modules]
    before = passes.evaluate(algorithm, SMALL["mlp"], data)
    algorithm.step(data.inputs, data.targets)
    assert passes.evaluate(algorithm, SMALL["mlp"], data) != before
    algorithm.end(kept)
    assert passes.evaluate(algorithm, SMALL["mlp"], data) == before


QUICK = {
    ("mlp", "forward_forward_hard"), ("mlp", "cascaded_forward_squared_error"), ("mlp", "mono_forward"),
    ("cnn", "backprop"),
}  # fmt: skip


@pytest.mark.parametrize(
    ("architecture", "variant"),
    [pytest.param(*case, marks=[] if case in QUICK else pytest.mark.slow, id="-".join(case)) for case in CASES],
)
def test_a_compiled_step_is_the_eager_one_and_one_graph(compiler, architecture, variant):
    eager = trained(build(architecture, variant, "momo"), architecture, "eager")
    algorithm = build(architecture, variant, "momo")
    assert_same(trained(algorithm, architecture, "compiled"), eager)
    assert compiler["frames"]["ok"] == compiler["frames"]["total"]
    if algorithm.name == "forward_forward":  # torch leaves the graph for a draw from a generator
        assert all("Generator" in reason for reason in compiler["graph_break"])
    else:
        assert not compiler["graph_break"]
        assert compiler["stats"]["unique_graphs"] == len(algorithm.stages())


def compiled_anew(weights):
    """Two steps for each of these weights of the auxiliary losses; what is compiled is decided before any backend."""
    batch = digits("mlp", "cpu").train.inputs[:BATCH], digits("mlp", "cpu").train.targets[:BATCH]
    for weight in weights:
        algorithm = build("mlp", "deep_supervision_last", auxiliary_weight=weight)
        algorithm.begin(*algorithm.stages())
        with mock.patch.object(torch, "compile", partial(torch.compile, backend="eager")):
            launch = execution.step_of(algorithm, "compiled")
        launch(*batch)
        launch(*batch)


def test_no_step_falls_back_to_what_is_not_compiled(compiler):
    compiled_anew(range(10))
    assert compiler["stats"]["unique_graphs"] == 10
    assert not compiler["unimplemented"]
    compiled_anew(range(3))
    assert compiler["stats"]["unique_graphs"] == 10, "what is known is not compiled again"


def test_a_fallback_would_be_seen(compiler, monkeypatch):
    """The test above can fail."""
    monkeypatch.setattr(execution, "RECOMPILE_LIMIT", 2)
    compiled_anew(range(4))
    assert any("recompile limit" in reason for reason in compiler["unimplemented"])


def test_nothing_is_compiled_while_it_is_measured(compiler, monkeypatch):
    """Warm-up has done it."""
    train, seen = trainer.Run.train, []

    def spy(self, *arguments):
        seen.append(compiler["stats"]["unique_graphs"])
        window = train(self, *arguments)
        seen.append(compiler["stats"]["unique_graphs"])
        return window

    monkeypatch.setattr(trainer.Run, "train", spy)
    wanted = spec("mono_forward", epochs=2, schedule="greedy")
    wanted.training.execution, wanted.measurement.warmup_steps = "compiled", 2
    trainer.run(wanted, "cpu")
    assert seen == [2, 2]


@pytest.mark.filterwarnings("ignore:.torch.jit:DeprecationWarning")  # torch's own
@pytest.mark.skipif(not shutil.which(CXX), reason=f"no {CXX}, which torch compiles with on a CPU")
@pytest.mark.parametrize(
    "algorithm", [name if name == "mono_forward" else pytest.param(name, marks=pytest.mark.slow) for name in ALGORITHMS]
)
def test_a_compiled_run_is_the_eager_run(algorithm):
    """With the code that is run, of some 20 seconds where torch has not kept it."""
    eager, compiled = spec(algorithm, epochs=2), spec(algorithm, epochs=2)
    compiled.training.execution, compiled.measurement.warmup_steps = "compiled", 2
    one, other = (trainer.run(wanted, "cpu") for wanted in (eager, compiled))
    assert other.status == "completed"
    (by_block, found), (by_block_too, found_too) = (
        (run.metrics.test_metric_by_block, run.metrics.model_dump(exclude={"test_metric_by_block", "metric"}))
        for run in (one, other)
    )
    assert found_too == pytest.approx(found, rel=1e-4)
    assert by_block_too == pytest.approx(by_block, rel=1e-4)
    for e, c in zip(one.history, other.history, strict=True):
        assert (c.train_loss, c.validation_loss) == pytest.approx((e.train_loss, e.validation_loss), rel=1e-4)


@pytest.mark.parametrize(
    ("wanted", "device", "level"),
    [
        (None, "cpu", "eager"),
        (None, "cuda:0", "cuda_graph"),
        (None, "cuda", "cuda_graph"),
        ("eager", "cuda:0", "eager"),
        ("compiled", "cpu", "compiled"),
        ("cuda_graph", "cuda:1", "cuda_graph"),
    ],
)
def test_the_level_is_the_one_that_is_wanted_or_the_devices(wanted, device, level):
    assert execution.level_of(wanted, device) == level


@pytest.mark.parametrize(
    ("wanted", "text"), [("cuda_graph", "needs a CUDA device"), ("cuda_graphs", "did you mean cuda_graph?")]
)
def test_a_level_that_cannot_be_is_refused(wanted, text):
    with pytest.raises(RequestError, match=text):
        execution.level_of(wanted, "cpu")


def test_the_command_line_refuses_it_in_one_line(bpfree, tmp_path):
    options = ("-w", "digits-mlp", "--device", "cpu", "--execution", "cuda_graph", "--results", tmp_path)
    done = bpfree("train", "backprop", *options)
    assert done.returncode == 2
    assert done.stderr.count("\n") == 1
    assert "needs a CUDA device, not the CPU: choose eager or compiled" in done.stderr
    assert not any(tmp_path.iterdir())


READS = {"aten::item", "aten::_local_scalar_dense"}
FUSED = {"aten::_fused_adam_", "aten::_fused_adamw_"}
"""On a CPU these kernels look at their step counter, which lies there."""


def callers(event):
    """An operator and those that it is called from."""
    while event is not None:
        yield event.name
        event = event.cpu_parent


def reads(action):
    """How an action reads values back, whoever does it."""
    with profile(activities=[ProfilerActivity.CPU]) as profiler:
        action()
    events = profiler.events()
    assert events
    return {event.name for event in events if event.name in READS and not FUSED & set(callers(event))}


def reads_of_a_step(algorithm, architecture):
    data = digits(architecture, "cpu").train
    found = set()
    for stage in algorithm.stages():
        algorithm.begin(stage)
        algorithm.step(data.inputs[:BATCH], data.targets[:BATCH])
        found |= reads(lambda: algorithm.step(data.inputs[:BATCH], data.targets[:BATCH]))
    return found


@every_case
def test_no_algorithm_reads_a_value_back(architecture, variant):
    assert not reads_of_a_step(build(architecture, variant), architecture)


@pytest.mark.parametrize("optimizer", OPTIMIZERS)
def test_no_optimizer_reads_a_value_back(optimizer):
    assert not reads_of_a_step(build("mlp", "mono_forward", optimizer), "mlp")


@pytest.mark.parametrize("algorithm", ALGORITHMS)
def test_the_trainer_reads_nothing_back_between_evaluations(monkeypatch, algorithm):
    interval, found = trainer.Run.train_interval, []

    def spy(self, *arguments):
        kept = []
        found.append(reads(lambda: kept.append(interval(self, *arguments))))
        return kept[0]

    monkeypatch.setattr(trainer.Run, "train_interval", spy)
    wanted = spec(algorithm, epochs=1, batch_size=256)
    wanted.training.schedule = "cosine"
    trainer.run(wanted, "cpu")
    assert found
    assert not set().union(*found)


def test_a_value_that_is_read_would_be_seen():
    """The tests above can fail."""
    assert reads(torch.ones(()).item) == READS
