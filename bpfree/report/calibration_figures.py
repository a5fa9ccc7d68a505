"""The charts of a calibration: performance profiles, and the best of a few points."""

from collections.abc import Mapping, Sequence
from typing import Any

import altair as alt

from bpfree import scoring
from bpfree.outcomes import CALIBRATED, NAIVE
from bpfree.report.calibration_points import point_scores
from bpfree.report.calibration_runs import Calibration, title
from bpfree.report.calibration_scores import Board, Scores, expected_best
from bpfree.report.drawing import HEIGHT, SERIES, WIDTH, Figure, chart_data, render

DASHES = [[1, 0], [7, 3], [2, 2]]
"""Beside the colours: 3 and 8 have no common factor, so that 24 methods look each like no other."""
LINE_WIDTH = 2.2
PROFILE_HEIGHT = 320
LIFT = 3 / PROFILE_HEIGHT
"""How far lines of equal height are drawn apart, at most, as a share of the axis."""


Looks = Mapping[str, tuple[str, list[int]]]
"""Each method's sentinel colour and dash, in the order of the legend."""


def look(methods: Sequence[str]) -> Looks:
    """The same looks in all charts."""
    return {name: (SERIES[i % len(SERIES)][0], DASHES[i % len(DASHES)]) for i, name in enumerate(methods)}


def figures(found: Calibration, board: Board) -> list[Figure]:
    """All charts."""
    table = look([m.name for m in found.outcome.methods])
    looks = {name: table[name] for name in board.order}
    captions = {
        NAIVE: "With published defaults. Higher and further left is better; at 1 are the targets on which a method is "
        "the fastest. The score is the line’s mean height.",
        CALIBRATED: "The same with each method’s one calibrated setting, and fresh seeds.",
    }
    drawn = [profiles(kind, board.steps[kind], looks, captions[kind]) for kind in (NAIVE, CALIBRATED)]
    return [*drawn, best_of_few(found, looks)] if found.outcome.points > 1 else drawn


def profiles(kind: str, scores: Scores, looks: Looks, caption: str) -> Figure:
    """ρ(τ) of every method of a set."""
    suite = scores.times.shape[1]
    lift = min(LIFT, 0.5 / suite / len(looks))
    rows = []
    for i, name in enumerate(looks):
        r = scores.ratios[name]
        taus = sorted({1.0, scoring.TAU_MAX, *(x for x in r if x <= scoring.TAU_MAX)})
        up = lift * ((len(looks) - 1) / 2 - i)
        rows += [
            {"method": title(name), "tau": tau, "rho": rho + up}
            for tau, rho in zip(taus, scoring.profile(r, taus), strict=True)
        ]
    x = alt.X("tau:Q", title="τ: steps over those of the fastest method", axis=alt.Axis(tickCount=4, format="~g"))
    y = alt.Y("rho:Q", title="share of targets reached within τ", axis=alt.Axis(format=".0%", tickCount=5))
    chart = lines(
        rows, x.scale(domain=[1, scoring.TAU_MAX]), y.scale(domain=[-0.05, 1.05]), looks, "step-after", PROFILE_HEIGHT
    )
    shift = " Lines are drawn a little apart, so that none hides another." if len(looks) > 1 else ""
    return render(f"profiles-{kind}", f"Performance profiles, {kind}", caption + shift, chart)


def best_of_few(found: Calibration, looks: Looks) -> Figure:
    """Expected best score of k of a method's points."""
    rows = [
        {"method": title(m.name), "k": k, "score": expected_best(values, k)}
        for m in found.outcome.methods
        for values in [point_scores(m, found)]
        for k in range(1, len(values) + 1)
    ]
    ticks = alt.Axis(tickMinStep=1, format="d")
    x = alt.X("k:Q", title="points tried", axis=ticks, scale=alt.Scale(domain=[1, found.outcome.points]))
    y = alt.Y("score:Q", title="expected best score")
    return render(
        "best-of-few",
        "What fewer points would have found",
        "Exact expectation over all choices of so many of a method’s points, from the table, of the score against the "
        "reference. A line that is flat early on needs few points; one that rises to the end would gain from more.",
        lines(rows, x, y, looks, "linear", HEIGHT),
    )


def lines(rows: list[dict[str, Any]], x: Any, y: Any, looks: Looks, interpolate: str, height: int) -> Any:
    """One line a method."""
    names = [title(name) for name in looks]
    symbols = alt.Legend(symbolType="stroke", symbolSize=500, symbolStrokeWidth=LINE_WIDTH, columns=2, rowPadding=3)
    colour = alt.Scale(domain=names, range=[colour for colour, _ in looks.values()])
    dash = alt.Scale(domain=names, range=[dash for _, dash in looks.values()])
    return (
        alt.Chart(chart_data(rows))
        .mark_line(strokeWidth=LINE_WIDTH, interpolate=interpolate, clip=True)
        .encode(
            x=x,
            y=y,
            color=alt.Color("method:N", scale=colour, legend=symbols),
            strokeDash=alt.StrokeDash("method:N", scale=dash, legend=symbols),
        )
        .properties(width=WIDTH, height=height)
    )
