"""What it took to reach a target: the first evaluation as good, censored runs counted."""

import pytest

from bpfree.report import build_report, quantities, reaching, summary
from bpfree.report.answer import sentences
from bpfree.report.summary import summarise
from bpfree.targets import Target

# In the made-up study the k-th of six epochs has accuracy − 0.2 / k; accuracies are 0.965, 0.93, 0.945, 0.964 ± 0.004.


def target(value, *, higher_is_better=True):
    return Target(value, "accuracy", higher_is_better, "s", "backprop", "adamw", 0.005, [0], [value])


REACHED_BY_MOST, OUT_OF_REACH = target(0.9), target(0.99)


@pytest.fixture
def workload(made):
    (found,) = summarise(made(seeds=3)).workloads
    return found


def test_the_first_evaluation_as_good_counts(workload):
    record = workload.methods[0].completed[0]
    values = [e.validation_metric for e in record.history]
    assert quantities.arrival(record, target(values[2])).epoch == 3
    assert quantities.arrival(record, target(values[2] + 1e-9)).epoch == 4
    assert quantities.arrival(record, OUT_OF_REACH) is None
    assert quantities.arrival(record, target(values[0], higher_is_better=False)).epoch == 1


def test_figures_are_those_at_arrival(workload):
    workload.target = REACHED_BY_MOST
    backprop, *_, mono = reaching.rows(workload, 0.95, 1.0)
    runs = workload.methods[0].completed
    joules = [next(e.joules for e in r.history if e.validation_metric >= 0.9) for r in runs]
    assert backprop["reached"] == "3 of 3"
    assert backprop["joules"][0] == f"{sum(joules) / 3:.1f}"
    assert backprop["joules_ratio"] == ("–", "")
    assert mono["joules_ratio"][0].endswith("×")


def test_a_run_that_misses_is_counted_and_forbids_a_ratio(workload):
    workload.target = target(0.93)
    _, ff, *_ = reaching.rows(workload, 0.95, 1.0)
    assert ff["reached"] == "0 of 3"
    assert ff["joules"] == ("–", "")
    assert ff["joules_ratio"] == ("–", "not all reached it")
    text = reaching.sentence(workload)
    assert "93.00 % in validation" in text
    assert "Forward-Forward in 0 of 3 runs" in text
    workload.target = OUT_OF_REACH
    assert "by every run" not in reaching.sentence(workload)


def test_no_target_no_table(workload):
    assert reaching.rows(workload, 0.95, 1.0) == []
    assert reaching.sentence(workload) is None


def test_runs_that_were_to_reach_it_and_did_not_are_not_compared(made, monkeypatch):
    """Forward-Forward never reaches 93 %; the others do."""
    monkeypatch.setitem(summary.TARGETS, "digits-mlp", target(0.93))
    path = made(seeds=3, training={"stop_at_target": True})
    (workload,) = summarise(path).workloads
    methods = {m.name: m for m in workload.methods}
    assert methods["forward_forward"].energy_ratio is methods["forward_forward"].factors.get("steps") is None
    assert methods["mono_forward"].energy_ratio is not None
    assert any("energies are not compared: not every run reached the target" in s for s in sentences(summarise(path)))


def test_the_page_shows_it(made, monkeypatch):
    monkeypatch.setitem(summary.TARGETS, "digits-mlp", REACHED_BY_MOST)
    path = made(seeds=3)
    page = build_report(path, path.parent / "report").read_text()
    assert "What it took to reach the target" in page
    assert "The target on digits-mlp, 90.00 % in validation, is reached by every run of" in page
