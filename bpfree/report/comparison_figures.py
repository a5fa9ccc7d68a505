"""The charts of compared studies: what each found of every method against the baseline."""

from collections.abc import Sequence
from typing import Any

import altair as alt

from bpfree.report.comparison import Comparisons, Finding, Side
from bpfree.report.drawing import INK, MUTED, SERIES, WIDTH, Figure, chart_data, layered, render, room_for
from bpfree.report.metric import Metric

LANE = 20
"""Height of a study's line."""
CAPTION = (
    "Dots are estimates, lines their intervals at the levels of the table; one that ends at the frame goes on beyond "
    "it. The dashed line is no effect."
)


def colours(sides: Sequence[Side]) -> dict[str, str]:
    """Each study's sentinel colour, by its letter."""
    return {side.letter: SERIES[i][0] for i, side in enumerate(sides)}


def figures(found: Comparisons, workload: str) -> list[Figure]:
    """Energy and metric on a workload; energies only where all studies know them in one quality."""
    drawn = []
    for energy in (True, False):
        here = [f for f in found.findings if f.key[0] == workload and (f.what == "energy") == energy]
        qualities = {f.quality[letter] for f in here for letter, c in f.found.items() if c}
        if here and len(qualities) == 1:
            drawn.append(dots(found, workload, here, qualities.pop()))
    return drawn


def dots(found: Comparisons, workload: str, findings: Sequence[Finding], quality: str) -> Figure:
    """A dot and an interval for each method and study."""
    what, metric = findings[0].what, findings[0].metric
    scale = 1.0 if what == "energy" else metric.scale
    if what == "energy":
        title, axis = "Energy ratio, study by study", f"energy over {findings[0].baseline}’s ({quality}), log scale"
    else:
        title = f"{metric.words.capitalize()} difference, study by study"
        axis = metric.difference_heading(f"test {what} over {findings[0].baseline}’s")
    rows: list[dict[str, Any]] = [
        {
            "method": found.names[f.key],
            "study": letter,
            "estimate": scale * c.estimate,
            "low": scale * (c.estimate if c.low is None else c.low),
            "high": scale * (c.estimate if c.high is None else c.high),
        }
        for f in findings
        for letter, c in f.found.items()
        if c
    ]
    span = domain(rows, None if what == "energy" else metric)
    for row in rows:
        row |= {"low": max(row["low"], span[0]), "high": min(row["high"], span[1])}
    table = {
        letter: colour for letter, colour in colours(found.sides).items() if any(r["study"] == letter for r in rows)
    }
    colour = alt.Color(
        "study:N",
        scale=alt.Scale(domain=list(table), range=list(table.values())),
        legend=alt.Legend(symbolOpacity=1, columns=4),
    )
    methods = list(dict.fromkeys(row["method"] for row in rows))
    room = room_for(methods)
    x_scale = alt.Scale(type="log" if what == "energy" else "linear", domain=span, nice=False)
    x = alt.X(
        "low:Q", title=axis, scale=x_scale,
        axis=alt.Axis(tickCount=5, format="~g") if what == "energy" else alt.Axis(tickCount=5),
    )  # fmt: skip
    names = alt.Axis(ticks=False, domain=False, labelLimit=room, minExtent=room, maxExtent=room)
    y = alt.Y("method:N", sort=methods, title=None, axis=names)
    offset = alt.YOffset("study:N", sort=list(table))
    base = alt.Chart(chart_data(rows))
    neutral = alt.Chart(chart_data([{"at": 1 if what == "energy" else 0}]))
    chart = layered(
        neutral.mark_rule(color=MUTED[0], strokeDash=[3, 3]).encode(x=alt.X("at:Q")),
        base.mark_rule(strokeWidth=2).encode(x=x, x2=alt.X2("high:Q"), y=y, yOffset=offset, color=colour),
        base.mark_circle(size=64, opacity=1, stroke=INK[0], strokeWidth=0.5).encode(
            x=alt.X("estimate:Q"), y=y, yOffset=offset, color=colour
        ),
        width=WIDTH - room + 40,
        height=LANE * len(table) * len(methods) + 12,
    )
    slug = what if what == "energy" else metric.slug
    return render(f"{workload}-{slug}-by-study", title, CAPTION, chart)


def domain(rows: Sequence[dict[str, Any]], metric: Metric | None) -> tuple[float, float]:
    """The axis: all estimates and no effect, and of the intervals what leaves those legible."""
    estimates = [row["estimate"] for row in rows]
    low, high = min(row["low"] for row in rows), max(row["high"] for row in rows)
    if metric is None:  # ratios of energies
        least, most = min(*estimates, 1), max(*estimates, 1)
        room = max(4.0, most / least)
        return max(low, least / room) / 1.05, min(high, most * room) * 1.05
    least, most = min(*estimates, 0), max(*estimates, 0)
    room = max(2.0 if metric.is_accuracy else 0.0, 2 * (most - least))
    edge = 0.1 if metric.is_accuracy else 0.05 * ((most - least) or 1.0)
    return max(low, least - room) - edge, min(high, most + room) + edge
