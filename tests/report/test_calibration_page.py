"""The page of a calibration: scores worked by hand, misses, what is not known, names from outside."""

import math
import re
from itertools import combinations
from statistics import fmean
from xml.etree import ElementTree

import numpy as np
import pytest
from calibrations import INF, TABLE_SEED, TARGET, Maker, budget, random_calibration
from scipy import stats
from test_page import EVIL, Page, cells, resources

from bpfree.errors import WorldError
from bpfree.outcomes import CALIBRATED, NAIVE
from bpfree.report import build_report, calibration_points, calibration_runs, calibration_scores
from bpfree.results import ResultsFolder

SUITE = [budget(name) for name in "abcd"]
HAND = {"nadamw": [100, 200, INF, 50], "prodigy": [150, 100, 300, 250], "dog": [400, 150, 900, 60]}
"""The fact sheet's golden vector: exact scores 2/3, 0.708333 and 0.525."""
EXACT = {"nadamw": 2 / 3, "prodigy": 0.7083333, "dog": 0.525}


def on(times):
    return dict(zip("abcd", times, strict=True))


def hand(path, **fields):
    """Calibrated as in the golden vector, every seed alike; naive twice as slow; the table as the final runs."""
    maker = Maker(path, SUITE, **fields)
    for name, times in HAND.items():
        slow = [2 * t for t in times]
        table = {NAIVE: on(slow), "1": on(times), "2": on([t + 10 for t in times])}
        maker.method(name, naive=on(slow), calibrated=on(times), table=table, runner_up="2")
    return maker


def loaded(maker, **fields):
    return calibration_runs.load(ResultsFolder(maker.write(**fields)))


@pytest.fixture
def board(tmp_path):
    return calibration_scores.board(loaded(hand(tmp_path / "results")))


def region(html, label):
    """The texts of the rows of the table in a labelled region."""
    (table,) = re.findall(rf'aria-label="{label}">(.*?</table>)', html, re.DOTALL)
    return cells(f"{label}</h3>{table}", label)


def built(path, output):
    return build_report(path, output).read_text()


def test_the_scores_are_those_worked_by_hand(board):
    for column in (board.steps[CALIBRATED], board.steps[NAIVE], board.seconds[NAIVE], board.joules[CALIBRATED]):
        assert column.estimates == pytest.approx(EXACT, abs=1e-6), "twice as slow, all of them, is as good"
    assert board.table.estimates == pytest.approx(EXACT, abs=1e-6)
    assert board.order == ["prodigy", "nadamw", "dog"]
    assert [board.steps[CALIBRATED].hits(name) for name in HAND] == [3, 4, 4]


def test_scores_change_within_one_set_of_both(board):
    """r of the naive runs, in one set with those of half their steps, is twice as large."""
    r = {"nadamw": [1, 2, INF, 1], "prodigy": [1.5, 1, 1, 5], "dog": [4, 1.5, 3, 1.2]}
    for name, ratios in r.items():
        naive = sum(max(0, 4 - 2 * x) for x in ratios) / 12
        assert board.gained[name].estimate == pytest.approx(EXACT[name] - naive, abs=1e-6)
        assert board.lost[name].estimate == 0


def test_what_was_chosen_without_a_workload_is_taken_from_the_table(tmp_path):
    maker = Maker(tmp_path, SUITE[:2])
    table = {NAIVE: {"a": 400, "b": 400}, "1": {"a": 100, "b": 200}, "2": {"a": 300, "b": 100}}
    for name in ("nadamw", "prodigy"):
        unseen = {"a": "2", "b": "1"} if name == "prodigy" else {"a": "1", "b": "2"}
        took = table["1"]
        maker.method(name, naive=table[NAIVE], calibrated=took, table=table, left_out=unseen, runner_up="2")
    board = calibration_scores.board(loaded(maker))
    assert board.left_out.times.tolist() == [[100, 100], [300, 200]]
    assert board.left_out.estimates == pytest.approx({"nadamw": 1.0, "prodigy": (1 / 3 + 2 / 3) / 2})
    assert board.lost["prodigy"].estimate == pytest.approx((1 / 3 + 2 / 3) / 2 - (1 + 2 / 3) / 2)


