"""The record: one JSON document a run.

Everything downstream (statistics, report, export) reads records alone, so a run can be reported on years later or on
another machine. Units: seconds, joules, bytes; accuracies are fractions in 0-1; what was not measured is null.
"""

import hashlib
import json
from datetime import datetime
from typing import Annotated, Any, Literal, Self

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, model_validator

SCHEMA: Literal[1] = 1

Status = Literal["completed", "diverged", "out_of_memory", "failed"]
Quality = Literal["measured", "modelled", "unresolved", "absent"]
Role = Literal["single", "trial", "final", "imported"]
FINAL_STATUSES = ("completed", "diverged")


class Document(BaseModel):
    """Base of all parts of a record: no unknown fields, so that a typing error cannot hide."""

    model_config = ConfigDict(extra="forbid", allow_inf_nan=False)


Monitor = Literal["metric", "loss"]
Restore = Literal["best", "last"]
LearningRateSchedule = Literal["constant", "linear_cooldown", "linear", "cosine"]
Execution = Literal["eager", "cuda_graph", "compiled"]


class TrainingSettings(Document):
    """How every algorithm of a comparison is trained."""

    max_epochs: int
    """Passes over the training set at most, all stages together; S stages get max_epochs // S each, at least one."""
    batch_size: int
    patience: int
    """A stage ends after this many epochs without an improvement of what is monitored."""
    min_delta: float
    """The least gain that counts as an improvement."""
    epochs_per_stage: int | None = None
    """Passes that each stage may take, in the place of its share of max_epochs."""
    max_steps: int | None = None
    """Steps at most, all stages together, in the place of passes: what is said of epochs is then of evaluations."""
    evaluate_every: int | None = None
    """Steps between evaluations; None: one pass over the training set."""
    monitor: Monitor = "metric"
    """What stops a stage: the validation metric, or the validation loss."""
    restore: Restore = "best"
    """The weights that a stage ends with: those of its best validation metric, or the last."""
    schedule: LearningRateSchedule = "constant"
    """`linear_cooldown`: constant for the first half of a stage's limit, then linear to nearly zero, epoch by epoch;
    `linear` and `cosine`: from the end of the warm-up down to zero at the stage's limit, step by step."""
    warmup: float = 0.0
    """Share of a stage's steps in which the learning rate rises from zero, linearly."""
    target: float | None = None
    """The run ends as soon as the validation metric reaches it."""
    execution: Execution = "eager"
    """How steps are launched: operator by operator, as one CUDA graph, or compiled."""
    threads: int | None = None
    """CPU threads of a run; None: the cores at hand, shared among parallel runs."""


MOST: dict[str, float] = {"cpu_watts": 10_000, "carbon_intensity": 10_000, "pue": 10}
"""More than this of a measurement setting is taken for a mistake: in study files and on the command line alike."""


class MeasurementSettings(Document):
    """What is measured and on which assumptions."""

    boundary: tuple[str, ...] | None = None
    """Components whose joules count; None: gpu on CUDA, else cpu."""
    idle_seconds: float = 10.0
    """Length of the idle baseline before a run, taken only where something is measured."""
    warmup_steps: int = 10
    """Steps on a throwaway copy before anything is counted."""
    cpu_watts: float | None = None
    """Of the whole CPU under load, where its energy is modelled; None: CodeCarbon's table."""
    country: str | None = None
    """ISO 3166 alpha-3 code, for CodeCarbon's emission factor."""
    region: str | None = None
    """A part of the country with a factor of its own, as CodeCarbon names it."""
    carbon_intensity: float | None = None
    """g CO2e per kWh; takes the place of the country's factor."""
    pue: float = 1.0
    """Power usage effectiveness: facility energy over device energy."""


class RunSpec(Document):
    """All that determines a run. Its hash is the run's id."""

    workload: str
    algorithm: str
    optimizer: str
    hyperparameters: dict[str, Any]
    """Resolved, algorithm's and optimizer's together: every knob has its value."""
    seed: int
    training: TrainingSettings
    measurement: MeasurementSettings
    device: Literal["cpu", "cuda"]
    role: Role = "single"
    label: str | None = None
    """The study's name for an algorithm with fixed hyperparameters; None: the algorithm's own."""
    imported_run: str | None = None
    """What its source calls a run that was made elsewhere."""

    @property
    def id(self) -> str:
        """Hash of the resolved specification; host and package versions do not enter."""
        return fingerprint(self)

    @property
    def cell(self) -> str:
        """Name of the cell of the study that the run belongs to."""
        return cell_name(self.workload, self.method, self.optimizer)

    @property
    def method(self) -> str:
        """What the study calls the algorithm with its fixed hyperparameters."""
        return self.label or self.algorithm


def fingerprint(model: BaseModel, *others: Any) -> str:
    """A short hash of a model and of other plain values.

    Fields at their defaults do not enter, so that a new field leaves the ids of older records alone; hence a default
    never changes.
    """
    values = [model.model_dump(mode="json", exclude_defaults=True), *others]
    canonical = json.dumps(values, sort_keys=True, separators=(",", ":"))
    return hashlib.sha256(canonical.encode()).hexdigest()[:16]


