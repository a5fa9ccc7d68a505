"""The waterfall: factors that multiply to the energy ratio, beside the ratio of FLOPs and the device's limit."""

import math

import pytest

from bpfree.report import decomposition
from bpfree.report.summary import summarise


@pytest.fixture
def workload(made):
    (found,) = summarise(made()).workloads
    return found


def test_bars_follow_one_another_and_end_at_the_energy_ratio(workload):
    for m in workload.methods[1:]:
        rows = {row["row"]: row for row in decomposition.bars(m)}
        assert list(rows) == ["steps", "time per step", "power", "energy", "FLOPs"]
        assert rows["steps"]["from"] == rows["energy"]["from"] == 1
        assert rows["time per step"]["from"] == rows["steps"]["to"]
        assert rows["power"]["from"] == rows["time per step"]["to"]
        assert rows["power"]["to"] == pytest.approx(rows["energy"]["to"], rel=1e-12)
        assert rows["energy"]["low"] < rows["energy"]["to"] < rows["energy"]["high"]
        assert rows["FLOPs"]["to"] == pytest.approx(3), "three blocks of as many epochs each, and as many FLOPs a step"


def test_the_ratio_is_of_geometric_means(workload):
    """Against the records, without the statistics' code."""
    backprop, ff, *_ = workload.methods
    logs = [
        math.log(ours.cost.train_joules / theirs.cost.train_joules)
        for ours, theirs in zip(ff.completed, backprop.completed, strict=True)
    ]
    energy = next(row for row in decomposition.bars(ff) if row["row"] == "energy")
    assert energy["to"] == pytest.approx(math.exp(sum(logs) / len(logs)))


def test_an_interval_beyond_all_bounds_is_cut(made):
    (workload,) = summarise(made(seeds=2)).workloads
    for m in workload.methods[1:]:
        for row in decomposition.bars(m):
            assert row["to"] / 10 <= row["low"] <= row["high"] <= row["to"] * 10


def test_the_table_has_the_limit_of_the_device(made):
    seeds = range(3)
    path = made(seeds=3)
    (workload,) = summarise(path).workloads
    for m in workload.methods:
        for record in m.records:
            record.cost.peak_flops_per_second = 2e11
    row = decomposition.factor_row(workload.methods[0], workload)
    assert row["limit"] == "0.500", "1e8 FLOPs a step at 2e11 a second, in ms"
    cost = [m.cost for m in workload.methods[0].records]
    step = sum(c.train_seconds / c.steps for c in cost) / len(seeds)
    assert row["step"] == f"{1000 * step:.1f}"
    assert row["distance"].startswith(f"{step / 5e-4:.0f}")
    assert row["energy"] == row["steps"] == ("–", ""), "the baseline has no ratio to itself"


def test_without_a_peak_there_is_no_limit(workload):
    row = decomposition.factor_row(workload.methods[1], workload)
    assert (row["limit"], row["distance"]) == ("–", "–")
    assert row["power"][1] == "by assumption", "of modelled energy"


@pytest.mark.parametrize(("low", "high"), [(0.3, 4.0), (0.9, 1.2), (0.001, 50)])
def test_ticks_are_round_and_inside(low, high):
    ticks = decomposition.ticks(low, high)
    assert ticks == sorted(set(ticks))
    assert all(low <= tick <= high for tick in ticks)
    assert 1 in ticks
