"""Every command and every mistake, as a subprocess: exit status, one clear line, no traceback."""

import json
import shutil
import time

import pytest

from bpfree.algorithms import ALGORITHMS


def test_help_is_quick_and_loads_nothing_heavy(bpfree):
    seconds = []
    for _ in range(3):
        begin = time.perf_counter()
        done = bpfree("--help")
        seconds.append(time.perf_counter() - begin)
    assert done.returncode == 0
    for command in ("train", "tune", "study", "status", "watch", "report", "export", "doctor", "list"):
        assert command in done.stdout
    modules = bpfree("--help", PYTHONPROFILEIMPORTTIME="1").stderr
    assert not any(f" {heavy}\n" in modules for heavy in ("torch", "optuna", "numpy", "pydantic"))


@pytest.mark.parametrize("algorithm", ALGORITHMS)
def test_train_prints_one_json_record(bpfree, tmp_path, algorithm):
    done = bpfree("train", algorithm, "--workload", "digits-mlp", "--epochs", 2, "--results", tmp_path, "--json")
    assert done.returncode == 0, done.stderr
    record = json.loads(done.stdout)
    assert record["status"] == "completed"
    assert record["spec"]["algorithm"] == algorithm
    assert {"environment", "history", "metrics", "phases", "cost"} <= record.keys()
    readings = record["phases"]["train"]["readings"]
    assert all({"method", "quality", "resolution"} <= reading.keys() for reading in readings)
    assert done.stderr.count("epoch") == 2, "one line an evaluation on stderr"
    kept = tmp_path / "train" / "runs" / record["id"] / "record.json"
    assert json.loads(kept.read_text()) == record


def test_train_for_people(bpfree, tmp_path):
    done = bpfree("train", "backprop", "--workload", "digits-mlp", "--epochs", 1, "--results", tmp_path)
    first, second = done.stdout.splitlines()
    assert "test" in first
    assert "J modelled" in first or "J measured" in first
    assert second.startswith("record: ")


TRAIN = ("train", "backprop", "--workload", "digits-mlp")
MISTAKES = {
    "algorithm": (("train", "mono_foward", "--workload", "digits-mlp"), "did you mean mono_forward"),
    "workload": (("train", "backprop", "--workload", "fashion-mpl"), "did you mean fashion-mlp"),
    "optimizer": ((*TRAIN, "--optimizer", "adamv"), "did you mean adam or adamw"),
    "hyperparameter": ((*TRAIN, "--set", "learning_rat=1"), "did you mean learning_rate"),
    "not an assignment": ((*TRAIN, "--set", "learning_rate"), "name=value"),
    "out of range": ((*TRAIN, "--set", "learning_rate=-1"), "learning_rate = -1 is not accepted: it must be greater"),
    "above range": ((*TRAIN, "--set", "learning_rate=1e9"), "less than or equal to 10"),
    "wrong type": ((*TRAIN, "--set", "learning_rate=fast"), "valid number"),
    "not a choice": (("train", "mono_forward", "-w", "digits-mlp", "--set", "schedule=lazy"), "or 'greedy'"),
    "epochs": ((*TRAIN, "--epochs", "0"), "--epochs"),
    "batch size": ((*TRAIN, "--batch-size", "5000"), "batch_size = 5000 is more than the 1149 training samples"),
    "device": ((*TRAIN, "--device", "cuda:77"), "not available"),
    "incompatible": (("train", "forward_forward", "--workload", "fashion-cnn"), "choose a workload of kind mlp"),
    "country": ((*TRAIN, "--country", "XYZ"), "XYZ"),
    "seed": ((*TRAIN, "--seed", str(2**64)), "--seed"),
    "odd device": ((*TRAIN, "--device", "cuda:²"), "unknown"),
    "empty country": ((*TRAIN, "--country", ""), "country"),
    "endless number": ((*TRAIN, "--set", "learning_rate=1" + "0" * 5000), "learning_rate"),
    "no workload": (("train", "backprop"), "--workload"),
    "no command": (("trian",), "trian"),
    "sampler": (("tune", "backprop", "-w", "digits-mlp", "--trials", "1", "--sampler", "tpx"), "tpe, gp, random, qmc"),
    "too many workers": (("study", "studies/quickstart.toml", "--workers", "1000000"), "--workers"),
    "no study": (("study", "nowhere.toml"), "nowhere.toml"),
    "no results": (("export", "studies/mnist.toml", "--results", "/nonexistent"), "run `bpfree study"),
    "list": (("list", "algorithm"), "did you mean algorithms"),
    "nothing to export": (("export",), "name a study file or a results folder"),
    "format": (("export", "studies/quickstart.toml", "--format", "xml"), "choose from csv, json, parquet"),
}  # fmt: skip


def assert_one_line(done, status, text):
    assert done.returncode == status, (done.stdout, done.stderr)
    assert "Traceback" not in done.stderr
    assert done.stdout == ""
    assert done.stderr.startswith("bpfree: ")
    assert len(done.stderr.strip().splitlines()) == 1
    assert text in done.stderr


@pytest.mark.parametrize("mistake", MISTAKES)
def test_a_wrong_request_is_one_line_and_exit_2(bpfree, mistake):
    arguments, text = MISTAKES[mistake]
    assert_one_line(bpfree(*arguments), 2, text)


