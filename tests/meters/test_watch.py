import csv
import os
import signal
import subprocess
import sys
import time
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path

import pytest

from bpfree.meters.sampler import Samples, foreign_processes, lineage

NOT_SUPPORTED, NO_PERMISSION = 3, 4


@dataclass
class Profile:
    """Power over time: watts + slope · (t - start), and step_watts more from step_at on."""

    watts: float = 0.0
    slope: float = 0.0
    start: float = 0.0
    step_at: float = float("inf")
    step_watts: float = 0.0

    def joules(self, begin, end):
        early, late = begin - self.start, end - self.start
        after = max(0.0, end - max(begin, self.step_at))
        return self.watts * (end - begin) + self.slope * (late**2 - early**2) / 2 + self.step_watts * after


BOTH = """
from bpfree.meters.power import PowerIntegralMeter
step_at = time.monotonic() + float(os.environ.get("STUB_STEP_AFTER", "inf"))
os.environ["STUB_STEP_AT"] = str(step_at)
meters = [open_meters("cuda", AAAA)[0], PowerIntegralMeter.open("GPU-" + AAAA)]
session = Session(meters, clock=time.monotonic)
times = [time.monotonic()]
begin = session.phase("train")
times.append(time.monotonic())
time.sleep(2.2)
times.append(time.monotonic())
end = session.stop()
times.append(time.monotonic())
readings = session.window(begin, end)
state = meters[0].watch.state(begin.time, end.time, readings[0].joules)
session.close()
print(json.dumps(dict(
    readings=[reading.model_dump() for reading in readings], state=state.model_dump(), disagreement=state.disagreement,
    times=times, window=[begin.time, end.time], step_at=min(step_at, 1e9),
)))
"""


def measured_by_both(stub, profile, step_after=1e9, **settings):
    """Counter, integral and state over 2.2 s, which begin some tenths of a second after the code does.

    A step some seconds after that moment is put into the profile: wherever it falls, the joules are known.
    """
    got = stub.run(BOTH, **(vars(profile) | {"step_after": step_after} | settings))
    profile.step_at = got["step_at"]
    return got


def assert_within(got, profile):
    """Counter and integral are off by no more than the larger of 1 % and what they state, however busy the machine.

    The true energy lies between that of the time inside of the readings at both edges and that outside.
    """
    before_first, after_first, before_last, after_last = got["times"]
    for reading in got["readings"]:
        error = max(0.01, reading["resolution"])
        assert reading["joules"] >= profile.joules(after_first, before_last) * (1 - error), reading
        assert reading["joules"] <= profile.joules(before_first, after_last) * (1 + error), reading
    error = max(0.01, got["readings"][1]["resolution"])
    assert got["state"]["counter_joules"] == got["readings"][0]["joules"]
    assert got["state"]["integral_joules"] == pytest.approx(profile.joules(*got["window"]), rel=error)


@pytest.mark.parametrize(
    ("kind", "power_period"), [("constant", 0), ("ramp", 0), ("ramp", 0.1), ("step", 0), ("step", 0.1)]
)
def test_counter_and_integral_give_the_known_joules(stub, kind, power_period):
    profile = {
        "constant": Profile(watts=120.0),
        "ramp": Profile(watts=60.0, slope=30.0, start=time.monotonic()),
        "step": Profile(watts=100.0, step_watts=150.0),
    }[kind]
    got = measured_by_both(stub, profile, 1.0 if kind == "step" else 1e9, power_period=power_period)
    assert [reading["method"] for reading in got["readings"]] == ["nvml_energy_counter", "nvml_power_integral"]
    assert_within(got, profile)
    state = got["state"]
    if kind != "step" and not power_period:
        assert state["integral_joules"] == pytest.approx(profile.joules(*got["window"]), rel=0.01)
    seconds = got["window"][1] - got["window"][0]
    assert state["mean_watts"] == pytest.approx(state["integral_joules"] / seconds)
    assert state["samples"] >= seconds / state["max_gap_seconds"] - 1
    assert state["period_seconds"] == 0.05


