"""What a run took: its windows, and the costs that follow from them."""

import time
from collections.abc import Sequence
from dataclasses import dataclass, field

from bpfree.meters import Edge, Meter, Session, boundary_joules, carbon_of
from bpfree.meters.session import COARSE_PERIOD, SHORTEST_SECONDS, WORST_RESOLUTION
from bpfree.records import Cost, Evaluation, GpuState, Metrics, Reading, RunSpec, StageSummary

WORST_DISAGREEMENT, LEAST_SECONDS = 0.05, 10.0
"""Energy counter and integrated power may differ by so much in a window of so many seconds or more."""
WORST_DRIFT = 0.1
"""Idle power may change by so much over a run."""


@dataclass(frozen=True)
class Window:
    """A training, or several alike, between two readings at rest."""

    begin: Edge
    end: Edge
    """After the last step."""
    rested: Edge
    """When the counters had published it."""
    trainings: int = 1

    @property
    def seconds(self) -> float:
        """Of one training."""
        return (self.end.time - self.begin.time) / self.trainings

    def readings(self, session: Session) -> list[Reading]:
        """Of one training, a component each."""
        found = session.window_at_rest(self.begin, self.end, self.rested)
        return found if self.trainings == 1 else [one_of(reading, self.trainings) for reading in found]


def one_of(reading: Reading, trainings: int) -> Reading:
    """The share of one of several equal trainings."""
    joules = None if reading.joules is None else reading.joules / trainings
    note = f"mean of {trainings} trainings in one window"
    return reading.model_copy(
        update={"joules": joules, "reason": f"{reading.reason}; {note}" if reading.reason else note}
    )


@dataclass
class Progress:
    """What a run has done so far; a record can be made of it at any moment."""

    step: int = 0
    epoch: int = 0
    history: list[Evaluation] = field(default_factory=list)
    stages: list[StageSummary] = field(default_factory=list)
    metrics: Metrics = field(default_factory=Metrics)
    warnings: list[str] = field(default_factory=list)
    idle_watts: float | None = None
    idle_watts_after: float | None = None
    peak_flops_per_second: float | None = None
    trained: dict[int, int] = field(default_factory=dict)
    """Sizes of the parameters that were trained, by identity."""
    peaks: tuple[int | None, int | None] = (None, None)
    """Peak bytes of device and host since training began."""
    begin: Edge | None = None
    end: Edge | None = None


def idle_watts(session: Session, boundary: Sequence[str], seconds: float) -> float | None:
    """Power of the boundary at rest, over some seconds; None where it is not measured."""
    begin = session.phase("idle")
    time.sleep(seconds)
    end = session.phase("setup")
    joules, quality = boundary_joules(session.window(begin, end), boundary)
    return joules / (end.time - begin.time) if joules is not None and quality == "measured" else None


def seconds_needed(readings: Sequence[Reading], meters: Sequence[Meter], boundary: Sequence[str]) -> float:
    """How long a window must be for its reading to be resolved; 0 where this one is, or nothing is measured."""
    periods = [m.update_period or 0.0 for m in meters if m.component in boundary and m.quality == "measured"]
    if boundary_joules(readings, boundary)[1] != "unresolved" or not periods:
        return 0.0
    period = max(periods)
    return max(1.1 * period / WORST_RESOLUTION, SHORTEST_SECONDS if period >= COARSE_PERIOD else 0.0)


def cost(
    spec: RunSpec,
    progress: Progress,
    session: Session,
    boundary: Sequence[str],
    window: Window,
    readings: list[Reading],
    host_bytes: int | None,
) -> Cost:
    """What one training took; `readings` are those of its window."""
    seconds = window.seconds
    joules, quality = boundary_joules(readings, boundary)
    net = None
    if joules is not None and quality == "measured" and progress.idle_watts is not None:
        net = joules - progress.idle_watts * seconds
    stages = progress.stages
    complete = progress.step > 0 and sum(stage.steps for stage in stages) == progress.step
    flops = sum(s.steps * s.flops_per_step + s.flops_carried for s in stages) if complete else None
    watches = [meter.watch.cpu_seconds for meter in session.meters if meter.watch is not None]
    return Cost(
        steps=progress.step,
        epochs=progress.epoch,
        samples=progress.step * spec.training.batch_size,
        parameters=sum(progress.trained.values()),
        flops_per_step=flops / progress.step if flops is not None else None,
        flops_total=flops,
        flops_validation=sum(stage.epochs * stage.flops_per_validation for stage in stages) if complete else None,
        peak_flops_per_second=progress.peak_flops_per_second,
        train_seconds=seconds,
        train_joules=joules,
        train_joules_net=net,
        joules_quality=quality,
        boundary=list(boundary),
        readings=readings,
        idle_watts=progress.idle_watts,
        idle_watts_after=progress.idle_watts_after,
        repeats=window.trainings,
        metering_cpu_seconds=session.cpu_seconds + sum(watches),
        peak_device_bytes=progress.peaks[0],
        peak_host_bytes=host_bytes,
        carbon=carbon_of(joules, spec.measurement),
    )


def gpu_states(session: Session, window: Window, readings: Sequence[Reading]) -> list[GpuState]:
    """What was seen of each GPU during the training window, whose readings these are."""
    found = []
    for reading, meter in zip(readings, session.meters, strict=True):
        if meter.watch is not None:
            counted = reading.joules if meter.method == "nvml_energy_counter" else None
            whole = None if counted is None else counted * window.trainings
            state = meter.watch.state(window.begin.time, window.end.time, whole)
            found += [] if state is None else [state]
    return found


def remarks(progress: Progress, states: Sequence[GpuState], window: Window) -> list[str]:
    """What a reader of the energy must know."""
    found = []
    before, after = progress.idle_watts, progress.idle_watts_after
    if before and after and abs(after / before - 1) > WORST_DRIFT:
        found.append(f"idle power drifted from {before:.3g} W before the run to {after:.3g} W after it")
    for state in states:
        gap, seconds = state.disagreement, window.end.time - window.begin.time
        if gap is not None and abs(gap) > WORST_DISAGREEMENT and seconds >= LEAST_SECONDS:
            found.append(
                f"{state.name}: energy counter and integrated power disagree by {gap:+.0%} "
                f"({state.counter_joules:.4g} J and {state.integral_joules:.4g} J)"
            )
        if state.foreign_processes:
            found.append(f"{state.name}: {state.foreign_processes} other processes computed on it at the same time")
        if state.throttle_reasons:
            found.append(f"{state.name}: its clocks were held down ({', '.join(state.throttle_reasons)})")
    return found
