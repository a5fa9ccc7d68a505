"""Published runs as records: what is taken over, what is left null, and every file that is refused."""

import csv
import io
import json
import re
import shutil
from pathlib import Path

import pytest

from bpfree.errors import RequestError
from bpfree.published import STOPPING, import_runs, read_runs
from bpfree.results import ResultsFolder
from bpfree.study import load
from bpfree.workloads import WORKLOADS

ROOT = Path(__file__).resolve().parents[1]
RUNS = ROOT / "studies" / "published" / "beyond_backprop_runs.csv"
LINES = RUNS.read_text().splitlines()
HEADER = LINES[0].split(",")


@pytest.fixture(scope="module")
def records():
    return {record.spec.imported_run: record for record in read_runs(RUNS)}


@pytest.fixture(scope="module")
def lines():
    return list(csv.DictReader(io.StringIO(RUNS.read_text())))


def test_the_command_says_what_it_did_and_what_is_next(bpfree, tmp_path):
    done = bpfree("import", "published", RUNS, "--results", tmp_path)
    assert (done.returncode, done.stderr) == (0, "")
    folder = tmp_path / "published"
    assert done.stdout.splitlines() == [f"81 runs on 11 workloads are in {folder}", f"next: bpfree report {folder}"]
    assert len(list(ResultsFolder(folder).records())) == 81
    reported = bpfree("report", folder, "--output", tmp_path / "report")
    assert (reported.returncode, reported.stderr) == (0, "")
    html = (tmp_path / "report" / "index.html").read_text()
    assert not re.search(r"Traceback|\bNone\b|\bnan\b|NaN|Infinity|Undefined", html)
    exported = bpfree("export", folder / "study.toml", "--results", tmp_path)
    table = list(csv.DictReader(io.StringIO(exported.stdout)))
    assert len(table) == 81
    assert {row["role"] for row in table} == {"imported"}
    assert sorted(row["imported_run"] for row in table) == sorted(line.split(",")[0] for line in LINES[1:])
    again = bpfree("study", folder / "study.toml", "--results", tmp_path, "--output", tmp_path / "r")
    assert "Nothing left to do" in again.stdout  # published runs are not made anew
    refused = bpfree("study", folder / "study.toml", "--results", tmp_path, "--device", "cpu")
    assert refused.returncode == 2
    assert "holds imported runs: give the study another name, or --results" in refused.stderr
    state = json.loads(bpfree("status", folder / "study.toml", "--results", tmp_path, "--json").stdout)
    assert {(cell["final_done"], cell["final_planned"]) for cell in state["cells"]} == {(3, 3)}


def test_every_line_is_a_record_of_its_own(records, lines):
    assert len(records) == len(lines) == 81
    assert len({record.id for record in records.values()}) == 81
    for position, line in enumerate(lines):
        record = records[line["run"]]
        spec, cost = record.spec, record.cost
        assert (spec.role, spec.device, record.status, record.position) == ("imported", "cuda", "completed", position)
        assert (spec.algorithm, str(spec.seed)) == (line["algorithm"], line["seed"])
        assert record.metrics.test_metric == record.metrics.test_accuracy
        assert 100 * record.metrics.test_metric == pytest.approx(float(line["test_accuracy_percent"]))
        assert str(cost.steps) == line["steps"]
        assert (cost.train_seconds, cost.train_joules) == (
            float(line["train_seconds"]),
            float(line["gpu_energy_joules"]),
        )
        assert (cost.boundary, cost.joules_quality) == (["gpu"], "measured")
        (reading,) = record.phases["train"].readings
        assert (reading.component, reading.joules, reading.quality) == ("gpu", cost.train_joules, "measured")
        assert record.environment["gpu"] == "NVIDIA A100-SXM4-40GB"


def test_what_was_not_published_in_our_sense_is_null(records):
    for record in records.values():
        cost = record.cost
        unknown = (
            cost.train_joules_net, cost.idle_watts, cost.peak_device_bytes, cost.peak_host_bytes, cost.carbon,
            cost.flops_per_step, cost.flops_total, cost.parameters, record.phases["train"].readings[0].resolution,
        )  # fmt: skip
        assert set(unknown) == {None}
        assert not record.history
        assert not record.stages


