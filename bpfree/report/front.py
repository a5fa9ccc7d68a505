"""The front of the metric and energy: which methods no other beats in both, by their estimates."""

import math
from collections.abc import Sequence
from typing import Any

import altair as alt

from bpfree.report import form
from bpfree.report.drawing import HEIGHT, MUTED, PAPER, WIDTH, Figure, chart_data, layered, render, scale
from bpfree.report.metric import Metric
from bpfree.report.quantities import joules_of
from bpfree.report.summary import Method, Workload

DECADE = 10.0
"""Greatest over least energy from which the axis is logarithmic."""
DOTS = 25
"""A method has no more dots: those of its first seeds. Mean and interval are of all."""
MANY = 1000.0
"""The same from which a logarithmic axis has no ticks between powers of ten."""


def metric_energy(workload: Workload) -> Figure | None:
    """The test metric against joules of training: seeds as dots, means with intervals, the front as a step line."""
    methods = [m for m in workload.methods if m.test_metric and m.joules]
    metric = workload.metric
    if not methods:
        return None
    dots: list[dict[str, Any]] = [
        {"method": form.title(m.name), "joules": joules, "value": metric.scale * value}
        for m in methods
        for r in m.completed[:DOTS]
        if (joules := joules_of(r)) and (value := metric.of(r)) is not None
    ]
    means = [mean_row(m) for m in methods]
    x, floor = energy_axis("joules", [row["joules"] for row in dots], f"training energy in J ({workload.quality})")
    for row in means:  # a wide interval may reach below what an energy can be, or the axis can show
        row["left"] = max(row["left"], floor)
    y = alt.Y("value:Q", title=metric.axis("test"), scale=alt.Scale(zero=False, padding=12))
    colour = scale(methods)
    seeds = alt.Chart(chart_data(dots)).mark_circle(size=28, opacity=0.45).encode(x=x, y=y, color=colour)
    steps = alt.Chart(chart_data(front(means, metric))).mark_line(
        interpolate="step-after", color=MUTED[0], strokeWidth=1
    )
    base = alt.Chart(chart_data(means))
    point = base.mark_point(size=130, filled=True, opacity=1, stroke=PAPER[0], strokeWidth=1.5)
    chart = layered(
        steps.encode(x=x, y=y),
        seeds,
        base.mark_rule(strokeWidth=2).encode(x=x, y=alt.Y("low:Q"), y2=alt.Y2("high:Q"), color=colour),
        base.mark_rule(strokeWidth=2).encode(x=alt.X("left:Q"), x2=alt.X2("right:Q"), y=y, color=colour),
        point.encode(x=x, y=y, color=colour),
        width=WIDTH,
        height=HEIGHT,
    )
    up = "Up" if metric.higher_is_better else "Down"
    return render(
        f"{workload.name}-{metric.slug}-energy",
        f"{metric.words.capitalize()} against energy",
        f"{up} and to the left is better. Small dots are seeds (at most {DOTS} "
        "a method); large ones the means of all, with the interval of each mean. "
        "Grey steps join the methods that no other beats in both by its estimate; to be beaten by estimates alone is "
        "no claim.",
        chart,
    )


def energy_axis(field: str, joules: Sequence[float], title: str) -> tuple[Any, float]:
    """The axis of energies, logarithmic where they span more than a decade, and the least that it can show."""
    low, high = min(joules), max(joules)
    if high <= DECADE * low or low <= 0:
        x = alt.X(f"{field}:Q", title=title, axis=alt.Axis(tickCount=5, format="~s"))
        return x.scale(zero=False, padding=16), 0.0
    x = alt.X(f"{field}:Q", title=f"{title}, log scale", axis=alt.Axis(values=ticks(low / 2, high * 2), format="~s"))
    return x.scale(type="log", nice=False, padding=16), low / 2


def ticks(low: float, high: float) -> list[float]:
    """Round energies between two, a few: powers of ten alone where they span many."""
    powers = range(math.floor(math.log10(low)), math.ceil(math.log10(high)) + 1)
    steps = (1, 2, 5) if high <= MANY * low else (1,)
    return [value for power in powers for step in steps if low <= (value := step * 10.0**power) <= high]


def front(means: Sequence[dict[str, Any]], metric: Metric) -> list[dict[str, Any]]:
    """The methods that no other beats: better than all that took no more energy; in the order of energy."""
    kept: list[dict[str, Any]] = []
    for row in sorted(means, key=lambda row: (row["joules"], -metric.sign * row["value"])):
        if not kept or metric.sign * row["value"] > metric.sign * kept[-1]["value"]:
            kept.append({name: row[name] for name in ("method", "joules", "value")})
    return kept


def mean_row(m: Method) -> dict[str, Any]:
    """A method's mean and the ends of its intervals; a single seed has none."""
    assert m.test_metric
    assert m.joules
    t, j, unit = m.test_metric, m.joules, m.metric.scale

    def end(value: float | None, estimate: float) -> float:
        return estimate if value is None else value

    return {
        "method": form.title(m.name),
        "joules": j.estimate,
        "value": unit * t.estimate,
        "low": unit * end(t.low, t.estimate),
        "high": unit * end(t.high, t.estimate),
        "left": end(j.low, j.estimate),
        "right": end(j.high, j.estimate),
    }
