"""Records as a table, one row a run."""

import csv
import io
from collections.abc import Sequence
from datetime import UTC, datetime
from typing import Any

from bpfree.columns import COLUMNS
from bpfree.meters import codecarbon_csv
from bpfree.records import Record


def row(record: Record) -> dict[str, Any]:
    """The flat form of a record: what people plot. None where there is no value."""
    return {column.name: column.of(record) for column in COLUMNS}


def to_csv(records: Sequence[Record]) -> str:
    """A CSV text with a header."""
    text = io.StringIO()
    writer = csv.DictWriter(text, fieldnames=[column.name for column in COLUMNS], lineterminator="\n")
    writer.writeheader()
    writer.writerows(map(row, records))
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
