"""The figures of tuning, from the records of its trials: how it went, which knobs mattered, where each trial was."""

import math
from collections.abc import Callable, Sequence
from concurrent.futures import Executor
from itertools import accumulate
from typing import Any

import altair as alt

from bpfree.report import form
from bpfree.report.coordinates import coordinates
from bpfree.report.drawing import INK, WIDTH, Figure, chart_data, heading, layered, render, room_for, scale
from bpfree.report.summary import Workload
from bpfree.report.trials import Trial, Tuning
from bpfree.report_workers import begin, importances

FEWEST_TRIALS = 8
"""Completed trials below which no importance is given."""
PANELS_ACROSS, PANEL_WIDTH, PANEL_HEIGHT = 2, 190, 120
ROW_HEIGHT = 22
MARKS_DRAWN = 60
"""Trials of a method that a panel marks at most, evenly spaced; the line is of all."""
TRIALS_WEIGHED = 60
"""For the knobs' importance, whose time rises with the square of it."""
CROSS = "M-1,-1L1,1M-1,1L1,-1"
Weighing = tuple[Tuning, Callable[[], dict[str, float]]]
"""A method's tuning, and what gives the share of each of its knobs."""


def of_trials(workload: Workload, found: Sequence[Tuning]) -> list[Figure]:
    """Of a workload: of its methods together, then of each; without the knobs' importance, which takes long."""
    return [history(workload, found), *(coordinates(workload, each) for each in found if each.knobs)] if found else []


def history(workload: Workload, found: Sequence[Tuning]) -> Figure:
    """Validation metric of each trial and the best so far, a panel a method, on the same axes."""
    metric, foot = workload.metric, min(map(foot_of, found))
    top = max(max(each.goodnesses) for each in found)
    room = top - foot or 0.01 * abs(top) or 1
    span = (foot - 0.12 * room, top + 0.06 * room)
    last = max(len(each.trials) for each in found)
    parts = [panel(each, span, last, workload) for each in found]
    return render(
        f"{workload.name}-tuning-history",
        "How tuning went",
        f"{metric.axis('validation').capitalize()} of each trial, by its number; the first has the defaults. The line "
        f"is the best so far, the ring the chosen trial.{thinned(last)}{marked(found, span[0])}",
        {"concat": parts, "columns": PANELS_ACROSS, "spacing": {"row": 14, "column": 20}},
        part="tuning",
    )


def thinned(last: int) -> str:
    """That not every trial is marked."""
    return "" if last <= MARKS_DRAWN else f" Of each method at most {MARKS_DRAWN} trials, evenly spaced, are marked."


def marked(found: Sequence[Tuning], foot: float) -> str:
    """What the marks say that occur; the worst values are at the foot of the axis, or at the head of a loss's."""
    trials = [trial for each in found for trial in each.trials]
    goodnesses = [each.goodness(trial) for each in found for trial in each.trials]
    end, beyond = ("foot", "below") if found[0].method.metric.higher_is_better else ("head", "above")
    texts = {
        "Hollow triangles were pruned.": any(t.ending == "pruned" for t in trials),
        f"Crosses at the {end} diverged or failed.": None in goodnesses,
        f"Triangles at the {end} lie {beyond} the axis.": any(g is not None and g < foot for g in goodnesses),
    }
    return "".join(f" {text}" for text, occurs in texts.items() if occurs)


