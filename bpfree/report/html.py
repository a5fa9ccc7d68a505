"""The page: figures and tables put into the template."""

import gc
import shlex
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import Executor
from contextlib import contextmanager
from itertools import chain
from pathlib import Path
from typing import Any

from bpfree.records import Record, TunedCell
from bpfree.report import (
    answer,
    audit,
    break_even,
    calibration,
    claims,
    decomposition,
    devices,
    drawing,
    energy_to_accuracy,
    figure_files,
    figures,
    form,
    grid,
    over_workloads,
    protocol,
    provenance,
    quantities,
    reaching,
    templates,
    tuning_figures,
    why,
)
from bpfree.report.metric import ACCURACY, Metric
from bpfree.report.summary import Method, Summary, Workload, energy_quality, imported, summarise
from bpfree.report.trials import Tuning, tunings
from bpfree.results import ResultsFolder
from bpfree.statistics import SIGN_FLIP_SEEDS, Comparison


@contextmanager
def without_collection() -> Iterator[None]:
    """Do without the search for cycles: of thousands of records, which last to the end, it takes most of the time."""
    enabled = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if enabled:
            gc.enable()


@without_collection()
def build_report(
    results: Path | ResultsFolder, output: Path, formats: Sequence[str] = (), pool: Executor | None = None
) -> Path:
    """Write `index.html` and `figures/*.svg` of a results folder: a study's, or a calibration's.

    `formats` are further ones for the figures. A study's are rendered by the processes of the pool, if there is one.

    Raises
    ------
    RequestError
        There is no such format.
    WorldError
        The folder is neither, has no final run yet, or the output cannot be written.
    """
    figure_files.check(formats)
    folder = results if isinstance(results, ResultsFolder) else ResultsFolder(results)
    target = ResultsFolder(output, "--output")
    if calibration.is_calibration(folder):
        return calibration.write(folder, target, formats)
    summary = summarise(folder.path)
    tuned = [tunings(workload, summary.trials) for workload in summary.workloads]
    weighings = [tuning_figures.begin_to_weigh(found, pool) for found in tuned]
    overall, drawn = figures.all_figures(summary, tuned, pool)
    values = contents(summary, tuned)
    drawing.finish([*overall, *chain(*drawn)])
    for workload, group, begun in zip(summary.workloads, drawn, weighings, strict=True):
        group += tuning_figures.importance(workload, begun)
    by_section = [by_part(group) for group in drawn]
    text = templates.render("page.html.jinja2", overall=overall, drawn_by_section=by_section, **values)
    figure_files.write([*overall, *chain(*drawn)], target, formats)
    return target.write_text("index.html", text)


def by_part(group: Sequence[drawing.Figure]) -> dict[str, list[drawing.Figure]]:
    """A workload's figures, by the part of the page they stand in."""
    return {part: [figure for figure in group if figure.part == part] for part in drawing.PARTS}


def contents(summary: Summary, tuned: list[list[Tuning]]) -> dict[str, Any]:
    """All that the page says beside its figures."""
    series = {form.title(m.name): v for w in summary.workloads for m, v in zip(w.methods, variables(w), strict=True)}
    metrics = {workload.name: workload.metric for workload in summary.workloads}
    only = metrics[summary.workloads[0].name] if len(set(metrics.values())) == 1 else None
    return {
        "title": summary.study["name"],
        "description": summary.study.get("description"),
        "study": summary.study,
        "answer": answer.sentences(summary),
        "imported": imported(summary.records),
        "audit": audit.rows(summary) if imported(summary.records) else [],
        "claims": claims.rows(summary),
        "confidence": form.level(summary.confidence),
        "sign_flip_seeds": SIGN_FLIP_SEEDS,
        "over_workloads": over_workloads.rows(summary),
        "other_metrics": ", ".join(name for name, metric in metrics.items() if not metric.is_accuracy),
        "margin": summary.margin,
        "sections": [section(summary, *each) for each in zip(summary.workloads, tuned, strict=True)],
        "runs": [run_row(record, metrics) for record in sorted(summary.records, key=provenance.order)],
        "metric": only.heading(f"test {only.words}") if only else "test metric, accuracies in %",
        "meters": provenance.meters(summary.records),
        "devices": devices.rows(summary),
        "protocol": protocol.sentences(summary),
        "warnings": summary.warnings,
        "environment": provenance.environment_rows(summary.records),
        "command": f"bpfree study {shlex.quote(str(summary.study['name']) + '.toml')}",
        "versions": provenance.versions(summary.records),
        "study_toml": (summary.folder / "study.toml").read_text(),
        "series": series,
    }


