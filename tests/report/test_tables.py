"""Tables for papers: the figures of the page, escaped, and a caption that says what they are."""

import re
from dataclasses import replace

import pytest
from calibrations import random_calibration

from bpfree.report import form, tables
from bpfree.report.summary import summarise
from bpfree.results import ResultsFolder

ODD = r"50%_of & #1 {$x} ~^ <b> \end | [a]*"
METHODS = ["Backprop", "Forward-Forward", "Cascaded-Forward", "Mono-Forward"]


def cells(line):
    """Of a line of a Markdown table."""
    return [cell.strip() for cell in re.split(r"(?<!\\)\|", line)[1:-1]]


def rows_of(text):
    return [cells(line) for line in text.splitlines() if line.startswith("|")]


def latex_rows(text):
    """The cells of every line of a LaTeX table."""
    lines = [line.strip() for line in text.splitlines() if line.endswith(r"\\")]
    return [[cell.strip() for cell in re.split(r"(?<!\\)&", line.removesuffix(r"\\"))] for line in lines]


def test_both_hold_what_the_summary_says(made):
    path = made()
    (workload,) = summarise(path).workloads
    shown = rows_of(tables.markdown(ResultsFolder(path)))[2:]
    lines = latex_rows(tables.latex(ResultsFolder(path)))[2:]
    assert [row[0] for row in shown] == [f"{name} (5 of 5)" for name in METHODS]
    assert len(lines) == 2 * len(METHODS), "a line of values and a line of intervals"
    for m, row, values, below in zip(workload.methods, shown, lines[::2], lines[1::2], strict=True):
        pairs = [form.accuracy(m.accuracy), form.points(m.accuracy_difference), form.interval(m.joules)]
        pairs += [form.times(m.energy_ratio), form.interval(m.seconds)]
        assert row[1:] == [f"{value} ({interval})" if interval else value for value, interval in pairs]
        for (value, interval), ours, under in zip(pairs, values[1:], below[1:], strict=True):
            assert ours == value.replace("−", "$-$").replace("×", r"$\times$").replace("\u00a0", "~").replace("–", "--")
            assert re.findall(r"[\d.]+", under) == re.findall(r"[\d.]+", interval)


@pytest.mark.parametrize(
    ("quality", "heading", "text"),
    [
        ("modelled", "modelled energy, J", "modelled, not measured"),
        ("measured", "measured energy, J", "measured, of the CPU alone"),
        ("absent", "energy", "No energy is given"),
        ("unresolved", "energy", "No energy is given"),
    ],
)
def test_energies_are_named_by_their_quality(made, quality, heading, text):
    found = tables.markdown(ResultsFolder(made(quality=quality)))
    names, _, *rows = rows_of(found)
    assert names[3] == heading
    assert text in found
    assert (quality in ("absent", "unresolved")) == all(row[3] == row[4] == "–" for row in rows)


def test_measured_and_modelled_energies_do_not_stand_in_one_column(made):
    found = tables.markdown(
        ResultsFolder(made(quality=lambda name, _: "measured" if name == "backprop" else "modelled"))
    )
    assert all(row[3] == row[4] == "–" for row in rows_of(found)[2:])
    assert "Energies are left out" in found


def test_the_caption_says_what_the_intervals_are(made):
    found = tables.latex(ResultsFolder(made(statistics={"confidence": 0.9}, missing=lambda name, seed: seed == 4)))
    (caption,) = re.findall(r"\\caption\{(.*)\}", found)
    for text in (r"its 90~\% interval", "paired by seed", "geometric means", "Holm's levels", "16 of 20 final runs"):
        assert text in caption


def test_one_seed_has_no_interval(made):
    rows = rows_of(tables.markdown(ResultsFolder(made(seeds=1))))[2:]
    assert all(row[1].endswith("(one seed: no interval)") for row in rows)


@pytest.mark.parametrize(
    ("mark_up", "written"),
    [
        (
            tables.latex_table,
            r"50\%\_of \& \#1 \{\$x\} \textasciitilde{}\textasciicircum{} $<$b$>$ \textbackslash{}end $|$ {[}a]{*}",
        ),
        (tables.markdown_table, r"50%\_of \& \#1 \{\$x\} \~^ \<b\> \\end \| \[a\]\*"),
    ],
)
def test_no_name_is_taken_for_markup(made, mark_up, written):
    summary = summarise(made())
    (workload,) = summary.workloads
    methods = [replace(m, name=f"{m.name} {ODD}") for m in workload.methods]
    found = mark_up(tables.table(summary, replace(workload, name=ODD, methods=methods)))
    assert f"on {written}." in found, "in the caption"
    assert f"Mono-Forward {written}".replace(r"\_", " ") in found, "in a row"
    assert len(found.splitlines()) == len(mark_up(tables.table(summary, workload)).splitlines())
    assert ODD not in found


def test_a_label_is_a_plain_word(made):
    summary = summarise(made())
    odd = tables.table(summary, replace(summary.workloads[0], name=ODD))
    (label,) = re.findall(r"\\label\{(.*)\}", tables.latex_table(odd))
    assert re.fullmatch(r"tab:[\w.-]+", label)


def test_the_command_line_prints_them(bpfree, made, tmp_path):
    path = made()
    shown = bpfree("export", path, "--format", "markdown")
    assert (shown.returncode, shown.stdout) == (0, tables.markdown(ResultsFolder(path))), shown.stderr
    done = bpfree("export", path, "--format", "latex", "--output", tmp_path / "results.tex")
    assert done.returncode == 0, done.stderr
    assert (tmp_path / "results.tex").read_text() == tables.latex(ResultsFolder(path))


def test_a_calibration_has_no_such_table(bpfree, tmp_path):
    random_calibration(tmp_path, ["nadamw", "prodigy"], workloads=1, points=2, seeds=2)
    done = bpfree("export", tmp_path, "--format", "latex")
    assert (done.returncode, len(done.stderr.splitlines())) == (2, 1)
    assert "choose csv, json or parquet" in done.stderr
