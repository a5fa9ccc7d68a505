"""The page: figures and tables put into the template."""

import shlex
from collections import Counter
from pathlib import Path
from typing import Any

import jinja2

from bpfree.records import Record, TunedCell
from bpfree.report import answer, audit, decomposition, devices, drawing, figures, form, protocol, quantities, reaching
from bpfree.report.summary import Method, Summary, Workload, imported, summarise
from bpfree.results import ResultsFolder
from bpfree.statistics import SIGN_FLIP_SEEDS

HERE = Path(__file__).parent


def build_report(results: Path | ResultsFolder, output: Path) -> Path:
    """Write `index.html` and `figures/*.svg` of a results folder.

    Raises
    ------
    WorldError
        The folder is not a study's, has no final run yet, or the output cannot be written.
    """
    summary = summarise(results.path if isinstance(results, ResultsFolder) else results)
    drawn = figures.all_figures(summary)
    target = ResultsFolder(output, "--output")
    for _, group in drawn:
        for figure in group:
            target.write_text(f"figures/{figure.name}.svg", figure.standalone)
    return target.write_text("index.html", page(summary, drawn))


def page(summary: Summary, drawn: list[tuple[Workload, list[drawing.Figure]]]) -> str:
    """The HTML text."""
    environment = jinja2.Environment(
        loader=jinja2.FileSystemLoader(HERE), autoescape=True, trim_blocks=True, lstrip_blocks=True,
        undefined=jinja2.StrictUndefined,
    )  # fmt: skip
    series = {form.title(m.name): v for w in summary.workloads for m, v in zip(w.methods, variables(w), strict=True)}
    return environment.get_template("page.html.jinja2").render(
        style=style(),
        study=summary.study,
        answer=answer.sentences(summary),
        imported=imported(summary.records),
        audit=audit.rows(summary) if imported(summary.records) else [],
        confidence=f"{summary.confidence:.0%}",
        sign_flip_seeds=SIGN_FLIP_SEEDS,
        sections=[section(workload, group, summary.confidence) for workload, group in drawn],
        runs=[run_row(record) for record in sorted(summary.records, key=order)],
        meters=meters(summary),
        devices=devices.rows(summary),
        protocol=protocol.sentences(summary),
        warnings=summary.warnings,
        environment=environment_rows(summary),
        command=f"bpfree study {shlex.quote(str(summary.study['name']) + '.toml')}",
        versions=versions(summary),
        study_toml=(summary.folder / "study.toml").read_text(),
        series=series,
    )


def variables(workload: Workload) -> list[str]:
    """The CSS variable of each method's colour."""
    table = drawing.colours(workload.methods)
    return [drawing.THEMED[table[m.name]] for m in workload.methods]


def style() -> str:
    """The style sheet, with the light theme's series colours put in."""
    colours = "; ".join(f"{variable}: {colour}" for _, variable, colour in drawing.SERIES)
    return (HERE / "style.css").read_text().replace("/* series */", f"{colours};")


def section(workload: Workload, group: list[drawing.Figure], confidence: float) -> dict[str, Any]:
    """Everything about one workload."""
    unit, per_joule = form.energy_unit(m.joules.estimate for m in workload.methods if m.joules)
    mass = form.mass_unit(m.co2e_grams.estimate for m in workload.methods if m.co2e_grams)
    comparisons = [row for m in workload.methods for row in comparison_rows(m)]
    return {
        "name": workload.name,
        "quality": workload.quality,
        "note": workload.note,
        "figures": group,
        "energy_unit": unit,
        "mass_unit": mass[0],
        "net": any(m.joules_net for m in workload.methods),
        "memory": any(m.device_bytes or m.host_bytes for m in workload.methods),
        "co2e": any(m.co2e_grams for m in workload.methods),
        "results": [result_row(m, per_joule, mass[1]) for m in workload.methods],
        "comparisons": comparisons,
        "signs": any(row["p"] for row in comparisons),
        "factors": [decomposition.factor_row(m, workload) for m in workload.methods if m.completed],
        "tuning": [tuning_row(m) for m in workload.methods if m.tuned],
        "target": None if workload.target is None else form.percent(workload.target.value),
        "reaching": reaching.rows(workload, confidence, per_joule),
        "ledger": [ledger_row(m) for m in workload.methods],
        "baseline": form.title(workload.baseline.name) if workload.baseline else None,
    }


def result_row(m: Method, per_joule: float, per_gram: float) -> dict[str, Any]:
    """A method's line in the main table: value and interval of each figure."""
    return {
        "name": form.title(m.name),
        "runs": f"{len(m.completed)} of {len(m.records)}",
        "accuracy": form.accuracy(m.accuracy),
        "difference": form.points(m.accuracy_difference),
        "joules": form.interval(m.joules, per_joule),
        "net": form.interval(m.joules_net, per_joule),
        "energy_ratio": form.times(m.energy_ratio),
        "seconds": form.interval(m.seconds),
        "time_ratio": form.times(m.factors.get("time")),
        "memory": form.interval(m.device_bytes or m.host_bytes, 1 / 2**20),
        "co2e": form.interval(m.co2e_grams, per_gram),
    }


