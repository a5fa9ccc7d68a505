"""Statistics: seeds are the unit of replication, intervals stand beside every figure.

Comparisons are between a method and the baseline, paired on the same seeds; where runs were made elsewhere with other
seeds, unpaired (Welch 1947). Differences are of accuracies; ratios are of costs, on logarithms, so that their means
are geometric. Within a study's family (every method against the baseline, in metric and in energy) intervals are at
the level that Holm's step-down procedure gives each (Holm 1979).
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import lru_cache
from itertools import product
from statistics import fmean
from typing import Literal

import numpy as np
from numpy.typing import NDArray
from scipy.special import stdtr, stdtrit  # of scipy.stats, which takes a second to import, Student's t alone is needed

Values = Mapping[int, float]
"""A figure for each seed."""
Kind = Literal["difference", "ratio"]

SIGN_FLIP_SEEDS = 8
"""Below this many seeds a sign-flip test cannot be trusted to say anything, and no p-value is shown."""


@dataclass(frozen=True)
class Interval:
    """An estimate with its interval; no interval (None) where fewer than two values stand behind it."""

    estimate: float
    low: float | None
    high: float | None
    confidence: float
    n: int


@dataclass(frozen=True)
class Comparison:
    """A method against the baseline, on the seeds that both have if it is paired.

    For a ratio `estimate`, `low` and `high` are ratios of geometric means; `p` is of the t-test, paired or Welch's,
    on logarithms for a ratio, and serves Holm's ordering alone.
    """

    kind: Kind
    estimate: float
    low: float | None
    high: float | None
    confidence: float
    p: float | None
    n: int
    """Pairs; the method's seeds if it is unpaired."""
    sign_flip_p: float | None = None
    """Exact; only from eight pairs on, and never below `sign_flip_floor`."""
    n_baseline: int | None = None
    """The baseline's seeds if it is unpaired; None: paired."""
    freedom: float | None = None
    """Degrees of freedom of the t-interval; None where there is none."""

    @property
    def neutral(self) -> float:
        """The value of no effect."""
        return 0.0 if self.kind == "difference" else 1.0

    @property
    def verdict(self) -> Literal["lower", "higher", "no difference shown"]:
        """What the interval shows."""
        if self.low is not None and self.low > self.neutral:
            return "higher"
        if self.high is not None and self.high < self.neutral:
            return "lower"
        return "no difference shown"

    @property
    def sign_flip_floor(self) -> float:
        """The smallest p that this number of seeds can reach."""
        return 2.0 / 2.0**self.n


def by_seed(pairs: Sequence[tuple[int, float]]) -> dict[int, float]:
    """One value a seed: repeats of a seed are no replication, so they are averaged first."""
    found: dict[int, list[float]] = {}
    for seed, value in pairs:
        found.setdefault(seed, []).append(value)
    return {seed: fmean(found[seed]) for seed in sorted(found)}


def mean_interval(values: Sequence[float], confidence: float = 0.95) -> Interval:
    """Mean with its t-interval."""
    x = np.asarray(values, dtype=float)
    low, high = t_interval(x, confidence)
    return Interval(float(x.mean()), low, high, confidence, len(x))


def t_interval(x: NDArray[np.float64], confidence: float) -> tuple[float | None, float | None]:
    """Student's interval of the mean of x; None where it does not exist."""
    if len(x) < 2:
        return None, None
    half = stdtrit(len(x) - 1, (1 + confidence) / 2) * x.std(ddof=1) / np.sqrt(len(x))
    return float(x.mean() - half), float(x.mean() + half)


def paired(method: Values, baseline: Values) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """The values of the seeds that both have, in the order of seeds."""
    seeds = sorted(method.keys() & baseline.keys())
    return np.array([method[s] for s in seeds], dtype=float), np.array([baseline[s] for s in seeds], dtype=float)