def cell_name(workload: str, method: str, optimizer: str) -> str:
    """A cell is what is tuned once: a workload, an algorithm and an optimizer."""
    return f"{workload}.{method}.{optimizer}"


Energy = Annotated[float, Field(ge=-1e30, le=1e30)]
"""Joules, and what is made of them. A counter's reading at rest, drawn out to an edge, may be below the one before."""
Amount = Annotated[float, Field(ge=0, le=1e30)]
"""Seconds, FLOPs: what is beyond is a damaged file's."""
Count = Annotated[int, Field(ge=0, lt=2**63)]
Fraction = Annotated[float, Field(ge=0, le=1)]


def moment(text: str) -> str:
    """A time, as it is written."""
    datetime.fromisoformat(text).timestamp()
    return text


Moment = Annotated[str, AfterValidator(moment)]


class Reading(Document):
    """The joules of one component over one window of time, and how far to trust them."""

    component: str
    """gpu, cpu or dram."""
    joules: Energy | None
    """Null where absent; an unresolved reading keeps its joules if the counter moved, but enters no claim."""
    method: str
    """E.g. nvml_energy_counter, rapl_powercap, cpu_seconds_model."""
    quality: Quality
    resolution: float | None
    """Worst-case relative error from the meter's granularity; null where it has none."""
    reason: str | None = None
    """Why the reading is absent or unresolved, or the inputs of a model."""


class Phase(Document):
    """A named part of a run that is timed and metered separately."""

    seconds: Amount
    readings: list[Reading]


class GpuState(Document):
    """What was seen of one GPU during a window, by a process that samples it a few times a second."""

    uuid: str
    name: str
    driver: str
    power_limit_watts: Amount | None
    samples: Count
    period_seconds: Amount
    """Between two samples of power, as meant."""
    max_gap_seconds: Amount
    """Between two samples of power, at worst."""
    mean_watts: Energy | None
    counter_joules: Energy | None
    """Of the energy counter over the window; null where the GPU has none."""
    integral_joules: Energy | None
    """Of the sampled power over the same window."""
    utilisation_percent: float | None
    """Mean share of time in which a kernel ran."""
    sm_mhz: tuple[float, float, float] | None
    """Least, mean and greatest clock of the multiprocessors."""
    memory_mhz: tuple[float, float, float] | None
    celsius: tuple[float, float, float] | None
    """At the beginning, at the end, and at most."""
    throttle_reasons: list[str] = []
    """What held the clocks down at any time of it, idling apart."""
    foreign_processes: Count | None = None
    """Other processes seen computing on the GPU, at most at a time; null where NVML does not tell."""

    @property
    def disagreement(self) -> float | None:
        """Counter over integral, less 1."""
        if not self.counter_joules or not self.integral_joules:
            return None
        return self.counter_joules / self.integral_joules - 1


class Evaluation(Document):
    """One line of a run's history: the state at the end of an epoch."""

    stage: str
    epoch: Count
    """Counted over the whole run, from 1: passes so far."""
    step: Count
    """Updates so far, all stages together."""
    train_loss: float | None
    """Mean of the algorithm's own loss over the epoch; not comparable between algorithms. Null if not finite."""
    validation_metric: float
    validation_loss: float | None
    """The workload's loss of the scores; null if not finite."""
    seconds: Amount
    """Since the first step."""
    joules: Energy | None
    """Since the first step, over the study's boundary; null where a component is absent or the qualities differ."""


class StageSummary(Document):
    """What one stage of a run took."""

    name: str
    epochs: Count
    best_epoch: Count
    """Of the best validation metric, counted within the stage: its weights are restored, unless the last are kept."""
    improved_epoch: Count | None = None
    """The last one that improved what early stopping monitors; null where that is the validation metric."""
    steps: Count
    flops_per_step: Count
    flops_per_validation: Count = 0
    flops_carried: Count = 0
    """Of the one pass that computes the outputs of finished blocks, where they are kept."""
    cached: bool = False
    """Whether the outputs of finished blocks were kept."""
    predicts: bool = True
    """Whether its predictions meanwhile are the algorithm's own."""
    stopped_early: bool


class Metrics(Document):
    """Results of the weights that the run ended with."""

    metric: Annotated[str, Field(min_length=1)] | None = None
    """The name of the workload's metric; null in older records."""
    higher_is_better: bool | None = None
    test_metric: float | None = None
    test_accuracy: Fraction | None = None
    test_loss: float | None = None
    validation_metric: float | None = None
    validation_accuracy: Fraction | None = None
    test_metric_by_block: list[float] = []
    """By each block's own prediction, first to last; empty where blocks make none, or where it was not recorded."""

    @model_validator(mode="after")
    def _name_has_a_direction(self) -> Self:
        if (self.metric is None) != (self.higher_is_better is None):
            raise ValueError("a metric is named together with whether higher is better")
        return self


