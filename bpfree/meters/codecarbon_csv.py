"""Rows of CodeCarbon's emissions.csv, so that dashboards made for it read what was measured here.

The columns are those of the installed CodeCarbon, and mean what they mean there: kWh, W, kg CO2e and seconds; energy
and power times PUE; power the mean over the duration. `energy_consumed` counts the components of the boundary alone,
for a sum never mixes measured and modelled; `emissions` are its.

The format has no null: an empty cell is what was not measured, not resolved or not asked for, where CodeCarbon itself
writes 0. What only CodeCarbon samples (place, water, utilisation) is empty too.
"""

import csv
import io
import os
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, fields
from datetime import datetime
from importlib.metadata import version
from pathlib import Path
from typing import Any

from bpfree.errors import RequestError, WorldError
from bpfree.meters.carbon import JOULES_PER_KWH, country_name
from bpfree.meters.session import boundary_joules
from bpfree.records import Carbon, MeasurementSettings, Quality, Reading

BYTES_PER_GB = 2**30
"""As CodeCarbon counts memory."""
COLUMNS_OF_COMPONENTS = {"cpu": "cpu", "gpu": "gpu", "dram": "ram"}


@dataclass(frozen=True)
class Emission:
    """What a row is made of."""

    project: str
    experiment: str
    run: str
    started: datetime
    seconds: float
    readings: Sequence[Reading]
    joules: float | None
    """Over the boundary."""
    quality: Quality
    """Of `joules`."""
    carbon: Carbon | None
    settings: MeasurementSettings
    machine: Mapping[str, Any]
    """As records hold it in `environment`."""
    gpu_names: Sequence[str] = ()


def columns() -> list[str]:
    """The names of the columns, in CodeCarbon's order."""
    from codecarbon.output_methods.emissions_data import EmissionsData  # slow to import

    return [field.name for field in fields(EmissionsData)]


def row(emission: Emission) -> dict[str, Any]:
    """One row; None where there is no figure."""
    settings, machine, gpus = emission.settings, emission.machine, emission.gpu_names
    memory = machine.get("memory_bytes")
    modelled = any(reading.component == "cpu" and reading.quality == "modelled" for reading in emission.readings)
    known = {
        "timestamp": emission.started.astimezone().strftime("%Y-%m-%dT%H:%M:%S"),
        "project_name": emission.project,
        "run_id": emission.run,
        "experiment_id": emission.experiment,
        "duration": emission.seconds,
        **_figures(emission),
        "country_name": settings.country and country_name(settings.country),
        "country_iso_code": settings.country,
        "region": settings.region,
        "os": machine.get("platform"),
        "python_version": machine.get("python"),
        "codecarbon_version": machine.get("packages", {}).get("codecarbon"),
        "cpu_count": machine.get("cpu_cores"),
        "cpu_model": machine.get("cpu"),
        "gpu_count": len(gpus) or None,
        "gpu_model": ", ".join(f"{gpus.count(name)} x {name}" for name in sorted(set(gpus))),
        "ram_total_size": memory and memory / BYTES_PER_GB,
        "tracking_mode": "process" if modelled else "machine",
        "on_cloud": "N",
        "pue": settings.pue,
    }
    return {name: known.get(name) for name in columns()}


def _figures(emission: Emission) -> dict[str, float | None]:
    """kWh and mean watts of each component, kWh and kilograms of the boundary."""
    pue, seconds = emission.settings.pue, emission.seconds
    joules = None if emission.quality == "unresolved" else emission.joules
    kilograms = emission.carbon.co2e_kg if emission.carbon and joules is not None else None
    found = {
        "energy_consumed": _times(joules, pue / JOULES_PER_KWH),
        "emissions": kilograms,
        "emissions_rate": _times(kilograms, 1 / seconds) if seconds else None,
    }
    for component, column in COLUMNS_OF_COMPONENTS.items():
        joules, quality = boundary_joules(emission.readings, [component])
        if quality == "unresolved":
            joules = None
        found[f"{column}_energy"] = _times(joules, pue / JOULES_PER_KWH)
        found[f"{column}_power"] = _times(joules, pue / seconds) if seconds else None
    return found


def _times(value: float | None, factor: float) -> float | None:
    return None if value is None else value * factor


def text(rows: Iterable[Mapping[str, Any]], names: Sequence[str], header: bool = True) -> str:
    """Rows as CSV, with the columns in the order of `names`."""
    out = io.StringIO()
    writer = csv.DictWriter(out, fieldnames=names, lineterminator="\n")
    if header:
        writer.writeheader()
    writer.writerows(rows)
    return out.getvalue()


def append(path: Path, emission: Emission) -> None:
    """Append a row to a file of CodeCarbon's, or begin such a file.

    Raises
    ------
    RequestError
        There is no such folder, or the file has other columns.
    WorldError, OSError
        The file cannot be written.
    """
    names = check(path)
    begun = path.exists() and path.stat().st_size > 0
    line = text([row(emission)], names, header=not begun)
    ended = not begun or path.read_bytes().endswith(b"\n")
    with path.open("a", encoding="utf-8", newline="") as file:
        file.write(line if ended else f"\n{line}")


def check(path: Path) -> list[str]:
    """The columns of a file that rows can be appended to, in its order; CodeCarbon's where it has yet to be begun.

    Raises
    ------
    RequestError
        There is no such folder, or the file has other columns.
    WorldError
        The file cannot be written.
    """
    if path.is_dir() or not path.parent.is_dir():
        wrong = "it is a folder" if path.is_dir() else f"there is no folder {path.parent}"
        raise RequestError(f"{path} cannot be written: {wrong}; name a file in a folder that exists")
    if not os.access(path if path.exists() else path.parent, os.W_OK):
        raise WorldError(f"{path} cannot be written: permission denied")
    names = columns()
    if not path.exists() or path.stat().st_size == 0:
        return names
    with path.open(encoding="utf-8", errors="replace", newline="") as file:
        found = next(csv.reader(file), [])
    if sorted(found) != sorted(names):
        raise RequestError(f"{path} has other columns than CodeCarbon {version('codecarbon')} writes: name a new file")
    return found
