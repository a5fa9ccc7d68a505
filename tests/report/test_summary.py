"""The figures of a report against computations of their own, and the answer's sentences."""

import json
import math
from pathlib import Path
from statistics import mean

import pytest
from scipy import stats

from bpfree.errors import WorldError
from bpfree.report import form
from bpfree.report.answer import sentences
from bpfree.report.summary import summarise


def documents(path):
    """Completed final runs as plain JSON, by algorithm and seed."""
    found = {}
    for file in path.glob("runs/*/record.json"):
        record = json.loads(file.read_text())
        if record["spec"]["role"] == "final" and record["status"] == "completed":
            found.setdefault(record["spec"]["algorithm"], {})[record["spec"]["seed"]] = record
    return found


def methods(summary):
    (workload,) = summary.workloads
    return {method.name: method for method in workload.methods}


def answer(path):
    return " ".join(sentences(summarise(path)))


def test_means_and_intervals(made):
    path = made()
    found = methods(summarise(path))
    for name, runs in documents(path).items():
        m = found[name]
        for interval, values in (
            (m.accuracy, [r["metrics"]["test_metric"] for r in runs.values()]),
            (m.joules, [r["cost"]["train_joules"] for r in runs.values()]),
            (m.seconds, [r["cost"]["train_seconds"] for r in runs.values()]),
            (m.co2e_grams, [r["cost"]["carbon"]["co2e_kg"] * 1000 for r in runs.values()]),
            (m.joules_to_best, [r["cost"]["train_joules"] * 4 / 6 for r in runs.values()]),
        ):
            low, high = stats.t.interval(0.95, 4, loc=mean(values), scale=stats.sem(values))
            assert (interval.estimate, interval.low, interval.high) == pytest.approx((mean(values), low, high))
            assert interval.n == 5
        assert m.host_bytes.estimate == 2**29
        assert m.joules_net is None  # of modelled energy there is none
        assert m.patience_share == pytest.approx(2 / 6)


def test_comparisons_are_paired_and_at_holms_levels(made):
    path = made()
    found, runs = methods(summarise(path)), documents(path)
    tests = {}
    for name in list(found)[1:]:
        a, b = runs[name], runs["backprop"]
        tests[name, "accuracy"] = [a[s]["metrics"]["test_metric"] - b[s]["metrics"]["test_metric"] for s in range(5)]
        tests[name, "energy"] = [
            math.log(a[s]["cost"]["train_joules"] / b[s]["cost"]["train_joules"]) for s in range(5)
        ]
    p = {key: stats.ttest_1samp(d, 0).pvalue for key, d in tests.items()}
    level, failed = {}, False
    for k, key in enumerate(sorted(p, key=p.get)):
        share = share if failed else 0.05 / (6 - k)  # noqa: F821
        failed = failed or p[key] > share
        level[key] = 1 - share
    assert len(set(level.values())) > 2
    for (name, what), d in tests.items():
        found_one = found[name].accuracy_difference if what == "accuracy" else found[name].energy_ratio
        low, high = stats.ttest_1samp(d, 0).confidence_interval(level[name, what])
        expected = [mean(d), low, high]
        if what == "energy":
            expected = [math.exp(v) for v in expected]
        assert [found_one.estimate, found_one.low, found_one.high] == pytest.approx(expected)
        assert found_one.confidence == pytest.approx(level[name, what])
    assert found["backprop"].accuracy_difference is None


def test_the_factors_product_is_the_energy_ratio(made):
    for m in list(methods(summarise(made())).values())[1:]:
        product = math.prod(m.factors[name].estimate for name in ("steps", "time per step", "power"))
        assert product == pytest.approx(m.energy_ratio.estimate)
        assert m.factors["time"].estimate == pytest.approx(
            m.factors["steps"].estimate * m.factors["time per step"].estimate
        )


