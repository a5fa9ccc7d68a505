"""Imported runs: the published table to three digits, the audited figures against scipy, repeated seeds by name."""

import csv
import io
import math
import re
from pathlib import Path
from statistics import fmean

import pytest
from scipy import stats

from bpfree.report import audit, build_report
from bpfree.report.answer import sentences
from bpfree.report.summary import summarise

RUNS = Path(__file__).resolve().parents[2] / "studies" / "published" / "beyond_backprop_runs.csv"
RANDOM, DFA = "cascaded_forward_random", "cascaded_forward_dfa"

# The table of what the published runs show, typed from its sheet: points of accuracy, and ratios of energy, steps,
# time per step and power.
PUBLISHED = {
    ("cifar10-mlp-3x2000", "mono_forward"): (1.21, 0.592, 0.735, 0.900, 0.895),
    ("cifar100-mlp-3x2000", "mono_forward"): (0.37, 0.875, 1.075, 0.919, 0.886),
    ("fashion-mlp-2x1000", "mono_forward"): (0.59, 1.091, 1.232, 0.957, 0.925),
    ("mnist-mlp-2x1000", "mono_forward"): (0.09, 0.867, 0.902, 0.975, 0.986),
    ("fashion-mlp-4x2000", "forward_forward"): (0.75, 9.621, 6.952, 1.918, 0.721),
    ("mnist-mlp-3x1000", "forward_forward"): (0.25, 4.402, 2.742, 1.612, 0.996),
    ("mnist-mlp-3x1000", "forward_forward_sgd"): (0.13, 5.252, 3.538, 1.500, 0.990),
    ("mnist-mlp-4x2000", "forward_forward"): (-0.00, 3.369, 2.231, 1.816, 0.832),
    ("cifar10-cnn", RANDOM): (-13.23, 0.808, 1.000, 0.980, 0.824),
    ("cifar10-cnn", DFA): (-1.72, 4.020, 4.060, 0.954, 1.038),
    ("cifar100-cnn", RANDOM): (-11.44, 2.964, 3.557, 0.983, 0.847),
    ("cifar100-cnn", DFA): (-4.42, 6.764, 6.817, 0.944, 1.051),
    ("fashion-cnn", RANDOM): (1.11, 2.160, 3.093, 0.985, 0.709),
    ("fashion-cnn", DFA): (2.47, 3.048, 3.302, 0.962, 0.960),
    ("mnist-cnn", RANDOM): (-0.32, 1.334, 1.875, 0.981, 0.725),
    ("mnist-cnn", DFA): (0.08, 1.829, 2.375, 0.946, 0.814),
}
REPEATED = {
    ("cifar10-mlp-3x2000", "mono_forward"): "Mono-Forward: seed 42 three times",
    ("cifar100-mlp-3x2000", "mono_forward"): "Backprop: seed 44 twice",
    ("mnist-mlp-3x1000", "forward_forward"): "Forward-Forward: seed 42 three times",
    ("mnist-mlp-3x1000", "forward_forward_sgd"): "Forward-Forward sgd: seed 42 twice",
    ("mnist-mlp-4x2000", "forward_forward"): "Backprop: seed 43 three times",
    ("cifar10-cnn", RANDOM): "Cascaded-Forward random: seed 43 twice",
    ("cifar10-cnn", DFA): "Cascaded-Forward dfa: seed 43 twice",
    ("cifar100-cnn", RANDOM): "Cascaded-Forward random: seed 42 twice",
    ("fashion-cnn", RANDOM): "Backprop: seed 42 twice",
    ("fashion-cnn", DFA): "Backprop: seed 42 twice",
    ("mnist-cnn", RANDOM): "Cascaded-Forward random: seed 43 twice; Backprop: seed 44 twice",
    ("mnist-cnn", DFA): "Backprop: seed 44 twice",
}
DATASETS = {"mnist": "mnist", "fashion": "fashion_mnist", "cifar10": "cifar10", "cifar100": "cifar100"}


