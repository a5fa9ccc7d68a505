"""`bpfree measure`: the figures, and that the command does not notice."""

import csv
import fcntl
import io
import json
import os
import signal
import subprocess
import sys
import termios

import pandas
import pytest

from bpfree.export import to_codecarbon
from bpfree.meters.codecarbon_csv import columns
from bpfree.records import (
    Carbon,
    Cost,
    MeasurementSettings,
    Reading,
    Record,
    RunSpec,
    TrainingSettings,
)
from bpfree.results import ResultsFolder

MEGABYTE = 10**6
BUSY = "import time\nwhile time.process_time() < 0.4: sum(range(1000))"
HUNGRY = f"held = b'x' * {300 * MEGABYTE}"


def start(*arguments, **options):
    """The command line as a process that can be talked to."""
    options = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE, "text": True} | options
    return subprocess.Popen([sys.executable, "-m", "bpfree", *arguments], **options)


def figures(bpfree, *arguments, **env):
    done = bpfree("measure", "--json", *arguments, **env)
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


# The figures


def test_a_second_of_sleep(bpfree):
    done = bpfree("measure", "--", "sleep", "1")
    assert (done.returncode, done.stdout) == (0, "")
    assert done.stderr.startswith("bpfree: `sleep 1` ended with exit status 0\n")
    for heading in ("time", "CPU time", "peak memory", "energy", "component"):
        assert f"\n{heading}  " in done.stderr
    assert "CO2e" not in done.stderr, "nobody asked for it"
    for line in done.stderr.splitlines():
        if " absent " in line:
            assert line.split()[1:3] == ["-", "-"], "no energy and no power"


def test_what_is_not_measured_is_null_and_says_why(bpfree):
    found = figures(bpfree, "--", "sleep", "1")
    assert (found["command"], found["exit_status"]) == (["sleep", "1"], 0)
    assert 1 <= found["seconds"] < 3
    assert 0 < found["cpu_seconds"] < 0.5
    assert {"gpu", "cpu", "dram"} == {reading["component"] for reading in found["readings"]}
    for reading in found["readings"]:
        absent = reading["quality"] == "absent"
        assert absent == (reading["joules"] is None) == (reading["mean_watts"] is None)
        assert reading["reason"] or reading["quality"] == "measured"
        if reading["method"] == "cpu_seconds_model":
            assert reading["quality"] == "modelled"
            assert "command CPU seconds ×" in reading["reason"]
    assert found["peak_host_bytes"] is None, "a sleep is smaller than what measures it"
    assert found["carbon"] is None


def test_cpu_figures_are_those_of_the_command_and_what_it_waits_for(bpfree):
    found = figures(bpfree, "--cpu-watts", "50", "--", "sh", "-c", '"$0" -c "$1"; exit 0', sys.executable, BUSY)
    assert found["cpu_seconds"] == pytest.approx(0.4, abs=0.2), "of the grandchild"
    (cpu,) = [reading for reading in found["readings"] if reading["component"] == "cpu"]
    if cpu["quality"] == "modelled":
        assert cpu["joules"] == pytest.approx(found["cpu_seconds"] * 50 / os.cpu_count(), rel=1e-9)
        assert cpu["mean_watts"] == pytest.approx(cpu["joules"] / found["seconds"], rel=1e-9)
        assert "50 W as given" in cpu["reason"]


def test_peak_memory_of_a_large_command(bpfree):
    peak = figures(bpfree, "--", sys.executable, "-c", HUNGRY)["peak_host_bytes"]
    assert 300 * MEGABYTE < peak < 340 * MEGABYTE


def test_co2e_with_its_assumptions(bpfree):
    options = ("--country", "USA", "--region", "california", "--pue", "1.5", "--", sys.executable, "-c", BUSY)
    found = figures(bpfree, *options)
    carbon = found["carbon"]
    assert carbon["pue"] == 1.5
    assert "california" in carbon["source"]
    assert carbon["co2e_kg"] == pytest.approx(found["joules"] / 3.6e6 * 1.5 * carbon["intensity_g_per_kwh"] / 1000)
    text = bpfree("measure", *options).stderr
    assert "CO2e " in text
    assert "g/kWh (california (USA)" in text
    assert "PUE 1.5" in text


def test_no_torch_is_loaded(bpfree):
    done = bpfree("measure", "--country", "FRA", "--", "true", PYTHONPROFILEIMPORTTIME="1")
    assert done.returncode == 0
    assert " bpfree.measuring\n" in done.stderr
    assert " torch\n" not in done.stderr


# The command


@pytest.mark.parametrize(
    ("script", "status"),
    [("exit 0", 0), ("exit 3", 3), ("kill -TERM $$", 143), ("kill -KILL $$", 137), ("kill -INT $$", 130)],
)
def test_exit_status_is_the_commands(bpfree, script, status):
    done = bpfree("measure", "--", "sh", "-c", script)
    assert done.returncode == status
    assert f"ended with exit status {status}\n" in done.stderr
    assert "stopped" not in done.stderr
    assert bpfree("measure", "--json", "--", "sh", "-c", script).returncode == status


