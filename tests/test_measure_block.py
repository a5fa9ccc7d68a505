"""`with bpfree.measure():` around a block of Python, and the summary of what is measured."""

import os
import subprocess
import sys
import time
from types import SimpleNamespace

import pandas
import pytest

import bpfree as package
from bpfree.errors import RequestError
from bpfree.measured import Measured, counted, scaled, summary
from bpfree.records import Carbon, Reading


@pytest.fixture
def busy_loop():
    def work(seconds):
        end = time.thread_time() + seconds
        while time.thread_time() < end:
            sum(range(1000))

    return work


def test_a_block(busy_loop):
    before = time.process_time()
    with package.measure(cpu_watts=10.0) as m:
        busy_loop(0.2)
    spent = time.process_time() - before
    assert 0.2 <= m.measured.cpu_seconds <= spent
    assert m.seconds >= 0.2
    cpu = next(reading for reading in m.readings if reading.component == "cpu")
    if cpu.quality == "modelled":
        assert m.joules("cpu") == cpu.joules == pytest.approx(m.measured.cpu_seconds * 10 / os.cpu_count(), rel=0.02)
        assert "process CPU seconds" in cpu.reason
    assert m.joules("tpu") is None
    assert m.summary() == summary(m.measured)
    assert "cpu" in m.summary()


def test_a_block_that_fails_is_measured_and_its_exception_passes_on(tmp_path, busy_loop):
    file = tmp_path / "emissions.csv"
    m = package.measure(country="FRA", codecarbon_csv=file)

    def fail():
        with m:
            busy_loop(0.05)
            _ = 1 / 0

    with pytest.raises(ZeroDivisionError):
        fail()
    assert m.seconds > 0.04
    assert m.measured.carbon.co2e_kg > 0
    assert len(pandas.read_csv(file)) == 1


def test_the_blocks_own_exception_comes_before_ours(tmp_path):
    file = tmp_path / "emissions.csv"

    def fail():
        with package.measure(codecarbon_csv=file):
            file.write_text("other,columns\n")
            _ = 1 / 0

    with pytest.raises(ZeroDivisionError) as raised:
        fail()
    assert "other columns" in raised.value.__notes__[0]


def test_there_are_no_figures_before_the_end():
    with package.measure() as m, pytest.raises(RequestError, match="has not ended"):
        m.summary()
    assert m.seconds > 0


def test_a_second_block_begins_anew():
    m = package.measure()
    with m:
        time.sleep(0.2)
    with m:
        pass
    assert m.seconds < 0.2


def test_wrong_settings_are_told_at_once(tmp_path):
    for settings in ({"country": "Frankreich"}, {"cpu_watts": -1.0}, {"pue": float("inf")}, {"region": "quebec"}):
        with pytest.raises(RequestError):
            package.measure(**settings)
    with pytest.raises(RequestError, match="no folder"):
        package.measure(codecarbon_csv=str(tmp_path / "none" / "emissions.csv"))


def test_the_devices_in_use_are_waited_for_at_both_edges(monkeypatch):
    waited = []
    cuda = SimpleNamespace(
        is_initialized=lambda: True, device_count=lambda: 3, current_device=lambda: 0,
        memory_reserved=lambda device: 10 * device % 20, synchronize=waited.append,
    )  # fmt: skip
    monkeypatch.setitem(sys.modules, "torch", SimpleNamespace(cuda=cuda))
    with package.measure():
        assert set(waited) == {0, 1}
        waited.clear()
    assert set(waited) == {0, 1}


def test_the_package_alone_is_light():
    code = (
        "import sys, bpfree; print(bpfree.__version__, *sorted({'torch', 'codecarbon', 'pydantic'} & {*sys.modules}))"
    )
    assert subprocess.check_output([sys.executable, "-c", code], text=True) == f"{package.__version__}\n"
    code = "import sys, bpfree\nwith bpfree.measure(): pass\nprint('torch' in sys.modules)"
    assert subprocess.check_output([sys.executable, "-c", code], text=True) == "False\n"
    with pytest.raises(AttributeError, match="meter"):
        _ = package.meter


def reading(component, joules, quality="measured", method="rapl_powercap", **fields):
    fields = {"resolution": 0.001, "reason": None} | fields
    return Reading(component=component, joules=joules, quality=quality, method=method, **fields)


def test_a_sum_never_mixes_measured_and_modelled():
    modelled = reading("cpu", 1.0, "modelled", "cpu_seconds_model")
    absent = reading("dram", None, "absent", "none")
    assert counted([reading("gpu", 5.0), reading("gpu", 3.0), modelled, absent]) == ["gpu"]
    assert counted([reading("gpu", None, "unresolved"), modelled]) == ["gpu"]
    assert counted([modelled, absent]) == ["cpu"]
    assert counted([absent]) == []


def test_summary_of_a_machine_with_everything():
    readings = [reading("gpu", 1500.0, method="nvml_energy_counter", resolution=0.0123), reading("cpu", 250.0)]
    measured = Measured(
        started="2026-01-01T00:00:00+00:00", seconds=12.5, cpu_seconds=80.25, readings=readings, joules=1750.0,
        joules_quality="measured", boundary=["gpu", "cpu"], peak_host_bytes=1_500_000_000, peak_host_floor=1,
        carbon=Carbon(co2e_kg=2.5e-5, intensity_g_per_kwh=56.0, pue=1.1, source="France"), remarks=["a remark"],
    )  # fmt: skip
    lines = summary(measured).splitlines()
    assert lines[:5] == [
        "time         12.500 s",
        "CPU time     80.250 s",
        "peak memory  1.5 GB",
        "energy       1.75 kJ measured (gpu+cpu)",
        "CO2e         25 mg, as that energy × 56 g/kWh (France) × PUE 1.1",
    ]
    assert "gpu        1.5 kJ  120 W       measured  1.23%       nvml_energy_counter" in lines
    assert lines[-1] == "a remark"


@pytest.mark.parametrize(
    ("value", "text"),
    [(None, "-"), (0.0, "0 J"), (999.6, "1 kJ"), (999.4, "999 J"), (0.00123, "1.23 mJ"), (3.6e6, "3.6 MJ")],
)
def test_quantities(value, text):
    assert scaled(value, "J") == text
