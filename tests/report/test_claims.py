"""Each verdict on a claim, reached by hand-made records; and the published claims where they stand."""

import tomllib
from pathlib import Path

import pytest

from bpfree.claims import Claim
from bpfree.errors import RequestError
from bpfree.published import CLAIMS
from bpfree.records import Metrics
from bpfree.report import build_report, claims
from bpfree.report.summary import summarise
from bpfree.study import Study, load

STUDIES = Path(__file__).parents[2] / "studies"
SEEDS = 5
LABELS = {"mono_forward_greedy": "mono_forward"}


def claim(**fields):
    whole = {"sentence": "It is so.", "workload": "digits-mlp", "algorithm": "mono_forward", "metric": "accuracy"}
    return {**whole, "statistic": "difference", **fields}


def accuracies(gap, spread=0.0):
    """Mono-Forward lies `gap` above backprop, give or take `spread` from seed to seed."""
    fields = {}
    for seed in range(SEEDS):
        of_baseline = 0.9 + 0.01 * seed
        for name, value in (("backprop", of_baseline), ("mono_forward", of_baseline + gap + spread * (seed % 2))):
            fields[name, seed] = {"metrics": Metrics(test_metric=value, test_accuracy=value)}
    return fields


@pytest.fixture
def judged(made):
    def judge(quality="measured", seeds=SEEDS, fields=None, **entry):
        return claims.judgements(summarise(made(quality=quality, seeds=seeds, fields=fields, claims=[claim(**entry)])))[
            0
        ]

    return judge


@pytest.mark.parametrize(
    ("gap", "spread", "bound", "verdict"),
    [
        (0.02, 1e-4, {"at_least": 0.01}, "supported"),
        (0.02, 1e-4, {"at_least": 0.03}, "contradicted"),
        (0.02, 0.05, {"at_least": 0.03}, "not shown"),
        (-0.02, 1e-4, {"at_most": -0.01}, "supported"),
        (-0.02, 1e-4, {"at_most": -0.03}, "contradicted"),
        (-0.02, 0.05, {"at_most": 0.0}, "not shown"),
    ],
)
def test_where_the_interval_lies_decides(judged, gap, spread, bound, verdict):
    found = judged(fields=accuracies(gap, spread), **bound)
    assert found.verdict == verdict
    assert found.measured.estimate == pytest.approx(gap + spread * 2 / SEEDS)


@pytest.mark.parametrize(("published", "inside"), [(0.02, True), (0.2, False), (None, None)])
def test_the_published_size_is_another_question(judged, published, inside):
    found = judged(fields=accuracies(0.02, 0.01), at_least=-0.5, published=published)
    assert (found.verdict, found.published_inside) == ("supported", inside)


def test_one_seed_shows_nothing(judged):
    found = judged(seeds=1, at_least=-1)
    assert (found.verdict, found.reason) == ("not shown", "one seed gives no interval")


@pytest.mark.parametrize("metric", ["energy", "co2e"])
@pytest.mark.parametrize(("quality", "reason"), [("modelled", "modelled"), ("absent", "no energy was measured")])
def test_energy_that_is_not_measured_tests_nothing(judged, metric, quality, reason):
    found = judged(quality=quality, metric=metric, statistic="ratio", at_most=1e9)
    assert found.verdict == "not testable here"
    assert reason in found.reason
    assert found.measured is None


def test_measured_energy_and_time_are_judged_though(judged):
    """Forward-Forward's energy is 2.6 times backprop's in the made-up study."""
    assert judged(algorithm="forward_forward", metric="energy", statistic="ratio", at_least=2).verdict == "supported"


def test_modelled_energy_leaves_a_claim_about_time_alone(judged):
    found = judged("modelled", algorithm="forward_forward", metric="time", statistic="difference", at_least=10)
    assert found.verdict == "supported"
    assert found.measured.estimate == pytest.approx(32, rel=0.1)  # seconds, 52 against 20
    assert found.reason == "judged for itself", "the family is of accuracies and energies"


