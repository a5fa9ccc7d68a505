"""The record and its folder: stable ids, whole files or none, one driver."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
from filelock import FileLock
from hypothesis import given, settings
from hypothesis import strategies as st

from bpfree import records
from bpfree.errors import WorldError
from bpfree.records import (
    Carbon,
    Cost,
    Evaluation,
    KnobRange,
    MeasurementSettings,
    Metrics,
    Phase,
    Reading,
    Record,
    RunSpec,
    StageSummary,
    TrainingSettings,
    TunedCell,
)
from bpfree.results import ResultsFolder

SPEC = RunSpec(
    workload="digits-mlp",
    algorithm="backprop",
    optimizer="adamw",
    hyperparameters={"learning_rate": 0.001, "weight_decay": 1e-05},
    seed=3,
    training=TrainingSettings(max_epochs=4, batch_size=32, patience=2, min_delta=0.0),
    measurement=MeasurementSettings(boundary=("cpu", "dram"), country="FRA"),
    device="cpu",
)


def record(spec=SPEC, **fields):
    return Record(**{"id": spec.id, "status": "completed", "spec": spec, "environment": {}, **fields})


def whole():
    """A record with something in every part."""
    reading = Reading(component="cpu", joules=1.5, method="model", quality="modelled", resolution=None, reason="é ≥ 1")
    return record(
        environment={"cpu": "a", "threads": 2, "packages": {"torch": "2"}},
        metrics=Metrics(test_metric=0.9, test_accuracy=0.9, test_loss=None),
        stages=[StageSummary(name="b", epochs=2, best_epoch=1, steps=70, flops_per_step=9, stopped_early=True)],
        history=[
            Evaluation(
                stage="b", epoch=1, step=35, train_loss=None, validation_metric=0.5, validation_loss=0.1, seconds=0.1,
                joules=0.25,
            )
        ],
        phases={"train": Phase(seconds=0.1, readings=[reading])},
        cost=Cost(
            steps=70, epochs=2, samples=2240, parameters=9, flops_per_step=9.0, flops_total=630.0, train_seconds=0.1,
            train_joules=1.5, train_joules_net=None, joules_quality="modelled", boundary=["cpu"], idle_watts=None,
            peak_device_bytes=None, peak_host_bytes=2**40,
            carbon=Carbon(co2e_kg=1e-9, intensity_g_per_kwh=56.0, pue=1.0, source="s"),
        ),
        block=0,
        position=2,
        warnings=["another process"],
    )  # fmt: skip


def tuned(cell="a.b.c"):
    workload, algorithm, optimizer = cell.split(".")
    return TunedCell(
        cell=cell, workload=workload, algorithm=algorithm, optimizer=optimizer, hyperparameters={"x": 1.0},
        best_trial=1, best_value=0.5, trials=2, statuses={"completed": 2}, epochs=4, seconds=1.0, readings=[],
    )  # fmt: skip


def files_below(folder):
    return sorted(str(path.relative_to(folder)) for path in folder.rglob("*") if path.is_file())


def test_the_id_is_the_same_everywhere():
    code = "import sys; from bpfree.records import RunSpec; print(RunSpec.model_validate_json(sys.argv[1]).id)"
    backwards = json.dumps(dict(reversed(SPEC.model_dump(mode="json").items())))
    for hash_seed in ("1", "2"):
        command = [sys.executable, "-c", code, backwards]
        env = {**os.environ, "PYTHONHASHSEED": hash_seed}
        assert subprocess.run(command, capture_output=True, text=True, check=True, env=env).stdout.strip() == SPEC.id


@settings(deadline=None)
@given(st.permutations([("learning_rate", 0.1), ("weight_decay", 0.0), ("threshold", 2.0), ("schedule", "greedy")]))
def test_the_id_ignores_the_order_of_keys(items):
    specs = [SPEC.model_copy(update={"hyperparameters": dict(order)}) for order in (items, sorted(items))]
    assert specs[0].id == specs[1].id


CHANGES = {
    "workload": "mnist-mlp",
    "algorithm": "mono_forward",
    "optimizer": "sgd",
    "hyperparameters": {"learning_rate": 0.002, "weight_decay": 1e-05},
    "seed": 4,
    "label": "another",
    "device": "cuda",
    "role": "final",
    "imported_run": "job 7",
    "training.max_epochs": 5,
    "training.batch_size": 64,
    "training.patience": 3,
    "training.min_delta": 0.1,
    "training.threads": 2,
    "training.epochs_per_stage": 3,
    "training.monitor": "loss",
    "training.restore": "last",
    "training.schedule": "linear_cooldown",
    "training.target": 0.9,
    "training.max_steps": 100,
    "training.evaluate_every": 10,
    "training.warmup": 0.1,
    "training.execution": "compiled",
    "measurement.boundary": ("cpu",),
    "measurement.idle_seconds": 1.0,
    "measurement.warmup_steps": 1,
    "measurement.country": "ITA",
    "measurement.region": "a part",
    "measurement.cpu_watts": 65.0,
    "measurement.carbon_intensity": 10.0,
    "measurement.pue": 1.2,
}


def test_every_field_changes_the_id():
    ids = {SPEC.id}
    for place, value in CHANGES.items():
        *section, field = place.split(".")
        if section:
            value = getattr(SPEC, section[0]).model_copy(update={field: value})
            field = section[0]
        ids.add(SPEC.model_copy(update={field: value}).id)
    assert len(ids) == len(CHANGES) + 1
    fields = {name for name in RunSpec.model_fields if name not in ("training", "measurement")}
    fields |= {f"training.{name}" for name in TrainingSettings.model_fields}
    fields |= {f"measurement.{name}" for name in MeasurementSettings.model_fields}
    assert CHANGES.keys() == fields, "a new field belongs in this test"


def test_a_field_at_its_default_leaves_the_id_alone():
    older = SPEC.model_dump(mode="json")
    del older["training"]["monitor"], older["imported_run"]
    assert RunSpec.model_validate(older).id == SPEC.id


def test_a_record_survives_its_file(tmp_path):
    folder = ResultsFolder(tmp_path / "study")
    path = folder.write(whole())
    assert path == tmp_path / "study" / "runs" / SPEC.id / "record.json"
    assert folder.record(SPEC.id) == whole()
    assert folder.record(SPEC.id).spec.id == SPEC.id
    assert folder.has(SPEC.id)
    assert json.loads(path.read_text())["schema_version"] == records.SCHEMA


@settings(deadline=None)
@given(
    st.dictionaries(
        st.text(min_size=1),
        st.none() | st.booleans() | st.integers() | st.text() | st.floats(allow_nan=False, allow_infinity=False),
    ),
    st.floats(0, 1e30),
)
def test_values_survive_exactly(values, seconds):
    spec = SPEC.model_copy(update={"hyperparameters": values})
    first = record(spec, phases={"train": Phase(seconds=seconds, readings=[])})
    again = Record.model_validate_json(first.model_dump_json())
    assert again == first
    assert again.spec.id == spec.id


@pytest.mark.parametrize(
    ("part", "field", "value"),
    [
        ("cost", "train_joules", -1e308),
        ("cost", "train_seconds", 1e308),
        ("cost", "peak_host_bytes", 10**400),
        ("cost", "steps", -1),
        ("metrics", "test_accuracy", 97.5),
        ("metrics", "metric", ""),
    ],
)
def test_a_figure_that_no_run_can_have_is_a_damaged_file(tmp_path, part, field, value):
    folder = ResultsFolder(tmp_path)
    path = folder.write(whole())
    document = json.loads(path.read_text())
    document[part][field] = value
    path.write_text(json.dumps(document))
    with pytest.raises(WorldError, match=rf"{part}\.{field}: .* delete it and the run is made again"):
        folder.record(SPEC.id)


def test_a_time_that_is_none_is_a_damaged_file(tmp_path):
    folder = ResultsFolder(tmp_path)
    path = folder.write(whole())
    path.write_text(json.dumps(json.loads(path.read_text()) | {"started": "yesterday"}))
    with pytest.raises(WorldError, match=r"started: .* isoformat"):
        folder.record(SPEC.id)


@pytest.mark.parametrize(
    "values", [{}, {"low": 1.0}, {"low": 2.0, "high": 1.0}, {"low": 0.0, "high": 1.0, "log": True}]
)
def test_a_range_that_is_none_is_refused(values):
    with pytest.raises(ValueError, match="range"):
        KnobRange(**values)


def test_records_come_in_the_order_of_their_ids(tmp_path):
    folder = ResultsFolder(tmp_path)
    assert list(folder.records()) == []
    assert folder.record(SPEC.id) is None
    specs = [SPEC.model_copy(update={"seed": seed}) for seed in range(5)]
    for spec in specs:
        folder.write(record(spec))
    assert [r.id for r in folder.records()] == sorted(spec.id for spec in specs)


def test_tuned_cells_survive(tmp_path):
    folder = ResultsFolder(tmp_path)
    assert folder.tuned("a.b.c") is None
    for cell in ("a.b.c", "a.b.a"):
        folder.write_tuned(tuned(cell))
    assert folder.tuned("a.b.c") == tuned()
    assert folder.tuned_cells() == [tuned("a.b.a"), tuned("a.b.c")]


@pytest.mark.parametrize(
    ("status", "final"), [("completed", True), ("diverged", True), ("out_of_memory", False), ("failed", False)]
)
def test_what_is_tried_again(status, final):
    assert record(status=status).final is final


def test_an_unknown_field_is_refused():
    with pytest.raises(ValueError, match="tset_loss"):
        Metrics(tset_loss=1.0)


def test_a_file_is_replaced_whole_or_not_at_all(tmp_path, monkeypatch):
    folder = ResultsFolder(tmp_path)
    folder.write(record())
    assert files_below(tmp_path) == [f"runs/{SPEC.id}/record.json"], "no temporary file is left"

    def full(*_):
        raise OSError(28, "No space left on device")

    for step in ("replace", "write_bytes"):
        with monkeypatch.context() as patch:
            patch.setattr(Path, step, full)
            with pytest.raises(WorldError, match=r"No space left on device.*--results"):
                folder.write(whole())
        assert files_below(tmp_path) == [f"runs/{SPEC.id}/record.json"]
        assert folder.record(SPEC.id) == record()


def test_a_killed_writer_leaves_no_half_record(tmp_path, monkeypatch):
    folder = ResultsFolder(tmp_path)

    class Killed(BaseException):
        pass

    def killed(*_):
        raise Killed

    monkeypatch.setattr(Path, "replace", killed)
    with pytest.raises(Killed):
        folder.write(whole())
    monkeypatch.undo()
    assert not folder.has(SPEC.id)
    assert list(folder.records()) == []
    folder.write(whole())
    assert list(folder.records()) == [whole()]


@pytest.mark.parametrize(
    "spoil", [lambda t: t[: len(t) // 2], lambda _: "", lambda _: "{}", lambda t: t.replace('"seed"', '"sede"')]
)
def test_a_damaged_record_is_named(tmp_path, spoil):
    folder = ResultsFolder(tmp_path)
    path = folder.write(whole())
    path.write_text(spoil(path.read_text()))
    for read in (lambda: folder.record(SPEC.id), lambda: list(folder.records())):
        with pytest.raises(WorldError) as caught:
            read()
        assert str(path) in str(caught.value)
        assert "delete it and the run is made again" in str(caught.value)
        assert "\n" not in str(caught.value)


def test_bytes_that_are_no_text_are_a_damaged_record(tmp_path):
    folder = ResultsFolder(tmp_path)
    path = folder.write(whole())
    path.write_bytes(b"\xff\xfe\x00" * 50)
    with pytest.raises(WorldError, match="cannot be read"):
        folder.record(SPEC.id)


LOCK = "import sys, pathlib; from bpfree.results import ResultsFolder; ResultsFolder(pathlib.Path(sys.argv[1])).lock()"


def test_the_lock_keeps_a_second_process_out(tmp_path):
    folder = ResultsFolder(tmp_path / "new" / "study")
    lock = folder.lock()
    assert isinstance(lock, FileLock)

    def second():
        return subprocess.run([sys.executable, "-c", LOCK, str(folder.path)], capture_output=True, text=True)

    refused = second()
    assert refused.returncode == 1
    assert f"another bpfree process is working in {folder.path}" in refused.stderr
    with pytest.raises(WorldError, match="another bpfree process"):
        ResultsFolder(folder.path).lock()
    lock.release()
    assert second().returncode == 0


def test_a_folder_that_cannot_be_written(tmp_path):
    (tmp_path / "file").write_text("")
    folder = ResultsFolder(tmp_path / "file" / "study")
    for action in (
        folder.lock,
        folder.check_writable,
        lambda: folder.write(record()),
        lambda: folder.write_tuned(tuned()),
    ):
        with pytest.raises(WorldError) as caught:
            action()
        assert (
            str(caught.value)
            == f"cannot write to {folder.path} (Not a directory): choose another folder with --results"
        )
    assert caught.value.exit_status == 1


def test_checking_leaves_nothing(tmp_path):
    ResultsFolder(tmp_path / "new").check_writable()
    assert files_below(tmp_path) == []


@pytest.mark.parametrize("half", [{"metric": "squared_error"}, {"higher_is_better": True}])
def test_a_metric_is_named_with_its_direction_or_not_at_all(half):
    with pytest.raises(ValueError, match="whether higher is better"):
        Metrics(**half)
