"""Calibration: points, selection, and a whole small one in processes."""

import json
import math

import numpy as np
import pytest
from scipy.stats import qmc

from bpfree import calibrating, calibration, optimizers
from bpfree.calibration import Calibration
from bpfree.errors import RequestError
from bpfree.hyperparameters import Choice, LogUniform, Uniform
from bpfree.outcomes import NAIVE, Budget, Outcome
from bpfree.results import ResultsFolder
from bpfree.targets import TARGETS, Target

INF = math.inf


def budget(name, reference=None):
    return Budget(
        name=name, metric="accuracy", higher_is_better=True, target=0.9, target_from="a study", max_steps=100,
        evaluate_every=5, batch_size=32, reference_steps=reference,
    )  # fmt: skip


SUITE = [budget("a", 10), budget("b", 20), budget("c", None)]


def test_points_are_a_scrambled_halton_sequence_and_nested():
    eight = calibration.unit_points(8, 3, seed=5)
    assert eight[:4] == calibration.unit_points(4, 3, seed=5)
    assert np.allclose(eight, qmc.Halton(3, scramble=True, rng=5).random(8))
    assert eight != calibration.unit_points(8, 3, seed=6)
    assert all(0 <= x < 1 for point in eight for x in point)


def test_points_are_mapped_by_their_ranges():
    assert calibration.mapped(0.5, LogUniform(1e-4, 1e-2)) == pytest.approx(1e-3)
    assert calibration.mapped(0.25, Uniform(1, 3)) == 1.5
    assert [calibration.mapped(u, Choice(("a", "b", "c"))) for u in (0, 0.34, 0.999)] == ["a", "b", "c"]


def test_the_best_arm_reaches_most_then_is_fastest_then_nearest():
    gaps = {arm: dict.fromkeys("abc", 0.1) for arm in (NAIVE, "1", "2", "3")}
    steps = {
        NAIVE: {"a": 10, "b": INF, "c": INF},
        "1": {"a": 30, "b": 60, "c": INF},
        "2": {"a": 30, "b": 50, "c": INF},
        "3": {"a": 1, "b": INF, "c": INF},
    }
    assert calibration.ranking(steps, gaps, SUITE) == ["2", "1", "3", NAIVE], "faster than the reference counts"
    none = {arm: dict.fromkeys("abc", INF) for arm in steps}
    gaps["3"]["a"] = 0.0
    assert calibration.ranking(none, gaps, SUITE)[0] == "3", "where all miss, the nearest"
    assert calibration.ranking(none, dict.fromkeys(none, gaps["1"]), SUITE)[0] == NAIVE, "of equals the first"


def test_what_is_chosen_without_a_workload_has_not_seen_it():
    steps = {NAIVE: {"a": 10, "b": 20, "c": INF}, "1": {"a": INF, "b": 21, "c": 10}}
    gaps = {arm: dict.fromkeys("abc", 0.1) for arm in steps}
    assert calibration.left_out(steps, gaps, SUITE) == {"a": "1", "b": "1", "c": NAIVE}


def test_the_reference_is_the_fastest_naive_arm_or_arm_of_the_baseline():
    arms = {
        "nadamw": {NAIVE: {"a": 20, "b": INF}, "1": {"a": 15, "b": INF}},
        "prodigy": {NAIVE: {"a": 18, "b": INF}, "1": {"a": 5, "b": 5}},
    }
    assert calibration.reference_steps(["a", "b"], arms, "nadamw") == {"a": 15, "b": None}


def small(**values):
    entry = {"name": "digits-mlp", "max_steps": 60, "evaluate_every": 10, "batch_size": 32}
    other = {"name": "fashion-mlp", "max_steps": 60, "evaluate_every": 10}
    given = {"name": "small", "optimizers": ["nadamw", "prodigy"], "points": 2, "seeds": 2, "workloads": [entry, other]}
    return Calibration(**{**given, **values})


@pytest.fixture
def easy(monkeypatch):
    for workload in ("digits-mlp", "fashion-mlp"):
        target = Target(0.8, "accuracy", True, "by hand", "backprop", "nadamw", 0.0, [0], [0.8])
        monkeypatch.setitem(TARGETS, f"{workload}, 60 steps", target)


