"""Specifications of short runs on digits, for tests that train."""

from bpfree import assembly
from bpfree.records import MeasurementSettings, RunSpec, TrainingSettings


def spec(algorithm="backprop", *, epochs=3, patience=5, seed=0, batch_size=32, workload="digits-mlp", **values):
    return RunSpec(
        workload=workload,
        algorithm=algorithm,
        optimizer="adamw",
        hyperparameters=assembly.resolve(algorithm, "adamw", values),
        seed=seed,
        training=TrainingSettings(max_epochs=epochs, batch_size=batch_size, patience=patience, min_delta=0.0),
        measurement=MeasurementSettings(warmup_steps=1, country="FRA"),
        device="cpu",
    )
