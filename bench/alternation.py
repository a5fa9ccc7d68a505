"""Alternated measurement: what is compared takes turns in one run, so that a machine's moods meet all alike.

A figure is the median over rounds of a ratio within the round, with the interval of the median that order statistics
give: no assumption about the noise. A bar is judged by the interval.
"""

import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from scipy.stats import binom

ROUNDS = 25
FEWEST = 6
"""With fewer rounds, least and greatest value together are no interval at the confidence."""
CONFIDENCE = 0.95

Action = Callable[[], object]
Values = NDArray[np.float64]


@dataclass(frozen=True)
class Figure:
    """A measured quantity: median and interval over rounds, what theory expects, and the bar it is held to."""

    group: str
    """What a table calls all figures like it."""
    name: str
    values: Sequence[float] | Values
    form: str = "{:.3f}"
    theory: float | None = None
    at_most: float | None = None
    at_least: float | None = None

    @property
    def median(self) -> float:
        """Over the rounds."""
        return float(np.median(self.values))

    @property
    def interval(self) -> tuple[float, float]:
        """Of the median, at the stated confidence or above: the order statistics that the binomial law names."""
        ordered, n = np.sort(self.values), len(self.values)
        below = int(binom.ppf((1 - CONFIDENCE) / 2, n, 0.5))
        return float(ordered[max(below - 1, 0)]), float(ordered[min(n - below, n - 1)])

    @property
    def verdict(self) -> str:
        """Of the bar, if there is one: met or missed by the whole interval, else open."""
        low, high = self.interval
        if self.at_most is not None:
            return "met" if high <= self.at_most else "missed" if low > self.at_most else "open"
        if self.at_least is not None:
            return "met" if low >= self.at_least else "missed" if high < self.at_least else "open"
        return ""

    def cells(self) -> list[str]:
        """As a row: name, theory or bar, median, interval, verdict."""
        low, high = (self.form.format(value) for value in self.interval)
        held = {"": self.theory, "≤ ": self.at_most, "≥ ": self.at_least}
        expected = ", ".join(f"{sign}{self.form.format(value)}" for sign, value in held.items() if value is not None)
        interval = f"{low} to {high}" if len(self.values) > 1 else "exact"
        return [self.name, expected, self.form.format(self.median), interval, self.verdict]


def alternated(actions: Mapping[str, Action], device: str = "cpu", rounds: int = ROUNDS) -> dict[str, Values]:
    """Seconds of each action in each round, after one that does not count; every other round in reverse order."""

    def same(action: Action) -> Callable[[], Action]:
        return lambda: action

    return alternated_anew({name: same(action) for name, action in actions.items()}, device, rounds)


def alternated_anew(
    makers: Mapping[str, Callable[[], Action]], device: str = "cpu", rounds: int = ROUNDS
) -> dict[str, Values]:
    """The same of actions that are made anew for each round; the making is not timed."""
    seconds: dict[str, list[float]] = {name: [] for name in makers}
    for turn in range(rounds + 1):
        for name in list(makers) if turn % 2 else list(makers)[::-1]:
            action = makers[name]()
            wait(device)
            begin = time.perf_counter()
            action()
            wait(device)
            if turn:
                seconds[name].append(time.perf_counter() - begin)
    return {name: np.array(values) for name, values in seconds.items()}


def wait(device: str) -> None:
    """Until the device has nothing left to do."""
    if device != "cpu":
        torch.cuda.synchronize(device)


@contextmanager
def threads(count: int | None) -> Iterator[None]:
    """For a while so many CPU threads; None: as many as there are."""
    before = torch.get_num_threads()
    torch.set_num_threads(count or before)
    try:
        yield
    finally:
        torch.set_num_threads(before)


def peak_action(device: str) -> tuple[Action, float]:
    """A large square matrix product in float32, the device's arithmetic limit, and its FLOPs."""
    n, repeats = (1024, 10) if device == "cpu" else (8192, 3)
    a, b, out = (torch.ones(n, n, device=device) for _ in range(3))

    def products() -> None:
        for _ in range(repeats):
            torch.mm(a, b, out=out)

    return products, repeats * 2.0 * n**3