def foot_of(each: Tuning) -> float:
    """From where a method's trials are told apart: three quarters of them, and all of the line."""
    return min(sorted(each.goodnesses)[len(each.values) // 4], each.goodnesses[0])


def panel(each: Tuning, span: tuple[float, float], last: int, workload: Workload) -> Any:
    """One method's history."""
    foot, sign = span[0] + 0.05 * (span[1] - span[0]), workload.metric.sign
    x = alt.X("trial:Q", title=None, scale=alt.Scale(domain=[0.5, last + 0.5], nice=False))
    x = x.axis(tickMinStep=1, tickCount=5, format="d", grid=False)
    ends = alt.Scale(domain=sorted(sign * goodness for goodness in span), nice=False)
    y = alt.Y("value:Q", title=None, scale=ends, axis=alt.Axis(tickCount=4))
    colour = scale(workload.methods).legend(None)
    best = alt.Chart(chart_data(best_so_far(each, last))).mark_line(interpolate="step-after", strokeWidth=2)
    layers = [best.encode(x=x, y=y, color=colour)]
    drawn = evenly(each.trials, MARKS_DRAWN)
    for kind, mark in MARKS.items():
        rows = [mark_row(each, trial, foot) for trial in drawn if kind_of(each, trial, span[0]) == kind]
        if rows:
            layers.append(alt.Chart(chart_data(rows)).mark_point(**mark).encode(x=x, y=y, color=colour))
    chosen = [mark_row(each, trial, foot) for trial in each.trials if trial.chosen]
    ring = alt.Chart(chart_data(chosen)).mark_point(size=130, color=INK[0], strokeWidth=1.5)
    title = heading(form.title(each.method.name))
    return layered(*layers, ring.encode(x=x, y=y), width=PANEL_WIDTH, height=PANEL_HEIGHT, title=title)


MARKS: dict[str, dict[str, Any]] = {
    "completed": {"size": 42, "filled": True, "opacity": 0.7},
    "pruned": {"size": 50, "shape": "triangle-up", "filled": False, "strokeWidth": 1.5},
    "beyond": {"size": 50, "shape": "triangle-down", "filled": True, "opacity": 0.7},
    "without a value": {"size": 45, "shape": CROSS, "strokeWidth": 2},
}


def kind_of(each: Tuning, trial: Trial, foot: float) -> str:
    """How a trial is marked."""
    goodness = each.goodness(trial)
    if goodness is None:
        return "without a value"
    if goodness < foot:
        return "beyond"
    return "completed" if trial.counts else "pruned"


def mark_row(each: Tuning, trial: Trial, foot: float) -> dict[str, Any]:
    """A trial's mark; what lies beyond the axis on its worse side, or has no value, is at that end."""
    goodness = each.goodness(trial)
    shown = foot if goodness is None else max(goodness, foot)
    return {"method": form.title(each.method.name), "trial": trial.place, "value": each.method.metric.sign * shown}


def best_so_far(each: Tuning, last: int) -> list[dict[str, Any]]:
    """The steps of the line, from the first completed trial to the end of the panel."""
    better = max if each.method.metric.higher_is_better else min
    name, bests = form.title(each.method.name), accumulate(each.values, better)
    first: dict[float, int] = {}
    for trial, best in zip(each.completed, bests, strict=True):
        first.setdefault(best, trial.place)
    rows = [{"method": name, "trial": place, "value": best} for best, place in first.items()]
    return [*rows, {**rows[-1], "trial": last}]


def begin_to_weigh(found: Sequence[Tuning], pool: Executor | None) -> list[Weighing]:
    """The knobs of those tunings that tell something of them, by the processes of the pool if there is one."""
    return [(each, begin(pool, importances, each.knobs, pairs(each), wait=True)) for each in found if not lacking(each)]


def pairs(each: Tuning) -> list[tuple[dict[str, Any], float]]:
    """What is weighed: knobs and value of each trial."""
    return [(trial.knobs, trial.value) for trial in weighed(each) if trial.value is not None]


def importance(workload: Workload, weighings: Sequence[Weighing]) -> list[Figure]:
    """How much of the spread between a method's trials each knob explains, as bars; nothing where none was weighed."""
    explained = [(each, shares()) for each, shares in weighings]
    some = any(len(each.completed) > TRIALS_WEIGHED for each, _ in explained)
    of = f" of at most {TRIALS_WEIGHED}, evenly spaced" if some else ""
    if not explained:
        return []
    colour = scale(workload.methods).legend(None)
    room = room_for(form.words(name) for _, shares in explained for name in shares)
    parts = []
    for i, (each, shares) in enumerate(explained):
        rows = [
            {"method": form.title(each.method.name), "knob": form.words(name), "share": share, "label": f"{share:.0%}"}
            for name, share in shares.items()
        ]
        title = "share of the variance explained" if i == len(explained) - 1 else None
        axis = alt.Axis(format=".0%", values=[0, 0.25, 0.5, 0.75, 1])
        x = alt.X("share:Q", title=title, axis=axis, scale=alt.Scale(domain=[0, 1.12], nice=False))
        names = alt.Axis(ticks=False, domain=False, labelLimit=room, minExtent=room, maxExtent=room)
        y = alt.Y("knob:N", sort=None, title=None, axis=names)
        base = alt.Chart(chart_data(rows))
        text = base.mark_text(align="left", dx=6, color=INK[0], fontSize=12)
        part = layered(
            base.mark_bar(height=12).encode(x=x, y=y, color=colour),
            text.encode(x=x, y=y, text=alt.Text("label:N")),
            width=WIDTH - room,
            height=ROW_HEIGHT * len(rows),
            title=heading(form.title(each.method.name)),
        )
        parts.append(part)
    figure = render(
        f"{workload.name}-knob-importance",
        "Which knobs mattered",
        "How much of the variance between a method’s completed trials each knob explains, over its whole range "
        f"(functional ANOVA{of}). From so few trials this is rough: a knob may owe its bar to chance.",
        {"vconcat": parts, "spacing": 14},
        part="tuning",
    )
    return [figure]


def evenly(trials: list[Trial], most: int) -> list[Trial]:
    """At most so many trials, evenly spaced."""
    return trials[:: math.ceil(len(trials) / most) or 1]


def weighed(each: Tuning) -> list[Trial]:
    """The trials that the knobs' importance is from."""
    return evenly(each.completed, TRIALS_WEIGHED)


def lacking(each: Tuning) -> str | None:
    """Why no importance is given; None where it is."""
    completed = weighed(each)
    if len(each.knobs) < 2:
        return "fewer than two knobs were tuned"
    if len(completed) < FEWEST_TRIALS:
        return f"{len(completed)} completed trials, and {FEWEST_TRIALS} are the least"
    return "all its trials came out alike" if len({trial.value for trial in completed}) == 1 else None


def unexplained(tuned: Sequence[Tuning]) -> list[str]:
    """For each method whose knobs' importance is left out, why."""
    reasons: dict[str, list[str]] = {}
    for each in tuned:
        if reason := lacking(each):
            reasons.setdefault(reason, []).append(form.title(each.method.name))
    return [f"Which knobs mattered is not shown for {', '.join(names)}: {text}." for text, names in reasons.items()]