class Carbon(Document):
    """Emissions of the training window, and what was assumed."""

    co2e_kg: Energy
    intensity_g_per_kwh: Amount
    pue: Amount
    source: str


class Cost(Document):
    """What a run took, over one window from the first step to the end of the last epoch, validation included."""

    steps: Count
    epochs: Count
    samples: Count
    parameters: Count | None
    """Parameters that were trained; null where it is not known of an imported run."""
    flops_per_step: Amount | None
    """Mean over the steps of all stages, counted by torch."""
    flops_total: Amount | None
    """Of the training steps; validation is not counted."""
    peak_flops_per_second: Amount | None = None
    """The device's best rate on a large matrix product, in the same process before training; null for trials."""
    train_seconds: Amount
    train_joules: Energy | None
    """Over the study's boundary."""
    train_joules_net: Energy | None
    """Above idle; null where nothing is measured."""
    joules_quality: Quality
    """Of train_joules: one quality for all components of the boundary, else absent."""
    boundary: list[str]
    readings: list[Reading] = []
    """Of the training window, one a component; train_joules is the sum of those within the boundary."""
    idle_watts: Energy | None
    """Of the device at rest with everything loaded, before training."""
    idle_watts_after: Energy | None = None
    """The same after the run: how far the baseline drifted."""
    repeats: Count = 1
    """Trainings in the window that energy and seconds are of, where one alone was too short to be resolved."""
    metering_cpu_seconds: Amount | None = None
    """What metering itself took of the CPU, its own process included."""
    flops_validation: Amount | None = None
    """Of the validations within the training window; flops_total does not hold them."""
    peak_device_bytes: Count | None
    """Of the device's allocator while it trains; null on CPU."""
    peak_host_bytes: Count | None
    """Of the fresh process while it trains; null where the process is shared by several runs."""
    carbon: Carbon | None = None
    """Null unless the study names a country or a carbon intensity."""


class Record(Document):
    """One run, whole."""

    schema_version: Literal[1] = SCHEMA
    id: str
    status: Status
    error: str | None = None
    spec: RunSpec
    environment: dict[str, Any]
    """Hardware, driver, versions, commit, threads."""
    metrics: Metrics = Metrics()
    stages: list[StageSummary] = []
    history: list[Evaluation] = []
    phases: dict[str, Phase] = {}
    gpus: list[GpuState] = []
    """Over the training window."""
    cost: Cost | None = None
    started: Moment | None = None
    """UTC, ISO 8601."""
    block: Count | None = None
    """Final runs: index of the block of one seed in which the run was made."""
    position: Count | None = None
    """Final runs: place within the block's shuffled order."""
    trial: Count | None = None
    warnings: list[str] = []
    trace: bytes | None = Field(default=None, exclude=True, repr=False)
    """Samples of the GPU as compressed CSV, kept beside the record as power.csv.gz and not in it."""

    @property
    def final(self) -> bool:
        """Whether the run is done for good: failed and out-of-memory runs are tried again."""
        return self.status in FINAL_STATUSES


class KnobRange(Document):
    """Where tuning looked for a knob's value: between two bounds, or in a list."""

    low: float | None = None
    high: float | None = None
    log: bool = False
    """Whether every order of magnitude was equally likely, and not every value."""
    values: list[Any] | None = None

    @property
    def ends(self) -> tuple[float, float]:
        """Of a range that is no list."""
        assert self.low is not None
        assert self.high is not None
        return self.low, self.high

    @model_validator(mode="after")
    def _is_a_range(self) -> Self:
        if self.values is None and (self.low is None or self.high is None or self.low > self.high):
            raise ValueError("a range needs low and high, in order, or values")
        if self.log and not (self.low or 0) > 1e-300:
            raise ValueError("a logarithmic range begins above 0")
        return self


class TunedCell(Document):
    """The outcome of one cell's tuning, fixed when it ends."""

    cell: str
    workload: str
    algorithm: str
    label: str | None = None
    optimizer: str
    digest: str = ""
    """Of what the tuning depended on: another one is tuned anew."""
    hyperparameters: dict[str, Any]
    """The best trial's, resolved."""
    search_space: dict[str, KnobRange] = {}
    """The knobs that were tuned; empty in older folders."""
    best_trial: Count | None
    """None if no trial completed: the defaults stand."""
    best_value: float | None
    trials: Count
    statuses: dict[str, int]
    """How many trials ended in each status."""
    epochs: Count
    """Passes over the training set of all trials."""
    seconds: Amount
    """Sum of the trials' training windows."""
    readings: list[Reading]
    """Of the whole tuning: one meter window where measured, else the sum of the trials' own."""
    taken_from: str | None = None
    """The study that tuned the cell, if another one."""
    matched_passes: Count | None = None
    """The passes that each final run gets, where they are matched to the baseline's."""
    warnings: list[str] = []
