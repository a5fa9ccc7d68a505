"""Studies for real, as users run them: tuned, killed, resumed, reported."""

import json
import os
import shutil
import signal
import subprocess
import sys
import time
from collections import Counter
from contextlib import suppress
from pathlib import Path

import pytest

from bpfree.results import ResultsFolder

ROOT = Path(__file__).resolve().parent.parent

STUDY = """
name = "small"
description = "A study for a test"
workloads = ["digits-mlp"]
algorithms = ["backprop", "mono_forward"]
seeds = 2
[training]
max_epochs = 3
batch_size = 64
patience = 2
[tuning]
trials = 3
max_epochs = 2
[measurement]
warmup_steps = 1
carbon_intensity = 100
"""


@pytest.fixture(scope="module")
def study_file(tmp_path_factory):
    path = tmp_path_factory.mktemp("study") / "small.toml"
    path.write_text(STUDY)
    return path


@pytest.fixture(scope="module")
def finished(study_file, bpfree):
    """The study, run once without interruption."""
    folder = study_file.parent
    options = ("--results", folder / "results", "--output", folder / "reports")
    done = bpfree("study", study_file, *options)
    assert done.returncode == 0, done.stderr
    return folder, options, done


def runs(results: Path) -> Counter:
    return Counter((r.spec.role, r.spec.algorithm, r.spec.seed, r.status) for r in ResultsFolder(results).records())


def tuned(results: Path) -> dict:
    return {
        cell.cell: (cell.hyperparameters, cell.best_value, cell.trials) for cell in ResultsFolder(results).tuned_cells()
    }


def test_a_study_makes_every_run_once_and_a_report(finished):
    folder, _, done = finished
    records = list(ResultsFolder(folder / "results" / "small").records())
    finals = [r for r in records if r.spec.role == "final"]
    assert sorted((r.spec.algorithm, r.spec.seed) for r in finals) == [
        (a, s) for a in ("backprop", "mono_forward") for s in (0, 1)
    ]
    assert all(r.status == "completed" and r.cost.peak_host_bytes for r in finals)
    assert sorted((r.block, r.position) for r in finals) == [(0, 0), (0, 1), (1, 0), (1, 1)]
    trials = [r for r in records if r.spec.role == "trial"]
    assert Counter(r.spec.algorithm for r in trials) == {"backprop": 3, "mono_forward": 3}
    seeds = {a: sorted(r.spec.seed for r in trials if r.spec.algorithm == a) for a in ("backprop", "mono_forward")}
    assert seeds["backprop"] == seeds["mono_forward"], "the k-th trial has the same seed for all"
    assert min(seeds["backprop"]) > 1, "and no final run has it"
    assert (folder / "reports" / "small" / "index.html").stat().st_size > 10_000
    assert "report:" in done.stdout
    assert "at most" in done.stderr, "the plan is shown first"


def test_the_tuned_setting_is_the_best_trials(finished):
    folder = ResultsFolder(finished[0] / "results" / "small")
    for cell in folder.tuned_cells():
        trials = [r for r in folder.records() if r.spec.role == "trial" and r.spec.cell == cell.cell]
        best = max(trials, key=lambda r: r.metrics.validation_metric)
        assert cell.best_value == best.metrics.validation_metric
        assert cell.hyperparameters in [
            r.spec.hyperparameters for r in trials if r.metrics.validation_metric == cell.best_value
        ]
        finals = [r for r in folder.records() if r.spec.role == "final" and r.spec.cell == cell.cell]
        assert all(r.spec.hyperparameters == cell.hyperparameters for r in finals)
        (cpu,) = [r for r in cell.readings if r.component == "cpu"]
        parts = [p.readings for r in trials for p in r.phases.values()]
        if cpu.quality == "modelled":
            total = sum(r.joules for readings in parts for r in readings if r.component == "cpu")
            assert cpu.joules == pytest.approx(total), "the trials' energy is kept"
        defaults = {"learning_rate": 1e-3, "weight_decay": 1e-5}
        first = min(trials, key=lambda r: r.trial)
        assert defaults.items() <= first.spec.hyperparameters.items(), "the defaults are always tried"


def test_a_second_call_does_nothing_and_says_so(finished, study_file, bpfree):
    folder, options, _ = finished
    before = {p: p.stat().st_mtime_ns for p in (folder / "results").rglob("record.json")}
    begin = time.perf_counter()
    again = bpfree("study", study_file, *options)
    seconds = time.perf_counter() - begin
    assert again.returncode == 0
    assert "Nothing left to do: all 4 final runs" in again.stdout
    assert {p: p.stat().st_mtime_ns for p in (folder / "results").rglob("record.json")} == before
    modules = bpfree("study", study_file, *options, PYTHONPROFILEIMPORTTIME="1").stderr
    assert " torch" not in modules, f"it answers without torch, here in {seconds:.1f} s"