def variables(workload: Workload) -> list[str]:
    """The CSS variable of each method's colour."""
    table = drawing.colours(workload.methods)
    return [drawing.THEMED[table[m.name]] for m in workload.methods]


def section(summary: Summary, workload: Workload, tuned: list[Tuning]) -> dict[str, Any]:
    """Everything about one workload but its figures."""
    unit, per_joule = form.energy_unit(m.joules.estimate for m in workload.methods if m.joules)
    mass = form.mass_unit(m.co2e_grams.estimate for m in workload.methods if m.co2e_grams)
    comparisons = [row for m in workload.methods for row in comparison_rows(m, summary.margin)]
    return {
        "name": workload.name,
        "quality": workload.quality,
        "note": workload.note,
        "unexplained": tuning_figures.unexplained(tuned),
        "break_even": break_even.rows(workload, summary.confidence),
        "break_even_unit": break_even.energy_unit(workload)[0],
        "energy_unit": unit,
        "mass_unit": mass[0],
        "net": any(m.joules_net for m in workload.methods),
        "memory": any(m.device_bytes or m.host_bytes for m in workload.methods),
        "co2e": any(m.co2e_grams for m in workload.methods),
        "results": [own_quality(m, workload) | result_row(m, per_joule, mass[1]) for m in workload.methods],
        "comparisons": comparisons,
        "signs": any(row["p"] for row in comparisons),
        "factors": [decomposition.factor_row(m, workload) for m in workload.methods if m.completed],
        "grid": grid.grid(workload),
        "tuning": [own_quality(m, workload) | tuning_row(m) for m in workload.methods if m.tuned],
        "metric": workload.metric,
        "target": None if workload.target is None else workload.metric.with_unit(workload.target.value),
        "reaching": reaching.rows(workload, summary.confidence, per_joule),
        "levels": [energy_to_accuracy.text(level, workload.metric) for level in energy_to_accuracy.levels(workload)],
        "to_levels": energy_to_accuracy.rows(workload, summary.confidence, per_joule),
        "why": why.section(workload, summary.confidence),
        "ledger": [own_quality(m, workload) | ledger_row(m) for m in workload.methods],
        "baseline": form.title(workload.baseline.name) if workload.baseline else None,
    }


def own_quality(m: Method, workload: Workload) -> dict[str, str]:
    """What the energies of a method's line are, where the head of their column cannot say it for all."""
    return {"quality": energy_quality([m]) if workload.quality == "mixed" and m.joules else ""}


def result_row(m: Method, per_joule: float, per_gram: float) -> dict[str, Any]:
    """A method's line in the main table: value and interval of each figure."""
    return {
        "name": form.title(m.name),
        "runs": f"{len(m.completed)} of {len(m.records)}",
        "metric": m.metric.interval(m.test_metric),
        "difference": m.metric.difference(m.metric_difference),
        "joules": form.interval(m.joules, per_joule),
        "net": form.interval(m.joules_net, per_joule, signed=True),
        "energy_ratio": form.times(m.energy_ratio),
        "seconds": form.interval(m.seconds),
        "time_ratio": form.times(m.factors.get("time")),
        "memory": form.interval(m.device_bytes or m.host_bytes, 1 / 2**20),
        "co2e": form.interval(m.co2e_grams, per_gram),
    }


def comparison_rows(m: Method, margin: float | None) -> list[dict[str, str]]:
    """A method's members of the family that Holm's procedure holds to the study's level together."""
    members = (
        (m.metric.difference_heading(f"test {m.metric.words}"), m.metric_difference, m.metric.difference),
        ("energy ratio", m.energy_ratio, form.times),
    )
    return [
        {
            "name": form.title(m.name),
            "what": what,
            "estimate": printed(c)[0],
            "interval": printed(c)[1],
            "level": form.level(c.confidence),
            "pairs": str(c.n) if c.n_baseline is None else f"{c.n} and {c.n_baseline}",
            "verdict": c.verdict,
            "equivalence": equivalence_text(m, c, margin),
            "p": ""
            if c.sign_flip_p is None
            else f"{form.digits(c.sign_flip_p, 2)} (floor {form.digits(c.sign_flip_floor, 2)})",
        }
        for what, c, printed in members
        if c is not None
    ]


