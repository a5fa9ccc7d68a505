"""The figures of a report. A new one is a function here and its name in `described`."""

from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Executor
from typing import Any

import altair as alt

from bpfree.records import Phase, Record
from bpfree.report import form, over_workloads, tuning_figures
from bpfree.report.break_even import total_energy, tuning_joules
from bpfree.report.curves import curves_by_epoch, curves_by_joules, curves_by_seconds
from bpfree.report.decomposition import waterfall
from bpfree.report.drawing import INK, PAPER, WIDTH, Figure, chart_data, render, room_for, scale
from bpfree.report.energy_to_accuracy import energy_to_accuracy
from bpfree.report.front import metric_energy
from bpfree.report.power_trace import power_trace
from bpfree.report.quantities import total
from bpfree.report.summary import Summary, Workload
from bpfree.report.trials import Tuning
from bpfree.report.why import losses_by_epoch
from bpfree.results import ResultsFolder

TONES = {"train": 1.0, "validate": 0.66, "setup": 0.36, "idle": 0.24, "test": 0.14}
"""How full the colour of a bar's part is; the first two enter the comparison."""


def all_figures(
    summary: Summary, tuned: Sequence[Sequence[Tuning]], pool: Executor | None = None
) -> tuple[list[Figure], list[list[Figure]]]:
    """The figures over all workloads, and those of each with its tunings; those left out that have nothing to show.

    The processes of the pool, if there is one, begin to render each as soon as it is described. Which knobs mattered is
    not among them, as it takes long to weigh them.
    """
    overall = [figure.begin(pool) for figure in over_workloads.figure(summary)]
    each = list(zip(summary.workloads, tuned, strict=True))
    by_workload = [[figure.begin(pool) for figure in described(w, summary, found)] for w, found in each]
    return overall, by_workload


def described(workload: Workload, summary: Summary, tuned: Sequence[Tuning]) -> Iterator[Figure]:
    """A workload's figures, in the order of the page; none that would compare unlike energies."""
    single: Sequence[Callable[[Workload], Figure | None]] = (
        metric_energy, energy_to_accuracy, waterfall, curves_by_epoch, curves_by_seconds, curves_by_joules,
        losses_by_epoch, energy_by_phase, tuning_cost, lambda w: total_energy(w, summary.confidence),
    )  # fmt: skip
    without_energy = (curves_by_epoch, curves_by_seconds, losses_by_epoch)
    suitable = single if workload.quality in ("measured", "modelled") else without_energy
    found = [make(workload) for make in suitable]
    found.append(power_trace(workload, ResultsFolder(summary.folder)))
    yield from (figure for figure in found if figure)
    yield from tuning_figures.of_trials(workload, tuned)


def phase_joules(record: Record, phase: Phase) -> float | None:
    """Joules of a phase over the record's boundary, if they are resolved."""
    assert record.cost is not None
    return total([r for r in phase.readings if r.component in record.cost.boundary], record.cost.joules_quality)


def energy_by_phase(workload: Workload) -> Figure | None:
    """Where the joules go."""
    rows = []
    for m in workload.methods:
        for phase in TONES:
            values = [phase_joules(r, r.phases[phase]) for r in m.completed if phase in r.phases]
            known = [value for value in values if value is not None]
            if known:
                rows.append({"method": form.title(m.name), "part": phase, "joules": sum(known) / len(known)})
    if len({row["part"] for row in rows}) < 2:  # imported runs have one window: the table says it already
        return None
    return stacked_bars(
        f"{workload.name}-energy-by-phase",
        "Energy by phase",
        "Training and validation, in the fuller tones, are what is compared. Set-up is loading, warm-up and counting.",
        f"mean energy of a run in J ({workload.quality})",
        scale(workload.methods),
        rows,
        TONES,
    )


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
        scale(workload.methods),
        rows,
        {"one training": 1.0, "its tuning": 0.4},
    )


def stacked_bars(
    name: str, title: str, caption: str, axis: str, colour: Any, rows: list[dict[str, Any]], tones: dict[str, float]
) -> Figure | None:
    """One bar a method in its colour, in parts of different tone, the parts in the order of `tones`."""
    if not rows:
        return None
    parts = [part for part in tones if any(row["part"] == part for row in rows)]
    for row in rows:
        row["order"] = parts.index(row["part"])
    room = room_for(row["method"] for row in rows)
    names = alt.Axis(ticks=False, domain=False, labelLimit=room, minExtent=room, maxExtent=room)
    key = alt.Legend(
        columns=len(parts), columnPadding=14, symbolType="square", symbolFillColor=INK[0], symbolStrokeWidth=0
    )
    chart = (
        alt.Chart(chart_data(rows))
        .mark_bar(stroke=PAPER[0], strokeWidth=1)
        .encode(
            x=alt.X("sum(joules):Q", title=axis, axis=alt.Axis(format="~s", tickCount=6)),
            y=alt.Y("method:N", title=None, sort=None, axis=names),
            order=alt.Order("order:Q"),
            color=colour.legend(None),
            opacity=alt.Opacity(
                "part:N",
                scale=alt.Scale(type="ordinal", domain=parts, range=[tones[part] for part in parts]),
                legend=key,
            ),
        )
        .properties(width=WIDTH - room + 40, height=42 * len({row["method"] for row in rows}))
    )
    return render(name, title, caption, chart)
