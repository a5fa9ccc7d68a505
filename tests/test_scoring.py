"""Scores against golden values: worked by hand, and AlgoPerf's published ones of its first competition."""

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bpfree import scoring

INF = math.inf
HAND = {"A": [100, 200, INF, 50], "B": [150, 100, 300, 250], "C": [400, 150, 900, 60]}
PUBLISHED = {  # ratios of AlgoPerf v0.5 over its eight workloads; exact score; published score
    "schedule-free adamw": ([1, 1, INF, 1, 1.0229, 1.3595, 1, 1.1243], 0.8539, 0.8542),
    "nadamw": ([1.0053, 1.4956, INF, 1.4124, 1, 1, 1.4053, 1], 0.8201, 0.8194),
    "nadamw sequential": ([INF, 1.8019, INF, 2.3359, INF, 2.2386, 1.6866, INF], 0.3307, 0.3308),
    "sinv6_75": ([INF, 3.0206, INF, INF, INF, 3.3975, INF, 2.1669], 0.1423, 0.1420),
    "sinv6": ([INF, 3.2613, INF, INF, INF, 3.7969, INF, 2.7705], 0.0905, 0.0903),
    "adamg": ([INF] * 8, 0.0, 0.0),
    "shampoo": ([1, 1.1804, INF, 1, 1.0959, 1.0910, 1.5343, 2.4141], 0.7785, 0.7784),
    "schedule-free, external": ([1.0240, 1.0383, INF, 1.3297, 1.2963, 1.3630, INF, 1.0], 0.7062, 0.7077),
    "nadamw, external": ([1.4295, 1.8140, INF, 2.1211, 1.2651, 1.1351, INF, 2.5723], 0.5693, 0.5707),
}
SECONDS = {
    "schedule-free adamw": [5763.72, 1321.42, INF, 52380.77, 58997.15, 49010.28, 5993.65, 45376.38],
    "nadamw": [5794.33, 1976.39, INF, 73981.26, 57674.48, 36051.12, 8422.82, 40361.46],
}


def test_the_hand_worked_scores():
    r = scoring.ratios(HAND)
    assert r == {"A": [1, 2, INF, 1], "B": [1.5, 1, 1, 5], "C": [4, 1.5, 3, 1.2]}
    assert [round(scoring.score(r[m]), 6) for m in "ABC"] == [0.666667, 0.708333, 0.525]
    assert [round(scoring.trapezoid_score(r[m]), 6) for m in "ABC"] == [0.667929, 0.708333, 0.527778]
    assert scoring.profile(r["C"], [1.2, 2, 3, 4]) == [0.25, 0.5, 0.75, 1.0]


@pytest.mark.parametrize("name", PUBLISHED)
def test_the_published_scores(name):
    r, exact, published = PUBLISHED[name]
    assert round(scoring.score(r), 4) == exact
    assert round(scoring.trapezoid_score(r), 4) == published


def test_published_ratios_come_of_published_seconds():
    r = scoring.ratios(SECONDS)
    for name in SECONDS:
        assert r[name] == pytest.approx(PUBLISHED[name][0], abs=6e-5)


def test_misses():
    assert scoring.score(scoring.ratios({"A": [1, INF], "B": [2, INF]})["A"]) == 0.5, "nobody's workload counts"
    assert scoring.score(scoring.ratios({"A": [5, INF, 7, math.nan]})["A"]) == 0.5, "alone: the share that is reached"
    assert scoring.median([10, INF, 30]) == 30
    assert scoring.median([10, INF, INF]) == INF
    assert scoring.median([10, 20, math.nan, INF]) == INF
    assert scoring.median([10, 20]) == 15


def test_the_geometric_mean_is_over_what_both_reached():
    assert scoring.geometric_mean_ratio([2, INF, 8], [1, 5, 2]) == pytest.approx(8**0.5)
    assert scoring.geometric_mean_ratio([INF], [1]) is None


times = st.lists(st.one_of(st.floats(1, 1e6), st.just(INF)), min_size=4, max_size=4)


@given(st.lists(times, min_size=1, max_size=5), st.floats(0.01, 100))
def test_scores_lie_in_0_to_1_and_have_no_unit(rows, factor):
    table = {str(i): row for i, row in enumerate(rows)}
    scaled = {name: [t * factor for t in row] for name, row in table.items()}
    for name, r in scoring.ratios(table).items():
        assert 0 <= scoring.score(r) <= 1
        assert scoring.score(scoring.ratios(scaled)[name]) == pytest.approx(scoring.score(r))
        assert abs(scoring.score(r) - scoring.trapezoid_score(r)) <= 0.0052
