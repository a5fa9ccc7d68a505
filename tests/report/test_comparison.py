"""Studies against each other: known ratios, verdicts, what cannot be compared; figures against scipy's own."""

import json
import math
from dataclasses import replace
from statistics import fmean

import pytest
from scipy import stats
from test_page import Page, cells
from test_summary import changed, documents

from bpfree.errors import RequestError, WorldError
from bpfree.report import build_comparison
from bpfree.report.comparison import Finding, load
from bpfree.report.metric import ACCURACY
from bpfree.statistics import Comparison

EVIL = "<script>alert(1)</script>"
ALGORITHMS = ["backprop", "forward_forward", "cascaded_forward", "mono_forward"]
FACTORS = [1.9, 2.0, 2.1, 2.05, 1.95]
"""What a later study's Mono-Forward takes over the earlier's, seed by seed."""


def on_another_machine(path, cpu="Another CPU"):
    """All records of a study, as if made elsewhere."""
    for algorithm in ALGORITHMS:
        for role in ("final", "imported"):
            changed(path, role, algorithm, lambda r: r["environment"].update(cpu=cpu))
    return path


@pytest.fixture
def two(make_study, tmp_path):
    """Two studies of the same runs; the second's records are changed as asked, algorithm by algorithm."""

    def make(changes=None, **options):
        first = make_study(tmp_path / "first", **options)
        second = make_study(tmp_path / "second", **options)
        for algorithm, change in (changes or {}).items():
            changed(second, "final", algorithm, change)
        return first, on_another_machine(second)

    return make


def costlier(record):
    """Joules and seconds by this seed's factor; accuracy a little lower."""
    factor = FACTORS[record["spec"]["seed"]]
    record["cost"]["train_joules"] *= factor
    record["cost"]["train_seconds"] *= 3
    record["metrics"]["test_accuracy"] -= 0.001 * factor


def of(found, algorithm):
    (again,) = [pair for pair in found.again if pair.key[1] == algorithm]
    return again


def finding(found, algorithm, what):
    (one,) = [f for f in found.findings if f.key[1] == algorithm and f.what == what]
    return one


def bounds(values, confidence=0.95):
    return stats.t.interval(confidence, len(values) - 1, fmean(values), stats.sem(values))


def test_runs_are_paired_by_seed_with_known_ratios(two):
    found = load(two({"mono_forward": costlier}))
    again = of(found, "mono_forward")
    m = again.method
    assert (again.pairs, again.identical, again.settings, again.conditions) == (5, 0, [], [])
    logs = [math.log(factor) for factor in FACTORS]
    low, high = bounds(logs)
    assert (m.energy_ratio.estimate, m.energy_ratio.low, m.energy_ratio.high) == pytest.approx(
        (math.exp(fmean(logs)), math.exp(low), math.exp(high))
    )
    assert m.factors["time"].estimate == m.factors["time per step"].estimate == pytest.approx(3)
    assert (m.factors["steps"].low, m.factors["steps"].high) == (1, 1)
    assert m.factors["power"].estimate == pytest.approx(m.energy_ratio.estimate / 3)
    d = [-0.001 * factor for factor in FACTORS]
    assert (m.accuracy_difference.estimate, m.accuracy_difference.low) == pytest.approx((fmean(d), bounds(d)[0]))


def test_equal_runs_of_another_machine(two):
    found = load(two())
    assert [(pair.pairs, pair.identical, pair.settings) for pair in found.again] == [(5, 5, [])] * 4
    assert all(f.verdict != "opposite" for f in found.findings)
    for f in found.findings:
        assert f.found["A"].estimate == f.found["B"].estimate
        assert f.carried["B"].verdict == "no difference shown"


def test_the_ratio_of_ratios_is_paired_by_seed(two):
    paths = two({"mono_forward": costlier})
    one = finding(load(paths), "mono_forward", "energy").carried["B"]
    by_study = [documents(path) for path in paths]
    logs = []
    for seed in range(5):
        ratios = [
            runs["mono_forward"][seed]["cost"]["train_joules"] / runs["backprop"][seed]["cost"]["train_joules"]
            for runs in by_study
        ]
        logs.append(math.log(ratios[1] / ratios[0]))
    low, high = bounds(logs)
    assert (one.estimate, one.low, one.high, one.n) == pytest.approx(
        (math.exp(fmean(logs)), math.exp(low), math.exp(high), 5)
    )


