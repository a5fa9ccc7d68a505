"""The page of a calibration: the one setting of each optimizer that is best over a suite, and how it compares."""

import shlex
from collections import Counter
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from bpfree import outcomes, scoring
from bpfree.outcomes import CALIBRATED, NAIVE, Budget, MethodOutcome
from bpfree.records import Record
from bpfree.report import calibration_figures as charts
from bpfree.report import calibration_points as points
from bpfree.report import calibration_runs as runs
from bpfree.report import calibration_verdict as verdicts
from bpfree.report import devices, drawing, figure_files, form, provenance, templates
from bpfree.report.calibration_runs import KINDS, Arrival, Calibration, title
from bpfree.report.calibration_scores import RESAMPLES, Board, Scores, board, verdict
from bpfree.results import ResultsFolder
from bpfree.statistics import Interval


def is_calibration(folder: ResultsFolder) -> bool:
    """Whether a results folder is of a calibration that has ended."""
    return (folder.path / outcomes.FILE).is_file()


def write(folder: ResultsFolder, target: ResultsFolder, formats: Sequence[str] = ()) -> Path:
    """Write `index.html` and `figures/*.svg` of a calibration; `formats` are further ones for the figures.

    Raises
    ------
    WorldError
        Its outcome or a record is damaged, or the output cannot be written.
    """
    found = runs.load(folder)
    scored = board(found)
    drawn = charts.figures(found, scored)
    figure_files.write(drawn, target, formats)
    return target.write_text("index.html", page(found, scored, drawn))


def page(found: Calibration, scored: Board, drawn: Sequence[drawing.Figure]) -> str:
    """The HTML text."""
    outcome = found.outcome
    by_name = {m.name: m for m in outcome.methods}
    ranked = [by_name[name] for name in scored.order]
    looks = charts.look(list(by_name))
    sensitivities = [points.sensitivity(m, found) for m in ranked]
    return templates.render(
        "calibration.html.jinja2",
        title=outcome.name,
        description=outcome.description,
        outcome=outcome,
        baseline=title(outcome.baseline),
        level=form.level(outcome.confidence),
        resamples=RESAMPLES,
        tau_max=f"{scoring.TAU_MAX:g}",
        answer=verdicts.sentences(found, scored),
        methods=verdicts.methods(found, scored),
        trust=verdicts.trust(found, scored),
        rows=[score_row(m, scored, outcome.baseline) for m in ranked],
        quality=found.quality,
        profiles=[figure for figure in drawn if figure.name.startswith("profiles")],
        best_of_few=[figure for figure in drawn if not figure.name.startswith("profiles")],
        settings=[points.setting(m) for m in ranked],
        workloads=[workload(b, found, ranked) for b in outcome.workloads],
        tables=[points.table(m, found) for m in ranked],
        sensitivities=sensitivities,
        clear_knobs=points.clear_knobs(sensitivities, outcome.confidence),
        fewest=points.FEWEST_POINTS,
        ledger=ledger(found, ranked),
        meters=provenance.meters(found.finals),
        devices=device_rows(found),
        warnings=warnings(found),
        runs=[row for m in ranked for row in run_rows(m, found)],
        command=f"bpfree calibrate {shlex.quote(outcome.name + '.toml')}",
        versions=provenance.versions(found.finals),
        environment=provenance.environment_rows(found.finals),
        series={title(name): drawing.THEMED[colour] for name, (colour, _) in looks.items()},
    )


