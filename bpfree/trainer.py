"""One run: stages, epochs, early stopping, phases, and the record that comes of it.

The trainer alone owns loops, clocks, stopping, checkpoints and meters; an algorithm only steps and predicts. Nothing
is read back from the device within an epoch: losses add up there and are read once at its end.
"""

import math
import os
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from pathlib import Path

import torch
from torch import Tensor
from torch.utils.flop_counter import FlopCounterMode

from bpfree import environment, workloads
from bpfree.algorithms import Algorithm, Stage
from bpfree.assembly import boundary_of, build_run, metering, prepare, session_of, stream
from bpfree.errors import WorldError
from bpfree.meters import (
    Edge,
    Meter,
    boundary_joules,
    carbon_of,
    peak_device_bytes,
    peak_flops_per_second,
    peak_host_bytes,
    reset_peaks,
)
from bpfree.records import Cost, Evaluation, Metrics, Record, RunSpec, StageSummary
from bpfree.stopping import Stopping, cooldown, epoch_limits, scale_learning_rates
from bpfree.workloads import Data, Split, Workload

EVALUATION_BATCH = 1000

OnEvaluation = Callable[[Evaluation], None]
Prune = Callable[[int, float], bool]


class Diverged(Exception):
    """The training loss is not finite."""


def batches(data: Split, size: int, generator: torch.Generator) -> Iterator[tuple[Tensor, Tensor]]:
    """One epoch in a new random order. The last, partial batch is left out: every step has the same shape."""
    n = len(data)
    order = torch.randperm(n, generator=generator).to(data.targets.device)
    for start in range(0, n - n % size, size):
        index = order[start : start + size]
        yield data.inputs[index], data.targets[index]


@torch.no_grad()
def evaluate(algorithm: Algorithm, workload: Workload, data: Split) -> tuple[float, float]:
    """Metric and loss over a split, in evaluation mode; read from the device once."""
    algorithm.evaluation_mode()
    totals = torch.zeros(2, dtype=torch.float64, device=data.targets.device)
    for start in range(0, len(data), EVALUATION_BATCH):
        targets = data.targets[start : start + EVALUATION_BATCH]
        scores = algorithm.predict(data.inputs[start : start + EVALUATION_BATCH])
        values = torch.stack([workload.metric.of(scores, targets), workload.loss(scores, targets)])
        totals += values.double() * len(targets)
    algorithm.training_mode()
    metric, loss = (totals / len(data)).tolist()
    return metric, loss


@torch.no_grad()
def keeps(algorithm: Algorithm, workload: Workload, data: Split) -> bool:
    """Whether the outputs of finished blocks are to be kept, and half of the free memory is enough.

    Where it will not, or the inputs are augmented anew in every epoch, steps go on computing them.
    """
    if workload.augment or not algorithm.caches:
        return False
    needed = algorithm.prefix(data.inputs[:1]).nbytes * len(data)
    return needed <= free_bytes(data.inputs.device) / 2


@torch.no_grad()
def carried(algorithm: Algorithm, workload: Workload, data: Data) -> Data:
    """The training set as the first block in training sees it, where the outputs of finished blocks are kept."""
    if not keeps(algorithm, workload, data.train):
        return data
    inputs, size = data.train.inputs, EVALUATION_BATCH
    parts = [algorithm.prefix(inputs[start : start + size]) for start in range(0, len(inputs), size)]
    algorithm.entry = algorithm.stage.blocks.start
    return replace(data, train=Split(torch.cat(parts), data.train.targets))


def free_bytes(device: torch.device) -> int:
    """Memory that a tensor on this device may still take."""
    if device.type == "cuda":
        return int(torch.cuda.mem_get_info(device)[0])
    return os.sysconf("SC_AVPHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")