def test_the_answer_of_a_modelled_study(made):
    path = made()
    text = answer(path)
    best = max(documents(path).items(), key=lambda item: mean(r["metrics"]["test_metric"] for r in item[1].values()))
    value = 100 * mean(r["metrics"]["test_metric"] for r in best[1].values())
    names = {"backprop": "Backprop", "mono_forward": "Mono-Forward"}
    assert f"the highest mean test accuracy is {names[best[0]]}’s, {value:.2f} %" in text
    assert "Forward-Forward is less accurate than Backprop" in text
    assert "Mono-Forward shows no difference in accuracy to Backprop" in text
    assert "took more modelled energy" in text
    assert "No energy was measured: joules are a model" in text
    assert "Every figure is from 5 seeds a method" in text
    assert "small sample" in text
    assert "Holm" in text
    assert "not finished" not in text


def test_the_answer_of_a_measured_study(made):
    text = answer(made(quality="measured", component="gpu", seeds=8))
    assert "took more energy" in text
    assert "model" not in text
    assert "small sample" not in text


def test_half_of_the_runs_are_missing(made):
    path = made(
        missing=lambda algorithm, seed: seed > 2 or (seed == 2 and algorithm not in ("backprop", "mono_forward"))
    )
    summary = summarise(path)
    found = methods(summary)
    assert (len(summary.records), summary.planned) == (10, 20)
    assert [m.accuracy.n for m in found.values()] == [3, 2, 2, 3]
    assert (found["mono_forward"].energy_ratio.n, found["forward_forward"].energy_ratio.n) == (3, 2)
    text = answer(path)
    assert "not finished: 10 of 20 final runs are done" in text
    assert "2 to 3 seeds a method" in text


def test_net_energy_is_of_measured_runs(made):
    path = made(quality="measured")
    for m in methods(summarise(path)).values():
        assert m.joules_net.estimate == pytest.approx(0.8 * m.joules.estimate)


def test_joules_to_best_need_the_history(made):
    path = made()
    file = next(f for f in path.glob("runs/*/record.json") if '"role": "final"' in f.read_text())
    record = json.loads(file.read_text())
    for evaluation in record["history"]:
        evaluation["joules"] = None
    file.write_text(json.dumps(record))
    found = methods(summarise(path))
    assert found[record["spec"]["algorithm"]].joules_to_best.n == 4
    assert sorted(m.joules_to_best.n for m in found.values()) == [4, 5, 5, 5]


def test_a_method_without_any_run_is_said_to_have_none(made):
    path = made(missing=lambda algorithm, seed: algorithm == "cascaded_forward")
    m = methods(summarise(path))["cascaded_forward"]
    assert (m.accuracy, m.joules, m.accuracy_difference, m.energy_ratio) == (None, None, None, None)
    text = answer(path)
    assert "not finished: 15 of 20" in text
    assert "Every figure is from 5 seeds" in text
    assert "Cascaded-Forward has no completed run" in text


def test_without_the_baseline_nothing_is_compared(made):
    path = made(missing=lambda algorithm, seed: algorithm == "backprop")
    assert all(m.energy_ratio is None for m in methods(summarise(path)).values())
    assert "Backprop has no completed run" in answer(path)


def test_nothing_was_completed(made):
    path = made(missing=lambda a, s: (a, s) != ("backprop", 0), fields={("backprop", 0): {"status": "diverged"}})
    text = answer(path)
    assert "On digits-mlp no run was completed." in text
    assert "seeds" not in text


def test_failed_and_diverged_runs(made):
    failed = {"status": "failed", "error": "Traceback\n  line\nOSError: no space left"}
    path = made(fields={("backprop", 1): {"status": "diverged"}, ("forward_forward", 2): failed})
    summary = summarise(path)
    found = methods(summary)
    assert [len(m.completed) for m in found.values()] == [4, 4, 5, 5]
    assert [m.energy_ratio.n for m in list(found.values())[1:]] == [3, 4, 4]
    warnings = "\n".join(summary.warnings)
    assert "digits-mlp.backprop.adamw, seed 1: diverged" in warnings
    assert "digits-mlp.forward_forward.adamw, seed 2: failed. OSError: no space left" in warnings
    text = answer(path)
    assert "not finished: 19 of 20" in text  # a diverged run is a result, a failed one is tried again
    assert "4 to 5 seeds a method" in text
    assert "Of Backprop’s 5 runs 1 diverged; its figures are of the other 4." in text
    assert "Of Forward-Forward’s 5 runs 1 failed; its figures are of the other 4." in text
    assert "Of Mono-Forward’s" not in text