def test_a_report_that_is_older_than_the_runs_is_written_anew(finished, study_file, bpfree):
    """The study may have been killed between its last run and its report."""
    folder, options, _ = finished
    report = folder / "reports" / "small" / "index.html"
    current = report.read_text()
    report.write_text("of fewer seeds")
    os.utime(report, (0, 0))
    bpfree("study", study_file, *options)
    assert report.read_text() == current
    report.write_text("newer than the runs, and somebody's own")
    bpfree("study", study_file, *options)
    assert report.read_text() == "newer than the runs, and somebody's own"
    report.write_text(current)


def test_status_export_and_report(finished, study_file, bpfree):
    folder, options, _ = finished
    results = options[:2]
    status = json.loads(bpfree("status", study_file, *results, "--json").stdout)
    assert [(c["trials_done"], c["final_done"], c["final_planned"]) for c in status["cells"]] == [(3, 2, 2)] * 2
    assert "2 of 2" in bpfree("status", study_file, *results).stdout
    rows = json.loads(bpfree("export", study_file, *results, "--format", "json").stdout)
    assert len(rows) == 10
    table = bpfree("export", study_file, *results, "--format", "csv").stdout.splitlines()
    assert len(table) == 11
    assert table[0].startswith("id,status,role,")
    again = bpfree("report", folder / "results" / "small", "--output", folder / "again")
    assert again.returncode == 0
    assert (folder / "again" / "index.html").exists()


def test_a_changed_budget_is_tuned_anew_and_old_runs_are_not_reported(finished, tmp_path, bpfree):
    folder, options, _ = finished
    changed = tmp_path / "small.toml"
    changed.write_text(STUDY.replace("trials = 3", "trials = 2"))
    done = bpfree("study", changed, *options[:2], "--output", tmp_path / "reports")
    assert done.returncode == 0, done.stderr
    assert {cell.trials for cell in ResultsFolder(folder / "results" / "small").tuned_cells()} == {2}


def test_runs_of_an_earlier_form_do_not_count_while_the_study_is_tuned_anew(study_file, finished, tmp_path, bpfree):
    results = tmp_path / "results"
    shutil.copytree(finished[0] / "results", results)
    plan = json.loads((results / "small" / "plan.json").read_text())
    changed = tmp_path / "small.toml"
    changed.write_text(STUDY.replace("trials = 3", "trials = 40"))
    driver = start(changed, tmp_path, results, "trial")
    deadline = time.monotonic() + 120
    while json.loads((results / "small" / "plan.json").read_text())["digest"] == plan["digest"]:
        assert time.monotonic() < deadline
        time.sleep(0.05)
    driver.kill()
    driver.communicate()
    status = json.loads(bpfree("status", changed, "--results", results, "--json").stdout)
    assert [cell["final_done"] for cell in status["cells"]] == [0, 0]
    refused = bpfree("report", results / "small", "--output", tmp_path / "report")
    assert refused.returncode == 1
    assert "no final run" in refused.stderr


def start(study_file, tmp_path, results, wait_for):
    """A study in a session of its own, as in a terminal, once it has made its first run of a kind."""
    command = [sys.executable, "-m", "bpfree", "study", str(study_file), "--results", str(results)]
    command += ["--output", str(tmp_path / "reports")]
    environment = {**os.environ, "OMP_NUM_THREADS": "1", "PYTHONPATH": str(ROOT)}
    driver = subprocess.Popen(
        command, env=environment, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True, start_new_session=True
    )
    deadline = time.monotonic() + 120
    while not any(role == wait_for for role, *_ in runs(results / "small")):
        assert time.monotonic() < deadline
        assert driver.poll() is None, "it must still be at work"
        time.sleep(0.05)
    return driver


@pytest.mark.parametrize(
    ("send", "number"), [(os.killpg, signal.SIGINT), (os.kill, signal.SIGTERM)], ids=["ctrl_c", "terminate"]
)
def test_a_stopped_study_keeps_every_finished_run(study_file, finished, tmp_path, send, number):
    results = tmp_path / "results"
    driver = start(study_file, tmp_path, results, "final")
    send(driver.pid, number)
    _, stderr = driver.communicate(timeout=60)
    assert driver.returncode == 128 + number
    assert "Traceback" not in stderr
    assert "leaked" not in stderr
    assert "call again to go on" in stderr
    assert any(role == "final" for role, *_ in runs(results / "small"))


