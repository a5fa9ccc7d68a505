"""Studies that follow another: settings taken over, passes matched, targets derived and reached; for real."""

import json
import statistics

import pytest

from bpfree import driver
from bpfree.planning import plan
from bpfree.results import ResultsFolder
from bpfree.study import load
from bpfree.targets import read

FIRST = """
name = "first"
workloads = ["digits-mlp"]
algorithms = ["backprop", { name = "mono_forward", label = "greedy", schedule = "greedy" }]
seeds = 3
[training]
max_epochs = 12
batch_size = 64
patience = 2
threads = 1
[tuning]
trials = 2
max_epochs = 2
[measurement]
warmup_steps = 1
"""
MATCHED = (
    FIRST.replace('"first"', '"second"')
    .replace("seeds = 3", 'seeds = 2\nfollows = "first"')
    .replace("patience = 2", "matched_passes = true")
    .replace("[tuning]\ntrials = 2\nmax_epochs = 2\n", "")
)


@pytest.fixture(scope="module")
def folder(tmp_path_factory, bpfree):
    """The study that the others follow, done."""
    folder = tmp_path_factory.mktemp("following")
    for name, text in (("first", FIRST), ("second", MATCHED)):
        (folder / f"{name}.toml").write_text(text)
    done = bpfree("study", folder / "first.toml", *options(folder))
    assert done.returncode == 0, done.stderr
    return folder


def options(folder):
    return ("--results", folder / "results", "--output", folder / "reports")


def finals(folder, study, method):
    return [r for r in ResultsFolder(folder / "results" / study).finals() if r.spec.method == method]


def test_a_matched_study_takes_settings_and_passes_over(folder, bpfree):
    done = bpfree("study", folder / "second.toml", *options(folder))
    assert done.returncode == 0, done.stderr
    passes = int(statistics.median(record.cost.epochs for record in finals(folder, "first", "backprop")))
    for method, stages in (("backprop", 1), ("greedy", 2)):
        theirs = finals(folder, "first", method)[0].spec.hyperparameters
        records = finals(folder, "second", method)
        assert len(records) == 2
        for record in records:
            assert record.spec.hyperparameters == theirs
            share, rest = divmod(passes, stages)
            assert [s.epochs for s in record.stages] == [share + rest, *[share] * (stages - 1)], "no early stop"
    tuned = ResultsFolder(folder / "results" / "second").tuned("digits-mlp.greedy.adamw")
    assert (tuned.taken_from, tuned.matched_passes, tuned.trials) == ("first", passes, 2)
    assert not [r for r in ResultsFolder(folder / "results" / "second").records() if r.spec.role == "trial"]
    page = (folder / "reports" / "second" / "index.html").read_text()
    assert "Where the energy difference comes from" in page


def test_what_was_taken_over_stays_when_the_other_study_goes_on(folder):
    study, second = load(folder / "second.toml"), ResultsFolder(folder / "results" / "second")
    places = driver.Places(second, "cpu", None, 1)
    kept = driver.known_cells(plan(study, "cpu"), places)
    followed = ResultsFolder(folder / "results" / "first")
    theirs = followed.tuned("digits-mlp.backprop.adamw")
    followed.write_tuned(theirs.model_copy(update={"hyperparameters": {**theirs.hyperparameters, "beta1": 0.5}}))
    try:
        assert driver.known_cells(plan(study, "cpu"), places) == kept
        fresh = driver.Places(ResultsFolder(folder / "results" / "third"), "cpu", None, 1)
        taken = driver.known_cells(plan(study, "cpu"), fresh)
        assert taken["digits-mlp.backprop.adamw"].hyperparameters["beta1"] == 0.5, "a new study takes what is there now"
    finally:
        followed.write_tuned(theirs)


@pytest.mark.parametrize("text", [MATCHED, MATCHED.replace("matched_passes = true", "patience = 2")])
def test_what_is_followed_must_have_ended(tmp_path, bpfree, text):
    path = tmp_path / "second.toml"
    path.write_text(text)
    for command in (("study", path), ("study", path, "--dry-run")):
        failed = bpfree(*command, "--results", tmp_path / "results")
        assert failed.returncode == 2
        assert "second follows first, but in" in failed.stderr
        assert failed.stderr.strip().endswith("run that study first")
        assert "Traceback" not in failed.stderr


def test_targets_are_derived_and_reached(folder, bpfree, tmp_path):
    output = tmp_path / "targets.toml"
    output.write_text(
        '["other"]\nvalue = 0.5\nmetric = "accuracy"\nhigher_is_better = true\nstudy = "s"\nbaseline = "b"\n'
        'optimizer = "o"\nmargin = 0.005\nseeds = [0]\nbest = [0.5]\n'
    )
    done = bpfree("targets", folder / "results" / "first", "--output", output, "--json")
    assert done.returncode == 0, done.stderr
    best = [max(e.validation_metric for e in r.history) for r in finals(folder, "first", "backprop")]
    found = json.loads(done.stdout)["digits-mlp"]
    assert found["value"] == pytest.approx(statistics.median(best) - 0.005, abs=5e-5)
    assert sorted(found["best"]) == pytest.approx(sorted(best), abs=5e-5)
    assert (found["study"], found["seeds"]) == ("first", [0, 1, 2])
    kept = read(output.read_text())
    assert kept.keys() == {"other", "digits-mlp"}
    assert kept["digits-mlp"].value == found["value"]
    for content, reason in (("nonsense", "is no file of targets"), ('name = "x"', "is no file of targets")):
        output.write_text(content)
        failed = bpfree("targets", folder / "results" / "first", "--output", output)
        assert failed.returncode == 2
        assert reason in failed.stderr
        assert "Traceback" not in failed.stderr


@pytest.mark.parametrize(("name", "reason"), [("second", "tunes nothing"), ("nothing", "cannot read study file")])
def test_targets_need_a_tuned_study(folder, bpfree, name, reason):
    failed = bpfree("targets", folder / "results" / name)
    assert failed.returncode == 2
    assert reason in failed.stderr
    assert failed.stderr.count("\n") == 1


def test_a_workload_without_a_target_says_so(tmp_path, bpfree):
    path = tmp_path / "target.toml"
    path.write_text(FIRST.replace("digits-mlp", "mnist-cnn").replace("patience = 2", "stop_at_target = true"))
    failed = bpfree("study", path, "--results", tmp_path / "results")
    assert failed.returncode == 2
    assert "mnist-cnn has no target: derive one from a tuned study with `bpfree targets" in failed.stderr