def score_row(m: MethodOutcome, scored: Board, baseline: str) -> dict[str, Any]:
    """A method's line of the tables of scores."""
    best, naive = scored.steps[CALIBRATED], scored.steps[NAIVE]
    total = best.times.shape[1]
    d = best.difference(m.name, baseline)
    kept = m.selected == NAIVE
    return {
        "name": title(m.name),
        "naive": score(naive.of(m.name)),
        "calibrated": score(best.of(m.name)),
        "difference": difference(d, verdict(d)) if m.name != baseline else ("baseline", ""),
        "gained": difference(scored.gained[m.name]) if not kept else ("defaults kept", ""),
        "trapezoid": f"{scoring.trapezoid_score(best.ratios[m.name]):.3f}",
        "hits": (f"{best.hits(m.name)} of {total}", f"naive {naive.hits(m.name)} of {total}"),
        "table": score(scored.table.of(m.name)),
        "left_out": score(scored.left_out.of(m.name)),
        "lost": difference(scored.lost[m.name]),
        "seconds": [score(scored.seconds[kind].of(m.name)) for kind in KINDS],
        "joules": [score(scored.joules[kind].of(m.name)) if scored.joules else (form.ABSENT, "") for kind in KINDS],
        "relative": [relative(scores, m.name, baseline) for scores in (naive, best)]
        if m.name != baseline
        else [("baseline", "")] * 2,
        "copies": f"{m.copies:g}",
    }


def score(x: Interval) -> tuple[str, str]:
    """A score, and its interval."""
    low, high = x.low, x.high
    return f"{x.estimate:.3f}", "one seed" if low is None or high is None else f"{low:.3f} to {high:.3f}"


def difference(x: Interval, word: str = "") -> tuple[str, str]:
    """A difference of scores, its interval, and what that shows."""
    if x.low is None or x.high is None:
        return points.signed(x.estimate), "one seed"
    bounds = f"{points.signed(x.low)} to {points.signed(x.high)}"
    return points.signed(x.estimate), f"{bounds}: {word}" if word else bounds


def relative(scores: Scores, name: str, baseline: str) -> tuple[str, str]:
    """Steps over the baseline's, where both reached the target."""
    mean, n = scores.relative(name, baseline)
    if mean is None:
        return form.ABSENT, "none in common"
    bounds = "" if mean.low is None or mean.high is None else f"{form.bounds(mean.low, mean.high)}; "
    return f"{form.digits(mean.estimate)}\u00a0×", f"{bounds}on {n}"


def workload(target: Budget, found: Calibration, ranked: Sequence[MethodOutcome]) -> dict[str, Any]:
    """A workload with what every method took to its target."""
    arrivals = {(m.name, kind): found.arrivals(m.finals[kind][target.name], target) for m in ranked for kind in KINDS}
    joules = [run.joules or 0 for row in arrivals.values() for run in row if run.reached]
    unit, per_joule = form.energy_unit(joules)
    reference = f"{target.reference_steps:,.0f} steps" if target.reference_steps else "none: nobody reached it"
    return {
        "name": target.name,
        "target": f"{target.metric.replace('_', ' ')} {'≥' if target.higher_is_better else '≤'} {target.target:.4g}",
        "target_from": target.target_from,
        "budget": f"{target.max_steps:,} steps of {target.batch_size} samples, evaluated every {target.evaluate_every}",
        "reference": reference,
        "unit": unit,
        "rows": [
            {"name": title(m.name), "cells": [arrival_cells(arrivals[m.name, kind], per_joule) for kind in KINDS]}
            for m in ranked
        ],
    }


def arrival_cells(row: Sequence[Arrival], per_joule: float) -> dict[str, str]:
    """Medians over the seeds of what it took, and how many reached the target."""
    n = sum(run.reached for run in row)
    known = all(run.joules is not None for run in row)
    return {
        "reached": f"{n} of {len(row)}",
        "steps": points.steps([run.steps for run in row]),
        "seconds": middle([run.seconds for run in row]),
        "joules": middle([run.joules or 0 for run in row], per_joule) if known else form.ABSENT,
        "remark": ended(row),
    }


def middle(values: Sequence[float], scale: float = 1.0) -> str:
    """The median, or a dash where it is a miss."""
    value = scoring.median(values)
    return form.digits(value * scale) if value < float("inf") else form.ABSENT


def ended(row: Sequence[Arrival]) -> str:
    """How runs ended that were not completed."""
    counts = Counter(run.status.replace("_", " ") for run in row if run.status != "completed")
    return ", ".join(f"{count} {status}" for status, count in counts.items())


