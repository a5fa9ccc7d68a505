"""Figures: altair draws, vl-convert renders SVG. One colour an algorithm everywhere, in both themes.

Charts are drawn with sentinel colours. Inside the page these become CSS variables, so that a figure follows the
page's theme; a file that stands alone gets the light theme's colours.
"""

import base64
import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import altair as alt
import vl_convert

from bpfree.records import Phase, Reading, Record
from bpfree.report import form
from bpfree.report.summary import Method, Summary, Workload, joules_of

WIDTH, HEIGHT = 440, 260
NAMES_WIDTH = 130
"""Room for the methods' names beside bars, whatever font the page is shown in."""
FONT = "system-ui, -apple-system, 'Segoe UI', Roboto, 'Helvetica Neue', Arial, sans-serif"
# Sentinel, CSS variable, light theme's colour. Series colours are Okabe and Ito's, darkened for contrast on white.
INK = ("#010101", "--ink", "#1c2430")
MUTED = ("#020202", "--muted", "#5a6675")
GRID = ("#030303", "--grid", "#dfe4ea")
PAPER = ("#040404", "--paper", "#ffffff")
SERIES = [
    ("#050505", "--series-1", "#0067a8"),
    ("#060606", "--series-2", "#c24e00"),
    ("#070707", "--series-3", "#007d5c"),
    ("#080808", "--series-4", "#a8478a"),
    ("#090909", "--series-5", "#7a6a00"),
    ("#0a0a0a", "--series-6", "#2b8fb8"),
    ("#0b0b0b", "--series-7", "#7d5cc6"),
    ("#0c0c0c", "--series-8", "#5f6b78"),
]
FIXED = {"backprop": 0, "forward_forward": 1, "cascaded_forward": 2, "mono_forward": 3}
LIGHT = {sentinel: colour for sentinel, _, colour in (INK, MUTED, GRID, PAPER, *SERIES)}
THEMED = {sentinel: f"var({variable})" for sentinel, variable, _ in (INK, MUTED, GRID, PAPER, *SERIES)}
PHASES = ["setup", "idle", "train", "validate", "test"]


@dataclass(frozen=True)
class Figure:
    """A figure for the page: inline SVG that follows the theme, and the same as a file."""

    name: str
    title: str
    caption: str
    inline: str
    standalone: str

    @property
    def link(self) -> str:
        """The file as a data address."""
        return "data:image/svg+xml;base64," + base64.b64encode(self.standalone.encode()).decode()


def colours(methods: Sequence[Method]) -> dict[str, str]:
    """Each method's sentinel colour."""
    free = iter([i for i in range(len(SERIES)) if i not in FIXED.values()] * len(methods))
    several = len({m.optimizer for m in methods}) > 1
    return {
        m.name: SERIES[FIXED[m.algorithm] if m.algorithm in FIXED and not several else next(free)][0] for m in methods
    }


def render(name: str, title: str, caption: str, chart: Any) -> Figure:
    """A chart as a figure."""
    axis = {
        "labelColor": MUTED[0], "titleColor": INK[0], "gridColor": GRID[0], "domainColor": MUTED[0],
        "tickColor": MUTED[0], "labelFontSize": 13, "titleFontSize": 13, "titleFontWeight": "normal",
        "labelFont": "sans-serif", "titleFont": "sans-serif", "titlePadding": 8, "labelFlush": False,
    }  # fmt: skip
    legend = {
        "labelColor": INK[0], "titleColor": INK[0], "labelFontSize": 13, "labelFont": "sans-serif", "orient": "top",
        "title": None, "columns": 2, "columnPadding": 32, "symbolStrokeWidth": 3, "labelLimit": 220,
    }  # fmt: skip
    spec = (
        chart.configure(background="transparent", padding={"left": 4, "right": 16, "top": 4, "bottom": 4})
        .configure_axis(**axis)
        .configure_legend(**legend)
        .configure_view(stroke=None)
        .to_dict()
    )
    svg = vl_convert.vegalite_to_svg(spec)
    return Figure(name, title, caption, inline(svg, title), replaced(svg, LIGHT))


def inline(svg: str, title: str) -> str:
    """For the page: themed, scaling, named for screen readers, without the parts that repeat in every figure."""
    svg = replaced(svg, THEMED)
    svg = re.sub(r'\s(width|height)="[\d.]+"(?=[^>]*viewBox)', "", svg, count=2)
    svg = re.sub(r'\s(role|aria-\w+)="[^"]*"', "", svg)
    return svg.replace("<svg", f'<svg role="img" aria-label="{attribute(title)}"', 1)


def attribute(text: str) -> str:
    """Text that may stand in an attribute."""
    return text.replace("&", "&amp;").replace('"', "&quot;").replace("<", "&lt;")


def replaced(svg: str, table: dict[str, str]) -> str:
    """Sentinel colours replaced, and the font by the page's."""
    svg = re.sub("#0[0-9a-f]0[0-9a-f]0[0-9a-f]", lambda match: table.get(match.group(), match.group()), svg)
    return svg.replace('font-family="sans-serif"', f'font-family="{FONT}"')


