"""How optimizers are scored over workloads: AlgoPerf's performance profiles (Dahl et al., arXiv 2306.07179).

    ratio     r = t / min t   t: what a method took to reach a workload's target, min over the methods of the set
    profile   ρ(τ) = share of workloads with r ≤ τ
    score     B = ∫₁^τmax ρ dτ / (τmax − 1) = mean over workloads of max(0, τmax − r) / (τmax − 1),   τmax = 4

A target that is missed took ∞. It earns nothing, and neither does one that nobody reaches; all workloads count. Scores
depend on the set: a faster method lowers all others. The published scores are a trapezoid over 100 points, which
differs by at most 0.0051; ours is the exact integral. Times are steps, seconds or joules alike.
"""

import math
from collections.abc import Mapping, Sequence

import numpy as np

TAU_MAX = 4.0
POINTS = 100

Times = Mapping[str, Sequence[float]]
"""For each method what it took on each workload, in one order; ∞ or NaN where it missed."""


def ratios(times: Times) -> dict[str, list[float]]:
    """r of every method on every workload; ∞ where it missed."""
    table = np.array([[t if t > 0 else math.inf for t in row] for row in times.values()], dtype=float)
    best = table.min(axis=0, initial=math.inf)
    with np.errstate(invalid="ignore"):
        r = np.where(np.isfinite(table), table / best, math.inf)
    return {name: [float(x) for x in row] for name, row in zip(times, r, strict=True)}


def score(r: Sequence[float], tau_max: float = TAU_MAX) -> float:
    """B of a method: the exact integral of its profile. Ratios below 1, to a reference, count as they are."""
    return sum(max(0.0, tau_max - x) for x in r if math.isfinite(x)) / (tau_max - 1) / len(r)


def profile(r: Sequence[float], taus: Sequence[float]) -> list[float]:
    """ρ at each τ."""
    return [sum(x <= tau for x in r) / len(r) for tau in taus]


def trapezoid_score(r: Sequence[float], tau_max: float = TAU_MAX) -> float:
    """AlgoPerf's own figure, for comparison with published ones."""
    taus = np.linspace(1.0, tau_max, POINTS)
    return float(np.trapezoid(profile(r, taus.tolist()), taus)) / (tau_max - 1)


def median(values: Sequence[float]) -> float:
    """The median of times with misses among them: half of an even number missed is a miss."""
    ordered = sorted(math.inf if math.isnan(v) else v for v in values)
    n = len(ordered)
    return ordered[n // 2] if n % 2 or math.isinf(ordered[n // 2]) else (ordered[n // 2 - 1] + ordered[n // 2]) / 2


def geometric_mean_ratio(times: Sequence[float], reference: Sequence[float]) -> float | None:
    """Geometric mean of t / t_ref over the workloads that both reached; None where there is none."""
    pairs = [(t, u) for t, u in zip(times, reference, strict=True) if math.isfinite(t) and math.isfinite(u)]
    return math.exp(sum(math.log(t / u) for t, u in pairs) / len(pairs)) if pairs else None