def test_a_late_counter_disagrees_with_the_integral(stub):
    late = 0.3
    profile = Profile(watts=30.0, step_watts=270.0)
    got = measured_by_both(stub, profile, 1.5, latency=late)
    before_first, after_first, before_last, after_last = (moment - late for moment in got["times"])
    counter, integral = got["state"]["counter_joules"], got["state"]["integral_joules"]
    granularity = 0.02 * 300.0
    assert profile.joules(after_first, before_last) - granularity <= counter
    assert counter <= profile.joules(before_first, after_last) + granularity
    assert integral == pytest.approx(profile.joules(*got["window"]), rel=got["readings"][1]["resolution"])
    assert got["disagreement"] == pytest.approx(counter / integral - 1)


def test_averaged_power_is_off_by_no_more_than_it_states(stub):
    profile = Profile(watts=50.0, step_watts=100.0)
    got = measured_by_both(stub, profile, 1.0, instant=NOT_SUPPORTED, average=1.0)
    reading = got["readings"][1]
    assert reading["quality"] == "unresolved"
    assert reading["resolution"] >= 1.0 / (got["window"][1] - got["window"][0])
    assert_within(got, profile)
    got = stub.run("print(json.dumps(watched(0.1)))", instant=NOT_SUPPORTED)
    assert got["note"] == "power is averaged over up to 1 s by the driver"


def test_a_counter_reset_leaves_the_integral(stub):
    code = """
meter = open_meters("cuda", AAAA)[0]
session = Session([meter], clock=time.monotonic)
begin = session.phase("train")
time.sleep(0.3)
(Path(os.environ["STUB_CONTROL"]) / "reset").touch()
time.sleep(0.3)
end = session.stop()
joules = session.window(begin, end)[0].joules
state = meter.watch.state(begin.time, end.time, joules)
session.close()
print(json.dumps([joules, state.model_dump(), state.disagreement, end.time - begin.time]))
"""
    joules, state, disagreement, seconds = stub.run(code, watts=100)
    assert (joules, state["counter_joules"], disagreement) == (None, None, None)
    assert state["integral_joules"] == pytest.approx(100 * seconds, rel=0.001)


def test_state_of_a_window(stub):
    start = time.monotonic()
    got = stub.run("print(json.dumps(watched(1.6)))", watts=80, start=start, throttle=0x1 | 0x2 | 0x4 | 0x40)
    state = got["state"]
    assert (state["uuid"], state["name"]) == ("GPU-aaaaaaaa-0000-0000-0000-000000000000", "Stub GPU")
    assert (state["driver"], state["power_limit_watts"]) == ("999.01", 250.0)
    assert state["throttle_reasons"] == ["power_cap", "hardware_thermal"]
    assert state["utilisation_percent"] == 97.0
    assert state["sm_mhz"] == [1980.0, 1980.0, 1980.0]
    assert state["memory_mhz"] == [2619.0, 2619.0, 2619.0]
    first, last, most = state["celsius"]
    assert 41 + got["begin"] - start - 1 <= first <= last == most <= 41 + got["end"] - start
    assert state["foreign_processes"] == 0
    assert got["watts"] == pytest.approx(80)
    assert got["note"] is None


@pytest.mark.parametrize(
    ("mask", "words"),
    [(0x3, []), (0x10 | 0x20 | 0x80, ["sync_boost", "software_thermal", "hardware_power_brake"])],
)
def test_throttle_reasons_leave_idling_and_settings_out(stub, mask, words):
    assert stub.run("print(json.dumps(watched(0.1)))", throttle=mask)["state"]["throttle_reasons"] == words


def test_what_is_not_permitted_is_absent_alone(stub):
    denied = "clocks, temperature, throttle, processes, limit"
    got = stub.run("print(json.dumps(watched(0.1)))", watts=80, denied=denied, throttle=4)
    state = got["state"]
    assert [state[name] for name in ("sm_mhz", "memory_mhz", "celsius", "foreign_processes")] == [None] * 4
    assert state["power_limit_watts"] is None
    assert state["throttle_reasons"] == []
    assert got["note"] == "the driver does not tell sm_mhz, memory_mhz, celsius, throttle_mask, foreign_processes"
    assert (state["utilisation_percent"], state["driver"], state["mean_watts"]) == (97.0, "999.01", pytest.approx(80))
    assert got["trace"].startswith("seconds,watts,utilisation_percent\n")


def test_driver_without_any_state_still_tells_power(build_stub, stub):
    stub.folder = build_stub("WITHOUT_STATE")
    got = stub.run("print(json.dumps(watched(0.3)))", watts=80)
    assert (got["state"]["driver"], got["state"]["mean_watts"]) == ("unknown", pytest.approx(80))
    assert got["state"]["utilisation_percent"] is None
    assert got["trace"].startswith("seconds,watts\n0.0000,80.000\n")


