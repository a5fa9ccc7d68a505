"""After how many trainings a dearer tuning has paid, against sums worked by hand."""

import pytest

from bpfree.report import break_even, build_report
from bpfree.report.break_even import BreakEven
from bpfree.report.summary import summarise
from bpfree.statistics import difference


def saving(*joules):
    return difference(dict(enumerate(joules)), dict.fromkeys(range(len(joules)), 0.0))


# Of 8, 10 and 12 J: mean 10, deviation 2; t(0.975, 2) = 4.30265; half the interval 4.96828: 5.03172 to 14.96828.
SAVES, LOSES, UNCLEAR = saving(8, 10, 12), saving(-8, -10, -12), saving(-2, 3, 4)


@pytest.mark.parametrize(
    ("more", "save", "kind", "words"),
    [
        # 115 / 10 = 11.5, / 14.968 = 7.68, / 5.0317 = 22.85: lower from the next whole training on
        (115, SAVES, "after", ("after 12 trainings", "8 to 23")),
        (100, SAVES, "after", ("after 11 trainings", "7 to 20")),  # equal at 10, lower at 11
        (5.2, SAVES, "after", ("after 1 training", "1 to 2")),
        (4, SAVES, "from the first", ("from the first", "")),  # even the least saving outweighs it at once
        (0, SAVES, "from the first", ("from the first", "")),
        (-50, SAVES, "from the first", ("from the first", "")),
        (115, LOSES, "never", ("never", "")),
        (0, LOSES, "never", ("never", "")),
        (-115, LOSES, "up to", ("cheaper for 11 trainings, then dearer", "7 to 22")),
        (-4, LOSES, "never", ("never", "")),  # one training takes it back
        (115, UNCLEAR, "not shown", ("not shown", "")),
        (-115, UNCLEAR, "not shown", ("not shown", "")),
        (115, saving(10), "not shown", ("not shown", "")),
    ],
)
def test_by_hand(more, save, kind, words):
    found = break_even.break_even(more, save)
    assert (found.kind, found.printed) == (kind, words)


def test_thousands_are_set_apart():
    assert BreakEven("after", 12_000, 8_000, 31_000).printed == ("after 12,000 trainings", "8,000 to 31,000")


@pytest.mark.parametrize("more", [3, 47, 115, 999])
def test_the_totals_change_places_there(more):
    """Against the totals themselves."""
    found = break_even.break_even(more, SAVES)
    lower = [more - 10 * n < 0 for n in range(1, 300)]
    assert lower.index(True) + 1 == found.trainings if found.trainings else lower[0]


@pytest.fixture
def workload(made):
    (found,) = summarise(made()).workloads
    return found


def test_the_table_adds_up(workload):
    backprop, forward, *_ = workload.methods
    table = break_even.rows(workload, 0.95)
    assert [row["name"] for row in table] == ["Backprop", "Forward-Forward", "Cascaded-Forward", "Mono-Forward"]
    joules = [record.cost.train_joules for record in forward.completed]
    assert table[1]["tuning"] == "520", "as the fixture wrote it"
    assert float(table[1]["total"]) == pytest.approx(520 + sum(joules) / 5, rel=1e-2)
    theirs = [record.cost.train_joules for record in backprop.completed]
    saved = (sum(theirs) - sum(joules)) / 5
    assert table[1]["saved"][0] == f"{saved:.0f}".replace("-", "−")
    assert [row["break_even"][0] for row in table] == ["–", "never", "never", "not shown"]


def test_a_method_that_is_dear_to_tune_pays_late(workload):
    cascaded = workload.methods[2]
    cascaded.tuned.readings[0].joules = 10_000
    for record in cascaded.records:
        record.cost.train_joules /= 4  # less than backprop takes
    backprop = workload.methods[0]
    pairs = zip(backprop.completed, cascaded.completed, strict=True)
    saves = sum(b.cost.train_joules - c.cost.train_joules for b, c in pairs) / 5
    found = break_even.against_baseline(cascaded, 0.95)
    assert found.kind == "after"
    assert found.crossing == pytest.approx((10_000 - 200) / saves)
    assert found.low <= found.trainings <= found.high
    figure = break_even.total_energy(workload, 0.95)
    assert "in J (modelled)" in figure.standalone


def test_unlike_energies_are_not_added(made):
    quality = {"backprop": "measured"}
    path = made(quality=lambda algorithm, seed: quality.get(algorithm, "modelled"))
    (mixed,) = summarise(path).workloads
    assert break_even.rows(mixed, 0.95) == []
    assert break_even.total_energy(mixed, 0.95) is None


@pytest.mark.parametrize("quality", ["measured", "modelled"])
def test_the_page_says_how_the_joules_were_got(made, tmp_path, quality):
    html = build_report(made(quality=quality), tmp_path / "report").read_text()
    _, _, after = html.partition("What tuning costs, and when it has paid</h4>")
    head = after.partition("</thead>")[0]
    assert f'<span class="tag">{quality}</span>' in head
    assert "never" in after.partition("</table>")[0]


def test_a_method_that_missed_the_target_is_not_compared(workload):
    forward = workload.methods[1]
    forward.censored = "not every run reached the target"
    assert break_even.rows(workload, 0.95)[1]["break_even"] == ("–", "not every run reached the target")
