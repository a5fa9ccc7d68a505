"""The columns of the table of records: name, type, unit, meaning, and where a record has the value.

This one table makes the header of the CSV, the types and the metadata of the Parquet file, and their description.
"""

from collections.abc import Callable
from dataclasses import dataclass
from functools import reduce
from typing import Any, Literal

from bpfree.records import Record

Kind = Literal["string", "integer", "number"]
"""As in Frictionless Data's Table Schema."""


@dataclass(frozen=True)
class Column:
    """A column of the table, one row a run."""

    name: str
    kind: Kind
    unit: str
    """Empty for names, counts and whatever has none."""
    meaning: str
    of: Callable[[Record], Any]
    """Its value in a record; None where there is none."""


def at(path: str) -> Callable[[Record], Any]:
    """The value at a dotted path into a record; None where something on the way is."""

    def step(part: Any, name: str) -> Any:
        return None if part is None else getattr(part, name)

    return lambda record: reduce(step, path.split("."), record)


def boundary(record: Record) -> str | None:
    """The components whose joules count."""
    return "+".join(record.cost.boundary) if record.cost else None


def hyperparameters(record: Record) -> str:
    """All of them, as `name=value`."""
    return "; ".join(f"{name}={value}" for name, value in record.spec.hyperparameters.items())


def by_block(record: Record) -> str | None:
    """The metric of each block's own prediction, as text."""
    values = record.metrics.test_metric_by_block if record.metrics else []
    return "; ".join(map(str, values)) or None


COLUMNS = (
    Column("id", "string", "", "Hash of all that determines the run.", at("id")),
    Column("status", "string", "", "How the run ended: completed, diverged, out_of_memory or failed.", at("status")),
    Column("role", "string", "", "What the run is for: single, trial, final or imported.", at("spec.role")),
    Column("workload", "string", "", "What was learnt: data set and network.", at("spec.workload")),
    Column("algorithm", "string", "", "The algorithm's own name.", at("spec.algorithm")),
    Column("method", "string", "", "What the study calls the algorithm in this form.", at("spec.method")),
    Column("optimizer", "string", "", "What turned gradients into updates.", at("spec.optimizer")),
    Column("seed", "integer", "", "Of initialisation, data order and the algorithm.", at("spec.seed")),
    Column("block", "integer", "", "Final runs: index of the block of one seed that the run was made in.", at("block")),
    Column("position", "integer", "", "Final runs: place in the shuffled order of its block.", at("position")),
    Column("trial", "integer", "", "Tuning: number of the trial in its cell.", at("trial")),
    Column("device", "string", "", "Kind of device: cpu or cuda.", at("spec.device")),
    Column("imported_run", "string", "", "What its source calls a run made elsewhere.", at("spec.imported_run")),
    Column("metric", "string", "", "The name of the workload's metric; empty in older records.", at("metrics.metric")),
    Column("test_metric", "number", "", "The workload's own metric on the test set.", at("metrics.test_metric")),
    Column("test_accuracy", "number", "fraction", "Share of the test set that is right.", at("metrics.test_accuracy")),
    Column("test_metric_by_block", "string", "", "The test metric by each block's own prediction, in order.", by_block),
    Column("test_loss", "number", "", "The workload's loss on the test set.", at("metrics.test_loss")),
    Column("validation_metric", "number", "", "The metric on the validation set.", at("metrics.validation_metric")),
    Column(
        "validation_accuracy", "number", "fraction", "Share of the validation set that is right.",
        at("metrics.validation_accuracy"),
    ),
    Column("steps", "integer", "", "Updates, all stages together.", at("cost.steps")),
    Column("epochs", "integer", "", "Passes over the training set, all stages together.", at("cost.epochs")),
    Column("samples", "integer", "", "Training samples seen, with repeats.", at("cost.samples")),
    Column("parameters", "integer", "", "Parameters that were trained.", at("cost.parameters")),
    Column("flops_per_step", "number", "FLOP", "Mean over the steps, as counted by torch.", at("cost.flops_per_step")),
    Column("flops_total", "number", "FLOP", "Of all steps; validation is not counted.", at("cost.flops_total")),
    Column(
        "train_seconds", "number", "s", "From the first step to the end of the last epoch, validation included.",
        at("cost.train_seconds"),
    ),
    Column(
        "train_joules", "number", "J", "Of that window, over the boundary; joules_quality says how far to trust it.",
        at("cost.train_joules"),
    ),
    Column(
        "train_joules_net", "number", "J", "The same above idle; of measured energy alone.", at("cost.train_joules_net")
    ),
    Column(
        "joules_quality", "string", "", "Of train_joules: measured, modelled, unresolved or absent.",
        at("cost.joules_quality"),
    ),
    Column("idle_watts", "number", "W", "Power at rest before training, everything loaded.", at("cost.idle_watts")),
    Column(
        "peak_device_bytes", "integer", "B", "Most that the device's allocator held while training; none on a CPU.",
        at("cost.peak_device_bytes"),
    ),
    Column(
        "peak_host_bytes", "integer", "B", "Most that the run's own process held while training.",
        at("cost.peak_host_bytes"),
    ),
    Column("boundary", "string", "", "The components whose joules count, joined by +.", boundary),
    Column(
        "co2e_kg", "number", "kg", "Emissions of the training window, for the place that the settings name.",
        at("cost.carbon.co2e_kg"),
    ),
    Column("hyperparameters", "string", "", "All that were set or tuned, as name=value; name=value.", hyperparameters),
)  # fmt: skip


def schema() -> dict[str, Any]:
    """The table's description as a Table Schema of Frictionless Data, with units."""
    fields = [{"name": c.name, "type": c.kind, "unit": c.unit or None, "description": c.meaning} for c in COLUMNS]
    return {"primaryKey": "id", "fields": fields}
