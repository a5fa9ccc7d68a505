"""The table of records: one row a run, whatever became of it."""

import csv
import io

from bpfree.export import row, to_csv
from bpfree.records import Carbon, Cost, MeasurementSettings, Metrics, Record, RunSpec, TrainingSettings


def record(status="completed", **fields):
    spec = RunSpec(
        workload="digits-mlp",
        algorithm="mono_forward",
        optimizer="adamw",
        hyperparameters={"schedule": "greedy", "learning_rate": 1e-05},
        seed=3,
        training=TrainingSettings(max_epochs=4, batch_size=32, patience=2, min_delta=0.0),
        measurement=MeasurementSettings(),
        device="cpu",
        role="final",
    )
    return Record(**{"id": spec.id, "status": status, "spec": spec, "environment": {}, **fields})


def cost(**fields):
    carbon = Carbon(co2e_kg=2e-9, intensity_g_per_kwh=56.0, pue=1.0, source="s")
    values = {
        "steps": 70, "epochs": 2, "samples": 2240, "parameters": 9, "flops_per_step": 9.0, "flops_total": 630.0,
        "train_seconds": 0.1, "train_joules": 1.5, "train_joules_net": None, "joules_quality": "modelled",
        "boundary": ["cpu", "dram"], "idle_watts": None, "peak_device_bytes": None, "peak_host_bytes": 2**40,
        "carbon": carbon,
    }  # fmt: skip
    return Cost(**{**values, **fields})


DONE = record(metrics=Metrics(test_accuracy=0.975, test_loss=0.1), cost=cost(), block=1, position=2)


def table(records):
    return list(csv.DictReader(io.StringIO(to_csv(records))))


def test_a_row_has_what_people_plot():
    (line,) = table([DONE])
    expected = {
        "id": DONE.id, "status": "completed", "role": "final", "workload": "digits-mlp", "algorithm": "mono_forward",
        "optimizer": "adamw", "seed": "3", "block": "1", "position": "2", "trial": "", "device": "cpu",
        "test_accuracy": "0.975", "test_loss": "0.1", "validation_metric": "", "steps": "70", "train_seconds": "0.1",
        "train_joules": "1.5", "train_joules_net": "", "joules_quality": "modelled", "boundary": "cpu+dram",
        "co2e_kg": "2e-09", "peak_host_bytes": str(2**40),
        "hyperparameters": "schedule=greedy; learning_rate=1e-05",
    }  # fmt: skip
    assert {name: line[name] for name in expected} == expected


def test_a_run_without_cost_has_the_same_columns():
    failed = record("failed", error='worker died, "badly",\nand loudly')
    lines = table([failed, DONE, record(cost=cost(carbon=None))])
    assert [line["status"] for line in lines] == ["failed", "completed", "completed"]
    assert lines[0]["train_joules"] == lines[0]["boundary"] == lines[0]["co2e_kg"] == lines[2]["co2e_kg"] == ""
    assert row(failed).keys() == row(DONE).keys()
    assert None not in lines[0]


def test_absent_is_empty_and_zero_is_zero():
    absent, zero = table([record(cost=cost(train_joules=None)), record(cost=cost(train_joules=0.0))])
    assert (absent["train_joules"], zero["train_joules"]) == ("", "0.0")


def test_one_line_a_record():
    assert to_csv([DONE] * 3).count("\n") == 4
