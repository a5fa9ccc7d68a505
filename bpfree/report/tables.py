"""Tables of results for papers, one a workload, in LaTeX (booktabs) and in Markdown."""

import re
from collections.abc import Sequence
from dataclasses import dataclass

from bpfree.report import form
from bpfree.report.summary import Method, Summary, Workload, imported, summarise
from bpfree.results import ResultsFolder

Pair = tuple[str, str]
"""A value, and what stands below it: its interval, or the unit of a heading."""

LATEX = str.maketrans({
    "\\": r"\textbackslash{}", "{": r"\{", "}": r"\}", "$": r"\$", "&": r"\&", "#": r"\#", "_": r"\_", "%": r"\%",
    "~": r"\textasciitilde{}", "^": r"\textasciicircum{}", "<": "$<$", ">": "$>$", "|": "$|$", "−": "$-$",
    "×": r"$\times$", "∞": r"$\infty$", "[": "{[}", "*": "{*}", "–": "--", "’": "'", "\u00a0": "~",
})  # fmt: skip
MARKDOWN = str.maketrans({c: f"\\{c}" for c in r"\`*_{}[]<>#|~&$"})


@dataclass(frozen=True)
class Table:
    """A table before it is marked up."""

    label: str
    caption: str
    heading: list[Pair]
    rows: list[list[Pair]]


def latex(folder: ResultsFolder) -> str:
    """The tables of a study in LaTeX.

    Raises
    ------
    WorldError
        The folder is not a study's, or has no final run yet.
    """
    parts = [latex_table(found) for found in tables(summarise(folder.path))]
    return "% \\usepackage{booktabs} in the preamble\n" + "\n".join(parts)


def markdown(folder: ResultsFolder) -> str:
    """The tables of a study in Markdown.

    Raises
    ------
    WorldError
        The folder is not a study's, or has no final run yet.
    """
    return "\n".join(markdown_table(found) for found in tables(summarise(folder.path)))


def tables(summary: Summary) -> list[Table]:
    """One a workload."""
    return [table(summary, workload) for workload in summary.workloads]


def table(summary: Summary, workload: Workload) -> Table:
    """A workload's results: one row a method."""
    methods = workload.methods
    one_quality = workload.quality in ("measured", "modelled")
    unit, per_joule = form.energy_unit(m.joules.estimate for m in methods if m.joules)
    heading = [
        ("method", "runs"),
        (f"test {workload.metric.words}", workload.metric.unit),
        ("difference", workload.metric.difference_unit),
        (f"{workload.quality} energy", unit) if one_quality else ("energy", ""),
        ("energy ratio", ""),
        ("time", "s"),
    ]
    # Energies of unlike quality do not stand in one column.
    rows = [row(m, per_joule if one_quality else None) for m in methods]
    return Table(f"{summary.study['name']}-{workload.name}", caption(summary, workload), heading, rows)


def row(m: Method, per_joule: float | None) -> list[Pair]:
    """A method's values, each with its interval."""
    return [
        (form.title(m.name), f"{len(m.completed)} of {len(m.records)}"),
        m.metric.interval(m.test_metric),
        m.metric.difference(m.metric_difference),
        form.interval(m.joules, per_joule) if per_joule else (form.ABSENT, ""),
        form.times(m.energy_ratio),
        form.interval(m.seconds),
    ]


def caption(summary: Summary, workload: Workload) -> str:
    """What the table is of, what its intervals are, and what its energies are."""
    level = form.level(summary.confidence)
    done = sum(record.final for record in summary.records)
    several = len({m.reference.name for m in workload.methods if m.reference}) > 1
    baseline = form.title(str(summary.study["baseline"])) + (" with the same optimizer" if several else "")
    pairing = "not paired" if imported(summary.records) else "paired by seed"
    sentences = [
        f"Results of the study {summary.study['name']} on {workload.name}.",
        f"Means over seeds of completed runs, each with its {level} interval.",
        f"Difference and ratio are against {baseline}, {pairing}, the ratio of geometric means; their intervals are at "
        f"Holm’s levels, which hold all comparisons of the study to {level} together.",
        energy(workload),
        "Energy and time are of one training, validation included.",
        "A dash is a figure that is not there; it is never zero.",
    ]
    if any(m.censored for m in workload.methods):
        sentences.append("There is no energy ratio where not every run reached the target.")
    if done < summary.planned:
        sentences.append(f"The study is not finished: {done} of {summary.planned} final runs are done.")
    return " ".join(sentences)


def energy(workload: Workload) -> str:
    """What the energies are."""
    parts = sorted({part for m in workload.methods for r in m.completed if r.cost for part in r.cost.boundary})
    measured = " and ".join({"gpu": "GPU", "cpu": "CPU", "dram": "memory"}.get(part, part) for part in parts)
    return {
        "measured": f"Energy is measured, of the {measured} alone.",
        "modelled": "Energy is modelled, not measured: CPU seconds times an assumed power.",
        "mixed": f"Energies are left out: {workload.note}.",
    }.get(workload.quality, "No energy is given: none was measured or modelled well enough.")


def latex_table(found: Table) -> str:
    """A floating table; intervals stand in a smaller line below their values."""
    label = re.sub(r"[^\w.-]+", "-", found.label)
    body = [line for cells in found.rows for line in latex_lines(cells)]
    return "\n".join([
        r"\begin{table}",
        r"  \centering",
        rf"  \caption{{{found.caption.translate(LATEX)}}}",
        rf"  \label{{tab:{label}}}",
        r"  \small",
        r"  \setlength{\tabcolsep}{4pt}",
        rf"  \begin{{tabular}}{{l{'r' * (len(found.heading) - 1)}}}",
        r"    \toprule",
        *latex_lines(found.heading),
        r"    \midrule",
        *body,
        r"    \bottomrule",
        r"  \end{tabular}",
        r"\end{table}",
        "",
    ])  # fmt: skip


def latex_lines(cells: Sequence[Pair]) -> list[str]:
    """The line of the values, and the smaller one of what stands below them."""
    values = [value.translate(LATEX) for value, _ in cells]
    below = [rf"{{\scriptsize {text.translate(LATEX)}}}" if text else "" for _, text in cells]
    return [f"    {' & '.join(line)} \\\\" for line in (values, below)]


def markdown_table(found: Table) -> str:
    """The caption, and a table of pipes; intervals stand in brackets behind their values."""
    heading = [form.heading(*pair) for pair in found.heading]
    rows = [[f"{value} ({below})" if below else value for value, below in cells] for cells in found.rows]
    lines = [[cell.translate(MARKDOWN) for cell in cells] for cells in (heading, *rows)]
    rule = ["---", *["---:"] * (len(heading) - 1)]
    return "\n".join([
        found.caption.translate(MARKDOWN),
        "",
        *(f"| {' | '.join(cells)} |" for cells in (lines[0], rule, *lines[1:])),
        "",
    ])  # fmt: skip
