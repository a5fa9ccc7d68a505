"""A session: meters read together at the edges of phases, and what their counts say of a window.

edge            synchronise the device, then read the clock and every meter once
phase           the time between two edges; neighbours share the edge, so phases add up to the outer window
resolution      spans · update period / seconds: the worst error that a counter's granularity can make
unresolved      resolution over 5 %, or a counter that stood still or ran backwards
at rest         a window whose edges are read while the device idles: the counter has published what came before, and
                what it counts after the work's end is taken off; the error is then the update period times the power
                at rest, not that of the work
"""

import math
import random
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import pairwise

from bpfree.meters.base import Meter
from bpfree.records import Phase, Quality, Reading

WORST_RESOLUTION = 0.05
"""A measured window with a larger relative error is unresolved."""


SETTLE_SECONDS = 0.25
"""Two and a half updates of a GPU's counter: by then it has published what came before."""
JITTER_SECONDS = 0.1
"""A window opens up to so much later, at random, so that training steps cannot lock to the sensor's period."""
COARSE_PERIOD = 0.01
"""Counters that update no faster are read at rest."""
SHORTEST_SECONDS = 5.0
"""A window on a coarse counter that is shorter is unresolved: boards do not follow faster."""


@dataclass(frozen=True)
class Edge:
    """One moment at which everything was read."""

    number: int
    """In the order of reading."""
    time: float
    """Seconds of the session's clock."""
    joules: tuple[float | None, ...]
    """One a meter, since its opening."""


Span = list[Edge]
"""The edges from the beginning of an unbroken stretch of a phase to its end."""


def no_device() -> None:
    """Synchronise nothing: a CPU has finished when its call returns."""


class Session:
    """Brackets the phases of a run with readings of all meters.

    `synchronize` waits for the device, so that work already queued is counted where it belongs.
    """

    def __init__(
        self,
        meters: Sequence[Meter],
        synchronize: Callable[[], None] = no_device,
        clock: Callable[[], float] = time.perf_counter,
        sleep: Callable[[float], None] = time.sleep,
    ) -> None:
        self.meters = tuple(meters)
        self.synchronize = synchronize
        self.clock = clock
        self.sleep = sleep
        self.current: str | None = None
        """The phase in progress; None before the first and after `stop`."""
        self.cpu_seconds = 0.0
        """What reading the meters has taken of this process."""
        self._edges: list[Edge] = []
        self._spans: dict[str, list[Span]] = {}

    def phase(self, name: str) -> Edge:
        """End the current phase, if any, and begin another at the same edge; the same name again just takes a reading.

        Raises
        ------
        WorldError
            A metered device was lost.
        """
        edge = self._edge()
        spans = self._spans.setdefault(name, [])
        if self.current != name:
            spans.append([edge])
        self.current = name
        return edge

    def stop(self) -> Edge:
        """End the current phase.

        Raises
        ------
        WorldError
            A metered device was lost.
        """
        edge = self._edge()
        self.current = None
        return edge

    def begin_at_rest(self, name: str) -> Edge:
        """Begin a phase once the device has come to rest, where a counter is coarse.

        Raises
        ------
        WorldError
            A metered device was lost.
        """
        if any(coarse(meter) for meter in self.meters):
            self.phase("settle")
            self.sleep(SETTLE_SECONDS + random.SystemRandom().uniform(0, JITTER_SECONDS))
        return self.phase(name)

    def rest(self) -> Edge:
        """End the current phase, and read again once the counters have published it, where one is coarse.

        Raises
        ------
        WorldError
            A metered device was lost.
        """
        edge = self.phase("settle")
        if any(coarse(meter) for meter in self.meters):
            self.sleep(SETTLE_SECONDS)
            edge = self.phase("settle")
        return edge

    def phases(self) -> dict[str, Phase]:
        """Seconds and readings of every phase over all its entries; the current entry counts up to its last edge."""
        ended = {name: [span for span in spans if len(span) > 1] for name, spans in self._spans.items()}
        return {
            name: Phase(seconds=_seconds(spans), readings=self._readings(spans))
            for name, spans in ended.items()
            if spans
        }

    def window(self, begin: Edge, end: Edge) -> list[Reading]:
        """One reading a component between two edges of this session."""
        return self._readings([self._edges[begin.number : end.number + 1]])

    def window_at_rest(self, begin: Edge, end: Edge, rested: Edge) -> list[Reading]:
        """One reading a component from `begin` to `end`, by what the counters had published at `rested`.

        `begin` is of `begin_at_rest`, `rested` of `rest`; `end` is the last edge before that.
        """
        readings = self.window(begin, end)
        late = self.window(begin, rested)
        for index, meter in enumerate(self.meters):
            watch = meter.watch
            if coarse(meter) and watch is not None and watch.momentary and rested.time > end.time:
                tail = watch.watts(end.time, rested.time)
                if tail is not None and late[index].joules is not None:
                    readings[index] = _less_tail(late[index], meter.update_period or 0.0, tail, begin, end, rested)
        return readings

    def close(self) -> None:
        """Close all meters."""
        for meter in self.meters:
            meter.close()

    def _edge(self) -> Edge:
        self.synchronize()
        began = time.thread_time()
        edge = Edge(len(self._edges), self.clock(), tuple(meter.read() for meter in self.meters))
        self.cpu_seconds += time.thread_time() - began
        self._edges.append(edge)
        if self.current is not None:
            self._spans[self.current][-1].append(edge)
        return edge

    def _readings(self, spans: Sequence[Span]) -> list[Reading]:
        return [_reading(meter, index, spans) for index, meter in enumerate(self.meters)]


