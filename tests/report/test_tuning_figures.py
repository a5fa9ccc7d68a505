"""Trials in figures: which of them stand, how they are marked, and which knobs mattered."""

import math
import random
import re
import subprocess
import sys

import pytest

from bpfree.records import KnobRange
from bpfree.report import coordinates, trials, tuning_figures
from bpfree.report.summary import summarise
from bpfree.report.trials import Trial, Tuning
from bpfree.results import ResultsFolder

RATE = KnobRange(low=1e-4, high=1e-1, log=True)
LIST = KnobRange(values=[False, True, "a_word"])


@pytest.fixture
def summary(made):
    return summarise(made())


@pytest.fixture
def workload(summary):
    return summary.workloads[0]


def tuning(method, values, endings=None, knobs=None, seed=0):
    """Of which the learning rate alone decides, if no values are given."""
    draw = random.Random(seed)
    knobs = knobs or {"learning_rate": RATE, "weight_decay": RATE}
    found = []
    for i, value in enumerate(values):
        drawn = {name: 10 ** draw.uniform(-4, -1) for name in knobs}
        by_rate = 90 - 10 * abs(math.log10(drawn["learning_rate"]) + 2.5)
        ending = (endings or {}).get(i, "completed")
        found.append(Trial(i + 1, drawn, by_rate if value == "by rate" else value, ending, chosen=i == 1))
    return Tuning(method, knobs, found)


@pytest.mark.parametrize(
    ("span", "value", "at"),
    [
        (RATE, 1e-4, 0), (RATE, 1e-3, 1 / 3), (RATE, 1e-1, 1),
        (KnobRange(low=2, high=4), 2.5, 0.25), (LIST, True, 0.5), (LIST, "a_word", 1), (KnobRange(values=[3]), 3, 0.5),
    ],
)  # fmt: skip
def test_a_value_has_its_place_on_its_axis(span, value, at):
    assert trials.position(span, value) == pytest.approx(at)


def test_the_labels_of_an_axis():
    assert trials.ticks(RATE, ".3g") == [(0, "0.0001"), (0.5, "0.00316"), (1, "0.1")]
    assert trials.ticks(KnobRange(low=80, high=90), ".1f") == [(0, "80.0"), (0.5, "85.0"), (1, "90.0")]
    assert trials.ticks(LIST, ".3g") == [(0, "False"), (0.5, "True"), (1, "a word")]


@pytest.mark.parametrize(
    ("values", "span"),
    [
        ([0.001, 0.1, 0.01], KnobRange(low=0.001, high=0.1, log=True)),
        ([0.8, 0.99], KnobRange(low=0.8, high=0.99)),
        ([0.0, 0.1], KnobRange(low=0, high=0.1)),
        ([True, False, True], KnobRange(values=[False, True])),
        (["b", None, "a"], KnobRange(values=[None, "a", "b"])),
    ],
)
def test_older_folders_say_no_ranges(values, span):
    assert trials.spanned(values) == span


def test_the_trials_that_stand(summary, workload):
    """An earlier version of the study left trials behind."""
    (first, *_) = trials.tunings(workload, summary.trials)
    assert [trial.place for trial in first.trials] == [1, 2]
    assert [trial.chosen for trial in first.trials] == [True, False]
    assert first.knobs == {"learning_rate": KnobRange(low=0.001, high=0.002)}
    folder = ResultsFolder(summary.folder)
    (old,) = [r for r in summary.trials[first.method.tuned.cell] if r.trial == 0]
    spec = old.spec.model_copy(update={"seed": 7})
    folder.write(old.model_copy(update={"id": spec.id, "spec": spec, "started": "2020-01-01T00:00:00+00:00"}))
    again, *_ = trials.tunings(workload, summarise(summary.folder).trials)
    assert again.trials == first.trials


def test_what_a_trial_came_to(workload, summary):
    (a, b) = summary.trials[workload.methods[0].tuned.cell]
    a.warnings.append("pruned after 3 epochs")
    b.status = "diverged"
    assert trials.tuning(workload.methods[0], summary.trials).completed == []
    found = trials.tuning(workload.methods[0], summary.trials).trials
    assert {(t.ending, t.value is None) for t in found} == {("pruned", False), ("diverged", True)}
    assert next(each.method.name for each in trials.tunings(workload, summary.trials)) == "forward_forward"


def test_the_line_is_the_best_so_far(workload):
    endings = {2: "pruned", 4: "diverged"}
    each = tuning(workload.methods[0], [50, 70, 99, 60, None, 80], endings)
    line = tuning_figures.best_so_far(each, 8)
    assert [(row["trial"], row["value"]) for row in line] == [(1, 50), (2, 70), (6, 80), (8, 80)]
    kinds = [tuning_figures.kind_of(each, trial, 55) for trial in each.trials]
    assert kinds == ["beyond", "completed", "pruned", "completed", "without a value", "completed"]