def test_intervals_are_a_bootstrap_paired_by_seed(tmp_path):
    """Seeds decide the speed, and one method takes twice the steps of the other on each: the ratio never varies."""
    maker = Maker(tmp_path, SUITE[:2], seeds=range(5))
    for name, factor in (("nadamw", 1), ("prodigy", 2), ("dog", 1)):
        took = [[factor * t for t in (100, 120, 180, 150, 90)], [factor * t for t in (200, 230, 310, 220, 240)]]
        took = [took[0][::-1], took[1]] if name == "dog" else took
        row = dict(zip("ab", took, strict=True))
        maker.method(name, naive=row, calibrated=row, table={NAIVE: {"a": 1, "b": 1}}, selected=NAIVE)
    board = calibration_scores.board(loaded(maker))
    best = board.steps[CALIBRATED]
    twice = best.relative("prodigy", "nadamw")
    assert (twice[0].estimate, twice[0].low, twice[0].high, twice[1]) == (*[pytest.approx(2)] * 3, 2)
    d = best.difference("prodigy", "nadamw")
    assert d.low <= d.estimate <= d.high < 0
    assert calibration_scores.verdict(d) == "behind"
    level = best.difference("dog", "nadamw")
    assert level.low < 0 < level.high
    assert calibration_scores.verdict(level) == "level"
    assert all(x.low == x.high == 0 for x in board.gained.values()), "the same runs"
    assert board.table.of("dog").low is None


def test_medians_are_those_of_scoring():
    values = np.array([[3, INF, 1], [INF, INF, 1], [2, 2, 5]], dtype=float)
    assert calibration_scores.medians(values).tolist() == [3, INF, 2]
    assert calibration_scores.medians(np.array([[1, INF], [1, 4]], dtype=float)).tolist() == [INF, 2.5]


def test_the_expected_best_of_few_is_that_of_all_subsets():
    values = [0.3, 0.0, 0.9, 0.3, 0.5]
    for k in range(1, 6):
        every = fmean(max(subset) for subset in combinations(values, k))
        assert calibration_scores.expected_best(values, k) == pytest.approx(every)


def test_the_rank_correlation_is_scipys():
    x, y = [1, 2, 3, 4, 5, 6, 7, 8], [2, 1, 4, 3, 6, 5, 8, 7]
    found = calibration_points.spearman(x, y, 0.95)
    assert found.estimate == pytest.approx(stats.spearmanr(x, y).statistic)
    se = math.sqrt((1 + found.estimate**2 / 2) / 5)
    assert found.low == pytest.approx(math.tanh(math.atanh(found.estimate) - 1.959964 * se))
    assert calibration_points.spearman(x, x, 0.95).low is None, "nothing varies that an interval could be of"


def test_what_the_page_tells(tmp_path):
    html = built(hand(tmp_path / "results").write(), tmp_path / "report")
    text = Page(html).text
    for part in (
        "Calibrated to one setting for all 4 workloads, NadamW scores 0.667 (0.667 to 0.667) and reaches 3 of 4",
        "Ahead of it: Prodigy. Level with it, no difference being shown: none. Behind it: DoG.",
        "Prodigy scores 0.708 (0.708 to 0.708) and reaches 4 of 4 targets: ahead of NadamW, +0.042",
        "4 workloads and 2 fresh seeds each: a small suite", "2 seeds are few", "No energy was measured",
        "2 points are too few to say anything of single knobs", "bpfree calibrate made-up.toml", "Test CPU",
        "no workload changes any method’s setting", "95\u00a0% interval", "study: backprop with nadamw, 5 seeds",
    ):  # fmt: skip
        assert " ".join(part.split()) in text, part
    head, *rows = cells(html, "Scores")
    assert head[:5] == ["method", "calibrated", "against NadamW", "naive", "gained by calibration"]
    assert [row[0] for row in rows] == ["Prodigy", "NadamW", "DoG"]
    assert rows[0][-1] == "0.708"
    assert rows[1][-1] == "0.668", "AlgoPerf's trapezoid"
    assert rows[0][6:9] == ["0.708 one seed", "0.708 one seed", "0.000 one seed"]
    assert rows[1][5] == "3 of 4 naive 3 of 4"
    assert rows[2][2] == "−0.142 −0.142 to −0.142: behind"


def test_each_workload_has_what_it_took(tmp_path):
    html = built(hand(tmp_path / "results").write(), tmp_path / "report")
    _, _, *rows = cells(html, "c")
    assert rows[1] == ["NadamW", "0 of 2", "–", "–", "–", "0 of 2", "–", "–", "–"]
    assert rows[0] == ["Prodigy", "2 of 2", "600", "60.0", "300", "2 of 2", "300", "30.0", "150"]


