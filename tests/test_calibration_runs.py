"""A whole small calibration in processes: killed, gone on with, done once, reported."""

import json
import signal
import subprocess
import sys
import time
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
FILE = """
name = "two"
optimizers = ["nadamw", "momo_adam"]
points = 2
seeds = 2
[schedule]
shapes = ["cosine"]
[[workloads]]
name = "digits-mlp"
max_steps = 400
evaluate_every = 8
batch_size = 64
[[workloads]]
name = "digits-autoencoder"
max_steps = 400
evaluate_every = 8
batch_size = 64
"""


def command(tmp_path):
    path = tmp_path / "two.toml"
    path.write_text(FILE)
    places = ["--results", str(tmp_path / "results"), "--output", str(tmp_path / "reports"), "--workers", "1"]
    return [sys.executable, "-m", "bpfree", "calibrate", str(path), *places]


def kept(tmp_path):
    files = (tmp_path / "results" / "two" / "runs").glob("*/record.json")
    return {path: (path.stat().st_mtime_ns, json.loads(path.read_text())["spec"]["role"]) for path in files}


def test_a_killed_calibration_goes_on_and_makes_every_run_once(tmp_path):
    with subprocess.Popen(command(tmp_path), cwd=ROOT, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL) as first:
        begun = time.monotonic()
        while len(kept(tmp_path)) < 3:
            assert first.poll() is None, "it ended by itself"
            assert time.monotonic() < begun + 120
            time.sleep(0.1)
        first.send_signal(signal.SIGKILL)
    before = kept(tmp_path)
    table = 2 * 3 * 2  # optimizers × arms × workloads
    assert len(before) < table
    done = subprocess.run(command(tmp_path), cwd=ROOT, capture_output=True, text=True, timeout=300)
    assert done.returncode == 0, done.stderr
    after = kept(tmp_path)
    assert all(after[path] == before[path] for path in before), "what was finished stands"
    assert sum(role == "trial" for _, role in after.values()) == table
    outcome = json.loads((tmp_path / "results" / "two" / "calibration.json").read_text())
    assert {method["name"] for method in outcome["methods"]} == {"nadamw", "momo_adam"}
    named = {
        run
        for method in outcome["methods"]
        for runs in method["finals"].values()
        for ids in runs.values()
        for run in ids
    }
    assert named <= {path.parent.name for path in after}
    assert "momo_adam" in (tmp_path / "reports" / "two" / "index.html").read_text().lower().replace("-", "_")

    again = subprocess.run([*command(tmp_path), "--json"], cwd=ROOT, capture_output=True, text=True, timeout=300)
    assert json.loads(again.stdout)["selected"] == {m["name"]: m["selected"] for m in outcome["methods"]}
    assert kept(tmp_path) == after, "nothing is made twice"
