"""What this machine can and cannot measure, and why."""

import time
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
from bpfree.meters.nvml import NvmlCounterMeter, gpus, no_gpu, open_gpu
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
    except pynvml.NVMLError:
        found = []
    entries = []
    for name, uuid in found:
        meter = _gpu_meter(uuid)
        details = _gpu_details(meter)  # before the meter is closed
        entries.append(_entry(meter, f"{name} {uuid}") | {"gpu": details})
    return entries or [_entry(no_gpu(), "none")]


def _gpu_details(meter: Meter) -> dict[str, Any] | None:
    """What a GPU's watch and its counter tell of themselves; None where it has no watch that lives."""
    watch = meter.watch
    if watch is None or not watch.alive:
        return None
    ticks = meter.ticks if isinstance(meter, NvmlCounterMeter) else None
    state = watch.state(watch.started, time.monotonic(), None)
    return {
        "driver": watch.driver,
        "power_limit_watts": watch.power_limit_watts,
        "momentary_power": watch.momentary,
        "counter_step_millijoules": ticks and ticks.step,
        "counter_period": ticks and ticks.period,
        "counter_call_milliseconds": ticks and ticks.call_seconds * 1000,
        "foreign_processes": state and state.foreign_processes,
        "watch_note": watch.note,
    }


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
        *_gpu_lines(diagnosis["components"]),
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


def _gpu_lines(components: list[dict[str, Any]]) -> list[Text]:
    """What there is to know of each GPU beside its energy."""
    return [
        Text.assemble((f"{entry['device']}: ", "bold"), "; ".join(_about_gpu(entry["gpu"])))
        for entry in components
        if entry.get("gpu") is not None
    ]


def _about_gpu(gpu: dict[str, Any]) -> list[str]:
    limit, step, call = gpu["power_limit_watts"], gpu["counter_step_millijoules"], gpu["counter_call_milliseconds"]
    foreign = gpu["foreign_processes"]
    parts = [
        f"driver {gpu['driver']}",
        "power limit not told" if limit is None else f"power limit {limit:g} W",
        f"momentary power {'works' if gpu['momentary_power'] else 'is not offered'}",
        "processes are not told" if foreign is None else f"{foreign} foreign processes now",
    ]
    if call is not None:
        parts.append(f"a reading of the counter takes {call:.2g} ms")
    if step is not None:
        parts.append(f"its smallest step seen is {step} mJ")
    return parts + ([gpu["watch_note"]] if gpu["watch_note"] else [])


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
