"""The table of records as a Parquet file, for pandas, Polars, DuckDB or R."""

from collections.abc import Sequence

import pyarrow as pa
from pyarrow import parquet

from bpfree.columns import COLUMNS, Column
from bpfree.export import row
from bpfree.records import Record

TYPES = {"string": pa.string(), "integer": pa.int64(), "number": pa.float64()}


def field(column: Column) -> pa.Field:
    """A column's type, with its unit and its meaning as metadata; the type does not depend on the values."""
    metadata = {"unit": column.unit, "description": column.meaning}
    return pa.field(column.name, TYPES[column.kind], metadata={key: text for key, text in metadata.items() if text})


def to_parquet(records: Sequence[Record]) -> bytes:
    """The rows of the CSV, typed; null where there is no value."""
    table = pa.Table.from_pylist([row(record) for record in records], schema=pa.schema(map(field, COLUMNS)))
    sink = pa.BufferOutputStream()
    parquet.write_table(table, sink)
    return bytes(sink.getvalue().to_pybytes())
