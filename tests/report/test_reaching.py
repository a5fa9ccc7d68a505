"""What it took to reach a target: the first evaluation as good, censored runs counted."""

import pytest

from bpfree.report import reaching
from bpfree.report.summary import Target, summarise

# In the made-up study the k-th of six epochs has accuracy − 0.2 / k; accuracies are 0.965, 0.93, 0.945, 0.964 ± 0.004.
REACHED_BY_MOST = Target(0.9, higher_is_better=True)
OUT_OF_REACH = Target(0.99, higher_is_better=True)


@pytest.fixture
def workload(made):
    (found,) = summarise(made(seeds=3)).workloads
    return found


def test_the_first_evaluation_as_good_counts(workload):
    record = workload.methods[0].completed[0]
    values = [e.validation_metric for e in record.history]
    assert reaching.arrival(record, Target(values[2], higher_is_better=True)).epoch == 3
    assert reaching.arrival(record, Target(values[2] + 1e-9, higher_is_better=True)).epoch == 4
    assert reaching.arrival(record, OUT_OF_REACH) is None
    assert reaching.arrival(record, Target(values[0], higher_is_better=False)).epoch == 1


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
    workload.target = Target(0.93, higher_is_better=True)
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


def test_the_page_shows_it(made):
    from bpfree.report.html import build_report

    path = made(seeds=3, targets={"digits-mlp": {"value": 0.9, "higher_is_better": True}})
    page = build_report(path, path.parent / "report").read_text()
    assert "What it took to reach the target" in page
    assert "The target on digits-mlp, 90.00 % in validation, is reached by every run of" in page
