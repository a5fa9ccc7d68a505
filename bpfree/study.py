"""The study file and its plan: which cells are tuned and which runs are made.

    name = "quickstart"
    workloads = ["digits-mlp"]
    algorithms = ["backprop", { name = "mono_forward", label = "mono_forward_greedy", schedule = "greedy" }]
    optimizers = ["adamw"]
    seeds = 5                     # or a list
    [training]                    # max_epochs, batch_size, patience, min_delta, threads
    [tuning]                      # trials, max_epochs, sampler, pruner; absent: published defaults
    [measurement]                 # boundary, idle_seconds, warmup_steps, country or carbon_intensity, pue
    [statistics]                  # confidence, equivalence_margin

Reading and checking a file imports no torch; a plan does, since hyperparameters live with their algorithms.
"""

import hashlib
import json
import random
import re
import tomllib
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import product
from pathlib import Path
from typing import Annotated, Any, Literal, get_args

from pydantic import BaseModel, ConfigDict, Field, ValidationError, ValidationInfo, field_validator

from bpfree import __version__
from bpfree.errors import RequestError
from bpfree.records import MeasurementSettings, RunSpec, TrainingSettings, TunedCell, cell_name

Sampler = Literal["tpe", "gp", "random", "qmc"]
SAMPLERS: tuple[str, ...] = get_args(Sampler)
Device = Literal["cpu", "cuda"]
NAME = r"^[\w][\w.-]*$"
"""Names become parts of file names."""
TRIALS_AT_ONCE = 4
"""Trials asked for together, however many run at a time: what is tried does not depend on the machine's cores."""
TRIAL_SEED = 1_000_000
"""The k-th trial of every cell trains with seed TRIAL_SEED + k; final runs have smaller seeds."""


class Section(BaseModel):
    """Base of the tables of a study file: no unknown fields, finite numbers."""

    model_config = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False)


class Training(Section):
    """`[training]`: how every algorithm is trained."""

    max_epochs: Annotated[int, Field(gt=0, le=1_000_000)] = 50
    """Passes over the training set at most, all stages together."""
    batch_size: Annotated[int, Field(gt=0)] = 128
    patience: Annotated[int, Field(gt=0, le=1_000_000)] = 5
    min_delta: Annotated[float, Field(ge=0)] = 0.0
    execution: Literal["eager"] = "eager"
    threads: Annotated[int, Field(gt=0, le=1024)] | None = None
    """CPU threads of a run; left out: the cores at hand, shared among parallel runs."""

    def settings(self, max_epochs: int | None = None) -> TrainingSettings:
        """As a run holds them."""
        return TrainingSettings(**{**self.model_dump(), "max_epochs": max_epochs or self.max_epochs})


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


class Measurement(Section):
    """`[measurement]`: what is measured and on which assumptions."""

    boundary: Annotated[list[Literal["gpu", "cpu", "dram"]], Field(min_length=1)] | None = None
    idle_seconds: Annotated[float, Field(ge=0, le=3600)] = 10.0
    warmup_steps: Annotated[int, Field(ge=0, le=100_000)] = 10
    country: Annotated[str, Field(pattern="^[A-Z]{3}$")] | None = None
    carbon_intensity: Annotated[float, Field(ge=0, le=10_000)] | None = None
    pue: Annotated[float, Field(ge=1, le=10)] = 1.0

    def settings(self) -> MeasurementSettings:
        """As a run holds them."""
        return MeasurementSettings(**self.model_dump())


class Statistics(Section):
    """`[statistics]`: how the report judges."""

    confidence: Annotated[float, Field(gt=0.5, lt=1)] = 0.95
    equivalence_margin: Annotated[float, Field(gt=0)] = 0.005


class AlgorithmEntry(BaseModel):
    """An algorithm of a study, with hyperparameters that are fixed and so not tuned."""

    model_config = ConfigDict(extra="allow", frozen=True)

    name: str
    label: Annotated[str, Field(pattern=NAME)] | None = None
    """What the study calls it, so that an algorithm may take part in several forms."""

    @property
    def method(self) -> str:
        """Its label, or the algorithm's name."""
        return self.label or self.name

    @property
    def fixed(self) -> dict[str, Any]:
        """Names and values that tuning leaves alone."""
        return dict(self.__pydantic_extra__ or {})