def comparison_rows(m: Method) -> list[dict[str, str]]:
    """A method's members of the family that Holm's procedure holds to the study's level together."""
    members = (
        ("test accuracy, points", m.accuracy_difference, form.points),
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
            "p": ""
            if c.sign_flip_p is None
            else f"{form.digits(c.sign_flip_p, 2)} (floor {form.digits(c.sign_flip_floor, 2)})",
        }
        for what, c, printed in members
        if c is not None
    ]


def tuning_row(m: Method) -> dict[str, Any]:
    """What tuning a method took, and what it found."""
    t = m.tuned
    assert t is not None
    joules = figures.tuning_joules(m)
    total = None if joules is None or m.joules is None else joules + m.joules.estimate
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
        "joules": form.energy(joules),
        "total": form.energy(total),
        "best": form.percent(t.best_value),
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
        "per_sample": mean([f * 1e3 if (f := quantities.joules_per_sample(r)) else None for r in m.completed]),
        "per_flop": mean([f * 1e9 if (f := quantities.joules_per_flop(r)) else None for r in m.completed]),
        "joules": form.number(m.joules.estimate if m.joules else None),
        "to_best": form.number(m.joules_to_best.estimate if m.joules_to_best else None),
        "limit": ", ".join(sorted({limit(r) for r in m.records})) or form.ABSENT,
    }


def limit(record: Record) -> str:
    """The epochs that a run might take."""
    training = record.spec.training
    return str(training.max_epochs) if training.epochs_per_stage is None else f"{training.epochs_per_stage} a stage"


def order(record: Record) -> tuple[Any, ...]:
    """Runs in the order in which they were made."""
    return (record.spec.workload, record.block or 0, record.position or 0)


def run_row(record: Record) -> dict[str, str]:
    """A run's line."""
    cost = record.cost
    return {
        "workload": record.spec.workload,
        "name": form.title(record.spec.method),
        "optimizer": record.spec.optimizer,
        "seed": str(record.spec.seed),
        "status": record.status,
        "accuracy": form.percent(record.metrics.test_metric),
        "epochs": str(cost.epochs) if cost else form.ABSENT,
        "seconds": form.number(cost.train_seconds) if cost else form.ABSENT,
        "joules": form.number(cost.train_joules) if cost else form.ABSENT,
        "quality": cost.joules_quality if cost else form.ABSENT,
        "id": record.id,
    }


def meters(summary: Summary) -> list[dict[str, str]]:
    """Each component with its method and quality over the final runs, and why it is so."""
    found: Counter[tuple[str, str, str, str]] = Counter()
    resolutions: dict[tuple[str, str, str, str], list[float]] = {}
    for record in summary.records:
        phase = record.phases.get("train")
        for r in phase.readings if phase else []:
            key = (r.component, r.method, r.quality, r.reason or "")
            found[key] += 1
            resolutions.setdefault(key, []).extend([] if r.resolution is None else [r.resolution])
    counted = {component for r in summary.records if r.cost for component in r.cost.boundary}
    return [
        {
            "component": component, "method": method.replace("_", " "), "quality": quality, "reason": reason,
            "resolution": f"{form.digits(100 * max(worst), 2)} %" if (worst := resolutions[key]) else form.ABSENT,
            "runs": str(count), "counted": "yes" if component in counted else "no",
        }
        for key, count in sorted(found.items())
        for component, method, quality, reason in [key]
    ]  # fmt: skip


def versions(summary: Summary) -> str:
    """Which code made the runs."""
    runs = sorted(summary.records, key=order)
    made = [(r.environment.get("bpfree", "of unknown version"), r.environment.get("commit")) for r in runs]
    return "; ".join(
        f"bpfree {number}" + (f" at commit {commit}" if commit else ", no commit recorded")
        for number, commit in dict.fromkeys(made)
    )


def environment_rows(summary: Summary) -> list[tuple[str, str]]:
    """Where the runs were made; several values where they differ."""
    rows: dict[str, list[str]] = {}
    for record in summary.records:
        for key, value in record.environment.items():
            if key in ("packages", "load_average"):
                continue
            if value is None:
                continue
            text = form.mebibytes(value) + " MiB" if key.endswith("_bytes") else str(value)
            seen = rows.setdefault(key.removesuffix("_bytes").replace("_", " "), [])
            if text not in seen:
                seen.append(text)
    packages = [record.environment.get("packages") or {} for record in summary.records]
    lists = [", ".join(f"{name} {number}" for name, number in found.items()) for found in packages]
    rows["packages"] = list(dict.fromkeys(filter(None, lists)))
    carbon = {r.cost.carbon.source for r in summary.records if r.cost and r.cost.carbon}
    rows["CO2e"] = (
        sorted(carbon) or rows.get("CO2e") or ["not computed: the study names no country and no carbon intensity"]
    )
    return [(key, "; ".join(values)) for key, values in rows.items()]
