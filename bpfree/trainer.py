"""One run: stages, epochs, early stopping, phases, and the record that comes of it.

The trainer alone owns loops, clocks, stopping, checkpoints and meters; an algorithm only steps and predicts. Nothing
is read back from the device within an epoch: losses add up there and are read once at its end.
"""

import math
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from itertools import islice
from pathlib import Path

import torch
from torch import Tensor
from torch.utils.flop_counter import FlopCounterMode

from bpfree import environment, workloads
from bpfree.accounting import Progress, Window, cost, gpu_states, idle_watts, remarks, seconds_needed
from bpfree.algorithms import Algorithm, Stage
from bpfree.assembly import boundary_of, build_run, load, metering, prepare, session_of, stream
from bpfree.errors import WorldError
from bpfree.execution import Step, mode_of, step_of
from bpfree.meters import (
    Meter,
    boundary_joules,
    peak_device_bytes,
    peak_flops_per_second,
    peak_host_bytes,
    reset_peaks,
)
from bpfree.passes import EVALUATION_BATCH, Batch, batches, carried, endless, evaluate, evaluate_blocks, keeps
from bpfree.records import Evaluation, Metrics, Phase, Record, RunSpec, StageSummary, Status, TrainingSettings
from bpfree.stopping import Stopping, cooldown, epoch_limits, scale_learning_rates, schedule_factor
from bpfree.workloads import Data

OnEvaluation = Callable[[Evaluation], None]
Prune = Callable[[int, float], bool]


class Diverged(Exception):
    """The training loss is not finite."""


def finite(value: float) -> float | None:
    """The value, or None where it is not a number that JSON can hold."""
    return value if math.isfinite(value) else None


@dataclass(frozen=True)
class StageWork:
    """What a stage computes: FLOPs of a step, of a validation, and of carrying the data through finished blocks."""

    step: int
    validation: int
    carry: int
    cached: bool
    """Whether the outputs of finished blocks are kept: decided once, so that what is counted is what is done."""


def flops_of(action: Callable[[], object]) -> int:
    """FLOPs of an action as torch counts them."""
    with FlopCounterMode(display=False) as counter:
        action()
    return int(counter.get_total_flops())


