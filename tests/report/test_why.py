"""Why, not only how much: losses, gaps and shares against numbers worked by hand."""

import pytest

from bpfree.records import Evaluation
from bpfree.report import build_report, why
from bpfree.report.summary import summarise

# The lowest validation loss of each of three seeds.
BACKPROP = (0.30, 0.32, 0.34)
LOWER = (0.20, 0.21, 0.25)  # by 0.10, 0.11 and 0.09
EITHER = (0.31, 0.30, 0.34)


def history(record, lowest):
    """Two stages of two epochs, or one: the lowest loss comes in the second epoch of the first stage."""
    names = list(dict.fromkeys(stage.name for stage in record.stages))[:2]
    values = [(0.9, lowest + 0.1), (0.91, lowest), (0.93, lowest + 0.2), (0.92, None)]
    return [
        Evaluation(
            stage=names[min(i // 2, len(names) - 1)], epoch=i + 1, step=i + 1, train_loss=0.05 * (4 - i),
            validation_metric=metric, validation_loss=loss, seconds=i, joules=i,
        )
        for i, (metric, loss) in enumerate(values)
    ]  # fmt: skip


@pytest.fixture
def workload(made):
    (found,) = summarise(made(seeds=3, quality="measured", component="gpu")).workloads
    losses = {"backprop": BACKPROP, "mono_forward": LOWER, "cascaded_forward": EITHER, "forward_forward": LOWER}
    knobs = {
        "mono_forward": {"prediction": "last"},
        "cascaded_forward": {"prediction": "probabilities", "loss": "cross_entropy"},
        "forward_forward": {"prediction": "goodness"},
    }
    for m in found.methods:
        for record in m.records:
            record.history = history(record, losses[m.name][record.spec.seed])
            record.spec.hyperparameters |= knobs.get(m.name, {})
    return found


@pytest.fixture
def rows(workload):
    return {row["name"]: row for row in why.loss_rows(workload, 0.95)}


def test_the_lowest_loss_has_its_epoch_and_interval(rows):
    # 0.32 ± 4.303 × 0.02 / √3
    assert rows["Backprop"]["loss"] == ("0.320", "0.270 to 0.370")
    assert rows["Backprop"]["epoch"] == "2.00"


def test_the_gap_is_to_the_training_loss_of_the_same_epoch(rows):
    assert rows["Backprop"]["gap"][0] == "0.170"  # 0.32 − 0.15
    assert rows["Mono-Forward"]["gap"][0] == "0.0700"  # 0.22 − 0.15
    assert rows["Cascaded-Forward"]["gap"] == ("–", "")  # its training loss is not of its prediction


def test_the_difference_is_paired_and_judged(rows):
    # Differences −0.10, −0.11, −0.09: −0.1 ± 4.303 × 0.01 / √3
    assert rows["Mono-Forward"]["difference"] == ("−0.100", "−0.125 to −0.0752")
    assert rows["Mono-Forward"]["verdict"] == "supported"
    assert rows["Cascaded-Forward"]["verdict"] == "not shown"
    assert rows["Backprop"]["verdict"] == "–"


def test_a_goodness_is_not_judged_as_a_cross_entropy(rows):
    assert rows["Forward-Forward"]["difference"] == ("–", "")
    assert rows["Forward-Forward"]["verdict"].startswith("not judged")


def test_a_higher_loss_contradicts(workload):
    for m in workload.methods:
        if m.name == "mono_forward":
            for record in m.records:
                for evaluation in record.history[:3]:
                    evaluation.validation_loss += 0.2
    (sentence,) = why.sentences(workload, 0.95)
    assert sentence == (
        "That Mono-Forward finds a more favourable minimum of the validation loss is contradicted by these runs "
        "(lowest loss against Backprop +0.100; +0.0752 to +0.125)."
    )


def test_sums_of_scores_are_not_judged(workload):
    for record in workload.methods[3].records:
        record.spec.hyperparameters["prediction"] = "sum"
    (sentence,) = why.sentences(workload, 0.95)
    assert sentence.startswith("Whether Mono-Forward finds a more favourable minimum")
    assert "not judged" in sentence


def test_each_stage_has_its_best_accuracy(rows):
    assert rows["Mono-Forward"]["stages"] == "block\u00a01:\u00a091.00; block\u00a02:\u00a093.00"
    assert rows["Backprop"]["stages"] == ""


def test_each_block_has_the_mean_accuracy_of_its_own_prediction(workload):
    for record, values in zip(workload.methods[3].records, ([0.90, 0.93], [0.92, 0.95], [0.80]), strict=True):
        record.metrics.test_metric_by_block = values  # the third run reached its target in the first block
    found = {row["name"]: row["blocks"] for row in why.loss_rows(workload, 0.95)}
    assert found["Mono-Forward"] == "91.00, 94.00"
    assert found["Backprop"] == ""


def test_a_stage_that_predicts_otherwise_has_no_loss(workload):
    record = workload.methods[3].records[0]
    record.stages[0].predicts = False
    loss, found = why.lowest(record)
    assert (loss, found.epoch) == (pytest.approx(LOWER[record.spec.seed] + 0.2), 3)


def test_shares_of_the_peak_and_of_idling(workload):
    backprop = workload.methods[0]
    for record in backprop.records:
        cost = record.cost
        cost.flops_total, cost.flops_validation, cost.peak_flops_per_second = 6e12, 2e12, 4e12
        cost.train_seconds, cost.train_joules, cost.idle_watts = 10.0, 400.0, 12.0
    row = why.cost_row(backprop)
    assert row["speed"] == "800"  # 8e12 / 10 s, in G
    assert row["peak"] == "20.0"
    assert row["idle"] == "30.0"  # 12 W × 10 s of 400 J
    assert row["patience"] == "33.3"  # two of six epochs
    for record in backprop.records:
        record.cost.joules_quality = "modelled"
    assert why.cost_row(backprop)["idle"] == ""


def test_columns_that_no_record_fills_are_left_out(made):
    path = made(seeds=3)  # modelled, without a peak
    page = build_report(path, path.parent / "report").read_text()
    assert "Why, not only how much" in page
    assert "achieved GFLOP/s" in page
    assert "of the peak, %" not in page
    assert "energy that is idle" not in page
    (workload,) = summarise(path).workloads
    assert {"speed", "patience"} <= why.section(workload, 0.95)["filled"]