def test_old_driver_has_older_names(build_stub, stub):
    stub.folder = build_stub("OLD_DRIVER")
    state = stub.run("print(json.dumps(watched(0.1)))", throttle=4)["state"]
    assert (state["celsius"], state["throttle_reasons"]) == ([41.0, 41.0, 41.0], ["power_cap"])


def test_processes_of_others_are_foreign(stub):
    """Listed are the watched process, its parent, its child, and one that is neither."""
    code = """
import subprocess
child = subprocess.Popen(["sleep", "30"])
os.environ["STUB_PIDS"] += f" {os.getpid()} {os.getppid()} {child.pid}"
got = watched(0.1)
child.kill()
child.wait()
print(json.dumps(got["state"]["foreign_processes"]))
"""
    other = subprocess.Popen(["sleep", "60"])
    try:
        assert stub.run(code, pids=other.pid) == 1
    finally:
        other.kill()
        other.wait()


def test_foreign_processes_of_another_namespace():
    family = lineage(os.getpid())
    assert family[:2] == [os.getpid(), os.getppid()]
    hidden = [4_200_000, 4_200_001, 4_200_002]  # beyond the kernel's greatest
    assert foreign_processes([], family) == 0
    assert foreign_processes(hidden, family) == 2
    assert foreign_processes(hidden[:1], family) == 0
    assert foreign_processes([*hidden, os.getpid()], family) == 3


def test_trace_is_csv_and_gives_the_same_joules(stub):
    start = time.monotonic()
    got = stub.run("print(json.dumps(watched(1.2)))", watts=50, slope=30, start=start)
    rows = list(csv.DictReader(got["trace"].splitlines()))
    assert list(rows[0]) == [
        *("seconds", "watts", "utilisation_percent", "sm_mhz", "memory_mhz", "celsius", "throttle_mask"),
        "foreign_processes",
    ]
    samples = Samples()
    for row in rows:
        samples.add(float(row["seconds"]), float(row["watts"]))
    begin, end = got["begin"] - got["began"], got["end"] - got["began"]
    joules = samples.window(begin, end)["integral_joules"]
    assert joules == pytest.approx(got["state"]["integral_joules"], rel=0.001)
    states = [row for row in rows if row["celsius"]]
    assert {(row["sm_mhz"], row["memory_mhz"], row["utilisation_percent"]) for row in states} == {
        ("1980", "2619", "97")
    }
    assert 1 <= len(states) <= end / 0.4 + 2
    assert rows[0]["celsius"]


CURVE = [(10.0, 100.0), (10.5, 200.0), (11.5, 200.0), (12.0, 0.0)]


def test_window_between_samples():
    samples = Samples()
    for (moment, watts), celsius in zip(CURVE, (50.0, 60.0, 55.0, 70.0), strict=True):
        samples.add(moment, watts)
        samples.add_state({"celsius": celsius, "throttle_mask": celsius})
    assert samples.joules[-1] == 75 + 200 + 50
    assert samples.joules_until(10.25) == pytest.approx(0.25 * 125)
    assert samples.joules_until(11.75) == pytest.approx(75 + 200 + 0.25 * 150)
    window = samples.window(10.25, 11.75)
    assert window["integral_joules"] == pytest.approx(75 + 200 + 37.5 - 31.25)
    assert window["mean_watts"] == pytest.approx(window["integral_joules"] / 1.5)
    assert (window["samples"], window["max_gap_seconds"]) == (2, 1.0)
    assert window["celsius"] == (60.0, 55.0, 60.0)  # at the two samples within
    assert window["throttle_mask"] == 60 | 55
    assert window["utilisation_percent"] is None
    assert samples.window(10.6, 10.7)["samples"] == 0
    assert samples.window(10.6, 10.7)["mean_watts"] == pytest.approx(200)
    assert samples.window(10.6, 10.7)["celsius"] is None
    assert samples.window(10.0, 12.0)["celsius"] == (50.0, 70.0, 70.0)
    for begin, end in [(9.9, 11.0), (11.0, 12.1), (11.0, 11.0), (11.0, 10.5)]:
        assert samples.window(begin, end) is None
    by_hand = sum((b[0] - a[0]) * (a[1] + b[1]) / 2 for a, b in pairwise(CURVE))
    assert samples.window(10.0, 12.0)["integral_joules"] == pytest.approx(by_hand)