def test_a_loss_is_reached_from_above(tmp_path):
    suite = [budget("a"), budget("b", metric="squared_error", higher_is_better=False, target=0.0123)]
    maker = Maker(tmp_path / "results", suite)
    took = {"a": 100, "b": 300}
    maker.method("nadamw", naive=took, calibrated=took, table={NAIVE: took, "1": took})
    assert calibration_scores.board(loaded(maker)).steps[CALIBRATED].times.tolist() == [[100, 300]]
    text = Page(built(tmp_path / "results", tmp_path / "report")).text
    assert "squared error ≤ 0.0123" in text
    assert "There is no other method" in text


def test_a_method_that_misses_everything(tmp_path):
    maker = hand(tmp_path / "results")
    never = on([INF] * 4)
    maker.method("cocob", naive=never, calibrated=never, table={NAIVE: never, "1": never, "2": never})
    html = built(maker.write(), tmp_path / "report")
    row = cells(html, "Scores")[-1]
    assert row[:2] == ["COCOB", "0.000 0.000 to 0.000"]
    assert row[5] == "0 of 4 naive 0 of 4"
    assert "none in common" in Page(html).text
    assert not re.search(r"\bnan\b|\binf\b|NaN|Infinity|\bNone\b", html)


def test_diverged_failed_and_missing_runs_are_misses(tmp_path):
    maker = hand(tmp_path / "results", seeds=(0, 1, 2))
    took, table = on([100, 100, 100, 100]), {NAIVE: on([200] * 4), "1": on([100] * 4), "2": on([100] * 4)}
    for key, fields in {
        ("adamw", "1", "a", 0): {"status": "diverged", "error": "loss is not finite"},
        ("adamw", "1", "a", 1): {"status": "diverged", "error": "loss is not finite"},
        ("adamw", "1", "b", 0): {"status": "failed", "error": "no", "cost": None, "history": []},
        ("adamw", "2", "d", TABLE_SEED): {"status": "diverged", "history": []},
    }.items():
        maker.fields[key] = fields
    maker.missing = {("adamw", "1", "c", 0), ("adamw", "1", "c", 1)}
    maker.method("adamw", naive=took, calibrated=took, table=table)
    found = loaded(maker)
    assert calibration_scores.board(found).steps[CALIBRATED].times[-1].tolist() == [INF, 100, INF, 100]
    text = Page(html := built(tmp_path / "results", tmp_path / "report")).text
    assert "2 of 96 final runs have no record here" in text
    assert "AdamW on a: diverged: loss is not finite (2 runs)" in text
    a, b, c = (next(row for row in cells(html, name) if row[0] == "AdamW") for name in "abc")
    assert [row[5] for row in (a, b, c)] == ["1 of 3 2 diverged", "2 of 3 1 failed", "1 of 3 2 not run"]
    assert next(row for row in region(html, "Points of AdamW") if row[0] == "2")[7] == "diverged"


def test_joules_that_are_not_known_are_not_scored(tmp_path):
    html = built(hand(tmp_path / "results", quality="absent").write(), tmp_path / "report")
    assert "so that joules are not compared" in Page(html).text
    assert set(re.findall(r'class="tag">(\w+)<', html)) == {"absent"}
    _, _, *rows = region(html, "Scores in seconds and joules")
    assert all(row[3:5] == ["–", "–"] and row[2].startswith("0.") for row in rows)
    _, _, *rows = cells(html, "a")
    assert rows[0][4] == "–"


def test_measured_and_modelled_are_not_mixed(tmp_path):
    maker = hand(tmp_path / "results")
    maker.quality = "measured"
    took = on([100] * 4)
    maker.method("adamw", naive=took, calibrated=took, table={NAIVE: took, "1": took, "2": took})
    found = loaded(maker)
    assert found.quality == "mixed"
    assert calibration_scores.board(found).joules == {}
    assert "Some energies are measured and some modelled" in Page(built(tmp_path / "results", tmp_path / "r")).text


def test_one_seed_claims_nothing(tmp_path):
    html = built(hand(tmp_path / "results", seeds=(0,)).write(), tmp_path / "report")
    text = Page(html).text
    assert "From one seed there is no interval" in text
    assert "4 workloads and 1 fresh seed each" in text
    assert not re.search(r"\bahead of NadamW|\bbehind NadamW", text)


def test_several_table_seeds_have_an_interval(tmp_path):
    path = random_calibration(tmp_path / "results", ["nadamw", "prodigy"], table_seeds=3)
    head, *rows = cells(built(path, tmp_path / "report"), "Scores")
    assert re.fullmatch(r"[\d.]+ [\d.]+ to [\d.]+", rows[0][head.index("calibrated, in the table")])
    assert re.fullmatch(r"[+−]?[\d.]+ \S+ to \S+", rows[0][head.index("lost by that")])


