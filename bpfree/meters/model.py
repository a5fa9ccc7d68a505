"""A modelled CPU figure, where no counter can be read.

    E = s · w        s  CPU seconds of this process, all threads; or of a command and of what it waited for
                     w  watts of one busy hardware thread: the chip's TDP over its threads

It is a proxy for CPU time: idle power, frequency and vector width do not enter. Every reading is labelled modelled.
"""

import os
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from bpfree.errors import RequestError
from bpfree.meters.watch import GpuWatch
from bpfree.records import Quality

DEFAULT_WATTS = 4.0
"""Watts of a thread of a CPU that CodeCarbon's table does not have, as CodeCarbon assumes."""


@dataclass(frozen=True)
class Processor:
    """The CPU as Linux describes it."""

    model: str
    threads: int
    sockets: int
    virtual: bool
    """Whether a hypervisor shows a part of the chip: the chip's number of threads is then unknown."""


@dataclass(frozen=True)
class ThreadPower:
    """Watts of one busy hardware thread, and where the figure comes from."""

    watts: float
    source: str


def processor(cpuinfo: Path = Path("/proc/cpuinfo")) -> Processor:
    """The CPU of this machine."""
    pairs = [line.partition(":") for line in cpuinfo.read_text().splitlines()] if cpuinfo.exists() else []
    lines = [(key.strip(), value.strip()) for key, _, value in pairs]
    models = [value for key, value in lines if key == "model name"]
    flags = next((value.split() for key, value in lines if key == "flags"), [])
    return Processor(
        model=models[0] if models else "unknown",
        threads=os.cpu_count() or 1,
        sockets=len({value for key, value in lines if key == "physical id"}) or 1,
        virtual="hypervisor" in flags,
    )


def thread_power(cpu: Processor, cpu_watts: float | None = None) -> ThreadPower:
    """Watts of one busy thread: the user's figure for the whole CPU, CodeCarbon's table, or its default.

    Raises
    ------
    RequestError
        `cpu_watts` is not a positive number of watts.
    """
    if cpu_watts is not None:
        if not 0 < cpu_watts < float("inf"):
            raise RequestError(f"cpu_watts is {cpu_watts}: give the watts of the whole CPU under load, over 0")
        return ThreadPower(cpu_watts / cpu.threads, f"{cpu_watts:g} W as given over {cpu.threads} threads")
    if cpu.virtual:
        return ThreadPower(
            DEFAULT_WATTS,
            f"CodeCarbon's default of {DEFAULT_WATTS:g} W a thread, as a virtual machine hides how many of the threads "
            f"of '{cpu.model}' it has ({cpu.threads} are visible)",
        )
    tdp = table_tdp(cpu.model)
    if tdp is None:
        return ThreadPower(
            DEFAULT_WATTS,
            f"CodeCarbon's default of {DEFAULT_WATTS:g} W a thread, as '{cpu.model}' is not in its CPU table "
            f"({cpu.threads} threads)",
        )
    chips = f"{cpu.sockets} × " if cpu.sockets > 1 else ""
    return ThreadPower(
        cpu.sockets * tdp / cpu.threads,
        f"TDP of {chips}{tdp:g} W over {cpu.threads} threads, '{cpu.model}' in CodeCarbon's CPU table",
    )


def table_tdp(model: str) -> float | None:
    """Watts of one chip by CodeCarbon's table and matching rule; None if it is not there or ambiguous."""
    from codecarbon.core.cpu import TDP  # slow to import

    finder = TDP.__new__(TDP)  # its constructor probes the machine for a second
    watts = finder._get_cpu_power_from_registry(model)
    return None if watts is None else float(watts)


class CpuModelMeter:
    """CPU seconds times the watts of a thread: of this process, unless `cpu_seconds` counts those of another."""

    component = "cpu"
    method = "cpu_seconds_model"
    quality: Quality = "modelled"
    update_period: float | None = None
    watch: GpuWatch | None = None
    watch = None

    def __init__(
        self, power: ThreadPower, cpu_seconds: Callable[[], float] = time.process_time, of: str = "process"
    ) -> None:
        self.watts = power.watts
        self.note: str | None = f"{of} CPU seconds × {power.watts:.3g} W ({power.source})"
        self._cpu_seconds = cpu_seconds
        self._opened = cpu_seconds()

    def read(self) -> float | None:
        """Modelled joules since opening."""
        return (self._cpu_seconds() - self._opened) * self.watts

    def close(self) -> None:
        """Nothing is held."""
