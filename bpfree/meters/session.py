"""A session: meters read together at the edges of phases, and what their counts say of a window.

edge            synchronise the device, then read the clock and every meter once
phase           the time between two edges; neighbours share the edge, so phases add up to the outer window
resolution      spans · update period / seconds: the worst error that a counter's granularity can make
unresolved      resolution over 5 %, or a counter that stood still or ran backwards
"""

import math
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import pairwise

from bpfree.meters.base import Meter
from bpfree.records import Phase, Quality, Reading

WORST_RESOLUTION = 0.05
"""A measured window with a larger relative error is unresolved."""


@dataclass(frozen=True)
class Edge:
    """One moment at which everything was read."""

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
    ) -> None:
        self.meters = tuple(meters)
        self.synchronize = synchronize
        self.clock = clock
        self.current: str | None = None
        """The phase in progress; None before the first and after `stop`."""
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
        first, last = self._edges.index(begin), self._edges.index(end)
        return self._readings([self._edges[first : last + 1]])

    def close(self) -> None:
        """Close all meters."""
        for meter in self.meters:
            meter.close()

    def _edge(self) -> Edge:
        self.synchronize()
        edge = Edge(self.clock(), tuple(meter.read() for meter in self.meters))
        self._edges.append(edge)
        if self.current is not None:
            self._spans[self.current][-1].append(edge)
        return edge

    def _readings(self, spans: Sequence[Span]) -> list[Reading]:
        return [_reading(meter, index, spans) for index, meter in enumerate(self.meters)]


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
    parts = [reading for component in boundary for reading in readings if reading.component == component]
    if not parts or {part.component for part in parts} != set(boundary):
        return None, "absent"
    qualities = {part.quality for part in parts}
    if "absent" in qualities or ("modelled" in qualities and len(qualities) > 1):
        return None, "absent"
    quality: Quality = "unresolved" if "unresolved" in qualities else parts[0].quality
    joules = [part.joules for part in parts if part.joules is not None]
    return (math.fsum(joules) if len(joules) == len(parts) else None), quality