def test_a_method_that_failed_and_diverged(made):
    failed = {"status": "failed", "error": "no"}
    path = made(fields={("backprop", 1): {"status": "diverged"}, ("backprop", 2): failed})
    assert "Of Backprop’s 5 runs 1 diverged and 1 failed; its figures are of the other 3." in answer(path)


def test_measured_and_modelled_energies_are_never_compared(made):
    path = made(quality=lambda algorithm, seed: "measured" if algorithm == "backprop" else "modelled")
    summary = summarise(path)
    assert summary.workloads[0].quality == "mixed"
    assert all(m.energy_ratio is None for m in methods(summary).values())
    assert all(m.factors["power"] is None for m in list(methods(summary).values())[1:])
    text = answer(path)
    assert text.count("energies are not compared: some energies are measured and some modelled") == 3
    assert "took" not in text


def test_a_method_of_two_qualities_has_no_mean_energy(made):
    path = made(quality=lambda algorithm, seed: "measured" if seed else "modelled")
    assert all(m.joules is None for m in methods(summarise(path)).values())


@pytest.mark.parametrize("quality", ["absent", "unresolved"])
def test_energy_that_is_not_known(made, quality):
    path = made(quality=quality)
    summary = summarise(path)
    assert summary.workloads[0].quality == "absent"
    assert all(m.joules is None and m.energy_ratio is None for m in methods(summary).values())
    text = answer(path)
    assert "No energy was measured or modelled" in text
    assert "its energy is not known" in text


def test_a_run_without_energy_is_left_out_of_the_ratio_alone(made):
    path = made(quality=lambda algorithm, seed: "unresolved" if (algorithm, seed) == ("backprop", 0) else "measured")
    m = methods(summarise(path))["mono_forward"]
    assert (m.accuracy_difference.n, m.energy_ratio.n) == (5, 4)
    product = math.prod(m.factors[name].estimate for name in ("steps", "time per step", "power"))
    assert product == pytest.approx(m.energy_ratio.estimate)


def test_a_single_seed_claims_nothing(made):
    path = made(seeds=1)
    summary = summarise(path)
    for m in list(methods(summary).values())[1:]:
        assert m.accuracy_difference.verdict == m.energy_ratio.verdict == "no difference shown"
    text = answer(path)
    assert "from 1 seed a method" in text
    assert "one seed: no interval" in text
    assert "took" not in text


def test_the_studys_confidence_is_used(made):
    summary = summarise(made(statistics={"confidence": 0.8}))
    assert methods(summary)["backprop"].accuracy.confidence == 0.8
    assert "false claims are held to 20\u00a0%" in " ".join(sentences(summary))


def test_records_that_are_not_planned_are_ignored(made):
    path = made(extra=True)
    summary = summarise(path)
    assert len(summary.records) == 20
    assert methods(summary)["backprop"].accuracy.n == 5
    assert methods(summary)["backprop"].accuracy.estimate > 0.9
    assert [len(trials) for trials in summary.trials.values()] == [2, 2, 2, 2]


def test_unequal_budgets_are_a_warning(made):
    path = made()
    assert not summarise(path).warnings
    file = path / "tuned" / "digits-mlp.mono_forward.adamw.json"
    file.write_text(json.dumps({**json.loads(file.read_text()), "trials": 1, "warnings": ["at the edge"]}))
    warnings = summarise(path).warnings
    assert "mono_forward: at the edge" in warnings
    assert any("not given the same number of trials: [1, 2]" in text for text in warnings)


def changed(path, role, algorithm, change):
    """The records of an algorithm in some role, changed in place (under their old ids)."""
    for file in path.glob("runs/*/record.json"):
        record = json.loads(file.read_text())
        if (record["spec"]["role"], record["spec"]["algorithm"]) == (role, algorithm):
            change(record)
            file.write_text(json.dumps(record))
    return path


@pytest.mark.parametrize(("role", "kind"), [("final", "final runs"), ("trial", "trials")])
def test_unequal_limits_are_a_warning(made, role, kind):
    path = changed(made(), role, "mono_forward", lambda r: r["spec"]["training"].update(max_epochs=99, patience=7))
    assert summarise(path).warnings == [f"digits-mlp: the {kind} differ in max epochs, patience"]