def test_the_caption_names_the_marks_that_occur(workload):
    plain = tuning_figures.history(workload, [tuning(workload.methods[0], [50, 70])])
    assert "pruned" not in plain.caption
    assert "foot" not in plain.caption
    endings = {2: "pruned", 3: "failed"}
    odd = tuning_figures.history(workload, [tuning(workload.methods[0], [80, 70, 75, None, 81, 82, 83, 10], endings)])
    for text in ("Hollow triangles were pruned.", "Crosses at the foot diverged", "Triangles at the foot lie below"):
        assert text in odd.caption


def test_the_knob_that_decides_is_found(workload):
    ((_, weigh),) = tuning_figures.begin_to_weigh([tuning(workload.methods[0], ["by rate"] * 40)], None)
    shares = weigh()
    assert list(shares) == ["learning_rate", "weight_decay"]
    assert shares["learning_rate"] > 0.8
    assert sum(shares.values()) == pytest.approx(1)


def test_of_many_trials_some_are_weighed(workload):
    many = tuning(workload.methods[0], ["by rate"] * 150)
    some = Tuning(many.method, many.knobs, many.trials[::3])
    begun = [tuning_figures.begin_to_weigh([each], None) for each in (many, some)]
    assert begun[0][0][1]() == begun[1][0][1]()
    (of_many,), (of_some,) = (tuning_figures.importance(workload, each) for each in begun)
    assert "of at most 60, evenly spaced" in of_many.caption
    assert "at most" not in of_some.caption
    alike = tuning(workload.methods[0], [50.0 if i != 1 else 51.0 for i in range(150)])
    assert tuning_figures.begin_to_weigh([alike], None) == [], "nothing is left to explain"
    assert tuning_figures.importance(workload, []) == []


@pytest.mark.parametrize(
    ("values", "knobs", "reason"),
    [
        (["by rate"] * 7, None, "7 completed trials, and 8 are the least"),
        (["by rate"] * 9, {"learning_rate": RATE}, "fewer than two knobs were tuned"),
        ([50.0] * 9, None, "all its trials came out alike"),
        (["by rate"] * 8, None, None),
    ],
)
def test_why_no_importance_is_given(workload, values, knobs, reason):
    each = tuning(workload.methods[0], values, knobs=knobs)
    assert tuning_figures.lacking(each) == reason
    assert bool(tuning_figures.begin_to_weigh([each], None)) == (reason is None)


def test_the_page_says_why(workload, summary):
    (text,) = tuning_figures.unexplained(trials.tunings(workload, summary.trials))
    assert text.startswith("Which knobs mattered is not shown for Backprop, Forward-Forward")
    assert text.endswith("fewer than two knobs were tuned.")


def test_a_line_goes_down_through_all_knobs(workload):
    each = tuning(workload.methods[0], [50, 80, 70, None], {2: "pruned", 3: "diverged"})
    axes = {**each.knobs, "validation": KnobRange(low=50, high=80)}
    best, pruned, diverged = (coordinates.through(trial, axes, 1) for trial in each.trials[1:])
    assert [row["axis"] for row in best] == ["learning_rate", "weight_decay", "validation"]
    assert best[-1]["at"] == 1
    assert len(pruned) == len(diverged) == 2, "they end at the last knob"
    assert coordinates.fullness(0, 5) < coordinates.fullness(3, 5) < coordinates.fullness(4, 5) == 1
    figure = coordinates.coordinates(workload, each)
    assert "Dashed" in figure.caption
    assert figure.part == "trials"
    assert not re.search("NaN|Infinity|undefined|null", figure.standalone)


def test_one_trial_is_enough_for_the_figures(workload):
    each = tuning(workload.methods[0], [50])
    for figure in (coordinates.coordinates(workload, each), tuning_figures.history(workload, [each])):
        assert not re.search("NaN|Infinity|undefined|null", figure.standalone)


def test_a_report_waits_for_no_library_that_it_does_without():
    heavy = ("torch", "scipy.stats", "sklearn", "pandas")
    code = f"import sys, bpfree.report; print([name for name in {heavy} if name in sys.modules])"
    found = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert found.stdout == "[]\n"


def test_of_many_trials_the_best_are_drawn():
    trials = [Trial(i, {}, None if i % 10 == 0 else float(i), "completed", chosen=False) for i in range(1, 101)]
    drawn = coordinates.best_of(trials, 1)
    assert len(drawn) == coordinates.LINES
    assert [trial.place for trial in drawn] == [i for i in range(45, 100) if i % 10]