def ledger(found: Calibration, ranked: Sequence[MethodOutcome]) -> dict[str, Any]:
    """What choosing each method's setting took: all runs of the table, those of the defaults among them."""
    ids = {m.name: [i for arm in m.arms for row in arm.runs.values() for i in row] for m in ranked}
    made = {name: [record for i in mine if (record := found.records[i])] for name, mine in ids.items()}
    costs = {name: [record.cost for record in mine if record.cost] for name, mine in made.items()}
    qualities = {cost.joules_quality for mine in costs.values() for cost in mine}
    known = all(cost.train_joules is not None for mine in costs.values() for cost in mine)
    whole = known and qualities in ({"measured"}, {"modelled"})
    rows = [
        {
            "name": title(m.name),
            "knobs": str(len(m.knobs)),
            "points": str(len(m.arms) - 1),
            "runs": f"{len(made[m.name])} of {len(ids[m.name])}",
            "diverged": str(sum(record.status == "diverged" for record in made[m.name])),
            "steps": f"{sum(cost.steps for cost in costs[m.name]):,}",
            "seconds": form.seconds(sum(cost.train_seconds for cost in costs[m.name])),
            "joules": form.energy(sum(cost.train_joules or 0 for cost in costs[m.name])) if whole else form.ABSENT,
        }
        for m in ranked
    ]
    return {"rows": rows, "quality": qualities.pop() if whole else "absent"}


def device_rows(found: Calibration) -> list[dict[str, Any]]:
    """The GPUs while the final runs were made: a line a method and workload."""
    states: dict[tuple[str, str], list[Any]] = {}
    for record in found.finals:
        if record.gpus:
            states.setdefault((record.spec.workload, title(record.spec.optimizer)), []).extend(record.gpus)
    return [{"workload": w, "name": name} | devices.row(seen) for (w, name), seen in states.items()]


def warnings(found: Calibration) -> list[str]:
    """What a reader must know: runs that did not complete, and what runs themselves warn of; counted."""
    lines = Counter(line for record in found.finals for line in complaints(record))
    rows = [f"{line} ({count} run{'s' if count > 1 else ''})" for line, count in lines.items()]
    facts: list[tuple[Callable[[Record], Any], str]] = [
        (lambda r: (r.environment.get("cpu"), r.environment.get("gpu")), "on different machines"),
        (lambda r: (r.environment.get("bpfree"), str(r.environment.get("packages"))), "with different versions"),
    ]
    rows += [f"the final runs were made {text}" for key, text in facts if len({key(r) for r in found.finals}) > 1]
    if any(str(r.environment.get("commit")).endswith("+changes") for r in found.finals):
        rows.append("the code had changes that are in no commit, so the commit alone does not reproduce these runs")
    return rows


def complaints(record: Record) -> list[str]:
    """What is to be said of a final run."""
    where = f"{title(record.spec.optimizer)} on {record.spec.workload}"
    reason = (record.error or "").strip().splitlines()[-1:]
    status = [] if record.status == "completed" else [f"{where}: {': '.join([record.status, *reason])}"]
    return [*status, *(f"{where}: {text}" for text in record.warnings)]


def run_rows(m: MethodOutcome, found: Calibration) -> list[dict[str, str]]:
    """A line a final run of a method; one where its defaults are its best setting."""
    kinds = KINDS if m.selected != NAIVE else (CALIBRATED,)
    rows = []
    for target in found.outcome.workloads:
        for kind in kinds:
            for seed, run in zip(found.outcome.seeds, m.finals[kind][target.name], strict=True):
                record = found.records[run]
                took = runs.arrival(record, target)
                rows.append({
                    "name": title(m.name), "workload": target.name, "kind": kind, "seed": str(seed),
                    "status": took.status, "steps": points.steps([took.steps]), "seconds": middle([took.seconds]),
                    "joules": form.ABSENT if took.joules is None else middle([took.joules]),
                    "quality": record.cost.joules_quality if record and record.cost else form.ABSENT, "id": run,
                })  # fmt: skip
    return rows