class Study(Section):
    """A study file, checked."""

    name: Annotated[str, Field(pattern=NAME)]
    description: str = ""
    workloads: Annotated[list[str], Field(min_length=1)]
    algorithms: Annotated[list[AlgorithmEntry], Field(min_length=1)]
    optimizers: Annotated[list[str], Field(min_length=1)] = ["adamw"]
    baseline: Annotated[str, Field(validate_default=True)] = "backprop"
    seeds: list[int] = [0, 1, 2, 3, 4]
    training: Training = Training()
    tuning: Tuning | None = None
    measurement: Measurement = Measurement()
    statistics: Statistics = Statistics()

    @field_validator("algorithms", mode="before")
    @classmethod
    def _names_are_entries(cls, value: Any) -> Any:
        return (
            [{"name": item} if isinstance(item, str) else item for item in value] if isinstance(value, list) else value
        )

    @field_validator("seeds", mode="before")
    @classmethod
    def _count_is_range(cls, value: Any) -> Any:
        if isinstance(value, int) and not isinstance(value, bool):
            if value < 1:
                raise ValueError("must be at least 1")
            if value > TRIAL_SEED:
                raise ValueError(f"must be at most {TRIAL_SEED}")
            return list(range(value))
        return value

    @field_validator("seeds")
    @classmethod
    def _seeds_are_distinct(cls, value: list[int]) -> list[int]:
        if not value or len(set(value)) < len(value):
            raise ValueError("must be a count or a list of distinct seeds: a repeated seed is not a replication")
        if not all(0 <= seed < TRIAL_SEED for seed in value):
            raise ValueError(f"each seed must be from 0 to {TRIAL_SEED - 1}: larger ones are the trials'")
        return value

    @field_validator("workloads", "algorithms", "optimizers")
    @classmethod
    def _names_are_distinct(cls, value: list[Any]) -> list[Any]:
        names = [item.method if isinstance(item, AlgorithmEntry) else item for item in value]
        if len(set(names)) < len(names):
            raise ValueError("must not name anything twice: give the forms of an algorithm labels of their own")
        return value

    @field_validator("baseline")
    @classmethod
    def _baseline_takes_part(cls, value: str, info: ValidationInfo) -> str:
        if value not in [entry.method for entry in info.data.get("algorithms", [])]:
            raise ValueError(f"'{value}' is not among the algorithms")
        return value

    @property
    def digest(self) -> str:
        """Changes with anything that the plan depends on."""
        text = json.dumps([__version__, self.model_dump(mode="json")], sort_keys=True)
        return hashlib.sha256(text.encode()).hexdigest()[:16]


def load(path: Path) -> Study:
    """A study from its file.

    Raises
    ------
    RequestError
        The file is absent, not TOML, or a field is wrong: the message gives file, line and field.
    """
    try:
        text = path.read_text(encoding="utf-8-sig")
    except (OSError, UnicodeDecodeError) as error:
        reason = error.strerror if isinstance(error, OSError) else "it is not text"
        raise RequestError(f"cannot read study file {path}: {reason}") from None
    try:
        return Study.model_validate(tomllib.loads(text))
    except (tomllib.TOMLDecodeError, RecursionError) as error:
        raise RequestError(f"{path} is not valid TOML: {error}") from None
    except ValidationError as error:
        first = error.errors()[0]
        place = [str(part) for part in first["loc"]]
        message = first["msg"].removeprefix("Value error, ")
        raise RequestError(f"{path}, line {line_of(text, place)}: {'.'.join(place)}: {message}") from None


def line_of(text: str, place: Sequence[str]) -> int:
    """The line of a study file that sets a field; where it is missing, that of what should hold it, or 1."""
    table, paths = "", []
    entries: Counter[str] = Counter()
    for line in text.split("\n"):
        if header := re.match(r"\s*(\[\[?)\s*([\w.-]+)\s*\]", line):
            table = header[2]
            if header[1] == "[[":
                table = f"{header[2]}.{entries[header[2]]}"
                entries[header[2]] += 1
            paths.append(f"{table}.")
        elif key := re.match(r"""\s*["']?([\w.-]+)["']?\s*=""", line):
            paths.append(f"{table}.{key[1]}.".removeprefix("."))
        else:
            paths.append("")
    for length in range(len(place), 0, -1):
        wanted = ".".join(place[:length]) + "."
        for number, path in enumerate(paths, 1):
            if path.startswith(wanted):
                return number
    return 1


