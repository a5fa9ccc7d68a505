"""Statistics against scipy, worked examples and slow oracles."""

import math
from itertools import product

import numpy as np
import pytest
from hypothesis import assume, given
from hypothesis import strategies as st
from scipy import stats

from bpfree.statistics import (
    by_seed,
    contrast,
    difference,
    equivalence,
    holm_levels,
    mean_interval,
    ratio,
    sign_flip,
    welch_difference,
    welch_ratio,
)

BASE = {0: 0.95, 1: 0.96, 2: 0.955, 3: 0.94, 4: 0.965}
METHOD = {0: 0.94, 1: 0.93, 2: 0.95, 3: 0.935, 4: 0.94}

positive = st.floats(0.01, 1e6)
pairs = st.lists(st.tuples(positive, positive), min_size=2, max_size=7).map(
    lambda rows: ({i: a for i, (a, _) in enumerate(rows)}, {i: b for i, (_, b) in enumerate(rows)})
)


def brute_force_sign_flip(d):
    """The share of all sign patterns whose sum is at least as far from zero."""
    observed = abs(math.fsum(d))
    sums = [abs(math.fsum(s * x for s, x in zip(signs, d, strict=True))) for signs in product((1, -1), repeat=len(d))]
    return sum(s >= observed - 1e-12 * observed for s in sums) / len(sums)


def shifted(n, by=1.0):
    rng = np.random.default_rng(n)
    return {i: float(v) for i, v in enumerate(rng.normal(by, 1.0, n))}, dict.fromkeys(range(n), 0.0)


@pytest.mark.parametrize("confidence", [0.8, 0.95, 0.9875])
def test_the_interval_of_a_mean_is_students(confidence):
    x = [3.0, 4.5, 5.0, 2.25, 7.0, 3.5]
    found = mean_interval(x, confidence)
    low, high = stats.t.interval(confidence, len(x) - 1, loc=np.mean(x), scale=stats.sem(x))
    assert (found.low, found.high) == pytest.approx((low, high))
    assert (found.estimate, found.n, found.confidence) == (pytest.approx(np.mean(x)), 6, confidence)


@pytest.mark.parametrize("confidence", [0.9, 0.95, 0.99])
def test_a_paired_difference_is_scipys(confidence):
    found = difference(METHOD, BASE, confidence)
    expected = stats.ttest_rel(list(METHOD.values()), list(BASE.values()))
    assert (found.low, found.high) == pytest.approx(tuple(expected.confidence_interval(confidence)))
    assert found.p == pytest.approx(expected.pvalue)
    assert found.estimate == pytest.approx(np.mean(list(METHOD.values())) - np.mean(list(BASE.values())))
    assert (found.neutral, found.n) == (0.0, 5)


def test_a_ratio_is_the_exponential_of_a_difference_of_logarithms():
    log = [{seed: math.log(value) for seed, value in values.items()} for values in (METHOD, BASE)]
    found, logs = ratio(METHOD, BASE), difference(*log)
    assert (found.estimate, found.low, found.high) == pytest.approx(
        tuple(math.exp(v) for v in (logs.estimate, logs.low, logs.high))
    )
    assert found.p == pytest.approx(logs.p)
    assert found.estimate == pytest.approx(stats.gmean(list(METHOD.values())) / stats.gmean(list(BASE.values())))
    assert found.neutral == 1.0


def test_holm_worked_by_hand():
    # Sorted: .005 ≤ .05/4, .01 ≤ .05/3, then .03 > .05/2 stops; .04 keeps that level.
    levels = holm_levels([0.01, 0.04, 0.03, 0.005], 0.95)
    assert [1 - level for level in levels] == pytest.approx([0.05 / 3, 0.05 / 2, 0.05 / 2, 0.05 / 4])


@pytest.mark.parametrize(
    ("p", "shares"),
    [
        ([], []),
        ([0.2], [0.05]),
        ([0.2, 0.3], [0.025, 0.025]),
        ([0.001, 0.002], [0.025, 0.05]),
        ([None, 0.001], [0.05, 0.025]),
        ([None, None], [0.025, 0.025]),
        # .03 is over .05/2: the smaller .02 before it, though under .05, is over .05/3 and stops all.
        ([0.03, 0.02, 0.9], [0.05 / 3] * 3),
    ],
)
def test_holm_levels(p, shares):
    assert [1 - level for level in holm_levels(p)] == pytest.approx(shares)


def holm_rejects(p, alpha):
    """Holm's procedure as its paper states it."""
    rejected = set()
    for k, index in enumerate(sorted(range(len(p)), key=p.__getitem__)):
        if p[index] > alpha / (len(p) - k):
            break
        rejected.add(index)
    return rejected


any_comparison = st.sampled_from([difference, ratio, welch_difference, welch_ratio])