def scale(methods: Sequence[Method]) -> Any:
    """The colour channel of a chart over methods."""
    table = colours(methods)
    domain = [form.title(m.name) for m in methods]
    span = alt.Scale(domain=domain, range=[table[m.name] for m in methods])
    return alt.Color("method:N", scale=span, legend=alt.Legend(symbolOpacity=1))


def all_figures(summary: Summary) -> list[tuple[Workload, list[Figure]]]:
    """The figures of every workload, those left out that have nothing to show or would compare unlike energies."""
    makers: Sequence[Callable[[Workload], Figure | None]] = (
        accuracy_energy, curves_by_epoch, curves_by_joules, energy_by_phase, tuning_cost
    )  # fmt: skip
    found = []
    for w in summary.workloads:
        suitable = makers if w.quality in ("measured", "modelled") else (curves_by_epoch,)
        found.append((w, [figure for make in suitable if (figure := make(w)) is not None]))
    return found


def accuracy_energy(workload: Workload) -> Figure | None:
    """Test accuracy against joules of training: seeds as dots, means with intervals."""
    methods = [m for m in workload.methods if m.accuracy and m.joules]
    if not methods:
        return None
    dots: list[dict[str, Any]] = [
        {"method": form.title(m.name), "joules": joules, "accuracy": 100 * (r.metrics.test_metric or 0)}
        for m in methods
        for r in m.completed
        if (joules := joules_of(r))
    ]
    means = [mean_row(m) for m in methods]
    # A wide interval may reach below zero, which a logarithmic axis cannot show.
    floor = min(row["joules"] for row in dots) / 2
    for row in means:
        row["left"] = max(row["left"], floor)
    title = f"training energy in J ({workload.quality}), log scale"
    x = alt.X("joules:Q", title=title, axis=alt.Axis(tickCount=5, format="~s"))
    x = x.scale(type="log", nice=False, padding=16)
    y = alt.Y("accuracy:Q", title="test accuracy in %", scale=alt.Scale(zero=False, padding=12))
    colour = scale(methods)
    seeds = alt.Chart(alt.Data(values=dots)).mark_circle(size=28, opacity=0.45).encode(x=x, y=y, color=colour)
    base = alt.Chart(alt.Data(values=means))
    point = base.mark_point(size=130, filled=True, opacity=1, stroke=PAPER[0], strokeWidth=1.5)
    chart = alt.layer(
        seeds,
        base.mark_rule(strokeWidth=2).encode(x=x, y="low:Q", y2="high:Q", color=colour),
        base.mark_rule(strokeWidth=2).encode(x="left:Q", x2="right:Q", y=y, color=colour),
        point.encode(x=x, y=y, color=colour),
    )
    return render(
        f"{workload.name}-accuracy-energy",
        "Accuracy against energy",
        "Up and to the left is better. Small dots are seeds; large ones their means, with the interval of each mean.",
        chart.properties(width=WIDTH, height=HEIGHT),
    )


def mean_row(m: Method) -> dict[str, Any]:
    """A method's mean and the ends of its intervals; a single seed has none."""
    assert m.accuracy
    assert m.joules
    a, j = m.accuracy, m.joules

    def end(value: float | None, estimate: float) -> float:
        return estimate if value is None else value

    return {
        "method": form.title(m.name),
        "joules": j.estimate,
        "accuracy": 100 * a.estimate,
        "low": 100 * end(a.low, a.estimate),
        "high": 100 * end(a.high, a.estimate),
        "left": end(j.low, j.estimate),
        "right": end(j.high, j.estimate),
    }


def curve_rows(methods: Sequence[Method], x: Callable[[Record, Any], float | None]) -> list[dict[str, Any]]:
    """One row an evaluation, one line a run."""
    return [
        {"method": form.title(m.name), "run": r.id, "x": x(r, e), "accuracy": 100 * e.validation_metric}
        for m in methods for r in m.completed for e in thinned(r.history) if x(r, e) is not None
    ]  # fmt: skip