def test_malformed_study_files(bpfree, tmp_path):
    for text, message in (
        ("name = \n", "line 1"),
        ('name = "x"\nworkloads = ["digits-mlp"]\nalgorithms = ["backprop"]\nsedes = 3\n', "line 4: sedes"),
        ('name = "x"\nworkloads = ["digits-mpl"]\nalgorithms = ["backprop"]\n', "did you mean digits-mlp"),
        ('name = "x"\nalgorithms = ["backprop"]\n', "workloads"),
    ):
        file = tmp_path / "wrong.toml"
        file.write_text(text)
        assert_one_line(bpfree("study", file, "--results", tmp_path / "r"), 2, message)


def test_the_worlds_faults_are_one_line_and_exit_1(bpfree, tmp_path):
    blocker = tmp_path / "file"
    blocker.write_text("not a folder")
    assert_one_line(bpfree(*TRAIN, "--epochs", 1, "--results", blocker / "x"), 1, "--results")
    assert_one_line(bpfree("study", "studies/quickstart.toml", "--results", blocker / "x"), 1, "--results")
    assert_one_line(bpfree("report", tmp_path), 1, "study.toml")


def test_damaged_data_is_one_line_and_exit_1(bpfree, tmp_path, data_dir):
    raw = tmp_path / "FashionMNIST" / "raw"
    shutil.copytree(data_dir / "FashionMNIST" / "raw", raw)
    for file in raw.iterdir():
        file.chmod(0o644)
    images = raw / "train-images-idx3-ubyte.gz"
    images.write_bytes(images.read_bytes()[:100_000])
    done = bpfree("train", "backprop", "--workload", "fashion-mlp", "--data-dir", tmp_path, "--results", tmp_path)
    assert_one_line(done, 1, f"{images} is damaged")


def test_absent_data_is_one_line_and_exit_1(bpfree, tmp_path):
    """Without network the download fails at once; its proxy is a port that nobody listens on."""
    nowhere = {"XDG_CACHE_HOME": str(tmp_path), "HTTPS_PROXY": "http://127.0.0.1:9", "HTTP_PROXY": "http://127.0.0.1:9"}
    done = bpfree("train", "backprop", "--workload", "mnist-mlp", "--results", tmp_path, BPFREE_DATA="", **nowhere)
    assert_one_line(done, 1, "--data-dir")


def test_a_training_that_diverges_ends_with_status_1(bpfree, tmp_path):
    settings = ("--optimizer", "sgd", "--set", "learning_rate=10", "--set", "weight_decay=1")
    done = bpfree(*TRAIN, *settings, "--epochs", 2, "--results", tmp_path, "--json")
    assert done.returncode == 1
    assert json.loads(done.stdout)["status"] == "diverged"


def test_list(bpfree):
    algorithms = json.loads(bpfree("list", "algorithms", "--json").stdout)
    assert {a["name"] for a in algorithms} == set(ALGORITHMS)
    for entry in algorithms:
        assert {"name", "paper", "hyperparameters"} <= entry.keys()
    (adamw,) = [o for o in json.loads(bpfree("list", "optimizers", "--json").stdout) if o["name"] == "adamw"]
    assert adamw["hyperparameters"]["learning_rate"] == {"default": 1e-3, "range": "0.0001 to 0.1 (log)"}
    workloads = json.loads(bpfree("list", "workloads", "--json").stdout)
    assert {"digits-mlp", "mnist-mlp-2x1000", "fashion-cnn"} <= {w["name"] for w in workloads}
    everything = bpfree("list")
    assert everything.returncode == 0
    assert "forward_forward" in everything.stdout
    assert "quickstart.toml" in everything.stdout


def test_doctor(bpfree):
    done = bpfree("doctor")
    assert done.returncode == 0
    assert "cpu" in done.stdout
    assert json.loads(bpfree("doctor", "--json").stdout)["components"]


def test_dry_run(bpfree, tmp_path):
    done = bpfree("study", "studies/quickstart.toml", "--dry-run", "--json", "--results", tmp_path)
    assert done.returncode == 0, done.stderr
    plan = json.loads(done.stdout)
    assert (plan["cells"], plan["runs"]) == (4, 20)
    assert plan["seconds"] > 0
    assert plan["co2e_grams"] > 0
    assert not list(tmp_path.iterdir()), "nothing is written"
    assert "Wh" in bpfree("study", "studies/quickstart.toml", "--dry-run", "--results", tmp_path).stdout


def test_version(bpfree):
    assert bpfree("--version").stdout.startswith("bpfree 0.")


def test_paths_are_printed_as_they_are(bpfree, tmp_path):
    odd = tmp_path / "v[/x]:bomb:"
    done = bpfree(*TRAIN, "--epochs", 1, "--results", odd)
    assert done.returncode == 0, done.stderr
    assert f"record: {odd}/train" in done.stdout


def test_a_narrow_encoding_is_no_reason_to_fail(bpfree):
    assert bpfree("doctor", PYTHONIOENCODING="ascii").returncode == 0


def test_without_a_command_there_is_help(bpfree):
    done = bpfree()
    assert (done.returncode, done.stderr) == (0, "")
    assert "study" in done.stdout