@given(st.lists(st.tuples(pairs, any_comparison), min_size=1, max_size=6))
def test_an_interval_excludes_no_effect_exactly_where_holm_rejects(family):
    compared = [compare(*values) for values, compare in family]
    p = [c.p for c in compared]
    edges = [0.05 / k for k in range(1, len(p) + 1)]
    assume(not any(abs(value - edge) < 1e-9 for value in p for edge in edges))
    at_holm = [compare(*values, level) for (values, compare), level in zip(family, holm_levels(p), strict=True)]
    shown = {i for i, c in enumerate(at_holm) if c.verdict != "no difference shown"}
    assert shown == holm_rejects(p, 0.05)


@given(pairs, st.randoms())
def test_the_order_of_seeds_is_irrelevant(values, random):
    def shuffled(x):
        items = list(x.items())
        random.shuffle(items)
        return dict(items)

    for compare in (difference, ratio, welch_difference, welch_ratio):
        assert compare(*map(shuffled, values)) == compare(*values)


@given(pairs, st.floats(1e-3, 1e6))
def test_a_unit_of_energy_changes_no_ratio(values, unit):
    scaled = [{seed: unit * value for seed, value in x.items()} for x in values]
    a, b = ratio(*scaled), ratio(*values)
    assert (a.estimate, a.low, a.high) == pytest.approx((b.estimate, b.low, b.high), rel=1e-9)


@given(pairs)
def test_swapping_the_two_turns_the_sign_and_the_ratio_round(values):
    a, b = values
    forth, back = difference(a, b), difference(b, a)
    assert (forth.estimate, forth.low, forth.high) == pytest.approx((-back.estimate, -back.high, -back.low))
    forth, back = ratio(a, b), ratio(b, a)
    assert (forth.estimate, forth.low) == pytest.approx((1 / back.estimate, 1 / back.high))


@pytest.mark.parametrize("compare", [difference, ratio])
def test_one_seed_shows_nothing(compare):
    found = compare({3: 5.0}, {3: 1.0})
    assert (found.low, found.high, found.p, found.n) == (None, None, None, 1)
    assert found.verdict == "no difference shown"
    assert mean_interval([2.0]).low is None


def test_only_shared_seeds_count():
    assert difference({0: 1.0, 1: 2.0, 7: 99.0}, {0: 0.5, 1: 1.0, 8: -99.0}) == difference(
        {0: 1.0, 1: 2.0}, {0: 0.5, 1: 1.0}
    )


@pytest.mark.parametrize("compare", [difference, ratio])
def test_no_shared_seed_no_comparison(compare):
    assert compare({0: 1.0}, {1: 1.0}) is None
    assert compare({}, {1: 1.0}) is None


@pytest.mark.parametrize("bad", [0.0, -1.0])
def test_no_ratio_of_values_that_are_not_positive(bad):
    assert ratio({0: 1.0, 1: bad}, {0: 1.0, 1: 1.0}) is None
    assert ratio({0: 1.0, 1: 1.0}, {0: bad, 1: 1.0}) is None


def test_a_repeated_seed_is_averaged():
    assert by_seed([(1, 2.0), (0, 5.0), (1, 4.0)]) == {0: 5.0, 1: 3.0}
    once = difference(by_seed([(0, 1.0), (1, 3.0)]), {0: 0.0, 1: 0.0})
    assert difference(by_seed([(0, 1.0), (1, 2.0), (1, 4.0)]), {0: 0.0, 1: 0.0}) == once
    assert list(by_seed([(9, 1.0), (2, 1.0)])) == [2, 9]


def test_verdicts():
    assert difference(METHOD, BASE).verdict == "lower"
    assert difference(BASE, METHOD).verdict == "higher"
    assert difference(BASE, BASE).verdict == "no difference shown"
    assert ratio(METHOD, BASE).verdict == "lower"
    assert ratio(BASE, METHOD).verdict == "higher"


@pytest.mark.parametrize("compare", [difference, ratio])
def test_differences_that_are_equal_but_for_rounding(compare):
    """Exact repetition is common: the same epochs for every seed, the same number of right answers."""
    base = {i: 0.1 * (i + 1) for i in range(5)}
    method = {i: v + 0.01 for i, v in base.items()} if compare is difference else {i: v * 3 for i, v in base.items()}
    found = compare(method, base)
    assert found.p == 0
    assert found.verdict == "higher"
    same = compare(base, dict(base))
    assert (same.p, same.verdict) == (1.0, "no difference shown")


@pytest.mark.parametrize("n", [2, 5, 7])
def test_no_sign_flip_below_eight_seeds(n):
    assert difference(*shifted(n)).sign_flip_p is None