def finite(value: float) -> float | None:
    """The value, or None where it is not a number that JSON can hold."""
    return value if math.isfinite(value) else None


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
    peak_flops_per_second: float | None = None
    parameters: int = 0
    peaks: tuple[int | None, int | None] = (None, None)
    """Peak bytes of device and host since training began."""
    begin: Edge | None = None
    end: Edge | None = None


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
        self.started = datetime.now(UTC).isoformat(timespec="seconds")

    def execute(self, fresh_process: bool) -> Record:
        """Set up, train, test; always ends in a record unless the world or the request is at fault."""
        status, error = "completed", None
        try:
            self.session.phase("setup")
            data = self.workload.load(self.device, self.data_dir)
            flops = self.warm_up(data)
            algorithm = build_run(self.spec, self.workload, self.device)
            if self.spec.role != "trial":
                self.progress.peak_flops_per_second = peak_flops_per_second(self.device)
            self.measure_idle()
            self.train(algorithm, data, flops)
            self.session.phase("test")
            self.test(algorithm, data)
        except Diverged as reason:
            status, error = "diverged", str(reason)
        except torch.OutOfMemoryError as reason:
            status, error = "out_of_memory", str(reason).splitlines()[0]
        end = self.session.stop()
        return Record(
            id=self.spec.id,
            status=status,
            error=error,
            spec=self.spec,
            environment=environment.describe(self.device),
            metrics=self.progress.metrics,
            stages=self.progress.stages,
            history=self.progress.history,
            phases=self.session.phases(),
            cost=self.cost(self.progress.end or end, fresh_process) if self.progress.begin else None,
            started=self.started,
            warnings=self.progress.warnings,
        )

    def warm_up(self, data: Data) -> list[int]:
        """Steps on a throwaway copy: caches and clocks get warm, and torch counts the FLOPs of a step of each stage."""
        algorithm = build_run(self.spec, self.workload, self.device)
        generator = stream(self.spec.seed, "warm-up")
        flops = []
        for stage in algorithm.stages():
            algorithm.entry = 0
            algorithm.begin(stage)
            inputs, targets = next(batches(data.train, self.spec.training.batch_size, generator))
            if keeps(algorithm, self.workload, data.train):
                inputs, algorithm.entry = algorithm.prefix(inputs), stage.blocks.start
            with FlopCounterMode(display=False) as counter:
                algorithm.step(inputs, targets)
            flops.append(counter.get_total_flops())
            for _ in range(self.spec.measurement.warmup_steps):
                algorithm.step(inputs, targets)
        return flops

    def measure_idle(self) -> None:
        """Power of the device at rest with everything loaded, where anything is measured; trials do without."""
        seconds = self.spec.measurement.idle_seconds
        if seconds <= 0 or self.spec.role == "trial" or not any(m.quality == "measured" for m in self.meters):
            return
        begin = self.session.phase("idle")
        time.sleep(seconds)
        end = self.session.phase("setup")
        joules, quality = boundary_joules(self.session.window(begin, end), self.boundary)
        if joules is not None and quality == "measured":
            self.progress.idle_watts = joules / (end.time - begin.time)

    def train(self, algorithm: Algorithm, data: Data, flops: list[int]) -> None:
        """All stages, one after another, inside one window."""
        order = stream(self.spec.seed, "order")
        stages = algorithm.stages()
        limits = epoch_limits([stage.max_epochs for stage in stages], self.spec.training)
        trained = {id(p): p.numel() for s in stages for p in self.begin(algorithm, s)}
        self.progress.parameters = sum(trained.values())
        reset_peaks(self.device)
        self.progress.begin = self.session.phase("train")
        for stage, limit, flops_per_step in zip(stages, limits, flops, strict=True):
            algorithm.begin(stage)
            data = carried(algorithm, self.workload, data)
            goes_on = self.train_stage(algorithm, data, stage, limit, flops_per_step, order)
            self.progress.peaks = peak_device_bytes(self.device), peak_host_bytes()
            if not goes_on:
                break

    @staticmethod
    def begin(algorithm: Algorithm, stage: Stage) -> list[Tensor]:
        """Begin a stage and list the parameters that its optimizers hold."""
        algorithm.begin(stage)
        groups = [group for optimizer in algorithm.optimizers.values() for group in optimizer.param_groups]
        return [p for group in groups for p in group["params"]]

    def train_stage(
        self, algorithm: Algorithm, data: Data, stage: Stage, limit: int, flops_per_step: int, order: torch.Generator
    ) -> bool:
        """Epochs until the limit, patience or the target ends them. Returns whether training goes on after it."""
        training, progress = self.spec.training, self.progress
        stopping = Stopping(training, self.workload.metric, limit)
        best_weights = snapshot(stage)
        first_step, pruned = progress.step, False
        while not stopping.over and not pruned:
            if training.schedule == "linear_cooldown":
                scale_learning_rates(algorithm, cooldown(stopping.epoch + 1, limit))
            train_loss = self.train_epoch(algorithm, data, order)
            self.session.phase("validate")
            value, validation_loss = evaluate(algorithm, self.workload, data.validation)
            if stopping.update(value, validation_loss) and training.restore == "best":
                best_weights = snapshot(stage)
            self.record_epoch(stage, train_loss.item(), value, validation_loss)
            pruned = self.prune is not None and self.prune(progress.epoch, value)
        if training.restore == "best":
            for module, weights in zip(stage.modules, best_weights, strict=True):
                module.load_state_dict(weights)
        progress.stages.append(
            StageSummary(
                name=stage.name, epochs=stopping.epoch, best_epoch=stopping.best_epoch,
                steps=progress.step - first_step, flops_per_step=flops_per_step,
                stopped_early=stopping.early and not pruned,
            )
        )  # fmt: skip
        if pruned:
            progress.warnings.append(f"pruned at epoch {progress.epoch}")
        return not stopping.target_reached

    def train_epoch(self, algorithm: Algorithm, data: Data, order: torch.Generator) -> Tensor:
        """One pass over the training set. Returns the mean loss, still on the device."""
        loss_sum, steps = torch.zeros((), device=self.device), 0
        for inputs, targets in batches(data.train, self.spec.training.batch_size, order):
            loss_sum += algorithm.step(self.workload.transform(inputs, order), targets)
            steps += 1
        self.progress.step += steps
        return loss_sum / steps

    def record_epoch(self, stage: Stage, train_loss: float, value: float, validation_loss: float) -> None:
        """Close the epoch: one shared edge of the meters, one line of history, and the check for divergence."""
        progress = self.progress
        assert progress.begin is not None
        progress.epoch += 1
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
        is_accuracy = self.workload.metric.name == "accuracy"
        self.progress.metrics = Metrics(
            test_metric=test,
            test_accuracy=test if is_accuracy else None,
            test_loss=finite(loss),
            validation_metric=validation,
            validation_accuracy=validation if is_accuracy else None,
        )

    def cost(self, end: Edge, fresh_process: bool) -> Cost:
        """What the training window took."""
        progress, begin = self.progress, self.progress.begin
        assert begin is not None
        seconds = end.time - begin.time
        joules, quality = boundary_joules(self.session.window(begin, end), self.boundary)
        measured = joules is not None and quality == "measured" and progress.idle_watts is not None
        flops = sum(stage.steps * stage.flops_per_step for stage in progress.stages)
        complete = progress.step > 0 and sum(stage.steps for stage in progress.stages) == progress.step
        return Cost(
            steps=progress.step,
            epochs=progress.epoch,
            samples=progress.step * self.spec.training.batch_size,
            parameters=progress.parameters,
            flops_per_step=flops / progress.step if complete else None,
            flops_total=flops if complete else None,
            peak_flops_per_second=progress.peak_flops_per_second,
            train_seconds=seconds,
            train_joules=joules,
            train_joules_net=joules - progress.idle_watts * seconds if measured else None,  # type: ignore[operator]
            joules_quality=quality,
            boundary=list(self.boundary),
            idle_watts=progress.idle_watts,
            peak_device_bytes=progress.peaks[0],
            peak_host_bytes=progress.peaks[1] if fresh_process else None,
            carbon=carbon_of(joules, self.spec.measurement),
        )


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
        with metering(device) as meters:
            return Run(spec, device, meters, data_dir, on_evaluation, prune).execute(fresh_process)
    except torch.AcceleratorError as error:
        raise WorldError(f"the device failed: {str(error).splitlines()[0]}") from None
