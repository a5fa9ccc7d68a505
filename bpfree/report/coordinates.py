"""Parallel coordinates, turned so that they fit a phone: each knob's axis is a row, each trial a line down the page."""

import math
from collections.abc import Iterator
from typing import Any

import altair as alt

from bpfree.records import KnobRange
from bpfree.report import form
from bpfree.report.drawing import MUTED, PAPER, WIDTH, Figure, chart_data, colours, layered, render, room_for
from bpfree.report.metric import Metric
from bpfree.report.summary import Workload
from bpfree.report.trials import Trial, Tuning, position, ticks

AXIS_HEIGHT = 58
PLATE = "M-1,-0.3H1V0.3H-1Z"
"""Behind the labels of the axes, so that lines do not cross them."""
FAINTEST = 0.22
"""How full the line of the worst trial is."""
DASHED = [4, 3]
LINES = 50
"""Of more trials the best are drawn."""


def coordinates(workload: Workload, each: Tuning) -> Figure:
    """A method's trials through its knobs, down to their validation metric."""
    metric = each.method.metric
    last = f"validation, {metric.unit}" if metric.unit else "validation"
    low, high = min(each.values), max(each.values)
    ends = KnobRange(low=low, high=high) if low < high else KnobRange(values=[low])
    axes = {**{form.words(name): span for name, span in each.knobs.items()}, last: ends}
    x = alt.X("at:Q", axis=None, scale=alt.Scale(domain=[0, 1], nice=False, padding=16))
    room = room_for(axes)
    names = alt.Axis(ticks=False, domain=False, minExtent=room, maxExtent=room, labelLimit=room)
    y = alt.Y("axis:N", sort=list(axes), title=None, axis=names, scale=alt.Scale(type="point", padding=0.45))
    colour = colours(workload.methods)[each.method.name]
    rules = [{"axis": name, "at": 0, "end": 1} for name in axes]
    chosen = [trial for trial in each.trials if trial.chosen]
    others = [trial for trial in best_of(each.trials, metric.sign) if not trial.chosen]
    layers = [
        chart(rules).mark_rule(color=MUTED[0], strokeWidth=1).encode(x=x, x2=alt.X2("end:Q"), y=y),
        *lines(each, others, axes, x, y, colour),
    ]
    best = chart([row for trial in chosen for row in through(trial, axes, 1.0)])
    if chosen:
        layers += [
            best.mark_line(color=colour, strokeWidth=4).encode(x=x, y=y, order=alt.Order("order:Q")),
            best.mark_point(color=colour, filled=True, size=90, opacity=1, stroke=PAPER[0]).encode(x=x, y=y),
        ]
    layers += [layer for align, group in aligned(axes, metric).items() for layer in labels(align, chart(group), x, y)]
    return render(
        f"{workload.name}-trials-{each.method.name}",
        f"Trials of {form.title(each.method.name)}",
        "Each line is a trial, read downwards: where it lies on each knob’s axis, and what came of it. The fuller the "
        f"line, the better its rank; the thick one was chosen.{remarks(each)}",
        layered(*layers, width=WIDTH - room, height=AXIS_HEIGHT * len(axes)),
        part="trials",
    )


def remarks(each: Tuning) -> str:
    """On what occurs in this figure alone."""
    dashed = " Dashed: pruned, diverged or failed." if len(each.completed) < len(each.trials) else ""
    ranges = "" if each.method.tuned and each.method.tuned.search_space else " The axes span the values tried."
    best = f" Of {len(each.trials)} trials the {LINES} best are drawn." if len(each.trials) > LINES else ""
    return best + dashed + ranges


def best_of(trials: list[Trial], sign: int) -> list[Trial]:
    """As many as are drawn, those without a value last; in their order. By the metric's sign more is better."""
    ranked = sorted(trials, key=lambda trial: -math.inf if trial.value is None else sign * trial.value, reverse=True)
    return sorted(ranked[:LINES], key=lambda trial: trial.place)


def lines(each: Tuning, trials: list[Trial], axes: dict[str, KnobRange], x: Any, y: Any, colour: str) -> Iterator[Any]:
    """A thin line for each trial that was not chosen; dashed where its value does not count."""
    ranked = sorted(each.completed, key=lambda trial: each.method.metric.sign * (trial.value or 0))
    rank = {trial.place: i for i, trial in enumerate(ranked)}
    for dash, counts in (([1, 0], True), (DASHED, False)):
        rows = [
            row
            for trial in trials
            if trial.counts == counts
            for row in through(trial, axes, fullness(rank[trial.place], len(rank)) if counts else FAINTEST)
        ]
        line = chart(rows).mark_line(color=colour, strokeWidth=1.8, strokeDash=dash)
        opacity = alt.Opacity("opacity:Q", scale=None)
        if rows:
            yield line.encode(x=x, y=y, detail=alt.Detail("trial:N"), order=alt.Order("order:Q"), opacity=opacity)


def fullness(rank: int, count: int) -> float:
    """How full a line is drawn, by the rank of its trial from the worst."""
    return FAINTEST + (1 - FAINTEST) * (rank / (count - 1) if count > 1 else 1)


def through(trial: Trial, axes: dict[str, KnobRange], opacity: float) -> list[dict[str, Any]]:
    """The points of a trial's line; it ends at the last knob where its value does not count."""
    values = [*trial.knobs.values(), *([trial.value] if trial.counts else [])]
    return [
        {"trial": trial.place, "order": i, "axis": name, "at": position(span, value), "opacity": opacity}
        for i, ((name, span), value) in enumerate(zip(axes.items(), values, strict=False))
    ]


def aligned(axes: dict[str, KnobRange], metric: Metric) -> dict[str, list[dict[str, Any]]]:
    """The axes' labels by how they are set, so that those at the ends stay within."""
    found: dict[str, list[dict[str, Any]]] = {}
    *_, last = axes
    for name, span in axes.items():
        for at, text in ticks(span, ".1f" if name == last and metric.is_accuracy else ".3g"):
            align = "left" if at == 0 else "right" if at == 1 else "center"
            found.setdefault(align, []).append({"axis": name, "at": at, "text": text})
    return found


def labels(align: str, base: Any, x: Any, y: Any) -> tuple[Any, Any]:
    """The labels that are set so, on their plates."""
    shift = {"left": 24, "center": 0, "right": -24}[align]
    plate = base.mark_point(shape=PLATE, size=800, filled=True, color=PAPER[0], opacity=0.85, xOffset=shift, yOffset=15)
    text = base.mark_text(align=align, dy=15, color=MUTED[0], fontSize=12)
    return plate.encode(x=x, y=y), text.encode(x=x, y=y, text=alt.Text("text:N"))


def chart(rows: list[dict[str, Any]]) -> Any:
    """A chart of some rows."""
    return alt.Chart(chart_data(rows))