@pytest.mark.parametrize("wait_for", ["trial", "final"])
def test_a_killed_study_goes_on_and_makes_every_run_once(study_file, finished, tmp_path, bpfree, wait_for):
    """SIGKILL in the midst of tuning, and of the final runs; the second call ends as if nothing had happened."""
    results = tmp_path / "results"
    driver = start(study_file, tmp_path, results, wait_for)
    driver.kill()
    driver.communicate()
    done = bpfree("study", study_file, "--results", results, "--output", tmp_path / "reports")
    assert done.returncode == 0, done.stderr
    found = runs(results / "small")
    assert set(found.values()) == {1}
    assert sum(n for (role, *_), n in found.items() if role == "final") == 4
    cells = ResultsFolder(results / "small").tuned_cells()
    assert {cell.trials for cell in cells} == {3}
    assert sum(n for (role, *_), n in found.items() if role == "trial") == 6
    assert not list(results.rglob("*.tmp"))


def test_two_drivers_keep_off_one_study(finished, study_file, tmp_path, bpfree):
    changed = tmp_path / "small.toml"
    changed.write_text(STUDY.replace("seeds = 2", "seeds = 3"))
    folder, options, _ = finished
    with ResultsFolder(folder / "results" / "small").lock():
        refused = bpfree("study", changed, *options)
    assert refused.returncode == 1
    assert refused.stderr.strip().count("\n") == 0
    assert "another bpfree process" in refused.stderr


def test_tune(tmp_path, bpfree):
    options = ("--workload", "digits-mlp", "--trials", 2, "--epochs", 1, "--results", tmp_path)
    done = bpfree("tune", "mono_forward", *options, "--sampler", "random", "--set", "schedule=greedy", "--json")
    assert done.returncode == 0, done.stderr
    tuned = json.loads(done.stdout)
    assert tuned["trials"] == 2
    assert tuned["hyperparameters"]["schedule"] == "greedy"


def test_failed_trials_do_not_stop_a_study(tmp_path, bpfree):
    """A learning rate that overflows: every trial diverges, is recorded, and the defaults stand."""
    file = tmp_path / "bad.toml"
    text = STUDY.replace('"mono_forward"]', '"mono_forward"]\noptimizers = ["sgd"]').replace("small", "bad")
    text = text.replace('"backprop", "mono_forward"', '{ name = "backprop", learning_rate = 10.0, weight_decay = 1.0 }')
    file.write_text(text)
    done = bpfree("study", file, "--results", tmp_path / "results", "--output", tmp_path / "reports")
    assert done.returncode == 0, "a diverged run is a result"
    found = runs(tmp_path / "results" / "bad")
    assert Counter(status for *_, status in found) == {"diverged": 5}
    page = (tmp_path / "reports" / "bad" / "index.html").read_text()
    assert "no run was completed" in page


def test_a_worker_killed_before_its_run_does_not_stop_a_study(tmp_path):
    """SIGKILL while a fresh process still starts: that run has failed, the next one gets a new process."""
    from bpfree import assembly
    from bpfree.executors import LocalExecutor, outcome
    from bpfree.records import MeasurementSettings, RunSpec, TrainingSettings

    spec = RunSpec(
        workload="digits-mlp", algorithm="backprop", optimizer="adamw", seed=0, device="cpu",
        hyperparameters=assembly.resolve("backprop", "adamw", {}), measurement=MeasurementSettings(),
        training=TrainingSettings(max_epochs=1, batch_size=64, patience=1, min_delta=0, threads=1),
    )  # fmt: skip
    with LocalExecutor("cpu", 1, None, fresh=True) as executor:
        future = executor.submit(spec)
        workers = []
        while not workers:
            found = [Path(f"/proc/{pid}/cmdline") for pid in all_children(os.getpid())]
            workers = [path.parent.name for path in found if path.exists() and "spawn_main" in path.read_text()]
            time.sleep(0.02)
        os.kill(int(workers[0]), signal.SIGKILL)
        assert outcome(future, spec).status == "failed"
        assert outcome(executor.submit(spec), spec).status == "completed"


def test_a_worker_leaves_ctrl_c_to_the_driver_from_its_first_moment():
    from bpfree.executors import LocalExecutor

    masks = []
    with LocalExecutor("cpu", 1, None, fresh=True) as executor:
        future = executor.living_pool().schedule(int)
        while not future.done():
            for pid in all_children(os.getpid()):
                with suppress(OSError):  # it has ended meanwhile
                    if "spawn_main" in Path(f"/proc/{pid}/cmdline").read_text():
                        status = dict(
                            line.split(":\t", 1) for line in Path(f"/proc/{pid}/status").read_text().splitlines()
                        )
                        masks.append(int(status["SigBlk"], 16) | int(status["SigIgn"], 16))
            time.sleep(0.005)
    assert masks
    assert all(mask & 1 << signal.SIGINT - 1 for mask in masks)


def all_children(parent: int) -> list[str]:
    """The processes that any thread of a process has started."""
    tasks = Path(f"/proc/{parent}/task").iterdir()
    return [pid for task in tasks for pid in (task / "children").read_text().split()]
