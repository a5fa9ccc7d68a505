"""What only a GPU shows: every algorithm on CUDA, with measured energy. Run by `pytest -m gpu`."""

import pytest
import torch

from bpfree import assembly, passes, trainer, workloads
from bpfree.algorithms import ALGORITHMS
from bpfree.records import MeasurementSettings, RunSpec, TrainingSettings

pytestmark = [pytest.mark.gpu, pytest.mark.skipif(not torch.cuda.is_available(), reason="no CUDA device")]


def spec(algorithm, epochs):
    return RunSpec(
        workload="digits-mlp",
        algorithm=algorithm,
        optimizer="adamw",
        hyperparameters=assembly.resolve(algorithm, "adamw", {}),
        seed=0,
        training=TrainingSettings(max_epochs=epochs, batch_size=32, patience=epochs, min_delta=0.0),
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