@pytest.mark.parametrize("command", ["no-such-program", "/", "/etc/passwd", ""])
def test_what_cannot_be_run_is_127_and_one_line(bpfree, command):
    done = bpfree("measure", "--json", "--", command)
    assert (done.returncode, done.stdout) == (127, "")
    assert done.stderr.startswith(f"bpfree: cannot run '{command}': ")
    assert len(done.stderr.splitlines()) == 1


def test_input_and_output_are_the_commands():
    script = "read line; echo \"got $line\"; echo aside >&2; printf 'no newline'"
    with start("measure", "--", "sh", "-c", script, stdin=subprocess.PIPE) as process:
        out, err = process.communicate("tea\n")
    assert out == "got tea\nno newline"
    assert err.startswith("aside\nbpfree: ")
    with start("measure", "--json", "--", "sh", "-c", script, stdin=subprocess.PIPE) as process:
        out, err = process.communicate("tea\n")
    assert json.loads(out)["exit_status"] == 0
    assert sorted(err.splitlines()) == ["aside", "got tea", "no newline"]


@pytest.mark.parametrize("separator", [["--"], []])
def test_options_after_the_command_are_its_own(bpfree, separator):
    code = "import sys; print(sys.argv[1:])"
    done = bpfree("measure", *separator, sys.executable, "-c", code, "--json", "--country", "--", "x", "-h")
    assert done.stdout == "['--json', '--country', '--', 'x', '-h']\n"


def test_the_command_has_signals_as_without_us(bpfree):
    show = ("grep", "-E", "^Sig(Blk|Ign)", "/proc/self/status")

    def standard(text):
        """The 31 signals that programs use: the C library keeps two beyond them for itself."""
        return [int(line.split()[1], 16) % 2**31 for line in text.splitlines()]

    without = subprocess.run(show, capture_output=True, text=True).stdout
    assert standard(bpfree("measure", "--", *show).stdout) == standard(without)


WAIT = """
import signal, sys, time
caught = []
for number in (signal.SIGINT, signal.SIGTERM, signal.SIGUSR1):
    signal.signal(number, lambda number, _: caught.append(number))
print("ready", flush=True)
deadline = time.monotonic() + 20
while not caught and time.monotonic() < deadline:
    time.sleep(0.01)
time.sleep(0.3)
print(*[signal.Signals(number).name for number in caught], flush=True)
sys.exit(7)
"""


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGUSR1])
def test_a_signal_to_us_alone_is_passed_on_and_the_summary_printed(number):
    with start("measure", "--", sys.executable, "-c", WAIT) as process:
        assert process.stdout.readline() == "ready\n"
        process.send_signal(number)
        out, err = process.communicate(timeout=30)
    assert (process.returncode, out) == (7, f"{number.name}\n")
    assert "ended with exit status 7" in err


def test_ctrl_c_reaches_the_command_once_and_the_summary_is_printed():
    terminal, ours = os.openpty()

    def own_terminal():
        fcntl.ioctl(ours, termios.TIOCSCTTY, 0)

    options = {"stdin": ours, "start_new_session": True, "preexec_fn": own_terminal}
    with start("measure", "--", sys.executable, "-c", WAIT, **options) as process:
        os.close(ours)
        assert process.stdout.readline() == "ready\n"
        os.write(terminal, b"\x03")
        out, err = process.communicate(timeout=30)
    os.close(terminal)
    assert (process.returncode, out) == (7, "SIGINT\n")
    assert "ended with exit status 7" in err


MISTAKES = {
    "no command": ((), "bpfree measure -- COMMAND"),
    "nothing after the dashes": (("--",), "bpfree measure -- COMMAND"),
    "country": (("--country", "fra", "--", "true"), "did you mean FRA?"),
    "region": (("--country", "USA", "--region", "Californa", "--", "true"), "did you mean california?"),
    "region of nowhere": (("--region", "california", "--", "true"), "name its country too"),
    "region of a country without": (("--country", "FRA", "--region", "x", "--", "true"), "leave the region out"),
    "intensity": (("--carbon-intensity", "-1", "--", "true"), "0 or more"),
    "watts": (("--cpu-watts", "0", "--", "true"), "over 0"),
    "pue": (("--pue", "0.9", "--", "true"), "1 or more"),
    "not a number": (("--pue", "nan", "--", "true"), "finite"),
    "folder of the file": (("--codecarbon-csv", "/nonexistent/e.csv", "--", "true"), "no folder /nonexistent"),
    "a folder": (("--codecarbon-csv", "/tmp", "--", "true"), "it is a folder"),
    "another file": (("--codecarbon-csv", "README.md", "--", "true"), "other columns"),
    "option": (("--jsn", "--", "true"), "--jsn"),
}


@pytest.mark.parametrize("mistake", MISTAKES)
def test_a_wrong_request_runs_nothing(bpfree, mistake):
    arguments, text = MISTAKES[mistake]
    done = bpfree("measure", *arguments)
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr.startswith("bpfree: ")
    assert len(done.stderr.splitlines()) == 1
    assert text in done.stderr


# CodeCarbon's file: its format is tested in meters/test_codecarbon_csv.py


