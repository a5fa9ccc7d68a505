"""Records as a table, one row a run."""

import csv
import io
from collections.abc import Sequence
from typing import Any

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
