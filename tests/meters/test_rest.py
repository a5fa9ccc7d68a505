"""Windows at rest: a coarse, late counter on a power step, against the energy that the step really took."""

import math
import random

import pytest

from bpfree.meters import FakeClock, FakeMeter, Session
from bpfree.meters.session import COARSE_PERIOD, SETTLE_SECONDS, SHORTEST_SECONDS

IDLE, BUSY, PERIOD, LATENCY = 30.0, 300.0, 0.1, 0.08


class Step:
    """Idle power, busy from `begin` to `end`; and a watch that knows it."""

    cpu_seconds = 0.0
    momentary = True

    def __init__(self, begin=math.inf, end=math.inf):
        self.begin, self.end = begin, end

    def joules(self, time):
        busy = min(time, self.end) - min(time, self.begin)
        return IDLE * time + (BUSY - IDLE) * busy

    def watts(self, begin, end):
        return (self.joules(end) - self.joules(begin)) / (end - begin)


class Counter(FakeMeter):
    """Publishes the energy of the last full period, and that late."""

    def __init__(self, clock, step, watch=True):
        super().__init__(clock=clock, component="gpu", update_period=PERIOD)
        self.step = step
        self.watch = step if watch else None

    def read(self):
        return self.step.joules(math.floor((self.clock() - LATENCY) / PERIOD) * PERIOD)


def measured(seconds, start, watch=True):
    """What a session says of a load of so many seconds that begins at a moment of the counter's period."""
    clock, step = FakeClock(100 + start), Step()
    session = Session([Counter(clock, step, watch)], clock=clock, sleep=clock.advance)
    session.phase("setup")
    clock.advance(1.0)
    begin = session.begin_at_rest("train")
    step.begin, step.end = clock(), clock() + seconds
    clock.advance(seconds)
    end = session.phase("train")
    rested = session.rest()
    clock.advance(1.0)
    session.stop()
    return session.window(begin, end)[0], session.window_at_rest(begin, end, rested)[0]


@pytest.mark.parametrize("seconds", [5.0, 10.0, 60.0])
def test_a_late_counter_loses_joules_at_the_edges_and_rest_gives_them_back(seconds, monkeypatch):
    monkeypatch.setattr("bpfree.meters.session.JITTER_SECONDS", 0.0)  # the loop goes through the counter's period
    raw, rested = [], []
    for i in range(20):
        naive, fair = measured(seconds, start=PERIOD * i / 20)
        assert fair.quality == "measured"
        raw.append(naive.joules - BUSY * seconds)
        rested.append(fair.joules - BUSY * seconds)
        assert abs(rested[-1]) <= fair.resolution * fair.joules + 1e-6, "the stated resolution is a bound"
    bias = -(BUSY - IDLE) * (PERIOD / 2 + LATENCY)
    assert sum(raw) / 20 == pytest.approx(bias, abs=3), (
        "of the fact that a reading is half a period and the latency old"
    )
    assert abs(sum(rested) / 20) < 1
    assert max(map(abs, rested)) <= IDLE * PERIOD + 1e-6, "an error of rest's power, not of the work's"


def test_resolution_is_that_of_rest():
    _, fair = measured(10.0, start=0.03)
    assert fair.resolution == pytest.approx(PERIOD * IDLE / fair.joules)


def test_a_short_window_on_a_coarse_counter_is_unresolved():
    _, fair = measured(SHORTEST_SECONDS - 0.5, start=0.01)
    assert (fair.quality, fair.joules is not None) == ("unresolved", True)
    assert "5 s are needed" in fair.reason


def test_without_a_watch_the_edges_are_taken_as_they_are():
    naive, fair = measured(10.0, start=0.02, watch=False)
    assert fair == naive


def test_no_work_at_all_is_unresolved():
    clock, step = FakeClock(50.0), Step()
    session = Session([Counter(clock, step)], clock=clock, sleep=clock.advance)
    begin = session.begin_at_rest("train")
    end = session.phase("train")
    (reading,) = session.window_at_rest(begin, end, session.rest())
    assert reading.quality == "unresolved"


@pytest.mark.parametrize(
    ("period", "quality", "waits"),
    [(0.1, "measured", True), (COARSE_PERIOD / 2, "measured", False), (None, "modelled", False)],
)
def test_only_a_coarse_counter_makes_anyone_wait(period, quality, waits):
    clock, slept = FakeClock(), []
    meter = FakeMeter(clock=clock, update_period=period, quality=quality)
    session = Session([meter], clock=clock, sleep=slept.append)
    session.begin_at_rest("train")
    session.rest()
    assert bool(slept) is waits
    if waits:
        before, after = slept
        assert SETTLE_SECONDS <= before <= SETTLE_SECONDS + 0.1
        assert after == SETTLE_SECONDS


def test_the_start_is_jittered():
    """So that training steps cannot lock to the sensor's period, whatever the seeds."""
    random.seed(0)
    starts = set()
    for _ in range(5):
        slept = []
        session = Session([FakeMeter(update_period=0.1)], sleep=slept.append)
        session.begin_at_rest("train")
        starts.add(slept[0])
        random.seed(0)
    assert len(starts) == 5


def test_phases_still_add_up():
    clock, step = FakeClock(10.0), Step(begin=12.0, end=18.0)
    session = Session([Counter(clock, step)], clock=clock, sleep=clock.advance)
    first = session.phase("setup")
    clock.advance(2.0)
    session.begin_at_rest("train")
    clock.advance(6.0)
    session.rest()
    session.phase("test")
    clock.advance(3.0)
    last = session.stop()
    phases = session.phases()
    assert set(phases) == {"setup", "settle", "train", "test"}
    assert sum(p.seconds for p in phases.values()) == pytest.approx(last.time - first.time)
    total = sum(p.readings[0].joules for p in phases.values() if p.readings[0].joules)
    assert total == pytest.approx(session.window(first, last)[0].joules)