@pytest.fixture(scope="module")
def folder(bpfree, tmp_path_factory):
    """The published runs, through the command line."""
    results = tmp_path_factory.mktemp("results")
    done = bpfree("import", "published", RUNS, "--results", results)
    assert done.returncode == 0, done.stderr
    return results / "published"


@pytest.fixture(scope="module")
def summary(folder):
    return summarise(folder)


@pytest.fixture(scope="module")
def methods(summary):
    return {(w.name, m.label): m for w in summary.workloads for m in w.methods if m.reference}


@pytest.fixture(scope="module")
def html(folder):
    return build_report(folder, folder.parent / "report").read_text()


def test_the_published_table_to_three_digits(methods):
    assert methods.keys() == PUBLISHED.keys()
    for key, expected in PUBLISHED.items():
        found = audit.as_published(methods[key])
        points, *ratios = expected
        assert 100 * found.accuracy_difference == pytest.approx(points, abs=0.0051), key
        shown = (found.energy, found.steps, found.time_per_step, found.power)
        assert shown == pytest.approx(tuple(ratios), abs=0.00051), key
        assert math.prod(shown[1:]) == pytest.approx(found.energy)


def lines_of(workload, label):
    """Rows of the file that belong to a method of ours, and its baseline's."""
    dataset, _, network = workload.partition("-")
    network = "cnn-3block-32-128-512" if network == "cnn" else network
    rows = [
        row
        for row in csv.DictReader(io.StringIO(RUNS.read_text()))
        if (row["dataset"], row["architecture"]) == (DATASETS[dataset], network)
    ]
    variant = {RANDOM: "random", DFA: "dfa", "forward_forward": "adamw", "forward_forward_sgd": "sgd"}.get(label, "")
    ours = [row for row in rows if row["algorithm"] != "backprop" and row["variant"] == variant]
    return ours, [row for row in rows if row["algorithm"] == "backprop"]


FIGURES = {
    "accuracy": lambda row: float(row["test_accuracy_percent"]) / 100,
    "energy": lambda row: math.log(float(row["gpu_energy_joules"])),
    "steps": lambda row: math.log(int(row["steps"])),
    "time per step": lambda row: math.log(float(row["train_seconds"]) / int(row["steps"])),
    "power": lambda row: math.log(float(row["gpu_energy_joules"]) / float(row["train_seconds"])),
}


def by_seed(rows, name):
    """One value a seed: repeats are averaged, then the logarithm is taken."""
    figure, back = FIGURES[name], (lambda x: x) if name == "accuracy" else math.exp
    seeds = {row["seed"] for row in rows}
    means = [fmean(back(figure(row)) for row in rows if row["seed"] == seed) for seed in sorted(seeds)]
    return means if name == "accuracy" else [math.log(mean) for mean in means]


@pytest.mark.filterwarnings("ignore:Precision loss")
@pytest.mark.parametrize("key", PUBLISHED, ids="/".join)
def test_the_audited_figures_are_scipys(methods, key):
    found = audit.audited(methods[key], 0.95)
    ours, theirs = lines_of(*key)
    for name in FIGURES:
        a, b = by_seed(ours, name), by_seed(theirs, name)
        back = (lambda x: x) if name == "accuracy" else math.exp
        assert found[name].estimate == pytest.approx(back(fmean(a) - fmean(b))), name
        assert (found[name].n, found[name].n_baseline) == (len(a), len(b))
        if min(len(a), len(b)) < 2:
            assert (found[name].low, found[name].verdict) == (None, "no difference shown")
        elif len(set(a)) > 1 or len(set(b)) > 1:
            expected = stats.ttest_ind(a, b, equal_var=False).confidence_interval(0.95)
            assert (found[name].low, found[name].high) == pytest.approx(tuple(map(back, expected))), name


