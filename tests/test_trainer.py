"""One run: determinism, stages, stopping, restoring, divergence, phases."""

import math

import pytest
import torch
from specs import spec

from bpfree import algorithms, assembly, passes, trainer, workloads
from bpfree.errors import RequestError
from bpfree.optimizers.adam import AdamW


@pytest.fixture(autouse=True)
def _one_thread():
    torch.set_num_threads(1)


@pytest.mark.parametrize("algorithm", ["backprop", "forward_forward", "cascaded_forward", "mono_forward"])
def test_a_seed_decides_everything(algorithm):
    first, second = (trainer.run(spec(algorithm), "cpu") for _ in range(2))
    other = trainer.run(spec(algorithm, seed=1), "cpu")

    def curve(record):
        return [(e.train_loss, e.validation_metric, e.validation_loss) for e in record.history]

    assert first.status == "completed"
    assert first.metrics == second.metrics
    assert curve(first) == curve(second)
    assert curve(first) != curve(other)
    assert first.id == second.id != other.id


def test_warm_up_changes_nothing():
    short, long = spec(), spec()
    long.measurement.warmup_steps = 7
    assert trainer.run(short, "cpu").metrics == trainer.run(long, "cpu").metrics


def test_the_record_is_whole():
    record = trainer.run(spec("cascaded_forward", epochs=5, schedule="greedy"), "cpu", fresh_process=True)
    assert [stage.name for stage in record.stages] == ["block 1", "block 2"]
    assert [stage.epochs for stage in record.stages] == [3, 2], "equal shares of the passes, the remainder to the first"
    assert len(record.history) == record.cost.epochs == 5
    assert record.cost.steps == 5 * (1149 // 32) == record.history[-1].step
    assert record.cost.parameters == 2 * 256 * 10, "only the predictors are trained"
    assert {"setup", "train", "validate", "test"} <= record.phases.keys()
    window = record.phases["train"].seconds + record.phases["validate"].seconds
    assert record.cost.train_seconds == pytest.approx(window, rel=0.05)
    (cpu,) = [r for r in record.phases["train"].readings if r.component == "cpu"]
    assert cpu.quality in ("measured", "modelled")
    assert record.cost.train_joules > 0
    assert record.cost.train_joules == record.history[-1].joules
    carbon = record.cost.carbon
    assert carbon.co2e_kg == pytest.approx(record.cost.train_joules / 3.6e6 * carbon.intensity_g_per_kwh / 1000)
    assert record.cost.peak_host_bytes > 50 * 2**20
    assert record.environment["threads"] == 1


def test_each_block_is_tested_by_its_own_prediction(monkeypatch):
    monkeypatch.setattr(passes, "EVALUATION_BATCH", 100)  # of 360 samples: a last batch that is smaller
    metrics = trainer.run(spec("mono_forward", epochs=2), "cpu").metrics
    first, last = metrics.test_metric_by_block
    assert last == pytest.approx(metrics.test_metric)  # which predicts from the last block
    assert 0.1 < first < 1
    assert first != last
    assert trainer.run(spec("backprop", epochs=1), "cpu").metrics.test_metric_by_block == []
    trial = spec("mono_forward", epochs=1).model_copy(update={"role": "trial"})
    assert trainer.run(trial, "cpu").metrics.test_metric_by_block == []


def test_flops_are_the_formulas():
    """Of the matrix products: forward, weight gradient, and input gradient except at the first layer."""
    B, D, N, C = 32, 100, 256, 10
    forward = 2 * B * (D * N + N * N)
    head = 2 * B * N * C
    backprop = trainer.run(spec(epochs=1), "cpu").cost.flops_per_step
    assert backprop == 2 * forward + 2 * B * N * N + 3 * head
    mono = trainer.run(spec("mono_forward", epochs=1), "cpu").cost.flops_per_step
    assert mono == 2 * forward + 2 * 3 * head
    ff = trainer.run(spec("forward_forward", epochs=1), "cpu").cost.flops_per_step
    assert ff == 2 * 2 * forward


class Scripted:
    """Stands in for `evaluate`: a given curve of validation accuracy."""

    def __init__(self, curve):
        self.curve = iter(curve)
        self.seen = []

    def __call__(self, algorithm, workload, data):
        weights = [p.clone() for block in algorithm.blocks for p in block.parameters()]
        self.seen.append(weights)
        return next(self.curve, 0.0), 0.0


def test_early_stopping_restores_the_best_weights(monkeypatch):
    script = Scripted([0.1, 0.5, 0.4, 0.5, 0.3])
    monkeypatch.setattr(trainer, "evaluate", script)
    record = trainer.run(spec(epochs=20, patience=3), "cpu")
    (stage,) = record.stages
    assert (stage.epochs, stage.best_epoch, stage.stopped_early) == (5, 2, True)
    after = script.seen[5]  # the first evaluation after training
    assert all(torch.equal(a, b) for a, b in zip(after, script.seen[1], strict=True))
    assert not all(torch.equal(a, b) for a, b in zip(after, script.seen[4], strict=True))


def test_the_last_weights_may_be_kept(monkeypatch):
    script = Scripted([0.1, 0.5, 0.4, 0.3])
    monkeypatch.setattr(trainer, "evaluate", script)
    wanted = spec(epochs=20, patience=2)
    wanted.training.restore = "last"
    (stage,) = trainer.run(wanted, "cpu").stages
    assert (stage.epochs, stage.best_epoch) == (4, 2)
    assert all(torch.equal(a, b) for a, b in zip(script.seen[4], script.seen[3], strict=True))


def test_a_target_ends_the_run_in_whatever_stage(monkeypatch):
    monkeypatch.setattr(trainer, "evaluate", Scripted([0.5, 0.6, 0.7, 0.1]))
    wanted = spec("mono_forward", epochs=4, schedule="greedy")
    for target, epochs in ((0.6, [2]), (0.65, [2, 1]), (0.9, [2, 2])):
        wanted.training.target = target
        monkeypatch.setattr(trainer, "evaluate", Scripted([0.5, 0.6, 0.7, 0.1]))
        assert [stage.epochs for stage in trainer.run(wanted, "cpu").stages] == epochs


def test_cooldown_lowers_the_learning_rates(monkeypatch):
    rates, step = [], AdamW.step

    def spy(self, *arguments):
        rates.append(self.param_groups[0]["lr"])
        return step(self, *arguments)

    monkeypatch.setattr(AdamW, "step", spy)
    wanted = spec(epochs=4, patience=4, learning_rate=0.01)
    wanted.training.schedule = "linear_cooldown"
    trainer.run(wanted, "cpu")
    assert rates[-4 * 35 :: 35] == pytest.approx([0.01, 0.01, 0.01, 0.005])


def test_every_stage_stops_by_the_same_rule(monkeypatch):
    monkeypatch.setattr(trainer, "evaluate", Scripted([0.5, 0.4, 0.4, 0.3, 0.6, 0.7, 0.1, 0.1]))
    record = trainer.run(spec("mono_forward", epochs=20, patience=2, schedule="greedy"), "cpu")
    assert [(s.epochs, s.best_epoch) for s in record.stages] == [(3, 1), (5, 3)]


def test_min_delta(monkeypatch):
    monkeypatch.setattr(trainer, "evaluate", Scripted([0.5, 0.505, 0.507, 0.9]))
    wanted = spec(epochs=20, patience=2)
    wanted.training.min_delta = 0.01
    (stage,) = trainer.run(wanted, "cpu").stages
    assert (stage.epochs, stage.best_epoch) == (3, 1)


def test_divergence_is_a_result():
    wanted = spec()
    wanted.optimizer = "sgd"  # θ ← θ − 10 (g + θ) multiplies the weights by −9 in every step
    wanted.hyperparameters = assembly.resolve("backprop", "sgd", {"learning_rate": 10.0, "weight_decay": 1.0})
    record = trainer.run(wanted, "cpu")
    assert record.status == "diverged"
    assert record.final
    assert "not finite" in record.error
    assert record.history[-1].train_loss is None
    assert record.metrics.test_accuracy is None, "the test set is not touched"
    assert math.isfinite(record.cost.train_seconds)


def test_the_test_set_is_read_once_at_the_end(monkeypatch):
    reads = []
    original = trainer.evaluate

    def spy(algorithm, workload, data):
        reads.append(len(data))
        return original(algorithm, workload, data)

    monkeypatch.setattr(trainer, "evaluate", spy)
    trainer.run(spec(epochs=2), "cpu")
    assert reads == [288, 288, 288, 360]


def test_data_order_is_the_same_for_every_algorithm(monkeypatch):
    orders = {}
    for name in ("backprop", "mono_forward"):
        cls = algorithms.find(name)
        seen, step = [], cls.step

        def spy(self, inputs, labels, step=step, seen=seen):
            seen.append(labels.clone())
            return step(self, inputs, labels)

        monkeypatch.setattr(cls, "step", spy)
        trainer.run(spec(name, epochs=1), "cpu")
        orders[name] = seen[-(1149 // 32) :]
    assert all(torch.equal(a, b) for a, b in zip(*orders.values(), strict=True))


def test_an_epoch_sees_every_sample_at_most_once():
    data = workloads.find("digits-mlp").load("cpu").train
    marked = workloads.Split(torch.arange(len(data)).float()[:, None], data.targets)
    seen = torch.cat([inputs[:, 0] for inputs, _ in passes.batches(marked, 32, assembly.stream(0, "order"))])
    assert len(seen) == 35 * 32 == len(seen.unique())


def test_streams_are_apart():
    draws = {purpose: torch.rand(1, generator=assembly.stream(0, purpose)).item() for purpose in ("order", "algorithm")}
    assert len({*draws.values()}) == 2


def test_wrong_requests():
    with pytest.raises(RequestError, match="smaller"):
        assembly.check_compatible("backprop", workloads.find("digits-mlp"), 2000)
    with pytest.raises(RequestError, match="choose a workload of kind mlp"):
        assembly.check_compatible("forward_forward", workloads.find("fashion-cnn"), 128)
    with pytest.raises(RequestError, match="not available"):
        assembly.find_device(f"cuda:{torch.cuda.device_count()}")
    with pytest.raises(RequestError, match="unknown"):
        assembly.find_device("tpu")


@pytest.mark.parametrize("algorithm", ["mono_forward", "cascaded_forward"])
def test_the_cache_changes_work_and_not_weights(algorithm):
    """The same training, but a finished block is applied once a sample and not once a step."""
    plain, cached = (
        trainer.run(spec(algorithm, epochs=6, schedule="greedy", cache=cache), "cpu") for cache in (False, True)
    )
    assert cached.metrics.test_loss == pytest.approx(plain.metrics.test_loss, rel=1e-4)
    assert [e.train_loss for e in cached.history] == pytest.approx([e.train_loss for e in plain.history], rel=1e-4)
    first, second = cached.stages
    assert first.flops_per_step == plain.stages[0].flops_per_step
    assert plain.stages[1].flops_per_step - second.flops_per_step == 2 * 32 * 100 * 256, (
        "the first block's forward pass"
    )


def test_where_memory_is_short_the_cache_is_left_out(monkeypatch):
    plain = trainer.run(spec("mono_forward", epochs=2, schedule="greedy"), "cpu")
    monkeypatch.setattr(passes, "free_bytes", lambda device: 1000)
    short = trainer.run(spec("mono_forward", epochs=2, schedule="greedy", cache=True), "cpu")
    assert short.stages == plain.stages, "with the work that it had"
    assert short.metrics == plain.metrics


def test_the_cache_goes_from_block_to_block(data_dir):
    """Three blocks: what is kept for the third comes from what was kept for the second."""
    settings = {"epochs": 3, "workload": "mnist-mlp-3x1000", "schedule": "greedy", "batch_size": 500}
    plain, cached = (
        trainer.run(spec("cascaded_forward", cache=cache, **settings), "cpu", data_dir) for cache in (False, True)
    )
    assert cached.metrics.test_loss == pytest.approx(plain.metrics.test_loss, rel=1e-3)
    assert cached.stages[2].flops_per_step == cached.stages[1].flops_per_step < plain.stages[2].flops_per_step


def test_a_budget_of_steps(monkeypatch):
    """Evaluations every so many steps, whatever an epoch is; a schedule moves at every step."""
    rates, step = [], AdamW.step

    def spy(self, *arguments):
        rates.append(self.param_groups[0]["lr"])
        return step(self, *arguments)

    monkeypatch.setattr(AdamW, "step", spy)
    wanted = spec(patience=100, learning_rate=0.01)
    wanted.training = wanted.training.model_copy(
        update={"max_steps": 60, "evaluate_every": 12, "schedule": "linear", "warmup": 0.05}
    )
    record = trainer.run(wanted, "cpu")
    assert [(line.epoch, line.step) for line in record.history] == [(i, 12 * i) for i in range(1, 6)]
    assert (record.cost.steps, record.stages[0].steps) == (60, 60)
    up, down = rates[-60:-57], rates[-57:]
    assert up == pytest.approx([0.01 / 4, 0.01 / 2, 0.01 * 3 / 4])
    assert down == pytest.approx([0.01 * (1 - k / 57) for k in range(57)])


def test_intervals_of_an_epoch_draw_what_epochs_draw():
    by_epoch, by_step = spec(epochs=3, patience=3), spec(epochs=3, patience=3)
    steps = 1149 // by_step.training.batch_size
    by_step.training = by_step.training.model_copy(update={"max_steps": 3 * steps, "evaluate_every": steps})
    first, second = (trainer.run(wanted, "cpu") for wanted in (by_epoch, by_step))
    assert [line.validation_loss for line in first.history] == [line.validation_loss for line in second.history]