def test_old_final_runs_of_every_method_are_a_warning(made):
    path = made()
    for algorithm in ("backprop", "forward_forward", "cascaded_forward", "mono_forward"):

        def change(record):
            if record["spec"]["seed"] == 0:
                record["spec"]["training"]["max_epochs"] = 99

        changed(path, "final", algorithm, change)
    assert summarise(path).warnings == ["digits-mlp: the final runs differ in max epochs"]


def test_emissions_of_energy_that_is_not_resolved_are_left_out(made):
    def change(record):
        if record["spec"]["seed"] == 0:
            record["cost"]["joules_quality"] = "unresolved"
            record["cost"]["carbon"]["co2e_kg"] = 5.0

    (workload,) = summarise(changed(made(seeds=3, quality="measured"), "final", "mono_forward", change)).workloads
    assert workload.methods[3].co2e_grams.n == 2
    assert workload.methods[3].co2e_grams.estimate < 1


def test_emissions_of_unlike_energies_have_no_mean(made):
    quality = lambda algorithm, seed: "modelled" if (algorithm, seed) == ("mono_forward", 0) else "measured"  # noqa: E731
    (workload,) = summarise(made(seeds=3, quality=quality)).workloads
    assert workload.methods[3].co2e_grams is None
    assert workload.methods[0].co2e_grams is not None


def test_old_trials_of_every_method_are_no_warning(made):
    path = made()
    for algorithm in ("backprop", "forward_forward", "cascaded_forward", "mono_forward"):

        def change(record):
            if record["trial"] == 0:
                record["spec"]["training"]["max_epochs"] = 99

        changed(path, "trial", algorithm, change)
    assert summarise(path).warnings == []


@pytest.mark.parametrize(
    ("facts", "message"),
    [
        ({"cpu": "Another CPU"}, "made on different machines"),
        ({"packages": {"torch": "2.0.0"}}, "made with different versions"),
        ({"commit": "0123456789ab+changes"}, "changes that are in no commit"),
    ],
)
def test_unlike_environments_are_a_warning(made, facts, message):
    (warning,) = summarise(changed(made(), "final", "backprop", lambda r: r["environment"].update(facts))).warnings
    assert message in warning


def spoilt(path, name, text):
    (path / name).write_text(text)
    return path


@pytest.mark.parametrize(
    ("spoil", "message"),
    [
        (lambda made, tmp: tmp, "has no study.toml"),
        (lambda made, tmp: tmp / "nowhere", "has no study.toml"),
        (lambda made, tmp: made(missing=lambda a, s: True), "no final run"),
        (lambda made, tmp: spoilt(made(), "study.toml", "name = "), "study.toml"),
        (lambda made, tmp: spoilt(made(), "study.toml", 'name = "x"'), "study.toml"),
        (lambda made, tmp: spoilt(made(), "plan.json", '{"final_runs": ['), "plan.json"),
        (lambda made, tmp: spoilt(made(), "tuned/digits-mlp.backprop.adamw.json", "{"), "cannot be read"),
    ],
)
def test_a_folder_that_cannot_be_reported_on(made, tmp_path, spoil, message):
    with pytest.raises(WorldError, match=message) as caught:
        summarise(spoil(made, tmp_path))
    assert "\n" not in str(caught.value)


def test_a_damaged_record_is_named(made):
    path = made()
    file = next(path.glob("runs/*/record.json"))
    file.write_text(file.read_text()[:100])
    with pytest.raises(WorldError, match=file.parent.name):
        summarise(path)


def test_many_methods_share_sentences():
    records = Path(__file__).parents[2] / "studies" / "records" / "learning_rate_free_local"
    summary = summarise(records)
    lines = sentences(summary)
    (workload,) = summary.workloads
    compared = [m for m in workload.methods if m.reference]
    assert len(compared) == 21
    assert len(lines) < 10
    for m in compared:
        name = form.title(m.name)
        (line,) = [s for s in lines if s.startswith(f"{name} ") or f" {name};" in s or s.endswith(f" {name}.")]
        assert ("less accurate" in line) == (m.accuracy_difference.verdict == "lower")
        assert ("took more" in line) == (m.energy_ratio.verdict == "higher")
        assert ("took less" in line) == (m.energy_ratio.verdict == "lower")