@pytest.mark.parametrize("n", [8, 9, 11])
@pytest.mark.parametrize("by", [0.0, 0.7, 9.0])
def test_sign_flip_is_the_brute_force_one(n, by):
    method, base = shifted(n, by)
    found = difference(method, base)
    assert found.sign_flip_p == pytest.approx(brute_force_sign_flip(list(method.values())), abs=1e-12)
    assert found.sign_flip_p >= found.sign_flip_floor == 2 / 2**n
    if by == 9.0:
        assert found.sign_flip_p == found.sign_flip_floor


@given(st.lists(st.integers(-5, 5), min_size=1, max_size=8))
def test_sign_flip_with_ties(d):
    assert sign_flip(np.array(d, dtype=float)) == pytest.approx(brute_force_sign_flip(d))


@pytest.mark.parametrize("n", [16, 17, 24])
def test_sign_flip_of_many_seeds_is_never_under_its_floor(n):
    found = difference(*shifted(n, 9.0))
    assert 1 / 2**16 <= found.sign_flip_p <= 2 / 2**15
    assert found.sign_flip_p >= found.sign_flip_floor


def test_an_interval_may_have_no_end():
    wide = ratio({0: 1.0, 1: 842643.0}, {0: 5305.0, 1: 1.0}, 0.99999)
    assert wide.high == float("inf")
    assert wide.verdict == "no difference shown"


unpaired = st.tuples(*2 * [st.lists(positive, min_size=2, max_size=7).map(lambda x: dict(enumerate(x)))])


@given(unpaired, st.sampled_from([0.8, 0.95, 0.9975]))
def test_an_unpaired_difference_is_scipys(values, confidence):
    method, baseline = values
    a, b = list(method.values()), list(baseline.values())
    scale = max(*a, *b)
    assume(min(np.ptp(a), np.ptp(b)) > 1e-6 * scale)  # scipy warns of samples without spread
    found, expected = welch_difference(method, baseline, confidence), stats.ttest_ind(a, b, equal_var=False)
    low, high = expected.confidence_interval(confidence)
    assert (found.low, found.high) == pytest.approx((low, high), rel=1e-9, abs=1e-9 * scale)
    assert found.p == pytest.approx(expected.pvalue)
    assert found.estimate == pytest.approx(np.mean(a) - np.mean(b), abs=1e-9 * scale)
    assert (found.n, found.n_baseline, found.sign_flip_p) == (len(a), len(b), None)


def test_welch_worked_by_hand():
    # s² = 1 and 16, n = 3 and 2: se² = 1/3 + 8 = 25/3; freedom = (25/3)² / ((1/3)²/2 + 8²/1).
    found = welch_difference({0: 1.0, 1: 2.0, 2: 3.0}, {0: 10.0, 1: 10.0 + math.sqrt(32)})
    freedom = (25 / 3) ** 2 / ((1 / 3) ** 2 / 2 + 64)
    half = stats.t.ppf(0.975, freedom) * math.sqrt(25 / 3)
    assert found.estimate == pytest.approx(2 - 10 - math.sqrt(8))
    assert (found.low, found.high) == pytest.approx((found.estimate - half, found.estimate + half))
    assert (found.neutral, found.verdict) == (0.0, "no difference shown")


@given(unpaired)
def test_an_unpaired_ratio_is_the_exponential_of_a_difference_of_logarithms(values):
    found = welch_ratio(*values)
    logs = welch_difference(*[{seed: math.log(value) for seed, value in x.items()} for x in values])
    with np.errstate(over="ignore"):
        expected = np.exp([logs.estimate, logs.low, logs.high])
    assert (found.estimate, found.low, found.high) == pytest.approx(tuple(expected))
    assert (found.p, found.neutral) == (pytest.approx(logs.p), 1.0)


def test_unpaired_seeds_need_not_be_shared():
    """The names of seeds say nothing where the two were not drawn together."""
    method, base = {42: 1.0, 43: 2.0}, {7: 5.0, 8: 9.0, 9: 6.0}
    assert welch_difference(method, base) == welch_difference(dict(enumerate([1.0, 2.0])), base)


@pytest.mark.parametrize("compare", [welch_difference, welch_ratio])
@pytest.mark.parametrize(("n", "m"), [(1, 3), (3, 1), (1, 1)])
def test_a_side_with_one_seed_shows_nothing(compare, n, m):
    found = compare({i: 2.0 + i for i in range(n)}, {i: 8.0 + i for i in range(m)})
    assert (found.low, found.high, found.p, found.n, found.n_baseline) == (None, None, None, n, m)
    assert found.verdict == "no difference shown"
    assert found.estimate != found.neutral


def test_no_unpaired_comparison_without_values():
    assert welch_difference({}, {0: 1.0}) is None
    assert welch_ratio({0: 1.0}, {}) is None
    assert welch_ratio({0: 1.0, 1: 0.0}, {0: 1.0, 1: 1.0}) is None


