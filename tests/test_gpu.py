"""What only a GPU shows: every algorithm on CUDA, with measured energy. Run by `pytest -m gpu`."""

import pytest
import torch

from bpfree import assembly, trainer
from bpfree.algorithms import ALGORITHMS
from bpfree.records import MeasurementSettings, RunSpec, TrainingSettings

pytestmark = [pytest.mark.gpu, pytest.mark.skipif(not torch.cuda.is_available(), reason="no CUDA device")]


@pytest.mark.parametrize("algorithm", ALGORITHMS)
def test_a_run_on_the_gpu(algorithm):
    spec = RunSpec(
        workload="digits-mlp",
        algorithm=algorithm,
        optimizer="adamw",
        hyperparameters=assembly.resolve(algorithm, "adamw", {}),
        seed=0,
        training=TrainingSettings(max_epochs=20, batch_size=32, patience=20, min_delta=0.0),
        measurement=MeasurementSettings(idle_seconds=2.0),
        device="cuda",
    )
    first, second = (trainer.run(spec, "cuda:0", fresh_process=True) for _ in range(2))
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
    spec = RunSpec(
        workload="digits-mlp",
        algorithm=algorithm,
        optimizer="adamw",
        hyperparameters=assembly.resolve(algorithm, "adamw", {}),
        seed=0,
        training=TrainingSettings(max_epochs=1, batch_size=32, patience=1, min_delta=0.0),
        measurement=MeasurementSettings(),
        device="cuda",
    )
    workload = trainer.workloads.find("digits-mlp")
    data = workload.load("cuda:0")
    built = assembly.build_run(spec, workload, "cuda:0")
    built.begin(built.stages()[0])
    inputs, labels = next(trainer.batches(data.train, 32, assembly.stream(0, "order")))
    built.step(inputs, labels)
    torch.cuda.synchronize()
    torch.cuda.set_sync_debug_mode("error")
    try:
        built.step(inputs, labels)
    finally:
        torch.cuda.set_sync_debug_mode("default")
