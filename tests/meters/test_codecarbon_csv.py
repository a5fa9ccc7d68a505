"""Rows of CodeCarbon's emissions.csv, read back by CodeCarbon and by pandas."""

import csv
import io
from datetime import UTC, datetime

import pandas
import pytest
from codecarbon.output_methods.emissions_data import EmissionsData
from codecarbon.output_methods.file import FileOutput

from bpfree.errors import RequestError
from bpfree.meters.codecarbon_csv import Emission, append, columns, row
from bpfree.records import Carbon, MeasurementSettings, Reading


def reading(component, joules, quality="measured"):
    return Reading(component=component, joules=joules, method="m", quality=quality, resolution=None)


def emission(**fields):
    readings = [reading("gpu", 7200.0), reading("dram", None, "absent")]
    values = {
        "project": "p", "experiment": "e", "run": "r", "started": datetime(2026, 3, 1, 12, tzinfo=UTC), "seconds": 10.0,
        "readings": readings, "joules": 7200.0, "quality": "measured",
        "carbon": Carbon(co2e_kg=1e-4, intensity_g_per_kwh=50.0, pue=1.5, source="s"),
        "settings": MeasurementSettings(country="FRA", pue=1.5),
        "machine": {"platform": "Linux", "python": "3.11.7", "cpu": "A CPU", "cpu_cores": 8, "memory_bytes": 2**34,
                    "packages": {"codecarbon": "3.3.2"}},
        "gpu_names": ["NVIDIA A", "NVIDIA A"],
    }  # fmt: skip
    return Emission(**{**values, **fields})


def test_a_row_means_what_it_means_at_codecarbon():
    assert columns() == list(EmissionsData.__dataclass_fields__)
    found = row(emission())
    assert list(found) == columns()
    expected = {
        "duration": 10.0, "emissions": 1e-4, "emissions_rate": 1e-5, "gpu_energy": 0.002 * 1.5, "gpu_power": 720 * 1.5,
        "energy_consumed": 0.002 * 1.5, "country_name": "France", "country_iso_code": "FRA", "cpu_count": 8,
        "gpu_count": 2, "gpu_model": "2 x NVIDIA A", "ram_total_size": 16.0, "tracking_mode": "machine",
        "on_cloud": "N", "pue": 1.5, "os": "Linux", "project_name": "p", "run_id": "r",
    }  # fmt: skip
    assert {name: found[name] for name in expected} == pytest.approx(expected)
    for name in ("cpu_energy", "cpu_power", "ram_energy", "ram_power", "water_consumed", "gpu_utilization_percent"):
        assert found[name] is None, "not measured, so not 0"


def test_an_unresolved_figure_is_left_out():
    found = row(emission(readings=[reading("gpu", 7200.0, "unresolved")], quality="unresolved"))
    for name in ("gpu_energy", "gpu_power", "energy_consumed", "emissions", "emissions_rate"):
        assert found[name] is None
    assert row(emission(seconds=0.0))["gpu_power"] is None


def test_codecarbon_and_pandas_read_the_file_and_go_on_with_it(tmp_path):
    file = tmp_path / "emissions.csv"
    append(file, emission())
    (values,) = pandas.read_csv(file).to_dict("records")
    data = EmissionsData(**values)
    assert data.emissions == 1e-4
    output = FileOutput("emissions.csv", str(tmp_path))
    assert output.has_valid_headers(data)
    output.out(data, None)
    FileOutput("emissions.csv", str(tmp_path), on_csv_write="update").out(
        EmissionsData(**{**values, "run_id": "q"}), None
    )
    append(file, emission(run="again"))
    table = pandas.read_csv(file)
    assert list(table) == columns()
    assert list(table.run_id) == ["r", "r", "q", "again"]
    assert list(table.gpu_energy) == pytest.approx([0.003] * 4)
    assert table.cpu_energy.isna().all()


def test_a_file_in_another_order_or_without_its_last_newline_is_gone_on_with(tmp_path):
    file = tmp_path / "emissions.csv"
    names = columns()[::-1]
    file.write_text(",".join(names) + "\n" + ",".join("x" for _ in names))
    append(file, emission())
    first, second = csv.DictReader(io.StringIO(file.read_text()))
    assert first["run_id"] == "x"
    assert (second["run_id"], second["country_iso_code"]) == ("r", "FRA")


def test_a_file_of_something_else_is_left_alone(tmp_path):
    file = tmp_path / "emissions.csv"
    file.write_bytes(b"a,b\n\xff,2\n")
    with pytest.raises(RequestError, match="other columns"):
        append(file, emission())
    assert file.read_bytes() == b"a,b\n\xff,2\n"
    file.write_text("")
    append(file, emission())
    assert len(pandas.read_csv(file)) == 1