@pytest.mark.parametrize("compare", [welch_difference, welch_ratio])
def test_two_samples_without_spread_decide_by_themselves(compare):
    """The same epochs for every seed: no warning and no division by zero, also where one side alone varies."""
    twelve, seven = {0: 12.0, 1: 12.0 + 1e-14}, {0: 7.0, 1: 7.0, 2: 7.0}
    found = compare(twelve, seven)
    assert (found.low, found.high) == pytest.approx((found.estimate, found.estimate))
    assert (found.p, found.verdict) == (0.0, "higher")
    same = compare(seven, dict(seven))
    assert (same.p, same.verdict) == (1.0, "no difference shown")
    varied = compare({0: 12.0, 1: 13.0}, seven)
    assert varied.low < varied.estimate < varied.high
    assert 0 < varied.p < 1


@pytest.mark.parametrize("margin", [0.005, 0.02, 0.03])
@pytest.mark.parametrize("confidence", [0.95, 0.99])
def test_equivalence_is_two_one_sided_tests(margin, confidence):
    d = np.array([METHOD[s] - BASE[s] for s in BASE])
    found = equivalence(difference(METHOD, BASE, confidence), margin)
    lower = stats.ttest_1samp(d, -margin, alternative="greater").pvalue
    upper = stats.ttest_1samp(d, margin, alternative="less").pvalue
    assert found.p == pytest.approx(max(lower, upper))
    assert found.shown == (found.p < 1 - confidence)
    expected = stats.ttest_1samp(d, 0).confidence_interval(2 * confidence - 1)
    assert (found.low, found.high) == pytest.approx(tuple(expected))


def test_equivalence_of_unpaired_samples_is_welchs():
    found = equivalence(welch_difference(METHOD, BASE), 0.05)
    a, b = np.array(list(METHOD.values())), np.array(list(BASE.values()))
    lower = stats.ttest_ind(a + 0.05, b, equal_var=False, alternative="greater").pvalue
    upper = stats.ttest_ind(a - 0.05, b, equal_var=False, alternative="less").pvalue
    assert found.p == pytest.approx(max(lower, upper))


def test_equivalence_needs_an_interval_and_a_difference():
    assert not equivalence(difference({0: 1.0}, {0: 1.0}), 0.1).shown
    assert equivalence(ratio(METHOD, BASE), 0.1) is None


def test_a_contrast_of_two_samples_is_welchs_and_one_sample_students():
    for kind, welch, student in (("difference", welch_difference, difference), ("ratio", welch_ratio, ratio)):
        two, expected = contrast([(1, METHOD), (-1, BASE)], kind, 0.9), welch(METHOD, BASE, 0.9)
        assert (two.estimate, two.low, two.high, two.p) == pytest.approx(
            (expected.estimate, expected.low, expected.high, expected.p)
        )
        each = {s: METHOD[s] - BASE[s] if kind == "difference" else METHOD[s] / BASE[s] for s in BASE}
        one, expected = contrast([(1, each)], kind, 0.9), student(METHOD, BASE, 0.9)
        assert (one.estimate, one.low, one.high, one.p) == pytest.approx(
            (expected.estimate, expected.low, expected.high, expected.p)
        )


def test_a_contrast_covers_the_truth_as_often_as_it_says():
    """Four samples of unlike sizes and spreads; of 2,000 intervals at 90 % one in ten misses, give or take."""
    rng = np.random.default_rng(0)
    sizes, spreads, signs = (4, 6, 5, 8), (1.0, 3.0, 0.5, 2.0), (1, -1, -1, 1)
    missed = 0
    for _ in range(2000):
        terms = [
            (sign, dict(enumerate(rng.normal(7, spread, n))))
            for sign, n, spread in zip(signs, sizes, spreads, strict=True)
        ]
        found = contrast(terms, "difference", 0.9)
        missed += not found.low < 0 < found.high
    assert missed / 2000 == pytest.approx(0.1, abs=0.025)


def test_a_contrast_without_spread_or_values():
    flat = {0: 2.0, 1: 2.0}
    found = contrast([(1, flat), (-1, {0: 1.0, 1: 1.0})], "ratio", 0.95)
    assert (found.estimate, found.low, found.high, found.p) == pytest.approx((2, 2, 2, 0))
    assert contrast([(1, flat), (-1, flat)], "difference", 0.95).p == 1
    assert contrast([(1, flat), (-1, {0: 1.0})], "difference", 0.95).low is None
    assert contrast([(1, flat), (-1, {})], "difference", 0.95) is None
    assert contrast([(1, {0: 1.0, 1: -1.0})], "ratio", 0.95) is None
