"""The study file.

    name = "quickstart"
    workloads = ["digits-mlp", { name = "digits-cnn", algorithms = ["backprop"] }]
    algorithms = ["backprop", { name = "mono_forward", label = "mono_forward_greedy", schedule = "greedy" }]
    optimizers = ["adamw"]        # an algorithm's entry may have an optimizer of its own: { …, optimizer = "sgd" }
    seeds = 5                     # or a list
    follows = "another"           # take over the settings that this study tuned, and its passes where they are matched
    [training]                    # the fields of Training, below
    [tuning]                      # trials, max_epochs, sampler, pruner; absent: published defaults
    [measurement]                 # the fields of Measurement, below
    [statistics]                  # confidence, equivalence_margin
    [[overrides]]                 # what differs on some workloads or for some algorithms
    workloads = ["digits-cnn"]    # left out: all
    algorithms = ["backprop"]     # left out: all
    training = { patience = 10 }
    hyperparameters = { learning_rate = 2e-4 }
    [[claims]]                    # what the report is to judge: the fields of `bpfree.claims.Claim`

Reading and checking a file imports no torch.
"""

from collections.abc import Sequence
from pathlib import Path
from typing import Annotated, Any, Literal, Self, get_args

from pydantic import BaseModel, ConfigDict, Field, ValidationInfo, field_validator, model_validator

from bpfree import __version__
from bpfree.claims import Claim
from bpfree.records import Execution, LearningRateSchedule, Monitor, Restore, TrainingSettings, fingerprint
from bpfree.sections import Measurement, Name, Section, distinct_seeds, read_as, seed_range
from bpfree.targets import TARGETS
from bpfree.toml import broken_value, toml_value

Sampler = Literal["tpe", "gp", "random", "qmc"]
SAMPLERS: tuple[str, ...] = get_args(Sampler)
Device = Literal["cpu", "cuda"]
RESERVED = "train"
"""The results folder of `bpfree train`."""
TRIALS_AT_ONCE = 4
"""Trials asked for together, however many run at a time: what is tried does not depend on the machine's cores."""


class Training(Section):
    """`[training]`: how every algorithm is trained."""

    max_epochs: Annotated[int, Field(gt=0, le=1_000_000)] = 50
    """Passes over the training set at most, all stages together."""
    batch_size: Annotated[int, Field(gt=0)] = 128
    patience: Annotated[int, Field(gt=0, le=1_000_000)] = 5
    min_delta: Annotated[float, Field(ge=0)] = 0.0
    epochs_per_stage: Annotated[int, Field(gt=0, le=1_000_000)] | None = None
    """Passes that each stage may take, in the place of its share of max_epochs."""
    max_steps: Annotated[int, Field(gt=0, le=1_000_000_000)] | None = None
    """Steps at most, in the place of max_epochs; patience and epochs then count evaluations."""
    evaluate_every: Annotated[int, Field(gt=0, le=1_000_000_000)] | None = None
    """Steps between evaluations; left out: one pass over the training set."""
    monitor: Monitor = "metric"
    """Early stopping watches the validation metric, or the validation loss."""
    restore: Restore = "best"
    """A stage ends with the weights of its best validation metric, or with the last."""
    schedule: LearningRateSchedule = "constant"
    """`linear_cooldown`: constant for the first half of a stage's limit, then linear to nearly zero; `linear` and
    `cosine`: from the warm-up's end to zero at the limit."""
    warmup: Annotated[float, Field(ge=0, lt=1)] = 0.0
    """Share of a stage's steps in which the learning rate rises from zero."""
    matched_passes: bool = False
    """Each method gets the passes that the baseline took in the study that this one follows, and no early stop."""
    stop_at_target: bool = False
    """A final run ends when the validation metric reaches the workload's target."""
    execution: Execution | None = None
    """How steps are launched, for all methods alike; left out: CUDA graphs on CUDA, operator by operator on a CPU."""
    threads: Annotated[int, Field(gt=0, le=1024)] | None = None
    """CPU threads of a run; left out: the cores at hand, shared among parallel runs."""

    @model_validator(mode="after")
    def _budget_fits(self) -> Self:
        if self.max_steps and (self.epochs_per_stage or self.matched_passes):
            raise ValueError("max_steps takes the place of passes: leave out epochs_per_stage and matched_passes")
        if self.max_steps and self.max_steps % (self.evaluate_every or self.max_steps):
            raise ValueError(f"evaluate_every = {self.evaluate_every} does not divide max_steps = {self.max_steps}")
        return self

    def settings(self, **replaced: Any) -> TrainingSettings:
        """As a run holds them; the plan adds the execution level, which depends on the device."""
        own = self.model_dump(exclude={"matched_passes", "stop_at_target", "execution"})
        return TrainingSettings(**{**own, **replaced})


