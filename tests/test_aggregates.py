"""Figures over workloads against scipy, counts by hand, and what must not matter."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats

from bpfree.aggregates import bootstrapped, interquartile_mean, paired_rows, profile, share_above

ROWS = [np.array([1.0, 2.0, 3.0, 4.0]), np.array([10.0, 0.0, -1.0, 2.0])]
tables = st.lists(st.lists(st.floats(-100, 100), min_size=2, max_size=6).map(np.array), min_size=1, max_size=4)


def test_the_interquartile_mean_is_that_of_the_middle_half():
    """Of −1, 0, 1, 2, 2, 3, 4, 10 the middle four are 1, 2, 2, 3."""
    assert interquartile_mean(ROWS) == pytest.approx(2.0)
    assert interquartile_mean([np.array([row, row[::-1]]) for row in ROWS]) == pytest.approx([2.0, 2.0])


@given(tables)
def test_the_interquartile_mean_is_scipys(table):
    expected = stats.trim_mean(np.concatenate(table), 0.25)
    assert interquartile_mean(table) == pytest.approx(expected, abs=1e-9)


def test_the_share_above_counts_ties_by_half_and_workloads_alike():
    """Against 2: 2.5 of 4, and 1.5 of 4."""
    assert share_above(ROWS, 2.0) == pytest.approx((2.5 / 4 + 1.5 / 4) / 2)
    assert share_above([np.array([1.0]), np.array([-1.0] * 9)], 0.0) == pytest.approx(0.5)


def test_a_profile_falls_from_all_to_none():
    assert profile(ROWS, [-1.0, 2.0, 4.0, 11.0]) == pytest.approx([1.0, 0.625, 0.25, 0.0])


@given(tables, st.randoms())
def test_the_order_of_seeds_and_workloads_does_not_matter(table, random):
    mixed = [np.array(random.sample(list(row), len(row))) for row in table]
    random.shuffle(mixed)
    for figure in (interquartile_mean, lambda rows: share_above(rows, 0.0)):
        assert figure(mixed) == pytest.approx(figure(table), abs=1e-9)


def test_the_bootstrap_is_scipys_for_one_workload():
    x = np.random.default_rng(5).normal(size=30)
    ours = bootstrapped([x], lambda rows: np.mean(rows[0], -1), 0.9)
    theirs = stats.bootstrap((x,), np.mean, confidence_level=0.9, n_resamples=9999, method="percentile", rng=1)
    assert (ours.low, ours.high) == pytest.approx(tuple(theirs.confidence_interval), abs=0.05)


def test_one_seed_gives_no_interval():
    found = bootstrapped([np.array([1.0]), np.array([2.0, 3.0])], interquartile_mean)
    assert (found.low, found.high, found.n) == (None, None, 3)


def test_pairs_are_of_the_seeds_that_both_have():
    found = paired_rows({"a": ({0: 1.0, 1: 2.0}, {1: 5.0, 2: 6.0}), "b": ({0: 1.0}, {1: 1.0})})
    assert list(found) == ["a"]
    assert [row.tolist() for row in found["a"]] == [[2.0], [5.0]]