def test_a_killed_watch_spares_the_run_that_has_a_counter(stub):
    code = """
meter = open_meters("cuda", AAAA)[0]
watch, begin = meter.watch, time.monotonic()
first = meter.read()
watch._process.kill()
time.sleep(0.2)
last = meter.read()
end = time.monotonic()
told = [watch.state(begin, end, last - first), watch.watts(begin, end), watch.trace(), watch.joules()]
print(json.dumps([last - first, end - begin, told, watch.alive, watch.note, watch.cpu_seconds > 0]))
meter.close()
"""
    joules, seconds, told, alive, note, cpu = stub.run(code, watts=100)
    assert 0.2 * 100 * 0.8 <= joules <= (seconds + 0.02) * 100
    assert told == [None] * 4
    assert (alive, cpu) == (False, True)
    assert "died" in note


def test_a_counter_needs_no_power(stub):
    code = """
meter = open_meters("cuda", AAAA)[0]
print(json.dumps([meter.method, meter.watch.alive, meter.watch.note, meter.watch.trace(), meter.watch.cpu_seconds]))
meter.close()
"""
    method, alive, note, trace, _ = stub.run(code, instant=NOT_SUPPORTED, power=NO_PERMISSION)
    assert (method, alive, trace) == ("nvml_energy_counter", False, None)
    assert "permission" in note.lower()


def test_a_watch_of_a_lost_gpu_says_so(stub):
    code = """
def lose(watch):
    (Path(os.environ["STUB_CONTROL"]) / "lost").touch()
print(json.dumps(watched(0.3, lose)))
"""
    got = stub.run(code)
    assert (got["state"], got["watts"], got["trace"]) == (None, None, "")
    assert "lost" in got["note"].lower()


def test_an_interrupted_question_does_not_shift_the_answers(stub):
    code = """
def interrupt(watch):
    def interrupted():
        raise KeyboardInterrupt
    for wait in (0, 0.1):  # the answer is not there yet, or already, when the next question is asked
        watch._line = interrupted
        try:
            watch.joules()
        except KeyboardInterrupt:
            del watch._line
        time.sleep(wait)
print(json.dumps(watched(0.2, interrupt)))
"""
    assert stub.run(code, watts=70)["state"]["mean_watts"] == pytest.approx(70)


def test_watching_takes_a_small_part_of_the_time(stub):
    code = """
watch = GpuWatch.open("GPU-" + AAAA)
before, begin = watch.cpu_seconds, time.monotonic()
time.sleep(2)
after, end = watch.cpu_seconds, time.monotonic()
watch.close()
print(json.dumps((after - before) / (end - begin)))
"""
    assert 0 < stub.run(code) < 0.1


def test_a_watch_does_not_outlive_a_killed_run_though_a_fork_holds_its_pipes(stub):
    code = """
watch = GpuWatch.open("GPU-" + AAAA)
fork = os.fork()
if fork == 0:
    time.sleep(60)
print(json.dumps([watch._process.pid, fork]), flush=True)
time.sleep(60)
"""
    command, environment = stub.command(code)
    with subprocess.Popen(command, env=environment, stdout=subprocess.PIPE, text=True) as run:
        watch, fork = map(int, run.stdout.readline().strip(" []\n").split(","))
        assert "sampler" in Path(f"/proc/{watch}/cmdline").read_text()
        run.kill()
        run.wait()
        deadline = time.monotonic() + 10
        try:
            while Path(f"/proc/{watch}/cmdline").exists() and "sampler" in Path(f"/proc/{watch}/cmdline").read_text():
                assert time.monotonic() < deadline
                time.sleep(0.01)
            os.kill(fork, 0)  # which held the pipes all the time
        finally:
            os.kill(fork, signal.SIGKILL)


def test_sampler_starts_without_bpfree():
    """It is run by its path: nothing of the package, and so no torch, is loaded in every watch."""
    sampler = Path(sys.modules[Samples.__module__].__file__)
    loaded = "[name for name in sys.modules if name.startswith('bpfree')]"
    code = f"import runpy, sys; runpy.run_path({str(sampler)!r}); print({loaded})"
    done = subprocess.run([sys.executable, "-P", "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"
