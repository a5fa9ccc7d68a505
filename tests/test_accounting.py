"""What follows from a window: repeats, costs, remarks; with meters that count what they are told."""

import pytest
from specs import spec

from bpfree import accounting, trainer
from bpfree.accounting import Progress, Window
from bpfree.meters import Edge, FakeMeter
from bpfree.records import GpuState, MeasurementSettings, Reading


def reading(quality, component="gpu", joules=10.0):
    return Reading(component=component, joules=joules, method="fake", quality=quality, resolution=None)


def window(seconds, trainings=1):
    return Window(Edge(0, 0.0, ()), Edge(1, seconds, ()), Edge(2, seconds + 1, ()), trainings)


def meter(period, component="gpu", quality="measured"):
    return FakeMeter(component=component, update_period=period, quality=quality)


@pytest.mark.parametrize(
    ("quality", "period", "seconds"),
    [
        ("measured", 0.1, 0),
        ("modelled", None, 0),
        ("absent", None, 0),
        ("unresolved", 0.1, 5.0),  # boards do not follow faster
        ("unresolved", 0.001, 0.022),  # RAPL: 20 ms resolve to 5 %, and a tenth more
        ("unresolved", 1.0, 22.0),
    ],
)
def test_a_window_must_be_as_long_as_the_counter_needs(quality, period, seconds):
    assert accounting.seconds_needed([reading(quality)], [meter(period)], ["gpu"]) == pytest.approx(seconds)


def test_a_counter_outside_the_boundary_asks_for_nothing():
    readings = [reading("unresolved"), reading("modelled", "cpu")]
    assert accounting.seconds_needed(readings, [meter(0.1), meter(None, "cpu", "modelled")], ["cpu"]) == 0


def test_seconds_are_of_one_training():
    assert window(12.0, trainings=4).seconds == 3.0


def state(**fields):
    blank = {name: None for name, field in GpuState.model_fields.items() if field.is_required()}
    told = {
        "uuid": "GPU-x",
        "name": "Stub",
        "driver": "1",
        "samples": 9,
        "period_seconds": 0.05,
        "max_gap_seconds": 0.06,
    }
    joules = {"counter_joules": 1000.0, "integral_joules": 1000.0}
    return GpuState(**{**blank, **told, **joules, "foreign_processes": 0, **fields})


@pytest.mark.parametrize(
    ("fields", "seconds", "text"),
    [
        ({}, 20.0, None),
        ({"counter_joules": 1060.0}, 20.0, "disagree by +6%"),
        ({"counter_joules": 940.0}, 20.0, "disagree by -6%"),
        ({"counter_joules": 1060.0}, 9.0, None),  # shorter than that no two methods need agree
        ({"counter_joules": None}, 20.0, None),
        ({"foreign_processes": 2}, 20.0, "2 other processes"),
        ({"foreign_processes": None}, 20.0, None),
        ({"throttle_reasons": ["power_cap"]}, 20.0, "held down (power_cap)"),
    ],
)
def test_remarks(fields, seconds, text):
    found = accounting.remarks(Progress(), [state(**fields)], window(seconds))
    assert found == [] if text is None else text in found[0]


@pytest.mark.parametrize(("after", "said"), [(50.0, False), (54.0, False), (57.0, True), (40.0, True), (None, False)])
def test_drift_of_the_idle_power_is_said(after, said):
    progress = Progress(idle_watts=50.0, idle_watts_after=after)
    assert bool(accounting.remarks(progress, [], window(20.0))) is said


class Slow(FakeMeter):
    """A counter that has gone on by half a joule whenever it is read."""

    def __init__(self):
        super().__init__(component="cpu", update_period=0.008)
        self.count = 0.0

    def read(self):
        self.count += 0.5
        return self.count


def test_a_run_too_short_for_its_counter_is_repeated_in_one_window(monkeypatch):
    wanted = spec(epochs=1)
    wanted.role = "final"
    wanted.measurement = MeasurementSettings(warmup_steps=0, idle_seconds=0.01)
    counter = Slow()
    built = []
    original = trainer.build_run
    monkeypatch.setattr(trainer, "build_run", lambda *a: built.append(1) or original(*a))
    monkeypatch.setattr(trainer, "seconds_needed", lambda *a: 0.5)
    run = trainer.Run(wanted, "cpu", [counter])
    record = run.execute(fresh_process=True)
    assert record.cost.repeats > 1
    assert record.cost.repeats * record.cost.train_seconds >= 0.5
    assert len(built) == 1 + 1 + record.cost.repeats, "the warm-up's, the run's, and as many more"
    assert record.cost.epochs == len(record.history) == 1, "the record is of one training"
    assert record.cost.steps == 35
    assert f"mean of {record.cost.repeats} trainings in one window" in record.cost.readings[0].reason
    assert record.cost.train_joules == record.cost.readings[0].joules
    assert record.phases["train"].seconds < 0.5, "of the first training"
    assert record.cost.idle_watts is None, "nothing so coarse says what rest takes"
    assert record.cost.metering_cpu_seconds > 0


def test_validation_has_flops_of_its_own():
    record = trainer.run(spec(epochs=2), "cpu")
    D, N, C, samples = 100, 256, 10, 288
    assert record.cost.flops_validation == 2 * 2 * samples * (D * N + N * N + N * C)
    assert record.cost.flops_total == record.cost.steps * record.cost.flops_per_step


def test_what_is_carried_through_finished_blocks_is_counted_once():
    cached = trainer.run(spec("mono_forward", epochs=4, schedule="greedy", cache=True), "cpu")
    plain = trainer.run(spec("mono_forward", epochs=4, schedule="greedy"), "cpu")
    D, N, B, n = 100, 256, 32, 1149
    carry = 2 * D * N * B * n // B
    assert [stage.flops_carried for stage in cached.stages] == [0, carry]
    assert [stage.cached for stage in cached.stages] == [False, True]
    saved = plain.stages[1].steps * 2 * B * D * N - carry
    assert plain.cost.flops_total - cached.cost.flops_total == saved
    assert cached.metrics == plain.metrics
