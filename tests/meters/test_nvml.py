import subprocess
import sys
import time
from pathlib import Path

import pytest

NOT_SUPPORTED, NO_PERMISSION, MISMATCH, NOT_LOADED = 3, 4, 18, 9


def assert_joules(got, error, *, watts, slope=0.0, start=0.0):
    """The joules are those of the power watts + slope · (t - start), but for a relative error.

    The true energy lies between that of the time inside of the two readings and that outside, however busy the machine.
    """

    def exact(begin, end):
        begin, end = begin - start, end - start
        return watts * (end - begin) + slope * (end**2 - begin**2) / 2

    before_first, after_first, before_last, after_last = got["times"]
    assert got["joules"] >= exact(after_first, before_last) * (1 - error)
    assert got["joules"] <= exact(before_first, after_last) * (1 + error)


def test_constant_power_gives_the_known_joules(stub):
    got = stub.run("print(json.dumps(measure(1.0)))", watts=100, period=0.02)
    assert (got["component"], got["method"], got["quality"]) == ("gpu", "nvml_energy_counter", "measured")
    assert got["reason"] is None
    assert got["resolution"] <= 0.05
    assert_joules(got, 0.02, watts=100)  # an update of 0.02 s in a window of 1 s


def test_rising_power_gives_the_known_joules(stub):
    start = time.monotonic()
    got = stub.run("print(json.dumps(measure(0.6)))", watts=100, slope=40, start=start, period=0.02)
    assert_joules(got, 0.02 / 0.6 * 1.2, watts=100, slope=40, start=start)  # power at the end is 1.2 times the mean


def test_slow_counter_is_observed_and_its_short_window_unresolved(stub):
    got = stub.run("print(json.dumps([measure(0.5), measure(2.3)]))", watts=100, period=0.1)
    short, long = got
    for reading in got:
        assert reading["update_period"] == pytest.approx(0.1, rel=0.15)
        assert_joules(reading, 0.1 / (reading["times"][2] - reading["times"][1]), watts=100)
    assert short["quality"] == "unresolved"
    assert short["resolution"] == pytest.approx(0.1 / 0.5, rel=0.2)
    assert "error may reach" in short["reason"]
    assert long["quality"] == "measured"
    assert long["resolution"] == pytest.approx(0.1 / 2.3, rel=0.2)


def test_counter_that_stands_still_is_null_never_zero(stub):
    got = stub.run("print(json.dumps(measure(0.05)))", period=1e9)
    assert (got["joules"], got["quality"]) == (None, "unresolved")
    assert "did not move" in got["reason"]


def test_counter_reset_makes_the_window_null(stub):
    code = "control = Path(CONTROL)\nprint(json.dumps(measure(0.2, between=(control / 'reset').touch)))"
    got = stub.run(code.replace("CONTROL", repr(str(stub.control))))
    assert (got["joules"], got["quality"]) == (None, "unresolved")
    assert "backwards" in got["reason"]


@pytest.mark.parametrize("settings", [{}, {"energy": NOT_SUPPORTED}], ids=["counter", "sampled power"])
def test_lost_gpu_fails_the_run(stub, settings):
    code = f"""
try:
    measure(0.2, between=(Path({str(stub.control)!r}) / "lost").touch)
except WorldError as error:
    print(json.dumps(str(error)))
"""
    message = stub.run(code, **settings)
    assert "GPU-aaaaaaaa" in message
    assert "cannot be read any more" in message


def test_without_counter_power_is_integrated_by_another_process(stub):
    start = time.monotonic()
    got = stub.run("print(json.dumps(measure(2.4)))", energy=NOT_SUPPORTED, instant=0, watts=50, slope=20, start=start)
    assert (got["method"], got["quality"]) == ("nvml_power_integral", "measured")
    assert_joules(got, 0.01, watts=50, slope=20, start=start)


def test_sampler_ends_with_the_process_that_started_it(stub):
    code = """
meter = open_meters("cuda", AAAA)[0]
print(json.dumps(meter.watch._process.pid), flush=True)
import os
os._exit(0)
"""
    pid = stub.run(code, energy=NOT_SUPPORTED)
    deadline = time.monotonic() + 5
    while Path(f"/proc/{pid}/cmdline").exists() and "sampler" in Path(f"/proc/{pid}/cmdline").read_text():
        assert time.monotonic() < deadline
        time.sleep(0.01)