def test_one_comparison_by_hand(methods):
    """Mono-Forward on MNIST: Welch's interval of the logarithms of joules, with its degrees of freedom."""
    a = [math.log(v) for v in (2095.12553, 2095.373856, 2299.124793)]
    b = [math.log(v) for v in (2494.359781, 2493.551258, 2500.817888)]
    of_a, of_b = (sum((v - fmean(x)) ** 2 for v in x) / 2 / 3 for x in (a, b))
    freedom = (of_a + of_b) ** 2 / (of_a**2 / 2 + of_b**2 / 2)
    half = stats.t.ppf(0.975, freedom) * math.sqrt(of_a + of_b)
    found = audit.audited(methods["mnist-mlp-2x1000", "mono_forward"], 0.95)["energy"]
    d = fmean(a) - fmean(b)
    assert (found.low, found.high) == pytest.approx((math.exp(d - half), math.exp(d + half)))
    assert found.verdict == "lower"


def test_the_family_is_held_to_its_level_together(methods):
    """Holm's procedure over 16 accuracies and 16 energies, as in any study, on Welch's p."""
    family = [c for m in methods.values() for c in (m.accuracy_difference, m.energy_ratio)]
    assert len(family) == 32
    assert all(c.n_baseline is not None and c.sign_flip_p is None for c in family)
    assert max(c.confidence for c in family) == pytest.approx(1 - 0.05 / 32)
    least = min((c for c in family if c.p is not None), key=lambda c: c.p)
    assert least.confidence == pytest.approx(1 - 0.05 / 32)


def test_repeated_seeds_are_named_for_exactly_the_rows_that_repeat(methods):
    assert {key: audit.repeated(m) for key, m in methods.items()} == {key: REPEATED.get(key, "") for key in PUBLISHED}


def test_the_answer_counts_repeats_and_intervals(summary, methods):
    first, *others = sentences(summary)
    ratios = [audit.audited(m, 0.95)["energy"] for m in methods.values()]
    alone = sum(c.low is not None and not c.low <= 1 <= c.high for c in ratios)
    together = sum(m.energy_ratio.verdict != "no difference shown" for m in methods.values())
    assert "These 81 runs were made elsewhere. 14 of them repeat a seed" in first
    assert "Of 16 comparisons of energy 3 have no interval" in first
    assert f"of the others {alone} show a difference at 95\u00a0% each, and {together} when all are held to it" in first
    assert 0 < together <= alone < 13
    assert not any("paired by seed" in text for text in others)
    assert any("not paired, since the seeds differ between the methods" in text for text in others)


def test_the_page_has_both_readings(html):
    table = re.search('aria-label="As published, and audited">.*?</table>', html, re.DOTALL)[0]
    assert (table.count("as published"), table.count("audited")) == (16, 16 + 1)
    for text in ("0.592\u00a0×", "0.735\u00a0×", "Mono-Forward: seed 42 three times", "1 and 3 seeds", "3 and 3 runs"):
        assert text in table
    assert not re.search(r"Traceback|\bNone\b|\bnan\b|NaN|Infinity|Undefined", html)


def test_the_page_says_nothing_that_is_true_of_our_own_runs_alone(html):
    for text in (
        "paired by seed",
        "pairs",
        "One rule for all",
        "bpfree study",
        "unknown version",
        "peak memory",
        "CO₂e,",
    ):
        assert text not in html
    for text in ("not paired", "made elsewhere", "left out: the published grams", "81 imported runs", "Welch’s"):
        assert text in html


def test_what_the_methods_were_given_is_a_warning(summary):
    expected = "cifar10-mlp-3x2000: the final runs differ in patience, min delta, epochs per stage, restore"
    assert expected in summary.warnings
    assert sum("the final runs differ in" in text for text in summary.warnings) == 11


def test_a_study_of_our_own_has_no_audit(made, tmp_path):
    assert "As published" not in build_report(made(), tmp_path / "report").read_text()
