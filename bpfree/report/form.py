"""How figures are printed: units people know, no more digits than the figure bears, a dash for what is not there."""

import math
from collections.abc import Iterable

from bpfree.statistics import Comparison, Interval

ABSENT = "–"
MOST_PLACES = 6
WATT_HOURS_FROM = 36_000
"""Joules from which energies are given in watt-hours."""


def digits(value: float, significant: int = 3) -> str:
    """A number with so many significant digits, without exponent where that is readable."""
    if value == 0:
        return "0"
    if math.isinf(value):
        return "∞" if value > 0 else "−∞"
    exponent = math.floor(math.log10(abs(value)))
    if -4 <= exponent < 7:
        text = f"{value:,.{max(0, significant - 1 - exponent)}f}"
        return text.replace("-", "−")
    return f"{value:.{significant - 1}e}"


def percent(value: float | None, places: int = 2) -> str:
    """A fraction as per cent, without the sign."""
    return ABSENT if value is None else f"{100 * value:.{places}f}"


def number(value: float | None, significant: int = 3) -> str:
    """A number, or a dash."""
    return ABSENT if value is None else digits(value, significant)


def interval(x: Interval | None, scale: float = 1.0, *, signed: bool = False) -> tuple[str, str]:
    """Estimate, and its interval; not below 0, where no figure can be but a signed one."""
    if x is None:
        return ABSENT, ""
    low = x.low if signed or x.low is None else max(x.low, 0)
    return digits(x.estimate * scale), bounds(low, x.high, scale)


def bounds(low: float | None, high: float | None, scale: float = 1.0) -> str:
    """An interval in brackets, or why there is none."""
    if low is None or high is None:
        return "one seed: no interval"
    return f"{digits(low * scale)} to {digits(high * scale)}"


def accuracy(x: Interval | None) -> tuple[str, str]:
    """An accuracy in per cent with its interval."""
    if x is None:
        return ABSENT, ""
    if x.low is None or x.high is None:
        return percent(x.estimate), bounds(x.low, x.high)
    return percent(x.estimate), f"{percent(max(x.low, 0))} to {percent(min(x.high, 1))}"


def points(x: Comparison | Interval | None) -> tuple[str, str]:
    """A difference in percentage points with its interval."""
    return (ABSENT, "") if x is None else (signed(x.estimate), signed_bounds(x.low, x.high))


def signed(fraction: float, places: int = 2) -> str:
    """A difference of fractions in percentage points, with its sign."""
    return f"{100 * fraction:+.{places}f}".replace("-", "−")


def signed_bounds(low: float | None, high: float | None) -> str:
    """An interval of differences of accuracies, within ± 100 points; no bound beside 0 is printed as 0."""
    if low is None or high is None:
        return bounds(low, high)
    low, high, places = max(low, -1), min(high, 1), 2
    while places < MOST_PLACES and any(x and not float(f"{100 * x:.{places}f}") for x in (low, high)):
        places += 1
    return f"{signed(low, places)} to {signed(high, places)}"


def gap(x: Comparison | Interval | None) -> tuple[str, str]:
    """A difference in a figure's own unit, with its sign, and its interval."""
    return (ABSENT, "") if x is None else (signed_digits(x.estimate), gap_bounds(x.low, x.high))


def signed_digits(value: float) -> str:
    """A number with its sign."""
    return ("+" if value > 0 else "") + digits(value)


def gap_bounds(low: float | None, high: float | None) -> str:
    """An interval of differences in a figure's own unit."""
    if low is None or high is None:
        return bounds(low, high)
    return f"{signed_digits(low)} to {signed_digits(high)}"


def times(c: Comparison | None) -> tuple[str, str]:
    """A ratio with its interval."""
    if c is None:
        return ABSENT, ""
    return f"{digits(c.estimate)}\u00a0×", bounds(c.low, c.high)


def level(confidence: float) -> str:
    """A confidence level in per cent, with the digits that Holm's levels need."""
    return f"{100 * confidence:.2f}".rstrip("0").rstrip(".") + "\u00a0%"


def energy_unit(joules: Iterable[float]) -> tuple[str, float]:
    """The unit for a column of energies, and how many of it a joule is."""
    return ("Wh", 1 / 3600) if max(joules, default=0) >= WATT_HOURS_FROM else ("J", 1.0)


def mass_unit(grams: Iterable[float]) -> tuple[str, float]:
    """The unit for a column of emissions, and how many of it a gram is."""
    most = max(grams, default=1)
    return ("kg", 1e-3) if most >= 1000 else ("g", 1.0) if most >= 0.1 else ("mg", 1e3) if most >= 1e-4 else ("µg", 1e6)


def mebibytes(value: float | None) -> str:
    """Bytes in MiB."""
    return ABSENT if value is None else digits(value / 2**20)


def seconds(value: float) -> str:
    """A duration."""
    if value < 120:
        return f"{digits(value)} s"
    return f"{digits(value / 60)} min" if value < 7200 else f"{digits(value / 3600)} h"


def energy(joules: float | None) -> str:
    """Joules, or watt-hours from 36 kJ on."""
    if joules is None:
        return ABSENT
    return f"{digits(joules)} J" if joules < WATT_HOURS_FROM else f"{digits(joules / 3600)} Wh"


def title(name: str) -> str:
    """An algorithm’s name as papers write it, with what a label or an optimizer adds to it."""
    known = {
        "backprop": "Backprop",
        "forward_forward": "Forward-Forward",
        "cascaded_forward": "Cascaded-Forward",
        "mono_forward": "Mono-Forward",
    }
    for algorithm, written in known.items():
        if name.startswith(algorithm):
            return written + name.removeprefix(algorithm).replace("_", " ")
    label, comma, rest = name.partition(",")
    return label.replace("_", " ").capitalize() + comma + rest


def heading(name: str, unit: str) -> str:
    """The head of a column: what stands in it, and its unit if it has one."""
    return f"{name}, {unit}" if unit else name


def words(name: str) -> str:
    """A knob’s name in words."""
    return name.replace("_", " ")
