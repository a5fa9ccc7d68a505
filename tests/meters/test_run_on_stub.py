"""Whole runs metered by the stub: what a record says of energy, of the GPU and of its own trustworthiness."""

import csv
import gzip
import io

import pytest

CODE = """
import base64, sys
from bpfree import assembly, executors, trainer
from bpfree.records import MeasurementSettings, RunSpec, TrainingSettings
SPEC = RunSpec(
    workload="digits-mlp", algorithm="backprop", optimizer="adamw",
    hyperparameters=assembly.resolve("backprop", "adamw", {}), seed=0, role="final", device="cpu",
    training=TrainingSettings(max_epochs=EPOCHS, batch_size=32, patience=EPOCHS, min_delta=0.0),
    measurement=MeasurementSettings(boundary=("gpu",), idle_seconds=IDLE, warmup_steps=1),
)

def run(on_evaluation=None):
    # trains on the CPU, metered by the stub's GPU
    assembly.prepare("cpu", 1)
    meters = open_meters("cuda", AAAA)
    try:
        record = trainer.Run(SPEC, "cpu", meters, on_evaluation=on_evaluation).execute(fresh_process=True)
    finally:
        for meter in meters:
            meter.close()
    trace = base64.b64encode(record.trace).decode() if record.trace else None
    return record.model_dump(mode="json") | {"trace": trace}
"""


def run(stub, code="print(json.dumps(run()))", *, epochs=2, idle=0.3, **settings):
    constants = f"EPOCHS, IDLE, CONTROL = {epochs}, {idle}, {str(stub.control)!r}\n"
    return stub.run(constants + CODE + code, **settings)


@pytest.fixture(scope="module")
def record(shared_stub):
    return run(shared_stub, watts=100, period=0.1)


def test_a_run_too_short_for_the_counter_is_repeated_until_it_is_resolved(record):
    cost = record["cost"]
    assert record["status"] == "completed"
    assert cost["repeats"] > 1, "two epochs on digits take a fraction of the five seconds that are needed"
    assert cost["train_seconds"] * cost["repeats"] >= 5
    (gpu,) = [r for r in cost["readings"] if r["component"] == "gpu"]
    assert (gpu["quality"], gpu["method"]) == ("measured", "nvml_energy_counter")
    assert gpu["resolution"] <= 0.05
    assert f"mean of {cost['repeats']} trainings" in gpu["reason"]
    assert cost["train_joules"] == pytest.approx(100 * cost["train_seconds"], rel=max(0.01, gpu["resolution"]))
    assert (cost["epochs"], len(record["history"])) == (2, 2), "of one training"


def test_idle_power_is_taken_before_and_after(record):
    cost = record["cost"]
    for watts in (cost["idle_watts"], cost["idle_watts_after"]):
        assert watts is None or watts == pytest.approx(100, rel=0.4), "0.3 s on a counter of 0.1 s"


def test_the_gpu_is_described(record):
    (gpu,) = record["gpus"]
    assert gpu["uuid"].startswith("GPU-aaaaaaaa")
    assert gpu["samples"] > 50
    assert gpu["mean_watts"] == pytest.approx(100, rel=0.01)
    assert gpu["counter_joules"] == pytest.approx(gpu["integral_joules"], rel=0.03)
    assert gpu["foreign_processes"] == 0
    assert record["cost"]["metering_cpu_seconds"] > 0


def test_the_trace_travels_with_the_record(record):
    import base64

    rows = list(csv.DictReader(io.StringIO(gzip.decompress(base64.b64decode(record["trace"])).decode())))
    assert len(rows) > 50
    assert any("watts" in name for name in rows[0])


def test_what_disturbs_is_said(stub):
    got = run(stub, watts=100, period=0.1, throttle=4, pids="1", idle=0)
    text = " ".join(got["warnings"])
    assert "its clocks were held down" in text
    assert got["cost"]["idle_watts"] is None
    assert got["cost"]["train_joules_net"] is None, "without a baseline there is no net energy"


def test_a_gpu_that_is_lost_fails_the_run(stub):
    code = """
lost = lambda e: (Path(CONTROL) / "lost").touch()
try:
    print(json.dumps(run(lost)))
except WorldError as error:
    print(json.dumps({"error": str(error)}))
"""
    got = run(stub, code, idle=0, watts=100, period=0.1)
    assert "cannot be read any more" in got["error"]
    assert "GPU-aaaaaaaa" in got["error"]
