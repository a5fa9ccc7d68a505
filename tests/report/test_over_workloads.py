"""Figures over several workloads, from the kept records of a study on two."""

from pathlib import Path

import numpy as np
import pytest
from scipy import stats

from bpfree.report import build_report, form, over_workloads
from bpfree.report.summary import summarise

RECORDS = Path(__file__).parents[2] / "studies" / "records" / "beyond_backprop_published-small"


@pytest.fixture(scope="module")
def summary():
    return summarise(RECORDS)


def gaps(summary):
    """Mono-Forward less backprop, of every workload and seed, from the records themselves."""
    accuracy = {(r.spec.workload, r.spec.algorithm, r.spec.seed): r.metrics.test_accuracy for r in summary.records}
    return [a - accuracy[w, "backprop", s] for (w, m, s), a in accuracy.items() if m == "mono_forward"]


def test_a_methods_line(summary):
    (row,) = over_workloads.rows(summary)
    found = gaps(summary)
    assert (row["workloads"], row["pairs"]) == ("2", str(len(found)))
    assert row["gap"][0] == form.signed(stats.trim_mean(found, 0.25))
    ties = np.mean(np.array(found) == 0) / 2
    assert row["more_accurate"][0] == f"{np.mean(np.array(found) > 0) + ties:.0%}"


def test_the_figure_and_the_section_are_on_the_page(summary, tmp_path):
    (figure,) = over_workloads.figure(summary)
    assert figure.inline.count("<path") >= 1
    page = build_report(RECORDS, tmp_path).read_text()
    assert "Over all workloads" in page
    assert (tmp_path / "figures" / "profile-over-workloads.svg").is_file()


def test_one_workload_has_none(made):
    summary = summarise(made())
    assert (over_workloads.rows(summary), over_workloads.figure(summary)) == ([], [])
