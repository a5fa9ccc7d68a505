"""Records as a table, one row a run."""

import csv
import io
from collections.abc import Sequence
from datetime import UTC, datetime
from typing import Any

from bpfree.meters import codecarbon_csv
from bpfree.records import Record


def row(record: Record) -> dict[str, Any]:
    """The flat form of a record: what people plot. Empty where there is no value; units are in the names."""
    spec, cost = record.spec, record.cost
    flat: dict[str, Any] = {
        "id": record.id, "status": record.status, "role": spec.role, "workload": spec.workload,
        "algorithm": spec.algorithm, "method": spec.method, "optimizer": spec.optimizer, "seed": spec.seed,
        "block": record.block, "position": record.position, "trial": record.trial, "device": spec.device,
        "imported_run": spec.imported_run,
        **record.metrics.model_dump(),
    }  # fmt: skip
    fields = (
        "steps", "epochs", "samples", "parameters", "flops_per_step", "flops_total", "train_seconds", "train_joules",
        "train_joules_net", "joules_quality", "idle_watts", "peak_device_bytes", "peak_host_bytes",
    )  # fmt: skip
    flat |= {name: getattr(cost, name) if cost else None for name in fields}
    flat["boundary"] = "+".join(cost.boundary) if cost else None
    flat["co2e_kg"] = cost.carbon.co2e_kg if cost and cost.carbon else None
    flat["hyperparameters"] = "; ".join(f"{name}={value}" for name, value in spec.hyperparameters.items())
    return flat


def to_csv(records: Sequence[Record]) -> str:
    """A CSV text with a header."""
    rows = [row(record) for record in records]
    text = io.StringIO()
    writer = csv.DictWriter(text, fieldnames=list(rows[0]), lineterminator="\n")
    writer.writeheader()
    writer.writerows(rows)
    return text.getvalue()


def to_codecarbon(records: Sequence[Record], project: str) -> str:
    """The training windows of runs as CodeCarbon's emissions.csv; a run that has no costs has no row."""
    rows = [codecarbon_csv.row(found) for record in records if (found := emission(record, project))]
    return codecarbon_csv.text(rows, codecarbon_csv.columns())


def emission(record: Record, project: str) -> codecarbon_csv.Emission | None:
    """What a row of CodeCarbon's file is made of; None for a run that has no costs."""
    cost, environment = record.cost, record.environment
    if cost is None:
        return None
    return codecarbon_csv.Emission(
        project=project,
        experiment=record.spec.cell,
        run=record.id,
        started=datetime.fromisoformat(record.started) if record.started else datetime.fromtimestamp(0, UTC),
        seconds=cost.train_seconds,
        readings=cost.readings,
        joules=cost.train_joules,
        quality=cost.joules_quality,
        carbon=cost.carbon,
        settings=record.spec.measurement,
        machine=environment,
        gpu_names=[state.name for state in record.gpus] or [environment[key] for key in ("gpu",) if key in environment],
    )
