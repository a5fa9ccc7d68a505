"""How many joules it took to reach each level of validation accuracy: a table of round levels, and a curve over all.

A level counts as reached with the first evaluation that is as good, by the method's own prediction. A run that misses
it is counted, and enters no mean.
"""

from bisect import bisect_left
from collections.abc import Sequence
from itertools import islice
from statistics import median
from typing import Any

import altair as alt

from bpfree.records import Evaluation, Record
from bpfree.report import form
from bpfree.report.drawing import HEIGHT, WIDTH, Figure, chart_data, render, scale
from bpfree.report.front import energy_axis
from bpfree.report.reaching import figures, joules
from bpfree.report.summary import Method, Workload
from bpfree.statistics import mean_interval

LEVELS = (50, 60, 70, 75, 80, 82, 84, 86, 88, 90, 92, 94, 95, 96, 97, 98, 99)
"""Round levels in per cent: the table has the highest ones that any method reached with every seed."""
SHOWN, BELOW = 3, 5
"""Levels in the table; and how many round levels below the highest of them the curves begin."""
STEPS = 4
"""Points of a curve for each percentage point."""
ROUNDING = 1e-6
"""A metric is a mean in single precision: so little less than a level is the level, and no sample fewer."""


def first(climb: Sequence[Evaluation], level: float) -> Evaluation | None:
    """The first evaluation as accurate as a level in per cent, among those each better than all before."""
    place = bisect_left(climb, level / 100 - ROUNDING, key=lambda e: e.validation_metric)
    return climb[place] if place < len(climb) else None


def reached(m: Method, level: float) -> list[tuple[Record, Evaluation]]:
    """The completed runs that reached a level, and when."""
    return [(record, found) for record, climb in m.climbs if (found := first(climb, level))]


def every(m: Method, level: float) -> dict[int, float]:
    """Joules to a level by seed, where every run reached it and its energy is known; else none."""
    there = reached(m, level)
    known = figures(there, joules) if len(there) == len(m.records) else {}
    return known if len(known) == len({record.spec.seed for record in m.records}) else {}


def levels(workload: Workload) -> list[int]:
    """The highest round levels that at least one method reached with every seed; none where accuracy is not known."""
    if workload.quality not in ("measured", "modelled"):
        return []
    methods = [m for m in workload.methods if m.accuracy]
    found = (level for level in reversed(LEVELS) if any(every(m, level) for m in methods))
    return sorted(islice(found, SHOWN))


def rows(workload: Workload, confidence: float, per_joule: float) -> list[dict[str, Any]]:
    """A line a method, a cell a level."""
    shown = levels(workload)
    return [
        {"name": form.title(m.name), "cells": [cell(m, level, confidence, per_joule) for level in shown]}
        for m in workload.methods
        if shown and m.completed
    ]


def cell(m: Method, level: int, confidence: float, per_joule: float) -> tuple[str, str]:
    """Mean joules with their interval; where a run missed the level, how many reached it."""
    there = reached(m, level)
    if len(there) < len(m.records):
        return form.ABSENT, f"{len(there)} of {len(m.records)} reached"
    known = every(m, level)
    return form.interval(mean_interval(list(known.values()), confidence) if known else None, per_joule)


def curve(m: Method, begin: int) -> list[tuple[float, float]]:
    """Median joules and level, as far as every seed reached; of levels reached at once the first and the last."""
    points: list[tuple[float, float]] = []
    for level in (begin + i / STEPS for i in range((100 - begin) * STEPS + 1)):
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
    begin = LEVELS[max(0, LEVELS.index(shown[-1]) - BELOW)]
    drawn: list[dict[str, Any]] = [
        {"method": form.title(m.name), "joules": at, "accuracy": level, "order": i}
        for m in workload.methods
        if m.accuracy
        for i, (at, level) in enumerate(curve(m, begin))
    ]
    title = f"energy to reach it in J ({workload.quality})"
    if not drawn:  # epochs too short for the meter: no level has its joules
        return None
    x, _ = energy_axis("joules", [row["joules"] for row in drawn], title)
    chart = (
        alt.Chart(chart_data(drawn))
        .mark_line(strokeWidth=2.5)
        .encode(
            x=x,
            y=alt.Y("accuracy:Q", title="validation accuracy in %", scale=alt.Scale(zero=False)),
            order=alt.Order("order:Q"),
            color=scale([m for m in workload.methods if m.accuracy]),
        )
        .properties(width=WIDTH, height=HEIGHT)
    )
    return render(
        f"{workload.name}-energy-to-accuracy",
        "Energy to each accuracy",
        "The median over the seeds of the joules spent when an accuracy was first reached, validation included. A "
        f"curve ends where a seed fell short; a method with a seed short of {begin} % has none.",
        chart,
    )
