"""Where an energy difference comes from: energy ratio = steps × time per step × power.

Beside it what arithmetic alone would give: the ratio of FLOPs is the energy ratio of two methods that both run at the
device's limit and at one power. How far each is from that limit is in the table.
"""

from typing import Any

import altair as alt

from bpfree.report import form
from bpfree.report.drawing import INK, MUTED, WIDTH, Figure, chart_data, heading, layered, render, scale
from bpfree.report.quantities import limit_per_step, seconds_per_step
from bpfree.report.summary import Method, Workload
from bpfree.statistics import Comparison

FACTORS = ("steps", "time per step", "power")
ROWS = (*FACTORS, "energy", "FLOPs")
ROW_HEIGHT, NAMES_WIDTH = 22, 95


def waterfall(workload: Workload) -> Figure | None:
    """Each factor as a bar from where the one before it ended, on a logarithmic axis; the energy last."""
    methods = [m for m in workload.methods if m.energy_ratio]
    if not methods:
        return None
    rows = {form.title(m.name): bars(m) for m in methods}
    ends = [each[key] for group in rows.values() for each in group for key in ("from", "to", "low", "high")]
    span = (min(*ends, 1) / 1.1, max(*ends, 1) * 1.3)
    last = len(rows) - 1
    parts = [part(name, rows[name], span, workload, titled=i == last) for i, name in enumerate(rows)]
    return render(
        f"{workload.name}-decomposition",
        "Where the energy difference comes from",
        "Left of the dashed line is less than the baseline. Each pale bar begins where the one above it ended; the "
        "full bar is the energy ratio, their product. Thin lines are intervals, the energy’s at its level among the "
        "comparisons. The diamond is the ratio of FLOPs: the energy ratio with both at the device’s arithmetic limit.",
        {"vconcat": parts, "spacing": 14, "resolve": {"scale": {"x": "shared"}}},
    )


def part(name: str, rows: list[dict[str, Any]], span: tuple[float, float], workload: Workload, *, titled: bool) -> Any:
    """One method's waterfall."""
    title = f"ratio to {baseline_of(workload)}, log scale" if titled else None
    x = alt.X(
        "from:Q", title=title, axis=alt.Axis(values=ticks(*span), format="~g"),
        scale=alt.Scale(type="log", domain=span, nice=False),
    )  # fmt: skip
    names = alt.Axis(ticks=False, domain=False, minExtent=NAMES_WIDTH, maxExtent=NAMES_WIDTH)
    y = alt.Y("row:N", sort=list(ROWS), title=None, axis=names)
    base = alt.Chart(chart_data([{**each, "method": name} for each in rows]))
    bar = base.transform_filter(alt.datum.row != "FLOPs")
    point = base.transform_filter(alt.datum.row == "FLOPs")
    one = alt.Chart(chart_data([{"one": 1}]))
    opacity = alt.condition(alt.datum.row == "energy", alt.value(1), alt.value(0.45))
    colour = scale(workload.methods).legend(None)
    return layered(
        one.mark_rule(color=MUTED[0], strokeDash=[3, 3]).encode(x=alt.X("one:Q")),
        bar.mark_bar(height=11).encode(x=x, x2=alt.X2("to:Q"), y=y, color=colour, opacity=opacity),
        bar.mark_rule(color=INK[0], strokeWidth=1.5).encode(x=alt.X("low:Q"), x2=alt.X2("high:Q"), y=y),
        point.mark_point(shape="diamond", size=70, color=INK[0], strokeWidth=1.5).encode(x=alt.X("to:Q"), y=y),
        base.mark_text(align="left", dx=8, color=INK[0], fontSize=12).encode(
            x=alt.X("label_at:Q"), y=y, text=alt.Text("label:N")
        ),
        width=WIDTH - NAMES_WIDTH,
        height=ROW_HEIGHT * len(rows),
        title=heading(name),
    )


def baseline_of(workload: Workload) -> str:
    """The baseline's name."""
    return form.title(workload.baseline.name) if workload.baseline else "the baseline"


def bars(m: Method) -> list[dict[str, Any]]:
    """The rows of one method's waterfall."""
    rows, at = [], 1.0
    for name in FACTORS:
        if factor := m.factors.get(name):
            rows.append(row(name, at, factor))
            at *= factor.estimate
    assert m.energy_ratio
    rows.append(row("energy", 1.0, m.energy_ratio))
    if flops := m.factors.get("FLOPs"):
        rows.append(row("FLOPs", 1.0, flops))
    return rows


def row(name: str, begin: float, factor: Comparison) -> dict[str, Any]:
    """A bar, the whiskers of an interval that exists, cut where it is beyond all bounds, and its label."""
    end = begin * factor.estimate
    low = max(begin * factor.low, end / 10) if factor.low is not None else end
    high = min(begin * factor.high, end * 10) if factor.high is not None else end
    return {
        "row": name, "from": begin, "to": end, "low": low, "high": high,
        "label": f"× {form.digits(factor.estimate)}", "label_at": end if name == "FLOPs" else max(begin, high),
    }  # fmt: skip


def ticks(low: float, high: float) -> list[float]:
    """Round ratios between two values, a few."""
    steps = [value * 10.0**power for power in range(-4, 5) for value in (1, 2, 5)]
    fine = [0.6, 0.7, 0.8, 0.9, 1.2, 1.5] if high / low < 4 else []
    return sorted({value for value in steps + fine if low <= value <= high})


def factor_row(m: Method, workload: Workload) -> dict[str, Any]:
    """A method's line in the table of factors; the baseline has times alone."""
    factors = {name: form.times(m.factors.get(name)) for name in (*FACTORS, "FLOPs")}
    if workload.quality == "modelled" and m.factors.get("power"):
        factors["power"] = (factors["power"][0], "by assumption")
    step, limit = mean(m, seconds_per_step), mean(m, limit_per_step)
    return {
        "name": form.title(m.name),
        "energy": form.times(m.energy_ratio),
        **{name.replace(" ", "_"): text for name, text in factors.items()},
        "step": form.number(step and 1000 * step),
        "limit": form.number(limit and 1000 * limit),
        "distance": f"{form.digits(step / limit, 2)}\u00a0×" if step and limit else form.ABSENT,
    }


def mean(m: Method, figure: Any) -> float | None:
    """The mean of a figure over the seeds that have it."""
    values = list(m.values(figure).values())
    return sum(values) / len(values) if values else None
