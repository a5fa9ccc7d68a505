"""The description of the table of records: nothing undescribed, and rows that are as described."""

import json

import pytest
from test_export import DONE, cost, record

from bpfree.columns import COLUMNS
from bpfree.export import row
from bpfree.records import Metrics

TYPES = {"string": str, "integer": int, "number": float}
FULL = record(
    metrics=Metrics(
        **dict.fromkeys(Metrics.model_fields, 0.5)
        | {"metric": "accuracy", "higher_is_better": True, "test_metric_by_block": [0.4, 0.5]}
    ),
    cost=cost(train_joules_net=1.0, idle_watts=3.5, peak_device_bytes=2**30),
    block=0,
    position=1,
    trial=2,
)
FULL.spec.imported_run = "run-17"


def test_every_column_has_a_description_and_one_name():
    assert all(column.meaning.endswith(".") and column.kind in TYPES for column in COLUMNS)
    assert len({column.name for column in COLUMNS}) == len(COLUMNS)
    assert len({column.meaning for column in COLUMNS}) == len(COLUMNS)


@pytest.mark.parametrize("found", [FULL, DONE, record("failed")])
def test_rows_are_as_described(found):
    values = row(found)
    assert list(values) == [column.name for column in COLUMNS]
    for column in COLUMNS:
        assert values[column.name] is None or type(values[column.name]) is TYPES[column.kind], column.name
    assert found is not FULL or None not in values.values()


def test_units_are_those_of_the_names():
    endings = {"seconds": "s", "joules": "J", "joules_net": "J", "watts": "W", "bytes": "B", "kg": "kg"}
    for column in COLUMNS:
        for ending, unit in endings.items():
            assert not column.name.endswith(f"_{ending}") or column.unit == unit, column.name
        assert (column.unit == "fraction") == column.name.endswith("_accuracy")


def test_the_command_line_describes_them(bpfree):
    described = json.loads(bpfree("export", "--schema", "--format", "json").stdout)
    assert [field["name"] for field in described["fields"]] == [column.name for column in COLUMNS]
    assert described["primaryKey"] == "id"
    shown = bpfree("export", "--schema").stdout
    assert all(column.name in shown for column in COLUMNS)
