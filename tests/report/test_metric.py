"""A metric of which less is better: the same study told by its errors says the same of its methods."""

import pytest
from test_comparison import ALGORITHMS, on_another_machine
from test_page import Page
from test_summary import changed

from bpfree.report import (
    build_comparison,
    build_report,
    coordinates,
    energy_to_accuracy,
    front,
    html,
    tables,
    tuning_figures,
)
from bpfree.report.answer import sentences
from bpfree.report.curves import limit
from bpfree.report.metric import ACCURACY, Metric, metric_of
from bpfree.report.summary import summarise
from bpfree.report.trials import tunings
from bpfree.results import ResultsFolder

ERROR = Metric("squared_error", higher_is_better=False)


@pytest.fixture(scope="module")
def both(make_study, tmp_path_factory):
    """A study by its accuracies, and by its errors."""
    place = tmp_path_factory.mktemp("metric")
    return make_study(place / "accuracy"), make_study(place / "error", error="squared_error")


@pytest.fixture
def workloads(both):
    return [summarise(path).workloads[0] for path in both]


def test_records_name_it(both):
    accuracy, error = (list(ResultsFolder(path).records()) for path in both)
    assert metric_of(accuracy) == ACCURACY
    assert metric_of(error) == ERROR
    for record in accuracy:
        record.metrics.metric = None
    assert metric_of(accuracy) == ACCURACY, "older records name none"


def test_means_and_differences_mirror_each_other(workloads):
    for a, e in zip(*(w.methods for w in workloads), strict=True):
        assert e.test_metric.estimate == pytest.approx(1 - a.test_metric.estimate)
        assert (e.accuracy, e.accuracy_difference) == (None, None)
        if a.metric_difference:
            assert e.metric_difference.estimate == pytest.approx(-a.metric_difference.estimate)
            assert e.metric_difference.confidence == a.metric_difference.confidence
            assert {e.metric_difference.verdict, a.metric_difference.verdict} in (
                {"higher", "lower"},
                {"no difference shown"},
            )


def test_the_margin_of_an_error_is_a_share_of_the_baselines(workloads):
    for m in workloads[1].methods:
        found = m.equivalence(0.5)
        if m.reference:
            assert found.margin == pytest.approx(0.5 * m.reference.test_metric.estimate)
        else:
            assert found is None
    assert workloads[0].methods[1].equivalence(0.5).margin == 0.5


def test_the_answer_says_which_is_lower(both):
    text = " ".join(sentences(summarise(both[1])))
    assert "the lowest mean test squared error is Backprop’s, 0.0" in text
    assert "Forward-Forward is higher in squared error than Backprop (+0.0" in text
    assert "accura" not in text
    assert "points" not in text
    close = html.comparison_rows(summarise(both[1]).workloads[0].methods[3], 0.5)
    assert [row["what"] for row in close] == ["test squared error", "energy ratio"]


def test_the_same_methods_are_on_the_front(workloads):
    rows = [[front.mean_row(m) for m in w.methods] for w in workloads]
    fronts = [front.front(r, w.metric) for r, w in zip(rows, workloads, strict=True)]
    assert [row["method"] for row in fronts[0]] == [row["method"] for row in fronts[1]]
    values = [row["value"] for row in fronts[1]]
    assert values == sorted(values, reverse=True)


def test_climbs_go_down(workloads):
    for a, e in zip(*(w.methods for w in workloads), strict=True):
        steps = [[[v.epoch for v in climb] for _, climb in m.climbs] for m in (a, e)]
        assert steps[0] == steps[1]


def test_levels_are_round_and_reached(workloads):
    """Against the histories themselves."""
    workload = workloads[1]
    found = energy_to_accuracy.levels(workload)
    assert len(found) == 3
    assert found == sorted(found, reverse=True), "from the easiest to the hardest"
    for level in found:
        for m in workload.methods:
            arrivals = {
                r.spec.seed: next((e.joules for e in r.history if e.validation_metric <= level), None)
                for r in m.completed
            }
            known = {} if None in arrivals.values() else arrivals
            assert energy_to_accuracy.every(m, level) == known
    assert energy_to_accuracy.text(found[0], ERROR) == f"{found[0]:.6g}"
    rungs, distance = energy_to_accuracy.ladder(workload)
    assert rungs[0] - rungs[1] == pytest.approx(4 * distance)
    begin = energy_to_accuracy.curve(workload.methods[0], rungs[-5], distance)
    assert [level for _, level in begin] == sorted((level for _, level in begin), reverse=True)


