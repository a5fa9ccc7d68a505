"""The page of compared studies: sentences and tables put into the template."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from bpfree.records import Record
from bpfree.report import comparison_figures as charts
from bpfree.report import comparison_words as words
from bpfree.report import drawing, figure_files, form, provenance, templates
from bpfree.report.comparison import Again, Comparisons, Finding, Side, listed, load
from bpfree.report.summary import energy_quality, imported
from bpfree.results import ResultsFolder

FACTORS = ("time", "steps", "time per step", "power")


def build_comparison(folders: Sequence[Path], output: Path, formats: Sequence[str] = ()) -> Path:
    """Write `index.html` and `figures/*.svg` of a comparison of studies; the first is the reference.

    `formats` are further ones for the figures.

    Raises
    ------
    RequestError
        These cannot be compared, or there is no such format.
    WorldError
        One is not the folder of a study or has no final run yet, or the output cannot be written.
    """
    figure_files.check(formats)
    found = load(folders)
    target = ResultsFolder(output, "--output")
    drawn = {workload: charts.figures(found, workload) for workload in found.workloads}
    figure_files.write((figure for group in drawn.values() for figure in group), target, formats)
    return target.write_text("index.html", page(found, drawn))


def page(found: Comparisons, drawn: dict[str, list[drawing.Figure]]) -> str:
    """The HTML text."""
    return templates.render(
        "comparison.html.jinja2",
        title=" against ".join(side.name for side in found.sides),
        description=None,
        letters=[side.letter for side in found.sides],
        first=found.sides[0].letter,
        level=form.level(found.confidence),
        family=found.family,
        answer=words.sentences(found),
        findings=words.findings(found),
        studies=[study_row(side) for side in found.sides],
        sections=[section(found, workload, group) for workload, group in drawn.items()],
        alone=words.alone(found),
        environment=environment(found.sides),
        unpaired=any(imported(side.summary.records) for side in found.sides),
        series={side.letter: drawing.THEMED[charts.colours(found.sides)[side.letter]] for side in found.sides},
    )


def study_row(side: Side) -> dict[str, str]:
    """A study's line in the list of them."""
    records = side.summary.records
    started = sorted(record.started[:10] for record in records if record.started)
    days = list(dict.fromkeys([*started[:1], *started[-1:]]))
    completed = sum(record.status == "completed" for record in records)
    return {
        "letter": side.letter,
        "name": side.name,
        "description": str(side.summary.study.get("description") or ""),
        "runs": f"{completed} of {side.summary.planned}",
        "days": " to ".join(days) or form.ABSENT,
        "made": "elsewhere, imported" if imported(records) else provenance.versions(records),
    }


def section(found: Comparisons, workload: str, group: list[drawing.Figure]) -> dict[str, Any]:
    """Everything about one workload."""
    findings = [f for f in found.findings if f.key[0] == workload]
    here = [pair for pair in found.again if pair.key[0] == workload]
    metric = here[0].method.metric
    return {
        "name": workload,
        "figures": group,
        "baseline": listed(list(dict.fromkeys(f.baseline for f in findings))),
        "findings": [finding_row(f, found) for f in findings],
        "metric": metric.difference_heading(metric.words),
        "again": [again_row(pair, found) for pair in here],
    }


def finding_row(finding: Finding, found: Comparisons) -> dict[str, Any]:
    """A finding's line: each study's figure, each further one against the first's, and whether it carries over."""
    cells = [finding_cell(finding, side.letter) for side in found.sides]
    carried = {side.letter: finding.carried.get(side.letter) for side in found.sides[1:]}
    return {
        "name": found.names[finding.key],
        "what": finding.heading,
        "cells": cells,
        "carried": [(*finding.printed(c), counted(finding, letter, found)) for letter, c in carried.items()],
        "verdict": finding.verdict,
    }


def finding_cell(finding: Finding, letter: str) -> tuple[str, str, str]:
    """A study's figure, its interval, and the level of that."""
    c = finding.found.get(letter)
    estimate, interval = finding.printed(c)
    if c is None:
        return estimate, "", ""
    level = "" if c.low is None else f"at {form.level(c.confidence)}"
    return estimate, interval, ", ".join(filter(None, [level, finding.quality[letter]]))


def counted(finding: Finding, letter: str, found: Comparisons) -> str:
    """How many seeds stand behind a figure, and what it is over where that is not the first study."""
    c, first = finding.carried.get(letter), next(iter(finding.found))
    if c is None:
        return ""
    seeds = f"{c.n} seed{'s' if c.n > 1 else ''}"
    return seeds if first == found.sides[0].letter else f"{seeds}, over {first}"


def again_row(pair: Again, found: Comparisons) -> dict[str, Any]:
    """A method's line: the other study's runs against the first's."""
    m = pair.method
    factors = {name.replace(" ", "_"): form.times(m.factors.get(name)) for name in FACTORS}
    if m.energy_ratio and energy_quality([m]) == "modelled":
        factors["power"] = (factors["power"][0], "by assumption")
    return {
        "name": found.names[pair.key],
        "studies": f"{pair.other.letter} against {pair.first.letter}",
        "metric": m.metric.difference(m.metric_difference),
        "energy": form.times(m.energy_ratio) if m.energy_ratio else (form.ABSENT, pair.reason),
        **factors,
        "pairs": str(pair.pairs) if pair.pairs else form.ABSENT,
        "identical": f"{pair.identical} of {pair.pairs}" if pair.pairs else form.ABSENT,
        "kind": "another run" if pair.settings else "re-run",
        "fields": "; ".join([*pair.settings, *pair.conditions]),
    }


def environment(sides: Sequence[Side]) -> list[dict[str, Any]]:
    """Where the runs were made, fact by fact; several values where the runs of a study differ."""
    tables = [facts(side.summary.records) for side in sides]
    return [
        {
            "fact": key,
            "cells": ["; ".join(table.get(key, [])) or form.ABSENT for table in tables],
            "differs": len({frozenset(table.get(key, [])) for table in tables}) > 1,
        }
        for key in dict.fromkeys(key for table in tables for key in table)
    ]


def facts(records: Sequence[Record]) -> dict[str, list[str]]:
    """The facts of the environments of runs, a package each for itself, with all their values."""
    found: dict[str, list[str]] = {}
    for record in records:
        own = {key: value for key, value in record.environment.items() if key not in ("packages", "load_average")}
        for key, value in {**own, **(record.environment.get("packages") or {})}.items():
            if value is None:
                continue
            text = f"{form.mebibytes(value)} MiB" if key.endswith("_bytes") else str(value)
            seen = found.setdefault(key.removesuffix("_bytes").replace("_", " "), [])
            if text not in seen:
                seen.append(text)
    return found