def difference(method: Values, baseline: Values, confidence: float = 0.95) -> Comparison | None:
    """Paired difference, method − baseline; None where no seed is shared."""
    a, b = paired(method, baseline)
    return compare(a - b, "difference", confidence) if len(a) else None


def ratio(method: Values, baseline: Values, confidence: float = 0.95) -> Comparison | None:
    """Paired ratio, method / baseline, of geometric means; None where no seed is shared or a value is not positive."""
    a, b = paired(method, baseline)
    if not len(a) or (a <= 0).any() or (b <= 0).any():
        return None
    return compare(np.log(a) - np.log(b), "ratio", confidence)


def compare(d: NDArray[np.float64], kind: Kind, confidence: float) -> Comparison:
    """A comparison from paired differences (logarithmic ones for a ratio)."""
    low, high = t_interval(d, confidence)
    return Comparison(
        kind=kind,
        estimate=scaled(d.mean(), kind),
        low=None if low is None else scaled(low, kind),
        high=None if high is None else scaled(high, kind),
        confidence=confidence,
        p=t_test(d),
        n=len(d),
        sign_flip_p=sign_flip(d) if len(d) >= SIGN_FLIP_SEEDS else None,
        freedom=len(d) - 1 if len(d) > 1 else None,
    )


def scaled(value: float, kind: Kind) -> float:
    """A ratio from its logarithm; a difference as it is."""
    with np.errstate(over="ignore"):  # an interval may be so wide that its end is infinite
        return float(np.exp(value)) if kind == "ratio" else float(value)


def t_test(d: NDArray[np.float64]) -> float | None:
    """Two-sided p of the paired t-test; None below two values. Differences that are all equal decide by themselves."""
    if len(d) < 2:
        return None
    if np.ptp(d) <= 1e-10 * np.abs(d).max():  # equal but for rounding, where a t-statistic is noise
        return 1.0 if d[0] == 0 else 0.0
    t = d.mean() / (d.std(ddof=1) / np.sqrt(len(d)))
    return float(2 * stdtr(len(d) - 1, -abs(t)))


def welch_difference(method: Values, baseline: Values, confidence: float = 0.95) -> Comparison | None:
    """Unpaired difference of means, method − baseline; None where one of the two has no seed."""
    return unpaired(method, baseline, "difference", confidence)


def welch_ratio(method: Values, baseline: Values, confidence: float = 0.95) -> Comparison | None:
    """Unpaired ratio, method / baseline, of geometric means; None where one has no seed or a value is not positive."""
    return unpaired(method, baseline, "ratio", confidence)


def unpaired(method: Values, baseline: Values, kind: Kind, confidence: float) -> Comparison | None:
    """A comparison of two samples of variances that may differ."""
    found = contrast([(1, method), (-1, baseline)], kind, confidence)
    return found and replace(found, n=len(method), n_baseline=len(baseline))


def contrast(terms: Sequence[tuple[int, Values]], kind: Kind, confidence: float) -> Comparison | None:
    """The signed sum of the means of independent samples; None where one is empty, or of a ratio not positive.

    Welch's interval for any number of samples: se² = Σ s²ᵢ/nᵢ, with se⁴ / Σ (s²ᵢ/nᵢ)²/(nᵢ − 1) degrees of freedom
    (Satterthwaite 1946); none where a sample has one value. Samples without any spread decide by themselves. A ratio's
    samples enter as logarithms. `n` is the size of the smallest sample.
    """
    samples = [(sign, np.array([values[seed] for seed in sorted(values)], dtype=float)) for sign, values in terms]
    if any(not len(x) or (kind == "ratio" and (x <= 0).any()) for _, x in samples):
        return None
    if kind == "ratio":
        samples = [(sign, np.log(x)) for sign, x in samples]
    total, n = float(sum(sign * x.mean() for sign, x in samples)), min(len(x) for _, x in samples)
    if n < 2:
        return Comparison(kind, scaled(total, kind), None, None, confidence, None, n)
    largest = max(np.abs(x).max() for _, x in samples)
    if max(np.ptp(x) for _, x in samples) <= 1e-10 * largest:  # equal but for rounding, where a t-statistic is noise
        half, p, freedom = 0.0, float(abs(total) <= 1e-10 * largest), float(sum(len(x) - 1 for _, x in samples))
    else:
        parts = np.array([x.var(ddof=1) / len(x) for _, x in samples])
        shares, se = parts / parts.sum(), float(np.sqrt(parts.sum()))
        freedom = float(1 / sum(share**2 / (len(x) - 1) for share, (_, x) in zip(shares, samples, strict=True)))
        half, p = (
            float(stdtrit(freedom, (1 + confidence) / 2)) * se,
            float(2 * stdtr(freedom, -abs(total) / se)),
        )
    low, high = scaled(total - half, kind), scaled(total + half, kind)
    return Comparison(kind, scaled(total, kind), low, high, confidence, p, n, freedom=freedom)


