"""Accuracies in the published bands, on the real data. Run by `make test-slow`; about an hour on two cores."""

import pytest

from bpfree import assembly, trainer
from bpfree.records import MeasurementSettings, RunSpec, TrainingSettings

pytestmark = pytest.mark.slow

BANDS = {
    # workload, algorithm, settings, epochs, patience: least test accuracy
    ("mnist-mlp-2x1000", "backprop"): ({"learning_rate": 2e-4}, 25, 10, 0.978),
    ("mnist-mlp-2x1000", "mono_forward"): ({"learning_rate": 4e-4}, 30, 10, 0.977),
    ("fashion-mlp", "backprop"): ({}, 20, 5, 0.88),
    ("fashion-mlp", "mono_forward"): ({}, 20, 5, 0.88),
    ("fashion-mlp", "forward_forward"): ({"threshold": 0.1, "learning_rate": 2e-4}, 30, 12, 0.86),
    ("fashion-cnn", "cascaded_forward"): ({}, 9, 3, 0.87),
}


@pytest.mark.parametrize(("workload", "algorithm"), BANDS)
def test_accuracy(workload, algorithm, data_dir):
    settings, epochs, patience, least = BANDS[workload, algorithm]
    spec = RunSpec(
        workload=workload,
        algorithm=algorithm,
        optimizer="adamw",
        hyperparameters=assembly.resolve(algorithm, "adamw", settings),
        seed=0,
        training=TrainingSettings(max_epochs=epochs, batch_size=128, patience=patience, min_delta=0.0),
        measurement=MeasurementSettings(),
        device="cpu",
    )
    assert trainer.run(spec, "cpu", data_dir).metrics.test_accuracy >= least