class Tuning(Section):
    """`[tuning]`: the same budget for every cell."""

    trials: Annotated[int, Field(gt=0, le=100_000)]
    max_epochs: Annotated[int, Field(gt=0, le=1_000_000)] | None = None
    """Of a trial; as in training if left out."""
    sampler: Sampler = "tpe"
    pruner: Literal["none", "median"] = "none"
    """`median` is fair only where all algorithms have one stage, and refused elsewhere."""
    seed: int = 0
    """Of the samplers; each cell's is derived from it and the cell's name."""


class Statistics(Section):
    """`[statistics]`: how the report judges."""

    confidence: Annotated[float, Field(gt=0.5, lt=1)] = 0.95
    equivalence_margin: Annotated[float, Field(gt=0, le=1)] = 0.005


class AlgorithmEntry(BaseModel):
    """An algorithm of a study, with hyperparameters that are fixed and so not tuned."""

    model_config = ConfigDict(extra="allow", frozen=True)

    name: str
    label: Name | None = None
    """What the study calls it, so that an algorithm may take part in several forms."""
    optimizer: str | None = None
    """Its own, in the place of the study's."""

    @property
    def method(self) -> str:
        """Its label, or the algorithm's name."""
        return self.label or self.name

    @property
    def fixed(self) -> dict[str, Any]:
        """Names and values that tuning leaves alone."""
        return dict(self.__pydantic_extra__ or {})


class WorkloadEntry(Section):
    """A workload of a study, maybe with some of the study's algorithms only."""

    name: str
    algorithms: Annotated[list[str], Field(min_length=1)] | None = None
    """What takes part, as the study calls it; left out: all."""


class Override(Section):
    """`[[overrides]]`: what differs from the study's own settings; of several that apply, later ones win."""

    workloads: Annotated[list[str], Field(min_length=1)] | None = None
    algorithms: Annotated[list[str], Field(min_length=1)] | None = None
    training: dict[str, Any] = {}
    hyperparameters: dict[str, Any] = {}

    @field_validator("training")
    @classmethod
    def _training_is_right(cls, value: dict[str, Any]) -> dict[str, Any]:
        Training(**value)  # its own errors name the field
        if "execution" in value:
            raise ValueError("execution is the same for all methods of a study: set it in [training]")
        return value

    def applies(self, workload: str, method: str) -> bool:
        """Whether it is about this workload and method."""
        return workload in (self.workloads or [workload]) and method in (self.algorithms or [method])