def sign_flip(d: NDArray[np.float64]) -> float:
    """Exact two-sided p of the sign-flip test of zero mean: all 2ⁿ signs where n ≤ 16, else 65,536 random ones."""
    sums = np.abs(sign_patterns(len(d)) @ d)
    return float((sums >= sums[0] * (1 - 1e-12)).mean())


@lru_cache(maxsize=2)  # they are drawn once for all comparisons of a study, which have as many pairs
def sign_patterns(n: int) -> NDArray[np.float64]:
    """Signs of n differences, a pattern a row; the first leaves all as they are."""
    if n <= 16:
        return np.array(list(product((1.0, -1.0), repeat=n)))
    drawn = np.random.default_rng(0).choice((1.0, -1.0), size=(2**16 - 1, n))
    return np.vstack([np.ones(n), drawn])


@dataclass(frozen=True)
class Equivalence:
    """Two one-sided tests of a difference against a margin (Schuirmann 1987), at level α = 1 − confidence.

    Equivalence is shown exactly where the interval at 1 − 2α lies within ± margin.
    """

    margin: float
    low: float | None
    high: float | None
    """The interval at 1 − 2α."""
    p: float | None
    """The larger of the two one-sided p-values."""

    @property
    def shown(self) -> bool:
        """Whether both tests reject."""
        return self.low is not None and self.high is not None and -self.margin < self.low and self.high < self.margin


def equivalence(c: Comparison | None, margin: float) -> Equivalence | None:
    """Of a difference, at its own level; None where there is no difference.

    The standard error follows from the interval and its degrees of freedom, be it paired or Welch's.
    """
    if c is None or c.kind != "difference":
        return None
    if c.low is None or c.freedom is None:
        return Equivalence(margin, None, None, None)
    half = c.estimate - c.low
    se = half / stdtrit(c.freedom, (1 + c.confidence) / 2)
    narrow = se * stdtrit(c.freedom, c.confidence)
    room = margin - abs(c.estimate)
    p = float(stdtr(c.freedom, -room / se)) if se else float(room <= 0)
    return Equivalence(margin, float(c.estimate - narrow), float(c.estimate + narrow), p)


def holm_levels(p_values: Sequence[float | None], confidence: float = 0.95) -> list[float]:
    """The confidence level of each interval of a family under Holm's step-down procedure.

    The k-th smallest of m p-values is held to α/(m − k + 1). From the first that fails on, all keep that level, so
    that an interval excludes "no effect" exactly where Holm rejects. Missing p-values count as 1.
    """
    alpha, m = 1 - confidence, len(p_values)
    p = [1.0 if value is None else value for value in p_values]
    levels = [confidence] * m
    share, failed = alpha / max(m, 1), False
    for k, index in enumerate(sorted(range(m), key=p.__getitem__)):
        if not failed:
            share = alpha / (m - k)
            failed = p[index] > share
        levels[index] = 1 - share
    return levels
