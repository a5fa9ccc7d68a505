"""What this machine can and cannot measure, and why."""

from pathlib import Path
from typing import Any

import pynvml
from rich.console import Group, RenderableType
from rich.table import Table
from rich.text import Text

from bpfree.errors import WorldError
from bpfree.meters.base import AbsentMeter, Meter, component_status
from bpfree.meters.carbon import data_version
from bpfree.meters.model import CpuModelMeter, processor, thread_power
from bpfree.meters.nvml import absence, gpus, open_gpu
from bpfree.meters.rapl import POWERCAP_ROOTS, open_rapl
from bpfree.meters.session import WORST_RESOLUTION

STYLES = {"measured": "green", "modelled": "yellow", "absent": "red"}


def diagnose(powercap_roots: tuple[Path, ...] = POWERCAP_ROOTS) -> dict[str, Any]:
    """Every component's method, quality, update period and reason; the CPU; the origin of emission factors."""
    cpu = processor()
    rapl, dram = open_rapl(powercap_roots)
    entries = [*_gpu_entries()]
    if rapl.quality == "absent":
        entries.append(_entry(CpuModelMeter(thread_power(cpu)), cpu.model) | {"not_measured_because": rapl.note})
    else:
        entries.append(_entry(rapl, cpu.model))
    entries.append(_entry(dram, "memory"))
    return {
        "components": entries,
        "cpu": {"model": cpu.model, "threads": cpu.threads, "sockets": cpu.sockets, "virtual": cpu.virtual},
        "carbon": {"source": data_version(), "needs": "a country or a carbon_intensity in the study's [measurement]"},
        "can_measure": [entry["component"] for entry in entries if entry["quality"] == "measured"],
    }


def _entry(meter: Meter, device: str) -> dict[str, Any]:
    """The status of a meter that is closed at once."""
    meter.close()
    period = meter.update_period
    shortest = None if period is None or meter.quality != "measured" else period / WORST_RESOLUTION
    return component_status(meter) | {"device": device, "shortest_window": shortest, "not_measured_because": None}


def _gpu_entries() -> list[dict[str, Any]]:
    try:
        found = gpus()
    except pynvml.NVMLError as error:
        return [_entry(AbsentMeter("gpu", absence(error)), "none")]
    if not found:
        return [_entry(AbsentMeter("gpu", "the NVIDIA driver lists no GPU"), "none")]
    return [_entry(_gpu_meter(uuid), f"{name} {uuid}") for name, uuid in found]


def _gpu_meter(uuid: str) -> Meter:
    try:
        return open_gpu(uuid)
    except WorldError as error:
        return AbsentMeter("gpu", str(error))


def render(diagnosis: dict[str, Any]) -> RenderableType:
    """The diagnosis for a reader who knows nothing of counters."""
    table = Table(box=None, pad_edge=False, header_style="bold")
    for heading in ("component", "device", "energy is", "by", "updates every", "shortest window"):
        table.add_column(heading, overflow="fold", no_wrap=heading != "device")
    for entry in diagnosis["components"]:
        quality = entry["quality"]
        table.add_row(
            entry["component"],
            entry["device"],
            Text(quality, STYLES[quality]),
            entry["method"],
            _seconds(entry["update_period"]),
            _seconds(entry["shortest_window"]),
        )
    cpu, carbon = diagnosis["cpu"], diagnosis["carbon"]
    machine = f"CPU {cpu['model']}, {cpu['threads']} threads{', virtual machine' if cpu['virtual'] else ''}"
    factors = f"Emission factors: {carbon['source']}; CO2e is absent without {carbon['needs']}."
    return Group(
        table,
        Text(),
        *_reasons(diagnosis["components"]),
        Text(),
        Text(_verdict(diagnosis)),
        Text(machine),
        Text(factors),
    )


def _reasons(components: list[dict[str, Any]]) -> list[Text]:
    """Every note once, with the components that it explains."""
    explained: dict[str, list[str]] = {}
    for entry in components:
        for note in (entry["note"], entry["not_measured_because"]):
            if note is not None:
                explained.setdefault(note, []).append(entry["component"])
    return [Text.assemble((f"{', '.join(names)}: ", "bold"), note) for note, names in explained.items()]


def _seconds(value: float | None) -> str:
    return "-" if value is None else f"{value:.3g} s"


def _verdict(diagnosis: dict[str, Any]) -> str:
    measured = diagnosis["can_measure"]
    if measured:
        return f"This machine measures the energy of {' and '.join(dict.fromkeys(measured))}."
    return (
        "This machine measures no energy. The CPU's figure is a model of its CPU time, labelled so everywhere: it can "
        "rank programs by CPU time, not by power."
    )