@pytest.mark.parametrize(("value", "expected"), [(0.034, 0.02), (1, 1), (7.3, 5), (0.0019, 0.001), (99, 50)])
def test_steps_are_round(value, expected):
    assert energy_to_accuracy.round_below(value) == pytest.approx(expected)


def test_curves_end_beyond_all_but_the_worst(workloads):
    values = [i / 100 for i in range(100)]
    high = limit(values, ERROR)["domainMax"]
    assert sum(v > high for v in values) <= 5
    assert high < 1
    gain = limit(values, Metric("gain", higher_is_better=True))["domainMin"]
    assert sum(v < gain for v in values) <= 5


def test_the_best_trial_is_the_lowest(both):
    summary = summarise(both[1])
    workload = summary.workloads[0]
    each = tunings(workload, summary.trials)[0]
    for trial, value in zip(each.trials, (0.5, 0.2), strict=True):
        object.__setattr__(trial, "value", value)
    assert [row["value"] for row in tuning_figures.best_so_far(each, 2)] == [0.5, 0.2, 0.2]
    assert [tuning_figures.kind_of(each, trial, -0.3) for trial in each.trials] == ["beyond", "completed"]
    assert "at the head lie above the axis" in tuning_figures.marked([each], -0.3)
    assert [trial.value for trial in coordinates.best_of(each.trials, -1)] == [0.5, 0.2]


def test_page_and_table_speak_of_it_alone(both, tmp_path):
    text = build_report(both[1], tmp_path / "report").read_text()
    for heading in ("test squared error", "What each level of squared error took", "best validation</th>"):
        assert heading in text
    assert "test accuracy" not in text
    drawn = {path.stem: path.read_text() for path in (tmp_path / "report" / "figures").iterdir()}
    assert {"digits-mlp-squared-error-energy", "digits-mlp-energy-to-squared-error"} <= drawn.keys()
    assert not any(word in svg for svg in drawn.values() for word in ("NaN", "Infinity", "undefined", "accuracy"))
    table = tables.markdown(ResultsFolder(both[1]))
    assert "| method, runs | test squared error | difference |" in table


def test_studies_are_compared_by_it(both, make_study, tmp_path):
    again = on_another_machine(make_study(tmp_path / "again", error="squared_error"))
    text = Page(build_comparison([both[1], again], tmp_path / "report").read_text()).text
    assert (
        "A difference in test squared error to the baseline: holds in both for Forward-Forward (higher: A +0.0" in text
    )
    assert "test squared error shows no difference" in text
    assert "points" not in text
    assert (tmp_path / "report" / "figures" / "digits-mlp-squared-error-by-study.svg").is_file()


def unnamed(record):
    """As a version wrote it that named no metric."""
    record["metrics"] |= {"metric": None, "higher_is_better": None}


def test_an_older_study_of_errors_is_never_told_as_accuracy(both, make_study, tmp_path):
    older = on_another_machine(make_study(tmp_path / "older", error="squared_error"))
    for algorithm in ALGORITHMS:
        changed(older, "final", algorithm, unnamed)
    for order in ([older, both[1]], [both[1], older]):
        text = Page(build_comparison(order, tmp_path / "report").read_text()).text
        assert "test squared error" in text
        assert "test accuracy" not in text
        assert "in points" not in text


def test_a_study_that_was_resumed_by_a_later_version_keeps_its_seeds(make_study, tmp_path):
    path = make_study(tmp_path / "resumed", error="squared_error")
    changed(path, "final", "backprop", lambda r: unnamed(r) if r["spec"]["seed"] < 2 else None)
    workload = summarise(path).workloads[0]
    assert {m.test_metric.n for m in workload.methods} == {5}
    assert {m.metric_difference.n for m in workload.methods if m.reference} == {5}


@pytest.mark.parametrize("value", [0.25, 1e6])
def test_values_that_barely_differ_have_no_levels(make_study, tmp_path, value):
    workload = summarise(make_study(tmp_path / "flat", error="squared_error")).workloads[0]
    for m in workload.methods:
        for i, e in enumerate(e for record in m.records for e in record.history):
            e.validation_metric = value * (1 + 1e-12 * (i % 7))
    assert energy_to_accuracy.levels(workload) == []
    assert energy_to_accuracy.energy_to_accuracy(workload) is None
