"""Alternated measurement: what is compared takes turns in one run, so that a machine's moods meet all alike.

A figure is the median over rounds of a ratio within the round, with the interval of the median that order statistics
give: no assumption about the noise. A bar is judged by the interval.
"""

import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from scipy.stats import binom

ROUNDS = 25
CONFIDENCE = 0.95


@dataclass(frozen=True)
class Figure:
    """A measured quantity: median and interval over rounds, what theory expects, and the bar it is held to."""

    name: str
    values: Sequence[float]
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
        """As a row: name, median, interval, theory, bar, verdict."""
        low, high = (self.form.format(value) for value in self.interval)
        bar = "" if self.at_most is None else f"≤ {self.form.format(self.at_most)}"
        bar = bar if self.at_least is None else f"≥ {self.form.format(self.at_least)}"
        theory = "" if self.theory is None else self.form.format(self.theory)
        return [self.name, self.form.format(self.median), f"{low} to {high}", theory, bar, self.verdict]


def alternated(
    actions: Mapping[str, Callable[[], object]], device: str = "cpu", rounds: int = ROUNDS
) -> dict[str, np.ndarray]:
    """Seconds of each action in each round, after one that does not count; every other round in reverse order."""
    seconds: dict[str, list[float]] = {name: [] for name in actions}
    for turn in range(rounds + 1):
        for name in list(actions) if turn % 2 else list(reversed(actions)):
            wait(device)
            begin = time.perf_counter()
            actions[name]()
            wait(device)
            if turn:
                seconds[name].append(time.perf_counter() - begin)
    return {name: np.array(values) for name, values in seconds.items()}


def wait(device: str) -> None:
    """Until the device has nothing left to do."""
    if device != "cpu":
        torch.cuda.synchronize(device)


def peak_action(device: str) -> tuple[Callable[[], object], float]:
    """A large square matrix product in float32, the device's arithmetic limit, and its FLOPs."""
    n, repeats = (1024, 10) if device == "cpu" else (8192, 3)
    a, b, out = (torch.ones(n, n, device=device) for _ in range(3))

    def products() -> None:
        for _ in range(repeats):
            torch.mm(a, b, out=out)

    return products, repeats * 2.0 * n**3
