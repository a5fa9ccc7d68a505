"""A meter and a clock without hardware, for tests of whatever uses meters."""

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field

from bpfree.meters.watch import GpuWatch
from bpfree.records import Quality


@dataclass
class FakeClock:
    """A clock that moves only when told; call it for the time in seconds."""

    now: float = 0.0

    def __call__(self) -> float:
        """The time in seconds."""
        return self.now

    def advance(self, seconds: float) -> None:
        """Let time pass."""
        self.now += seconds


@dataclass
class FakeMeter:
    """Constant watts on a supplied clock, or scripted joules, one a read.

    A script's exception is raised, its None returned. A script that runs out repeats its last value.

    >>> clock = FakeClock()
    >>> meter = FakeMeter(clock=clock, watts=5.0)
    >>> clock.advance(2.0)
    >>> meter.read()
    10.0
    """

    clock: Callable[[], float] = field(default_factory=FakeClock)
    watts: float = 1.0
    script: Iterable[float | Exception | None] | None = None
    component: str = "cpu"
    method: str = "fake"
    quality: Quality = "measured"
    update_period: float | None = None
    note: str | None = None
    watch: GpuWatch | None = None
    closed: bool = False

    def __post_init__(self) -> None:
        self._opened = self.clock()
        self._script: Iterator[float | Exception | None] | None = None if self.script is None else iter(self.script)
        self._last: float | Exception | None = None

    def read(self) -> float | None:
        """Joules since opening, or the script's next.

        Raises
        ------
        Exception
            The script says so.
        """
        if self._script is None:
            return self.watts * (self.clock() - self._opened)
        self._last = next(self._script, self._last)
        if isinstance(self._last, Exception):
            raise self._last
        return self._last

    def close(self) -> None:
        """Remember that it was closed."""
        self.closed = True
