"""What a run will take, from a few timed steps: for plans and dry runs."""

import statistics
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from bpfree import assembly, execution, passes, stopping, workloads
from bpfree.meters import Session, boundary_joules
from bpfree.records import Quality, RunSpec, TrainingSettings

TIMED_STEPS = 5


@dataclass(frozen=True)
class Estimate:
    """Expected cost of the runs of one cell, on this machine.

    `epoch_seconds` has one entry a stage, validation included; `stage_limits` are the stages' own limits of epochs.
    `watts` are those of the study's boundary, None where nothing can be measured or modelled.
    """

    setup_seconds: float
    epoch_seconds: tuple[float, ...]
    stage_limits: tuple[int | None, ...]
    watts: float | None
    quality: Quality

    def run_seconds(self, training: TrainingSettings) -> float:
        """Of a run that no early stopping ends."""
        epochs = stopping.epoch_limits(self.stage_limits, training)
        return self.setup_seconds + sum(n * s for n, s in zip(epochs, self.epoch_seconds, strict=True))


def estimate(spec: RunSpec, device: str, data_dir: Path | None, threads: int) -> Estimate:
    """Time a few steps and batches of validation of each stage, in this process.

    Raises
    ------
    DataError
        The data cannot be had.
    """
    begin = time.perf_counter()
    assembly.prepare(device, threads)
    workload = workloads.find(spec.workload)
    data = assembly.load(workload, device, data_dir)
    algorithm = assembly.build_run(spec, workload, device)
    setup_seconds = time.perf_counter() - begin
    epoch_seconds = []
    order = assembly.stream(0, "estimate", device)
    inputs, targets = next(passes.batches(data.train, spec.training.batch_size, order))
    size = passes.EVALUATION_BATCH
    sample = workloads.Split(data.validation.inputs[:size], data.validation.targets[:size])
    mode = execution.mode_of(algorithm, spec.training.execution)
    with mode, assembly.metering(device, spec.measurement.cpu_watts) as meters:
        session = assembly.session_of(spec, meters)
        window_begin = session.phase("timed")
        stages = algorithm.stages()
        for stage in stages:
            algorithm.begin(stage)
            launch = execution.step_of(algorithm, spec.training.execution)
            for _ in range(execution.EAGER_STEPS):
                launch(inputs, targets)
            step = median_seconds(
                lambda: launch(workload.transform(inputs, order), targets),  # noqa: B023 (called at once)
                session,
            )
            validation = median_seconds(lambda: passes.evaluate(algorithm, workload, sample), session)
            steps = spec.training.evaluate_every or len(data.train) // spec.training.batch_size
            epoch_seconds.append(step * steps + validation * len(data.validation) / len(sample))
        window_end = session.stop()
        total, quality = boundary_joules(session.window(window_begin, window_end), assembly.boundary_of(spec))
    watts = None if total is None else total / (window_end.time - window_begin.time)
    limits = tuple(stage.max_epochs for stage in stages)
    return Estimate(setup_seconds, tuple(epoch_seconds), limits, watts, quality)


def median_seconds(action: Callable[[], object], session: Session) -> float:
    """Median time that an action takes on the device, after one that does not count."""
    seconds = []
    for _ in range(1 + TIMED_STEPS):
        session.synchronize()
        begin = time.perf_counter()
        action()
        session.synchronize()
        seconds.append(time.perf_counter() - begin)
    return statistics.median(seconds[1:])