def test_dead_sampler_fails_the_run(stub):
    code = """
meter = open_meters("cuda", AAAA)[0]
meter.watch._process.kill()
meter.watch._process.wait()
try:
    meter.read()
except WorldError as error:
    print(json.dumps(str(error)))
meter.close()
"""
    assert "sampler died" in stub.run(code, energy=NOT_SUPPORTED)


def test_averaged_power_needs_a_longer_window(stub):
    got = stub.run("print(json.dumps(measure(0.4)))", energy=NOT_SUPPORTED, instant=NOT_SUPPORTED, watts=80)
    assert got["update_period"] == 1.0
    assert got["quality"] == "unresolved"
    assert_joules(got, 0.01, watts=80)


def test_driver_without_the_counter_function(build_stub, stub):
    stub.folder = build_stub("WITHOUT_COUNTER")
    got = stub.run("print(json.dumps(measure(0.2)))", watts=80)
    assert got["method"] == "nvml_power_integral"
    assert_joules(got, 0.01, watts=80)


@pytest.mark.parametrize(
    ("settings", "reason"),
    [
        ({"energy": NO_PERMISSION}, "may not read"),
        ({"init": MISMATCH}, "restart"),
        ({"init": NOT_LOADED}, "not loaded"),
        ({"mig": 1}, "MIG"),
        ({"energy": NOT_SUPPORTED, "instant": NOT_SUPPORTED, "power": NOT_SUPPORTED}, "no energy counter"),
    ],
    ids=["permission", "mismatch", "not loaded", "mig", "no power either"],
)
def test_absent_with_its_reason(stub, settings, reason):
    got = stub.run("print(json.dumps(measure(0.01)))", **settings)
    assert (got["joules"], got["quality"], got["method"], got["resolution"]) == (None, "absent", "none", None)
    assert reason in got["reason"]


def test_unlisted_gpu_is_absent(stub):
    got = stub.run("print(json.dumps(measure(0.01, 'cccccccc-0000-0000-0000-000000000000')))")
    assert got["quality"] == "absent"
    assert "does not list" in got["reason"]


def test_gpu_is_chosen_by_uuid_whatever_the_order(stub, monkeypatch):
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "1")
    got = stub.run("print(json.dumps([measure(0.5, uuid) for uuid in (AAAA, BBBB, 'GPU-' + BBBB)]))", watts=100)
    for reading, watts in zip(got, (100, 300, 300), strict=True):
        assert_joules(reading, 0.04, watts=watts)  # an update of 0.02 s in a window of 0.5 s


def test_visible_gpus_are_those_that_cuda_would_use(stub):
    """NVML lists B before A; CUDA ends the list at the first entry that names no GPU."""
    expected = {
        None: "BA",
        "1": "A",
        "1,0": "AB",
        "0, 1": "BA",
        "GPU-bbbbbbbb-0000-0000-0000-000000000000": "B",
        "GPU-aaaa": "A",
        "GPU-": "",  # of both
        "aaaaaaaa-0000-0000-0000-000000000000": "",
        "": "",
        "-1": "",
        "0,-1,1": "B",
        "7": "",
        "1,1": "",
        "x,0": "",
        "1,MIG-x": "A?",
    }
    code = f"""
from bpfree.meters.nvml import visible_gpus
names = {{"GPU-" + AAAA: "A", "GPU-" + BBBB: "B"}}
found = []
for wanted in {list(expected)}:
    os.environ.pop("CUDA_VISIBLE_DEVICES", None)
    if wanted is not None:
        os.environ["CUDA_VISIBLE_DEVICES"] = wanted
    found.append("".join(names.get(uuid, "?") for uuid in visible_gpus()))
print(json.dumps(found))
"""
    assert dict(zip(expected, stub.run(code), strict=True)) == expected
    assert stub.run("from bpfree.meters.nvml import visible_gpus\nprint(visible_gpus())", init=NOT_LOADED) == []


