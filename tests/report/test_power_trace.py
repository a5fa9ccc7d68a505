"""The power of one run: samples kept beside the record, phases placed by their lengths."""

import gzip

import pytest

from bpfree.errors import WorldError
from bpfree.records import Phase
from bpfree.report import build_report, power_trace
from bpfree.report.summary import summarise
from bpfree.results import ResultsFolder


def trace(rows):
    return gzip.compress(("seconds,watts,celsius\n" + "".join(f"{t},{w},\n" for t, w in rows)).encode())


@pytest.fixture
def path(made):
    return made(seeds=2, quality="measured", component="gpu")


@pytest.fixture
def record(path):
    """The baseline's second run, set up for 2 s, idle for 4 s, trained for 10 s, validated for 1 s, tested for 3 s."""
    (workload,) = summarise(path).workloads
    found = next(r for r in workload.methods[0].records if r.spec.seed == 1)
    lengths = {"setup": 2, "idle": 4, "settle": 1, "train": 10, "validate": 1, "test": 3}
    found.phases = {name: Phase(seconds=seconds, readings=[]) for name, seconds in lengths.items()}
    return found


def places(record, end=100.0):
    return [(row["phase"], row["seconds"], row["to"]) for row in power_trace.spans(record, end)]


def test_phases_lie_one_after_another(record):
    assert places(record) == [
        ("set-up", 0, 2), ("idle", 2, 6), ("training", 6.5, 17.5), ("test", 18, 21),
    ]  # fmt: skip
    assert places(record, 7.0)[-1] == ("training", 6.5, 7.0)


def test_idling_afterwards_is_half_of_all_idling(record):
    record.cost.idle_watts_after = 10.0
    assert places(record) == [
        ("set-up", 0, 2), ("idle", 2, 4), ("training", 4.5, 15.5), ("test", 16, 19), ("idle", 19, 21),
    ]  # fmt: skip


def test_repeats_follow_the_phases_of_the_first_training(record):
    record.cost.repeats, record.cost.train_seconds, record.phases["settle"].seconds = 3, 11.0, 1.5
    assert places(record) == [
        ("set-up", 0, 2), ("idle", 2, 6), ("training", 6.5, 17.5), ("test", 18, 21), ("training", 21.5, 54.5),
    ]  # fmt: skip


def test_a_long_trace_keeps_its_mean_power():
    samples = [(i / 10, float(i % 7)) for i in range(10 * power_trace.POINTS)]
    kept = power_trace.thinned(samples)
    assert len(kept) == power_trace.POINTS
    assert sum(w for _, w in kept) / len(kept) == pytest.approx(sum(w for _, w in samples) / len(samples))
    assert power_trace.thinned(samples[:5]) == samples[:5]


def test_the_page_has_the_figure_where_a_trace_lies_beside_a_record(path, record):
    report = path.parent / "report"
    assert "Power of one run" not in build_report(path, report).read_text()
    ResultsFolder(path).write_bytes(f"runs/{record.id}/power.csv.gz", trace([(0.0, 50.0), (1.0, 200.0), (2.5, 60.0)]))
    page = build_report(path, report).read_text()
    assert "Power of one run" in page
    assert "Backprop, seed 1: the GPU’s power as sampled, 3 samples." in page


@pytest.mark.parametrize(
    "content",
    [b"no gzip", trace([(0, 1), (1, 2)])[:-9], trace([("x", "y")]), gzip.compress(b"a,b\n1,2\n")],
    ids=["no gzip", "cut", "no numbers", "other columns"],  # gzip writes the time, and so would names made of contents
)
def test_a_damaged_trace_is_named(path, record, content):
    ResultsFolder(path).write_bytes(f"runs/{record.id}/power.csv.gz", content)
    with pytest.raises(WorldError, match=r"power\.csv\.gz cannot be read: delete it"):
        build_report(path, path.parent / "report")


def test_an_empty_trace_is_no_figure(path, record):
    ResultsFolder(path).write_bytes(f"runs/{record.id}/power.csv.gz", trace([]))
    assert "Power of one run" not in build_report(path, path.parent / "report").read_text()