def equivalence_text(m: Method, c: Comparison, margin: float | None) -> str:
    """The outcome of the two one-sided tests, and the interval that decides it; of the metric alone."""
    found = m.equivalence(margin) if c is m.metric_difference else None
    if found is None or found.low is None or found.high is None:
        return form.ABSENT
    interval = m.metric.difference_bounds(found.low, found.high)
    return f"{'shown' if found.shown else 'not shown'} ({interval})"


def tuning_row(m: Method) -> dict[str, Any]:
    """What tuning a method took, and what it found."""
    t = m.tuned
    assert t is not None
    tuned = ", ".join(
        f"{name} = {form.digits(value) if isinstance(value, float) else value}"
        for name, value in t.hyperparameters.items()
        if value is not None
    )
    return {
        "name": form.title(m.name),
        "trials": f"{t.trials}",
        "statuses": tuning_remark(t),
        "epochs": f"{t.epochs}",
        "seconds": form.seconds(t.seconds) if t.trials else form.ABSENT,
        "joules": form.energy(break_even.tuning_joules(m)),
        "best": m.metric.value(t.best_value if m.test_metric else None),
        "hyperparameters": tuned,
    }


def tuning_remark(tuned: TunedCell) -> str:
    """How the trials ended, and where the settings come from if not from this study."""
    ended = ", ".join(f"{count} {status}" for status, count in tuned.statuses.items()) or "not tuned"
    return f"{ended}; taken over from {tuned.taken_from}" if tuned.taken_from else ended


def ledger_row(m: Method) -> dict[str, Any]:
    """What was given to a method: rule 12 of honest comparison."""
    costs = [r.cost for r in m.completed if r.cost]
    n = len(costs)
    of_one_quality = m.completed if m.joules else []

    def mean(values: list[float | None]) -> str:
        known = [value for value in values if value is not None]
        return form.digits(sum(known) / n) if known and len(known) == n else form.ABSENT

    return {
        "name": form.title(m.name),
        "trials": f"{m.tuned.trials}" if m.tuned else form.ABSENT,
        "tuning_epochs": f"{m.tuned.epochs}" if m.tuned else form.ABSENT,
        "epochs": mean([c.epochs for c in costs]),
        "patience": form.ABSENT if m.patience_share is None else f"{m.patience_share:.0%}",
        "steps": mean([c.steps for c in costs]),
        "parameters": mean([c.parameters for c in costs]),
        "flops_per_step": mean([c.flops_per_step / 1e6 if c.flops_per_step else None for c in costs]),
        "flops_total": mean([f / 1e12 if (f := quantities.flops_of(r)) else None for r in m.completed]),
        "speed": mean([f / 1e9 if (f := quantities.flops_per_second(r)) else None for r in m.completed]),
        "per_sample": mean([f * 1e3 if (f := quantities.joules_per_sample(r)) else None for r in of_one_quality]),
        "per_flop": mean([f * 1e9 if (f := quantities.joules_per_flop(r)) else None for r in of_one_quality]),
        "joules": form.number(m.joules.estimate if m.joules else None),
        "to_best": form.number(m.joules_to_best.estimate if m.joules_to_best else None),
        "limit": ", ".join(sorted({limit(r) for r in m.records})) or form.ABSENT,
    }


def limit(record: Record) -> str:
    """The epochs that a run might take."""
    training = record.spec.training
    if training.max_steps:
        return f"{training.max_steps} steps"
    return str(training.max_epochs) if training.epochs_per_stage is None else f"{training.epochs_per_stage} a stage"


def run_row(record: Record, metrics: Mapping[str, Metric]) -> dict[str, str]:
    """A run's line; the metrics are those of the workloads."""
    cost, metric = record.cost, metrics.get(record.spec.workload, ACCURACY)
    return {
        "workload": record.spec.workload,
        "name": form.title(record.spec.method),
        "optimizer": record.spec.optimizer,
        "seed": str(record.spec.seed),
        "status": record.status,
        "metric": metric.value(metric.of(record)),
        "epochs": str(cost.epochs) if cost else form.ABSENT,
        "seconds": form.number(cost.train_seconds) if cost else form.ABSENT,
        "joules": form.number(cost.train_joules) if cost else form.ABSENT,
        "quality": cost.joules_quality if cost else form.ABSENT,
        "id": record.id,
    }