def test_measure_appends_a_row_whatever_becomes_of_the_command(bpfree, tmp_path):
    file = tmp_path / "emissions.csv"
    options = ("--json", "--country", "FRA", "--codecarbon-csv", file, "--")
    found = json.loads(bpfree("measure", *options, "sh", "-c", "exit 4").stdout)
    figures(bpfree, *options[1:], sys.executable, "-c", BUSY)
    assert bpfree("measure", *options, "no-such-program").returncode == 127
    table = pandas.read_csv(file)
    assert list(table) == columns()
    assert list(table.experiment_id) == ["sh", os.path.basename(sys.executable)]
    assert table.run_id.is_unique
    first = table.iloc[0]
    assert first.duration == found["seconds"]
    assert first.energy_consumed == pytest.approx(found["joules"] / 3.6e6)
    assert first.emissions == pytest.approx(found["carbon"]["co2e_kg"])
    assert (first.country_iso_code, first.project_name) == ("FRA", "bpfree measure")


CPU = Reading(component="cpu", joules=3.6, method="cpu_seconds_model", quality="modelled", resolution=None)


def record(role="final", **fields):
    spec = RunSpec(
        workload="digits-mlp", algorithm="backprop", optimizer="adamw", hyperparameters={}, seed=0, device="cpu",
        training=TrainingSettings(max_epochs=1, batch_size=32, patience=1, min_delta=0.0),
        measurement=MeasurementSettings(country="FRA"), role=role,
    )  # fmt: skip
    cost = Cost(
        steps=1, epochs=1, samples=1, parameters=1, flops_per_step=None, flops_total=None, train_seconds=2.0,
        train_joules=3.6, train_joules_net=None, joules_quality="modelled", boundary=["cpu"], idle_watts=None,
        readings=[CPU], peak_device_bytes=None, peak_host_bytes=None,
        carbon=Carbon(co2e_kg=5.6e-8, intensity_g_per_kwh=56.0, pue=1.0, source="s"),
    )  # fmt: skip
    values = {"id": spec.id, "status": "completed", "spec": spec, "environment": {"cpu": "A CPU"}, "cost": cost}
    return Record(**{**values, "started": "2026-03-01T12:00:00+00:00", **fields})


def test_records_as_codecarbons_file():
    table = pandas.read_csv(io.StringIO(to_codecarbon([record(), record(status="failed", cost=None)], "a-study")))
    assert list(table) == columns()
    (values,) = table.to_dict("records")
    expected = {
        "project_name": "a-study", "experiment_id": "digits-mlp.backprop.adamw", "duration": 2.0, "cpu_energy": 1e-6,
        "cpu_power": 1.8, "energy_consumed": 1e-6, "emissions": 5.6e-8, "tracking_mode": "process",
        "cpu_model": "A CPU",
    }  # fmt: skip
    assert {name: values[name] for name in expected} == pytest.approx(expected)
    assert list(pandas.read_csv(io.StringIO(to_codecarbon([], "a-study")))) == columns()


def test_the_final_runs_of_a_study_are_exported(bpfree, tmp_path):
    folder = ResultsFolder(tmp_path / "quickstart")
    for role in ("final", "trial"):
        folder.write(record(role))
    done = bpfree("export", "studies/quickstart.toml", "--format", "codecarbon", "--results", tmp_path)
    assert done.returncode == 0, done.stderr
    (values,) = csv.DictReader(io.StringIO(done.stdout))
    assert (values["run_id"], values["project_name"]) == (record().id, "quickstart")


def test_train_takes_the_same_settings(bpfree, tmp_path):
    file = tmp_path / "emissions.csv"
    done = bpfree(
        "train", "backprop", "--workload", "digits-mlp", "--epochs", 1, "--results", tmp_path, "--json",
        "--country", "CAN", "--region", "quebec", "--cpu-watts", 80, "--codecarbon-csv", file, "--device", "cpu",
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    found = json.loads(done.stdout)
    settings, cost = found["spec"]["measurement"], found["cost"]
    assert (settings["country"], settings["region"], settings["cpu_watts"]) == ("CAN", "quebec", 80.0)
    assert cost["carbon"]["intensity_g_per_kwh"] == pytest.approx(3.94, rel=0.01)
    (values,) = pandas.read_csv(file).to_dict("records")
    assert (values["run_id"], values["region"], values["country_name"]) == (found["id"], "quebec", "Canada")
    assert values["emissions"] == cost["carbon"]["co2e_kg"]
    if cost["joules_quality"] == "modelled":
        readings = found["phases"]["train"]["readings"]
        assert any("80 W as given" in reading["reason"] for reading in readings if reading["component"] == "cpu")


def test_a_study_is_told_of_a_region_without_country(bpfree, tmp_path):
    text = 'name = "x"\nworkloads = ["digits-mlp"]\nalgorithms = ["backprop"]\n[measurement]\nregion = "quebec"\n'
    file = tmp_path / "study.toml"
    file.write_text(text)
    done = bpfree("study", file, "--dry-run", "--results", tmp_path)
    assert (done.returncode, done.stdout) == (2, "")
    assert "name its country too" in done.stderr
