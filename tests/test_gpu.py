"""What only a GPU shows: every algorithm on CUDA, with measured energy. Run by `pytest -m gpu`."""

import pytest
import torch
from test_execution import STEPS, assert_same, build, every_case, trained

from bpfree import assembly, execution, passes, trainer, workloads
from bpfree.algorithms import ALGORITHMS
from bpfree.optimizers import OPTIMIZERS
from bpfree.records import MeasurementSettings, RunSpec, TrainingSettings

pytestmark = [pytest.mark.gpu, pytest.mark.skipif(not torch.cuda.is_available(), reason="no CUDA device")]


def spec(algorithm, epochs, level="eager"):
    return RunSpec(
        workload="digits-mlp",
        algorithm=algorithm,
        optimizer="adamw",
        hyperparameters=assembly.resolve(algorithm, "adamw", {}),
        seed=0,
        training=TrainingSettings(max_epochs=epochs, batch_size=32, patience=epochs, min_delta=0.0, execution=level),
        measurement=MeasurementSettings(idle_seconds=2.0),
        device="cuda",
    )


@pytest.mark.parametrize("algorithm", ALGORITHMS)
def test_a_run_on_the_gpu(algorithm):
    first, second = (trainer.run(spec(algorithm, 20), "cuda:0", fresh_process=True) for _ in range(2))
    assert first.status == "completed"
    assert first.metrics == second.metrics, "a seed decides everything here too"
    assert first.metrics.test_accuracy > 0.85
    (gpu,) = [r for r in first.phases["train"].readings if r.component == "gpu"]
    assert gpu.quality in ("measured", "unresolved", "absent")
    assert gpu.joules is None or gpu.joules > 0
    assert first.cost.peak_device_bytes > 0
    assert first.environment["gpu"]


@pytest.mark.parametrize("algorithm", ALGORITHMS)
def test_no_step_waits_for_the_gpu(algorithm):
    workload = workloads.find("digits-mlp")
    data = workload.load("cuda:0")
    built = assembly.build_run(spec(algorithm, 1), workload, "cuda:0")
    built.begin(built.stages()[0])
    inputs, labels = next(passes.batches(data.train, 32, assembly.stream(0, "order")))
    before = [p.clone() for module in built.stages()[0].modules for p in module.parameters()]
    built.step(inputs, labels)
    torch.cuda.synchronize()
    torch.cuda.set_sync_debug_mode("error")  # raises where a step waits
    try:
        built.step(inputs, labels)
    finally:
        torch.cuda.set_sync_debug_mode("default")
    after = [p for module in built.stages()[0].modules for p in module.parameters()]
    assert any(not torch.equal(a, b) for a, b in zip(before, after, strict=True))


@pytest.fixture
def captured(monkeypatch):
    """The graphs that are captured."""
    capture, graphs = execution.GraphedStep.capture, []

    def spy(self, inputs, targets):
        graphs.append(capture(self, inputs, targets))
        return graphs[-1]

    monkeypatch.setattr(execution.GraphedStep, "capture", spy)
    return graphs


@pytest.mark.filterwarnings("ignore")  # torch's own, of its compiler and of what has no deterministic kernel
@pytest.mark.parametrize("level", ["cuda_graph", "compiled"])
@every_case
def test_every_level_does_the_same(captured, architecture, variant, level):
    """Up to rounding: weights, batch statistics, sums, draws and losses."""
    torch._dynamo.reset()
    algorithm = build(architecture, variant, device="cuda:0")
    found = trained(algorithm, architecture, level, "cuda:0")
    eager = trained(build(architecture, variant, device="cuda:0"), architecture, "eager", "cuda:0")
    assert_same(found, eager, rtol=1e-4, atol=1e-5)
    assert len(captured) == (len(algorithm.stages()) if level == "cuda_graph" else 0)


@pytest.mark.parametrize("optimizer", OPTIMIZERS)
def test_every_optimizer_can_be_captured(captured, optimizer):
    assert STEPS > execution.EAGER_STEPS + 2, "some steps are replayed"
    eager, replayed = (
        trained(build("mlp", "mono_forward", optimizer, "cuda:0"), "mlp", level, "cuda:0")
        for level in ("eager", "cuda_graph")
    )
    assert_same(replayed, eager, rtol=1e-4, atol=1e-5)
    assert len(captured) == 1


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("schedule", ["linear_cooldown", "cosine"])
@pytest.mark.parametrize("algorithm", ALGORITHMS)
def test_a_run_is_the_same_at_every_level(algorithm, schedule):
    """Learning rates within a graph follow the schedule too."""
    runs = []
    for level in ("eager", "cuda_graph", "compiled"):
        wanted = spec(algorithm, 4, level)
        wanted.training.schedule, wanted.measurement.idle_seconds = schedule, 0.0
        runs.append(trainer.run(wanted, "cuda:0"))
    eager, *others = ([x for e in run.history for x in (e.train_loss, e.validation_loss)] for run in runs)
    for other in others:
        assert other == pytest.approx(eager, rel=1e-3)
