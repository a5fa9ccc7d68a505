"""What metering costs: its own CPU seconds over the seconds of the training that it meters. The limit is 0.5 %.

Its own process on a GPU is counted; on a CPU there is none. One ratio a training, which needs nothing to take turns
with: both of its parts are of the same seconds.
"""

from bench.alternation import ROUNDS, Figure, threads
from bpfree import assembly, trainer
from bpfree.records import MeasurementSettings, RunSpec, TrainingSettings

LIMIT = 0.005
EPOCHS = 60


def figures(device: str) -> list[Figure]:
    """Of as many trainings as other figures have rounds."""
    with threads(1):
        shares = [share(device, seed) for seed in range(ROUNDS)]
    group = "CPU time of metering over the time of the training"
    return [Figure(group, f"digits-mlp, backprop, {EPOCHS} epochs", shares, form="{:.3%}", at_most=LIMIT)]


def share(device: str, seed: int) -> float:
    """Of one training on digits, all of whose epochs are evaluated."""
    spec = RunSpec(
        workload="digits-mlp",
        algorithm="backprop",
        optimizer="adamw",
        hyperparameters=assembly.resolve("backprop", "adamw", {}),
        seed=seed,
        training=TrainingSettings(max_epochs=EPOCHS, batch_size=32, patience=EPOCHS, min_delta=0.0),
        measurement=MeasurementSettings(idle_seconds=0),
        device="cpu" if device == "cpu" else "cuda",
    )
    cost = trainer.run(spec, device, threads=1).cost
    assert cost is not None
    assert cost.metering_cpu_seconds is not None
    return cost.metering_cpu_seconds / (cost.train_seconds * cost.repeats)
