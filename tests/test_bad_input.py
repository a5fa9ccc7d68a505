"""Bad input to the newer commands: one line that says what to do, and nothing lost or written."""

import json
import subprocess
import sys

import pytest

from bpfree.driver import kept_plan
from bpfree.errors import RequestError, WorldError
from bpfree.measuring import checked_settings
from bpfree.records import TunedCell
from bpfree.results import ResultsFolder
from bpfree.study import Study
from bpfree.targets import Target, merge, read, written


def study(**fields):
    return Study.model_validate({"name": "s", "workloads": ["digits-mlp"], "algorithms": ["backprop"], **fields})


@pytest.mark.parametrize(
    ("fields", "reason"),
    [
        ({"measurement": {"boundary": ["cpu", "cpu"]}}, "must not name a component twice"),
        ({"name": "train"}, "is the folder of single runs"),
        ({"name": "é" * 41}, "at most 80 bytes"),
        ({"algorithms": ["backprop", {"name": "mono_forward", "label": "m" * 81}]}, "at most 80 bytes"),
        ({"overrides": [{"workloads": []}]}, "at least 1"),
        ({"overrides": [{"training": {"execution": "eager"}}]}, r"the same for all methods of a study: set it in \[tr"),
        ({"training": {"execution": "graph"}}, "'eager', 'cuda_graph' or 'compiled'"),
    ],
)
def test_studies_that_would_mislead_are_refused(fields, reason):
    with pytest.raises(ValueError, match=reason):
        study(**fields)


def tuned(cell):
    return TunedCell(
        cell=cell, workload="w", algorithm="backprop", optimizer="adamw", hyperparameters={}, best_trial=None,
        best_value=None, trials=0, statuses={}, epochs=0, seconds=0.0, readings=[],
    )  # fmt: skip


def test_a_tuned_file_of_another_cell_is_refused(tmp_path):
    folder = ResultsFolder(tmp_path)
    folder.write_tuned(tuned("w.backprop.adamw"))
    path = tmp_path / "tuned" / "w.backprop.adamw.json"
    path.write_text(path.read_text().replace('"w.backprop.adamw"', '"../../evil"'))
    with pytest.raises(WorldError, match="is of another cell"):
        folder.tuned("w.backprop.adamw")


@pytest.mark.parametrize("text", ['{"final_runs":5}', '{"final_runs":[["a"]]}', "[" * 100_000, "{", "7"])
def test_a_damaged_plan_is_named_and_written_anew(tmp_path, text):
    (tmp_path / "plan.json").write_text(text)
    with pytest.raises(WorldError, match=r"plan\.json cannot be read .*run the study again"):
        ResultsFolder(tmp_path).plan()
    assert kept_plan(ResultsFolder(tmp_path)) == {}, "as the driver takes it"


def test_targets_survive_odd_names_and_full_disks(tmp_path, monkeypatch):
    path, row = tmp_path / "t.toml", Target(0.9, "accuracy", True, "s", "b", "o", 0.005, [0], [0.9])
    merge(path, {'a"b': row})
    assert read(path.read_text()) == {'a"b': row}
    assert read(written({})) == {}
    before = path.read_text()
    monkeypatch.setattr(
        "pathlib.Path.replace", lambda *_: (_ for _ in ()).throw(OSError(28, "No space left on device"))
    )
    with pytest.raises(WorldError, match="No space left"):
        merge(path, {"c": row})
    assert path.read_text() == before


@pytest.mark.parametrize(("name", "value"), [("cpu_watts", 1e300), ("pue", 1e300), ("carbon_intensity", 1e300)])
def test_absurd_figures_are_refused_before_anything_runs(name, value):
    with pytest.raises(RequestError, match="must be at most"):
        checked_settings(**{name: value})


def test_a_record_of_another_version_is_not_to_be_deleted(tmp_path):
    path = tmp_path / "runs" / "x" / "record.json"
    path.parent.mkdir(parents=True)
    path.write_text(json.dumps({"schema_version": 99}))
    with pytest.raises(WorldError) as caught:
        list(ResultsFolder(tmp_path).records())
    assert "delete" not in str(caught.value)


def test_names_cannot_steer_the_terminal(bpfree):
    failed = bpfree("study", "a\nb\x1b[31m.toml")
    assert failed.returncode == 2
    assert failed.stderr.count("\n") == 1
    assert "\x1b[31m.toml" not in failed.stderr
    assert r"a\nb\x1b[31m.toml" in failed.stderr


def test_a_closed_output_is_no_traceback():
    done = subprocess.run(
        ["sh", "-c", f'"{sys.executable}" -m bpfree --version >&-'], capture_output=True, text=True, check=False
    )
    assert "Traceback" not in done.stderr