@pytest.mark.usefixtures("easy")
def test_every_method_gets_its_defaults_and_as_many_points():
    planned = calibrating.plan(small(optimizers=list(optimizers.OPTIMIZERS), points=5), "cpu")
    for name, arms in planned.arms.items():
        assert [arm.name for arm in arms] == [NAIVE, "1", "2", "3", "4", "5"]
        defaults = optimizers.find(name).hyperparameters().model_dump()
        assert arms[0].hyperparameters == defaults
        assert (arms[0].schedule.shape, arms[0].schedule.warmup, arms[0].schedule.horizon) == ("constant", 0, 1)
        assert any(arm.hyperparameters != defaults for arm in arms[1:])
    free = planned.arms["schedule_free_adamw"]
    assert {(arm.schedule.shape, arm.schedule.horizon) for arm in free} == {("constant", 1.0)}


@pytest.mark.usefixtures("easy")
def test_runs_end_with_their_horizon_and_share_seeds():
    wanted = small(schedule={"shapes": ["linear"], "warmups": [0.1], "horizons": [0.5]})
    planned = calibrating.plan(wanted, "cpu")
    runs = calibrating.table_runs(planned)
    assert len(runs) == 2 * 3 * 2
    assert len({run.spec.seed for run in runs}) == 1
    assert {run.spec.training.max_steps for run in runs if run.arm != NAIVE} == {30}
    assert {run.spec.training.max_steps for run in runs if run.arm == NAIVE} == {60}
    assert not {run.spec.seed for run in runs} & set(wanted.seeds)


def test_a_workload_without_target_is_refused():
    with pytest.raises(RequestError, match="no target for digits-mlp, 60 steps"):
        calibrating.plan(small(), "cpu")


def test_memory_is_counted_in_copies_of_the_parameters():
    assert {name: calibrating.copies(entry, {}) for name, entry in optimizers.OPTIMIZERS.items()} == {
        "sgd": 1, "adam": 2, "adamw": 2, "nadamw": 2, "schedule_free_adamw": 2, "dadapt_adamw": 3, "prodigy": 4,
        "mechanic": 3, "dog": 1, "ldog": 1, "dowg": 1, "momo": 1, "momo_adam": 2, "cocob": 5,
    }  # fmt: skip
    assert calibrating.copies(optimizers.find("dog"), {"averaging": 8.0}) == 2


FILE = """
name = "tiny"
optimizers = ["nadamw", "prodigy"]
points = 1
seeds = 2
[[workloads]]
name = "digits-mlp"
max_steps = 60
evaluate_every = 10
batch_size = 32
[[workloads]]
name = "digits-recurrent"
max_steps = 60
evaluate_every = 10
batch_size = 32
"""


def test_bad_files_are_refused_with_line_and_field(bpfree, tmp_path):
    path = tmp_path / "bad.toml"
    for old, new, message in (
        ("evaluate_every = 10", "evaluate_every = 7", "evaluate_every = 7 does not divide max_steps = 60"),
        ('"nadamw", "prodigy"', '"prodigy"', "baseline: nadamw is not among the optimizers"),
        ('"nadamw", "prodigy"', '"nadamw", "prodigi"', "did you mean prodigy"),
        ("points = 1", "points = 0", "points"),
        ("max_steps = 60", "max_steps = 70", "no target for digits-mlp, 70 steps"),
    ):
        path.write_text(FILE.replace(old, new))
        done = bpfree("calibrate", str(path), "--results", str(tmp_path / "results"))
        assert done.returncode == 2, done.stderr
        assert message in done.stderr.replace("\n", " ")
        assert "Traceback" not in done.stderr
    assert not (tmp_path / "results").exists()


@pytest.mark.usefixtures("easy")
def test_an_outcome_round_trips(tmp_path):
    planned = calibrating.plan(small(), "cpu")
    outcome = calibrating.chosen(planned, ResultsFolder(tmp_path))
    assert Outcome.model_validate(json.loads(outcome.model_dump_json())) == outcome
    assert all(method.selected == NAIVE for method in outcome.methods), "nothing has run: the defaults"