def test_what_rounding_leaves_of_equal_differences_is_no_effect(two):
    """All accuracies a little lower, method and baseline alike: their differences are equal but for the last bits."""

    def lower(record):
        record["metrics"]["test_accuracy"] -= 0.0137

    found = load(two(dict.fromkeys(ALGORITHMS, lower)))
    carried = [f.carried["B"] for f in found.findings if f.what == "accuracy"]
    assert {(c.estimate, c.verdict) for c in carried} == {(0, "no difference shown")}
    assert {pair.method.accuracy_difference.verdict for pair in found.again} == {"lower"}


def test_findings_are_held_to_the_level_together(two):
    """Both studies' three methods, in accuracy and energy: the surest of 12 has a twelfth of what may be wrong."""
    found = load(two({"mono_forward": costlier}))
    assert found.family == 12
    levels = [c.confidence for f in found.findings for c in f.found.values()]
    assert max(levels) == pytest.approx(1 - 0.05 / 12)
    assert min(levels) >= 0.95
    assert {c.confidence for f in found.findings for c in f.carried.values()} == {0.95}
    assert {pair.method.energy_ratio.confidence for pair in found.again} == {0.95}


def test_a_finding_that_turns_round(two):
    def cheaper(record):
        record["cost"]["train_joules"] /= 9

    found = load(two({"forward_forward": cheaper}))
    assert finding(found, "forward_forward", "energy").verdict == "opposite"
    assert finding(found, "cascaded_forward", "energy").verdict == "holds in both"
    assert finding(found, "forward_forward", "accuracy").verdict == "holds in both"


def shown(low, high):
    return Comparison("ratio", 1.0, low, high, 0.95, p=0.5, n=5)


MORE, LESS, NEITHER, SINGLE = shown(1.1, 2), shown(0.2, 0.9), shown(0.5, 2), shown(None, None)


@pytest.mark.parametrize(
    ("figures", "verdict"),
    [
        ([MORE, MORE], "holds in both"),
        ([LESS, NEITHER], "only in A"),
        ([NEITHER, MORE], "only in B"),
        ([MORE, LESS], "opposite"),
        ([NEITHER, NEITHER], "shown in neither"),
        ([MORE, SINGLE], "no interval in B"),
        ([MORE, None], "not known in B"),
        ([LESS, LESS, LESS], "holds in A, B and C"),
        ([LESS, LESS, None], "holds in A and B"),
        ([LESS, NEITHER, LESS], "only in A and C"),
        ([NEITHER, NEITHER, NEITHER], "shown in none"),
    ],
)
def test_verdicts(figures, verdict):
    by_letter = dict(zip("ABC", figures, strict=False))
    one = Finding(("w", "m", "o"), "Backprop", "energy", ACCURACY, by_letter, dict.fromkeys(by_letter, "measured"), {})
    assert one.verdict == verdict
    if verdict == "holds in both":
        unlike = replace(one, quality={"A": "measured", "B": "modelled"})
        assert unlike.verdict == "not the same energy (measured in A, modelled in B)"


def test_other_settings_make_another_run_and_other_threads_do_not(two):
    def longer(record):
        record["spec"]["training"].update(max_epochs=24, threads=2)
        record["spec"]["hyperparameters"]["learning_rate"] = 0.002

    def threaded(record):
        record["spec"]["training"]["threads"] = 2

    found = load(two({"mono_forward": longer, "backprop": threaded}))
    again = of(found, "mono_forward")
    assert sorted(again.settings) == ["learning rate: 0.001 → 0.002", "max epochs: 12 → 24"]
    assert again.conditions == of(found, "backprop").conditions == ["threads: – → 2"]
    assert of(found, "backprop").settings == []