@pytest.mark.parametrize(
    ("metric", "quality", "reason"),
    [
        ("co2e", "measured", "no emissions are known: name a country"),
        ("co2e", "absent", "the CO2e of these runs is not known"),
        ("steps", "measured", "the steps of these runs are not known"),
    ],
)
def test_what_is_not_known_has_a_reason(made, metric, quality, reason):
    method = summarise(made(quality=quality)).workloads[0].methods[-1]
    wanted = Claim.model_validate(claim(metric=metric, statistic="ratio", at_most=1))
    assert claims.unknown(wanted, method).startswith(reason)


def test_a_missing_method_cannot_be_tested(made):
    path = made(missing=lambda algorithm, _: algorithm == "mono_forward", claims=[claim(at_least=0)])
    assert claims.judgements(summarise(path))[0].verdict == "not testable here"


@pytest.mark.parametrize(
    ("gap", "spread", "verdict"),
    [(0.0, 1e-4, "supported"), (-0.05, 1e-4, "contradicted"), (-0.02, 0.05, "not shown")],
)
def test_at_equal_accuracy_needs_equal_accuracy(judged, gap, spread, verdict):
    """The energy's interval lies inside its bound each time."""
    entry = {"metric": "energy", "statistic": "ratio", "at_most": 10, "accuracy_margin": 0.005}
    assert judged(fields=accuracies(gap, spread), **entry).verdict == verdict


def test_the_report_shows_each_claim_escaped(made, tmp_path):
    entries = [
        claim(sentence="<b>more</b> accurate", at_least=0, published=0.01, source="arXiv 1234"),
        claim(at_most=1),
    ]
    page = build_report(made(claims=entries), tmp_path / "report").read_text()
    assert "&lt;b&gt;more&lt;/b&gt; accurate" in page
    assert "<b>more" not in page
    assert "Of the 2 claims that the study names" in page


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        ({"at_most": 1, "at_least": 0}, "one only"),
        ({}, "one only"),
        ({"at_most": 1, "algorithm": "backprop"}, "is the baseline"),
        ({"at_most": 1, "algorithm": "mono"}, "which the study has not"),
        ({"at_most": 1, "workload": "mnist-mlp"}, "which the study has not"),
        ({"at_most": 1, "metric": "loss"}, "metric"),
        ({"at_most": 1, "optimizer": "sgd"}, "needs its optimizer"),
        ({"at_most": 1, "verdict": "supported"}, "verdict"),
    ],
)
def test_a_wrong_claim_is_refused(tmp_path, wrong, message):
    entry = claim(**wrong)
    lines = [f"{key} = {value!r}" for key, value in entry.items()]
    head = 'name = "x"\nworkloads = ["digits-mlp"]\nalgorithms = ["backprop", "mono_forward"]\n'
    file = tmp_path / "x.toml"
    file.write_text(head + "[[claims]]\n" + "\n".join(lines) + "\n")
    with pytest.raises(RequestError, match=message):
        load(file)


@pytest.mark.parametrize("file", sorted(STUDIES.glob("beyond_backprop_*.toml")), ids=lambda file: file.stem)
def test_the_published_claims_are_the_same_in_every_protocol(file):
    published = [Claim.model_validate(entry) for entry in tomllib.loads(CLAIMS.read_text())["claims"]]
    ours = [c.model_copy(update={"algorithm": LABELS.get(c.algorithm, c.algorithm)}) for c in load(file).claims]
    study = load(file)
    taking_part = {(w, LABELS.get(a.method, a.method)) for w, a, _ in study.cells}
    assert ours == [c for c in published if (c.workload, c.algorithm) in taking_part]
    assert ours


def test_claims_survive_the_results_folder(made):
    entry = claim(at_least=-0.5, published=0.1, source="arXiv 1")
    study = Study.model_validate(tomllib.loads((made(claims=[entry]) / "study.toml").read_text()))
    assert study.claims == [Claim.model_validate(entry)]