@pytest.mark.parametrize(
    ("run", "workload", "method", "optimizer", "batch_size", "epochs"),
    [
        # Epochs as the fact sheet reads them in the logs.
        ("MF_C10_MLP_s1-1400918", "cifar10-mlp-3x2000", "mono_forward", "adam", 128, 38),
        ("BP_MF_MNIST_MLP_s3-1391244", "mnist-mlp-2x1000", "backprop", "adamw", 128, 17),
        ("FF_MNIST_3x1000A_s1-1392515", "mnist-mlp-3x1000", "forward_forward", "adamw", 100, 77),
        ("FF_MNIST_3x1000S_s1-1392518", "mnist-mlp-3x1000", "forward_forward_sgd", "sgd", 100, 100),
        ("FF_FMNIST_4x2000_s4-1401444", "fashion-mlp-4x2000", "forward_forward", "adamw", 100, 71),
        ("CaFoR_MNIST_s1-1394690", "mnist-cnn", "cascaded_forward_random", "adam", 128, 30),
        ("CaFoDFA_FMNIST_s6-1401590", "fashion-cnn", "cascaded_forward_dfa", "adam", 128, 15 + 29),
        ("CaFoDFA_C100_s8-1401616", "cifar100-cnn", "cascaded_forward_dfa", "adam", 128, 200 + 52),
    ],
)
def test_runs_are_named_as_ours(records, run, workload, method, optimizer, batch_size, epochs):
    spec, cost = records[run].spec, records[run].cost
    assert (spec.workload, spec.method, spec.optimizer) == (workload, method, optimizer)
    assert (spec.training.batch_size, cost.epochs, cost.samples) == (batch_size, epochs, cost.steps * batch_size)


def test_every_workload_is_one_of_ours(records):
    assert {record.spec.workload for record in records.values()} == set(STOPPING["backprop"])
    assert set(STOPPING["backprop"]) <= WORKLOADS.keys()


def test_the_settings_are_those_of_our_study_of_the_same_protocol(records):
    study = load(ROOT / "studies" / "beyond_backprop_published.toml")
    for record in records.values():
        ours, theirs = study.training_of(record.spec.workload, record.spec.method), record.spec.training
        for name in ("batch_size", "patience", "min_delta", "epochs_per_stage", "monitor", "restore", "schedule"):
            assert getattr(theirs, name) == getattr(ours, name), (record.spec.cell, name)


def test_a_log_without_a_clean_end_is_a_warning(records):
    (warned,) = [record for record in records.values() if record.warnings]
    assert warned.spec.imported_run == "FF_FMNIST_4x2000_s2-1401442"
    assert "does not end as that of a finished job" in warned.warnings[0]