def to_toml(study: Study) -> str:
    """The resolved study as TOML, every default spelled out."""
    body = study.model_dump(mode="json", exclude_none=True)
    body["algorithms"] = [
        entry.model_dump(exclude_none=True) if entry.fixed or entry.label else entry.name for entry in study.algorithms
    ]
    tables = {key: body.pop(key) for key in list(body) if isinstance(body[key], dict)}
    lines = [f"{key} = {toml_value(value)}" for key, value in body.items()]
    for name, table in tables.items():
        lines += ["", f"[{name}]", *(f"{key} = {toml_value(value)}" for key, value in table.items())]
    return "\n".join(lines) + "\n"


def toml_value(value: Any) -> str:
    """A value in TOML's syntax, which is JSON's for all but tables and the character 7F."""
    if isinstance(value, dict):
        return "{ " + ", ".join(f"{key} = {toml_value(item)}" for key, item in value.items()) + " }"
    if isinstance(value, list):
        return "[" + ", ".join(toml_value(item) for item in value) + "]"
    return json.dumps(value, ensure_ascii=False).replace("\x7f", "\\u007f")


@dataclass(frozen=True)
class Cell:
    """What is tuned once: a workload, an algorithm with its fixed hyperparameters, an optimizer."""

    workload: str
    algorithm: str
    optimizer: str
    fixed: dict[str, Any]
    label: str | None = None

    @property
    def name(self) -> str:
        """As in file names and tables."""
        return cell_name(self.workload, self.label or self.algorithm, self.optimizer)


@dataclass(frozen=True)
class Plan:
    """What a study means on a device."""

    study: Study
    device: Device
    cells: list[Cell]

    def final_blocks(self, tuned: dict[str, TunedCell]) -> list[list[RunSpec]]:
        """The final runs: one block a seed, in it every cell of a workload once, in shuffled order."""
        blocks = []
        for workload, seed in product(self.study.workloads, self.study.seeds):
            specs = [
                self.spec(cell, tuned[cell.name].hyperparameters, seed, role="final")
                for cell in self.cells
                if cell.workload == workload
            ]
            random.Random(f"{self.study.name}/{workload}/{seed}").shuffle(specs)
            blocks.append(specs)
        return blocks

    def spec(self, cell: Cell, hyperparameters: dict[str, Any], seed: int, role: Literal["trial", "final"]) -> RunSpec:
        """One run of a cell."""
        tuning = self.study.tuning
        max_epochs = tuning.max_epochs if role == "trial" and tuning else None
        return RunSpec(
            workload=cell.workload,
            algorithm=cell.algorithm,
            optimizer=cell.optimizer,
            hyperparameters=hyperparameters,
            seed=seed,
            training=self.study.training.settings(max_epochs),
            measurement=self.study.measurement.settings(),
            device=self.device,
            role=role,
            label=cell.label,
        )


def plan(study: Study, device: Device) -> Plan:
    """The plan of a study, with every name and fixed value checked.

    Raises
    ------
    RequestError
        An unknown name, a value out of bounds, an algorithm that a workload's network does not suit, or a pruner
        with an algorithm of several stages.
    """
    from bpfree import assembly, workloads
    from bpfree.meters import intensity

    if study.measurement.country or study.measurement.carbon_intensity is not None:
        intensity(study.measurement.country, study.measurement.carbon_intensity)
    if device == "cpu" and "gpu" in (study.measurement.boundary or []):
        raise RequestError("boundary names gpu, but the study runs on the CPU: leave it out or choose --device cuda")
    cells = []
    for workload, entry, optimizer in product(study.workloads, study.algorithms, study.optimizers):
        assembly.check_compatible(entry.name, workloads.find(workload), study.training.batch_size)
        resolved = assembly.resolve(entry.name, optimizer, entry.fixed)
        if study.tuning and study.tuning.pruner != "none" and stages(workload, entry.name, optimizer, resolved) > 1:
            raise RequestError(
                f"pruner = '{study.tuning.pruner}' is unfair to {entry.name}, which trains in several stages: "
                "leave the pruner out or give it schedule = 'simultaneous'"
            )
        cells.append(Cell(workload, entry.name, optimizer, entry.fixed, entry.label))
    return Plan(study, device, cells)


def stages(workload: str, algorithm: str, optimizer: str, hyperparameters: dict[str, Any]) -> int:
    """How many stages an algorithm trains a workload's network in."""
    from bpfree import assembly, workloads

    built = assembly.build(workloads.find(workload), algorithm, optimizer, hyperparameters, seed=0, device="cpu")
    return len(built.stages())