def test_energies_of_two_qualities_are_not_compared(make_study, tmp_path):
    paths = [make_study(tmp_path / quality, quality=quality) for quality in ("measured", "modelled")]
    found = load(paths)
    assert {pair.reason for pair in found.again} == {"measured in A, modelled in B"}
    assert all(pair.method.energy_ratio is None and pair.method.factors["power"] is None for pair in found.again)
    assert all(pair.method.factors["time"].n == 5 for pair in found.again)
    energies = [f for f in found.findings if f.what == "energy"]
    assert len(energies) == 3
    assert all(f.carried == {"B": None} and f.verdict.startswith("not the same energy") for f in energies)
    html = build_comparison(paths, tmp_path / "report").read_text()
    assert "measured in A, modelled in B" in Page(html).text
    assert [p.name for p in (tmp_path / "report" / "figures").iterdir()] == ["digits-mlp-accuracy-by-study.svg"]


def test_energies_of_two_boundaries_are_not_compared(make_study, tmp_path):
    paths = [make_study(tmp_path / part, quality="measured", component=part) for part in ("gpu", "cpu")]
    assert {pair.reason for pair in load(paths).again} == {"gpu in A, cpu in B"}


def test_runs_made_elsewhere_are_not_paired(two):
    """Other seeds, so Welch's interval; each study's finding as its own report has it."""

    def elsewhere(record):
        record["spec"]["role"] = "imported"

    paths = two(dict.fromkeys(ALGORITHMS, elsewhere))
    for algorithm in ALGORITHMS:
        changed(paths[1], "imported", algorithm, lambda r: r["cost"].update(train_joules=2 * r["cost"]["train_joules"]))
        changed(paths[1], "imported", algorithm, lambda r: r["spec"].update(seed=50 + r["spec"]["seed"]))
    found = load(paths)
    again = of(found, "mono_forward")
    assert (again.pairs, again.method.energy_ratio.n_baseline) == (0, 5)
    first, second = ([math.log(r.cost.train_joules) for r in side.methods[again.key].records] for side in found.sides)
    low, high = stats.ttest_ind(second, first, equal_var=False).confidence_interval()
    assert again.method.energy_ratio.estimate == pytest.approx(2)
    assert (again.method.energy_ratio.low, again.method.energy_ratio.high) == pytest.approx(
        (math.exp(low), math.exp(high))
    )
    assert finding(found, "mono_forward", "energy").carried["B"].estimate == pytest.approx(1)
    html = build_comparison(paths, paths[0].parent / "report").read_text()
    assert "Welch" in html
    assert "seeds 50" not in html


def test_what_only_one_study_has_is_listed(make_study, tmp_path):
    first = make_study(tmp_path / "first", seeds=5, missing=lambda a, s: a == "cascaded_forward")
    second = make_study(tmp_path / "second", seeds=3, missing=lambda a, s: a == "forward_forward")
    text = Page(build_comparison([first, on_another_machine(second)], tmp_path / "report").read_text()).text
    for line in (
        "A: Backprop, seeds 3 and 4", "A: Mono-Forward, seeds 3 and 4", "A: Forward-Forward (adamw) on digits-mlp",
        "B: Cascaded-Forward (adamw) on digits-mlp", "A is not finished: 15 of 20 final runs are done",
    ):  # fmt: skip
        assert line in text


def test_three_studies_are_each_compared_with_the_first_that_has_the_method(two, make_study, tmp_path):
    first, second = two({"mono_forward": costlier})
    third = on_another_machine(
        make_study(tmp_path / "third", missing=lambda a, s: a == "forward_forward"), cpu="A third CPU"
    )
    found = load([third, first, second])
    assert [(p.first.letter, p.other.letter) for p in found.again if p.key[1] == "forward_forward"] == [("B", "C")]
    assert [(p.first.letter, p.other.letter) for p in found.again if p.key[1] == "mono_forward"] == [
        ("A", "B"), ("A", "C"),
    ]  # fmt: skip
    text = Page(build_comparison([third, first, second], tmp_path / "report").read_text()).text
    assert "5 seeds, over B" in text


