"""The kept records: still readable, and still known by their ids."""

from pathlib import Path

import pytest

from bpfree.driver import nothing_left
from bpfree.results import ResultsFolder
from bpfree.study import load

KEPT = Path(__file__).resolve().parent.parent / "studies" / "records"
FOLDERS = sorted(path for path in KEPT.iterdir() if path.is_dir())


@pytest.mark.parametrize("path", FOLDERS, ids=lambda path: path.name)
def test_ids_are_those_of_the_specifications(path):
    records = list(ResultsFolder(path).records())
    assert records
    for record in records:
        assert record.id == record.spec.id == ResultsFolder(path).record_path(record.id).parent.name


@pytest.mark.parametrize("path", [p for p in FOLDERS if (p / "study.toml").exists()], ids=lambda path: path.name)
def test_kept_studies_are_complete(path):
    assert nothing_left(load(path / "study.toml"), ResultsFolder(path), None)
