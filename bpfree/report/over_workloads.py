"""Methods over all workloads of a study together: interquartile means, probability of improvement, profiles.

What is put together are paired differences to the baseline (log-ratios of energy), so that an easy workload weighs no
more than a hard one. A method is shown where it was run on two workloads or more, and only those enter.
"""

from collections.abc import Callable
from typing import Any

import altair as alt
import numpy as np

from bpfree.aggregates import Row, bootstrapped, interquartile_mean, paired_rows, profile, share_above
from bpfree.records import Record
from bpfree.report import form
from bpfree.report.drawing import HEIGHT, WIDTH, Figure, chart_data, render, scale
from bpfree.report.quantities import accuracy_of, joules_of
from bpfree.report.summary import Method, Summary, Workload, imported
from bpfree.statistics import Interval

PROFILE_POINTS = 81
LEAST_SPAN = 0.5
"""Points that a profile spans at least, either side."""


def methods(summary: Summary) -> dict[str, list[tuple[Workload, Method]]]:
    """By name, each method with a baseline, on each workload where both have runs; of two workloads or more."""
    found: dict[str, list[tuple[Workload, Method]]] = {}
    for workload in [] if imported(summary.records) else summary.workloads:  # the seeds of imported runs pair with none
        for m in workload.methods:
            if m.accuracy_difference:
                found.setdefault(m.name, []).append((workload, m))
    return {name: here for name, here in found.items() if len(here) > 1}


def differences(here: list[tuple[Workload, Method]], figure: Callable[[Record], float | None], log: bool) -> list[Row]:
    """Paired differences to the baseline, of logarithms if asked for; a row a workload, none where one lacks them."""
    pairs = {w.name: (m.values(figure), m.reference.values(figure)) for w, m in here if m.reference}
    paired = paired_rows(pairs)
    if len(paired) < len(here) or (log and any((v <= 0).any() for pair in paired.values() for v in pair)):
        return []
    return [np.log(a) - np.log(b) if log else a - b for a, b in paired.values()]


def rows(summary: Summary) -> list[dict[str, Any]]:
    """A line a method."""
    return [row(name, here, summary.confidence) for name, here in methods(summary).items()]


def row(name: str, here: list[tuple[Workload, Method]], confidence: float) -> dict[str, Any]:
    """A method's line. Energies are left out where they are not of one quality."""
    gaps = differences(here, accuracy_of, log=False)
    alike = {w.quality for w, m in here} in ({"measured"}, {"modelled"}) and all(m.energy_ratio for _, m in here)
    ratios = differences(here, joules_of, log=True) if alike else []
    return {
        "name": form.title(name),
        "workloads": str(len(here)),
        "pairs": str(sum(len(gap) for gap in gaps)),
        "gap": form.points(bootstrapped(gaps, interquartile_mean, confidence)),
        "more_accurate": shares(bootstrapped(gaps, above_zero, confidence)),
        "energy": form.interval(exponential(bootstrapped(ratios, interquartile_mean, confidence)))
        if ratios
        else (form.ABSENT, ""),
        "cheaper": shares(bootstrapped([-r for r in ratios], above_zero, confidence)) if ratios else (form.ABSENT, ""),
    }


def above_zero(rows: Any) -> Any:
    """Probability of improvement."""
    return share_above(rows, 0.0)


def exponential(x: Interval) -> Interval:
    """A ratio from the interval of its logarithm."""
    low, high = (None if bound is None else float(np.exp(bound)) for bound in (x.low, x.high))
    return Interval(float(np.exp(x.estimate)), low, high, x.confidence, x.n)


def shares(x: Interval) -> tuple[str, str]:
    """A probability in per cent with its interval."""
    if x.low is None or x.high is None:
        return f"{x.estimate:.0%}", form.bounds(x.low, x.high)
    return f"{x.estimate:.0%}", f"{x.low:.0%} to {x.high:.0%}"


def figure(summary: Summary) -> list[Figure]:
    """The performance profile; nothing where no method was run on two workloads."""
    found = methods(summary)
    if not found:
        return []
    gaps = {name: [100 * gap for gap in differences(here, accuracy_of, log=False)] for name, here in found.items()}
    span = max(LEAST_SPAN, *(float(np.quantile(np.abs(np.concatenate(g)), 0.9)) for g in gaps.values()))
    thresholds = list(np.linspace(-span, span, PROFILE_POINTS))
    data = [
        {"method": form.title(name), "x": x, "share": 100 * share}
        for name, of_method in gaps.items()
        for x, share in zip(thresholds, profile(of_method, thresholds), strict=True)
    ]
    shown = [here[0][1] for here in found.values()]
    chart = alt.Chart(chart_data(data)).mark_line(strokeWidth=2.5, interpolate="step-after")
    encoded = chart.encode(
        x=alt.X("x:Q", title="difference to the baseline of at least … points"),
        y=alt.Y("share:Q", title="share of runs in %", scale=alt.Scale(domain=[0, 100])),
        color=scale(shown),
    ).properties(width=WIDTH, height=HEIGHT)
    caption = (
        "For each number of points the share of runs, each workload counting alike, whose accuracy exceeds the "
        "baseline’s with the same seed by at least so much. Higher is better; at 0 it is the share that is no worse."
    )
    return [render("profile-over-workloads", "Performance profile over workloads", caption, encoded)]