def test_the_page_says_what_differs(two, tmp_path):
    paths = two({"mono_forward": costlier})
    html = build_comparison(paths, tmp_path / "report").read_text()
    text = Page(html).text
    for part in (
        "A is made-up and B is made-up; A is the reference",
        "20 pairs of equal seeds, of 4 methods; of 15 of them all metrics are equal to the last bit",
        "modelled energy is higher in B for Mono-Forward (2.00",
        "All 12 of them on this page are held to 95 % together (Holm)",
    ):
        assert part in text
    head, *rows = cells(html, "Environments")
    assert head == ["fact", "A", "B", ""]
    assert ["cpu", "Test CPU", "Another CPU", "differs"] in rows
    assert ["torch", "2.13.0", "2.13.0", ""] in rows
    head, *rows = cells(html, "The runs themselves")
    assert rows[-1][0] == "Mono-Forward B against A"
    assert rows[-1][6].endswith("by assumption")
    assert rows[-1][7:] == ["5", "0 of 5", "re-run"]


@pytest.mark.parametrize("options", [{"quality": "absent"}, {"seeds": 1}, {"tuning": None}, {"description": EVIL}])
def test_every_kind_of_study_has_a_page(two, tmp_path, options):
    html = build_comparison(two(**options), tmp_path / "report").read_text()
    text = Page(html).text
    assert EVIL not in html
    assert not any(word in text for word in ("None", "nan", "Undefined"))
    if options.get("seeds") == 1:
        assert "no interval in A and B" in text
        assert "higher in B" not in text


def test_without_a_common_baseline_no_finding_is_compared(two):
    paths = two()
    for file in paths[1].glob("study.toml"):
        file.write_text(file.read_text().replace('baseline = "backprop"', 'baseline = "mono_forward"'))
    found = load(paths)
    assert len(found.again) == 4
    assert found.findings == []


def other_workload(path):
    for algorithm in ALGORITHMS:
        changed(path, "final", algorithm, lambda r: r["spec"].update(workload="mnist-mlp"))
    file = path / "study.toml"
    file.write_text(file.read_text().replace("digits-mlp", "mnist-mlp"))
    return path


def calibrated(path):
    (path / "calibration.json").write_text("{}")
    return path


def partly_new(path):
    """One method made again, the others' records copied."""
    return changed(path, "final", "mono_forward", costlier)


def emptied(path):
    for file in path.glob("runs/*/record.json"):
        file.unlink()
    return path


@pytest.mark.parametrize(
    ("spoil", "error", "message"),
    [
        (lambda first, second: first / ".", RequestError, "named twice"),
        (lambda first, second: second, RequestError, "copy of the other"),
        (lambda first, second: partly_new(second), RequestError, "a copy is no second run"),
        (lambda first, second: other_workload(second), RequestError, "nothing to compare"),
        (lambda first, second: calibrated(second), RequestError, "is a calibration"),
        (lambda first, second: emptied(second), WorldError, "no final run"),
        (lambda first, second: second.parent, WorldError, "no study.toml"),
    ],
)
def test_what_cannot_be_compared_is_one_line(make_study, tmp_path, spoil, error, message):
    first, second = (make_study(tmp_path / name, seeds=2, tuning=None) for name in ("first", "second"))
    with pytest.raises(error, match=message) as caught:
        build_comparison([first, spoil(first, second)], tmp_path / "report")
    assert "\n" not in str(caught.value)
    assert not (tmp_path / "report").exists()


def test_a_page_has_room_for_so_many_studies(tmp_path):
    with pytest.raises(RequestError, match="at most 8"):
        load([tmp_path / str(i) for i in range(9)])


def test_the_command_compares_folders_and_names_the_page_after_both(bpfree, two, tmp_path):
    first, second = two()
    done = bpfree("report", first, second, cwd=tmp_path)
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout == "report: reports/first-against-second/index.html\n"
    assert (tmp_path / "reports" / "first-against-second" / "index.html").is_file()
    twice = bpfree("report", first, first, cwd=tmp_path)
    assert twice.returncode == 2
    assert len(twice.stderr.splitlines()) == 1
    assert json.loads((first / "plan.json").read_text())["final_runs"]