def thinned(history: Sequence[Any], most: int = 120) -> list[Any]:
    """At most so many points of a curve, evenly spaced, the last one among them."""
    every = -(-len(history) // most)
    return [e for i, e in enumerate(history) if i % every == 0 or i == len(history) - 1]


def curves(
    workload: Workload, name: str, title: str, caption: str, rows: list[dict[str, Any]], x: Any
) -> Figure | None:
    """Validation accuracy along some axis."""
    methods = [m for m in workload.methods if m.completed]
    if not rows:
        return None
    low = sorted(row["accuracy"] for row in rows)[len(rows) // 20]
    y = alt.Y("accuracy:Q", title="validation accuracy in %", scale=alt.Scale(domainMin=max(0, low - 2), zero=False))
    chart = (
        alt.Chart(alt.Data(values=rows))
        .mark_line(strokeWidth=1.6, opacity=0.7, clip=True)
        .encode(x=x, y=y, detail="run:N", color=scale(methods))
        .properties(width=WIDTH, height=HEIGHT)
    )
    return render(f"{workload.name}-{name}", title, caption, chart)


def curves_by_epoch(workload: Workload) -> Figure | None:
    """Learning curves over passes."""
    methods = [m for m in workload.methods if m.completed]
    return curves(
        workload, "curves-by-epoch", "Learning curves by epoch",
        "Each line is one seed. A method that trains block by block starts anew with each block; the lowest twentieth "
        "of the values is cut off.",
        curve_rows(methods, lambda _, e: e.epoch),
        alt.X("x:Q", title="passes over the training set", axis=alt.Axis(tickMinStep=1, format="d")),
    )  # fmt: skip


def curves_by_joules(workload: Workload) -> Figure | None:
    """Learning curves over energy."""
    methods = [m for m in workload.methods if m.completed]
    return curves(
        workload, "curves-by-joules", "Learning curves by energy",
        "The same runs over the joules spent so far, validation included. Further left at the same height is cheaper.",
        curve_rows(methods, lambda r, e: None if joules_of(r) is None else e.joules),
        alt.X("x:Q", title=f"energy so far in J ({workload.quality})", axis=alt.Axis(format="~s")),
    )  # fmt: skip


def phase_joules(record: Record, phase: Phase) -> float | None:
    """Joules of a phase over the record's boundary, if they are resolved."""
    assert record.cost is not None
    return total([r for r in phase.readings if r.component in record.cost.boundary], record.cost.joules_quality)


def total(readings: Sequence[Reading], quality: str) -> float | None:
    """The sum of readings that all are of the quality of the energy that they stand beside."""
    if not readings or any(r.joules is None or r.quality != quality for r in readings):
        return None
    return sum(r.joules or 0 for r in readings)


def energy_by_phase(workload: Workload) -> Figure | None:
    """Where the joules go."""
    rows = []
    for m in workload.methods:
        for phase in PHASES:
            values = [phase_joules(r, r.phases[phase]) for r in m.completed if phase in r.phases]
            known = [value for value in values if value is not None]
            if known:
                rows.append({"method": form.title(m.name), "part": phase, "joules": sum(known) / len(known)})
    shades = dict(zip(PHASES, (SERIES[7], GRID, SERIES[0], SERIES[5], SERIES[4]), strict=True))
    return stacked_bars(
        f"{workload.name}-energy-by-phase",
        "Energy by phase",
        "Set-up is loading, warm-up and counting; only training and validation enter the comparison.",
        f"mean energy of a run in J ({workload.quality})",
        rows,
        {phase: shade[0] for phase, shade in shades.items()},
    )


def tuning_joules(method: Method) -> float | None:
    """Joules of a cell's tuning over the boundary of its runs, if of their quality."""
    cost = next((r.cost for r in method.completed if r.cost), None)
    if cost is None or method.tuned is None:
        return None
    return total([r for r in method.tuned.readings if r.component in cost.boundary], cost.joules_quality)


def tuning_cost(workload: Workload) -> Figure | None:
    """One training, and the tuning that it took."""
    rows = []
    for m in workload.methods:
        joules = tuning_joules(m)
        if joules is not None and m.joules is not None:
            rows.append({"method": form.title(m.name), "part": "one training", "joules": m.joules.estimate})
            rows.append({"method": form.title(m.name), "part": "its tuning", "joules": joules})
    return stacked_bars(
        f"{workload.name}-tuning-cost",
        "Energy of tuning",
        "A method that is cheap to train may be dear to tune: all trials of its tuning beside one tuned training.",
        f"energy in J ({workload.quality})",
        rows,
        {"one training": SERIES[0][0], "its tuning": SERIES[7][0]},
    )


def stacked_bars(
    name: str, title: str, caption: str, axis: str, rows: list[dict[str, Any]], shades: dict[str, str]
) -> Figure | None:
    """One bar a method, in parts, the parts in the order of `shades`."""
    if not rows:
        return None
    parts = [part for part in shades if any(row["part"] == part for row in rows)]
    for row in rows:
        row["order"] = parts.index(row["part"])
    names = alt.Axis(ticks=False, domain=False, labelLimit=160, minExtent=NAMES_WIDTH, maxExtent=NAMES_WIDTH)
    chart = (
        alt.Chart(alt.Data(values=rows))
        .mark_bar(stroke=PAPER[0], strokeWidth=1)
        .encode(
            x=alt.X("sum(joules):Q", title=axis, axis=alt.Axis(format="~s", tickCount=6)),
            y=alt.Y("method:N", title=None, sort=None, axis=names),
            order=alt.Order("order:Q"),
            color=alt.Color(
                "part:N",
                scale=alt.Scale(domain=parts, range=[shades[part] for part in parts]),
                legend=alt.Legend(columns=len(parts)),
            ),
        )
        .properties(width=WIDTH - NAMES_WIDTH + 40, height=42 * len({row["method"] for row in rows}))
    )
    return render(name, title, caption, chart)
