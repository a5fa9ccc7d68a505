"""The table of records as Parquet: the rows of the CSV, with types that do not depend on the values."""

import csv
import io
import os
import pty
import subprocess
import sys
from pathlib import Path

import pyarrow as pa
import pytest
from pyarrow import parquet
from test_columns import FULL
from test_export import DONE, record

from bpfree.columns import COLUMNS
from bpfree.export import to_csv
from bpfree.parquet import to_parquet

RECORDS = [FULL, DONE, record("failed")]
STUDY = Path(__file__).resolve().parent.parent / "studies" / "records" / "fashion"


def read(content):
    return parquet.read_table(io.BytesIO(content))


def assert_same(table, text):
    """As the CSV says it: an empty field is null, everything else the value as Python prints it."""
    rows = [{name: "" if v is None else str(v) for name, v in row.items()} for row in table.to_pylist()]
    assert rows == list(csv.DictReader(io.StringIO(text)))


def test_it_holds_the_rows_of_the_csv():
    assert_same(read(to_parquet(RECORDS)), to_csv(RECORDS))


@pytest.mark.parametrize("records", [RECORDS, [record("failed")]], ids=["values", "nulls"])
def test_types_and_descriptions_are_the_columns(records):
    types = {"string": pa.string(), "integer": pa.int64(), "number": pa.float64()}
    table = read(to_parquet(records))
    for column, field in zip(COLUMNS, table.schema, strict=True):
        assert (field.name, field.type) == (column.name, types[column.kind])
        assert field.metadata[b"description"].decode() == column.meaning
        assert field.metadata.get(b"unit", b"").decode() == column.unit


def test_absent_is_null_and_never_zero():
    row = read(to_parquet([record("failed")])).to_pylist()[0]
    assert row["train_joules"] is row["steps"] is row["boundary"] is row["trial"] is None


def test_it_goes_to_a_file_or_a_pipe(bpfree, tmp_path):
    done = bpfree("export", STUDY, "--format", "parquet", "--output", tmp_path / "new" / "runs.parquet")
    assert (done.returncode, done.stdout) == (0, f"export: {tmp_path}/new/runs.parquet\n"), done.stderr
    written = (tmp_path / "new" / "runs.parquet").read_bytes()
    assert_same(read(written), bpfree("export", STUDY).stdout)
    command = [sys.executable, "-m", "bpfree", "export", STUDY, "--format", "parquet"]
    assert subprocess.run(command, capture_output=True, check=True).stdout == written


def test_a_terminal_gets_no_binary():
    ours, theirs = pty.openpty()
    command = [sys.executable, "-m", "bpfree", "export", STUDY, "--format", "parquet"]
    done = subprocess.run(command, stdout=theirs, stderr=subprocess.PIPE, text=True)
    os.close(theirs)
    os.close(ours)
    assert done.returncode == 2
    assert done.stderr == "bpfree: parquet is not for a terminal: name a file with --output\n"
