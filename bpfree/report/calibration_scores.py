"""Scores of a set of entrants over a suite, with intervals by bootstrap over the seeds.

The seeds of a workload are drawn anew, with replacement, and all entrants get the same draw: the seed decides the
network's first weights and the order of the data, so that differences are paired by it. An interval is of percentiles
of what the draws give. It tells what other seeds would show; of other workloads it tells nothing.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from bpfree import scoring
from bpfree.outcomes import CALIBRATED, NAIVE
from bpfree.report.calibration_runs import KINDS, Calibration, Runs
from bpfree.statistics import Interval

Measure = Literal["steps", "seconds", "joules"]
RESAMPLES = 1000
RANDOM_SEED = 0

Array = NDArray[np.float64]


@dataclass(frozen=True)
class Scores:
    """The scores of a set of entrants: they depend on the set, so that two sets cannot be compared."""

    samples: Array
    """Times, of entrants × workloads × seeds; ∞ for a miss."""
    names: list[str]
    confidence: float

    @property
    def seeds(self) -> int:
        """How many runs stand behind each time."""
        return int(self.samples.shape[2])

    @cached_property
    def times(self) -> Array:
        """Of entrants × workloads: medians over the seeds."""
        return medians(self.samples)

    @cached_property
    def ratios(self) -> dict[str, list[float]]:
        """For each entrant its times over the fastest of the set."""
        return scoring.ratios(dict(zip(self.names, self.times.tolist(), strict=True)))

    @cached_property
    def estimates(self) -> dict[str, float]:
        """For each entrant its score."""
        return {name: scoring.score(r) for name, r in self.ratios.items()}

    @cached_property
    def draws(self) -> Array:
        """Times of draws × entrants × workloads."""
        _, workloads, seeds = self.samples.shape
        picked = np.random.default_rng(RANDOM_SEED).integers(seeds, size=(RESAMPLES, workloads, seeds))
        return medians(self.samples[:, np.arange(workloads)[:, None], picked]).transpose(1, 0, 2)

    @cached_property
    def drawn(self) -> dict[str, Array] | None:
        """For each entrant its score of every draw; None from one seed."""
        if self.seeds < 2:
            return None
        rows = []
        for times in self.draws:
            ratios = scoring.ratios(dict(zip(self.names, times.tolist(), strict=True)))
            rows.append([scoring.score(r) for r in ratios.values()])
        return dict(zip(self.names, np.array(rows).T, strict=True))

    def interval(self, estimate: float, drawn: Array | None) -> Interval:
        """An estimate with the percentiles of what the draws give."""
        low, high = (None, None) if drawn is None else percentiles(drawn, self.confidence)
        return Interval(estimate, low, high, self.confidence, self.seeds)

    def of(self, name: str) -> Interval:
        """An entrant's score."""
        d = self.drawn
        return self.interval(self.estimates[name], None if d is None else d[name])

    def difference(self, name: str, other: str) -> Interval:
        """An entrant's score less another's, paired by seed."""
        d = self.drawn
        estimate = self.estimates[name] - self.estimates[other]
        return self.interval(estimate, None if d is None else np.round(d[name] - d[other], 12))  # sums' order is noise

    def hits(self, name: str) -> int:
        """How many targets an entrant reached, at the median over seeds."""
        return int(np.isfinite(self.times[self.names.index(name)]).sum())

    def relative(self, name: str, other: str) -> tuple[Interval | None, int]:
        """Geometric mean of an entrant's times over another's, on the workloads that both reached; how many these are.

        It has no interval where a draw leaves one of these workloads out.
        """
        i, j = self.names.index(name), self.names.index(other)
        both = np.isfinite(self.times[i]) & np.isfinite(self.times[j])
        mean = scoring.geometric_mean_ratio(self.times[i], self.times[j])
        if mean is None:
            return None, 0
        ours, theirs = self.draws[:, i, both], self.draws[:, j, both]
        whole = self.seeds > 1 and bool(np.isfinite(ours).all() and np.isfinite(theirs).all())
        drawn = np.exp(np.log(ours / theirs).mean(axis=1)) if whole else None
        return self.interval(mean, drawn), int(both.sum())


def scores(runs: Runs, measure: Measure, confidence: float) -> Scores:
    """The scores of a set of entrants."""
    values = [[[getattr(run, measure) for run in row] for row in entry.values()] for entry in runs.values()]
    return Scores(np.array(values, dtype=float), list(runs), confidence)


def medians(samples: Array) -> Array:
    """Medians along the last axis: half of an even number missed is a miss."""
    n = samples.shape[-1]
    ordered: Array = np.sort(samples, axis=-1)
    middle: Array = (ordered[..., (n - 1) // 2] + ordered[..., n // 2]) / 2
    return middle


def percentiles(values: Array, confidence: float) -> tuple[float, float]:
    """The ends of the middle share of some values."""
    low, high = np.quantile(values, [(1 - confidence) / 2, (1 + confidence) / 2])
    return float(low), float(high)


def verdict(difference: Interval) -> str:
    """What the interval of a difference shows."""
    if difference.low is None or difference.high is None:
        return "one seed"
    return "ahead" if difference.low > 0 else "behind" if difference.high < 0 else "level"


def change(before: Runs, after: Runs, confidence: float) -> dict[str, Interval]:
    """What every method's score changes by from one setting to another, both in one set of all settings."""
    both = [scores(runs, "steps", confidence) for runs in (before, after)]
    names = [f"{when} {name}" for when, runs in (("before", before), ("after", after)) for name in runs]
    together = Scores(np.concatenate([of.samples for of in both]), names, confidence)
    return {name: together.difference(f"after {name}", f"before {name}") for name in after}


@dataclass(frozen=True)
class Board:
    """All scores of a calibration."""

    steps: dict[str, Scores]
    """Of the final runs, naive and calibrated."""
    seconds: dict[str, Scores]
    joules: dict[str, Scores]
    """Empty where joules cannot be compared."""
    table: Scores
    """Of the selected arms, by the table's runs that they were selected by."""
    left_out: Scores
    """On each workload of the arm that was chosen without it, by the table's runs."""
    gained: dict[str, Interval]
    """Of every method, calibrated less naive."""
    lost: dict[str, Interval]
    """Of every method, left out less selected."""

    @property
    def order(self) -> list[str]:
        """The methods, the best calibrated one first."""
        best = self.steps[CALIBRATED]
        return sorted(best.names, key=lambda name: (best.estimates[name], best.hits(name)), reverse=True)


def board(found: Calibration) -> Board:
    """All scores."""
    confidence = found.outcome.confidence
    finals = {kind: found.final(kind) for kind in KINDS}

    def columns(measure: Measure) -> dict[str, Scores]:
        return {kind: scores(runs, measure, confidence) for kind, runs in finals.items()}

    selected = found.table(lambda method, _: method.selected)
    unseen = found.table(lambda method, workload: method.left_out[workload])
    return Board(
        steps=columns("steps"),
        seconds=columns("seconds"),
        joules=columns("joules") if found.scored else {},
        table=scores(selected, "steps", confidence),
        left_out=scores(unseen, "steps", confidence),
        gained=change(finals[NAIVE], finals[CALIBRATED], confidence),
        lost=change(selected, unseen, confidence),
    )


def expected_best(values: Sequence[float], k: int) -> float:
    """Expectation of the best of k of these values, drawn without replacement.

    In ascending order the i-th is the best of C(i − 1, k − 1) of the C(n, k) subsets.
    """
    ordered = sorted(values)
    subsets = sum(math.comb(i, k - 1) * value for i, value in enumerate(ordered))
    return subsets / math.comb(len(ordered), k)
