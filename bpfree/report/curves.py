"""Learning curves: a thin line a seed, a thick one for their mean, over epochs, seconds and joules."""

from collections.abc import Callable, Sequence
from statistics import fmean as mean
from typing import Any

import altair as alt

from bpfree.records import Evaluation, Record
from bpfree.report import form
from bpfree.report.drawing import HEIGHT, WIDTH, Figure, chart_data, layered, render, scale
from bpfree.report.metric import Metric
from bpfree.report.quantities import joules_of
from bpfree.report.summary import Method, Workload

POINTS = 120
"""A curve has no more: a longer history is thinned, its ends kept."""
SEEDS_DRAWN = 8
"""A method has no more thin lines: those of its first seeds. Its mean is of all."""

Axis = Callable[[Record, Evaluation], float | None]
Curve = dict[int, tuple[float, float]]
"""For each epoch: where it lies along the axis, and the validation metric in its unit."""


def curves_by_epoch(workload: Workload) -> Figure | None:
    """Learning curves over passes."""
    return curves(
        workload, "curves-by-epoch", "Learning curves by epoch",
        f"Thin lines are seeds (at most {SEEDS_DRAWN} a method), the thick one is the mean of all at each epoch that "
        "every seed reached. A method that trains block by block starts anew with each block; the "
        f"{workload.metric.worst} twentieth of the values is cut off.",
        lambda _, e: e.epoch,
        alt.X("x:Q", title="passes over the training set", axis=alt.Axis(tickMinStep=1, format="d")),
    )  # fmt: skip


def curves_by_seconds(workload: Workload) -> Figure | None:
    """Learning curves over time."""
    return curves(
        workload, "curves-by-seconds", "Learning curves by time",
        "The same runs over the seconds since the first step, validation included. Further left at the same height is "
        "faster.",
        lambda _, e: e.seconds,
        alt.X("x:Q", title="seconds so far", axis=alt.Axis(format="~s")),
    )  # fmt: skip


def curves_by_joules(workload: Workload) -> Figure | None:
    """Learning curves over energy."""
    return curves(
        workload, "curves-by-joules", "Learning curves by energy",
        "The same runs over the joules spent so far, validation included. Further left at the same height is cheaper.",
        lambda r, e: None if joules_of(r) is None else e.joules,
        alt.X("x:Q", title=f"energy so far in J ({workload.quality})", axis=alt.Axis(format="~s")),
    )  # fmt: skip


def curves(workload: Workload, name: str, title: str, caption: str, x: Axis, axis: Any) -> Figure | None:
    """The validation metric along some axis."""
    methods = [m for m in workload.methods if m.test_metric]
    seeds, means = rows_of(methods, x)
    if not seeds:
        return None
    span = alt.Scale(**limit(sorted(row["value"] for row in seeds), workload.metric), zero=False)
    y = alt.Y("value:Q", title=workload.metric.axis("validation"), scale=span)
    colour = scale(methods)
    thin = alt.Chart(chart_data(seeds)).mark_line(strokeWidth=1, opacity=0.4, clip=True)
    thick = alt.Chart(chart_data(means)).mark_line(strokeWidth=2.5, clip=True)
    chart = layered(
        thin.encode(x=axis, y=y, detail=alt.Detail("run:N"), color=colour),
        thick.encode(x=axis, y=y, color=colour),
        width=WIDTH,
        height=HEIGHT,
    )
    return render(f"{workload.name}-{name}", title, caption, chart)


def limit(values: Sequence[float], metric: Metric) -> dict[str, float]:
    """Where the axis ends on its worse side, of values in their order: a bit beyond all but a twentieth of them."""
    if metric.is_accuracy:
        return {"domainMin": max(0, values[len(values) // 20] - 2)}
    if metric.higher_is_better:
        low = values[len(values) // 20]
        return {"domainMin": low - 0.05 * (values[-1] - low)}
    high = values[-1 - len(values) // 20]
    return {"domainMax": high + 0.05 * (high - values[0])}


def rows_of(methods: Sequence[Method], x: Axis) -> tuple[list[dict[str, Any]], list[dict[str, Any]]]:
    """One row a point of every seed's curve, and of every method's mean curve."""
    seeds, means = [], []
    for m in methods:
        runs = {r.id: found for r in m.completed if (found := curve(r, x, m.metric.scale))}
        for run, points in list(runs.items())[:SEEDS_DRAWN]:
            seeds += rows(form.title(m.name), points, run)
        if runs:
            means += rows(form.title(m.name), mean_curve(list(runs.values())))
    return seeds, means


def curve(record: Record, x: Axis, unit: float) -> Curve:
    """A run's curve; empty where nothing is known along this axis."""
    return {e.epoch: (at, unit * e.validation_metric) for e in record.history if (at := x(record, e)) is not None}


def mean_curve(runs: Sequence[Curve]) -> Curve:
    """The mean of both co-ordinates over the runs, at each epoch that all of them have."""
    shared = sorted(set(runs[0]).intersection(*runs[1:]))
    return {epoch: (mean(run[epoch][0] for run in runs), mean(run[epoch][1] for run in runs)) for epoch in shared}


def rows(method: str, points: Curve, run: str = "mean") -> list[dict[str, Any]]:
    """A curve as rows of a chart's data, thinned."""
    return [{"method": method, "run": run, "x": x, "value": y} for x, y in thinned(list(points.values()))]


def thinned(points: Sequence[tuple[float, float]]) -> Sequence[tuple[float, float]]:
    """At most so many points of a curve, evenly spaced, its ends among them."""
    if len(points) <= POINTS:
        return points
    return [points[round(i * (len(points) - 1) / (POINTS - 1))] for i in range(POINTS)]