def contents(folder):
    return {path.relative_to(folder): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def test_importing_twice_changes_nothing(tmp_path):
    import_runs(RUNS, tmp_path)
    before = contents(tmp_path)
    import_runs(RUNS, tmp_path)
    assert contents(tmp_path) == before


def test_a_shorter_file_leaves_no_run_of_the_longer_one_in_the_study(tmp_path):
    import_runs(RUNS, tmp_path)
    few = tmp_path / "few.csv"
    few.write_text("\n".join([LINES[0], *LINES[10:16]]) + "\n")
    import_runs(few, tmp_path)
    folder = tmp_path / "published"
    assert len(json.loads((folder / "plan.json").read_text())["final_runs"]) == 6
    study = load(folder / "study.toml")
    assert [(w.name, w.algorithms) for w in study.workloads] == [("cifar10-mlp-3x2000", ["backprop", "mono_forward"])]


def test_another_study_of_that_name_is_left_alone(bpfree, tmp_path):
    trained = bpfree("train", "backprop", "-w", "digits-mlp", "--epochs", 1, "--results", tmp_path)
    assert trained.returncode == 0
    shutil.move(tmp_path / "train", tmp_path / "published")
    before = contents(tmp_path)
    done = bpfree("import", "published", RUNS, "--results", tmp_path)
    assert_one_line(done, 2, "choose another folder with --results")
    assert contents(tmp_path) == before


def assert_one_line(done, status, text):
    assert done.returncode == status, (done.stdout, done.stderr)
    assert (done.stdout, "Traceback" in done.stderr) == ("", False)
    assert done.stderr.startswith("bpfree: ")
    assert len(done.stderr.strip().splitlines()) == 1
    assert text in done.stderr


def with_field(name, text, line=3):
    """The file with one field changed; lines are counted as an editor counts them."""
    fields = LINES[line - 1].split(",")
    fields[HEADER.index(name)] = text
    return "\n".join([*LINES[: line - 1], ",".join(fields), *LINES[line:]])


def without(name):
    gone = HEADER.index(name)
    return "\n".join(",".join(f for i, f in enumerate(line.split(",")) if i != gone) for line in LINES)


MALFORMED = {
    "missing column": (without("steps"), "line 1: steps: there is no such column"),
    "text for a number": (with_field("gpu_energy_joules", "much"), "line 3: gpu_energy_joules: "),
    "not a whole number": (with_field("steps", "12.5"), "line 3: steps: "),
    "no number": (with_field("train_seconds", ""), "line 3: train_seconds: "),
    "not finite": (with_field("train_seconds", "nan"), "line 3: train_seconds: "),
    "zero": (with_field("gpu_energy_joules", "0"), "line 3: gpu_energy_joules: "),
    "more than all": (with_field("test_accuracy_percent", "100.1"), "line 3: test_accuracy_percent: "),
    "negative seed": (with_field("seed", "-1"), "line 3: seed: "),
    "endless number": (with_field("seed", "1" * 5000), "line 3: seed: "),
    "unknown algorithm": (with_field("algorithm", "magic"), "line 3: algorithm: "),
    "unknown dataset": (with_field("dataset", "svhn"), "line 3: dataset: "),
    "variant of another": (with_field("variant", "sgd"), "line 3: variant: of backprop it should be ''"),
    "network not published": (with_field("architecture", "mlp-2x1000"), "line 3: architecture: mlp-2x1000 was not"),
    "broken epochs": (with_field("steps", "24922"), "line 3: steps: 24922 are not whole epochs of 351 batches"),
    "neither true nor false": (with_field("finished_cleanly", "perhaps"), "line 3: finished_cleanly: "),
    "the same run twice": ("\n".join([*LINES, LINES[4]]), "line 83: run: CaFoDFA_C10_s2-1400386 stands in line 5 too"),
    "a field too few": ("\n".join([*LINES[:5], LINES[5].rpartition(",")[0]]), "line 6: it has not as many fields"),
    "a field too many": ("\n".join([*LINES[:5], LINES[5] + ",1"]), "line 6: it has not as many fields"),
    "an open quotation": ("\n".join([*LINES[:5], '"' + LINES[5]]), "line 6: it is not CSV"),
    "empty": ("", "line 1: run: there is no such column"),
    "a header alone": (LINES[0] + "\n", "has no run"),
    "another table": ("a,b\n1,2\n", "line 1: run: there is no such column"),
}


@pytest.mark.parametrize("mistake", MALFORMED)
def test_a_malformed_file_is_named_with_line_and_field(tmp_path, mistake):
    text, message = MALFORMED[mistake]
    file = tmp_path / "wrong.csv"
    file.write_text(text)
    with pytest.raises(RequestError) as caught:
        import_runs(file, tmp_path / "results")
    assert str(file) in str(caught.value)
    assert message in str(caught.value)
    assert "\n" not in str(caught.value)
    assert not (tmp_path / "results").exists(), "nothing is written before all is read"


def test_mistakes_on_the_command_line_are_one_line(bpfree, tmp_path):
    file = tmp_path / "runs.csv"
    arguments = ("import", "published", file, "--results", tmp_path / "results")
    assert_one_line(bpfree(*arguments), 2, f"cannot read {file}: No such file or directory")
    file.write_bytes(bytes(range(256)))
    assert_one_line(bpfree(*arguments), 2, f"cannot read {file}: it is not text")
    file.write_bytes(b"\0" * 100)
    assert_one_line(bpfree(*arguments), 2, f"{file}, line 1")
    file.write_text(with_field("steps", "many"))
    assert_one_line(bpfree(*arguments), 2, f"{file}, line 3: steps: ")
    assert_one_line(bpfree("import", "published", tmp_path), 2, "Is a directory")
    assert_one_line(bpfree("import", "unpublished", file), 2, "unpublished")
    assert_one_line(bpfree("import", "published"), 2, "Missing argument")
    assert_one_line(bpfree("import", "published", RUNS, "--results", file), 1, "--results")


def test_the_readme_names_every_column():
    text = (RUNS.parent / "README.md").read_text()
    assert [name for name in HEADER if f"`{name}`" not in text] == []
