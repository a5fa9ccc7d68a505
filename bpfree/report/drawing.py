"""How figures are drawn: altair describes, vl-convert renders SVG. One colour an algorithm everywhere, in both themes.

Charts are drawn with sentinel colours. Inside the page these become CSS variables, so that a figure follows the
page's theme; a file that stands alone gets the light theme's colours.

Two ways of altair's are dear and avoided throughout: an encoding given as a string (`x="at:Q"`, twelve milliseconds
each, where `alt.X("at:Q")` takes none) and its own layering (`layered` below instead).
"""

import re
from collections.abc import Callable, Iterable, Sequence
from concurrent.futures import Executor
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import altair as alt
from altair.utils import schemapi
from pydantic_core import to_json

from bpfree.report import form
from bpfree.report.summary import Method
from bpfree.report_workers import begin, svg_of

WIDTH, HEIGHT = 440, 260
NAMES_WIDTH, LETTER_WIDTH = 130, 7.6
"""Room for names beside bars and axes, at least and for each letter, whatever font the page is shown in."""
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
PARTS = ("results", "tuning", "trials")
"""Of a workload's section, in which figures stand; the last holds each method's own."""
FIXED = {"backprop": 0, "forward_forward": 1, "cascaded_forward": 2, "mono_forward": 3}
LIGHT = {sentinel: colour for sentinel, _, colour in (INK, MUTED, GRID, PAPER, *SERIES)}
THEMED = {sentinel: f"var({variable})" for sentinel, variable, _ in (INK, MUTED, GRID, PAPER, *SERIES)}


@dataclass
class Figure:
    """A figure for the page: inline SVG that follows the theme, and the same as a file; rendered when it is needed."""

    name: str
    title: str
    caption: str
    chart: str
    """In Vega-Lite's words, as JSON, with sentinel colours."""
    part: str = PARTS[0]
    """Of the page."""
    rendered: Callable[[], str] | None = None
    """What gives the renderer's SVG, once it has begun."""

    def begin(self, pool: Executor | None) -> "Figure":
        """Have it rendered by another process, if there is one that is free before its SVG is asked for."""
        self.rendered = begin(pool, svg_of, self.chart, wait=False)
        return self

    @cached_property
    def svg(self) -> str:
        """In sentinel colours."""
        return unique(self.rendered() if self.rendered else svg_of(self.chart), self.name)

    @property
    def inline(self) -> str:
        """For the page."""
        return inline(self.svg, self.title)

    @property
    def standalone(self) -> str:
        """For a file."""
        return replaced(self.svg, LIGHT)


def finish(figures: Sequence[Figure]) -> None:
    """Render what no other process has begun, from the last on, as they begin with the first."""
    for figure in reversed(figures):
        _ = figure.svg


class Rows(alt.Data):  # type: ignore[misc]  # altair builds it from its schema
    """Data of a chart, which altair would else copy at every step of building it, and check row by row."""

    def __deepcopy__(self, memo: Any) -> "Rows":
        return self

    def to_dict(self, *_: Any, **__: Any) -> dict[str, Any]:
        """As they are."""
        return {"values": self.values}


def chart_data(rows: Sequence[dict[str, Any]]) -> Rows:
    """Rows as the data of a chart; they are not changed afterwards."""
    with schemapi.debug_mode(False):
        return Rows(values=rows)


def colours(methods: Sequence[Method]) -> dict[str, str]:
    """Each method's sentinel colour."""
    free = iter([i for i in range(len(SERIES)) if i not in FIXED.values()] * len(methods))
    labels = [m.label for m in methods]
    return {
        m.name: SERIES[FIXED[m.label] if m.label in FIXED and labels.count(m.label) == 1 else next(free)][0]
        for m in methods
    }


def layered(*charts: Any, **properties: Any) -> dict[str, Any]:
    """Charts on one another, as alt.layer lays them; that copies each of them several times over."""
    return {"layer": [described(chart) for chart in charts], **properties}


def heading(text: str) -> dict[str, Any]:
    """A panel's title."""
    return {"text": text, "anchor": "start", "color": INK[0], "fontSize": 13, "fontWeight": "normal"}


def described(chart: Any) -> dict[str, Any]:
    """A chart, or a part of one, in Vega-Lite's words; unchecked: of many rows that takes minutes."""
    if isinstance(chart, dict):
        return chart
    found: dict[str, Any] = chart.to_dict(validate=False, context={"top_level": False})
    return found


def render(name: str, title: str, caption: str, chart: Any, part: str = PARTS[0]) -> Figure:
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
    spec = described(chart) | {
        "$schema": alt.SCHEMA_URL,
        "background": "transparent",
        "padding": {"left": 4, "right": 16, "top": 4, "bottom": 4},
        "config": {"axis": axis, "legend": legend, "view": {"stroke": None}},
    }
    name = re.sub(r"[^\w.-]+", "-", name)  # it becomes a file's name and an id, whatever the study calls its workload
    text = to_json(spec, inf_nan_mode="null").decode()  # of objects the renderer makes text too, and more slowly
    return Figure(name, title, caption, text, part)


def unique(svg: str, name: str) -> str:
    """Clipping areas named after their figure: the renderer numbers them through, over all that a process renders."""
    found = dict.fromkeys(re.findall(r'id="(clip\d+)"', svg))
    names = {old: f"{name}-{i}" for i, old in enumerate(found)}
    return re.sub(r"\bclip\d+\b", lambda match: names.get(match.group(), match.group()), svg)


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


def room_for(names: Iterable[str]) -> float:
    """How wide the names beside bars or axes are, at most."""
    return max(NAMES_WIDTH, LETTER_WIDTH * max(map(len, names)))
