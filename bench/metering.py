"""What metering costs: its own CPU seconds over the seconds of the training that it meters. The limit is 0.5 %.

Its own process on a GPU is counted; on a CPU there is none. Repeated, since one training says little.
"""

import statistics
import sys

from bpfree import assembly, trainer
from bpfree.records import MeasurementSettings, RunSpec, TrainingSettings

LIMIT = 0.005
REPEATS, EPOCHS = 5, 60


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


def main() -> int:
    """Print the ratio beside its limit; 1 where it is over."""
    device = assembly.find_device("auto")
    shares = [share(device, seed) for seed in range(REPEATS)]
    median = statistics.median(shares)
    spread = f"{REPEATS} trainings, at most {max(shares):.3%}"
    print(f"metering, {device}: {median:.3%} of training time (limit {LIMIT:.1%}; {spread})")
    return int(median > LIMIT)


if __name__ == "__main__":
    sys.exit(main())
