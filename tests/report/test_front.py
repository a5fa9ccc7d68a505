"""The front of accuracy and energy, and the axis of energies."""

from bpfree.report import front
from bpfree.report.metric import ACCURACY
from bpfree.report.summary import summarise


def rows(*points):
    return [{"method": name, "joules": joules, "value": value} for name, joules, value in points]


def names(found):
    return [row["method"] for row in found]


def test_the_front_is_what_no_other_beats_in_both():
    everyone = rows(("dear", 9, 99), ("beaten", 5, 80), ("cheap", 1, 70), ("middle", 3, 90), ("as good, dearer", 4, 90))
    assert names(front.front(everyone, ACCURACY)) == ["cheap", "middle", "dear"]
    assert names(front.front(rows(("a", 2, 90), ("b", 2, 91)), ACCURACY)) == ["b"]
    assert names(front.front(rows(("best in both", 1, 99), ("b", 2, 90)), ACCURACY)) == ["best in both"]


def test_nothing_off_the_front_is_undominated():
    """Against the definition, pair by pair."""
    everyone = rows(*((str(i), (37 * i) % 11, (53 * i) % 13) for i in range(20)))

    def beaten(row):
        return any(
            o["joules"] <= row["joules"]
            and o["value"] >= row["value"]
            and (o["joules"], o["value"]) != (row["joules"], row["value"])
            for o in everyone
        )

    found = front.front(everyone, ACCURACY)
    assert {(r["joules"], r["value"]) for r in found} == {(r["joules"], r["value"]) for r in everyone if not beaten(r)}


def test_the_axis_is_logarithmic_beyond_a_decade():
    narrow, least = front.energy_axis("joules", [10, 99], "energy")
    assert narrow.to_dict()["title"] == "energy"
    assert least == 0
    wide, least = front.energy_axis("joules", [10, 101], "energy")
    assert wide.to_dict()["title"] == "energy, log scale"
    assert wide.to_dict()["scale"]["type"] == "log"
    assert least == 5


def test_ticks_are_few_and_round():
    assert front.ticks(3, 120) == [5, 10, 20, 50, 100]
    assert front.ticks(2.7, 1800) == [5, 10, 20, 50, 100, 200, 500, 1000]
    assert front.ticks(1, 2e6) == [1, 10, 100, 1e3, 1e4, 1e5, 1e6]


def test_the_points_are_the_means_of_the_main_table(made):
    (workload,) = summarise(made()).workloads
    for m in workload.methods:
        row = front.mean_row(m)
        joules = [r.cost.train_joules for r in m.completed]
        assert abs(row["joules"] - sum(joules) / 5) < 1e-9
        assert row["left"] < row["joules"] < row["right"]
        assert row["low"] < row["value"] < row["high"]
    figure = front.metric_energy(workload)
    assert "no claim" in figure.caption