def test_the_defaults_may_be_best(tmp_path):
    maker = Maker(tmp_path / "results", SUITE)
    took = on([100] * 4)
    for name in ("nadamw", "dog"):
        table = {NAIVE: took, "1": on([INF] * 4), "2": on([INF] * 4)}
        maker.method(name, naive=took, calibrated=took, table=table, selected=NAIVE)
    text = Page(html := built(maker.write(), tmp_path / "report")).text
    assert "No point was better in the table than the defaults of NadamW, DoG." in text
    assert cells(html, "Scores")[1][4] == "defaults kept"
    assert cells(html, "The settings")[1][0] == "NadamW defaults"
    assert "16 final runs" in text, "each once: 2 methods, 4 workloads, 2 seeds"


def test_the_knobs_of_enough_points(tmp_path):
    path = random_calibration(tmp_path / "results", ["nadamw", "prodigy"], points=8)
    text = Page(html := built(path, tmp_path / "report")).text
    assert re.search(r"Of \d+ correlations the interval of \d+ leaves out 0", text)
    found = calibration_runs.load(ResultsFolder(path))
    (method, _) = found.outcome.methods
    row = calibration_points.knob_row(method, "learning_rate", calibration_points.point_scores(method, found), 0.95)
    rates = [arm.hyperparameters["learning_rate"] for arm in method.arms[1:]]
    expected = stats.spearmanr(rates, calibration_points.point_scores(method, found)).statistic
    assert row["r"].estimate == pytest.approx(expected)
    assert "too few to say anything of single knobs" not in text
    assert "best-of-few" in html


def test_names_from_outside_are_escaped(tmp_path):
    suite = [budget(EVIL, target_from=EVIL, metric=EVIL), budget("b")]
    maker = Maker(tmp_path / "results", suite)
    took = {EVIL: 100, "b": 100}
    for name in ("nadamw", EVIL):
        maker.fields[name, "1", "b", 0] = {"warnings": [EVIL]}
        maker.method(name, naive=took, calibrated=took, table={NAIVE: took, "1": took, "2": took})
    html = built(maker.write(name=EVIL, description=EVIL), tmp_path / "out" / "report")
    page = Page(html)
    assert [tag for tag, _ in page.tags].count("script") == 1
    assert EVIL not in html
    assert page.text.count(EVIL) > 20
    assert {p.relative_to(tmp_path).parts[0] for p in tmp_path.iterdir()} == {"results", "out"}


@pytest.fixture(scope="module")
def output(tmp_path_factory):
    folder = tmp_path_factory.mktemp("calibration")
    path = random_calibration(folder / "results", list(calibration_runs.NAMES), workloads=8, points=8)
    build_report(path, folder / "report")
    return folder / "report"


def test_nothing_is_fetched_and_figures_stand_alone(output):
    html = (output / "index.html").read_text()
    found = list(resources(html))
    assert found
    assert all(address.startswith(("data:", "#", "figures/")) for address in found)
    assert re.findall(r"https?://(?!www\.w3\.org/)[^\s\"'<]*", html) == []
    names = sorted(p.name for p in (output / "figures").iterdir())
    assert names == ["best-of-few.svg", "profiles-calibrated.svg", "profiles-naive.svg"]
    for name in names:
        text = (output / "figures" / name).read_text()
        ElementTree.fromstring(text)
        assert "var(" not in text
        assert not re.search("#0([0-9a-f])0[0-9a-f]0[0-9a-f]|NaN|Infinity|undefined|null", text)
    inline = "".join(re.findall("<svg.*?</svg>", html, re.DOTALL))
    assert not re.search("#0[0-9a-f]0[0-9a-f]0[0-9a-f]", inline)
    ids = [attributes["id"] for _, attributes in Page(html).tags if "id" in attributes]
    assert len(ids) == len(set(ids))


def test_a_report_is_the_same_when_made_again(tmp_path):
    path = random_calibration(tmp_path / "results", ["nadamw", "prodigy"])
    assert built(path, tmp_path / "a") == built(path, tmp_path / "b")


def test_a_damaged_outcome_is_one_line(tmp_path):
    (tmp_path / "calibration.json").write_text('{"name": "half')
    with pytest.raises(WorldError, match=r"calibration\.json cannot be read"):
        build_report(tmp_path, tmp_path / "report")


def test_the_target_itself_is_reached():
    assert budget("a").reached(TARGET)
    assert not budget("a").reached(math.nextafter(TARGET, 0))