class Study(Section):
    """A study file, checked."""

    name: Name
    description: str = ""
    workloads: Annotated[list[WorkloadEntry], Field(min_length=1)]
    algorithms: Annotated[list[AlgorithmEntry], Field(min_length=1)]
    optimizers: Annotated[list[str], Field(min_length=1)] = ["adamw"]
    baseline: Annotated[str, Field(validate_default=True)] = "backprop"
    seeds: list[int] = [0, 1, 2, 3, 4]
    follows: Name | None = None
    training: Training = Training()
    tuning: Tuning | None = None
    measurement: Measurement = Measurement()
    statistics: Statistics = Statistics()
    overrides: list[Override] = []
    claims: list[Claim] = []

    @model_validator(mode="before")
    @classmethod
    def _is_no_calibration(cls, value: Any) -> Any:
        if isinstance(value, dict) and "points" in value and "algorithms" not in value:
            raise ValueError("points: this is a calibration: use `bpfree calibrate`")
        return value

    @field_validator("name")
    @classmethod
    def _name_is_usable(cls, value: str) -> str:
        if value == RESERVED:
            raise ValueError(f"'{RESERVED}' is the folder of single runs: choose another name")
        return value

    @field_validator("workloads", "algorithms", mode="before")
    @classmethod
    def _names_are_entries(cls, value: Any) -> Any:
        return (
            [{"name": item} if isinstance(item, str) else item for item in value] if isinstance(value, list) else value
        )

    _seeds_may_be_a_count = field_validator("seeds", mode="before")(seed_range)
    _seeds_are_distinct = field_validator("seeds")(distinct_seeds)

    @field_validator("workloads", "algorithms", "optimizers")
    @classmethod
    def _names_are_distinct(cls, value: list[Any]) -> list[Any]:
        names = [name_of(item) for item in value]
        if len(set(names)) < len(names):
            raise ValueError("must not name anything twice: give the forms of an algorithm labels of their own")
        return value

    @field_validator("baseline")
    @classmethod
    def _baseline_takes_part(cls, value: str, info: ValidationInfo) -> str:
        if value not in [entry.method for entry in info.data.get("algorithms", [])]:
            raise ValueError(f"'{value}' is not among the algorithms")
        return value

    @field_validator("tuning")
    @classmethod
    def _tuned_once(cls, value: Tuning | None, info: ValidationInfo) -> Tuning | None:
        if value and info.data.get("follows"):
            raise ValueError(f"the settings are taken over from '{info.data['follows']}': leave out one of the two")
        return value

    @model_validator(mode="after")
    def _parts_fit(self) -> Self:
        methods, workloads = [entry.method for entry in self.algorithms], [entry.name for entry in self.workloads]
        for entry in self.workloads:
            known(entry.algorithms, methods, f"workloads: {entry.name} names")
            if self.baseline not in (entry.algorithms or methods):
                raise ValueError(f"workloads: {entry.name} lacks the baseline, {self.baseline}")
        for override in self.overrides:
            known(override.workloads, workloads, "overrides: names workload")
            known(override.algorithms, methods, "overrides: names")
        for claim in self.claims:
            self.may_claim(claim)
        if self.follows == self.name:
            raise ValueError("follows: a study cannot follow itself")
        for workload, algorithm, _ in self.cells:
            training = self.training_of(workload, algorithm.method)
            if training.matched_passes and not self.follows:
                raise ValueError("training: matched_passes needs follows, the study whose passes are to be matched")
            if training.max_steps and self.tuning and self.tuning.max_epochs:
                raise ValueError("tuning: with max_steps a trial gets the same steps as a run: leave out max_epochs")
            if training.epochs_per_stage and self.tuning and not self.tuning.max_epochs:
                raise ValueError("tuning: with epochs_per_stage, max_epochs must say how many passes each trial gets")
        return self

    def may_claim(self, claim: Claim) -> None:
        """Refuse a claim about what the study does not compare.

        Raises
        ------
        ValueError
            Its workload or method does not take part, is the baseline, or is not told apart.
        """
        known([claim.workload], [entry.name for entry in self.workloads], "claims: names workload")
        known([claim.algorithm], [entry.method for entry in self.algorithms], "claims: names")
        if claim.algorithm == self.baseline:
            raise ValueError(f"claims: {claim.algorithm} is the baseline, and a claim is about a method against it")
        optimizers = [o for w, a, o in self.cells if (w, a.method) == (claim.workload, claim.algorithm)]
        if not optimizers:
            raise ValueError(f"claims: {claim.algorithm} does not take part on {claim.workload}")
        if claim.optimizer not in (optimizers if claim.optimizer or len(optimizers) > 1 else [None]):
            raise ValueError(f"claims: {claim.algorithm} needs its optimizer, one of {', '.join(optimizers)}")

    @property
    def cells(self) -> list[tuple[str, AlgorithmEntry, str]]:
        """What is tuned once: each workload with each algorithm that takes part there and each of its optimizers."""
        return [
            (workload.name, entry, optimizer)
            for workload in self.workloads
            for entry in self.algorithms
            if entry.method in (workload.algorithms or [entry.method])
            for optimizer in ([entry.optimizer] if entry.optimizer else self.optimizers)
        ]

    def training_of(self, workload: str, method: str) -> Training:
        """The training settings of a method on a workload."""
        values = self.training.model_dump()
        for override in self.overrides:
            if override.applies(workload, method):
                values |= override.training
        return Training(**values)

    def hyperparameters_of(self, workload: str, entry: AlgorithmEntry) -> dict[str, Any]:
        """The hyperparameters that are fixed for an algorithm on a workload."""
        values = entry.fixed
        for override in self.overrides:
            if override.applies(workload, entry.method):
                values |= override.hyperparameters
        return values

    @property
    def digest(self) -> str:
        """Changes with anything that the plan depends on."""
        aimed = {w for w, entry, _ in self.cells if self.training_of(w, entry.method).stop_at_target}
        return fingerprint(self, __version__, *[TARGETS[name].value for name in sorted(aimed & TARGETS.keys())])


def name_of(item: str | WorkloadEntry | AlgorithmEntry) -> str:
    """What an entry of a list is called in the study."""
    if isinstance(item, str):
        return item
    return item.method if isinstance(item, AlgorithmEntry) else item.name


def known(names: Sequence[str] | None, those: Sequence[str], text: str) -> None:
    """Refuse names that the study has not.

    Raises
    ------
    ValueError
        One is not among those.
    """
    for name in names or []:
        if name not in those:
            raise ValueError(f"{text} '{name}', which the study has not: it has {', '.join(those)}")


def load(path: Path) -> Study:
    """A study from its file.

    Raises
    ------
    RequestError
        The file is absent, not TOML, or a field is wrong: the message gives file, line and field.
    """
    return read_as(Study, path)


def to_toml(study: Study) -> str:
    """The resolved study as TOML, every default spelled out."""
    body = study.model_dump(mode="json", exclude_none=True)
    for part in ("workloads", "algorithms"):
        body[part] = [entry["name"] if list(entry) == ["name"] else entry for entry in body[part]]
    tables = {key: body.pop(key) for key in list(body) if isinstance(body[key], dict)}
    lines = [f"{key} = {broken_value(value)}" for key, value in body.items()]
    for name, table in tables.items():
        lines += ["", f"[{name}]", *(f"{key} = {toml_value(value)}" for key, value in table.items())]
    return "\n".join(lines) + "\n"
