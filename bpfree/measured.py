"""What a command or a block of Python took: the figures, and a summary of them for people."""

from collections.abc import Sequence
from typing import Any

from bpfree.records import Carbon, Document, GpuState, Quality, Reading

WHOLE = {
    "rapl_powercap": "the whole machine's, other programs included",
    "nvml_energy_counter": "the whole device's, other programs included",
    "nvml_power_integral": "the whole device's, other programs included",
}
"""What a method counts, where it is more than the program."""
PREFIXES = ((1e9, "G"), (1e6, "M"), (1e3, "k"), (1.0, ""), (1e-3, "m"), (1e-6, "µ"), (1e-9, "n"))
ROUNDS_UP = 0.9995
"""With three digits, what is above this is 1."""
ABSENT = "-"


class Measured(Document):
    """What a stretch of work took."""

    started: str
    """UTC, ISO 8601."""
    seconds: float
    cpu_seconds: float
    """User and system: of this process, or of a command and the descendants that were waited for."""
    readings: list[Reading]
    joules: float | None
    """Of the boundary."""
    joules_quality: Quality
    boundary: list[str]
    """The components that are measured, or if none is, those that are modelled: a sum never mixes the two."""
    peak_host_bytes: int | None
    """Of a command's largest process, or of this process; null where it is not above `peak_host_floor`."""
    peak_host_floor: int | None
    """What bpfree itself holds, or this process had held before: a smaller peak cannot be told."""
    carbon: Carbon | None
    """Null unless a country or a carbon intensity was given."""
    gpus: list[GpuState] = []
    remarks: list[str] = []
    """What a reader of the energy must know."""

    def document(self) -> dict[str, Any]:
        """All of it ready for JSON, with the mean watts of every reading."""
        readings = [
            reading.model_dump(mode="json") | {"mean_watts": watts(reading, self.seconds)} for reading in self.readings
        ]
        return self.model_dump(mode="json") | {"readings": readings}


def counted(readings: Sequence[Reading]) -> list[str]:
    """The components whose joules may be added up."""
    measured = [reading.component for reading in readings if reading.quality in ("measured", "unresolved")]
    modelled = [reading.component for reading in readings if reading.quality == "modelled"]
    return list(dict.fromkeys(measured or modelled))


def whole(readings: Sequence[Reading]) -> list[str]:
    """Which readings count more than the program."""
    found: dict[str, list[str]] = {}
    for reading in readings:
        if reading.method in WHOLE and reading.quality != "absent":
            found.setdefault(WHOLE[reading.method], []).append(reading.component)
    return [f"the energy of {' and '.join(dict.fromkeys(names))} is {what}" for what, names in found.items()]


def watts(reading: Reading, seconds: float) -> float | None:
    """Mean power; None where there are no joules."""
    return None if reading.joules is None or seconds <= 0 else reading.joules / seconds


def summary(measured: Measured) -> str:
    """All figures for people: totals, a table of the components, and what to know of them."""
    facts = [
        ("time", f"{measured.seconds:,.3f} s"),
        ("CPU time", f"{measured.cpu_seconds:,.3f} s"),
        ("peak memory", memory(measured)),
        ("energy", energy(measured)),
    ]
    if measured.carbon:
        facts.append(("CO2e", emissions(measured.carbon)))
    rows: list[tuple[str, ...]] = [("component", "energy", "mean power", "quality", "resolution", "method")]
    named = zip(labels(measured.readings), measured.readings, strict=True)
    rows += [(label, *row(reading, measured.seconds)) for label, reading in named]
    notes = [*reasons(measured.readings), *measured.remarks]
    return "\n".join([*columns(facts), "", *columns(rows), *([""] if notes else []), *notes])


def columns(rows: Sequence[Sequence[str]]) -> list[str]:
    """Lines with their cells below one another."""
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    return ["  ".join(cell.ljust(width) for cell, width in zip(cells, widths, strict=True)).rstrip() for cells in rows]


def labels(readings: Sequence[Reading]) -> list[str]:
    """The components' names, numbered where there are several of a kind, as of GPUs."""
    names = [reading.component for reading in readings]
    return [f"{n} {names[:i].count(n)}" if names.count(n) > 1 else n for i, n in enumerate(names)]


def row(reading: Reading, seconds: float) -> tuple[str, ...]:
    """A line of the table, but for its label."""
    resolution = ABSENT if reading.resolution is None else f"{reading.resolution:.2%}"
    energy, power = scaled(reading.joules, "J"), scaled(watts(reading, seconds), "W")
    return energy, power, reading.quality, resolution, reading.method


def memory(measured: Measured) -> str:
    """Peak memory, as far as it is known."""
    if measured.peak_host_bytes is not None:
        return scaled(measured.peak_host_bytes, "B")
    if measured.peak_host_floor is not None:
        return f"at most {scaled(measured.peak_host_floor, 'B')} (a smaller peak cannot be told)"
    return "not known on this system"


def energy(measured: Measured) -> str:
    """The total, and what it is of."""
    if measured.joules is None:
        return "not known"
    return f"{scaled(measured.joules, 'J')} {measured.joules_quality} ({'+'.join(measured.boundary)})"


def emissions(carbon: Carbon) -> str:
    """CO2e of the total, and what was assumed."""
    factor = f"{carbon.intensity_g_per_kwh:g} g/kWh ({carbon.source})"
    return f"{scaled(carbon.co2e_kg * 1000, 'g')}, as that energy × {factor} × PUE {carbon.pue:g}"


def reasons(readings: Sequence[Reading]) -> list[str]:
    """Every reason once, with the components that it explains."""
    explained: dict[str, list[str]] = {}
    for reading in readings:
        if reading.reason:
            explained.setdefault(reading.reason, []).append(reading.component)
    return [f"{', '.join(dict.fromkeys(names))}: {reason}" for reason, names in explained.items()]


def scaled(value: float | None, unit: str) -> str:
    """A quantity with three digits and the prefix that suits it; a dash for what is not there."""
    if value is None:
        return ABSENT
    for factor, prefix in PREFIXES:
        if abs(value) >= ROUNDS_UP * factor:
            return f"{value / factor:.3g} {prefix}{unit}"
    return f"{value:.3g} {unit}"
