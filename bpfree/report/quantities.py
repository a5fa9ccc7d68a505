"""What a record says, as single figures: None where it does not say it, or where it may not enter a claim."""

from collections.abc import Iterator, Sequence

from bpfree.records import Evaluation, Reading, Record
from bpfree.targets import Target


def accuracy_of(record: Record) -> float | None:
    """Test accuracy; None where the workload's metric is another."""
    return record.metrics.test_accuracy


def joules_of(record: Record) -> float | None:
    """Joules of the training window, if they may enter a claim: an unresolved reading may not."""
    cost = record.cost
    return cost.train_joules if cost and cost.joules_quality in ("measured", "modelled") else None


def seconds_of(record: Record) -> float | None:
    """Seconds of the training window."""
    return record.cost.train_seconds if record.cost else None


def steps_of(record: Record) -> float | None:
    """Steps of the training."""
    return record.cost.steps if record.cost else None


def seconds_per_step(record: Record) -> float | None:
    """Of the training window, validation included, over its steps."""
    return record.cost.train_seconds / record.cost.steps if record.cost and record.cost.steps else None


def co2e_grams_of(record: Record) -> float | None:
    """Emissions of the training window, if its energy may enter a claim."""
    if record.cost is None or record.cost.carbon is None or joules_of(record) is None:
        return None
    return record.cost.carbon.co2e_kg * 1000


def joules_to_best(record: Record) -> float | None:
    """Joules spent up to the best epoch of each stage, summed over the stages; None where the history lacks them."""
    if joules_of(record) is None:
        return None
    spent = {e.epoch: e.joules for e in record.history} | {0: 0.0}
    total, before = 0.0, 0
    for stage in record.stages:
        best, start = spent.get(before + stage.best_epoch), spent.get(before)
        if best is None or start is None:
            return None
        total, before = total + best - start, before + stage.epochs
    return total if record.stages else None


def watts_of(record: Record) -> float | None:
    """Mean power of the training window."""
    joules, seconds = joules_of(record), seconds_of(record)
    return joules / seconds if joules and seconds else None


def flops_of(record: Record) -> float | None:
    """FLOPs of the training window, as counted: of the steps, and of the validations where these were counted too."""
    cost = record.cost
    return cost.flops_total + (cost.flops_validation or 0) if cost and cost.flops_total else None


def flops_per_second(record: Record) -> float | None:
    """Achieved over the training window."""
    flops, seconds = flops_of(record), seconds_of(record)
    return flops / seconds if flops and seconds else None


def limit_per_step(record: Record) -> float | None:
    """Seconds that a step, with its share of validation, takes at the device's arithmetic limit."""
    cost, flops = record.cost, flops_of(record)
    if not cost or not flops or not cost.peak_flops_per_second or not cost.steps:
        return None
    return flops / cost.steps / cost.peak_flops_per_second


def joules_per_sample(record: Record) -> float | None:
    """Joules of the training window over the samples that its steps saw."""
    joules, cost = joules_of(record), record.cost
    return joules / cost.samples if joules is not None and cost and cost.samples else None


def joules_per_flop(record: Record) -> float | None:
    """Joules of the training window over its FLOPs."""
    joules, flops = joules_of(record), flops_of(record)
    return joules / flops if joules is not None and flops else None


def own_evaluations(record: Record) -> Iterator[Evaluation]:
    """The evaluations by the method's own prediction: a stage may predict by something else meanwhile."""
    own = {stage.name for stage in record.stages if stage.predicts}
    return (e for e in record.history if e.stage in own)


def climb(record: Record, sign: int) -> list[Evaluation]:
    """Those that were better than all before them; `sign` is that of the metric, by which more is better."""
    found: list[Evaluation] = []
    for evaluation in own_evaluations(record):
        if not found or sign * evaluation.validation_metric > sign * found[-1].validation_metric:
            found.append(evaluation)
    return found


def arrival(record: Record, target: Target) -> Evaluation | None:
    """The first evaluation that reaches the target, by the method's own prediction."""
    return next((e for e in own_evaluations(record) if target.reached(e.validation_metric)), None)


def total(readings: Sequence[Reading], quality: str) -> float | None:
    """The sum of readings that all are of the quality of the energy that they stand beside."""
    if not readings or any(r.joules is None or r.quality != quality for r in readings):
        return None
    return sum(r.joules or 0 for r in readings)