class Run:
    """One training of one network with one seed.

    Parameters
    ----------
    spec
        What to train.
    device
        A torch device, e.g. `cpu` or `cuda:0`.
    meters
        Those of the run's components.
    data_dir
        Where data files are looked for first.
    on_evaluation
        Called with each line of the history.
    prune
        Called with epoch and validation metric; True ends the run early (trials only).
    """

    def __init__(
        self,
        spec: RunSpec,
        device: str,
        meters: Sequence[Meter],
        data_dir: Path | None = None,
        on_evaluation: OnEvaluation | None = None,
        prune: Prune | None = None,
    ) -> None:
        self.spec = spec
        self.device = device
        self.workload = workloads.find(spec.workload)
        self.data_dir = data_dir
        self.on_evaluation = on_evaluation
        self.prune = prune
        self.boundary = boundary_of(spec)
        self.meters = meters
        self.session = session_of(spec, meters)
        self.progress = Progress()
        self.phases: dict[str, Phase] = {}
        """Those of the first training, once others follow it."""
        self.started = datetime.now(UTC).isoformat(timespec="seconds")

    def execute(self, fresh_process: bool) -> Record:
        """Set up, train, test; always ends in a record unless the world or the request is at fault."""
        status: Status = "completed"
        error, window = None, None
        progress, session = self.progress, self.session
        try:
            session.phase("setup")
            data = load(self.workload, self.device, self.data_dir)
            works = self.warm_up(data)
            algorithm = build_run(self.spec, self.workload, self.device)
            progress.idle_watts = self.measure_idle()
            if self.spec.role != "trial":
                progress.peak_flops_per_second = peak_flops_per_second(self.device)
            window = self.train(algorithm, data, works)
            session.phase("test")
            self.test(algorithm, data)
            window = self.repeated(window, data, works)
            progress.idle_watts_after = self.measure_idle()
        except Diverged as reason:
            status, error, window = "diverged", str(reason), None
        except torch.OutOfMemoryError as reason:
            status, error, window = "out_of_memory", str(reason).splitlines()[0], None
        return self.record(status, error, window, fresh_process)

    def record(self, status: Status, error: str | None, window: Window | None, fresh_process: bool) -> Record:
        """All that is known; of a run that ended early up to its last evaluation."""
        progress, session = self.progress, self.session
        stopped = session.stop()
        if window is None and progress.begin is not None:
            window = Window(progress.begin, progress.end or stopped, progress.end or stopped)
        host_bytes = progress.peaks[1] if fresh_process else None
        readings = window.readings(session) if window else []
        states = gpu_states(session, window, readings) if window else []
        return Record(
            id=self.spec.id,
            status=status,
            error=error,
            spec=self.spec,
            environment=environment.describe(self.device),
            metrics=progress.metrics,
            stages=progress.stages,
            history=progress.history,
            phases=self.phases or session.phases(),
            gpus=states,
            cost=cost(self.spec, progress, session, self.boundary, window, readings, host_bytes) if window else None,
            started=self.started,
            warnings=[*progress.warnings, *(remarks(progress, states, window) if window else [])],
            trace=next((meter.watch.trace() for meter in self.meters if meter.watch is not None), None),
        )

    def warm_up(self, data: Data) -> list[StageWork]:
        """Steps on a throwaway copy: caches and clocks get warm, and torch counts the FLOPs of each stage."""
        algorithm = build_run(self.spec, self.workload, self.device)
        order, n = stream(self.spec.seed, "warm-up", self.device), len(data.train)
        inputs, targets = next(batches(data.train, self.spec.training.batch_size, order))
        sample = data.validation.inputs[:EVALUATION_BATCH]
        found = []
        with mode_of(algorithm, self.spec.training.execution):  # a compiled step is another one in another mode
            for stage in algorithm.stages():
                algorithm.begin(stage)
                cached, carry = keeps(algorithm, self.workload, inputs, n), 0
                if cached:
                    carry = flops_of(lambda: algorithm.prefix(inputs)) * n // len(inputs)  # noqa: B023 (called at once)
                    inputs, algorithm.entry = algorithm.prefix(inputs), stage.blocks.start
                step = flops_of(lambda: algorithm.step(inputs, targets))  # noqa: B023
                predict = flops_of(lambda: algorithm.predict(sample)) * len(data.validation) // len(sample)
                found.append(StageWork(step, predict, carry, cached))
                launch = step_of(algorithm, self.spec.training.execution)
                for _ in range(self.spec.measurement.warmup_steps):
                    launch(inputs, targets)
        return found

    def measure_idle(self) -> float | None:
        """Watts of the device at rest with everything loaded, where anything is measured; trials do without."""
        seconds = self.spec.measurement.idle_seconds
        if seconds <= 0 or self.spec.role == "trial" or not any(m.quality == "measured" for m in self.meters):
            return None
        return idle_watts(self.session, self.boundary, seconds)

    def repeated(self, window: Window, data: Data, works: list[StageWork]) -> Window:
        """The window, or where it was too short for the counter another one with enough trainings like it."""
        session, first = self.session, self.progress
        if self.spec.role == "trial":
            return window
        needed = seconds_needed(window.readings(session), self.meters, self.boundary)
        if not needed:
            return window
        listener, self.on_evaluation = self.on_evaluation, None
        begin, trainings = session.begin_at_rest("train"), 0
        self.phases = session.phases()
        while session.clock() < begin.time + needed:
            self.progress = Progress(begin=begin)
            self.stages(build_run(self.spec, self.workload, self.device), data, works)
            trainings += 1
        end = self.progress.end or session.phase("train")
        rested = session.rest()
        self.progress, self.on_evaluation = first, listener
        return Window(begin, end, rested, trainings)

    def train(self, algorithm: Algorithm, data: Data, works: list[StageWork]) -> Window:
        """All stages inside one window that opens and closes at rest."""
        reset_peaks(self.device)
        begin = self.progress.begin = self.session.begin_at_rest("train")
        self.stages(algorithm, data, works)
        end = self.progress.end or begin
        return Window(begin, end, self.session.rest())

    def stages(self, algorithm: Algorithm, data: Data, works: list[StageWork]) -> None:
        """All stages, one after another."""
        order = stream(self.spec.seed, "order", self.device)
        stages = algorithm.stages()
        limits = epoch_limits([stage.max_epochs for stage in stages], self.spec.training)
        with mode_of(algorithm, self.spec.training.execution):
            for stage, limit, work in zip(stages, limits, works, strict=True):
                self.begin(algorithm, stage)
                if work.cached:
                    data = carried(algorithm, data)
                goes_on = self.train_stage(algorithm, data, stage, limit, work, order)
                self.progress.peaks = peak_device_bytes(self.device), peak_host_bytes()
                if not goes_on:
                    break

    def begin(self, algorithm: Algorithm, stage: Stage) -> None:
        """Begin a stage and count the parameters that it trains; one that several stages train counts once."""
        algorithm.begin(stage)
        groups = [group for optimizer in algorithm.optimizers.values() for group in optimizer.param_groups]
        self.progress.trained |= {id(p): p.numel() for group in groups for p in group["params"]}

    def train_stage(
        self, algorithm: Algorithm, data: Data, stage: Stage, limit: int, work: StageWork, order: torch.Generator
    ) -> bool:
        """Epochs until the limit, patience or the target ends them. Returns whether training goes on after it."""
        training, progress = self.spec.training, self.progress
        patient, aims = stage.stops_early, stage.predicts
        stopping = Stopping(training, self.workload.metric, limit, patient=patient, aims=aims)
        best_weights = snapshot(stage)
        launch = step_of(algorithm, training.execution)
        first_step, pruned = progress.step, False
        interval = training.evaluate_every or len(data.train) // training.batch_size
        source = endless(data.train, training.batch_size, order)
        if training.warmup > 0 or training.schedule in ("linear", "cosine"):
            source = scheduled(source, algorithm, training, limit * interval)
        while not stopping.over and not pruned:
            if training.schedule == "linear_cooldown":
                scale_learning_rates(algorithm, cooldown(stopping.epoch + 1, limit))
            train_loss = self.train_interval(launch, islice(source, interval), order)
            self.session.phase("validate")
            with algorithm.averaged():
                value, validation_loss = evaluate(algorithm, self.workload, data.validation)
                if stopping.update(value, validation_loss) and training.restore == "best":
                    best_weights = snapshot(stage)
            self.record_epoch(stage, train_loss.item(), value, validation_loss)
            pruned = self.prune is not None and self.prune(progress.epoch, value)
        algorithm.end(best_weights if training.restore == "best" else None)
        progress.stages.append(
            StageSummary(
                name=stage.name, epochs=stopping.epoch, best_epoch=stopping.best_epoch,
                improved_epoch=None if training.monitor == "metric" else stopping.improved_epoch,
                steps=progress.step - first_step, flops_per_step=work.step, flops_per_validation=work.validation,
                flops_carried=work.carry, cached=work.cached, predicts=stage.predicts,
                stopped_early=stopping.early and not pruned,
            )
        )  # fmt: skip
        if pruned:
            progress.warnings.append(f"pruned at epoch {progress.epoch}")
        if algorithm.caches and not work.cached:
            reason = "its inputs are augmented anew in every epoch" if self.workload.augment else "memory is short"
            progress.warnings.append(f"outputs of finished blocks were not kept for {stage.name}: {reason}")
        return not stopping.target_reached

    def train_interval(self, launch: Step, steps: Iterable[Batch], order: torch.Generator) -> Tensor:
        """The steps up to the next evaluation. Returns the mean loss, still on the device."""
        loss_sum, count = torch.zeros((), device=self.device), 0
        for inputs, targets in steps:
            loss_sum += launch(self.workload.transform(inputs, order), targets)
            count += 1
        self.progress.step += count
        return loss_sum / count

    def record_epoch(self, stage: Stage, train_loss: float, value: float, validation_loss: float) -> None:
        """Close the epoch: one shared edge of the meters, one line of history, and the check for divergence."""
        progress = self.progress
        assert progress.begin is not None
        progress.epoch += 1
        if not math.isfinite(value):
            raise Diverged(f"the validation metric was not finite in epoch {progress.epoch} ({stage.name})")
        progress.end = self.session.phase("train")
        joules, _ = boundary_joules(self.session.window(progress.begin, progress.end), self.boundary)
        evaluation = Evaluation(
            stage=stage.name, epoch=progress.epoch, step=progress.step, train_loss=finite(train_loss),
            validation_metric=value, validation_loss=finite(validation_loss),
            seconds=progress.end.time - progress.begin.time, joules=joules,
        )  # fmt: skip
        progress.history.append(evaluation)
        if self.on_evaluation:
            self.on_evaluation(evaluation)
        if not math.isfinite(train_loss):
            raise Diverged(f"the training loss was not finite in epoch {progress.epoch} ({stage.name})")

    def test(self, algorithm: Algorithm, data: Data) -> None:
        """Metrics of the restored weights; the only time that the test set is read."""
        validation, _ = evaluate(algorithm, self.workload, data.validation)
        test, loss = evaluate(algorithm, self.workload, data.test)
        is_accuracy, is_trial = self.workload.metric.name == "accuracy", self.spec.role == "trial"
        self.progress.metrics = Metrics(
            metric=self.workload.metric.name,
            higher_is_better=self.workload.metric.higher_is_better,
            test_metric=test,
            test_accuracy=test if is_accuracy else None,
            test_loss=finite(loss),
            validation_metric=validation,
            validation_accuracy=validation if is_accuracy else None,
            test_metric_by_block=[] if is_trial else evaluate_blocks(algorithm, self.workload, data.test),
        )


def scheduled(source: Iterable[Batch], algorithm: Algorithm, training: TrainingSettings, steps: int) -> Iterator[Batch]:
    """The batches of a stage of so many steps, with the learning rates set for each as it is asked for."""
    for step, batch in enumerate(source):
        scale_learning_rates(algorithm, schedule_factor(training, step, steps))
        yield batch


def snapshot(stage: Stage) -> list[dict[str, Tensor]]:
    """A copy of the weights and buffers that a stage trains."""
    return [{name: value.clone() for name, value in module.state_dict().items()} for module in stage.modules]


def run(
    spec: RunSpec,
    device: str,
    data_dir: Path | None = None,
    *,
    threads: int | None = None,
    fresh_process: bool = False,
    on_evaluation: OnEvaluation | None = None,
    prune: Prune | None = None,
) -> Record:
    """Make one run in this process.

    Raises
    ------
    DataError
        The data cannot be had.
    WorldError
        The device failed.
    """
    prepare(device, threads)
    try:
        with metering(device, spec.measurement.cpu_watts) as meters:
            return Run(spec, device, meters, data_dir, on_evaluation, prune).execute(fresh_process)
    except torch.AcceleratorError as error:
        raise WorldError(f"the device failed: {str(error).splitlines()[0]}") from None