def test_several_gpus_have_a_meter_each(stub, monkeypatch):
    code = """
from bpfree.meters import boundary_joules
from bpfree.meters.nvml import visible_gpus
meters = open_meters("cuda", gpu_uuids=visible_gpus())
session = Session(meters, clock=time.monotonic)
begin = session.phase("train")
time.sleep(0.5)
end = session.stop()
readings = session.window(begin, end)
states = [meter.watch and meter.watch.state(begin.time, end.time, None) for meter in meters]
session.close()
print(json.dumps(dict(
    parts=[[reading.component, reading.joules] for reading in readings], whole=boundary_joules(readings, ["gpu"])[0],
    uuids=[state and state.uuid for state in states], watts=[state and state.mean_watts for state in states],
    notes=[meter.note for meter in meters],
)))
"""
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "1,0")
    got = stub.run(code, watts=100)
    (one, small), (other, large), *_ = got["parts"]
    assert (one, other) == ("gpu", "gpu")
    assert got["whole"] == small + large
    assert large / small == pytest.approx(3, rel=0.15)  # each off by an update of 0.02 s in 0.5 s
    assert [uuid and uuid[4:8] for uuid in got["uuids"]] == ["aaaa", "bbbb", None, None]
    assert got["watts"][:2] == pytest.approx([100, 300])
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "1")
    got = stub.run(code, watts=100)
    assert [uuid and uuid[4:8] for uuid in got["uuids"]] == ["aaaa", None, None]
    assert got["watts"][0] == pytest.approx(100)
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "")
    got = stub.run(code)
    assert [component for component, _ in got["parts"]] == ["gpu", "cpu", "dram"]
    assert (got["whole"], got["notes"][0]) == (None, "CUDA_VISIBLE_DEVICES leaves no GPU to use")


def test_meters_already_open_are_closed_if_another_gpu_is_lost(stub):
    code = """
from bpfree.meters import nvml
real, opened = nvml.open_gpu, []
def open_gpu(uuid):
    if opened:
        raise WorldError("lost")
    opened.append(real(uuid))
    return opened[0]
nvml.open_gpu = open_gpu
try:
    open_meters("cuda", gpu_uuids=[AAAA, BBBB])
except WorldError:
    print(json.dumps(opened[0].watch.alive))
"""
    assert stub.run(code) is False


def test_missing_library_is_absent():
    code = """
import pynvml
from bpfree.meters import open_meters
try:
    pynvml.nvmlInit()
    print("a driver is here")
except pynvml.NVMLError:
    meter = open_meters("cuda", "aaaaaaaa")[0]
    print(meter.quality, meter.read(), meter.note)
"""
    printed = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout
    if "a driver is here" in printed:
        pytest.skip("this machine has an NVIDIA driver")
    assert printed.startswith("absent None there is no NVIDIA driver")


def test_doctor_lists_every_gpu(stub):
    code = """
from bpfree.meters.doctor import diagnose, render
from rich.console import Console
diagnosis = diagnose()
console = Console(width=160, record=True, file=open("/dev/null", "w"))
console.print(render(diagnosis))
console.file.close()
print(json.dumps([diagnosis, console.export_text()]))
"""
    diagnosis, text = stub.run(code, mig=1, period=0.02, watts=100, pids="4200000 4200001 4200002")
    first, second = [entry for entry in diagnosis["components"] if entry["component"] == "gpu"]
    assert first["quality"] == "measured"
    assert first["update_period"] == pytest.approx(0.02, rel=0.5)
    assert first["shortest_window"] == pytest.approx(20 * first["update_period"])
    assert second["quality"] == "absent"
    about = first["gpu"]
    assert (about["driver"], about["power_limit_watts"], about["momentary_power"]) == ("999.01", 750.0, True)
    steps = about["counter_step_millijoules"] / 6000  # 300 W for 0.02 s; a busy machine misses some
    assert steps == pytest.approx(max(1, round(steps)), abs=0.001)
    assert about["counter_period"] == first["update_period"]
    assert 0 < about["counter_call_milliseconds"] < 1000 * first["update_period"]
    assert about["foreign_processes"] == 2
    assert second["gpu"] is None
    text = " ".join(text.split())
    assert "driver 999.01; power limit 750 W; momentary power works; 2 foreign processes now" in text
    assert "measures the energy of gpu" in text
    assert "MIG" in text
