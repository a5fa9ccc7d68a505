"""What a training costs with its tuning, and after how many trainings a method has paid for a dearer one.

With T joules of tuning and J of one training, n trainings take T + nJ, and a method's total m falls below the
baseline's b beyond n* = (Tₘ − T_b) / (J_b − Jₘ). The interval of n* is that of J_b − Jₘ over the seeds; the tuning was
done once and has none.
"""

import math
from dataclasses import dataclass
from typing import Any, Literal

import altair as alt

from bpfree.report import form
from bpfree.report.drawing import HEIGHT, PAPER, WIDTH, Figure, chart_data, layered, render, scale
from bpfree.report.quantities import joules_of, total
from bpfree.report.summary import Method, Workload
from bpfree.statistics import Comparison

FEWEST_SHOWN, MOST_SHOWN = 10, 1000
"""Trainings on the axis of the figure."""


@dataclass(frozen=True)
class BreakEven:
    """From which training on a method's total is lower (`after`), or up to which one (`up to`)."""

    kind: Literal["from the first", "after", "up to", "never", "not shown"]
    trainings: int | None = None
    low: int | None = None
    high: int | None = None
    crossing: float | None = None
    """n* itself, no whole number."""

    @property
    def printed(self) -> tuple[str, str]:
        """In words, and its interval."""
        if self.trainings is None:
            return self.kind, ""
        noun = "training" if self.trainings == 1 else "trainings"
        interval = f"{self.low:,} to {self.high:,}"
        if self.kind == "up to":
            return f"cheaper for {self.trainings:,} {noun}, then dearer", interval
        return f"after {self.trainings:,} {noun}", interval


def break_even(more_tuning: float, saving: Comparison) -> BreakEven:
    """From the joules that a method's tuning takes more than the baseline's, and those that one training saves."""
    if saving.verdict == "no difference shown" or saving.low is None or saving.high is None:
        return BreakEven("not shown")
    counts = [more_tuning / joules for joules in (saving.estimate, saving.high, saving.low)]
    if saving.verdict == "higher":
        # The first whole number of trainings at which the method's total is the lower one.
        at, low, high = (math.floor(n) + 1 for n in counts)
        first = more_tuning <= 0 or high == 1
        return BreakEven("from the first") if first else BreakEven("after", at, low, high, counts[0])
    # The last one at which it still is.
    at, high, low = (math.ceil(n) - 1 for n in counts)
    never = more_tuning >= 0 or high == 0
    return BreakEven("never") if never else BreakEven("up to", at, low, high, counts[0])


def tuning_joules(method: Method) -> float | None:
    """Joules of a cell's tuning over the boundary of its runs, if of their quality."""
    cost = next((r.cost for r in method.completed if r.cost), None)
    if cost is None or method.tuned is None:
        return None
    return total([r for r in method.tuned.readings if r.component in cost.boundary], cost.joules_quality)


def saved(m: Method, confidence: float) -> Comparison | None:
    """Joules of one training that a method saves against its baseline, paired by seed."""
    if m.reference is None or m.censored:
        return None
    difference_of, _ = m.tests
    return difference_of(m.reference.values(joules_of), m.values(joules_of), confidence)


def against_baseline(m: Method, confidence: float) -> BreakEven | None:
    """A method's break-even; None for the baseline, and where a figure is missing."""
    saving = saved(m, confidence)
    ours, theirs = tuning_joules(m), tuning_joules(m.reference) if m.reference else None
    return None if saving is None or ours is None or theirs is None else break_even(ours - theirs, saving)


def known(workload: Workload) -> list[Method]:
    """The methods whose joules are known, of tuning and of training; none where they cannot be compared."""
    if workload.quality not in ("measured", "modelled"):
        return []
    return [m for m in workload.methods if m.joules and tuning_joules(m) is not None]


def rows(workload: Workload, confidence: float) -> list[dict[str, Any]]:
    """A line a method."""
    scaled = energy_unit(workload)[1]
    return [row(m, confidence, scaled) for m in known(workload)]


def joules_of_trainings(m: Method, trainings: float) -> float:
    """Joules of tuning and so many trainings."""
    assert m.joules is not None
    return (tuning_joules(m) or 0) + trainings * m.joules.estimate


def energy_unit(workload: Workload) -> tuple[str, float]:
    """The unit of the table, and how many of it a joule is."""
    return form.energy_unit(joules_of_trainings(m, 1) for m in known(workload))


def row(m: Method, confidence: float, scaled: float) -> dict[str, Any]:
    """A method's line."""
    saving, found = saved(m, confidence), against_baseline(m, confidence)
    bounds = "" if saving is None else form.bounds(saving.low, saving.high, scaled)
    return {
        "name": form.title(m.name),
        "tuning": form.number(joules_of_trainings(m, 0) * scaled),
        "training": form.interval(m.joules, scaled),
        "total": form.number(joules_of_trainings(m, 1) * scaled),
        "saved": (form.number(None if saving is None else saving.estimate * scaled), bounds),
        "break_even": (form.ABSENT, m.censored) if found is None else found.printed,
    }


def total_energy(workload: Workload, confidence: float) -> Figure | None:
    """Tuning and n trainings, a line a method; a dot where it crosses the baseline's."""
    methods = known(workload)
    if len(methods) < 2:
        return None
    crossings = {m.name: b.crossing for m in methods if (b := against_baseline(m, confidence)) and b.crossing}
    last = min(MOST_SHOWN, max(FEWEST_SHOWN, math.ceil(1.5 * max(crossings.values(), default=0))))
    lines = [line_row(m, n) for m in methods for n in (0, last)]
    dots = [line_row(m, n) for m in methods if (n := crossings.get(m.name, last + 1)) <= last]
    top = max(row["joules"] for row in lines)
    x = alt.X("n:Q", title="trainings after the tuning", axis=alt.Axis(tickCount=5, tickMinStep=1, format="d"))
    y = alt.Y("joules:Q", title=f"energy in J ({workload.quality})", axis=alt.Axis(format="~s", tickCount=5))
    y = y.scale(domain=[0, top], nice=False)
    colour = scale(methods)
    base = alt.Chart(chart_data(lines))
    dot = alt.Chart(chart_data(dots)).mark_point(size=110, filled=True, opacity=1, stroke=PAPER[0])
    chart = layered(
        base.mark_area(clip=True, opacity=0.14).encode(x=x, y=alt.Y("low:Q"), y2=alt.Y2("high:Q"), color=colour),
        base.mark_line(strokeWidth=2.2, clip=True).encode(x=x, y=y, color=colour),
        dot.encode(x=x, y=y, color=colour),
        width=WIDTH,
        height=HEIGHT,
    )
    return render(
        f"{workload.name}-total-energy",
        "Tuning and so many trainings",
        "Each line begins at the energy of tuning and rises by one training’s; the bands are the intervals of a "
        "training’s mean. A dot marks a break-even with the baseline; lines that cross without one show none.",
        chart,
        part="tuning",
    )


def line_row(m: Method, n: float) -> dict[str, Any]:
    """A point of a method's line, with its band."""
    assert m.joules is not None
    begin = joules_of_trainings(m, 0)
    low, high = (m.joules.estimate if end is None else end for end in (m.joules.low, m.joules.high))
    return {
        "method": form.title(m.name), "n": n, "joules": joules_of_trainings(m, n),
        "low": begin + n * low, "high": begin + n * high,
    }  # fmt: skip
