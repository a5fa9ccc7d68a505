"""Figures over several workloads, from one value for each workload and seed (Agarwal and others, NeurIPS 2021).

Intervals are percentile bootstraps that draw seeds anew within each workload (stratified): workloads are given, not
drawn. With few seeds such intervals are too narrow rather than too wide.
"""

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from bpfree.statistics import Interval, paired

DRAWS = 2000
Row = NDArray[np.float64]
"""The values of one workload, a seed each along the last axis; further axes are draws of the bootstrap."""
Figure = Callable[[Sequence[Row]], Any]
"""A figure of a table, or one of each draw."""


def interquartile_mean(rows: Sequence[Row]) -> Any:
    """Mean of the middle half of all values: no outlier moves it far, and it uses more of them than a median does."""
    values = np.sort(np.concatenate(rows, -1), -1)
    cut = values.shape[-1] // 4
    return values[..., cut : values.shape[-1] - cut].mean(-1)


def share_above(rows: Sequence[Row], threshold: float) -> Any:
    """Share of values above a threshold, those equal to it by half; each workload counts alike.

    Of paired differences and threshold 0: the probability of improvement, of a pair on a workload drawn at random.
    """
    return np.mean([np.mean((row > threshold) + 0.5 * (row == threshold), -1) for row in rows], 0)


def profile(rows: Sequence[Row], thresholds: Sequence[float]) -> list[float]:
    """A performance profile: for each threshold the share of values that reach it, each workload alike."""
    return [float(np.mean([np.mean(row >= threshold) for row in rows])) for threshold in thresholds]


def bootstrapped(rows: Sequence[Row], figure: Figure, confidence: float = 0.95) -> Interval:
    """A figure with its interval; none where a workload has one seed only."""
    estimate, n = float(figure(rows)), sum(len(row) for row in rows)
    if min(len(row) for row in rows) < 2:
        return Interval(estimate, None, None, confidence, n)
    draw = np.random.default_rng(0)
    drawn = figure([row[draw.integers(len(row), size=(DRAWS, len(row)))] for row in rows])
    low, high = np.quantile(drawn, [(1 - confidence) / 2, (1 + confidence) / 2])
    return Interval(estimate, float(low), float(high), confidence, n)


def paired_rows(pairs: Mapping[str, tuple[Mapping[int, float], Mapping[int, float]]]) -> dict[str, tuple[Row, Row]]:
    """For each workload the values of a method and the baseline on the seeds that both have."""
    return {name: rows for name, both in pairs.items() if len((rows := paired(*both))[0])}