def coarse(meter: Meter) -> bool:
    """Whether a meter's figure updates so slowly that its windows are read at rest."""
    return meter.quality == "measured" and (meter.update_period or 0.0) >= COARSE_PERIOD


def _less_tail(late: Reading, period: float, watts: float, begin: Edge, end: Edge, rested: Edge) -> Reading:
    """A reading up to `rested`, less what the device took at rest since `end`."""
    assert late.joules is not None
    seconds = end.time - begin.time
    joules = late.joules - watts * (rested.time - end.time)
    resolution = period * watts / joules if joules > 0 else None
    quality: Quality = "measured"
    reason = None
    if resolution is None or resolution > WORST_RESOLUTION:
        quality, reason = "unresolved", "the work took hardly more than rest: the counter cannot tell them apart"
    elif seconds < SHORTEST_SECONDS:
        quality = "unresolved"
        reason = f"a window of {seconds:.3g} s, where {SHORTEST_SECONDS:g} s are needed on such a counter"
    return late.model_copy(update={"joules": joules, "resolution": resolution, "quality": quality, "reason": reason})


def _seconds(spans: Sequence[Span]) -> float:
    return math.fsum(span[-1].time - span[0].time for span in spans)


def _reading(meter: Meter, index: int, spans: Sequence[Span]) -> Reading:
    """The reading of the meter at `index` over all spans together."""
    counts = [[edge.joules[index] for edge in span] for span in spans]
    quality, note = meter.quality, meter.note
    joules: float | None = None
    resolution: float | None = None
    known = [[count for count in span if count is not None] for span in counts]
    if quality == "absent":
        pass
    elif [len(span) for span in known] != [len(span) for span in counts]:
        quality, note = "unresolved", "a reading of the counter is missing"
    elif any(later < earlier for span in known for earlier, later in pairwise(span)):
        quality, note = "unresolved", "the counter went backwards: it was reset within the window"
    else:
        joules = math.fsum(span[-1] - span[0] for span in known)
        if quality == "measured":
            joules, quality, resolution, note = _resolve(joules, meter.update_period, len(spans), _seconds(spans))
    return Reading(
        component=meter.component,
        joules=joules,
        method=meter.method,
        quality=quality,
        resolution=resolution,
        reason=note,
    )


def _resolve(
    joules: float, period: float | None, spans: int, seconds: float
) -> tuple[float | None, Quality, float | None, str | None]:
    """Joules, quality, resolution and reason of a measured difference."""
    if joules == 0.0:
        return None, "unresolved", None, f"the counter did not move within {seconds:.3g} s: the window is too short"
    if period is None:
        return joules, "measured", None, None
    resolution = spans * period / seconds
    if resolution <= WORST_RESOLUTION:
        return joules, "measured", resolution, None
    windows = "a window" if spans == 1 else f"{spans} windows"
    reason = (
        f"{windows} of {seconds:.3g} s in all on a counter that updates every {period:.3g} s: the error may reach "
        f"{resolution:.0%} (at most {WORST_RESOLUTION:.0%} is resolved)"
    )
    return joules, "unresolved", resolution, reason


def boundary_joules(readings: Sequence[Reading], boundary: Sequence[str]) -> tuple[float | None, Quality]:
    """Joules and quality of all components of a boundary together.

    Null and absent if a component is absent or missing, or if measured and modelled figures would be mixed. Unresolved
    if any part is; its joules are kept where every counter moved.
    """
    parts = [reading for component in dict.fromkeys(boundary) for reading in readings if reading.component == component]
    if not parts or {part.component for part in parts} != set(boundary):
        return None, "absent"
    qualities = {part.quality for part in parts}
    if "absent" in qualities or ("modelled" in qualities and len(qualities) > 1):
        return None, "absent"
    quality: Quality = "unresolved" if "unresolved" in qualities else parts[0].quality
    joules = [part.joules for part in parts if part.joules is not None]
    return (math.fsum(joules) if len(joules) == len(parts) else None), quality
