"""When a stage ends, against the rules written out."""

import math

import pytest
import torch

from bpfree import stopping
from bpfree.records import TrainingSettings
from bpfree.stopping import Stopping
from bpfree.workloads import ACCURACY, Metric

LOSS = Metric("loss", higher_is_better=False, of=lambda scores, targets: scores.mean())


def settings(**fields):
    return TrainingSettings(**{"max_epochs": 10, "batch_size": 1, "patience": 3, "min_delta": 0.0, **fields})


def ended(curve, metric=ACCURACY, limit=10, **fields):
    """Epochs taken, best epoch, and whether patience ended it, on a curve of (metric, loss)."""
    stage = Stopping(settings(**fields), metric, limit)
    for value, loss in curve:
        if stage.over:
            break
        stage.update(value, loss)
    assert stage.over, "the curve is too short for this test"
    return stage.epoch, stage.best_epoch, stage.early


def test_shares():
    assert stopping.shares(10, 3) == [4, 3, 3]
    assert stopping.shares(1, 3) == [1, 1, 1], "every stage gets a pass"


@pytest.mark.parametrize(
    ("own", "fields", "limits"),
    [
        ([None, None, None], {}, [4, 3, 3]),
        ([None, None, None], {"epochs_per_stage": 7}, [7, 7, 7]),
        ([5, None, 1], {"epochs_per_stage": 7}, [5, 7, 1]),
        ([250, None], {"epochs_per_stage": 7}, [250, 7]),
        ([2, None], {}, [2, 5]),
        ([250, None], {}, [5, 5]),
    ],
)
def test_limits(own, fields, limits):
    assert stopping.epoch_limits(own, settings(**fields)) == limits


def test_the_metric_is_monitored_by_default():
    rising = [(0.1, 9.0), (0.3, 8.0), (0.2, 1.0), (0.3, 0.5), (0.3, 0.1), (0.9, 0.0)]
    assert ended(rising) == (5, 2, True)
    assert ended([(1 - value, loss) for value, loss in rising], LOSS) == (5, 2, True)


def test_the_loss_may_be_monitored_while_the_metric_decides_the_weights():
    curve = [(0.1, 1.0), (0.9, 2.0), (0.5, 0.5), (0.6, 0.5), (0.6, 0.6), (0.6, 0.7), (0.99, 0.1)]
    assert ended(curve, monitor="loss") == (6, 2, True), "three epochs after the least loss, in epoch 3"
    assert ended(curve, monitor="loss", min_delta=0.6) == (4, 2, True), "a gain of half does not count"
    assert ended([(0.5, math.nan)] * 9, monitor="loss") == (3, 1, True), "no loss is no gain"


def test_the_target_ends_a_stage_and_is_not_early_stopping():
    curve = [(0.1, 1.0), (0.6, 1.0), (0.7, 1.0)]
    stage = Stopping(settings(target=0.6), ACCURACY, 10)
    for value, loss in curve[:2]:
        assert not stage.over
        stage.update(value, loss)
    assert (stage.over, stage.target_reached, stage.early) == (True, True, False)
    assert ended([(1 - value, loss) for value, loss in curve], LOSS, target=0.4)[0] == 2


def test_a_stage_may_be_kept_from_stopping_early_and_from_the_target():
    flat = [(0.6, 1.0)] * 5
    stage = Stopping(settings(target=0.5, patience=2), ACCURACY, 5, patient=False, aims=False)
    for value, loss in flat:
        assert not stage.over
        stage.update(value, loss)
    assert (stage.over, stage.early, stage.target_reached) == (True, False, False)


def test_what_reaches_the_target_is_best_however_small_the_gain():
    curve = [(0.9795, 1.0), (0.9802, 1.0)]
    assert ended(curve, target=0.98, min_delta=1e-3) == (2, 2, False)


def test_cooldown_is_constant_then_linear():
    """Hinton's: full until half, then 2 (1 + E - e) / E, so that the last epoch still moves."""
    assert [stopping.cooldown(e, 8) for e in range(1, 9)] == [1, 1, 1, 1, 1, 0.75, 0.5, 0.25]
    assert stopping.cooldown(1, 1) == 1


def test_learning_rates_scale_from_where_they_began():
    class Holder:
        optimizers = {0: torch.optim.SGD([torch.zeros(1)], lr=0.4), -1: torch.optim.SGD([torch.zeros(1)], lr=3.0)}

    for factor in (1.0, 0.5, 0.25):
        stopping.scale_learning_rates(Holder, factor)
    assert [group["lr"] for o in Holder.optimizers.values() for group in o.param_groups] == [0.1, 0.75]


@pytest.mark.parametrize(
    ("schedule", "warmup", "wanted"),
    [
        ("constant", 0.0, [1, 1, 1, 1, 1]),
        ("constant", 0.4, [1 / 3, 2 / 3, 1, 1, 1]),
        ("linear", 0.0, [1, 0.8, 0.6, 0.4, 0.2]),
        ("cosine", 0.0, [(1 + math.cos(math.pi * t / 5)) / 2 for t in range(5)]),
        ("linear", 0.2, [1 / 2, 1, 0.75, 0.5, 0.25]),
    ],
)
def test_schedules_rise_over_the_warm_up_and_then_fall(schedule, warmup, wanted):
    training = settings(schedule=schedule, warmup=warmup)
    assert [stopping.schedule_factor(training, t, 5) for t in range(5)] == pytest.approx(wanted)


def test_a_budget_of_steps_is_divided_into_evaluations():
    training = settings(max_steps=100, evaluate_every=10)
    assert stopping.epoch_limits([None], training) == [10]
    assert stopping.epoch_limits([None] * 3, training) == [4, 3, 3]
