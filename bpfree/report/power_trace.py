"""The power of one run over time, where its samples are kept beside its record."""

import csv
import gzip
import zlib
from pathlib import Path
from statistics import fmean as mean
from typing import Any

import altair as alt

from bpfree.errors import WorldError
from bpfree.records import Record
from bpfree.report import form
from bpfree.report.drawing import HEIGHT, INK, WIDTH, Figure, chart_data, layered, render, scale
from bpfree.report.summary import Workload
from bpfree.results import ResultsFolder

POINTS = 600
"""A line has no more: of a longer trace means over equal numbers of samples are drawn, which keep its energy."""
SHADES = {"set-up": 0.28, "idle": 0.06, "training": 0.14, "test": 0.42}
"""How dark each phase is, told apart from its neighbours."""

Samples = list[tuple[float, float]]
"""Seconds since the first sample, and watts."""


def power_trace(workload: Workload, folder: ResultsFolder) -> Figure | None:
    """The first run that has a trace, the baseline's before others."""
    ordered = sorted(workload.methods, key=lambda m: m is not workload.baseline)
    runs = [record for m in ordered for record in sorted(m.completed, key=lambda r: r.spec.seed)]
    found = next(((r, path) for r in runs if (path := folder.trace_path(r.id)).is_file()), None)
    return None if found is None else figure(workload, *found)


def read(path: Path) -> Samples:
    """The samples of a trace.

    Raises
    ------
    WorldError
        The file is damaged.
    """
    try:
        with gzip.open(path, "rt", newline="") as lines:
            return [(float(row["seconds"]), float(row["watts"])) for row in csv.DictReader(lines)]
    except (OSError, EOFError, zlib.error, ValueError, KeyError, TypeError):
        raise WorldError(f"{path} cannot be read: delete it and the report is made without it") from None


def thinned(samples: Samples) -> Samples:
    """Means over equal numbers of samples, so that few enough are left."""
    size = -(-len(samples) // POINTS)
    groups = [samples[i : i + size] for i in range(0, len(samples), size)]
    return [(mean(at for at, _ in group), mean(watts for _, watts in group)) for group in groups]


def spans(record: Record, end: float) -> list[dict[str, Any]]:
    """Where the phases lie, by their lengths: set-up and idling, training with its validations, test, idling again.

    The record has their sums. Idling is as long after a run as before it, and the device settles for about as long each
    time. Of a run that was repeated the phases are those up to the repeats, which follow them.
    """
    cost, length = record.cost, {name: phase.seconds for name, phase in record.phases.items()}
    repeats = cost.repeats if cost else 1
    again = cost is not None and cost.idle_watts_after is not None
    idle = length.get("idle", 0.0) / (2 if again and repeats == 1 else 1)
    settle = length.get("settle", 0.0) / (2 if repeats == 1 else 3)
    parts = [
        ("set-up", length.get("setup", 0.0)),
        ("idle", idle),
        ("", settle),
        ("training", length.get("train", 0.0) + length.get("validate", 0.0)),
        ("", settle),
        ("test", length.get("test", 0.0)),
    ]
    if cost and repeats > 1:
        parts += [("", settle), ("training", repeats * cost.train_seconds), ("", settle)]
    if again:
        parts.append(("idle", idle))
    found, at = [], 0.0
    for name, seconds in parts:
        if name and seconds and at < end:
            found.append({"phase": name, "seconds": at, "to": min(at + seconds, end)})
        at += seconds
    return found


def figure(workload: Workload, record: Record, path: Path) -> Figure | None:
    """A line of watts over shaded phases; None of an empty trace."""
    samples = read(path)
    if not samples:
        return None
    end = samples[-1][0]
    shaded = spans(record, end)
    (method,) = [m for m in workload.methods if record in m.completed]
    rows = [{"method": form.title(method.name), "seconds": at, "watts": watts} for at, watts in thinned(samples)]
    x = alt.X("seconds:Q", title="seconds since the first sample", scale=alt.Scale(domain=[0, end], nice=False))
    line = alt.Chart(chart_data(rows)).mark_line(strokeWidth=1.2)
    names = [name for name in SHADES if any(row["phase"] == name for row in shaded)]
    tone = alt.Opacity(
        "phase:N",
        scale=alt.Scale(type="ordinal", domain=names, range=[SHADES[name] for name in names]),
        legend=alt.Legend(columns=len(names), columnPadding=14, symbolType="square", symbolFillColor=INK[0]),
    )
    shades = alt.Chart(chart_data(shaded)).mark_rect(color=INK[0])
    y = alt.Y("watts:Q", title="power in W", scale=alt.Scale(zero=True))
    chart = layered(
        shades.encode(x=x, x2=alt.X2("to:Q"), opacity=tone),
        line.encode(x=x, y=y, color=scale([method]).legend(None)),
        width=WIDTH,
        height=HEIGHT,
    )
    return render(
        f"{workload.name}-power-trace",
        "Power of one run",
        f"{form.title(method.name)}, seed {record.spec.seed}: the GPU’s power as sampled, {len(samples):,} samples. "
        "Phases are placed by their lengths, so only roughly; training includes its validations, set-up is all that "
        "came before but idling.",
        chart,
    )
