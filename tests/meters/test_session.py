import pytest

from bpfree.errors import WorldError
from bpfree.meters import AbsentMeter, FakeClock, FakeMeter, Session, boundary_joules
from bpfree.records import Reading


@pytest.fixture
def clock():
    return FakeClock(now=100.0)


def scripted(*joules, period=None, quality="measured"):
    """A session of one meter with scripted joules; a second passes before every edge after the first."""
    clock = FakeClock()
    meter = FakeMeter(script=joules, update_period=period, quality=quality)
    return Session([meter], synchronize=lambda: clock.advance(1.0), clock=clock)


def test_phases_add_up_exactly_to_the_outer_window(clock):
    meters = [FakeMeter(clock=clock, watts=3.0, component="gpu"), FakeMeter(clock=clock, watts=0.5)]
    session = Session(meters, clock=clock)
    begin = session.phase("setup")
    for name, seconds in [("train", 1.0), ("validate", 2.25), ("train", 0.5), ("validate", 4.0), ("test", 8.0)]:
        clock.advance(seconds)
        session.phase(name)
    clock.advance(0.125)
    end = session.stop()
    phases = session.phases()
    assert {name: phase.seconds for name, phase in phases.items()} == {
        "setup": 1.0,
        "train": 6.25,
        "validate": 8.5,
        "test": 0.125,
    }
    for index, reading in enumerate(session.window(begin, end)):
        assert reading.joules == sum(phase.readings[index].joules for phase in phases.values())
        assert reading.joules == meters[index].watts * (end.time - begin.time) == meters[index].watts * 15.875


def test_time_after_stop_counts_nowhere(clock):
    session = Session([FakeMeter(clock=clock, watts=2.0)], clock=clock)
    session.phase("train")
    clock.advance(1.0)
    session.stop()
    clock.advance(50.0)
    session.phase("train")
    clock.advance(3.0)
    session.stop()
    (phase,) = session.phases().values()
    assert phase.seconds == 4.0
    assert phase.readings[0].joules == 8.0


def test_same_phase_again_is_a_reading_within_it():
    session = scripted(0.0, 10.0, 20.0, 30.0, period=0.1)
    first = session.phase("train")
    second = session.phase("train")
    session.phase("train")
    session.stop()
    assert session.window(first, second)[0].joules == 10.0
    reading = session.phases()["train"].readings[0]
    assert reading.joules == 30.0
    assert reading.resolution == pytest.approx(0.1 / 3)  # one span, not three
    assert reading.quality == "measured"


def test_device_is_synchronised_before_every_reading(clock):
    events = []

    class Watched(FakeMeter):
        def read(self):
            events.append("read")
            return 0.0

    session = Session([Watched()], synchronize=lambda: events.append("synchronise"), clock=clock)
    session.phase("train")
    session.phase("test")
    session.stop()
    assert events == ["synchronise", "read"] * 3


def test_many_short_entries_are_unresolved_though_the_sum_is_long():
    session = scripted(*range(9), period=0.04)
    for _ in range(4):
        session.phase("train")
        session.phase("validate")
    session.stop()
    session.phase("train")
    train = session.phases()["train"].readings[0]
    assert train.resolution == pytest.approx(4 * 0.04 / 4)
    assert train.quality == "measured"
    slower = scripted(*range(9), period=0.06)
    slower.phase("train")
    slower.stop()
    reading = slower.phases()["train"].readings[0]
    assert (reading.quality, reading.joules) == ("unresolved", 1.0)
    assert "6%" in reading.reason


def test_counter_that_stands_still_is_null():
    session = scripted(5.0, 5.0, period=0.001)
    session.phase("train")
    session.stop()
    reading = session.phases()["train"].readings[0]
    assert (reading.joules, reading.quality) == (None, "unresolved")


def test_model_may_well_read_nothing():
    session = scripted(5.0, 5.0, quality="modelled")
    session.phase("idle")
    session.stop()
    reading = session.phases()["idle"].readings[0]
    assert (reading.joules, reading.quality, reading.resolution) == (0.0, "modelled", None)


def test_reset_spoils_its_phase_and_the_outer_window_alone():
    session = scripted(0.0, 10.0, 2.0, 22.0)
    begin = session.phase("setup")
    session.phase("train")
    session.phase("test")
    end = session.stop()
    qualities = {name: phase.readings[0].quality for name, phase in session.phases().items()}
    assert qualities == {"setup": "measured", "train": "unresolved", "test": "measured"}
    outer = session.window(begin, end)[0]  # its two ends alone would give 22 J
    assert (outer.joules, outer.quality) == (None, "unresolved")


def test_absent_meter_reads_null_with_its_reason(clock):
    session = Session([AbsentMeter("gpu", "no driver")], clock=clock)
    session.phase("train")
    clock.advance(1.0)
    session.stop()
    reading = session.phases()["train"].readings[0]
    assert reading == Reading(
        component="gpu", joules=None, method="none", quality="absent", resolution=None, reason="no driver"
    )


def test_modelled_reading_keeps_its_inputs(clock):
    session = Session([FakeMeter(clock=clock, quality="modelled", note="4 W a thread")], clock=clock)
    begin = session.phase("train")
    clock.advance(1.0)
    assert session.window(begin, session.stop())[0].reason == "4 W a thread"


def test_lost_device_ends_the_session():
    session = scripted(0.0, WorldError("lost"))
    session.phase("train")
    with pytest.raises(WorldError, match="lost"):
        session.stop()


def test_close_closes_every_meter():
    meters = [FakeMeter(), FakeMeter()]
    Session(meters).close()
    assert all(meter.closed for meter in meters)


def reading(component, joules, quality):
    return Reading(component=component, joules=joules, method="fake", quality=quality, resolution=None)


CPU, GPU = reading("cpu", 1.5, "measured"), reading("gpu", 4.0, "measured")


@pytest.mark.parametrize(
    ("readings", "boundary", "expected"),
    [
        ([CPU, GPU], ["gpu"], (4.0, "measured")),
        ([CPU, GPU], ["cpu", "gpu"], (5.5, "measured")),
        ([GPU, GPU], ["gpu"], (8.0, "measured")),
        ([CPU], ["cpu", "gpu"], (None, "absent")),
        ([CPU], [], (None, "absent")),
        ([CPU, reading("gpu", None, "absent")], ["cpu", "gpu"], (None, "absent")),
        ([CPU, reading("gpu", 4.0, "modelled")], ["cpu", "gpu"], (None, "absent")),
        ([reading("cpu", 2.0, "modelled")], ["cpu"], (2.0, "modelled")),
        ([CPU, reading("gpu", 4.0, "unresolved")], ["cpu", "gpu"], (5.5, "unresolved")),
        ([CPU, reading("gpu", None, "unresolved")], ["cpu", "gpu"], (None, "unresolved")),
        ([reading("cpu", 2.0, "modelled"), reading("gpu", 4.0, "unresolved")], ["cpu", "gpu"], (None, "absent")),
        ([CPU, reading("dram", None, "absent")], ["cpu"], (1.5, "measured")),
    ],
)
def test_boundary_sums_one_quality_alone(readings, boundary, expected):
    assert boundary_joules(readings, boundary) == expected
