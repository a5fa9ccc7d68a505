"""Learning curves and their means."""

import pytest

from bpfree.report import curves
from bpfree.report.summary import summarise


def test_a_mean_curve_goes_as_far_as_every_run():
    short = {1: (2.0, 10.0), 2: (4.0, 20.0)}
    long = {1: (4.0, 20.0), 2: (8.0, 30.0), 3: (9.0, 99.0)}
    for runs in ([short, long], [long, short]):
        assert curves.mean_curve(runs) == {1: (3.0, 15.0), 2: (6.0, 25.0)}
    assert curves.mean_curve([long]) == long


def test_runs_that_share_no_epoch_have_no_mean():
    assert curves.mean_curve([{1: (1.0, 1.0)}, {2: (2.0, 2.0)}]) == {}


def test_a_long_history_is_thinned_and_keeps_its_ends():
    points = [(float(i), float(i)) for i in range(1000)]
    kept = curves.thinned(points)
    assert len(kept) == curves.POINTS
    assert (kept[0], kept[-1]) == (points[0], points[-1])
    assert len(set(kept)) == len(kept)
    assert curves.thinned(points[:7]) == points[:7]


def test_a_runs_curve_is_its_history_in_per_cent(made):
    (workload,) = summarise(made(seeds=1)).workloads
    record = workload.methods[0].completed[0]
    found = curves.curve(record, lambda _, e: e.joules, 100)
    assert list(found) == [e.epoch for e in record.history]
    assert found[1] == (record.history[0].joules, pytest.approx(100 * record.history[0].validation_metric))
    assert curves.curve(record, lambda _, e: None, 100) == {}


def test_curves_by_time_are_over_the_seconds_of_the_history(made):
    (workload,) = summarise(made(seeds=1)).workloads
    record = workload.methods[0].completed[0]
    found = curves.curve(record, lambda _, e: e.seconds, 100)
    assert [x for x, _ in found.values()] == [e.seconds for e in record.history]
    assert curves.curves_by_seconds(workload).title == "Learning curves by time"


def test_of_many_seeds_few_are_drawn_and_all_are_in_the_mean(made):
    workload = summarise(made(seeds=12)).workloads[0]
    seeds, means = curves.rows_of(workload.methods, lambda _, e: e.epoch)
    assert len({row["run"] for row in seeds}) == 4 * curves.SEEDS_DRAWN
    last = [row["value"] for row in means if row["method"] == "Backprop"][-1]
    runs = next(m for m in workload.methods if m.name == "backprop").completed
    assert len(runs) == 12
    assert last == pytest.approx(100 * sum(r.history[-1].validation_metric for r in runs) / 12)
