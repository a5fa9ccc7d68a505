"""How many joules it took to reach each level of the validation metric: a table of round levels, a curve over all.

A level counts as reached with the first evaluation that is as good, by the method's own prediction. A run that misses
it is counted, and enters no mean.
"""

import math
from bisect import bisect_left
from collections.abc import Sequence
from itertools import count, islice
from statistics import median
from typing import Any

import altair as alt

from bpfree.records import Evaluation, Record
from bpfree.report import form
from bpfree.report.drawing import HEIGHT, WIDTH, Figure, chart_data, render, scale
from bpfree.report.front import energy_axis
from bpfree.report.metric import Metric
from bpfree.report.reaching import figures, joules
from bpfree.report.summary import Method, Workload
from bpfree.statistics import mean_interval

ACCURACIES = (50, 60, 70, 75, 80, 82, 84, 86, 88, 90, 92, 94, 95, 96, 97, 98, 99)
"""Round levels in per cent: the table has the highest ones that any method reached with every seed."""
RUNGS = 12
"""Of another metric, round levels from the median improvement to the best, at least."""
LEAST_SPREAD = 1e-3
"""As a share of the values: within less there are no round levels to tell apart."""
SHOWN, BELOW = 3, 5
"""Levels in the table; and how many round levels before the hardest of them the curves begin."""
STEPS = 4
"""Points of a curve for each percentage point, or between two round levels of another metric."""
ROUNDING = 1e-6
"""A metric is a mean in single precision: so little less than a level is the level, and no sample fewer."""


def first(climb: Sequence[Evaluation], level: float, metric: Metric) -> Evaluation | None:
    """The first evaluation as good as a level in the metric's unit, among those each better than all before."""
    wanted = level / metric.scale
    least = metric.sign * wanted - ROUNDING * abs(wanted)
    place = bisect_left(climb, least, key=lambda e: metric.sign * e.validation_metric)
    return climb[place] if place < len(climb) else None


def reached(m: Method, level: float) -> list[tuple[Record, Evaluation]]:
    """The completed runs that reached a level, and when."""
    return [(record, found) for record, climb in m.climbs if (found := first(climb, level, m.metric))]


def every(m: Method, level: float) -> dict[int, float]:
    """Joules to a level by seed, where every run reached it and its energy is known; else none."""
    there = reached(m, level)
    known = figures(there, joules) if len(there) == len(m.records) else {}
    return known if len(known) == len({record.spec.seed for record in m.records}) else {}


def ladder(workload: Workload) -> tuple[Sequence[float], float]:
    """Round levels from the easiest to the hardest, and the distance between two points of a curve."""
    if workload.metric.is_accuracy:
        return ACCURACIES, 1 / STEPS
    values = [e.validation_metric for m in workload.methods for _, climb in m.climbs for e in climb]
    if not values:
        return [], 1.0
    best = max(values) if workload.metric.higher_is_better else min(values)
    low, high = sorted((best, median(values)))
    if high - low <= LEAST_SPREAD * max(abs(low), abs(high)):
        return [], 1.0
    step = round_below((high - low) / RUNGS)
    rungs = [k * step for k in range(math.floor(low / step), math.ceil(high / step) + 1)]
    return rungs[:: workload.metric.sign], step / STEPS


def round_below(value: float) -> float:
    """The greatest of 1, 2 and 5 times a power of ten that is not above a value."""
    power = 10.0 ** math.floor(math.log10(value))
    return max(factor * power for factor in (1, 2, 5) if factor == 1 or factor * power <= value)


def levels(workload: Workload) -> list[float]:
    """The hardest round levels that at least one method reached with every seed; none where nothing is known of it."""
    if workload.quality not in ("measured", "modelled"):
        return []
    methods = [m for m in workload.methods if m.test_metric]
    rungs, _ = ladder(workload)
    found = list(islice((level for level in reversed(rungs) if any(every(m, level) for m in methods)), SHOWN))
    return found[::-1]


def text(level: float, metric: Metric) -> str:
    """A level with its unit."""
    return f"{level:.6g} {metric.unit}".strip()


def rows(workload: Workload, confidence: float, per_joule: float) -> list[dict[str, Any]]:
    """A line a method, a cell a level."""
    shown = levels(workload)
    return [
        {"name": form.title(m.name), "cells": [cell(m, level, confidence, per_joule) for level in shown]}
        for m in workload.methods
        if shown and m.completed
    ]


def cell(m: Method, level: float, confidence: float, per_joule: float) -> tuple[str, str]:
    """Mean joules with their interval; where a run missed the level, how many reached it."""
    there = reached(m, level)
    if len(there) < len(m.records):
        return form.ABSENT, f"{len(there)} of {len(m.records)} reached"
    known = every(m, level)
    return form.interval(mean_interval(list(known.values()), confidence) if known else None, per_joule)


def curve(m: Method, begin: float, distance: float) -> list[tuple[float, float]]:
    """Median joules and level, as far as every seed reached; of levels reached at once the first and the last."""
    points: list[tuple[float, float]] = []
    for level in (begin + m.metric.sign * i * distance for i in count()):
        known = every(m, level)
        if not known:
            break
        at = median(known.values())
        if len(points) > 1 and points[-1][0] == points[-2][0] == at:
            points.pop()
        points.append((at, level))
    return points


def energy_to_accuracy(workload: Workload) -> Figure | None:
    """A curve a method."""
    shown = levels(workload)
    if not shown:
        return None
    metric, (rungs, distance) = workload.metric, ladder(workload)
    begin = rungs[max(0, rungs.index(shown[-1]) - BELOW)]
    drawn: list[dict[str, Any]] = [
        {"method": form.title(m.name), "joules": at, "level": level, "order": i}
        for m in workload.methods
        if m.test_metric
        for i, (at, level) in enumerate(curve(m, begin, distance))
    ]
    article, level = ("an", "accuracy") if metric.is_accuracy else ("a", f"level of {metric.words}")
    title = f"energy to reach it in J ({workload.quality})"
    if not drawn:  # epochs too short for the meter: no level has its joules
        return None
    x, _ = energy_axis("joules", [row["joules"] for row in drawn], title)
    chart = (
        alt.Chart(chart_data(drawn))
        .mark_line(strokeWidth=2.5)
        .encode(
            x=x,
            y=alt.Y("level:Q", title=metric.axis("validation"), scale=alt.Scale(zero=False)),
            order=alt.Order("order:Q"),
            color=scale([m for m in workload.methods if m.test_metric]),
        )
        .properties(width=WIDTH, height=HEIGHT)
    )
    return render(
        f"{workload.name}-energy-to-{metric.slug}",
        f"Energy to each {level}",
        f"The median over the seeds of the joules spent when {article} {level} was first reached, validation included. "
        f"A curve ends where a seed fell short; a method with a seed short of {text(begin, metric)} has none.",
        chart,
    )
